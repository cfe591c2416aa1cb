"""A desk whose strategies do nothing for a while goes on: every rebalance, and one answer wherever one asks."""

import datetime as dt
import json

import dagster as dg

from weights_pipeline.live import Reader
from weights_pipeline.report.facts import gather
from weights_pipeline.report.words import headline
from weights_pipeline.store.queries import weights_in_force
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import weights_known
from weights_pipeline.versions.recompute import reproduce
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.returns_desk import BOOK, random_returns, write_book, write_ledger

FIRST, LAST = "2024-01-02", "2024-07-31"
NOW = dt.datetime(2024, 8, 2, 12, tzinfo=dt.UTC)


def test_a_strategy_that_does_nothing_for_a_month_stops_no_rebalance(tmp_path, desk, monkeypatch):
    returns = random_returns("calm", "other", first=FIRST, last=LAST)
    returns.loc["2024-05-01":"2024-06-07", "other"] = 0.0
    write_ledger(tmp_path / "data", returns)
    write_book(tmp_path / "data", {"calm": 0.6, "other": 0.4})
    own = desk(tmp_path / "data")
    report = own.done("2024-01", "2024-07", BOOK)
    assert {(c.asset, c.name): c.summary for c in report.checks if not c.passed and c.error} == {}

    final = own.store.read(BOOK, catalog.FINAL_WEIGHTS)
    assert final["as_of"].nunique() == 7
    assert final.loc[final["as_of"] >= "2024-04-01", "scalar_session"].notna().all()
    state = own.store.read(BOOK, catalog.ALLOCATOR_STATE)
    assert state["corr_20d"].isna().any()
    assert (state.loc[state["corr_20d"].isna(), "corr_shock"] == 0.0).all()

    def by_strategy(rows):
        return {row.strategy: row.final for row in rows}

    newest = final[final["as_of"] == final["as_of"].max()].set_index("strategy")["final"].to_dict()
    [shown] = weights_in_force(own.store, BOOK, NOW.date())
    assert by_strategy(shown.rows) == newest
    assert by_strategy(weights_known(own.store, BOOK, NOW.date(), dt.datetime.now(dt.UTC)).rows) == newest
    [[told]] = [each.books for each in gather(own.workspace, [[BOOK]], now=NOW)]
    assert [(place.state, place.version) for place in told.published] == [("in_force", 7)]
    [[late]] = [each.books for each in gather(own.workspace, [[BOOK]], now=NOW + dt.timedelta(days=60))]
    assert "Expired: version 7 is not used after 35 days; services go by base weights since" in headline(late)
    # The ledger was to July alone, which everybody is told who looks later.
    ended = (
        "The ledger has ended, rests or is not read: nothing in it is newer than 2024-07-31, and the rebalance due "
        "2024-09-01 07:00 has not happened."
    )
    assert told.course.state == "on_time"
    assert "ledger has ended" not in headline(told)
    assert ended in headline(late)
    for asset in ("final_weights", "live_weights"):
        made = own.instance.get_latest_materialization_event(dg.AssetKey([BOOK, asset])).asset_materialization
        assert made.metadata["course"].value == ended
    monkeypatch.setenv("WEIGHTS_DATA", str(own.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(own.settings.home))
    assert ended in Result("show").output
    [content] = json.loads(Result("show", "--json").output)
    assert (content["course"]["state"], content["course"]["newest"]) == ("ended", "2024-07-31")
    assert "ended" not in Result("show", "--as-of", "2024-07-01").output
    assert {move.strategy: move.final for move in told.moves} == newest
    mandate = Reader(own.settings.live[0], book=BOOK, base={"calm": 0.6, "other": 0.4}, max_leverage=1.0).current(NOW)
    assert (mandate.source, mandate.allocations) == ("live", newest)
    assert reproduce(own.store, BOOK, 7).finding.passed
