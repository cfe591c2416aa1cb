"""Live weights: the document, publishing it to folders, S3 and DynamoDB, and the reader of a trading service."""

import datetime as dt
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from weights_pipeline.live import (
    CorruptError,
    LiveError,
    LiveWeights,
    MissingError,
    NotInForceError,
    OlderVersionError,
    Reader,
    UnknownFormatError,
    UnreachableError,
    publish,
)
from weights_pipeline.live.dynamodb import Table
from weights_pipeline.live.folder import Folder
from weights_pipeline.live.places import SINKS, SOURCES
from weights_pipeline.live.s3 import Bucket

NOW = dt.datetime(2024, 3, 8, 15, 30, tzinfo=dt.UTC)
BASE = {"trend": 0.6, "carry": 0.4}
BUCKET, PREFIXES = "live-weights", itertools.count()
ODD_NAMES = [
    "",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "a'b",
    'a"b',
    "A",
    "1a",
    "ä",
    "a\n",
    "a b",
    "a\0",
    "a" * 64,
    None,
    7,
]


def document(version=7, **changes):
    """Weights of which each version has its own: a reader that mixes two would be found out."""
    trend = 0.3 + version / 10_000
    return LiveWeights(
        **{
            "book": "calmar_core",
            "account": "main",
            "version": version,
            "effective_from": dt.date(2024, 3, 1),
            "as_of": dt.date(2024, 2, 29),
            "recorded_at": dt.datetime(2024, 3, 1, 6, 30, tzinfo=dt.UTC) + dt.timedelta(seconds=version),
            "reason": "scheduled",
            "run_id": "run-1",
            "max_age": 35,
            "gross": 1.0,
            "base": BASE,
            "target": {"trend": 0.5, "carry": 0.5},
            "realized": {"trend": trend, "carry": 0.1 + 0.2},
            "final": {"trend": trend, "carry": 0.7 - trend},
            "regime": "ELEVATED",
            "scalar": 0.85,
            "parameters_hash": "p" * 8,
            "ledger_hash": "l" * 8,
            "code_version": "0.1.0",
        }
        | changes
    )


def reader(location, **changes):
    return Reader(location, **{"book": "calmar_core", "base": BASE, "max_leverage": 1.0, "max_age": 35} | changes)


def canonical(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def signed(data, **changes):
    """The document with other content under a checksum that matches it."""
    content = {key: value for key, value in (json.loads(data) | changes).items() if value is not ...}
    content.pop("checksum")
    checksum = hashlib.sha256(canonical(content)).hexdigest()
    return canonical(content | {"checksum": checksum})


# The document


def test_a_document_is_canonical_json_under_its_own_checksum():
    data = document().to_json()
    content = json.loads(data)
    bare = data.replace(f'"checksum":"{content["checksum"]}",'.encode(), b"").strip()
    assert hashlib.sha256(bare).hexdigest() == content["checksum"]
    assert content["checksum"] == document().checksum
    assert bare == canonical(json.loads(bare))
    assert (content["format"], content["version"], content["effective_from"]) == (1, 7, "2024-03-01")
    assert content["recorded_at"] == "2024-03-01T06:30:07.000000+00:00"
    assert content["realized"]["carry"] == 0.1 + 0.2


def test_equal_weights_are_equal_bytes_whatever_their_order_and_zone():
    west = dt.timezone(dt.timedelta(hours=-5))
    final = dict(reversed(document().final.items()))
    other = document(
        final=final, base=dict(reversed(BASE.items())), recorded_at=document().recorded_at.astimezone(west)
    )
    assert other.to_json() == document().to_json()


weights = st.floats(0, 0.125, allow_subnormal=True)
texts = st.text(alphabet="ab \n\"'\\/\0ä€𝄞\ud800", min_size=1, max_size=8)


@given(
    st.dictionaries(texts, st.tuples(weights, weights, weights, weights), min_size=1, max_size=8),
    st.one_of(st.none(), st.floats(0, 2)),
    st.integers(1, 2**70),
    st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1)),
    texts,
)
@settings(max_examples=60)
def test_documents_read_back_to_the_last_bit(rows, scalar, version, recorded_at, text):
    base, target, realized, final = ({name: row[i] for name, row in rows.items()} for i in range(4))
    given = document(
        base=base,
        target=target,
        realized=realized,
        final=final,
        scalar=scalar,
        recorded_at=recorded_at.replace(tzinfo=dt.UTC),
        account=text,
        regime=None,
    )
    given = replace(given, version=version)
    read = LiveWeights.from_json(given.to_json())
    assert read == given
    assert {k: v.hex() for k, v in read.final.items()} == {k: v.hex() for k, v in final.items()}
    assert read.to_json() == given.to_json()


def test_every_flipped_bit_and_every_truncation_is_noticed():
    data = document().to_json()
    for position in range(len(data) - 1):
        with pytest.raises(CorruptError):
            LiveWeights.from_json(data[:position])
        for mask in (0x01, 0x20, 0x80):
            flipped = bytearray(data)
            flipped[position] ^= mask
            with pytest.raises(CorruptError):
                LiveWeights.from_json(bytes(flipped))


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b'"text"', b"7", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"checksum": NaN}', b"9" * 5_000],
)
def test_what_is_no_document_is_corrupt(data):
    with pytest.raises(CorruptError):
        LiveWeights.from_json(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final": {"trend": -0.1, "carry": 0.5}}, "final.trend: expected a finite weight of 0 or more, got -0.1"),
        ({"final": {"trend": 1e999, "carry": 0.5}}, "not JSON compliant"),
        ({"final": {"trend": float("nan"), "carry": 0.5}}, "not JSON compliant"),
        ({"final": {"trend": "0.5", "carry": 0.5}}, "final.trend: expected a finite weight"),
        ({"final": {"trend": 0.7, "carry": 0.5}}, "final: expected weights that add up to at most 1, got 1.2"),
        ({"final": {"trend": 0.5}}, "final: expected the strategies .'carry', 'trend'., got .'trend'."),
        ({"target": {**BASE, "more": 0.0}}, "target: expected the strategies"),
        ({"final": None}, "not a document"),
        ({"base": {}}, "base: expected a weight for every strategy"),
        ({"version": 0}, "version: expected a whole number from 1, got 0"),
        ({"version": True}, "version: expected a whole number from 1"),
        ({"version": 7.0}, "version: expected a whole number from 1"),
        ({"max_age": 0}, "max_age: expected a whole number from 1"),
        ({"max_age": 10**9}, "max_age: expected days that the calendar has"),
        ({"gross": 0}, "gross: expected a positive number"),
        ({"scalar": -0.5}, "scalar: expected 0 or more"),
        ({"regime": 3}, "regime: expected text or nothing"),
        ({"run_id": ""}, "run_id: expected text"),
        ({"account": None}, "account: expected text"),
        ({"as_of": "2024-03-01"}, "as_of: expected a day before 2024-03-01"),
        ({"effective_from": "soon"}, "Invalid isoformat"),
        ({"recorded_at": "2024-03-01T06:30:00"}, "recorded_at: expected a time with a zone"),
        ({"recorded_at": "0001-01-01T00:00:00+14:00"}, "not a document"),
        ({"book": "../../etc/passwd"}, "book: expected a name such as calmar_core"),
        ({"format": 2}, "format: expected 1, got 2"),
        ({"surprise": 1}, "unexpected keyword argument 'surprise'"),
        ({"in_force": 1}, "unexpected keyword argument 'in_force'"),
        ({"run_id": ...}, "'run_id'"),
        ({"as_of": ...}, "as_of: missing"),
    ],
)
def test_a_checksum_that_matches_does_not_make_nonsense_valid(changes, message):
    with pytest.raises(CorruptError, match=message):
        LiveWeights.from_json(signed(document().to_json(), **changes))


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"version":7', b'"version":7,"version":7'), (b'"gross":1.0', b'"gross":1.00'), (b'"gross":', b'"gross": ')],
)
def test_a_document_that_says_the_same_in_other_bytes_is_corrupt(old, new):
    with pytest.raises(CorruptError, match="not in canonical form"):
        LiveWeights.from_json(document().to_json().replace(old, new))
    assert LiveWeights.from_json(document().to_json().replace(b"\n", b"\r\n")) == document(), "but for line ends"


def test_weights_count_from_their_first_day_anywhere_on_earth_to_the_end_of_their_last_in_utc():
    live = document()
    assert live.begins == dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC)
    assert live.stale_after == dt.datetime(2024, 4, 6, tzinfo=dt.UTC)
    tick = dt.timedelta.resolution
    answers = {now: live.mandate(now) for now in (live.begins, live.stale_after)}
    assert all(m.source == "live" and m.allocations == live.final and m.version == 7 for m in answers.values())
    early, late = live.mandate(live.begins - tick), live.mandate(live.stale_after + tick)
    assert (early.source, early.version, early.allocations) == ("base", None, BASE)
    assert early.reason == "version 7 is in force from 2024-03-01 on only"
    assert late.reason == "version 7 is stale: in force from 2024-03-01, not used after 35 days"
    tokyo = dt.timezone(dt.timedelta(hours=9))
    assert live.mandate(dt.datetime(2024, 3, 1, 9, tzinfo=tokyo)).source == "live"
    with pytest.raises(ValueError, match="now: expected a time with a zone"):
        live.mandate(dt.datetime(2024, 3, 8))


def test_the_later_version_replaces_and_of_one_version_the_later_record():
    live = document()
    later = replace(live, recorded_at=live.recorded_at + dt.timedelta.resolution)
    assert document(8).replaces(live)
    assert document(8, recorded_at=live.recorded_at - dt.timedelta(days=9)).replaces(live)
    assert later.replaces(live)
    assert not document().replaces(live)
    for older in (document(6), live, replace(later, run_id="another")):
        with pytest.raises(OlderVersionError, match=r"calmar_core: version \d, recorded at 2024-03-01 06:30"):
            older.replaces(later)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_that_could_lead_elsewhere_is_refused_everywhere(name, tmp_path):
    with pytest.raises(ValueError, match="book: expected a name such as calmar_core"):
        document(book=name)
    with pytest.raises(ValueError, match="book: expected a name such as calmar_core"):
        reader(tmp_path, book=name)
    for place in (Folder(str(tmp_path)), Bucket("s3://bucket/prefix")):
        with pytest.raises(ValueError, match="book: expected a name such as calmar_core"):
            place.poll(name, None)


# The folder


def test_publishing_to_a_folder(tmp_path):
    folder = tmp_path / "not" / "yet"
    assert publish(document(), folder)
    file = folder / "calmar_core.json"
    assert file.read_bytes() == document().to_json()
    before = file.stat()
    assert not publish(document(), folder), "the same again is nothing to do"
    with pytest.raises(OlderVersionError):
        publish(document(6), str(folder))
    assert file.stat() == before
    assert publish(document(8), folder)
    assert publish(document(8, book="other"), folder)
    assert {f.name for f in folder.iterdir() if f.name[0] != "."} == {"calmar_core.json", "other.json"}
    assert LiveWeights.from_json(file.read_bytes()) == document(8)


def test_what_is_corrupt_is_replaced_but_not_what_newer_software_wrote(tmp_path):
    file = tmp_path / "calmar_core.json"
    file.write_bytes(document(9).to_json()[:-20])
    assert publish(document(7), tmp_path)
    newer = signed(document(3).to_json(), format=2)
    file.write_bytes(newer)
    with pytest.raises(UnknownFormatError, match="update the software"):
        publish(document(8), tmp_path)
    assert file.read_bytes() == newer


def test_a_publisher_that_fails_leaves_what_was_published(tmp_path, monkeypatch):
    publish(document(1), tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        publish(document(2), tmp_path)
    monkeypatch.undo()
    assert reader(tmp_path).current(NOW).version == 1
    assert publish(document(2), tmp_path), "nobody holds the lock"
    assert sorted(f.name for f in tmp_path.iterdir()) == [".calmar_core.lock", "calmar_core.json"]


def test_an_older_version_never_replaces_a_newer_one_with_eight_publishers_at_once(tmp_path):
    versions, landed = list(range(1, 81)), []
    random.Random(7).shuffle(versions)

    def attempt(version):
        try:
            if publish(document(version), tmp_path):
                landed.append((version, (tmp_path / "calmar_core.json").stat().st_mtime_ns))
        except OlderVersionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(attempt, versions))
    assert done[versions.index(80)]
    assert done.count(True) == len(landed) < 80
    assert LiveWeights.from_json((tmp_path / "calmar_core.json").read_bytes()) == document(80)


def test_two_versions_within_one_tick_of_the_clock_do_not_look_alike(tmp_path):
    folder = Folder(str(tmp_path))
    publish(document(1), tmp_path)
    file = tmp_path / "calmar_core.json"
    future = time.time_ns() + 10**12
    os.utime(file, ns=(future, future))
    _, seen = folder.poll("calmar_core", None)
    publish(document(2), tmp_path)
    assert file.stat().st_mtime_ns == future + 1
    data, later = folder.poll("calmar_core", seen)
    assert LiveWeights.from_json(data).version == 2
    assert folder.poll("calmar_core", later) is None


def test_a_file_replaced_while_it_is_read_is_found_at_the_next_look(tmp_path, monkeypatch):
    folder = Folder(str(tmp_path))
    publish(document(1), tmp_path)
    kind, usual = type(tmp_path), type(tmp_path).open

    def slow(file, *arguments):
        stream = usual(file, *arguments)
        monkeypatch.setattr(kind, "open", usual)
        publish(document(2), tmp_path)
        return stream

    monkeypatch.setattr(kind, "open", slow)
    data, seen = folder.poll("calmar_core", None)
    assert LiveWeights.from_json(data).version == 1
    data, _ = folder.poll("calmar_core", seen)
    assert LiveWeights.from_json(data).version == 2


def test_readers_see_whole_versions_that_never_go_back_while_a_publisher_replaces_them(tmp_path):
    publish(document(1), tmp_path)
    shared, done, odd, seen = reader(tmp_path), threading.Event(), [], set()
    whole = {version: document(version).final for version in range(1, 202)}

    def watch(own):
        last, finished = 0, False
        while not finished:
            finished = done.wait(0.0005)
            own.refresh()
            answer = own.current(NOW)
            if answer.source != "live" or answer.version < last or answer.allocations != whole[answer.version]:
                odd.append(answer)
            last = answer.version
            seen.add(last)
        return last

    with ThreadPoolExecutor(4) as pool:
        watchers = [pool.submit(watch, own) for own in (shared, shared, reader(tmp_path), reader(tmp_path))]
        for version in range(2, 202):
            publish(document(version), tmp_path)
        done.set()
    assert [watcher.result() for watcher in watchers] == [201] * 4
    assert odd == []
    assert len(seen) > 10


# The reader


def test_a_reader_of_an_empty_place_answers_base_weights_and_the_reason(tmp_path):
    for folder, reason in ((tmp_path, "nothing is published in"), (tmp_path / "gone", "no such folder")):
        answer = reader(folder).current(NOW)
        assert (answer.source, answer.version, answer.allocations) == ("base", None, BASE)
        assert reason in answer.reason
    with pytest.raises(MissingError, match="nothing is published"):
        reader(tmp_path, strict=True).current(NOW)
    with pytest.raises(UnreachableError, match="no such folder"):
        reader(tmp_path / "gone", strict=True).current(NOW)


def test_a_reader_takes_over_what_is_published_when_it_looks(tmp_path):
    desk = reader(tmp_path)
    publish(document(7), tmp_path)
    assert desk.current(NOW).source == "base"
    assert desk.refresh()
    answer = desk.current(NOW)
    assert (answer.source, answer.version, answer.allocations) == ("live", 7, document(7).final)
    assert answer.reason == "version 7 (scheduled), in force from 2024-03-01"
    assert desk.newest == document(7)
    assert not desk.refresh()
    assert desk.current(NOW) is answer, "an answer is not made anew"
    publish(document(8), tmp_path)
    assert desk.refresh()
    assert (desk.current(NOW).version, answer.version) == (8, 7)


def test_looking_at_an_unchanged_file_opens_nothing(tmp_path, monkeypatch):
    publish(document(), tmp_path)
    desk = reader(tmp_path)
    monkeypatch.setattr(type(tmp_path), "open", lambda *_: pytest.fail("opened"))
    assert not desk.refresh()
    assert desk.current(NOW).reason == "version 7 (scheduled), in force from 2024-03-01"


def test_a_file_that_was_touched_only_is_no_new_version(tmp_path):
    publish(document(), tmp_path)
    desk = reader(tmp_path)
    before = desk.newest
    os.utime(tmp_path / "calmar_core.json", ns=(1, 1))
    assert not desk.refresh()
    assert desk.newest is before


def test_stale_weights_give_way_to_base_weights(tmp_path):
    publish(document(), tmp_path)
    late = document().stale_after + dt.timedelta.resolution
    answer = reader(tmp_path).current(late)
    assert (answer.source, answer.allocations) == ("base", BASE)
    assert answer.reason == "version 7 is stale: in force from 2024-03-01, not used after 35 days"
    with pytest.raises(NotInForceError, match="stale"):
        reader(tmp_path, strict=True).current(late)
    weekly = reader(tmp_path, max_age=8)
    assert weekly.current(dt.datetime(2024, 3, 10, tzinfo=dt.UTC)).source == "live"
    assert "not used after 8 days" in weekly.current(dt.datetime(2024, 3, 10, 0, 0, 1, tzinfo=dt.UTC)).reason
    assert reader(tmp_path, max_age=99).current(late).source == "base", "the stricter of both holds"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (document(8).to_json()[:-30], "not a document of live weights"),
        (document(8).to_json().replace(b'"trend":0.5', b'"trend":0.4'), "checksum: the content has"),
        (document(8, book="other").to_json(), "the document is of book other, expected calmar_core"),
        (document(8, gross=1.5).to_json(), "version 8 allows 1.5 of equity, expected at most 1"),
        (document(6).to_json(), "version 6, recorded at 2024-03-01 06:30:06+00:00, does not replace version 7"),
        (signed(document(8).to_json(), format=2), "format: expected 1, got 2"),
    ],
)
def test_content_that_cannot_be_used_never_takes_the_place_of_good_weights(content, reason, tmp_path):
    publish(document(7), tmp_path)
    desk, file = reader(tmp_path), tmp_path / "calmar_core.json"
    file.write_bytes(content)
    assert not desk.refresh()
    for _ in range(2):
        answer = desk.current(NOW)
        assert (answer.source, answer.version, answer.allocations) == ("live", 7, document(7).final)
        assert answer.reason.startswith("version 7 (scheduled), in force from 2024-03-01; newest content not used: ")
        assert reason in answer.reason
        desk.refresh()
    late = desk.current(document().stale_after + dt.timedelta(days=1))
    assert (late.source, "version 7 is stale" in late.reason, reason in late.reason) == ("base", True, True)
    file.write_bytes(document(9).to_json())
    assert desk.refresh()
    assert desk.current(NOW).reason == "version 9 (scheduled), in force from 2024-03-01"


def test_corrupt_content_and_nothing_before_it_is_base_weights(tmp_path):
    (tmp_path / "calmar_core.json").write_bytes(b'{"format": 1}')
    answer = reader(tmp_path).current(NOW)
    assert (answer.source, answer.reason) == ("base", "newest content not used: checksum: missing")
    desk = reader(tmp_path, strict=True)
    for _ in range(2):
        with pytest.raises(CorruptError, match="checksum: missing") as raised:
            desk.current(NOW)
        assert len(raised.traceback) == 2, "an error that is kept would collect where it was raised"


def test_deleting_what_is_published_withdraws_it_at_once(tmp_path):
    publish(document(7), tmp_path)
    desk = reader(tmp_path)
    (tmp_path / "calmar_core.json").unlink()
    assert desk.refresh()
    assert desk.current(NOW).source == "base"
    publish(document(6), tmp_path)
    assert desk.refresh()
    assert desk.current(NOW).version == 6


def test_a_place_that_cannot_be_read_for_a_while_changes_nothing(tmp_path):
    folder = tmp_path / "mount"
    publish(document(7), folder)
    desk = reader(folder)
    folder.rename(tmp_path / "away")
    assert not desk.refresh()
    assert (desk.current(NOW).version, "mount: no such folder" in desk.current(NOW).reason) == (7, True)
    (tmp_path / "away").rename(folder)
    assert not desk.refresh()
    assert desk.current(NOW).reason == "version 7 (scheduled), in force from 2024-03-01"


def test_books_in_one_folder_are_read_apart(tmp_path):
    publish(document(7), tmp_path)
    publish(document(3, book="other", account="second"), tmp_path)
    answers = [reader(tmp_path, book=book).current(NOW) for book in ("calmar_core", "other")]
    assert [(a.book, a.version) for a in answers] == [("calmar_core", 7), ("other", 3)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_age": 0}, "max_age: expected a number of days from 1, got 0"),
        ({"base": {"trend": 0.7, "carry": 0.4}}, "allocations: expected weights that add up to at most 1"),
        ({"max_leverage": -1}, "max_leverage: expected a positive multiple"),
    ],
)
def test_a_reader_that_could_not_fall_back_is_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        reader(tmp_path, **changes)


@pytest.mark.parametrize("now", [dt.datetime(2024, 3, 8), NOW.replace(tzinfo=None)])
def test_a_time_without_zone_is_refused(now, tmp_path):
    with pytest.raises(ValueError, match="now: expected a time with a zone"):
        reader(tmp_path).current(now)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def test_watching_takes_over_new_versions_and_survives_every_error(tmp_path):
    class Weird:
        def poll(self, *_):
            raise RuntimeError("disk on fire")

    desk = reader(tmp_path)
    running = threading.active_count()
    with desk.watching(0.002) as same:
        assert same is desk
        publish(document(7), tmp_path)
        until(lambda: desk.current(NOW).version == 7)
        desk._source, folder = Weird(), desk._source
        until(lambda: "RuntimeError: disk on fire" in desk.current(NOW).reason)
        assert desk.current(NOW).version == 7
        desk._source = folder
        publish(document(8), tmp_path)
        until(lambda: desk.current(NOW).version == 8)
        assert desk.current(NOW).reason == document(8).in_force.reason
    assert threading.active_count() == running
    publish(document(9), tmp_path)
    time.sleep(0.02)
    assert desk.current(NOW).version == 8, "left is left"
    with pytest.raises(ValueError, match="seconds: expected a positive number"), desk.watching(0):
        pass


def test_looks_of_several_threads_take_turns(tmp_path):
    """Else the slower of two could put an older version in the place of a newer one."""
    desk, looking, most = reader(tmp_path), [], []

    class Slow:
        def poll(self, *_):
            looking.append(1)
            time.sleep(0.002)
            most.append(len(looking))
            looking.pop()

    desk._source = Slow()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: desk.refresh(), range(8)))
    assert most == [1] * 8


def test_a_trading_service_starts_light():
    code = (
        "import sys, weights_pipeline.live, weights_pipeline.core.decide\n"
        "print(' '.join(m for m in sys.modules if '.' not in m))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not set(loaded) & {
        "dagster",
        "pandas",
        "numpy",
        "duckdb",
        "pydantic",
        "yaml",
        "boto3",
        "botocore",
        "pyarrow",
    }


@pytest.mark.parametrize(
    "target",
    [
        "",
        "gs://bucket/prefix",
        "s3://",
        "s3://Bucket",
        "s3://bucket/../up",
        "s3://bucket/a//b",
        "s3://bucket/ä",
        "s3://bucket?public=yes",
        "s3://bucket?encryption=",
        "s3://bucket?encryption=rot13",
        "s3://bucket/a#b",
        "s3://user@bucket/a",
        "dynamodb://",
        "dynamodb://table/a/b",
        "dynamodb://table/'",
        "dynamodb://table/{other}",
        "dynamodb://table?x=1",
    ],
)
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(ValueError, match="target: expected"):
        publish(document(), target)


def test_every_place_is_an_entry_of_the_registry():
    assert set(SOURCES) < set(SINKS) == {"", "s3", "dynamodb"}
    with pytest.raises(ValueError, match="target: expected a folder or one of s3://, got 'dynamodb://table'"):
        reader("dynamodb://table")


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
