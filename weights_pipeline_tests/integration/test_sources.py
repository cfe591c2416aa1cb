"""Databases read whole or not at all, in a fixed order, without a secret in any message."""

import datetime as dt
import json
import random
import socket
import sqlite3
from decimal import Decimal

import pytest
from bson import Binary, Decimal128
from pydantic import ValidationError
from sqlalchemy import Engine, event

from benchmarks.support.s3_servers import moto
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.sources import SOURCES, reading
from weights_pipeline.ledger.sources.cells import record_batch
from weights_pipeline.ledger.sources.dynamodb import DynamoDb
from weights_pipeline.ledger.sources.mongodb import MongoDb
from weights_pipeline.ledger.sources.reading import ATTEMPTS, read_rows
from weights_pipeline.ledger.sources.sql import Sql
from weights_pipeline_tests.support.mongo_server import MongoServer

FILLS = [
    {"id": f"f{i:03}", "strategy": "carry", "symbol": "EWZ", "amount": 10 if i % 2 == 0 else -10, "price": 30 + i / 8}
    for i in range(60)
]
TEXT = [{**fill, "amount": str(fill["amount"]), "price": str(fill["price"])} for fill in FILLS]
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    for module in ("reading", "sql", "mongodb"):
        monkeypatch.setattr(f"weights_pipeline.ledger.sources.{module}.PAGE", 7)


@pytest.fixture
def pauses():
    return []


def rows_of(table):
    return [{name: row[name] for name in sorted(row)} for row in table.to_pylist()]


def in_order(rows):
    return [{name: row[name] for name in sorted(row)} for row in rows]


@pytest.fixture
def sqlite(tmp_path):
    file = tmp_path / "desk fills?.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE fills (id TEXT, strategy TEXT, symbol TEXT, amount INTEGER, price REAL)")
        database.executemany("INSERT INTO fills VALUES (:id, :strategy, :symbol, :amount, :price)", FILLS[::-1])
    database.close()
    return {"DESK_DB": f"sqlite:///{str(file).replace('?', '%3F')}"}


def sql(query="SELECT id, strategy, symbol, amount, price FROM fills ORDER BY id"):
    return Sql(url_env="DESK_DB", query=query)


def test_sql_gives_every_row_as_text_in_the_order_of_the_query(sqlite):
    table = read_rows(sql(), sqlite)
    assert rows_of(table) == in_order(TEXT)
    assert table.column_names == ["id", "strategy", "symbol", "amount", "price"]


def test_sql_without_rows_still_has_its_columns(sqlite):
    table = read_rows(sql("SELECT id, price FROM fills WHERE id = 'none' ORDER BY id"), sqlite)
    assert (table.column_names, table.num_rows) == (["id", "price"], 0)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("DELETE FROM fills ORDER BY id", "SELECT or WITH"),
        ("SELECT * FROM fills", "ORDER BY"),
        ("UPDATE fills SET price = 1", "SELECT or WITH"),
    ],
)
def test_sql_takes_one_query_that_reads_in_an_order(query, says):
    with pytest.raises(ValidationError, match=says):
        sql(query)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT colour FROM fills ORDER BY id", "no such column: colour"),
        ("SELECT id, price AS id FROM fills ORDER BY 1", "column id appears more than once; name each with AS"),
        ("SELECT x'00ff' AS raw FROM fills ORDER BY id", "raw: a value of type bytes"),
        (
            "WITH gone AS (SELECT 1) DELETE FROM fills WHERE id IN (SELECT id FROM fills ORDER BY id)",
            "readonly database",
        ),
    ],
)
def test_sql_that_fails_for_good_is_not_tried_again(sqlite, query, says, pauses):
    with pytest.raises(LedgerError, match=says):
        read_rows(sql(query), sqlite, pause=pauses.append)
    assert not pauses
    assert read_rows(sql(), sqlite).num_rows == len(FILLS)


def test_sql_never_makes_the_file_that_is_missing(tmp_path, pauses):
    with pytest.raises(LedgerError, match="unable to open database file"):
        read_rows(sql(), {"DESK_DB": f"sqlite:///{tmp_path}/none.db"}, pause=pauses.append)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (None, "the environment variable DESK_DB is not set"),
        (f"{SECRET}", "its address is none that SQLAlchemy reads"),
        (f"mssql+pyodbc://sa:{SECRET}@host/desk", "sqlite, postgresql, mysql or mariadb, got one of mssql"),
        (f"postgresql+nothing://me:{SECRET}@host/desk", "no driver of that name"),
        (f"mysql+aiomysql://me:{SECRET}@host/desk", "the driver aiomysql is not installed"),
    ],
)
def test_sql_address_that_cannot_be_used(address, says, pauses):
    with pytest.raises(LedgerError, match=says) as raised:
        read_rows(sql(), {"DESK_DB": address} if address else {}, pause=pauses.append)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_server_that_is_down_is_tried_again_and_then_named(pauses):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:{free.getsockname()[1]}/desk"
    with pytest.raises(LedgerError, match=rf"sql:DESK_DB/\w{{8}}: could not be read, {ATTEMPTS} times") as raised:
        read_rows(sql(), {"DESK_DB": address}, pause=pauses.append)
    assert len(pauses) == ATTEMPTS - 1
    assert SECRET not in str(raised.value)


def test_sql_that_breaks_off_midway_gives_all_rows_or_an_error(sqlite, pauses):
    chance = random.Random(3)

    def falter(connection, _):
        connection.set_progress_handler(lambda: chance.random() < 0.1, 60)  # about 10 times a read

    event.listen(Engine, "connect", falter)
    given, failed = 0, 0
    try:
        for _ in range(30):
            try:
                found = read_rows(sql(), sqlite, pause=pauses.append)
            except LedgerError:
                failed += 1
            else:
                assert rows_of(found) == in_order(TEXT)
                given += 1
    finally:
        event.remove(Engine, "connect", falter)
    assert given > 5
    assert len(pauses) > given + failed


def test_a_read_that_breaks_off_begins_anew_and_never_gives_a_part(pauses):
    class Flaky(reading.RowSource):
        name: str = "flaky"

        def batches(self, environment):
            yield record_batch(TEXT[:40])
            if len(pauses) < 2:
                raise reading.PassingError("ConnectionReset")
            yield record_batch(TEXT[40:])

    assert rows_of(read_rows(Flaky(), {}, pause=pauses.append)) == in_order(TEXT)
    assert len(pauses) == 2


@pytest.fixture
def mongo():
    server = MongoServer()
    yield server
    server.close()


def mongodb(**options):
    return MongoDb(url_env="DESK_MONGO", collection="fills", **options)


def test_mongodb_gives_documents_in_the_order_of_their_ids(mongo):
    mongo.data["desk"]["fills"].insert_many([{"_id": fill["id"], **fill} for fill in FILLS[::-1]])
    table = read_rows(mongodb(), {"DESK_MONGO": mongo.url})
    assert rows_of(table.drop_columns("_id")) == in_order(TEXT)
    assert len(mongo.commands) == 9  # a page each, one of them the last
    assert {command["batchSize"] for command in mongo.commands} == {7}


def test_mongodb_values_of_all_kinds(mongo):
    when = dt.datetime(2024, 3, 4, 15, 15, 2, 500_000, tzinfo=dt.UTC)
    mongo.data["desk"]["fills"].insert_many(
        [
            {"_id": 1, "ts": when, "money": Decimal128("1.2300"), "live": True, "tags": ["a", {"b": None}]},
            {"_id": 2, "extra": {"of": {"late": 5}}},
        ]
    )
    first, second = read_rows(mongodb(), {"DESK_MONGO": mongo.url}).to_pylist()
    assert first == {
        "_id": "1",
        "ts": "2024-03-04T15:15:02.500000+00:00",
        "money": "1.2300",
        "live": "true",
        "tags.0": "a",
        "tags.1.b": None,
        "extra.of.late": None,
    }
    assert second["extra.of.late"] == "5"


def test_mongodb_filter(mongo):
    mongo.data["desk"]["fills"].insert_many([{"_id": fill["id"], **fill} for fill in FILLS])
    chosen = mongodb(filter={"amount": {"$gt": 0}, "id": {"$in": ["f000", "f001", "f002"]}})
    assert [row["id"] for row in read_rows(chosen, {"DESK_MONGO": mongo.url}).to_pylist()] == ["f000", "f002"]
    assert chosen.name != mongodb().name


def test_mongodb_that_drops_connections_midway_gives_all_or_an_error(mongo, pauses):
    mongo.data["desk"]["fills"].insert_many([{"_id": fill["id"], **fill} for fill in FILLS])
    count = iter(range(1000))
    mongo.fault = lambda command: "reset" if "getMore" in command and next(count) in (3, 5) else None
    table = read_rows(mongodb(), {"DESK_MONGO": mongo.url}, pause=pauses.append)
    assert table.num_rows == len(FILLS)
    assert pauses
    mongo.fault = lambda command: "reset" if "getMore" in command else None
    with pytest.raises(LedgerError, match=r"could not be read, 5 times \(AutoReconnect\)"):
        read_rows(mongodb(), {"DESK_MONGO": mongo.url}, pause=pauses.append)


def test_mongodb_refusal_is_final(mongo, pauses):
    mongo.fault = lambda command: {"code": 13, "codeName": "Unauthorized", "errmsg": "not authorized on desk"}
    with pytest.raises(LedgerError, match="error 13, not authorized on desk"):
        read_rows(mongodb(), {"DESK_MONGO": mongo.url}, pause=pauses.append)
    assert not pauses


def test_mongodb_document_with_bytes_is_refused(mongo):
    mongo.data["desk"]["fills"].insert_one({"_id": 1, "raw": Binary(b"\0")})
    with pytest.raises(LedgerError, match="raw: a value of type bytes"):
        read_rows(mongodb(), {"DESK_MONGO": mongo.url})


@pytest.mark.parametrize("address", [f"postgresql://me:{SECRET}@host/desk", f"mongodb://me:{SECRET}@127.0.0.1:1"])
def test_mongodb_address_that_cannot_be_used(address, pauses):
    with pytest.raises(LedgerError, match="none that names a server and a database") as raised:
        read_rows(mongodb(), {"DESK_MONGO": address}, pause=pauses.append)
    assert SECRET not in str(raised.value)


def test_mongodb_runs_no_code():
    with pytest.raises(ValidationError, match=r"\$where: not allowed"):
        mongodb(filter={"$or": [{"$where": "sleep(1000)"}]})


@pytest.fixture
def table_name(monkeypatch, request):
    server = moto()
    server.environment(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
    import boto3

    client = boto3.client("dynamodb")
    name = f"fills-{abs(hash(request.node.name))}"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for fill in FILLS[::-1]:
        item = {"id": {"S": fill["id"]}, "strategy": {"S": "carry"}, "symbol": {"S": "EWZ"}}
        client.put_item(
            TableName=name, Item={**item, "amount": {"N": str(fill["amount"])}, "price": {"N": str(fill["price"])}}
        )
    yield name
    server.fault = None
    client.delete_table(TableName=name)


def numbers(rows):
    return [{**row, "price": Decimal(row["price"])} for row in rows]


def test_dynamodb_gives_items_in_one_order(table_name):
    assert numbers(rows_of(read_rows(DynamoDb(table=table_name), {}))) == numbers(
        in_order(sorted(TEXT, key=lambda row: (row["amount"], row["id"])))
    )


def test_dynamodb_filter(table_name):
    chosen = DynamoDb(table=table_name, filter={"id": ["f000", "f001", "f002"], "amount": 10})
    assert sorted(row["id"] for row in read_rows(chosen, {}).to_pylist()) == ["f000", "f002"]


def test_dynamodb_that_throttles_is_waited_for(table_name, pauses, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    faults = iter(["reset", (503, b"ServiceUnavailable")])
    moto().fault = lambda environ: next(faults, None)
    assert read_rows(DynamoDb(table=table_name), {}, pause=pauses.append).num_rows == len(FILLS)
    assert pauses


def test_dynamodb_table_that_is_missing(table_name, pauses):
    with pytest.raises(LedgerError, match=r"ResourceNotFoundException.*dynamodb:Scan"):
        read_rows(DynamoDb(table="no-such-table"), {}, pause=pauses.append)
    assert not pauses


def test_every_kind_has_a_name_without_a_secret_that_tells_queries_apart():
    assert set(SOURCES) == {"sql", "dynamodb", "mongodb"}
    assert sql().name != sql("SELECT 1 ORDER BY 1").name
    assert SECRET not in json.dumps([sql().name, mongodb().name, DynamoDb(table="abc").name])
