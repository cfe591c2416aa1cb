"""A store of the release before: every command answers on it, the next month is made, and its past stays to the bit.

`support/previous_release` was written by commit b7165b1: one book with an overlay, sixteen months, its published
weights, and the ledger's files, which go on for one month more. The next release puts one of this in its place.
"""

import datetime as dt

import pandas as pd
import pytest

from weights_pipeline.doctor import examine
from weights_pipeline.doctor.patient import Patient
from weights_pipeline.doctor.stored import former, schema
from weights_pipeline.live import Reader
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.desk import previous_release

BOOK = "steady"
WEIGHTS = {"carry": 0.4229446191107925, "fade": 0.27951295344792976, "trend": 0.14754719141992795}
"""Final weights of version 16, as that release has shown and published them."""


@pytest.fixture
def upgraded(tmp_path, instance, monkeypatch):
    """The desk of that release, under this one."""
    own = previous_release(tmp_path, instance)
    monkeypatch.setenv("WEIGHTS_DATA", str(own.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(own.settings.home))
    return own


def answered(*arguments):
    result = Result(*arguments)
    assert result.exit_code == 0, result.output + result.errors
    return result.output


def test_every_command_that_reads_answers(upgraded):
    before = upgraded.store.path.read_bytes()
    shown = answered("show", "--book", BOOK)
    assert all(f" {100 * weight:.2f} " in shown for weight in WEIGHTS.values())
    assert " 24.22 " in answered("show", "--book", BOOK, "--as-of", "2021-02-15")
    assert "     16  2021-04-01     2021-05-03  2021-05-01 11:00:00" in answered("history", "--book", BOOK)
    assert "computed again: 0 of 3 strategies differ" in answered("reproduce", "16", "--book", BOOK)
    assert "Changed: ledger" in answered("diff", "15", "16", "--book", BOOK)
    assert "exactly: 0.4229446191107925" in answered("explain", "--book", BOOK, "--strategy", "carry")
    assert "Nothing has changed" in answered("restate", "--book", BOOK)
    assert "ERROR" not in answered("check", "--book", BOOK)
    assert upgraded.store.path.read_bytes() == before
    live = Reader(upgraded.settings.live[0], book=BOOK, base={"carry": 1.0}, max_leverage=1.0)
    assert dict(live.current(dt.datetime(2021, 5, 10, tzinfo=dt.UTC)).allocations) == WEIGHTS


def test_the_doctor_says_what_the_next_write_adds_and_nothing_is_to_be_done(upgraded):
    environment = {"WEIGHTS_DATA": str(upgraded.settings.data), "WEIGHTS_HOME": str(upgraded.settings.home)}
    (found,) = examine(Patient(environment, dt.datetime.now(dt.UTC)), [schema])
    assert (found.state, found.todo) == ("ok", "")
    assert any(each.startswith(f"{BOOK}.metrics lacks lookback") for each in found.details)


def test_of_a_renamed_book_the_doctor_says_what_becomes_of_the_old_one(upgraded):
    def found():
        environment = {"WEIGHTS_DATA": str(upgraded.settings.data), "WEIGHTS_HOME": str(upgraded.settings.home)}
        (diagnosis,) = examine(Patient(environment, dt.datetime.now(dt.UTC)), [former])
        return diagnosis

    assert (found().state, found().found) == ("ok", "every version in the store is of a book")
    books = upgraded.settings.data / "books"
    text = (books / f"{BOOK}.yaml").read_text()
    (books / f"{BOOK}.yaml").unlink()
    (books / "renamed.yaml").write_text(text.replace(f"name: {BOOK}", "name: renamed"))
    published = found()
    assert (published.state, f"still published: {BOOK} in " in published.found) == ("warn", True)
    assert "let them read the new name" in published.todo
    (upgraded.settings.home / "live" / f"{BOOK}.json").unlink()
    assert found().state == "ok"
    assert found().found.startswith(f"{BOOK}: no book any more; the versions stay")
    assert "     16  2021-04-01" in answered("history", "--book", BOOK)


def test_the_next_month_is_made_and_the_past_stays_to_the_bit(upgraded):
    def stored(table):
        rows = upgraded.store.read(BOOK, table)
        return rows[rows["version"] <= 16].reset_index(drop=True) if "version" in rows else rows[: 16 * 3]

    tables = (catalog.WEIGHT_HISTORY, catalog.FINAL_WEIGHTS, catalog.REALIZED_WEIGHTS)
    before = [stored(table) for table in tables]
    upgraded.fill("2021-05", book=BOOK)
    for table, rows in zip(tables, before, strict=True):
        pd.testing.assert_frame_equal(stored(table)[rows.columns], rows, check_exact=True)
    history = upgraded.store.read(BOOK, catalog.WEIGHT_HISTORY)
    assert sorted(set(history["version"])) == list(range(1, 18))
    for version in ("16", "17"):
        assert "computed again: 0 of 3 strategies differ" in answered("reproduce", version, "--book", BOOK)
    assert "ERROR" not in answered("check", "--book", BOOK)
    live = Reader(upgraded.settings.live[0], book=BOOK, base={"carry": 1.0}, max_leverage=1.0)
    assert live.newest.version == 17
