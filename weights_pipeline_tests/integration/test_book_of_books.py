"""A book of books: what books have earned is a ledger, and a book on it is one like any other."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.support.data import DATA, LEDGER
from weights_pipeline.core.study.book_comparison import FEE
from weights_pipeline.ledger.returns_file import read_returns_file
from weights_pipeline.operations.book_returns import book_returns
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
