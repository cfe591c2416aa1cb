"""The command ``weights ensemble update``: sets made by hand, what they replace, the document they are handed on as."""

import datetime as dt
import json
import threading

import duckdb
import pandas as pd
import pytest

from benchmarks.support.data import LEDGER, WEEKLY_BOOKS
from weights_pipeline.books.load import load_book
from weights_pipeline.core.ensembles import WEIGHT_SETS, all_weight_sets, ensemble_targets
from weights_pipeline.files import write_text
from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.operations.ensemble_updates import make_update, policy_with, store_update
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import GateError
from weights_pipeline_tests.support.commands import Result

BOOK = WEEKLY_BOOKS[1]
NOW = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
REBALANCE = "2012-11-02"


@pytest.fixture
def own(finished_weekly, desk, monkeypatch):
    """A desk whose store a test may change; the environment points to it."""
    copy = desk(finished_weekly.settings.data, like=finished_weekly)
    monkeypatch.setenv("WEIGHTS_DATA", str(copy.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(copy.settings.home))
    return copy


def update(*arguments, book=BOOK):
    return Result("ensemble", "update", "--book", book, *map(str, arguments))


def stored(desk):
    return desk.store.read(BOOK, catalog.ENSEMBLE_UPDATES)


def by_hand(desk, sets=WEIGHT_SETS, day=REBALANCE, **changes):
    """An update as the command makes it."""
    setup = desk.workspace.setup(BOOK)
    policy = policy_with(setup.policy, **changes)
    return make_update(setup, policy, sets=sets, day=dt.date.fromisoformat(day))


def test_sets_are_those_of_a_rebalance_on_the_same_session_bit_for_bit(own):
    result = update("--as-of", REBALANCE)
    assert result.exit_code == 0, result.errors
    scheduled = own.store.read(BOOK, catalog.ENSEMBLE_WEIGHTS)
    scheduled = scheduled[scheduled["as_of"] == REBALANCE].reset_index(drop=True)
    assert len(scheduled) == 5 * 16
    pd.testing.assert_frame_equal(stored(own).drop(columns="policy"), scheduled, check_exact=True)
    told = json.loads(stored(own)["policy"].iloc[0])
    assert told["method"]["kind"] == "softmax_sharpe"
    assert told["metrics"]["risk_free"] == 0.045


def test_document_and_table_agree_with_the_store(own):
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    result = update("--as-of", "2012-11-04")
    file = own.settings.home / BOOK / "weights.json"
    document = json.loads(file.read_text())
    rows = stored(own)
    assert f"Wrote {file}." in result.output
    # A Sunday: the newest session by then.
    assert document["as_of"] == REBALANCE
    assert before <= dt.datetime.fromisoformat(document["timestamp"]) <= dt.datetime.now(dt.UTC)
    assert document["book"] == BOOK
    regimes = own.store.read(LEDGER, catalog.MARKET_REGIME).set_index("session")["regime"]
    assert document["current_regime"] == regimes[REBALANCE]
    assert list(document["weights"]) == list(WEIGHT_SETS)
    metadata = document["metadata"]
    for name in WEIGHT_SETS:
        own_rows = rows[rows["weight_set"] == name].set_index("strategy")
        assert document["weights"][name] == own_rows["target"].to_dict()
        assert metadata["sessions"][name] == own_rows["sessions"].iloc[0]
        assert metadata["is_active"][name] == own_rows["is_active"].any()
        assert metadata["snapshot"][name] == REBALANCE
        line = next(line for line in result.output.splitlines() if line.startswith(name))
        assert line.split()[1:3] == [str(own_rows["sessions"].iloc[0]), "yes" if own_rows["is_active"].any() else "no"]
        top = own_rows["target"].sort_values(ascending=False, kind="stable").index[0]
        assert f"{top} {own_rows['target'].max():.2%}" in line
    pooled = rows[rows["weight_set"] == "all"].set_index("strategy")["metrics"].map(json.loads).to_dict()
    assert document["metrics"] == pooled
    assert None in {value for figures in pooled.values() for value in figures.values()}
    assert (metadata["method"], metadata["lookback"], metadata["source"]) == ("softmax_sharpe", "60d", "manual")
    assert metadata["parameters"] == {"lookback": "60d", "temperature": 1.0, "drawdown_scale": 0.5}
    assert metadata["dry_run"] is False


def test_the_newest_session_in_the_store_is_the_default(own):
    document = json.loads(update("--dry-run", "--json").output)
    newest = own.store.read(LEDGER, catalog.STRATEGY_RETURNS)["session"].max()
    assert document["as_of"] == str(newest.date())


def test_nothing_after_the_day_is_read(own):
    with duckdb.connect(str(own.store.path)) as connection:
        connection.execute(f"DELETE FROM {LEDGER}.strategy_returns WHERE session > DATE '{REBALANCE}'")
        connection.execute(f"DELETE FROM {LEDGER}.market_regime WHERE session > DATE '{REBALANCE}'")
    cut = json.loads(update("--dry-run", "--json").output)
    assert cut["as_of"] == REBALANCE
    scheduled = own.store.read(BOOK, catalog.ENSEMBLE_WEIGHTS)
    newest = scheduled[(scheduled["as_of"] == REBALANCE) & (scheduled["weight_set"] == "bull")]
    assert cut["weights"]["bull"] == newest.set_index("strategy")["target"].to_dict()


def test_an_update_run_again_replaces_and_never_doubles(own):
    update("--as-of", REBALANCE)
    once, record = stored(own), own.store.partitions(BOOK, "ensemble_updates")[""]
    update("--as-of", REBALANCE)
    pd.testing.assert_frame_equal(stored(own), once, check_exact=True)
    again = own.store.partitions(BOOK, "ensemble_updates")[""]
    assert (again.rows, again.content_hash) == (record.rows, record.content_hash)
    assert (again.rows, again.run_id) == (80, "manual")

    update("--as-of", REBALANCE, "--regime", "bull", "--lookback-days", "120")
    rows = stored(own)
    assert len(rows) == 80
    changed = rows["weight_set"] == "bull"
    pd.testing.assert_frame_equal(rows[~changed], once[~changed], check_exact=True)
    assert (rows.loc[changed, "metric"] == "sharpe_120d").all()
    assert (rows.loc[changed, "target"] != once.loc[changed, "target"]).any()

    update("--as-of", "2012-11-05", "--regime", "bull")
    assert stored(own).groupby(["as_of", "weight_set"]).size().tolist() == [16] * 6


def test_one_regime_makes_that_set_alone(own):
    document = json.loads(update("--as-of", REBALANCE, "--regime", "bull", "--json").output)
    assert list(document["weights"]) == ["bull"]
    rows = stored(own)
    assert set(rows["weight_set"]) == {"bull"}
    assert document["metrics"] == rows.set_index("strategy")["metrics"].map(json.loads).to_dict()


def test_an_inactive_set_is_stored_and_says_so_but_replaces_no_active_one(own):
    first = update("--as-of", REBALANCE)
    inactive = set(stored(own).loc[~stored(own)["is_active"], "weight_set"])
    assert inactive
    assert "all" not in inactive
    for name in inactive:
        assert f"{name}: nothing could be measured; the set is not active and will not be read." in first.output
    assert "stays" not in first.output

    update("--as-of", REBALANCE, "--method", "equal")
    assert stored(own)["is_active"].all()
    equal = stored(own)
    again = update("--as-of", REBALANCE)
    for name in inactive:
        assert (
            f"{name}: nothing could be measured; the set is not active and will not be read. The active" in again.output
        )
    rows = stored(own)
    kept = rows["weight_set"].isin(inactive)
    pd.testing.assert_frame_equal(rows[kept], equal[kept], check_exact=True)
    assert rows.loc[~kept, "policy"].str.contains("softmax_sharpe").all()


def test_a_dry_run_stores_nothing_and_writes_where_it_is_told_to(own, tmp_path):
    result = update("--dry-run", "--as-of", REBALANCE)
    assert result.exit_code == 0
    assert "Dry run: nothing was stored." in result.output
    assert "Wrote" not in result.output
    assert stored(own).empty
    assert own.store.partitions(BOOK, "ensemble_updates") == {}
    assert not (own.settings.home / BOOK).exists()
    update("--dry-run", "--as-of", REBALANCE, "--output", tmp_path / "out" / "weights.json")
    assert json.loads((tmp_path / "out" / "weights.json").read_text())["metadata"]["dry_run"] is True
    assert stored(own).empty


def test_rebalances_read_an_update_before_their_own_set_of_the_same_day(own):
    update("--as-of", REBALANCE, "--method", "equal")
    regimes = own.store.read(LEDGER, catalog.MARKET_REGIME).set_index("session")["regime"]
    sets = all_weight_sets(own.store.read(BOOK, catalog.ENSEMBLE_WEIGHTS), stored(own))
    policy = load_book(own.settings.data / "books" / f"{BOOK}.yaml").policy()
    sessions = calendar_sessions("XNYS", dt.date(2012, 1, 1), dt.date(2013, 1, 31))
    dates = pd.DatetimeIndex([REBALANCE, "2012-11-09"])
    read = ensemble_targets(sets, regimes, dates, sessions, policy)
    assert read.loc[read["as_of"] == REBALANCE, "target"].tolist() == [1 / 16] * 16
    assert read.loc[read["as_of"] == "2012-11-09", "target"].nunique() > 2


def test_explain_names_a_set_made_by_hand(own):
    update("--as-of", REBALANCE)
    told = json.loads(Result("explain", "--book", BOOK, "--strategy", "rsi2", "--as-of", "2012-11-06", "--json").output)
    assert told["behind_the_metric"]["source"] == "made by hand"
    # Not what the rebalance had read.
    update("--as-of", REBALANCE, "--method", "equal")
    told = json.loads(Result("explain", "--book", BOOK, "--strategy", "rsi2", "--as-of", "2012-11-06", "--json").output)
    assert told["behind_the_metric"]["source"] == "made at a rebalance"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--method", "alchemy"), 2, "method: expected one of calmar_tilt, calmar_weighted, composite, equal, fixed"),
        (("--method", "composite"), 2, "method: composite has no default for weights, lookback"),
        (("--method", "fixed"), 2, "allocations: none given"),
        (("--method", "calmar_tilt"), 2, "limits: "),
        (("--lookback-days", "0"), 2, "lookback: expected months, days or sessions"),
        (("--method", "equal", "--lookback-days", "30"), 2, "lookback: method equal reads nothing over a window"),
        (("--regime", "sideways"), 2, "invalid choice: 'sideways'"),
        (("--as-of", "2011-06-01"), 3, "sample_ledger.strategy_returns has no session by 2011-06-01"),
        (("--book", WEEKLY_BOOKS[0]), 2, f"book {WEEKLY_BOOKS[0]} keeps one weight set whatever the market"),
        (("--book", "nonsense"), 2, "unknown book 'nonsense'; there are"),
    ],
)
def test_exit_codes_and_messages(own, arguments, code, message):
    result = update(*arguments)
    assert result.exit_code == code
    assert message in result.errors
    assert result.output == ""
    assert stored(own).empty


def test_the_own_method_keeps_the_parameters_of_the_book(own):
    policy = load_book(own.settings.data / "books" / f"{BOOK}.yaml", changes={"method.temperature": 2.0}).policy()
    assert policy_with(policy, "softmax_sharpe", 30).method.temperature == 2.0
    assert policy_with(policy, "proportional_sharpe").longest_lookback.label == "90d"


def test_an_old_benchmark_or_a_gap_in_the_returns_is_a_failure(own):
    with duckdb.connect(str(own.store.path)) as connection:
        connection.execute(f"DELETE FROM {LEDGER}.market_regime WHERE session > DATE '2012-10-01'")
    stale = update("--as-of", REBALANCE)
    assert stale.exit_code == 1
    assert "the newest is that of 2012-10-01" in stale.errors
    with duckdb.connect(str(own.store.path)) as connection:
        connection.execute(f"DELETE FROM {LEDGER}.strategy_returns WHERE session BETWEEN '2012-08-01' AND '2012-08-31'")
    gap = update("--as-of", "2012-09-28")
    assert gap.exit_code == 1
    assert "daily_return missing after the first activity" in gap.errors
    with duckdb.connect(str(own.store.path)) as connection:
        connection.execute(f"DELETE FROM {LEDGER}.market_regime")
    none = update()
    assert none.exit_code == 3
    assert "market_regime has no session" in none.errors
    assert stored(own).empty


def test_nothing_there_yet(own, monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path / "empty"))
    result = update()
    assert result.exit_code == 3
    assert "Run `weights run` first" in result.errors
    assert not (tmp_path / "empty").exists()


def test_updates_at_once_lose_no_set(own):
    updates = [by_hand(own, (name,)) for name in WEIGHT_SETS]
    ready = threading.Barrier(len(updates))

    def go(one):
        ready.wait()
        store_update(one, own.store, recorded_at=NOW)

    threads = [threading.Thread(target=go, args=(one,)) for one in updates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(own).groupby("weight_set").size().to_dict() == dict.fromkeys(WEIGHT_SETS, 16)


def test_a_refused_update_leaves_rows_and_manifest_as_they_were(own):
    store_update(by_hand(own), own.store, recorded_at=NOW)
    before, records = stored(own), own.store.partitions(BOOK, "ensemble_updates")
    wrong = by_hand(own)
    wrong.rows.loc[3, "target"] += 0.1
    with pytest.raises(GateError, match="weights sum to 1"):
        store_update(wrong, own.store, recorded_at=NOW)
    pd.testing.assert_frame_equal(stored(own), before, check_exact=True)
    assert own.store.partitions(BOOK, "ensemble_updates") == records


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "weights.json"
    write_text(file, "old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("weights_pipeline.files.os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
