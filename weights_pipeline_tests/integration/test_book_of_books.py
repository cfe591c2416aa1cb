"""A book of books: what books have earned is a ledger, and a book on it is one like any other."""

import datetime as dt
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.support.data import DATA, LEDGER
from weights_pipeline.core.study.book_comparison import FEE
from weights_pipeline.ledger import LedgerError
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.returns_file import read_returns_file
from weights_pipeline.operations.book_returns import (
    NothingEarnedError,
    OthersFileError,
    book_returns,
    require_earned,
    write_book_returns,
)
from weights_pipeline.orchestration import sensors
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.report.facts import gather
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result

BOOKS = ("sharpe_weekly", "ensemble_regime")


@pytest.fixture
def at_home(finished_weekly, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(finished_weekly.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished_weekly.settings.home))
    return finished_weekly


def test_a_session_earns_what_the_weights_in_force_have_earned_less_fees(finished_weekly):
    own = finished_weekly
    found = book_returns([own.workspace.setup("sharpe_weekly")], own.store).set_index("session")["daily_return"]
    final = own.store.read("sharpe_weekly", catalog.FINAL_WEIGHTS)
    returns = own.store.read(LEDGER, catalog.STRATEGY_RETURNS).pivot(
        index="session", columns="strategy", values="daily_return"
    )
    starts, before, cost = sorted(final["effective_from"].unique()), None, 0.0
    for session in found.index[:40]:
        start = max(day for day in starts if day <= session)
        weights = final[final["effective_from"] == start].set_index("strategy")["final"]
        earned = float((weights * returns.loc[session].reindex(weights.index, fill_value=0.0)).sum())
        if before is not None and session == start:
            # What the strategies have made of yesterday's weights is not traded back: weights are held constant.
            cost = FEE * float((weights - before).abs().sum())
        else:
            cost = FEE * float(weights.abs().sum()) if before is None else 0.0
        before = weights
        assert found[session] == pytest.approx(earned - cost, abs=1e-15)


def test_the_file_is_what_the_report_tells_and_a_ledger_reads_every_bit_of_it(at_home, tmp_path):
    file = tmp_path / "returns.csv"
    told = json.loads(Result("books", "returns", *BOOKS, "--output", str(file), "--json").output)
    read = read_returns_file(file, calendar="XNYS", strategies=BOOKS)
    read.require_whole()
    assert told["rows"] == read.read
    [report] = gather(at_home.workspace, [BOOKS])
    for each in report.books:
        expected = each.earned.returns
        column = read.history.strategies.index(each.book.name)
        got = pd.Series(read.history.returns[:, column], index=read.history.sessions)[expected.index]
        np.testing.assert_array_equal(got.to_numpy(), expected.to_numpy())

    meta = yaml.safe_load((DATA / "books" / "sharpe_weekly.yaml").read_text()) | {
        "name": "of_books",
        "ledger": "desk_books",
        "strategies": {BOOKS[0]: 0.5, BOOKS[1]: 0.5},
    }
    (tmp_path / "of_books.yaml").write_text(yaml.safe_dump(meta))
    result = Result("simulate", "--book", str(tmp_path / "of_books.yaml"), "--returns", str(file), "--json")
    assert result.exit_code == 0, result.errors


@pytest.mark.parametrize("there", [True, False])
def test_a_book_that_has_earned_nothing_is_named_and_no_file_is_left(
    finished_weekly, desk, tmp_path, monkeypatch, there
):
    own, file = desk(finished_weekly.settings.data, like=finished_weekly if there else None), tmp_path / "returns.csv"
    if there:
        own.forget("ensemble_regime")
    monkeypatch.setenv("WEIGHTS_DATA", str(own.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(own.settings.home))
    result = Result("books", "returns", *BOOKS, "--output", str(file))
    assert (result.exit_code, file.exists()) == (2, False)
    assert f"book {BOOKS[there]}: its weights have not been in force" in result.errors


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("date,carry,fade\n2024-01-02,0.001,\n", "begins with 'date,carry,fade'"),
        ("session,strategy,daily_return\n2024-01-02,carry,0.001\n", "has carry"),
        ("", "begins with ''"),
    ],
)
def test_somebody_elses_file_is_not_replaced(tmp_path, there, said):
    file = tmp_path / "returns.csv"
    rows = pd.DataFrame({"session": [pd.Timestamp("2024-01-02")], "strategy": ["one"], "daily_return": [0.1]})
    file.write_text(there)
    with pytest.raises(OthersFileError, match=f"{said}: it holds something other than returns of one"):
        write_book_returns(file, rows)
    assert file.read_text() == there
    file.unlink()
    written = write_book_returns(file, rows)
    later = pd.concat([rows, rows.assign(session=pd.Timestamp("2024-01-03"))])
    assert written == write_book_returns(file, rows) == file.read_text() != write_book_returns(file, later)


DESK_BOOKS = {
    "name": "desk_books",
    "description": "What the books of the desk have earned, after fees.",
    "returns": ["desk_books/returns.csv"],
    "books": list(BOOKS),
    "timezone": "America/New_York",
    "calendar": "XNYS",
    "first_month": "2012-01",
}
OF_BOOKS = {"name": "of_books", "ledger": "desk_books", "strategies": {BOOKS[0]: 0.6, BOOKS[1]: 0.4}}


def meta_desk(like, desk, folder, **changes):
    """The weekly desk with a ledger of its books and a book on that."""
    data = shutil.copytree(like.settings.data, folder / "data")
    meta = yaml.safe_load((DATA / "books" / "sharpe_weekly.yaml").read_text()) | OF_BOOKS
    (data / "books" / "of_books.yaml").write_text(yaml.safe_dump(meta))
    (data / "ledgers" / "desk_books.yaml").write_text(yaml.safe_dump(DESK_BOOKS | changes))
    return desk(data, like=like)


def test_a_ledger_of_books_is_written_before_it_is_read_and_read_again_when_they_change(
    finished_weekly, desk, tmp_path, monkeypatch
):
    own = meta_desk(finished_weekly, desk, tmp_path, first_month="2012-03")
    graph = build_definitions(own.workspace).resolve_asset_graph()
    earned = dg.AssetKey(["desk_books_ledger", "book_returns"])
    above = {key.to_user_string() for key in graph.get(earned).parent_keys}
    assert above == {f"{LEDGER}/strategy_returns", *(f"{name}/final_weights" for name in BOOKS)}
    assert earned in graph.get(dg.AssetKey(["desk_books_ledger", "ledger_files"])).parent_keys

    own.job("desk_books_ledger", "2012-03-01", "2012-12-01")
    expected = book_returns([own.workspace.setup(name) for name in BOOKS], own.store)
    assert expected["session"].min() < pd.Timestamp("2012-03-01")
    expected = expected[expected["session"].between("2012-03-01", "2012-12-31")]
    # What the books have earned before the ledger begins is nothing to reject.
    assert own.store.read("desk_books_ledger", catalog.REJECTED_LOTS).empty
    stored = own.store.read("desk_books_ledger", catalog.STRATEGY_RETURNS)
    found = stored.merge(expected, on=["session", "strategy"], suffixes=("", "_expected"))
    assert len(found) == len(expected) > 200
    assert found["daily_return"].tolist() == found["daily_return_expected"].tolist()
    weeks = own.workspace.setup("of_books").periods.keys("2012-03-01", "2012-04-30")
    own.job("of_books", weeks[0], weeks[-1], checks=False)

    monkeypatch.setattr(sensors, "QUIET", sensors.dt.timedelta())
    sensor = build_definitions(own.workspace).resolve_sensor_def("desk_books_ledger_changes")

    def tick(cursor):
        with dg.build_sensor_context(instance=own.instance, cursor=cursor) as context:
            return sensor.evaluate_tick(context)

    begun = tick(None)
    file = own.settings.data / "desk_books" / "returns.csv"
    before = file.stat().st_mtime_ns
    own.job("desk_books_ledger", "2012-12-01", checks=False)
    # What holds what it held is left, and is no change.
    assert file.stat().st_mtime_ns == before
    assert tick(begun.cursor).skip_message == "Nothing has changed."
    own.forget(BOOKS[0], max(own.store.partitions(BOOKS[0], "final_weights")))
    changed = tick(begun.cursor)
    assert "Something has changed" in changed.skip_message
    assert tick(changed.cursor).run_requests


def test_a_book_whose_returns_are_not_there_yet_is_named_and_nothing_is_read(finished_weekly, desk, tmp_path):
    own = meta_desk(finished_weekly, desk, tmp_path)
    definitions = build_definitions(own.workspace)
    crons = [
        definitions.resolve_schedule_def(f"{name}_refresh").cron_schedule for name in (LEDGER, "desk_books_ledger")
    ]
    assert crons == ["30 5 * * *", "0 6 * * *"]
    own.job("desk_books_ledger", "2012-01-01", "2012-11-01", checks=False)
    before = own.store.partitions("desk_books_ledger", "strategy_returns")
    own.forget(LEDGER, "2012-12-01")
    result = own.try_job("desk_books_ledger", "2012-11-01", "2012-12-01", checks=False)
    assert not result.success
    assert "book sharpe_weekly: the returns of ledger sample do not reach 2012-12-31" in "".join(own.errors(result))
    assert own.store.partitions("desk_books_ledger", "strategy_returns") == before


@pytest.mark.parametrize("ended", [True, False])
def test_of_a_ledger_that_has_ended_nothing_later_is_asked_for(finished_weekly, ended):
    setup = finished_weekly.workspace.setup(BOOKS[0])
    last = "2013-01" if ended else None
    setup = replace(setup, source=setup.source.model_copy(update={"last_month": last}))
    months = ledger_months(setup.source).begun(dt.datetime(2013, 1, 31, tzinfo=dt.UTC))
    later = replace(months[-1], key="2013-02-01", end=months[-1].end + dt.timedelta(days=28))
    now = dt.datetime(2013, 3, 5, tzinfo=dt.UTC)
    with nullcontext() if ended else pytest.raises(NothingEarnedError, match="do not reach 2013-02-28"):
        require_earned([setup], finished_weekly.store, [*months, later], now)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"books": ["sharpe_weekly", "nobody"]}, "books: nobody not among the books there are"),
        ({"books": ["sharpe_weekly", "of_books"]}, "books: book of_books reads this ledger"),
        ({"returns": ["desk_books/*.csv"]}, "expected returns: [FILE.csv] alone"),
        ({"returns": ["a.csv", "b.csv"]}, "expected returns: [FILE.csv] alone"),
        ({"lots": ["lots.csv"]}, "expected returns: [FILE.csv] alone"),
    ],
)
def test_a_ledger_of_books_that_cannot_be_is_refused(finished_weekly, desk, tmp_path, changes, said):
    own = meta_desk(finished_weekly, desk, tmp_path, **changes)
    with pytest.raises(LedgerError, match=r"desk_books\.yaml") as error:
        own.workspace.setup("of_books")
    assert said in str(error.value)
    assert own.workspace.setup(BOOKS[0]).name == BOOKS[0]
