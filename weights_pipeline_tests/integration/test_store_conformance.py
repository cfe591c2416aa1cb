"""What every store does alike: one suite over the DuckDB file and S3, on each S3 server there is."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest

from benchmarks.support.s3_servers import HAS_S3RVER, moto, s3rver
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.integrity import compared
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.store.queries import sql
from weights_pipeline.store.working import Working
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import content_hashes, prepare, to_frame
from weights_pipeline.tables.definition import Column, Table, Type
from weights_pipeline.tables.errors import ContractError, DamagedError, GateError, QueryError, SchemaMigrationError
from weights_pipeline_tests.support.small_table import LOG, MONTHS, WINDOWS, frame, month_rows, small_table

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)

EVERY_TYPE = Table(
    name="every_type",
    description="A column of each type, null where one may be.",
    columns=(
        Column("day", Type.DATE, "day"),
        Column("word", Type.TEXT, "word"),
        Column("note", Type.TEXT, "note", nullable=True),
        Column("number", Type.FLOAT, "number", nullable=True),
        Column("count", Type.INTEGER, "count"),
        Column("maybe", Type.INTEGER, "maybe", nullable=True),
        Column("flag", Type.BOOLEAN, "flag"),
        Column("since", Type.DATE, "since", nullable=True),
        Column("at", Type.TIMESTAMP, "at", nullable=True),
    ),
    key=("day", "word"),
    time_column="day",
    may_be_empty=True,
)


def every_type():
    return pd.DataFrame(
        {
            "day": pd.to_datetime(["2020-01-02", "2020-01-02", "2020-01-03", "2020-03-31"]),
            "word": ["", "Ω ≤ 'a'\n\"b\"", "a", "a"],
            "note": [None, "", "\x1f", "x" * 3000],
            "number": [-0.0, 5e-324, np.nan, np.nextafter(1.0, 2.0)],
            "count": [0, 2**62, -(2**62), 1],
            "maybe": [None, 2**40, None, -1],
            "flag": [True, False, True, False],
            "since": pd.to_datetime(["1677-10-01", None, "2262-01-01", "1970-01-01"]).astype("datetime64[us]"),
            "at": pd.to_datetime(["2020-01-02 03:04:05.678901", None, "1969-12-31 23:59:59.999999", None]),
        }
    )


def write(store, rows, windows=WINDOWS, table=None, run_id="run", schema="book"):
    return store.write(schema, table or small_table(), rows, windows, run_id=run_id, recorded_at=NOW)


def state(store, *tables):
    """All that a store says of tables."""
    return [(store.read("book", table).to_dict("records"), store.partitions("book", table.name)) for table in tables]


@pytest.fixture(params=["duckdb", "s3"] + ["s3rver"] * HAS_S3RVER)
def store(request, tmp_path, monkeypatch):
    if request.param == "duckdb":
        return DuckDBStore(tmp_path / "weights.duckdb", lock_timeout=30)
    server = {"s3": moto, "s3rver": s3rver}[request.param]()
    server.environment(monkeypatch)
    return server.store()


def test_every_type_and_null_comes_back_as_it_was(store):
    windows = MONTHS[:3]
    written = write(store, every_type().iloc[::-1], windows, EVERY_TYPE)
    expected = prepare(every_type(), EVERY_TYPE, windows)
    assert {r.key: (r.rows, r.content_hash) for r in written} == content_hashes(
        expected, EVERY_TYPE, [w.key for w in windows]
    )
    back = store.read("book", EVERY_TYPE)
    pd.testing.assert_frame_equal(back, to_frame(expected).drop(columns="partition_key"), check_exact=True)
    assert np.signbit(back["number"][0])
    assert list(back["note"].isna()) == [True, False, False, False]
    assert back["at"].dtype == back["since"].dtype == "datetime64[us]"
    rewritten = content_hashes(prepare(back, EVERY_TYPE, windows), EVERY_TYPE, [w.key for w in windows])
    assert rewritten == {r.key: (r.rows, r.content_hash) for r in written}


def test_hash_of_a_content_is_the_same_in_every_store_and_for_ever(store):
    assert [r.content_hash[:16] for r in write(store, frame())] == ["3c4f75581d9dcf9b", "362906a6f005ae1f"]
    assert [r.content_hash[:16] for r in write(store, every_type(), MONTHS[:3], EVERY_TYPE)] == [
        "e0ab5c5a99ada560",
        "8119a1c1cc08421e",
        "204f0f52c339ce8a",
    ]


def test_a_column_of_a_later_release_changes_no_content_until_it_says_something(store):
    before = replace(small_table(), kept=True)
    later = replace(before, columns=(*before.columns, Column("said", Type.TEXT, "What.", nullable=True, later=True)))
    written = {record.key: record.content_hash for record in write(store, frame(), table=before)}
    silent = frame().assign(said=None)
    assert {record.key: record.content_hash for record in write(store, silent, table=later)} == written
    assert store.read("book", later)["said"].isna().all()
    said = frame().assign(said=["x"] * len(frame()))
    spoken = {
        record.key: record.content_hash for record in write(store, said[said["day"] < "2020-02-01"], WINDOWS[:1], later)
    }
    assert spoken["2020-01-01"] != written["2020-01-01"]
    assert store.read("book", later)["said"].fillna("").tolist() == ["x", "x", ""]
    assert store.read_known("book", later, written)["said"].isna().all()
    assert store.read_known("book", later, spoken)["said"].tolist() == ["x", "x"]
    assert not compared(store, "book", later).altered


def test_columns_come_as_asked_and_rows_by_key(store):
    write(store, frame())
    back = store.read("book", small_table(), columns=["value", "name", "partition_key"])
    assert list(back.columns) == ["value", "name", "partition_key"]
    assert back["name"].tolist() == ["a", "b", "a"]
    assert back["partition_key"].tolist() == ["2020-01-01", "2020-01-01", "2020-02-01"]
    with pytest.raises(ContractError, match=r"small: unknown columns \['vaule'\]"):
        store.read("book", small_table(), columns=["vaule"])


def test_rows_come_by_what_they_say(store):
    write(store, frame())
    whole = store.read("book", small_table())
    for keys in (None, ["2020-01-01"]):
        rows = whole if keys is None else whole[whole["day"] < "2020-02-01"]
        for names in (["a", "c"], ["b"], []):
            expected = rows[rows["name"].isin(names)][["value"]].reset_index(drop=True)
            for reader in (store, once := ReadOnce(store), Working(store), once):
                found = reader.read("book", small_table(), keys, columns=["value"], among={"name": names})
                pd.testing.assert_frame_equal(found, expected, check_exact=True)
                once.read("book", small_table())


def test_write_replaces_only_its_own_partitions(store):
    write(store, frame())
    write(store, frame().iloc[[0]].assign(value=9.0), WINDOWS[:1])
    back = store.read("book", small_table())
    assert back["value"].tolist()[0] == 9.0
    assert len(back) == 2
    assert store.read("book", small_table(), ["2020-02-01"])["name"].tolist() == ["a"]
    assert store.read("book", small_table(), ["2020-02-01", "2031-01-01"])["name"].tolist() == ["a"]
    assert store.read("book", small_table(), []).empty


def test_a_range_is_what_its_partitions_are_one_by_one(store):
    months = MONTHS[:4]
    rows = pd.concat([month_rows(window, float(n)) for n, window in enumerate(months)], ignore_index=True)
    whole = write(store, rows.sample(frac=1, random_state=1), months, run_id="range")
    for n, window in enumerate(months):
        write(store, month_rows(window, float(n)), [window], schema="other")
    single = store.partitions("other", "small")
    assert [r.content_hash for r in whole] == [r.content_hash for r in single.values()]
    assert list(single) == [window.key for window in months]
    pd.testing.assert_frame_equal(store.read("other", small_table()), store.read("book", small_table()))


def test_an_empty_partition_is_a_partition(store):
    table = small_table(may_be_empty=True)
    assert [r.rows for r in write(store, frame().iloc[:0], table=table)] == [0, 0]
    back = store.read("book", table)
    assert back.empty
    assert back.dtypes.to_dict() == store.read("book", small_table(name="never")).dtypes.to_dict()
    write(store, frame().iloc[[1]], WINDOWS[1:], table)
    assert [r.rows for r in store.partitions("book", "small").values()] == [0, 1]


def test_manifest_tells_rows_hash_run_and_instant(store):
    written = write(store, frame(), run_id="r1")
    records = store.partitions("book", "small")
    assert list(records.values()) == written
    assert records["2020-01-01"].rows == 2
    assert records["2020-01-01"].run_id == "r1"
    assert records["2020-01-01"].recorded_at == NOW.replace(tzinfo=None)
    assert store.partitions("book", "other") == {}


def test_rewriting_the_same_content_gives_the_same_hash(store):
    first = write(store, frame(), run_id="r1")
    second = write(store, frame().iloc[::-1], run_id="r2")
    assert [r.content_hash for r in first] == [r.content_hash for r in second]
    assert {r.run_id for r in store.partitions("book", "small").values()} == {"r2"}


def test_what_is_refused_changes_nothing(store):
    days = pd.to_datetime(["2020-01-31", "2020-02-03", "2020-03-01"])
    refused = [
        (frame().drop(columns="flag"), small_table(), ContractError, "missing"),
        (frame(value=[1.0, np.inf, 2.0]), small_table(), ContractError, "infinite"),
        (frame(day=days), small_table(), ContractError, "outside the partitions"),
        (frame(), small_table(gate=lambda rows: rows[rows["count"] > 2]), GateError, "hard limit"),
    ]

    def refuse_all():
        for rows, table, error, message in refused:
            with pytest.raises(error, match=message):
                write(store, rows, table=table)

    refuse_all()
    with pytest.raises(FileNotFoundError, match="nothing has been materialised yet"):
        store.tables()
    write(store, frame())
    before = state(store, small_table())
    refuse_all()
    assert repr(state(store, small_table())) == repr(before)


def test_reading_what_was_never_written_is_empty_and_typed(store):
    assert store.read("book", small_table()).empty
    write(store, frame())
    nothing = store.read("book", small_table(name="never"), columns=["day", "name"])
    assert nothing.empty
    assert nothing["day"].dtype == "datetime64[us]"
    assert nothing["name"].dtype == "str"


def test_replaced_rows_of_a_kept_table_are_found_by_their_content(store):
    table = small_table(kept=True)
    first = {r.key: r.content_hash for r in write(store, frame(), table=table)}
    before = store.read("book", table)
    write(store, frame().iloc[[0]].assign(value=9.0), WINDOWS[:1], table)
    write(store, frame().iloc[[2]].assign(value=8.0), WINDOWS[:1], table)
    pd.testing.assert_frame_equal(store.read_known("book", table, first), before)
    assert store.read_known("book", table, {}).empty
    assert store.read("book", table)["value"].tolist()[0] == 8.0
    with pytest.raises(DamagedError, match="0" * 64):
        store.read_known("book", table, first | {"2020-01-01": "0" * 64})


def test_unpartitioned_tables_are_replaced_as_a_whole(store):
    write(store, frame(), (), LOG)
    write(store, frame().iloc[[1]], (), LOG)
    assert store.read("book", LOG)["name"].tolist() == ["a"]
    assert [(key, r.rows) for key, r in store.partitions("book", "log").items()] == [("", 1)]


def test_an_update_changes_what_is_there(store):
    def grow(rows):
        return pd.concat([rows, frame().iloc[[len(rows)]]], ignore_index=True)

    for turn in range(3):
        record = store.update("book", LOG, grow, run_id=f"u{turn}", recorded_at=NOW)
        assert record.rows == turn + 1
    assert store.partitions("book", "log") == {"": record}
    pd.testing.assert_frame_equal(
        store.read("book", LOG), frame().sort_values(["day", "name"], ignore_index=True).astype({"day": "M8[us]"})
    )


def test_an_update_that_fails_or_is_refused_changes_nothing(store):
    write(store, frame(), (), LOG)
    before = state(store, LOG)
    with pytest.raises(ZeroDivisionError):
        store.update("book", LOG, lambda rows: 1 / 0, run_id="r", recorded_at=NOW)
    with pytest.raises(ContractError, match="share their key"):
        store.update("book", LOG, lambda rows: pd.concat([rows, rows]), run_id="r", recorded_at=NOW)
    assert repr(state(store, LOG)) == repr(before)


def at_once(count, work):
    """Run work in threads that begin together."""
    together = threading.Barrier(count)

    def begin(number):
        together.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_updates_at_once_lose_nothing(store, request):
    if "s3rver" in request.node.name:
        pytest.skip("s3rver ignores conditions: one writer at a time")

    def add(number):
        def change(rows):
            new = frame(name=[f"n{number}"] * 3).iloc[[0]].assign(count=len(rows))
            return pd.concat([rows, new], ignore_index=True) if len(rows) else new

        return store.update("book", LOG, change, run_id=str(number), recorded_at=NOW)

    records = at_once(8, add)
    assert sorted(r.rows for r in records) == list(range(1, 9))
    rows = store.read("book", LOG)
    assert rows["name"].tolist() == [f"n{number}" for number in range(8)]
    assert sorted(rows["count"]) == list(range(8))


def test_ranges_at_once_end_as_if_one_came_after_the_other(store, request):
    if "s3rver" in request.node.name:
        pytest.skip("s3rver ignores conditions: one writer at a time")

    def backfill(number):
        windows = MONTHS[number : number + 6]
        rows = pd.concat([month_rows(window, float(number)) for window in windows], ignore_index=True)
        return write(store, rows, windows, run_id=str(number))

    at_once(4, backfill)
    by_month = store.read("book", small_table(), columns=["partition_key", "value"]).groupby("partition_key")["value"]
    assert (by_month.size() == 4).all()
    assert (by_month.nunique() == 1).all()
    runs = [int(record.run_id) for record in store.partitions("book", "small").values()]
    assert runs == by_month.first().astype(int).tolist()
    # Each range is a block that later ones may have covered from one side or the other, never a comb.
    assert len(runs) == 9
    assert [a for a, b in zip(runs, [*runs[1:], -1], strict=True) if a != b] == list(dict.fromkeys(runs))


def labelled(window, *labels):
    rows = {"as_of": pd.Timestamp(window.key), "strategy": "a", "metric": list(labels), "value": 1.5}
    return pd.DataFrame(rows).assign(reason="", source="live")


def test_metrics_of_an_earlier_release_are_read_in_two_columns_and_stay_as_they_were_written(store):
    """A release that kept metric and window in one column, and this one, on one store."""
    metrics = catalog.METRICS
    before = replace(
        metrics,
        columns=tuple(column for column in metrics.columns if column.name != "lookback"),
        key=("as_of", "strategy", "metric"),
        earlier=None,
    )
    labels = ("calmar_12m", "hit_rate_12m", "max_drawdown_12m")
    written = {r.key: r for r in write(store, pd.concat(labelled(w, *labels) for w in WINDOWS), WINDOWS, before)}
    now = [("calmar", "12m"), ("hit_rate", "12m"), ("max_drawdown", "12m")]

    def read():
        rows = store.read("book", metrics)
        assert rows.columns.tolist() == metrics.column_names()
        return rows[["metric", "lookback"]].apply(tuple, axis=1).tolist()

    assert read() == now * 2
    named = store.read("book", metrics, ["2020-02-01"], columns=["partition_key", "lookback"])
    assert named.to_numpy().tolist() == [["2020-02-01", "12m"]] * 3
    for reader in (store, once := ReadOnce(store)):
        assert compared(reader, "book", metrics).altered == []
    assert once.read("book", metrics, ["2020-02-01"]).equals(store.read("book", metrics, ["2020-02-01"]))
    newer = labelled(WINDOWS[1], "calmar").assign(lookback="90d")
    write(store, newer, WINDOWS[1:], metrics)
    assert read() == [*now, ("calmar", "90d")]
    assert store.partitions("book", "metrics")["2020-01-01"] == written["2020-01-01"]
    assert compared(store, "book", metrics).altered == []


def test_metrics_are_written_with_their_lookback(store):
    with pytest.raises(ContractError, match="1 nulls in column 'lookback', which may not be null"):
        write(store, labelled(WINDOWS[0], "calmar").assign(lookback=None), WINDOWS[:1], catalog.METRICS)


def test_a_nullable_column_is_added_and_reads_as_null_before(store):
    write(store, frame())
    wider = small_table(columns=(*small_table().columns, Column("note", Type.TEXT, "new", nullable=True)))
    before = store.read("book", wider)["note"]
    assert before.isna().all()
    assert before.dtype == "str"
    write(store, frame().iloc[[1]].assign(note="x"), WINDOWS[1:], wider)
    assert store.read("book", wider)["note"].isna().tolist() == [True, True, False]
    assert sql(store, "SELECT note FROM book.small ORDER BY day").column("note").to_pylist() == [None, None, "x"]
    # A definition that has lost the column again reads, and writes, without it.
    assert list(store.read("book", small_table()).columns) == small_table().column_names()
    write(store, frame())
    assert store.read("book", wider)["note"].isna().all()


def test_a_column_may_become_nullable(store):
    strict = small_table(columns=(*small_table().columns, Column("ratio", Type.FLOAT, "of something")))
    looser = replace(strict, columns=(*small_table().columns, replace(strict.columns[-1], nullable=True)))
    write(store, frame().assign(ratio=0.5), table=strict)
    assert store.read("book", looser)["ratio"].tolist() == [0.5] * 3
    for value in (np.nan, 0.25):
        write(store, frame().iloc[[1]].assign(ratio=value), WINDOWS[1:], looser)
        assert store.read("book", looser)["ratio"].isna().tolist() == [False, False, np.isnan(value)]


def test_other_changes_ask_for_a_migration(store):
    write(store, frame())
    before = state(store, small_table())
    day, name, value, count, flag = small_table().columns
    for columns, message in (
        ((day, name, value, count, flag, Column("must", Type.FLOAT, "new")), "'must' is missing and not nullable"),
        (
            (day, name, value, Column("count", Type.FLOAT, "retyped"), flag),
            "'count' is BIGINT, the definition says DOUBLE",
        ),
        ((day, name, value, count), "'flag' is NOT NULL in the store and unknown to the definition"),
    ):
        rows = frame().assign(must=1.0)[[c.name for c in columns]]
        with pytest.raises(SchemaMigrationError, match=f"book.small needs a migration: column {message}"):
            write(store, rows, table=small_table(columns=columns))
    assert repr(state(store, small_table())) == repr(before)


def test_a_table_that_was_dropped_as_its_message_says_is_made_again(store):
    write(store, frame())
    write(store, frame(), (), LOG)
    changed = small_table(columns=(*small_table().columns, Column("must", Type.FLOAT, "new")))
    with pytest.raises(
        SchemaMigrationError, match=r"drop table book\.small \(in S3, delete what is under book/small/\)"
    ):
        write(store, frame().assign(must=1.0), table=changed)
    if isinstance(store, DuckDBStore):
        with store.writing() as connection:
            connection.execute("DROP TABLE book.small")
    else:
        for key, _ in list(store.objects.list(f"{store.prefix}/book/small/")):
            store.objects.client.delete_object(Bucket=store.bucket, Key=key)
    write(store, frame().assign(must=1.0), table=changed)
    assert store.read("book", changed)["must"].tolist() == [1.0] * 3
    assert len(store.read("book", LOG)) == 3


def test_a_record_that_nothing_can_make_again_is_never_to_be_dropped(store):
    write(store, frame(), table=replace(small_table(), made_again=False))
    changed = small_table(columns=(*small_table().columns, Column("must", Type.FLOAT, "new")), made_again=False)
    with pytest.raises(SchemaMigrationError, match="nothing can make it again") as refused:
        write(store, frame().assign(must=1.0), table=changed)
    assert "drop" not in str(refused.value)


def test_a_table_does_not_become_partitioned_by_itself(store):
    write(store, frame(), (), LOG)
    with pytest.raises(SchemaMigrationError, match="partitioned in one of the two"):
        write(store, frame(), table=small_table(name="log"))


def test_tables_are_known_by_schema_and_name(store):
    write(store, frame(), schema="other")
    write(store, frame())
    write(store, frame(), (), LOG)
    assert store.tables() == [("book", "log"), ("book", "small"), ("other", "small")]


def test_tables_and_manifest_can_be_asked_in_sql(store):
    written = write(store, frame())
    write(store, frame(), (), LOG)
    with store.reading() as connection:
        description = connection.execute("DESCRIBE book.small").fetchall()
        rows = connection.execute("FROM book.small ORDER BY day").fetchall()
        manifest = connection.execute("FROM store.partitions ORDER BY table_name, partition_key").fetchall()
    assert [line[:3] for line in description] == [
        ("partition_key", "VARCHAR", "NO"),
        ("day", "DATE", "NO"),
        ("name", "VARCHAR", "NO"),
        ("value", "DOUBLE", "YES"),
        ("count", "BIGINT", "NO"),
        ("flag", "BOOLEAN", "NO"),
    ]
    assert rows[0] == ("2020-01-01", dt.date(2020, 1, 2), "a", 2.0, 3, True)
    assert rows[2] == ("2020-02-01", dt.date(2020, 2, 3), "a", None, 2, False)
    assert [line[:3] for line in manifest] == [
        ("book", "log", ""),
        ("book", "small", "2020-01-01"),
        ("book", "small", "2020-02-01"),
    ]
    assert manifest[1][3:] == (2, written[0].content_hash, "run", NOW.replace(tzinfo=None))


def test_whoever_asks_can_neither_write_nor_leave_the_store(store, tmp_path):
    write(store, frame())
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    local = pd.DataFrame({"a": [1]})
    for query in (
        "INSERT INTO book.small SELECT * FROM book.small",
        "WITH gone AS (DELETE FROM book.small RETURNING *) SELECT * FROM gone",
        f"COPY book.small TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'other.duckdb'}'",
        f"FROM read_csv('{secret}')",
        f"FROM '{secret}'",
        "FROM local",
        "SET lock_configuration = false",
        "LOAD httpfs",
    ):
        with store.reading() as connection, pytest.raises(duckdb.Error):
            connection.execute(query).fetchall()
    assert len(local) == 1
    assert len(store.read("book", small_table())) == 3
    assert not (tmp_path / "out.csv").exists()


def test_a_person_may_ask(store):
    write(store, frame())
    for query, answer in (
        ("SELECT sum(count) AS n FROM book.small", {"n": 6}),
        ("WITH x AS (FROM BOOK.Small) SELECT count(*) AS n FROM x;", {"n": 3}),
        (
            "SELECT table_name AS t, sum(row_count)::BIGINT AS n FROM store.partitions GROUP BY ALL",
            {"t": "small", "n": 3},
        ),
        ("VALUES (1)", {"col0": 1}),
        ("SELECT column_name AS n FROM (DESCRIBE book.small) LIMIT 1", {"n": "partition_key"}),
        ("SELECT count(*) AS n FROM query_table('book.small')", {"n": 3}),
    ):
        assert sql(store, query).to_pylist() == [answer]
    assert sql(store, "EXPLAIN FROM book.small").num_rows == 1


def test_a_person_may_do_nothing_else(store):
    write(store, frame())
    for query, message in (
        ("DELETE FROM book.small", "expected one statement that asks, such as SELECT, got DELETE"),
        ("SELECT 1; DROP TABLE book.small", "got SELECT, DROP"),
        ("COPY book.small TO 'x.csv'", "got COPY"),
        ("SET threads = 1", "got SET"),
        ("ATTACH 'x.duckdb'", "got ATTACH"),
        ("CALL duckdb_tables()", "got CALL"),
        ("", "got nothing"),
        ("SELEC 1", "syntax error"),
        ("FROM book.never", "(?s)does not exist.*Tables there are: book.small, store.partitions"),
        ("SELECT nope FROM book.small", "nope"),
        ("FROM read_csv('/etc/passwd')", "file system operations are disabled"),
        ("WITH gone AS (DELETE FROM book.small RETURNING *) FROM gone", "read-only"),
    ):
        with pytest.raises(QueryError, match=message):
            sql(store, query)
    assert len(store.read("book", small_table())) == 3


def test_questions_may_follow_each_other_in_one_view(store):
    write(store, frame())
    with store.view():
        assert sql(store, "SELECT count(*) AS n FROM book.small").to_pylist() == [{"n": 3}]
        with pytest.raises(QueryError):
            sql(store, "FROM book.never")
        assert sql(store, "SELECT count(*) AS n FROM book.small").to_pylist() == [{"n": 3}]
        assert len(store.read("book", small_table())) == 3


def test_a_missing_store_says_what_to_do(store):
    assert store.partitions("book", "small") == {}
    with store.view():
        assert store.read("book", small_table()).empty
    for ask in (store.tables, lambda: store.reading().__enter__(), lambda: sql(store, "SELECT 1")):
        with pytest.raises(FileNotFoundError, match=r"does not exist: .* Run `weights run` first"):
            ask()
    with pytest.raises(FileNotFoundError, match=store.location):
        store.tables()


def test_archived_partitions_are_read_by_their_content_alone(store):
    table = small_table(kept=True)
    written = store.write("book", table, frame(), WINDOWS, run_id="run", recorded_at=NOW)
    whole = store.read("book", table)
    store.archive("book", table, ["2020-01-01"])
    assert list(store.partitions("book", "small")) == ["2020-02-01"]
    assert len(store.read("book", table)) == 1
    assert sql(store, "SELECT count(*) AS n FROM book.small").column("n").to_pylist() == [1]
    known = store.read_known("book", table, {record.key: record.content_hash for record in written})
    pd.testing.assert_frame_equal(known, whole)
    write(store, frame(), WINDOWS, table)
    pd.testing.assert_frame_equal(store.read("book", table), whole)
