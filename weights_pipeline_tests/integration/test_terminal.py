"""What commands print in a terminal: tables that fit, in colour, and nothing of that where a program reads."""

import json
from collections import Counter

import pytest

from benchmarks.support.data import BOOK
from weights_pipeline.cli import render
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result, Screen
from weights_pipeline_tests.support.terminal import seen

TABLES = {
    "show": ("show",),
    "history": ("history",),
    "as-of": ("as-of", "--effective", "2013-03-04"),
    "diff": ("diff", "1", "2", "--book", BOOK),
    "reproduce": ("reproduce", "2", "--book", BOOK),
    "explain": ("explain", "--book", BOOK, "--strategy", "rsi2"),
    "check": ("check",),
    "rebalance": ("rebalance", "--book", BOOK, "--dry-run"),
    "ledger": ("ledger",),
    "ledger check": ("ledger", "check"),
    "books": ("books",),
    "allocator audit": ("allocator", "audit", "--book", BOOK),
    "allocator state": ("allocator", "state", "--book", BOOK),
    "sql": ("sql", f"FROM {BOOK}.target_weights"),
    "doctor": ("doctor",),
}


@pytest.fixture
def at(finished, monkeypatch):
    """Let the environment point to the finished desk."""
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    return finished


@pytest.mark.parametrize("command", TABLES)
def test_tables_fit_80_and_100_columns(at, monkeypatch, command):
    shown, table = [], render.table
    monkeypatch.setattr(render, "table", lambda rows, headings: (shown.append((rows, headings)), table(rows, headings)))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    result = Result(*TABLES[command], to=Screen)
    assert result.exit_code in (0, 1), result.errors
    # Only what cannot be broken, such as a path to copy, is longer.
    assert [line for line in result.output.splitlines() if len(line) > 80 and max(map(len, line.split())) < 60] == []
    assert shown or command == "doctor"
    for columns in (80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        for rows, headings in [*shown]:
            with pytest.MonkeyPatch.context() as patch:
                screen = Screen()
                patch.setattr("sys.stdout", screen)
                table(rows, headings)
            printed = screen.getvalue()
            assert max(map(len, printed.splitlines())) <= columns
            assert Counter(printed) >= Counter("".join(word for row in rows for cell in row for word in cell.split()))


def test_weights_are_shown_with_those_before_the_largest_first(at):
    final = at.store.read(BOOK, catalog.FINAL_WEIGHTS)
    days = sorted(final["effective_from"].unique())
    now, before = (final[final["effective_from"] == day].set_index("strategy")["final"] for day in (days[-1], days[-2]))
    (told,) = json.loads(Result("show", "--json").output)
    assert told["previous_from"] == f"{days[-2]:%Y-%m-%d}"
    assert {row["strategy"]: row["previous"] for row in told["rows"]} == before.to_dict()
    assert {row["strategy"]: row["change"] for row in told["rows"]} == (now - before).to_dict()
    lines = Result("show").output.splitlines()
    assert lines[0].endswith(f", in percent; change in points; before: from {days[-2]:%Y-%m-%d}")
    table = [line.split() for line in lines[3 : 3 + len(now)]]
    assert [cells[0] for cells in table] == now.sort_values(ascending=False, kind="stable").index.to_list()
    for name, *cells in table:
        assert cells[3:5] == [f"{100 * now[name]:.2f}", f"{100 * before[name]:.2f}"]
        assert cells[5] == render.points(now[name] - before[name])


def test_the_first_weights_have_none_before_them(at):
    (told,) = json.loads(Result("show", "--as-of", "2012-02-01", "--json").output)
    assert told["previous_from"] is None
    assert {(row["previous"], row["change"]) for row in told["rows"]} == {(None, None)}
    assert "before:" not in Result("show", "--as-of", "2012-02-01").output


def test_a_check_ends_with_a_count_and_says_what_to_do(at):
    lines = Result("check").output.splitlines()
    passed, warnings = (sum(line.startswith(mark) for line in lines) for mark in ("ok ", "WARN "))
    assert lines[-1] == f"{passed} passed, {warnings} warnings, 0 failed."
    assert "→ Run `weights ledger check`: it names what was found, and the setting that resolves it." in lines


def test_a_terminal_gets_colours_and_a_pipe_the_same_bytes_however_wide_it_is(at, monkeypatch):
    code, coloured = seen("show", columns=100)
    assert code == 0
    assert "\x1b[32m+" in coloured
    assert "\x1b[31m-" in coloured
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, shown = seen("show", columns=100, **plain)
        assert (code, "\x1b" in shown) == (0, False)
        assert max(map(len, shown.splitlines())) <= 100
    piped = set()
    for columns in ("60", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        piped |= {
            tuple(Result(*TABLES[command]).output for command in ("show", "history", "diff", "explain", "ledger"))
        }
    assert len(piped) == 1
