"""Publication: which version consumers get, and that it is the stored one to the last bit."""

import datetime as dt

import dagster as dg
import pandas as pd
import pytest

from benchmarks.support.data import BOOK
from weights_pipeline.core.decide import decide
from weights_pipeline.live import LiveWeights, OlderVersionError, Reader, SigningKey
from weights_pipeline.live.signing import SECRET, SIGNING_KEY, new_secret
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import NoVersionError
from weights_pipeline.versions.publication import live_weights, publish_live


def now():
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def document(finished):
    return LiveWeights.from_json((finished.settings.home / "live" / f"{BOOK}.json").read_bytes())


def test_a_run_of_the_book_publishes_its_newest_weights_to_the_bit(finished, document):
    final = finished.store.read(BOOK, catalog.FINAL_WEIGHTS)
    newest = final[final["as_of"] == final["as_of"].max()].set_index("strategy")
    history = finished.store.read(BOOK, catalog.WEIGHT_HISTORY)
    assert dict(document.final) == newest["final"].to_dict()
    assert dict(document.realized) == newest["realized"].to_dict()
    assert document.version == history["version"].max()
    assert document.effective_from == newest["effective_from"].iloc[0].date()
    assert (document.regime, document.scalar) == (newest["regime"].iloc[0], newest["scalar"].iloc[0])
    assert (document.max_age, document.gross) == (finished.book.max_age, finished.book.gross)
    assert live_weights(finished.setup, now()) == document


def test_a_reader_follows_them_until_they_are_stale(finished, document):
    reader = Reader(finished.settings.live[0], book=BOOK, base=finished.book.strategies, max_leverage=1.0)
    fresh = dt.datetime.combine(document.effective_from, dt.time(12), tzinfo=dt.UTC)
    in_force = reader.current(fresh)
    assert (in_force.source, dict(in_force.allocations)) == ("live", dict(document.final))
    assert decide(in_force, "rsi2", 1e6, "enter", now=fresh).capital == document.final["rsi2"] * 1e6
    stale = reader.current(fresh + dt.timedelta(days=40))
    assert (stale.source, dict(stale.allocations)) == ("base", finished.book.strategies)
    assert "stale" in stale.reason
    assert not decide(stale, "rsi2", 1e6, "enter", now=fresh + dt.timedelta(days=40)).approved


def test_weights_whose_day_has_not_come_wait_and_nothing_older_replaces_newer(finished, small_data, desk, document):
    own = desk(small_data, like=finished)

    def postponed(rows: pd.DataFrame) -> pd.DataFrame:
        newest = rows["version"] == rows["version"].max()
        return rows.assign(effective_from=rows["effective_from"].mask(newest, pd.Timestamp("2999-01-02")))

    own.store.update(BOOK, catalog.WEIGHT_HISTORY, postponed, run_id="test", recorded_at=now())
    waiting = live_weights(own.setup, now())
    assert waiting.version == document.version - 1
    assert publish_live(waiting, own.settings.live, None) == {own.settings.live[0]: True}
    assert publish_live(waiting, own.settings.live, None) == {own.settings.live[0]: False}
    assert publish_live(document, own.settings.live, None) == {own.settings.live[0]: True}
    with pytest.raises(OlderVersionError):
        publish_live(waiting, own.settings.live, None)


def test_what_is_published_is_signed_by_the_key_of_the_environment(finished, small_data, desk, document, monkeypatch):
    own, secret = desk(small_data, like=finished), new_secret()
    monkeypatch.setenv(SIGNING_KEY, secret)
    own.job(f"{BOOK}_live")
    published = (own.settings.home / "live" / f"{BOOK}.json").read_bytes()
    assert LiveWeights.from_json(published, SigningKey(secret).keys) == document
    (made,) = own.instance.fetch_materializations(dg.AssetKey([BOOK, "live_weights"]), limit=1).records
    assert made.asset_materialization.metadata["signed by key"].value == SigningKey(secret).key_id
    assert all(secret[len(SECRET) :] not in str(entry) for entry in own.instance.all_logs(made.run_id))


def test_a_book_without_versions_publishes_nothing(finished):
    with pytest.raises(NoVersionError):
        live_weights(finished.setup, dt.datetime(2012, 1, 1, tzinfo=dt.UTC))


def test_a_version_whose_weights_the_store_has_lost_is_not_published(finished, small_data, desk, document):
    own = desk(small_data, like=finished)
    with own.store.writing() as connection:
        connection.execute(f"DELETE FROM {BOOK}.final_weights WHERE partition_key = '2013-06-01'").fetchall()
    with pytest.raises(
        NoVersionError, match=rf"of which version {document.version} is.*run --book {BOOK} --from 2013-06"
    ):
        live_weights(own.setup, now())
