"""Live weights: the document, publishing it to folders, S3 and DynamoDB, and the reader of a trading service."""

import datetime as dt
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.live import (
    CorruptError,
    LiveWeights,
    MissingError,
    NotInForceError,
    OlderVersionError,
    UnknownFormatError,
    UnreachableError,
    publish,
)
from weights_pipeline.live.folder import Folder
from weights_pipeline.live.places import SINKS, SOURCES
from weights_pipeline.live.s3 import Bucket
from weights_pipeline_tests.support.documents import BASE, NOW, document, reader
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.waiting import until

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
@examples(60)
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
        ({"format": 3}, "format: expected 1 or 2, got 3"),
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
    newer = signed(document(3).to_json(), format=3)
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
        (signed(document(8).to_json(), format=3), "format: expected 1 or 2, got 3"),
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
