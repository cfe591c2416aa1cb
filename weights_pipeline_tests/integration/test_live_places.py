"""Live weights on S3 and in DynamoDB: publishing, reading, rivals, and servers out of reach."""

import datetime as dt
import itertools

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from weights_pipeline.live import (
    Keys,
    LiveError,
    LiveWeights,
    OlderVersionError,
    SignatureError,
    SigningKey,
    UnreachableError,
    publish,
)
from weights_pipeline.live.dynamodb import Table
from weights_pipeline.live.s3 import Bucket
from weights_pipeline.live.signing import SECRET
from weights_pipeline_tests.support.documents import NOW, document, reader

OWN, OTHER = (SigningKey(f"{SECRET}{letter * 43}=") for letter in "Ag")
BUCKET, PREFIXES = "live-weights", itertools.count()


# S3


@pytest.fixture(scope="module")
def server():
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def aws(server, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def bucket(aws):
    """A prefix of its own for every test, in one bucket."""
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return Bucket(f"s3://{BUCKET}/{next(PREFIXES)}/live")


def url(bucket):
    return f"s3://{bucket.bucket}/{bucket.prefix}"


def test_publishing_to_s3_and_reading_from_it(bucket):
    assert publish(document(7), url(bucket))
    key = f"{bucket.prefix}/calmar_core.json"
    stored = bucket.objects.client.get_object(Bucket=BUCKET, Key=key)
    assert stored["Body"].read() == document(7).to_json()
    assert stored["ContentType"] == "application/json"
    desk = reader(url(bucket))
    assert desk.current(NOW).version == 7
    assert not bucket.publish(document(7))
    with pytest.raises(OlderVersionError):
        bucket.publish(document(6))
    assert bucket.publish(document(8))
    assert desk.refresh()
    assert desk.current(NOW).allocations == document(8).final
    bucket.objects.client.put_object(Bucket=BUCKET, Key=key, Body=b"half a docu")
    desk.refresh()
    assert (desk.current(NOW).version, "newest content not used" in desk.current(NOW).reason) == (8, True)
    assert bucket.publish(document(9)), "what is corrupt is replaced"
    bucket.objects.client.delete_object(Bucket=BUCKET, Key=key)
    assert desk.refresh()
    assert f"nothing is published in s3://{BUCKET}/{key}" in desk.current(NOW).reason


def test_an_unchanged_object_is_polled_without_its_body(bucket):
    bucket.publish(document(7))
    desk, answers = reader(url(bucket)), []
    desk._source.objects.client.meta.events.register(
        "before-parse.s3.GetObject",
        lambda response_dict, **_: answers.append((response_dict["status_code"], response_dict["headers"])),
    )
    assert [desk.refresh() for _ in range(3)] == [False] * 3
    bucket.publish(document(8))
    assert [desk.refresh() for _ in range(2)] == [True, False]
    assert [status for status, _ in answers] == [304, 304, 304, 200, 304]
    assert all(int(headers.get("Content-Length", 0)) == 0 for status, headers in answers if status == 304)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rival", [6, 8])
def test_a_publisher_that_comes_between_reading_and_writing_is_not_overwritten(bucket, first, rival):
    """Version 7 has read what is there when the other publisher writes."""
    if not first:
        bucket.publish(document(5))
    between = [document(rival)]

    def other(**_):
        if between:
            assert publish(between.pop(), url(bucket))

    bucket.objects.client.meta.events.register("before-call.s3.PutObject", other)
    if rival < 7:
        assert bucket.publish(document(7))
    else:
        with pytest.raises(OlderVersionError, match="does not replace version 8"):
            bucket.publish(document(7))
    assert LiveWeights.from_json(bucket.poll("calmar_core", None)[0]).version == max(7, rival)


def test_a_publisher_that_never_comes_first_gives_up(bucket, monkeypatch):
    monkeypatch.setattr("weights_pipeline.live.reach.ATTEMPTS", 3)
    versions = iter(range(1, 100))

    def other(**_):
        publish(document(next(versions)), url(bucket))

    bucket.objects.client.meta.events.register("before-call.s3.PutObject", other)
    with pytest.raises(UnreachableError, match="others replaced it 3 times meanwhile"):
        bucket.publish(document(100))


def test_an_object_deleted_between_reading_and_writing_is_written_anew(bucket):
    bucket.publish(document(5))
    key, there = f"{bucket.prefix}/calmar_core.json", [True]

    def delete(**_):
        if there:
            there.pop()
            bucket.objects.client.delete_object(Bucket=BUCKET, Key=key)

    bucket.objects.client.meta.events.register("before-call.s3.PutObject", delete)
    assert bucket.publish(document(7))
    assert LiveWeights.from_json(bucket.poll("calmar_core", None)[0]).version == 7


def test_s3_out_of_reach_keeps_the_last_good_weights_while_they_are_fresh(bucket):
    bucket.publish(document(7))
    desk = reader(url(bucket))
    here = vars(desk._source.objects)["client"]
    vars(desk._source.objects)["client"] = boto3.client(
        "s3", endpoint_url="http://127.0.0.1:1", config=Config(retries={"total_max_attempts": 1})
    )
    assert not desk.refresh()
    answer = desk.current(NOW)
    assert (answer.source, answer.version) == ("live", 7)
    assert "EndpointConnectionError" in answer.reason
    assert desk.current(document().stale_after + dt.timedelta(days=1)).source == "base"
    vars(desk._source.objects)["client"] = here
    assert not desk.refresh()
    assert desk.current(NOW).reason == document().in_force.reason


def test_a_bucket_that_is_not_there_is_out_of_reach_and_nothing_is_withdrawn(aws):
    with pytest.raises(UnreachableError, match="the bucket does not exist"):
        publish(document(), "s3://no-such-bucket/live")
    assert "the bucket does not exist" in reader("s3://no-such-bucket/live").current(NOW).reason


@pytest.mark.parametrize(
    ("encryption", "stored"),
    [("AES256", ("AES256", None)), ("aws:kms", ("aws:kms", None)), ("aws:kms:key/1", ("aws:kms", "key/1"))],
)
def test_encryption_is_asked_of_s3(bucket, encryption, stored):
    publish(document(), f"{url(bucket)}?encryption={encryption}")
    head = bucket.objects.client.head_object(Bucket=BUCKET, Key=f"{bucket.prefix}/calmar_core.json")
    assert (head["ServerSideEncryption"], head.get("SSEKMSKeyId")) == stored


def test_no_region_is_out_of_reach(aws, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(UnreachableError, match=r"dynamodb: .* \(NoRegionError\)"):
        publish(document(), "dynamodb://weights")


def test_what_is_signed_on_s3_is_verified_signed_anew_and_not_replaced_without_a_signature(bucket):
    assert publish(document(7), url(bucket))
    assert publish(document(7), url(bucket), OWN), "the same weights, now signed"
    assert not publish(document(7), url(bucket), OWN)
    desk = reader(url(bucket), keys=Keys(OWN.public))
    assert desk.current(NOW).version == 7
    with pytest.raises(SignatureError, match=f"is signed by key {OWN.key_id}"):
        publish(document(8), url(bucket))
    assert publish(document(8), url(bucket), OTHER)
    assert not desk.refresh()
    assert f"key_id: expected a signature by key {OWN.key_id}, got '{OTHER.key_id}'" in desk.current(NOW).reason
    assert publish(document(8), url(bucket), OWN)
    assert desk.refresh()
    assert desk.current(NOW).version == 8


# DynamoDB


@pytest.fixture
def table(aws, request):
    name = f"weights-{abs(hash(request.node.name))}"
    keys = {"PK": "HASH", "SK": "RANGE"}
    index = {"GSI1PK": "HASH", "GSI1SK": "RANGE"}

    def schema(keys):
        return [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()]

    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=schema(keys),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in (*keys, *index)],
        GlobalSecondaryIndexes=[
            {"IndexName": "GSI1", "KeySchema": schema(index), "Projection": {"ProjectionType": "ALL"}}
        ],
    )
    return Table(f"dynamodb://{name}")


def item(table, key="WEIGHTS#CURRENT", sort="METADATA"):
    found = table.client.get_item(TableName=table.table, Key={"PK": {"S": key}, "SK": {"S": sort}}, ConsistentRead=True)
    return found.get("Item")


def history(table, key="HISTORY#ALL"):
    found = table.client.query(
        TableName=table.table,
        IndexName="GSI1",
        KeyConditionExpression="GSI1PK = :all",
        ExpressionAttributeValues={":all": {"S": key}},
    )
    return [(i["SK"]["S"], int(i["version"]["N"])) for i in found["Items"]]


def test_publishing_to_dynamodb_keeps_the_current_version_and_every_one_before(table):
    assert publish(document(6), f"dynamodb://{table.table}")
    assert table.publish(document(7))
    current = item(table)
    assert LiveWeights.from_json(current["document"]["S"].encode()) == document(7)
    assert {k: float(v["S"]) for k, v in current["weights"]["M"].items()} == document(7).final
    assert (current["version"], current["book"]) == ({"N": "7"}, {"S": "calmar_core"})
    assert current["effective_from"] == {"S": "2024-03-01"}
    assert current["checksum"] == {"S": document(7).checksum}
    assert "GSI1PK" not in current
    versions = [(f"VERSION#2024-03-01T06:30:0{v}.000000+00:00", v) for v in (6, 7)]
    assert history(table) == versions
    assert item(table, sort=versions[0][0])["document"]["S"].encode() == document(6).to_json()
    assert not table.publish(document(7))
    for older in (document(5), document(7, run_id="another")):
        with pytest.raises(OlderVersionError, match="does not replace version 7"):
            table.publish(older)
    assert (item(table), history(table)) == (current, versions)
    again = document(7, recorded_at=document(8).recorded_at)
    assert table.publish(again), "a later record of the same version"
    assert item(table)["checksum"] == {"S": again.checksum}
    with pytest.raises(OlderVersionError, match="another version recorded at 2024-03-01T06:30:06"):
        table.publish(document(9, recorded_at=document(6).recorded_at))
    assert item(table)["version"] == {"N": "7"}, "a version that cannot enter the history is not published"


def test_versions_compare_as_numbers(table):
    table.publish(document(9))
    assert table.publish(document(10))
    with pytest.raises(OlderVersionError):
        table.publish(document(9))


def test_several_books_share_a_table_under_keys_of_their_own(table):
    table.publish(document(7))
    with pytest.raises(LiveError, match="holds book calmar_core, expected other; give every book keys of its own"):
        table.publish(document(9, book="other"))
    assert item(table)["version"] == {"N": "7"}
    shared = f"dynamodb://{table.table}/{{book}}"
    for book in ("other", "third"):
        assert publish(document(9, book=book), shared)
    assert item(table, "other#WEIGHTS#CURRENT")["book"] == {"S": "other"}
    assert [version for _, version in history(table, "third#HISTORY#ALL")] == [9]
    assert [version for _, version in history(table)] == [7]


def test_an_item_of_somebody_else_is_left_alone(table):
    theirs = {"PK": {"S": "WEIGHTS#CURRENT"}, "SK": {"S": "METADATA"}, "weights": {"S": "theirs"}}
    table.client.put_item(TableName=table.table, Item=theirs)
    with pytest.raises(LiveError, match="its current item holds no document of live weights"):
        table.publish(document())
    assert item(table) == theirs


def test_an_item_that_contradicts_itself_is_named(table):
    table.publish(document(7))
    current = item(table) | {"version": {"N": "99"}}
    table.client.put_item(TableName=table.table, Item=current)
    with pytest.raises(LiveError, match="its current item says another version than its document, 7"):
        table.publish(document(8))
    assert item(table) == current


def test_what_is_signed_in_dynamodb_is_signed_anew_and_not_replaced_without_a_signature(table):
    for key in (None, OWN, OTHER, OWN):
        assert table.publish(document(7), key)
        assert not table.publish(document(7), key)
        current = item(table)
        assert current.get("key_id") == (key and {"S": key.key_id})
        assert current["checksum"] == {"S": document(7).checksum}
        assert current["document"]["S"].encode() == document(7).to_json(key)
        assert item(table, sort=history(table)[0][0])["document"] == current["document"]
    for version in (7, 8):
        with pytest.raises(SignatureError, match=f"signed by key {OWN.key_id}, .*Set WEIGHTS_LIVE_SIGNING_KEY"):
            table.publish(document(version))
    with pytest.raises(OlderVersionError):
        table.publish(document(6), OWN)
    with pytest.raises(OlderVersionError):
        table.publish(document(7, run_id="another"), OWN)
    assert table.publish(document(8), OTHER)
    with pytest.raises(LiveError, match=f"holds no document of live weights signed by key {OWN.key_id}"):
        table.publish(document(7), OWN)
    assert LiveWeights.from_json(item(table)["document"]["S"].encode(), Keys(OTHER.public)) == document(8)


def test_what_was_withdrawn_from_dynamodb_is_published_again(table):
    table.publish(document(7))
    table.client.delete_item(TableName=table.table, Key={"PK": {"S": "WEIGHTS#CURRENT"}, "SK": {"S": "METADATA"}})
    assert table.publish(document(7))
    assert item(table)["version"] == {"N": "7"}


class Busy:
    """A client whose first transactions meet those of others."""

    def __init__(self, client, conflicts):
        self.client, self.conflicts = client, conflicts

    def transact_write_items(self, **request):
        if self.conflicts:
            self.conflicts -= 1
            reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
            answer = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(answer, "TransactWriteItems")
        return self.client.transact_write_items(**request)


def test_a_transaction_that_meets_another_is_tried_again(table):
    table.client = Busy(table.client, conflicts=3)
    assert table.publish(document())
    table.client.conflicts = 1_000
    with pytest.raises(UnreachableError, match="others wrote to it 20 times meanwhile"):
        table.publish(document(8))


def test_a_table_that_is_not_there_is_out_of_reach(aws):
    with pytest.raises(UnreachableError):
        publish(document(), "dynamodb://no-such-table")
