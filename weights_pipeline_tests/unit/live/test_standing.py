"""What is published of a book, beside the weights computed for it."""

import datetime as dt

import pytest

from weights_pipeline.live import publish
from weights_pipeline.live.standing import standings
from weights_pipeline_tests.support.documents import NOW, document


def standing(place, weights, now=NOW, **changes):
    computed = {**weights.final, **changes}
    [found] = standings(weights.book, computed, [str(place), "dynamodb://table"], None, now)
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
