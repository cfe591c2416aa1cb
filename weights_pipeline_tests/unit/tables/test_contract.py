"""The write contract: what a frame must be before any store takes it."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from weights_pipeline.ledger import session_span
from weights_pipeline.tables.contract import (
    ContractError,
    GateError,
    Window,
    content_hash,
    content_hashes,
    prepare,
    to_frame,
)
from weights_pipeline.tables.definition import Column, Type
from weights_pipeline_tests.support.small_table import NEW_YORK, WINDOWS, frame, small_table


def test_columns_are_matched_by_name_whatever_their_order():
    table = small_table()
    straight = prepare(frame(), table, WINDOWS)
    shuffled = prepare(frame()[["flag", "count", "value", "name", "day"]].iloc[::-1], table, WINDOWS)
    assert straight.equals(shuffled)
    assert straight.column("partition_key").to_pylist() == ["2020-01-01", "2020-01-01", "2020-02-01"]


def test_round_trip_keeps_nulls_and_types():
    back = to_frame(prepare(frame(), small_table(), WINDOWS))
    assert list(back["value"].isna()) == [False, False, True]
    assert back["day"].dtype == "datetime64[us]"
    assert back["flag"].dtype == bool


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, r"unknown \['extra'\]"),
        ({"name": ["a", None, "b"]}, "nulls in column 'name'"),
        ({"count": [1.5, 2.0, 3.0]}, "'count' must be BIGINT"),
        ({"value": ["x", "y", "z"]}, "'value' must be DOUBLE"),
        ({"value": [1.0, np.inf, 2.0]}, "infinite"),
        ({"flag": [1, 0, 1]}, "'flag' must be BOOLEAN"),
        ({"day": pd.to_datetime(["2020-01-31 12:00", "2020-02-03 00:00", "2020-01-02 00:00"])}, "time of day"),
        ({"day": pd.to_datetime(["2020-01-31", "2020-02-03", "2020-03-01"])}, "outside the partitions.*2020-03-01"),
        ({"day": pd.to_datetime(["2020-01-31", "2020-02-03", "2019-12-31"])}, "outside the partitions.*2019-12-31"),
        (
            {"day": pd.to_datetime(["2020-01-02", "2020-02-03", "2020-01-02"]), "name": ["a", "a", "a"]},
            "share their key",
        ),
        ({"day": pd.to_datetime(["2020-01-31", "2020-01-03", "2020-01-02"])}, "no rows for 2020-02-01"),
    ],
)
def test_refused_frames_say_why(changes, message):
    with pytest.raises(ContractError, match=message):
        prepare(frame(**changes), small_table(), WINDOWS)


def test_missing_column_is_named():
    with pytest.raises(ContractError, match=r"missing \['flag'\]"):
        prepare(frame().drop(columns="flag"), small_table(), WINDOWS)


def test_gate_refuses_the_whole_frame():
    table = small_table(gate=lambda rows: rows[rows["count"] > 2])
    with pytest.raises(GateError, match="1 rows break a hard limit"):
        prepare(frame(), table, WINDOWS)


def test_empty_partition_is_allowed_only_where_the_definition_says_so():
    assert prepare(frame().iloc[:0], small_table(may_be_empty=True), WINDOWS).num_rows == 0
    with pytest.raises(ContractError, match="no rows for 2020-01-01, 2020-02-01"):
        prepare(frame().iloc[:0], small_table(), WINDOWS)


@pytest.mark.parametrize(
    ("moment", "in_first_week"),
    [
        # Friday belongs to the week that ends on the Sunday after it, that Sunday itself to the next.
        ("2021-03-14T18:00", "abcd"),
        # A Wednesday ends before its close at noon, and after it at six.
        ("2021-03-10T12:00", "ab"),
        ("2021-03-10T18:00", "abc"),
    ],
)
def test_a_session_belongs_to_the_week_it_closes_in(moment, in_first_week):
    end = dt.datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK)
    windows = []
    for start in (end - dt.timedelta(days=7), end):
        span = session_span("XNYS", start, start + dt.timedelta(days=7))
        windows.append(Window(f"{start:%Y-%m-%d}", start, start + dt.timedelta(days=7), **vars(span)))
    days = pd.to_datetime(["2021-03-08", "2021-03-09", "2021-03-10", "2021-03-12", "2021-03-15"])
    rows = pd.DataFrame({"day": days, "name": list("abcde"), "value": 0.0, "count": 1, "flag": True})
    rows = rows[(rows["day"].dt.date >= windows[0].first) & (rows["day"].dt.date < windows[1].after)]
    stored = prepare(rows, small_table(), windows).to_pandas()
    assert "".join(stored.loc[stored["partition_key"] == windows[0].key, "name"]) == in_first_week


def test_a_week_is_settled_when_the_day_of_its_last_session_is_over():
    sunday = dt.datetime(2021, 3, 14, 18, tzinfo=NEW_YORK)
    span = session_span("XNYS", sunday - dt.timedelta(days=7), sunday)
    assert (span.first, span.after) == (dt.date(2021, 3, 8), dt.date(2021, 3, 15))
    assert span.settled == dt.datetime(2021, 3, 13, tzinfo=NEW_YORK)
    friday = dt.datetime(2021, 3, 12, 17, tzinfo=NEW_YORK)
    assert session_span("XNYS", friday - dt.timedelta(days=7), friday).settled == friday
    # Good Friday 2021 is no session: the week's last one is Thursday. The close of a half day comes early.
    easter = dt.datetime(2021, 4, 4, 18, tzinfo=NEW_YORK)
    easter = session_span("XNYS", easter - dt.timedelta(days=7), easter)
    assert easter.settled == dt.datetime(2021, 4, 2, tzinfo=NEW_YORK)
    half = dt.datetime(2021, 11, 26, 13, 30, tzinfo=NEW_YORK)
    assert session_span("XNYS", half - dt.timedelta(days=7), half).after == dt.date(2021, 11, 29)


def test_content_hash_depends_on_content_alone():
    table = small_table()
    keys = [w.key for w in WINDOWS]
    whole = content_hashes(prepare(frame(), table, WINDOWS), table, keys)
    january = frame()[lambda f: f["day"] < "2020-02-01"]
    alone = content_hashes(prepare(january, table, WINDOWS[:1]), table, keys[:1])
    assert whole["2020-01-01"] == alone["2020-01-01"]
    changed = january.assign(value=np.nextafter(january["value"], 9))
    assert content_hashes(prepare(changed, table, WINDOWS[:1]), table, keys[:1])["2020-01-01"] != alone["2020-01-01"]


def test_a_column_of_a_later_release_is_part_of_a_content_only_where_it_says_something():
    table, keys = small_table(), [w.key for w in WINDOWS]
    column = Column("said", Type.TEXT, "What.", nullable=True, later=True)
    wider = replace(table, columns=(*table.columns, column))

    def hashes(rows, table):
        return content_hashes(prepare(rows, table, WINDOWS), table, keys)

    before, silent = hashes(frame(), table), frame().assign(said=None)
    assert hashes(silent, wider) == before
    last = silent["day"].max()
    said = hashes(silent.assign(said=silent["said"].where(silent["day"] < last, "x")), wider)
    assert [key for key in keys if said[key] != before[key]] == [max(keys)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("x", "yb:string;z"), ("xb:string;y", "z")),
        (("1\x1f2", "3"), ("1", "2\x1f3")),
        (("\x00", "a"), (None, "a")),
        (("\x1e1:x", "a"), ("x", "a")),
    ],
)
def test_no_text_can_pass_for_another_content(first, second):
    def stored(row):
        return pa.table({"a": pa.array([row[0]], pa.string()), "b": pa.array([row[1]], pa.string())})

    assert content_hash(stored(first)) != content_hash(stored(second))
    assert content_hash(stored(first)) == content_hash(stored(first))
