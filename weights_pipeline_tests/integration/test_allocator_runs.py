"""A book with everything the allocator knows: scalars by sleeve, pace by regime, daily application; real runs."""

import datetime as dt
import json
import shutil

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, LEDGER, edit_yaml, open_ended
from weights_pipeline.books.load import load_books
from weights_pipeline.core import chain
from weights_pipeline.core.allocator.scalar import parameter_hash
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.desk import Desk

REGIMES = ("NORMAL", "ELEVATED", "STRESS", "CRISIS")
OVERLAY = {
    "enabled": True,
    "profile": "low",
    "lag": 1,
    "apply": "daily",
    # So easily alarmed that a quiet year has regimes.
    "thresholds": {"vol_accel_enter": 1.05, "vol_accel_exit": 0.95, "corr_shock_enter": 0.02, "corr_shock_exit": 0.0},
    "sleeves": {"trend_long": "trend", "trend_short": "trend", "breakout_55d": "trend"},
    "sleeve_maps": {"trend": dict(zip(REGIMES, (1.0, 0.6, 0.3, 0.25), strict=True))},
}
ADJUSTMENT = {
    "rate": dict(zip(REGIMES, (0.1, 0.4, 0.6, 0.8), strict=True)),
    "turnover_cap": dict(zip(REGIMES, (0.02, 0.03, 0.05, 0.05), strict=True)),
}
LAST = "2012-10"


@pytest.fixture(scope="module")
def full(small_data, tmp_path_factory):
    """The small data with the book above, over ten months in one go, daily weights included."""
    data = shutil.copytree(small_data, tmp_path_factory.mktemp("full") / "data")
    edit_yaml(data / "books" / f"{BOOK}.yaml", overlay=OVERLAY, adjustment=ADJUSTMENT)
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(data, tmp_path_factory.mktemp("home"), instance)
        desk.job(LEDGER, "2012-01-01", f"{LAST}-01", checks=False)
        for name in (BOOK, f"{BOOK}_daily"):
            desk.job(name, "2012-01-01", f"{LAST}-01")
        yield desk


def read(desk, table):
    return desk.store.read(BOOK, table)


def policy_of(desk):
    return load_books(desk.settings.data / "books")[BOOK].policy()


def test_pace_follows_the_regime_that_the_allocator_gives_the_session(full):
    realized = read(full, catalog.REALIZED_WEIGHTS)
    regimes = read(full, catalog.RISK_REGIME).set_index("session")["regime"]
    paced = realized.drop_duplicates("as_of").set_index("as_of")
    assert (paced["regime"] == [regimes.get(day, "NORMAL") for day in paced.index]).all()
    assert set(paced["regime"]) >= {"NORMAL", "ELEVATED"}
    gap = ((realized["target"] - realized["previous"]).abs().groupby(realized["as_of"]).sum() / 2).to_numpy()
    rate = paced["regime"].map(ADJUSTMENT["rate"]).to_numpy()
    cap = paced["regime"].map(ADJUSTMENT["turnover_cap"]).to_numpy()
    np.testing.assert_allclose(paced["rate"], np.where(rate * gap > cap, cap / gap, rate), rtol=1e-14)
    assert (paced["rate"] < rate).any()
    assert (paced["rate"] == rate).any()
    moved = (realized["realized"] - realized["previous"]).abs().groupby(realized["as_of"]).sum() / 2
    assert (moved.to_numpy() <= cap + 1e-15).all()
    assert (realized["realized"] <= realized["upper"]).all()
    assert (realized["realized"] >= realized["lower"]).all()


def test_a_month_alone_gives_the_bytes_of_the_range_and_its_files(full, desk):
    other = desk(full.settings.data, like=full)
    other.forget(BOOK, since="2012-10-01")
    other.job(BOOK, "2012-10-01", checks=False)
    other.job(f"{BOOK}_daily", "2012-10-01", checks=False)
    assert other.hashes(book=BOOK) == full.hashes(book=BOOK)
    folders = [each.settings.artefacts / BOOK for each in (full, other)]
    files = [{file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.*")} for folder in folders]
    assert len(files[0]) == 60
    assert files[1] == {file: content for file, content in files[0].items() if file.parts[0] == "2012-10-01"}
    assert len(files[1]) == 6


def test_sleeves_are_cut_differently_and_final_weights_follow(full):
    scalars = read(full, catalog.RISK_SCALAR)
    by_sleeve = scalars.pivot(index="session", columns="sleeve", values="scalar")
    assert (by_sleeve["trend"] <= by_sleeve[""]).all()
    assert (by_sleeve["trend"] < by_sleeve[""]).any()
    final = read(full, catalog.FINAL_WEIGHTS)
    assert np.array_equal(final["final"], final["realized"] * final["scalar"])
    scaled = final[final["scalar_session"].notna()]
    sleeve = scaled["strategy"].isin([s for s, name in OVERLAY["sleeves"].items() if name == "trend"])
    expected = [
        by_sleeve.loc[day, "trend" if own else ""] for day, own in zip(scaled["scalar_session"], sleeve, strict=True)
    ]
    assert scaled["scalar"].tolist() == expected


def test_daily_weights_are_scaled_anew_for_every_session(full):
    daily, final = read(full, catalog.DAILY_WEIGHTS), read(full, catalog.FINAL_WEIGHTS)
    scalars = read(full, catalog.RISK_SCALAR)
    book = scalars[scalars["sleeve"] == ""].set_index("session")["scalar"]
    assert np.array_equal(daily["final"], daily["realized"] * daily["scalar"])
    own = daily[daily["strategy"] == "rsi2"].set_index("as_of")
    later = own.index[own.index >= book.index[0]]
    assert own.loc[later, "scalar"].tolist() == book[later].tolist()
    assert (own.loc[later, "scalar_session"] == later).all()
    assert own.loc[later, "scalar"].nunique() > 20
    both = daily.merge(final, on=["effective_from", "strategy"], suffixes=("_daily", ""))
    assert len(both) == len(final)
    assert np.array_equal(both["final_daily"], both["final"])
    sessions = full.store.read(LEDGER, catalog.STRATEGY_RETURNS)["session"]
    begun = final["effective_from"].min()
    closed = pd.DatetimeIndex(sessions[(sessions < "2012-11-01") & (sessions >= final["as_of"].min())].unique())
    assert daily["as_of"].unique().tolist() == closed.tolist()
    assert (daily["effective_from"] >= begun).all()


def test_as_of_says_from_when_on_weights_are_scaled_anew_and_who_has_them(full, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(full.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(full.settings.home))
    asked = ("as-of", "--book", BOOK, "--effective")
    assert [
        json.loads(Result(*asked, f"2012-10-{day}", "--json").output)[0]["scaled_from"] for day in ("01", "17")
    ] == [
        None,
        "2012-10-17",
    ]
    where = f"`weights show --book {BOOK} --as-of 2012-10-17`"
    said = f"Scaled every day: from 2012-10-17 on the weights in force on 2012-10-17 are those of {where}."
    assert said in Result(*asked, "2012-10-17").output
    [shown] = json.loads(Result("show", "--book", BOOK, "--as-of", "2012-10-17", "--json").output)
    assert shown["effective_from"] == "2012-10-17"


def test_daily_schedule_runs_after_the_ledger_and_the_rebalance(full, tmp_path):
    data = shutil.copytree(full.settings.data, tmp_path / "open")
    open_ended(data)
    definitions = build_definitions(Workspace(full.settings.__class__(data=data, home=tmp_path / "home")))
    schedule = definitions.resolve_schedule_def(f"{BOOK}_daily")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 7 * * *", "America/New_York")
    tick = dt.datetime(2026, 3, 9, 7, tzinfo=dt.timezone(dt.timedelta(hours=-4)))
    context = dg.build_schedule_context(scheduled_execution_time=tick, repository_def=definitions.get_repository_def())
    tags = schedule.evaluate_tick(context).run_requests[0].tags
    assert tags["dagster/asset_partition_range_start"] == "2026-02-01"
    assert tags["dagster/asset_partition_range_end"] == "2026-03-01"


def test_documents_say_what_the_tables_hold(full):
    summary = read(full, catalog.ALLOCATOR_SUMMARY)
    newest = summary[summary["as_of"] == summary["as_of"].max()].set_index("document")["content"].map(json.loads)
    regimes = read(full, catalog.RISK_REGIME)["regime"]
    counts = {name: document["sessions"] for name, document in newest["regime"]["regimes"].items()}
    assert counts == {name: int((regimes == name).sum()) for name in REGIMES}
    assert newest["scalar"]["parameters_hash"] == parameter_hash(policy_of(full).overlay)
    folder = full.settings.artefacts / BOOK / "2012-10-01"
    assert json.loads((folder / "regime.json").read_text()) == newest["regime"]
    kept = pd.read_csv(folder / "scalar.csv", parse_dates=["session"], keep_default_na=False)
    scalars = read(full, catalog.RISK_SCALAR)
    own = scalars[scalars["session"] >= "2012-10-01"]
    assert kept["scalar"].tolist() == own["scalar"].tolist()


def test_audit_speaks_of_the_weights_that_were_traded(full):
    audited = read(full, catalog.ALLOCATOR_AUDIT)
    assert sorted(audited["as_of"].unique()) == sorted(read(full, catalog.FINAL_WEIGHTS)["as_of"].unique())
    daily = read(full, catalog.DAILY_WEIGHTS).pivot(index="effective_from", columns="strategy", values="final")
    returns = full.store.read(LEDGER, catalog.STRATEGY_RETURNS)
    wide = returns.pivot(index="session", columns="strategy", values="daily_return").fillna(0.0)
    traded = (daily * wide.reindex(index=daily.index, columns=daily.columns)).sum(axis=1).loc[:"2012-10-31"]
    whole = audited[(audited["as_of"] == "2012-10-31") & (audited["window"] == "all")]
    figures = whole.set_index(["portfolio", "metric"])["value"]
    wealth = (1 + traded).cumprod()
    assert figures["scaled", "cagr"] == pytest.approx(wealth.iloc[-1] ** (252 / len(traded)) - 1, rel=1e-9)
    assert figures["scaled", "worst_day"] == pytest.approx(traded.min(), rel=1e-12)
    assert set(audited["window"]) == {"all", "2015-08", "2018-Q4", "2020-03", "2022"}


def test_stored_history_is_that_of_the_tables_in_memory(full):
    policy = policy_of(full)
    realized, regimes = read(full, catalog.REALIZED_WEIGHTS), read(full, catalog.RISK_REGIME)
    scalars = chain.scalar_table(regimes, policy.overlay)
    stored = read(full, catalog.RISK_SCALAR)
    merged = stored.merge(scalars, on=["session", "sleeve"], suffixes=("", "_again"))
    assert len(merged) == len(stored) == len(scalars)
    assert (merged["scalar"] == merged["scalar_again"]).all()
    assert realized["rate"].nunique() > 2
