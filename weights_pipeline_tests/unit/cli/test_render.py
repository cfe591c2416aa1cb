"""Tables and sentences: as wide as they are for a program that reads, and never wider than the terminal of a person."""

import contextlib
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.cli import render
from weights_pipeline_tests.support.commands import Screen

WORDS = st.text("abcdefghijklmnopqrstuvwxyz_/", min_size=1, max_size=24)
TEXT = st.lists(WORDS, max_size=8).map(" ".join)
NUMBER = st.floats(-1e6, 1e6).map(lambda number: f"{number:.2f}")
COLUMN = st.tuples(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), st.sampled_from([TEXT, NUMBER]))


@st.composite
def tables(draw):
    columns = draw(st.lists(COLUMN, min_size=1, max_size=9))
    rows = draw(st.lists(st.tuples(*(cells for _, cells in columns)).map(list), min_size=1, max_size=5))
    return rows, [heading for heading, _ in columns]


@pytest.fixture
def on_screen(monkeypatch):
    """What is printed to a terminal of so many columns."""

    def printed(columns, show, *arguments, **more):
        monkeypatch.setenv("COLUMNS", str(columns))
        with contextlib.redirect_stdout(Screen()) as screen:
            show(*arguments, **more)
        return screen.getvalue()

    monkeypatch.setenv("TERM", "dumb")
    return printed


def letters(*texts):
    return Counter(letter for text in texts for letter in text if letter not in " \n─")


@given(table=tables(), columns=st.integers(60, 140))
def test_no_table_is_wider_than_the_terminal_and_none_loses_a_letter(table, columns):
    rows, headings = table
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(Screen()) as screen:
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("TERM", "dumb")
        render.table(rows, headings)
    printed = screen.getvalue()
    assert max(map(len, printed.splitlines())) <= columns
    assert letters(printed) >= letters(*headings, *(cell for row in rows for cell in row))


def test_the_last_column_wraps_first(on_screen):
    rows = [["calmar_core/metrics", "extreme_values", "the largest value of calmar is 182.25, which is beyond 25"]]
    assert on_screen(60, render.table, rows, ["Table", "Check", "Finding"]).splitlines() == [
        "Table               Check          Finding",
        f"{'─' * 19} {'─' * 14} {'─' * 25}",
        "calmar_core/metrics extreme_values the largest value of",
        "                                   calmar is 182.25, which",
        "                                   is beyond 25",
    ]


def test_a_name_that_wraps_does_so_after_an_underscore_where_it_has_one(on_screen):
    headings = ["Strategy", *(f"figure {number}" for number in range(8)), "Why"]
    rows = [
        ["equal_weight_quarterly", *["1000.00"] * 8, "clipped at cap"],
        ["abcdefghijklmnopq", *["1.00"] * 8, "measured"],
    ]
    lines = on_screen(95, render.table, rows, headings).splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "][2:] == [
        "equal_",
        "weight_",
        "quarterly",
        "abcdefghijk",
        "lmnopq",
    ]


def test_what_fits_in_no_table_stands_row_by_row(on_screen):
    headings = [f"figure {number}" for number in range(12)]
    lines = on_screen(80, render.table, [["1234567.00"] * 12, ["2.00"] * 12], headings).splitlines()
    assert [line.split() for line in lines[:3]] == [[], ["figure", "0", "1234567.00"], ["figure", "1", "1234567.00"]]
    assert [line.split() for line in lines[13:15]] == [[], ["figure", "0", "2.00"]]


def test_a_program_that_reads_gets_the_same_bytes_however_wide_a_terminal_is(monkeypatch, capsys):
    seen = set()
    for columns in (40, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        render.table([["a" * 50, "+1.00", "why " * 20], ["b", "-2.00", ""]], ["Strategy", "Change", "Why"])
        render.say("A sentence that is longer than forty columns are, with a word in it.", mark="WARN ")
        seen.add(capsys.readouterr().out)
    (printed,) = seen
    lines = printed.splitlines()
    assert lines[2] == f"{'a' * 50}   +1.00  {'why ' * 19}why"
    assert lines[3] == f"b{' ' * 49}   -2.00"
    assert lines[4] == "WARN A sentence that is longer than forty columns are, with a word in it."


def test_sentences_wrap_between_words_and_names_stay_whole(on_screen):
    name = "/a/folder/" + "with_a_long_name/" * 3 + "weights.duckdb"
    printed = on_screen(50, render.say, f"  in the ledger: one two three four five six {name} is where it is", hang=4)
    assert printed == f"  in the ledger: one two three four five six\n    {name}\n    is where it is\n"
    assert on_screen(50, render.say, "a\n\n  b") == "a\n\n  b\n"


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (0.0123, "+1.23"),
        (-0.0123, "-1.23"),
        (0.0, "0.00"),
        (-1e-9, "0.00"),
        (1e-9, "0.00"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_changes_are_in_points_and_signed(change, shown):
    assert render.points(change) == shown


@pytest.mark.parametrize(
    ("terminal", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_of_states_and_of_changes_up_and_down(on_screen, monkeypatch, terminal, coloured):
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    rows = [["ok", "-1.00", "+2.00"], ["WARN", "-1.00", "-2.00"], ["ERROR", "-1.00", "0.00"]]
    printed = on_screen(80, render.table, rows, ["", "Value", "Change"]) + on_screen(80, render.say, "it", mark="fail ")
    found = [
        (text, code)
        for code, text in zip(
            ("32", "32", "33", "31", "31", "31"), ("ok", "+2.00", "WARN", "-2.00", "ERROR", "fail"), strict=True
        )
    ]
    assert [f"\x1b[{code}m" in printed and text in printed for text, code in found] == [coloured] * 6
    assert printed.count("\x1b[") == (12 if coloured else 0)


def test_rows_that_offend_are_shown_whatever_they_hold(capsys):
    rows = pd.DataFrame(
        {
            "as_of": pd.to_datetime(["2024-03-04", None]),
            "strategy": pd.Series(["a", None], dtype="str"),
            "value": [0.123456789, float("nan")],
            "line": pd.array([1, None], dtype="Int64"),
        }
    )
    render.rows_of(rows)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["as_of", "strategy", "value", "line"], lines[1], ["2024-03-04", "a", "0.123457", "1"], ["–"] * 4]
