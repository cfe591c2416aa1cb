"""A desk's year in fast motion: whatever happens, everybody is told the same, and nothing shows of it in the end."""

import pandas as pd
import pytest

from benchmarks.support.data import edit_yaml
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.desk import Desk, previous_release
from weights_pipeline_tests.support.year import BOOK, LEDGER, Year

CHANGES = {
    "2021-06": {"adjustment": {"rate": 0.5}},
    "2021-09": {"strategies": {"carry": 0.4, "echo": 0.3, "trend": 0.3}},
}
WEIGHTS = (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.RISK_SCALAR, catalog.FINAL_WEIGHTS)


@pytest.fixture
def year(tmp_path, instance, monkeypatch):
    """The desk of the release before, in May, from when on its ledger goes on."""
    made = Year(previous_release(tmp_path, instance), monkeypatch)
    ledger(made, last_month=None)
    return made


def ledger(year, **keys):
    edit_yaml(year.desk.settings.data / "ledgers" / "desk.yaml", **keys)


def change(year, *months):
    """Change the book from months on."""
    edit_yaml(year.desk.settings.data / "books" / f"{BOOK}.yaml", since={month: CHANGES[month] for month in months})


def append(year, file, row):
    with (year.desk.settings.data / "desk" / file).open("a") as rows:
        rows.write(f"{row}\n")


def test_a_year(year, tmp_path, instance):
    # A new release is installed.
    year.at("2021-05-10T12:00")
    told = year.truth()
    assert (told.version, told.state, told.course) == (16, "in_force", "on_time")
    year.morning("2021-06-01")
    assert year.truth().version == 17

    # One strategy rests in June; a lot of May comes late, and the reading of a morning finds it.
    year.deliver({"carry": 0.15, "trend": 0.1}, "2021-06-01", "2021-06-30")
    append(year, "lots.csv", "late,trend,TRE,long,40,2021-05-18 10:00,2021-05-20 15:30,100.0,97.00,0.5")
    year.morning("2021-06-16")
    assert year.truth().version == 17
    stale = year.behind()
    assert (stale.rebalances, stale.month) == (("2021-05-01",), "2021-05")
    assert stale.command == f"weights run --book {BOOK} --from 2021-05"

    # From June on the book is faster. The first run of it, which makes May anew too, is killed and re-executed.
    change(year, "2021-06")
    year.reading("2021-07-01")
    year.at("2021-07-01T07:30")
    run = year.killed("2021-05-01", "2021-06-01")
    told = year.truth()
    assert (told.version, told.state, told.course) == (17, "in_force", "overdue")
    year.executed_again(run)
    told = year.truth()
    assert (told.version, told.state, told.course) == (19, "in_force", "on_time")
    assert year.behind() is None

    # By hand, before the desk closes for the autumn.
    year.deliver({"carry": 0.15, "fade": 0.0, "trend": 0.1}, "2021-07-01", "2021-08-31")
    year.at("2021-09-02T12:00")
    year.job(LEDGER, "2021-07-01", "2021-09-01")
    year.job(BOOK, "2021-07-01", "2021-08-01")
    assert year.truth().version == 21

    # Nobody looks for two rebalances, and over the end of summer time; one strategy leaves, another comes.
    change(year, "2021-06", "2021-09")
    append(year, "capital.csv", "echo,2021-09-01,10000")
    year.deliver({"carry": 0.15, "echo": 0.2, "trend": 0.1}, "2021-09-01", "2021-10-29")
    year.at("2021-11-08T12:00")
    told = year.truth()
    assert (told.version, told.state, told.course) == (21, "expired", "ended")
    assert "Expired: version 21" in told.told
    assert year.due() == [
        f"{BOOK}: due are 2021-09-01, 2021-10-01; 2021-09-01 to 2021-10-01 of {LEDGER} are to be read first",
        LEDGER,
        f"{BOOK} 2021-09-01",
        f"{BOOK} 2021-10-01",
    ]
    told = year.truth()
    assert (told.version, told.state, told.course) == (23, "in_force", "on_time")
    assert set(told.weights) == {"carry", "echo", "trend"}

    # The ledger ends, and the new year has begun.
    ledger(year, last_month="2021-10")
    year.at("2022-01-10T12:00")
    year.job(f"{BOOK}_live")
    told = year.truth()
    assert (told.version, told.state, told.course) == (23, "expired", "ended")
    assert "The ledger has ended, rests or is not read: nothing in it is newer than 2021-10-" in told.told
    assert year.recorded("live_weights")["course"] in told.told
    assert year.due() == []
    assert year.wrong() == {}

    # As if nothing had happened.
    clean = Desk(year.desk.settings.data, tmp_path / "clean", instance)
    clean.job(LEDGER, "2020-01-01", "2021-10-01", checks=False)
    clean.job(BOOK, "2020-01-01", "2021-10-01", checks=False)
    for table in WEIGHTS:
        own, anew = (desk.store.read(BOOK, table) for desk in (year.desk, clean))
        pd.testing.assert_frame_equal(own, anew, check_exact=True)
