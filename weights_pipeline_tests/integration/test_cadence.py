"""Quarters and every so many sessions through Dagster: a history at once, and a desk that goes along, as simulated."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import yaml

from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.orchestration.runs import RangeError
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result

CADENCES = {
    "quarters": {"kind": "quarterly", "day": 2, "first_month": 2},
    "fortnights": {"kind": "sessions", "every": 10, "time": "17:00"},
}
SESSIONS = calendar_sessions("XNYS", dt.date(2012, 1, 1), dt.date(2012, 7, 31))


@pytest.fixture
def own(tmp_path, desk, monkeypatch):
    """A desk on seven months of daily returns of three strategies, with a book of each cadence."""
    data = tmp_path / "data"
    (data / "books").mkdir(parents=True)
    (data / "ledgers").mkdir()
    names = ["alpha", "beta", "gamma"]
    drawn = np.random.default_rng(7).normal(3e-4, 0.01, (len(SESSIONS), len(names)))
    pd.DataFrame(drawn, index=SESSIONS.rename("date"), columns=names).to_csv(data / "returns.csv")
    ledger = {"name": "desk", "description": "Returns.", "returns": ["returns.csv"], "timezone": "America/New_York"}
    ledger |= {"first_month": "2012-01", "last_month": "2012-07"}
    (data / "ledgers" / "desk.yaml").write_text(yaml.safe_dump(ledger))
    for name, cadence in CADENCES.items():
        book = {"name": name, "description": "A trial.", "owner": "team:allocation", "account": "paper"}
        book |= {"ledger": "desk", "cadence": cadence, "timezone": "America/New_York", "max_age": 120}
        book |= {"strategies": dict.fromkeys(names, 1 / 3), "limits": {}, "overlay": None, "max_turnover": 1.0}
        book |= {"method": {"kind": "sharpe_tilt", "lookback": "30d"}, "adjustment": {"rate": 0.5}}
        (data / "books" / f"{name}.yaml").write_text(yaml.safe_dump(book))
    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    return desk(data)


def simulated(own, name, tmp_path):
    """Final weights of a book, computed in memory from the returns that the ledger read."""
    output, folder = tmp_path / f"{name}.parquet", own.settings.data
    arguments = ["simulate", "--book", str(folder / "books" / f"{name}.yaml")]
    result = Result(*arguments, "--returns", str(folder / "returns.csv"), "--output", str(output))
    assert result.exit_code == 0, result.errors
    return pd.read_parquet(output)


def test_history_at_once_and_a_desk_that_goes_along_are_the_simulated_one(own, tmp_path):
    everything = own.done(book="quarters")
    assert all(check.passed for check in everything.checks if check.error)
    keys = [window.key for window in own.workspace.setups["fortnights"].periods.ended(dt.datetime.now(dt.UTC))]
    assert (len(keys), keys[:3]) == (14, ["2012-01-01", "2012-01-17", "2012-01-31"])
    own.job("fortnights", keys[0], keys[-2], checks=False)
    with pytest.raises(RangeError, match="2012-05-01 is not a period of book fortnights; periods run from 2012-01-01"):
        own.run("2012-05-01", book="fortnights")
    report = own.done("latest", book="fortnights")
    assert (report.first, report.last) == (keys[-1], keys[-1])
    assert all(check.passed for check in report.checks if check.error)
    columns = ["as_of", "effective_from", "strategy", "realized", "final", "next_rebalance"]
    for name, partitions in (("quarters", ["2012-02-01", "2012-05-01"]), ("fortnights", keys)):
        assert sorted(own.store.partitions(name, catalog.FINAL_WEIGHTS.name)) == partitions
        stored, expected = own.store.read(name, catalog.FINAL_WEIGHTS), simulated(own, name, tmp_path)
        pd.testing.assert_frame_equal(expected[columns], stored[columns], check_exact=True, check_dtype=False)
    newest = stored[stored["as_of"] == stored["as_of"].max()].iloc[0]
    # The last of the history, on the 140th session: due again ten sessions later.
    assert newest["as_of"] == SESSIONS[139]
    assert newest["next_rebalance"] == "2012-08-06T17:00-04:00"
