"""The same trades from a database or a bucket are the same lots; a bucket that fails gives all of them or an error."""

import contextlib
import hashlib
import sqlite3

import pandas as pd
import pytest

from benchmarks.support.s3_servers import BUCKET, at_random, moto
from weights_pipeline import aws
from weights_pipeline.ledger import LedgerError
from weights_pipeline.ledger.places import find_files
from weights_pipeline_tests.support.mongo_server import MongoServer
from weights_pipeline_tests.support.trades import FILLS, PLAIN, hashes, lots, source


def in_sqlite(folder, monkeypatch):
    monkeypatch.setenv("DESK_DB", f"sqlite:///{folder}/desk.db")
    with sqlite3.connect(folder / "desk.db") as database:
        FILLS.to_sql("fills", database, index=False)
    database.close()
    return {"sql": {"url_env": "DESK_DB", "query": "SELECT * FROM fills ORDER BY ts, fill_id"}}


def in_s3(folder, monkeypatch):
    server = moto()
    server.environment(monkeypatch)
    half = len(FILLS) // 2
    for number, part in enumerate([FILLS[:half], FILLS[half:]]):
        body = part.to_csv(index=False).encode()
        server.objects.client.put_object(Bucket=BUCKET, Key=f"ledger/{number}/fills.csv", Body=body)
    return {"files": [f"s3://{BUCKET}/ledger/*/fills.csv"]}


def in_mongodb(folder, monkeypatch):
    server = MongoServer()
    monkeypatch.setenv("DESK_MONGO", server.url)
    server.data["desk"]["fills"].insert_many(FILLS.assign(live=True).to_dict("records"))
    return {"mongodb": {"url_env": "DESK_MONGO", "collection": "fills", "filter": {"live": True}}}


def in_dynamodb(folder, monkeypatch):
    server = moto()
    server.environment(monkeypatch)
    client = aws.client("dynamodb")
    client.create_table(
        TableName="desk-fills",
        KeySchema=[{"AttributeName": "fill_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "fill_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for row in FILLS.to_dict("records"):
        numbers = ("amount", "price", "fees")
        item = {name: {"N" if name in numbers else "S": value} for name, value in row.items()}
        client.put_item(TableName="desk-fills", Item=item)
    return {"dynamodb": {"table": "desk-fills"}}


@pytest.mark.parametrize("place", [in_sqlite, in_s3, in_mongodb, in_dynamodb])
def test_the_same_trades_from_another_place_are_the_same_lots(place, tmp_path, monkeypatch):
    (tmp_path / "plain.csv").write_text(PLAIN)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto().url)
    here, there = source(["plain.csv"]), source([place(tmp_path, monkeypatch)])
    for found, right in zip(lots(there, tmp_path), lots(here, tmp_path), strict=True):
        pd.testing.assert_frame_equal(found, right, check_exact=True)
    assert hashes(there, tmp_path) == hashes(here, tmp_path)


def test_an_object_that_is_replaced_while_the_ledger_is_read_is_refused(tmp_path, monkeypatch):
    in_s3(tmp_path, monkeypatch)
    first, second = find_files(tmp_path, [f"s3://{BUCKET}/ledger/*/fills.csv"], "fills")
    moto().objects.client.put_object(Bucket=BUCKET, Key="ledger/0/fills.csv", Body=b"other")
    with pytest.raises(LedgerError, match=r"ledger/0/fills.csv: was replaced while the ledger was being read"):
        first.read()
    assert second.read().startswith(b"strategy,")
    assert second.version == hashlib.md5(second.read()).hexdigest()
    with pytest.raises(LedgerError, match="no file in S3 matches"):
        find_files(tmp_path, [f"s3://{BUCKET}/ledger/*.parquet"], "fills")
    with pytest.raises(LedgerError, match="the bucket does not exist"):
        find_files(tmp_path, ["s3://no-such-bucket/*.csv"], "fills")


def in_s3_as_json(folder, monkeypatch):
    server = moto()
    server.environment(monkeypatch)
    server.objects.put("ledger.json/fills.json", FILLS.to_json(orient="records").encode(), {})
    return {"files": [f"s3://{BUCKET}/ledger.json/*.json"]}


@pytest.mark.parametrize("place", [in_s3, in_s3_as_json])
def test_a_bucket_of_which_every_third_request_fails_gives_all_rows_or_an_error(place, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")
    entry = place(tmp_path, monkeypatch)
    right, _ = lots(source([entry]), tmp_path)
    monkeypatch.setattr("weights_pipeline.aws.time.sleep", lambda _: None)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    found = []
    try:
        for seed in range(3):
            moto().fault = at_random(seed, 1 / 3)
            with contextlib.suppress(LedgerError):
                found.append(lots(source([entry]), tmp_path)[0])
    finally:
        moto().fault = None
    assert found
    for each in found:
        pd.testing.assert_frame_equal(each, right)
