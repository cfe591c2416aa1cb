"""A book changes and its past does not: each partition is judged by the policy that it was made under."""

import datetime as dt
import re
import shutil

import dagster as dg
import pandas as pd
import pytest

from benchmarks.support.data import edit_yaml
from weights_pipeline.books.load import load_book
from weights_pipeline.books.reading import BookError
from weights_pipeline.checks import book_checks
from weights_pipeline.ledger import LedgerError
from weights_pipeline.operations.rebalance import open_history
from weights_pipeline.report.facts import gather
from weights_pipeline.report.words import headline
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.store.queries import weights_in_force
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import list_versions, weights_known
from weights_pipeline.versions.policies import PolicyError
from weights_pipeline.versions.publication import live_weights
from weights_pipeline.versions.recompute import reproduce
from weights_pipeline_tests.support.desk import Desk
from weights_pipeline_tests.support.returns_desk import BOOK, LEDGER, random_returns, write_book, write_ledger

STRATEGIES = {"ant": 0.5, "bee": 0.3, "cow": 0.2}
LAST = 5
"""Month of 2024 up to which the book was run as it was."""

LEFT, JOINED = {"ant": 0.6, "cow": 0.4}, {"ant": 0.4, "bee": 0.2, "cow": 0.2, "dog": 0.2}
NERVOUS = {"vol_accel_enter": 1.05, "vol_accel_exit": 1.0, "corr_shock_enter": 0.02, "corr_shock_exit": 0.0}
OVERLAY = {"enabled": True, "profile": "low", "lag": 1}
TARGETED = OVERLAY | {"volatility_target": {"target": 0.3, "window": 20, "cap": 1.5}}
CHANGES = {
    "rate": {"adjustment": {"rate": 0.1}},
    "turnover cap": {"adjustment": {"rate": 0.5, "turnover_cap": 0.01}},
    "optimal speed": {"adjustment": {"kind": "optimal", "cost": 4, "half_life": 6}},
    "no-trade band": {"adjustment": {"rate": 0.5, "band": 0.01}},
    "caps": {"limits": {"floor": 0.9, "cap": 1.1}},
    "base weights": {"strategies": {"ant": 0.4, "bee": 0.4, "cow": 0.2}},
    "a strategy leaves": {"strategies": LEFT},
    "a strategy joins": {"strategies": JOINED},
    "method": {"method": {"kind": "calmar_tilt", "lookback": "6m"}},
    "another window": {"method": {"kind": "sharpe_tilt", "lookback": "30d"}},
    "thresholds": {"overlay": OVERLAY | {"thresholds": NERVOUS}},
    "profile": {"overlay": OVERLAY | {"profile": "high"}},
    "lag": {"overlay": OVERLAY | {"lag": 30}},
    "overlay disabled": {"overlay": OVERLAY | {"enabled": False}},
    "no overlay": {"overlay": None},
    "volatility target": {"overlay": TARGETED},
    "sleeves": {"overlay": OVERLAY | {"sleeves": {"ant": "fast", "bee": "fast"}}},
}
HEDGES = {"strategies": ["dog"], "weight": 0.1, "regimes": ["ELEVATED", "STRESS", "CRISIS"], "ramp": 0.5}


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """A desk whose ledger was run to its end, and whose book up to May 2024 as it was; tests work on copies."""
    folder = tmp_path_factory.mktemp("decided")
    write_ledger(folder / "data", random_returns(*JOINED, first="2024-01-02", last="2024-08-30"))
    write_book(folder / "data", STRATEGIES)
    with dg.DagsterInstance.ephemeral() as instance:
        own = Desk(folder / "data", folder / "home", instance)
        own.job(LEDGER, "2024-01-01", "2024-08-01")
        rebalance(own, 1, LAST)
        yield own


@pytest.fixture
def own(decided, desk, tmp_path):
    return desk(shutil.copytree(decided.settings.data, tmp_path / "data"), like=decided)


def rebalance(own, first, last=None, policy="today"):
    """Run the book alone over months of 2024, without the checks: what they would find, ``misses`` tells."""
    own.job(BOOK, f"2024-{first:02d}-01", f"2024-{last or first:02d}-01", checks=False, policy=policy)


def change(own, **keys):
    edit_yaml(own.settings.data / "books" / f"{BOOK}.yaml", **keys)


def misses(own):
    """What checks of the book find wrong."""
    once = ReadOnce(own.store)
    with once.view():
        found = {check: check.run(once) for check in book_checks(own.workspace.setup(BOOK))}
    return {check.name: finding.summary for check, finding in found.items() if check.error and not finding.passed}


def differing(own):
    """Versions that come out different when they are computed again."""
    with own.store.view():
        versions = own.store.read(BOOK, catalog.WEIGHT_HISTORY)["version"].unique()
        return [number for number in versions if not reproduce(own.store, BOOK, int(number)).finding.passed]


@pytest.mark.parametrize("changed", CHANGES)
def test_whatever_changes_the_past_stays_right(own, changed):
    change(own, **CHANGES[changed])
    assert misses(own) == {}


def test_months_with_an_optimal_speed_and_a_band_are_checked_and_computed_again(own):
    change(own, adjustment={"kind": "optimal", "cost": 4, "half_life": 6, "band": 0.02})
    rebalance(own, LAST + 1, LAST + 3)
    realized = own.store.read(BOOK, catalog.REALIZED_WEIGHTS)
    aimed = realized[realized["as_of"] > "2024-06-01"].merge(
        own.store.read(BOOK, catalog.TARGET_WEIGHTS), on=["as_of", "strategy"], suffixes=("", "_whole")
    )
    assert (aimed["target"] != aimed["target_whole"]).all()
    assert (aimed["rate"] == 0).any()
    assert (misses(own), differing(own)) == ({}, [])


@pytest.mark.xdist_group("skfolio")
def test_an_optimiser_that_counts_costs_trades_from_what_is_held(own, desk, tmp_path):
    pytest.importorskip("skfolio", reason="an extra: pip install -e '.[skfolio]'")
    optimiser = {"kind": "MeanRisk", "objective_function": "maximize_utility", "risk_aversion": 5.0}
    method = {"kind": "skfolio", "lookback": "40s", "cost_horizon": 21, "optimiser": optimiser}
    change(own, method=method, adjustment={"rate": 1.0}, costs={"fee": 0.0005, "by_strategy": {"bee": 0.001}})
    step = desk(shutil.copytree(own.settings.data, tmp_path / "steps"), like=own)
    rebalance(own, LAST + 1, LAST + 2)
    for month in (LAST + 1, LAST + 2):
        rebalance(step, month)
    for table in (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.FINAL_WEIGHTS):
        pd.testing.assert_frame_equal(own.store.read(BOOK, table), step.store.read(BOOK, table), check_exact=True)
    assert (misses(own), differing(own)) == ({}, [])
    # What trading costs is part of the policy now.
    change(own, costs={"fee": 0.002})
    (error,) = own.errors(own.try_job(BOOK, "2024-07-01", checks=False))
    assert "costs.fee 0.0005 → 0.002" in error


def test_costs_that_no_method_counts_are_no_other_policy(own):
    change(own, costs={"fee": 0.0005})
    own.job(BOOK, "2024-05-01", checks=False)
    assert differing(own) == []


def test_the_past_that_somebody_altered_is_wrong_still(own):
    change(own, **CHANGES["profile"])
    with own.store.writing() as connection:
        connection.execute(f"UPDATE {BOOK}.final_weights SET final = final * 1.01 WHERE as_of = '2024-05-31'")
    assert {"final_is_realized_times_scalar", "no_look_ahead"} <= set(misses(own))


WEEKLY = {"kind": "weekly", "weekday": "sunday", "time": "18:00"}


def periods(own):
    """Keys of all partitions of the book."""
    return [window.key for window in own.workspace.setup(BOOK).periods.ended(dt.datetime.now(dt.UTC))]


def test_partitions_of_another_cadence_are_put_away_once_and_never_read(tmp_path, desk):
    data = tmp_path / "data"
    write_ledger(data, random_returns("ant", "bee", first="2024-02-01", last="2024-02-29"))
    write_book(data, {"ant": 0.5, "bee": 0.5}, cadence=WEEKLY)
    own = desk(data)
    own.job(LEDGER, "2024-02-01")
    keys = periods(own)
    own.job(BOOK, keys[0], keys[-1], checks=False)
    before = own.store.read(BOOK, catalog.FINAL_WEIGHTS)
    change(own, cadence=WEEKLY | {"weekday": "friday"})
    assert set(misses(own)) <= {"no_gap"}
    keys = periods(own)
    own.job(BOOK, keys[0], keys[-1], checks=False)
    assert misses(own) == {}
    for table in ("metrics", "target_weights", "realized_weights", "risk_scalar", "final_weights"):
        assert list(own.store.partitions(BOOK, table)) == keys
    [shown] = weights_in_force(own.store, BOOK, dt.date(2024, 4, 1))
    assert [row.strategy for row in shown.rows] == ["ant", "bee"]
    now = dt.datetime.now(dt.UTC)
    newest = weights_known(own.store, BOOK, dt.date(2024, 4, 1), now)
    assert {row.strategy: row.final for row in newest.rows} == {row.strategy: row.final for row in shown.rows}
    live = live_weights(own.workspace.setup(BOOK), dt.datetime(2024, 4, 1, 12, tzinfo=dt.UTC))
    assert live.version == newest.version
    assert len(gather(own.workspace, [[BOOK]])[0].books[0].moves) == 2
    history = own.store.read(BOOK, catalog.WEIGHT_HISTORY)
    assert {*before["as_of"]} <= {*history["as_of"]}
    assert differing(own) == []


def test_a_book_begins_on_its_first_day_from_what_was_published(tmp_path, desk):
    data, opened = tmp_path / "data", {"ant": 0.4, "bee": 0.3, "cow": 0.3}
    write_ledger(data, random_returns(*STRATEGIES, first="2024-01-02", last="2024-05-31"))
    write_book(data, opened, starts="2024-04")
    own = desk(data)
    now = dt.datetime(2024, 4, 1, 12, tzinfo=dt.UTC)
    open_history(own.workspace.setup(BOOK), dt.date(2024, 4, 1), now=now)
    change(own, strategies=STRATEGIES)
    own.job(LEDGER, "2024-01-01", "2024-05-01", checks=False)
    rebalance(own, 4, 5)
    assert list(own.store.partitions(BOOK, "final_weights")) == ["2024-04-01", "2024-05-01"]
    assert misses(own) == {}
    realized = own.store.read(BOOK, catalog.REALIZED_WEIGHTS)
    first = realized[realized["as_of"] == realized["as_of"].min()].set_index("strategy")
    assert first["previous"].to_dict() == opened
    assert not first["entered"].any()
    counted = own.store.read(BOOK, catalog.METRICS).query("metric == 'n_sessions'")
    assert counted["value"].min() > 60
    assert weights_known(own.store, BOOK, dt.date(2024, 4, 15), dt.datetime.now(dt.UTC)).rebalance == "init"

    # Later, what was rebalanced before its first day is what it starts from.
    change(own, starts="2024-05")
    rebalance(own, 5)
    assert list(own.store.partitions(BOOK, "final_weights")) == ["2024-05-01"]
    again = own.store.read(BOOK, catalog.REALIZED_WEIGHTS).set_index("strategy")
    assert again["previous"].to_dict() == first["realized"].to_dict()
    assert misses(own) == {}
    assert differing(own) == []
    known = weights_known(own.store, BOOK, dt.date(2024, 5, 15), dt.datetime.now(dt.UTC))
    assert (known.rebalance, {row.strategy: row.realized for row in known.rows}) == (
        "2024-04-01",
        first["realized"].to_dict(),
    )


def test_a_first_day_is_one_of_the_ledger(tmp_path, desk):
    write_ledger(tmp_path / "data", random_returns("ant", "bee", first="2024-02-01", last="2024-05-31"))
    write_book(tmp_path / "data", {"ant": 0.5, "bee": 0.5}, starts="2024-01")
    with pytest.raises(LedgerError, match="book desk_book: starts: expected a month of ledger desk, from 2024-02 to "):
        desk(tmp_path / "data").workspace.setup(BOOK)


DATED = {
    "2024-06": {
        "strategies": JOINED,
        "adjustment": {"rate": 0.2},
        "overlay": OVERLAY | {"thresholds": NERVOUS, "lag": 5},
    },
    "2024-07": {"strategies": LEFT, "method": {"kind": "calmar_tilt", "lookback": "6m"}},
    "2024-08": {"overlay": OVERLAY | {"profile": "high", "sleeves": {"ant": "fast"}, "enabled": False}},
}


def test_a_dated_change_is_the_change_made_by_hand_in_its_month(own, desk):
    for month, keys in DATED.items():
        change(own, **keys)
        rebalance(own, int(month[-2:]))
    assert misses(own) == {}
    final = own.store.read(BOOK, catalog.FINAL_WEIGHTS).groupby("as_of")["strategy"].agg(list)
    assert final.tolist() == [sorted(STRATEGIES)] * LAST + [sorted(JOINED)] + [sorted(LEFT)] * 2

    write_book(own.settings.data, STRATEGIES, since=DATED)
    assert misses(own) == {}
    rebalance(own, 7, 8)
    assert own.store.read(BOOK, catalog.WEIGHT_HISTORY)["version"].max() == 8
    anew = desk(own.settings.data, like=own)
    anew.forget(BOOK)
    rebalance(anew, 1, 8)
    assert anew.hashes(book=BOOK) == own.hashes(book=BOOK)
    assert misses(anew) == {}
    assert differing(anew) == []


@pytest.mark.parametrize(
    ("since", "message"),
    [
        ({"2024-13": {"gross": 1.0}}, "since.2024-13"),
        ({"2024-06": {"ledger": "other"}}, "since: 2024-06: ledger: expected some of adjustment, gross, limits"),
        ({"2024-06": {"overlay": None}}, "since: 2024-06: overlay: may not come or go"),
        ({"2024-06": ["gross"]}, "since: 2024-06: expected keys of the book"),
        ({"2024-06": {"strategies": {"ant": 0.5}}}, "since 2024-06: .*base weights sum to 0.5"),
    ],
)
def test_dated_changes_that_cannot_be_are_refused(tmp_path, since, message):
    write_ledger(tmp_path, random_returns("ant", "bee", first="2024-01-02", last="2024-01-31"))
    write_book(tmp_path, {"ant": 0.5, "bee": 0.5}, since=since)
    with pytest.raises(BookError, match=message):
        load_book(tmp_path / "books" / f"{BOOK}.yaml")


def test_a_run_over_partitions_of_another_policy_asks_which_one_counts(own):
    tables = ("metrics", "target_weights", "realized_weights", "final_weights")

    def may():
        hashes = own.hashes(book=BOOK)
        return [hashes[BOOK, table, "2024-05-01"] for table in tables]

    before = may()
    change(own, adjustment={"rate": 0.2}, overlay=None)
    with pytest.raises(
        PolicyError, match=r"2 of 2 months .* the first of them 2024-04-01 \(adjustment.rate 0.5 → 0.2, overlay\)"
    ):
        own.run("2024-04", "2024-05", BOOK, policy="")
    for said, answer in {"": "2 of 2 months .* weights/policy", "yesterday": "one of stored, today"}.items():
        started_elsewhere = own.try_job(BOOK, "2024-04-01", "2024-05-01", checks=False, policy=said)
        assert re.search(answer, own.errors(started_elsewhere)[0])
        assert may() == before
    rebalance(own, 4, 6, policy="stored")
    assert may() == before
    lines = list_versions(own.store, BOOK)
    assert [(line.version, line.changed) for line in lines][:2] == [(6, "new, under another policy"), (5, "new")]

    change(own, overlay=OVERLAY | {"profile": "high", "sleeves": {"ant": "fast"}})
    rebalance(own, 5, 6)
    assert list_versions(own.store, BOOK)[1].changed == "policy"
    assert misses(own) == {}
    assert differing(own) == []


def test_limits_of_groups_that_come_or_change_stop_no_restatement(own):
    for members, cap in ((["ant", "bee"], 0.82), (["ant", "cow"], 0.71)):
        change(own, limits={"floor": 0.5, "cap": 2.0, "groups": {"some": {"members": members, "cap": cap}}})
        result = own.try_job(BOOK, "2024-04-01", "2024-05-01", policy="today", checks=cap == 0.71)
        assert result.success, own.errors(result)
        assert misses(own) == {}


@pytest.mark.parametrize("apply", ["rebalance", "daily"])
def test_a_volatility_target_that_comes_changes_or_goes_stops_no_restatement(own, apply):
    plain = own.hashes(book=BOOK)
    for target in (0.3, 0.4):
        overlay = TARGETED | {"apply": apply, "volatility_target": TARGETED["volatility_target"] | {"target": target}}
        change(own, overlay=overlay)
        # What checks of a run find stops it; those of the first one find what `misses` does.
        result = own.try_job(BOOK, "2024-05-01", "2024-06-01", policy="today", checks=target == 0.4)
        assert result.success, own.errors(result)
        assert misses(own) == {}
    assert differing(own) == []
    final = own.store.read(BOOK, catalog.FINAL_WEIGHTS)
    scaled = final[final["as_of"] > "2024-05-01"]
    assert ((scaled["volatility_scalar"] > 1) & (scaled["final"] > scaled["scalar"] * scaled["realized"])).all()
    assert final.loc[final["as_of"] < "2024-05-01", "volatility_scalar"].isna().all()
    assert live_weights(own.workspace.setup(BOOK), dt.datetime(2024, 7, 2, tzinfo=dt.UTC)).gross == 1.5
    [shown] = weights_in_force(own.store, BOOK)
    assert shown.volatility_scalar == scaled["volatility_scalar"].iloc[-1]
    facts = gather(own.workspace, [[BOOK]], now=dt.datetime(2024, 7, 2, tzinfo=dt.UTC))[0].books[0]
    assert facts.volatility_scalar == shown.volatility_scalar
    assert f"volatility target {shown.volatility_scalar:.2f}, applied." in headline(facts)

    # Weights in force keep the leverage that they were made with until others take their place.
    change(own, overlay=OVERLAY)
    assert live_weights(own.workspace.setup(BOOK), dt.datetime(2024, 7, 2, tzinfo=dt.UTC)).gross == 1.5
    assert misses(own) == {}
    rebalance(own, 5, policy="today")
    assert misses(own) == {}
    assert {key: value for key, value in own.hashes(book=BOOK).items() if key in plain} == plain


def test_hedges_that_come_change_and_go_stop_no_restatement(own):
    before = own.hashes(book=BOOK)
    for paid in ("pro_rata", "cash"):
        hedges = HEDGES | {"funded": paid}
        change(own, strategies=STRATEGIES | {"dog": 0}, overlay=OVERLAY | {"thresholds": NERVOUS, "hedges": hedges})
        result = own.try_job(BOOK, "2024-05-01", "2024-07-01", policy="today", checks=paid == "cash")
        assert result.success, own.errors(result)
        final = own.store.read(BOOK, catalog.FINAL_WEIGHTS)
        made = final[final["as_of"] > "2024-05-01"]
        assert made.loc[made["strategy"] == "dog", "hedge"].max() > 0
        assert (made.loc[made["strategy"] != "dog", "hedge"] == 0).all()
        assert made["funding"].min() < 1 if paid == "pro_rata" else (made["funding"] == 1).all()
        audited = own.store.read(BOOK, catalog.ALLOCATOR_AUDIT)
        assert audited.loc[audited["metric"] == "share_on", "value"].iloc[-1] > 0
        assert misses(own) == {}
    assert differing(own) == []
    with own.store.writing() as connection:
        connection.execute(f"UPDATE {BOOK}.final_weights SET hedge = hedge * 1.01 WHERE as_of = '2024-05-31'")
    assert "final_is_realized_times_scalar" in misses(own)
    change(own, strategies=STRATEGIES, overlay=OVERLAY)
    rebalance(own, 5, 7)
    assert misses(own) == {}
    assert before.items() <= own.hashes(book=BOOK).items()


def test_partitions_made_without_an_overlay_are_made_so_again_by_their_own_policy(own):
    change(own, overlay=None)
    rebalance(own, 5)
    tables = ("metrics", "target_weights", "realized_weights", "final_weights")
    before = {table: own.store.partitions(BOOK, table)["2024-05-01"].content_hash for table in tables}
    change(own, overlay=OVERLAY)
    rebalance(own, 5, policy="stored")
    rebalance(own, 5, 6, policy="stored")
    assert {table: own.store.partitions(BOOK, table)["2024-05-01"].content_hash for table in tables} == before
    scalars = own.store.read(BOOK, catalog.FINAL_WEIGHTS).groupby("as_of")["scalar"].agg("first")
    assert scalars.isna().tolist()[-2:] == [True, False]
    assert list_versions(own.store, BOOK)[1].changed == "policy"  # of May, since it has lost its overlay
    assert misses(own) == {}
    assert differing(own) == []


def test_an_ensemble_is_made_again_by_the_policy_of_its_versions(finished_weekly, desk, tmp_path):
    book, last = "ensemble_regime", ("2012-12-10", "2012-12-17")
    own = desk(shutil.copytree(finished_weekly.settings.data, tmp_path / "data"), like=finished_weekly)
    before = own.hashes(book=book)
    edit_yaml(own.settings.data / "books" / f"{book}.yaml", limits={"of": "weight", "floor": 0.0, "cap": 0.3})
    with pytest.raises(PolicyError, match="2 of 2 weeks"):
        own.run(*last, book, policy="")
    own.job(book, *last, checks=False, policy="stored")
    assert own.hashes(book=book) == before
    assert own.store.read(book, catalog.WEIGHT_HISTORY)["version"].max() == 53
