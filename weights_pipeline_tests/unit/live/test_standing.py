"""What is published of a book, beside the weights computed for it, and whether it goes on."""

import datetime as dt

import pytest

from weights_pipeline.live import UnreachableError, publish
from weights_pipeline.live.places import source
from weights_pipeline.live.standing import course, standings
from weights_pipeline_tests.support.documents import NOW, document


def standing(place, weights, now=NOW, **changes):
    computed = {**weights.final, **changes}
    [found] = standings({weights.book: computed}, [str(place), "dynamodb://table"], None, now)[weights.book]
    return found


def test_weights_that_services_go_by(tmp_path):
    weights = document()
    publish(weights, tmp_path)
    found = standing(tmp_path, weights)
    assert (found.state, found.version, found.stale_after) == ("in_force", weights.version, weights.stale_after)
    assert found.says == f"Published: version {weights.version}, until {weights.stale_after:%Y-%m-%d %H:%M} UTC."


@pytest.mark.parametrize("places", ["nowhere", "empty"])
def test_nothing_published(tmp_path, places):
    (tmp_path / "empty").mkdir()
    found = standing(tmp_path / places, document())
    assert (found.state, found.version, found.says) == ("missing", None, "Not published: services go by base weights.")


def test_expired_says_since_when(tmp_path):
    weights = document()
    publish(weights, tmp_path)
    at = weights.stale_after
    assert standing(tmp_path, weights, at).state == "in_force"
    late = standing(tmp_path, weights, at + dt.timedelta(seconds=1))
    assert late.state == "expired"
    assert late.says.endswith(f"services go by base weights since {at:%Y-%m-%d %H:%M} UTC.")


def test_before_the_first_day(tmp_path):
    weights = document()
    publish(weights, tmp_path)
    found = standing(tmp_path, weights, weights.begins - dt.timedelta(seconds=1))
    assert (found.state, found.says) == (
        "coming",
        f"Published: version {weights.version}, which counts from {weights.effective_from} on.",
    )


@pytest.mark.parametrize(("late", "word"), [(False, "Published"), (True, "Expired")])
def test_other_weights_are_published(tmp_path, late, word):
    weights = document()
    publish(weights, tmp_path)
    now = weights.stale_after + dt.timedelta(days=1) if late else NOW
    found = standing(tmp_path, weights, now, **{next(iter(weights.final)): 0.123})
    assert found.state == "other"
    assert found.says.startswith(f"Other weights are published: those in force from {weights.effective_from}.")
    assert f" {word}: version {weights.version}" in found.says


def test_what_cannot_be_read_is_said(tmp_path):
    weights = document()
    publish(weights, tmp_path)
    for file in tmp_path.rglob("*.json"):
        file.write_text("{}")
    found = standing(tmp_path, weights)
    assert found.state == "unusable"
    assert found.says.startswith("What is published cannot be used: ")


AS_OF, DUE = dt.date(2024, 5, 31), "2024-07-01T07:00-04:00"


@pytest.mark.parametrize(
    ("newest", "now", "state", "says"),
    [
        ("2024-05-31", "2024-07-01T10:59+00:00", "on_time", ""),
        ("2024-05-31", "2024-07-01T11:00+00:00", "overdue", "Overdue: the rebalance due 2024-07-01 07:00 has not "),
        ("2024-08-30", "2024-09-02T12:00+00:00", "overdue", "; `weights rebalance --book calm` makes it."),
        ("2024-04-30", "2024-06-03T12:00+00:00", "on_time", ""),
        (
            "2024-04-29",
            "2024-06-03T12:00+00:00",
            "ended",
            "The ledger has ended, rests or is not read: nothing in it is newer than 2024-04-29.",
        ),
        (
            "2024-05-31",
            "2024-07-02T04:00+00:00",
            "ended",
            "newer than 2024-05-31, and the rebalance due 2024-07-01 07:00 has not happened.",
        ),
        ("2024-05-31", "2024-07-02T03:59+00:00", "overdue", ""),  # the first of July in the zone of the book
        (None, "2024-06-03T12:00+00:00", "ended", "is not read: it holds nothing."),
    ],
)
def test_whether_a_book_goes_on(newest, now, state, says):
    seen = newest and dt.date.fromisoformat(newest)
    found = course("calm", AS_OF, DUE, seen, dt.datetime.fromisoformat(now))
    assert (found.state, found.newest, found.due.isoformat(timespec="minutes")) == (state, seen, DUE)
    assert says in found.says
    assert (found.says == "") == (state == "on_time")


def test_a_place_that_cannot_be_reached_is_asked_once(monkeypatch):
    asked = []

    class Silent:
        def poll(self, book, seen):
            asked.append(book)
            raise UnreachableError("nobody answers")

    monkeypatch.setattr("weights_pipeline.live.standing.source", lambda target, *, patient: Silent())
    found = standings({"calm": {"a": 1.0}, "wild": {"a": 1.0}}, ["s3://bucket/live"], None, NOW)
    assert [(place.state, place.says) for places in found.values() for place in places] == [
        ("unreachable", "What is published is not known: nobody answers")
    ] * 2
    assert asked == ["calm"]


def test_who_tells_a_person_neither_tries_again_nor_waits_long():
    at_once, patient = (source("s3://bucket/live", patient=each).objects for each in (False, True))
    assert (at_once.attempts, at_once.connect, at_once.answer) == (1, 2, 2)
    assert (patient.attempts, patient.connect, patient.answer) == (None, 3, 10)
