"""Which version was in force on a day, as known at an instant: asked in SQL, on histories made by hand."""

import datetime as dt
from contextlib import contextmanager

import duckdb
import pandas as pd
import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st

from weights_pipeline.versions.history import NoVersionError, weights_known
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.versions_by_hand import (
    FOUR,
    START,
    history_of,
    made_of,
    month,
    rebalance,
    runs,
    stamp,
)


class Shelf:
    """A store that holds one history, and final weights of some rebalances, of all when left out."""

    def __init__(self, history, stored=None):
        self.history = history
        self.stored = sorted(set(history["rebalance"])) if stored is None else stored

    def tables(self):
        return [("book", "weight_history"), ("store", "partitions")]

    @contextmanager
    def reading(self, tables):
        assert tables == [("book", "weight_history"), ("store", "partitions")]
        manifest = pd.DataFrame({"table_schema": "book", "table_name": "final_weights", "partition_key": self.stored})
        with duckdb.connect() as connection:
            connection.register("rows", self.history)
            connection.execute("CREATE SCHEMA book; CREATE TABLE book.weight_history AS FROM rows").fetchall()
            connection.register("manifest", manifest.astype("str"))
            connection.execute("CREATE SCHEMA store; CREATE TABLE store.partitions AS FROM manifest").fetchall()
            yield connection


def in_force(history, effective, days):
    """Version in force on a day, as known so many days after the start; None where there is none."""
    known = (START + pd.Timedelta(days=days)).to_pydatetime().replace(tzinfo=dt.UTC)
    try:
        return weights_known(Shelf(history), "book", dt.date.fromisoformat(effective), known)
    except NoVersionError:
        return None


@pytest.mark.parametrize(
    ("effective", "known", "version"),
    [
        ("2020-02-01", 99, 1),
        ("2020-02-29", 99, 1),
        ("2020-03-01", 99, 4),
        ("2020-03-01", 19.9, 2),
        ("2020-03-01", 20, 4),
        ("2020-04-01", 9, 2),
        ("2020-04-01", 10, 3),
        ("2030-01-01", 99, 3),
        ("2020-01-31", 99, None),
        ("2020-03-01", -1, None),
    ],
)
def test_in_force_on_a_day_as_known_at_an_instant(effective, known, version):
    found = in_force(FOUR, effective, known)
    assert (found and found.version) == version
    assert found is None or [row.strategy for row in found.rows] == ["a", "b"]


def test_a_correction_counts_for_its_own_rebalance_alone():
    late = history_of((rebalance(0, 0.1), stamp(0)), (rebalance(1, 0.2), stamp(1)), (rebalance(0, 0.9), stamp(2)))
    assert [row.final for row in in_force(late, "2020-03-15", 9).rows] == [0.2, 0.8]
    assert [row.final for row in in_force(late, "2020-02-15", 9).rows] == pytest.approx([0.9, 0.1])


def test_of_rebalances_that_are_no_partitions_any_more_those_count_that_came_before_all_that_are():
    months = history_of(*((rebalance(number, 0.1 * number), stamp(number)) for number in range(3)))
    first, second, third = (str(key) for key in sorted(set(months["rebalance"])))

    def known(*stored):
        ever = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
        return weights_known(Shelf(months, list(stored)), "book", dt.date(2030, 1, 1), ever).version

    assert known(first, second, third) == known() == 3
    assert known(first, second) == known(second) == 2
    assert known(first) == 1


# Nothing is gained from a smaller example that takes minutes to find.
@examples(8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(runs, st.integers(0, 12), st.integers(0, 6), st.randoms(use_true_random=False))
def test_what_was_believed_never_changes(drawn, known, effective, shuffle):
    """Append-only: later runs leave the answer about the past alone, and so does the order of rows."""
    made, on = made_of(drawn), month(effective)
    whole = history_of(*made)
    answer = in_force(whole, on, known)
    by_then = [run for run in made if run[1].recorded_at <= START + pd.Timedelta(days=known)]
    assert answer == in_force(history_of(*by_then), on, known)
    assert answer == in_force(whole.sample(frac=1, random_state=shuffle.randrange(2**32)), on, known)
