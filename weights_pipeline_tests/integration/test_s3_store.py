"""The S3 store: faults on the way, writers that die, damaged objects, errors in words, the whole chain on it."""

import json
import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, DATA, LEDGER
from benchmarks.support.s3_servers import BUCKET, HAS_S3RVER, Secure, at_random, moto, s3rver
from weights_pipeline.aws import S3Objects
from weights_pipeline.settings import Settings, SettingsError
from weights_pipeline.store import open_store
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.queries import partition_of, sql, weights_in_force
from weights_pipeline.store.s3_store import S3Store
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.errors import DamagedError, StoreError, StoreLockedError
from weights_pipeline_tests.integration.test_store_conformance import EVERY_TYPE, NOW, every_type, state, write
from weights_pipeline_tests.support.desk import BOOK_TABLES, LEDGER_TABLES, Desk
from weights_pipeline_tests.support.small_table import LOG, MONTHS, WINDOWS, frame, month, month_rows, small_table


@pytest.fixture
def server(monkeypatch):
    """The server, at whose faults nobody waits."""
    server = moto()
    server.environment(monkeypatch)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setattr("weights_pipeline.aws.random.uniform", lambda *_: 0)
    yield server
    server.fault = None


@pytest.fixture
def store(server):
    return server.store()


def is_manifest(environ):
    return environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith("manifest.json")


def is_rows(environ):
    return environ["PATH_INFO"].endswith(".parquet")


def test_objects_are_named_by_content_and_say_what_they_are(server, store):
    record = write(store, frame())[0]
    write(store, frame(), (), LOG, run_id="Ω\nrun")
    keys = server.keys(store)
    rows = f"book/small/2020-01-01/{record.content_hash}.parquet"
    log = next(key for key in keys if key.startswith("book/log/_/"))
    assert rows in keys
    assert {key for key in keys if not key.endswith(".parquet")} == {
        "index.json",
        "book/log/manifest.json",
        "book/small/manifest.json",
    }
    metadata = server.objects.client.head_object(Bucket=BUCKET, Key=f"{store.prefix}/{rows}")["Metadata"]
    assert metadata == {
        "content-hash": record.content_hash,
        "schema-version": metadata["schema-version"],
        "rows": "2",
        "partition": "2020-01-01",
        "run-id": "run",
        "recorded-at": "2026-01-02T03:04:05.678901",
    }
    assert len(metadata["schema-version"]) == 12
    assert server.objects.client.head_object(Bucket=BUCKET, Key=f"{store.prefix}/{log}")["Metadata"]["run-id"] == (
        "%CE%A9%0Arun"
    )


def test_what_was_once_named_stays_for_those_who_still_read_it(server, store):
    write(store, frame())
    other = server.store(prefix=store.prefix)
    with store.view():
        before = store.partitions("book", "small")
        write(other, frame().assign(value=7.0))
        assert store.partitions("book", "small") == before
        assert store.read("book", small_table())["value"].tolist()[:2] == [2.0, 1.0]
        with store.view():
            assert sql(store, "SELECT max(value) AS v FROM book.small").to_pylist() == [{"v": 2.0}]
    assert store.read("book", small_table())["value"].tolist() == [7.0] * 3


def test_a_view_fetches_no_object_twice_and_nothing_is_ever_listed(server, store):
    asked = []
    events = server.objects.client.meta.events
    events.register("before-call.s3", lambda model, **_: asked.append(model.name), unique_id="count")
    try:
        write(store, frame())
        store.update("book", LOG, lambda rows: frame(), run_id="r", recorded_at=NOW)
        asked.clear()
        with store.view():
            for _ in range(3):
                store.read("book", small_table())
                store.partitions("book", "small")
            assert asked == ["GetObject"] * 3
            sql(store, "FROM book.small JOIN store.partitions ON true")
            assert asked == ["GetObject"] * 5
        asked.clear()
        write(store, frame())
        assert sorted(asked) == ["GetObject"] + ["PutObject"] * 3
        sql(store, "FROM book.log")
        store.tables()
        assert set(asked) == {"GetObject", "PutObject"}
    finally:
        events.unregister("before-call.s3", unique_id="count")


def test_one_request_in_ten_may_fail_and_nothing_comes_out_differently(server, tmp_path):
    """Errors, throttling, connections that break before, within and after the answer."""
    calm = DuckDBStore(tmp_path / "calm.duckdb")
    rows = pd.concat([month_rows(window, float(n)) for n, window in enumerate(MONTHS)], ignore_index=True)

    def grow(stored):
        return pd.concat([stored, frame().iloc[[len(stored)]]], ignore_index=True)

    def work(on):
        write(on, rows, MONTHS)
        write(on, rows[rows["day"] < "2020-04"].assign(value=0.5), MONTHS[:3])
        for _ in range(3):
            on.update("book", LOG, grow, run_id="run", recorded_at=NOW)
        return state(on, small_table(), LOG), sql(on, "FROM store.partitions ORDER BY ALL").to_pylist()

    faults, dice = [], at_random(1, 0.1)

    def fault(environ):
        faults.append(dice(environ))
        return faults[-1]

    expected = repr(work(calm))
    server.fault = fault
    for _ in range(2):
        assert repr(work(server.store())) == expected
    assert 0.05 < sum(kind is not None for kind in faults) / len(faults) < 0.2
    assert set(faults) == {None, (500, "InternalError"), (503, "SlowDown"), "reset", "lost answer", "cut off"}


def test_a_lost_answer_does_not_make_an_update_happen_twice(server, store):
    lost = []

    def lose_each_first(environ):
        if is_manifest(environ) and len(lost) % 2 == 0:
            lost.append("lost answer")
            return "lost answer"
        if is_manifest(environ):
            lost.append("")
        return None

    server.fault = lose_each_first
    for turn in range(3):
        store.update(
            "book", LOG, lambda rows: pd.concat([rows, frame().iloc[[len(rows)]]]), run_id="r", recorded_at=NOW
        )
        assert len(store.read("book", LOG)) == turn + 1
    assert lost.count("lost answer") == 3


@pytest.mark.parametrize("fatal", [1, 2, 3], ids=["first", "last", "manifest"])
def test_a_range_that_fails_half_way_leaves_the_old_rows(server, store, fatal):
    write(store, frame())
    before = state(store, small_table())
    put = []

    def refuse(environ):
        if environ["REQUEST_METHOD"] == "PUT":
            put.append(environ["PATH_INFO"])
        # Once refused, every repetition is too.
        return (500, "InternalError") if put and environ["PATH_INFO"] in put[fatal - 1 :] else None

    server.fault = refuse
    with pytest.raises(StoreError, match=r"put_object s3://.* the server answered InternalError\."):
        write(store, frame().assign(value=9.0))
    server.fault = None
    assert repr(state(store, small_table())) == repr(before)
    write(store, frame().assign(value=9.0))
    assert set(store.read("book", small_table())["value"]) == {9.0}


def test_a_process_killed_inside_a_range_leaves_the_old_rows(server, store):
    write(store, frame())
    code = textwrap.dedent(
        """
        import os, pickle, signal, sys
        from weights_pipeline.aws import S3Objects
        from weights_pipeline.store.s3_store import S3Store
        store = S3Store("desk-weights", sys.argv[1])
        assert store.location and "boto3" not in sys.modules
        S3Objects.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        arguments, keywords = pickle.load(sys.stdin.buffer)
        store.write(*arguments, **keywords)
        """
    )
    arguments = (("book", small_table(), frame(value=99.0), WINDOWS), {"run_id": "r", "recorded_at": NOW})
    command = [sys.executable, "-c", code, store.prefix]
    died = subprocess.run(command, input=pickle.dumps(arguments), check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert len([key for key in server.keys(store) if key.endswith(".parquet")]) == 4
    assert np.nanmax(store.read("book", small_table())["value"]) == 2.0
    write(store, frame(value=3.0))
    assert set(store.read("book", small_table())["value"]) == {3.0}


def test_a_damaged_object_is_named_and_never_used(server, store):
    january, february = write(store, frame())
    client, folder = server.objects.client, "book/small"
    name, other = f"{folder}/2020-01-01/{january.content_hash}.parquet", f"2020-02-01/{february.content_hash}.parquet"
    content = server.objects.get(f"{store.prefix}/{name}")[0]
    for damaged, message in (
        (None, "is missing"),
        (b"", "cannot be read"),
        (content[: len(content) // 2], "cannot be read"),
        (content[:40] + bytes([content[40] ^ 1]) + content[41:], "cannot be read"),
        (server.objects.get(f"{store.prefix}/{folder}/{other}")[0], "does not hold the rows that were written"),
    ):
        if damaged is None:
            client.delete_object(Bucket=BUCKET, Key=f"{store.prefix}/{name}")
        else:
            client.put_object(Bucket=BUCKET, Key=f"{store.prefix}/{name}", Body=damaged)
        said = rf"(?s){name} {message}: .*Materialise book\.small 2020-01-01 again, or restore"
        for ask in (
            lambda: store.read("book", small_table()),
            lambda: store.read("book", small_table(), ["2020-01-01"], columns=["name"]),
            lambda: sql(store, "FROM book.small"),
        ):
            with pytest.raises(DamagedError, match=said):
                ask()
        assert len(store.read("book", small_table(), ["2020-02-01"])) == 1
        write(store, frame())
        assert len(store.read("book", small_table())) == 3


def test_no_flipped_bit_gets_through(server, store, monkeypatch):
    write(store, every_type(), MONTHS[:3], EVERY_TYPE)
    expected, get, objects = store.read("book", EVERY_TYPE), S3Objects.get, {}
    monkeypatch.setattr(S3Objects, "get", lambda self, key: objects.setdefault(key, None) or get(self, key))
    store.read("book", EVERY_TYPE)
    name = next(key for key in objects if "/2020-01-01/" in key)
    content = get(store.objects, name)[0]
    refused = 0
    for place in range(0, len(content), 29):
        objects[name] = content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :], "version"
        try:
            # What is flipped may mean nothing, such as the name of the library that wrote it.
            pd.testing.assert_frame_equal(
                store.read("book", EVERY_TYPE, ["2020-01-01"]), expected[:3], check_exact=True
            )
        except DamagedError:
            refused += 1
    assert refused > len(content) / 29 / 2


def test_a_damaged_manifest_or_index_is_named_and_never_used(server, store):
    write(store, frame())
    for content in (b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1, "tables": 3, "columns": [1]}'):
        for name, ask in (
            ("book/small/manifest.json", lambda: store.read("book", small_table())),
            ("book/small/manifest.json", lambda: write(store, frame())),
            ("index.json", store.tables),
        ):
            server.objects.client.put_object(Bucket=BUCKET, Key=f"{store.prefix}/{name}", Body=content)
            said = rf"{name} is not .* of format 1.*Restore the object's previous version"
            with pytest.raises(DamagedError, match=said):
                ask()


def test_a_table_whose_writer_died_before_the_index_is_listed_by_the_next(server, store):
    write(store, frame())
    server.objects.client.delete_object(Bucket=BUCKET, Key=f"{store.prefix}/index.json")
    next_process = server.store(prefix=store.prefix)
    write(next_process, frame(), (), LOG)
    assert next_process.tables() == [("book", "log")]
    write(next_process, frame())
    assert next_process.tables() == [("book", "log"), ("book", "small")]


def test_somebody_who_always_comes_first_is_given_up_on(server, store):
    write(store, frame())
    impatient = server.store(prefix=store.prefix, lock_timeout=0.2)
    server.fault = lambda environ: (412, "PreconditionFailed") if is_manifest(environ) else None
    with pytest.raises(StoreLockedError, match=r"book/small/manifest\.json was changed by others .* for 0\.2 s"):
        write(impatient, frame())


def test_a_server_that_ignores_conditions_is_warned_of(server, store, caplog):
    server.fault = lambda environ: "unconditional"
    write(store, frame())
    write(store, frame(), (), LOG)
    assert caplog.text.count("the server ignores If-Match and If-None-Match") == 1
    assert json.loads(server.objects.get(f"{store.prefix}/index.json")[0])["conditional_writes"] is False
    caplog.clear()
    write(server.store(prefix=store.prefix), frame())
    assert caplog.text.count("Let only one process write at a time") == 1
    server.fault = None
    caplog.clear()
    write(server.store(), frame())
    assert not caplog.text


@pytest.mark.skipif(not HAS_S3RVER, reason="npm's s3rver is not installed")
def test_a_second_server_is_told_from_the_first(monkeypatch, caplog):
    server = s3rver()
    server.environment(monkeypatch)
    write(server.store(), frame())
    assert "the server ignores If-Match" in caplog.text


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    return Secure(tmp_path_factory.mktemp("tls"))


def test_a_service_behind_tls_that_knows_no_trailers_is_written_to_and_read(secure, monkeypatch):
    secure.environment(monkeypatch)
    store = secure.store()
    write(store, frame())
    rows = frame().sort_values("day", ignore_index=True)
    pd.testing.assert_series_equal(store.read("book", small_table())["value"], rows["value"])
    assert store.objects.replace(f"{store.prefix}/live/book.json", b"{}", None)
    assert not store.objects.replace(f"{store.prefix}/live/book.json", b"{}", None)


def test_what_such_a_service_refuses_is_said(secure, monkeypatch):
    secure.environment(monkeypatch)
    with_trailers = S3Objects(BUCKET, attempts=1)
    with_trailers.client.meta.config.request_checksum_calculation = "when_supported"
    with pytest.raises(StoreError, match=r"the service lacks something .* \(If-Match, If-None-Match\)"):
        with_trailers.put("a", b"b", {})
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(StoreError, match=r"no certificate that is trusted here \(SSLError\)\. Set AWS_CA_BUNDLE"):
        S3Objects(BUCKET, attempts=1).put("a", b"b", {})


@pytest.mark.parametrize(
    ("url", "calculation"),
    [("https://s3.eu-west-1.amazonaws.com", "when_supported"), ("https://storage.googleapis.com", "when_required")],
)
def test_only_aws_is_sent_checksums_it_does_not_ask_for(secure, monkeypatch, url, calculation):
    secure.environment(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    config = S3Objects(BUCKET).client.meta.config
    assert config.request_checksum_calculation == config.response_checksum_validation == calculation
    assert (config.retries["total_max_attempts"], config.read_timeout) == (8, 30)


HOSTILE = ["..", "a/b", "a\\b", "", "a'b", 'a"b', "a b", "%2e%2e", "bücher", "a\n", "a\0", "_", "x" * 64, "a;b"]


def test_names_cannot_leave_the_prefix(server, store):
    """Neither schemas, nor tables, nor partition keys."""
    january = vars(MONTHS[0])
    for name in [*HOSTILE, "Book"]:
        for attempt in (
            lambda name=name: write(store, frame(), schema=name),
            lambda name=name: write(store, frame(), table=small_table(name=name)),
            lambda name=name: store.read(name, small_table()),
            lambda name=name: store.partitions("book", name),
        ):
            with pytest.raises(StoreError, match=r"(schema|table) .* cannot name an object; expected"):
                attempt()
    for key in HOSTILE:
        with pytest.raises(StoreError, match=r"partition .* cannot name an object; expected"):
            write(store, month_rows(MONTHS[0]), [Window(**january | {"key": key})])
    assert server.keys(store) == []


@pytest.mark.parametrize(
    ("sse", "algorithm", "key"),
    [
        ("AES256", "AES256", None),
        ("aws:kms", "aws:kms", None),
        ("aws:kms:arn:aws:kms:eu-west-1:1:key/k", "aws:kms", "key/k"),
    ],
)
def test_encryption_is_asked_of_every_object(server, sse, algorithm, key):
    store = server.store(sse=sse)
    write(store, frame())
    keys = server.keys(store)
    assert len(keys) == 4
    for name in keys:
        head = server.objects.client.head_object(Bucket=BUCKET, Key=f"{store.prefix}/{name}")
        assert head["ServerSideEncryption"] == algorithm
        assert (head.get("SSEKMSKeyId") or "").endswith(key or "")


SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


def test_errors_say_what_to_do(server, store):
    write(store, frame())
    for answer, message in (
        ((404, "NoSuchBucket"), "the bucket does not exist. Create it, or correct WEIGHTS_STORE"),
        ((403, "AccessDenied"), "access denied. The credentials need s3:GetObject and s3:PutObject"),
        ((403, "InvalidAccessKeyId"), "the access key is unknown. Set AWS_ACCESS_KEY_ID"),
        ((403, "SignatureDoesNotMatch"), "the secret access key is not that of the access key"),
        ((400, "ExpiredToken"), "the credentials have expired"),
        ((301, "PermanentRedirect"), "the bucket is in another region. Set AWS_REGION"),
        ((400, "Unheard"), "the server answered Unheard"),
        ("reset", r"http://127\.0\.0\.1:\d+ cannot be reached \(\w+\), tried 8 times"),
        ("cut off", "could not be read to its end, 8 times"),
    ):
        # The client itself asks a HEAD for the region that it was redirected to.
        server.fault = lambda environ, answer=answer: answer if environ["REQUEST_METHOD"] == "GET" else None
        with pytest.raises(StoreError, match=message) as caught:
            store.read("book", small_table())
        assert f"s3://{BUCKET}/{store.prefix}/book/small/manifest.json" in str(caught.value)
        assert server.secret not in str(caught.value)


def test_what_the_environment_lacks_is_named_and_no_secret_is(server, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for name, value, message in (
        ("AWS_ENDPOINT_URL_S3", f"http://user:{SECRET}@127.0.0.1:1", "http://127.0.0.1:1 cannot be reached"),
        ("AWS_ENDPOINT_URL_S3", "nonsense", "Check AWS_ENDPOINT_URL_S3"),
        ("AWS_PROFILE", "nobody", "AWS_PROFILE"),
        ("AWS_SECRET_ACCESS_KEY", None, "no usable AWS credentials"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value) if value else changed.delenv(name)
            if value is None:
                changed.delenv("AWS_ACCESS_KEY_ID")
            with pytest.raises(StoreError, match=message) as caught:
                S3Objects(BUCKET).get("x")
            assert SECRET not in str(caught.value)


def test_settings_of_the_store_are_validated():
    url = {"WEIGHTS_STORE": "s3://bucket/x"}
    for environment, message in (
        ({"WEIGHTS_STORE": "weights.duckdb"}, "WEIGHTS_STORE: expected s3://BUCKET/PREFIX.*got 'weights.duckdb'"),
        ({"WEIGHTS_STORE": "s3://Bucket/x"}, "WEIGHTS_STORE: expected"),
        ({"WEIGHTS_STORE": "s3://bucket/../x"}, "WEIGHTS_STORE: expected"),
        ({"WEIGHTS_STORE": "s3://bucket//x"}, "WEIGHTS_STORE: expected"),
        (url | {"WEIGHTS_S3_SSE": "aes"}, "WEIGHTS_S3_SSE: expected AES256, .* got 'aes'"),
        ({"WEIGHTS_S3_SSE": "AES256"}, "WEIGHTS_S3_SSE is set, WEIGHTS_STORE is not"),
    ):
        with pytest.raises(SettingsError, match=message):
            Settings.from_environment({"WEIGHTS_DATA": str(DATA)} | environment)


def test_one_setting_chooses_the_store(tmp_path):
    def opened(**environment):
        return open_store(
            Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_HOME": str(tmp_path)} | environment)
        )

    assert opened() == DuckDBStore(tmp_path / "weights.duckdb")
    assert opened(WEIGHTS_STORE="s3://bucket") == S3Store("bucket")
    s3 = opened(WEIGHTS_STORE="s3://bucket/desk/a=1/", WEIGHTS_S3_SSE="aws:kms:alias/desk", WEIGHTS_LOCK_TIMEOUT="7")
    assert s3 == S3Store("bucket", "desk/a=1", sse="aws:kms:alias/desk", lock_timeout=7)
    assert s3.location == "s3://bucket/desk/a=1"
    assert not (tmp_path / "weights.duckdb").exists()


def test_the_chain_on_s3_is_the_chain_on_duckdb(server, finished, small_data, tmp_path, instance):
    desk = Desk(small_data, tmp_path / "home", instance)
    desk.settings = Settings(data=small_data, home=tmp_path / "home", store=f"s3://{BUCKET}/chain")
    desk.store = open_store(desk.settings)
    desk.job(LEDGER, "2012-01-01", "2012-02-01")
    for schema, table in BOOK_TABLES:
        windows = [month("2012-01-01")]
        rows = finished.store.read(schema, table, [window.key for window in windows])
        desk.store.write(schema, table, rows, windows, run_id="copy", recorded_at=NOW)
    # The recursion goes on from what is in the bucket.
    desk.job(BOOK, "2012-02-01")
    assert desk.hashes() == finished.hashes(until="2012-02-01")
    assert not (tmp_path / "home" / "weights.duckdb").exists()
    on = pd.Timestamp("2012-03-10").date()
    with desk.store.view():
        assert weights_in_force(desk.store, BOOK, on) == weights_in_force(finished.store, BOOK, on)
        as_of = weights_in_force(desk.store)[0].as_of
        assert partition_of(desk.store, BOOK, "realized_weights", as_of) == "2012-02-01"
        for schema, table in [*LEDGER_TABLES, *BOOK_TABLES]:
            keys = list(desk.store.partitions(schema, table.name))
            pd.testing.assert_frame_equal(
                desk.store.read(schema, table, keys), finished.store.read(schema, table, keys), check_exact=True
            )
