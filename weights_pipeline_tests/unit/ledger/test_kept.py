"""Cells that were kept are the cells of the file, and never those of another one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, aside, kept, read_ledger
from weights_pipeline.ledger.files import Part, read_part
from weights_pipeline.ledger.kept import Kept
from weights_pipeline.ledger.places import File, file_at
from weights_pipeline.ledger.vocabulary import PLAIN, Reading
from weights_pipeline_tests.support.examples import examples

HORIZON = dt.date(2024, 6, 28)
HEADER = "lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price,pnl,fees,note"


def assert_same_part(found: Part, expected: Part) -> None:
    for name in ("cells", "others", "written"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name))
    assert found.line.tolist() == expected.line.tolist()
    assert found.line.dtype == expected.line.dtype
    for name in ("name", "reading", "left_out", "version", "faults"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("header", "malformed"):
        assert [*getattr(found, name)] == [*getattr(expected, name)]
    assert dict(found.unreadable) == dict(expected.unreadable)


def assert_same_intake(found: Intake, expected: Intake) -> None:
    pd.testing.assert_frame_equal(found.lots, expected.lots, check_exact=True)
    for field in dataclasses.fields(Intake):
        if field.name == "closed":
            continue
        one, other = (getattr(intake, field.name) for intake in (found, expected))
        if isinstance(other, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        elif field.name != "samples":
            assert one == other
    assert [repr(each) for each in found.samples] == [repr(each) for each in expected.samples]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the files that were parsed."""
    paths = list[str]()

    def noting(file: File, reading: Reading = PLAIN) -> Part:
        paths.append(file.path)
        return read_part(file, reading)

    for module in (kept, aside):
        monkeypatch.setattr(module, "read_part", noting)
    return paths


def part_or_error(read: Callable[[], Part]) -> Part | str:
    try:
        return read()
    except LedgerError as error:
        return str(error)


CELL = st.text(st.sampled_from('ab ,é1"\n'), max_size=4)
LINE = st.lists(CELL, min_size=1, max_size=3).map(",".join)


@settings(max_examples=40, deadline=None)
@given(
    text=st.lists(LINE, max_size=8).map(lambda lines: "\n".join(["one,line", *lines])),
    reading=st.sampled_from([PLAIN, Reading(footer=1), Reading(delimiter=";"), Reading(encoding="cp1252")]),
)
def test_what_was_kept_of_any_text_is_what_is_read_of_it(tmp_path_factory, text, reading):
    folder = tmp_path_factory.mktemp("cells")
    file = File("a.csv", text.encode)
    expected = part_or_error(lambda: read_part(file, reading))
    for _ in range(2):
        found = part_or_error(lambda: Kept(folder).part(file, reading))
        if isinstance(found, Part) and isinstance(expected, Part):
            assert_same_part(found, expected)
        else:
            assert found == expected


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("a.json", PLAIN),
        ("none.json", PLAIN),
        ("empty.jsonl", Reading(columns={"ts": "time"})),
        ("a.xml", Reading(records="fill")),
        ("a.parquet", PLAIN),
    ],
)
def test_every_kind_of_file_comes_back_as_it_was(tmp_path, name, reading):
    (tmp_path / "a.json").write_text('[{"a": 1, "b": {"c": "é"}}, 5, {"a": null}, {"d": [1, 2]}]')
    (tmp_path / "none.json").write_text("[{}, {}]")
    (tmp_path / "empty.jsonl").write_text("{}\n")
    (tmp_path / "a.xml").write_text('<all><fill a="1">\n</fill><fill b="2"/></all>')
    unread = pa.table({"n": range(3), "line": [None, "a", ""], "l": [[1]] * 3})
    pyarrow.parquet.write_table(unread, tmp_path / "a.parquet")
    file, folder = file_at(tmp_path, name), tmp_path / "cells"
    for _ in range(2):
        assert_same_part(Kept(folder).part(file, reading), read_part(file, reading))


def test_a_file_is_parsed_once_under_any_name_and_again_when_it_or_its_reading_changes(tmp_path, parsed):
    folder = tmp_path / "cells"
    path = tmp_path / "a.csv"
    path.write_text('a,b\n"1",2\n')

    def read(name: str = "a.csv", reading: Reading = PLAIN) -> Part:
        part = Kept(folder).part(file_at(tmp_path, name), reading)
        assert_same_part(part, read_part(file_at(tmp_path, name), reading))
        return part

    read()
    read()
    path.rename(tmp_path / "b.csv")
    assert read("b.csv").name == "b.csv"
    assert parsed == ["a.csv"]
    read("b.csv", Reading(footer=1))
    assert parsed == ["a.csv", "b.csv"]
    # Of the same size and time, and yet another file.
    before = (tmp_path / "b.csv").stat()
    (tmp_path / "b.csv").write_text('a,b\n"1",3\n')
    os.utime(tmp_path / "b.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read("b.csv").cells["b"].tolist() == ["3"]
    assert parsed == ["a.csv", "b.csv", "b.csv"]


def test_code_of_another_version_parses_anew(tmp_path, parsed, monkeypatch):
    file = File("a.csv", lambda: b"a,b\n1,2\n")
    Kept(tmp_path).part(file, PLAIN)
    monkeypatch.setattr(kept, "reader", lambda: "another")
    Kept(tmp_path).part(file, PLAIN)
    assert parsed == ["a.csv", "a.csv"]


def test_an_object_is_known_by_its_version_and_not_fetched_again(tmp_path, parsed):
    fetched = list[str]()

    def stored(path: str, version: str) -> File:
        def read() -> bytes:
            fetched.append(path)
            return b"a,b\n1,2\n"

        return File(path, read, version)

    for path, version in [("s3://b/a.csv", "1"), ("s3://b/a.csv", "1"), ("s3://b/a.csv", "2"), ("s3://b/c.csv", "1")]:
        assert Kept(tmp_path).part(stored(path, version), PLAIN).version == version
    assert fetched == parsed == ["s3://b/a.csv", "s3://b/a.csv", "s3://b/c.csv"]


def test_what_changes_while_it_is_read_is_not_kept(tmp_path, parsed):
    contents = iter([b"a,b\n1,2\n", b"a,b\n1,3\n"])
    part = Kept(tmp_path).part(File("a.csv", lambda: next(contents)), PLAIN)
    assert part.cells["b"].tolist() == ["3"]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "swapped", "other"])
def test_a_damaged_entry_is_read_anew_written_again_and_told(tmp_path, parsed, caplog, damage):
    file = File("a.csv", lambda: b"a,b\n1,2\n")
    expected = read_part(file, PLAIN)
    Kept(tmp_path).part(file, PLAIN)
    [entry] = tmp_path.iterdir()
    content = entry.read_bytes()
    Kept(tmp_path).part(File("b.csv", lambda: b"a,b\n3,4\n"), PLAIN)
    [another] = {*tmp_path.iterdir()} - {entry}
    at = len(content) // 2
    written = {
        "cut": content[:at],
        "flipped": content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
        "emptied": b"",
        "swapped": another.read_bytes(),
        "other": b"no Arrow file, and longer than any hash would be",
    }
    entry.write_bytes(written[damage])
    parsed.clear()
    assert_same_part(Kept(tmp_path).part(file, PLAIN), expected)
    assert parsed == ["a.csv"]
    assert "its file is read again" in caplog.text
    assert_same_part(Kept(tmp_path).part(file, PLAIN), expected)
    assert parsed == ["a.csv"]
    assert entry.read_bytes() == content


def test_where_nothing_can_be_kept_the_file_is_read_and_it_is_told(tmp_path, caplog):
    file, folder = File("a.csv", lambda: b"a,b\n1,2\n"), tmp_path / "cells"
    folder.write_text("no folder")
    assert_same_part(Kept(folder).part(file, PLAIN), read_part(file, PLAIN))
    assert "cells cannot be kept" in caplog.text


def lot(number: int, **said: object) -> str:
    month = number % 6 + 1
    sound = {
        "lot_id": f"L{number}",
        "strategy": "alpha" if number % 3 else "beta",
        "symbol": "SPY",
        "side": "long",
        "quantity": 10,
        "opened_at": f"2024-{month:02}-03T15:00:00Z",
        "closed_at": f"2024-{month:02}-0{4 + number % 5}T15:00:00Z",
        "open_price": 500,
        "close_price": 505 + number,
        "pnl": "",
        "fees": 1,
        "note": f'"a ""note"" of {number}"',
    }
    return ",".join(map(str, (sound | said).values()))


FOUND = st.lists(
    st.one_of(
        st.integers(1, 12).map(lot),
        st.integers(1, 12).map(lambda number: lot(number, open_price="unknown")),
        st.integers(1, 12).map(lambda number: lot(number, close_price=1)),
        st.sampled_from(["Total,5", '"never closed']),
    ),
    min_size=1,
    max_size=4,
)
STEP = st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.sampled_from("abcd"), FOUND))


@examples(12)
@given(steps=st.lists(STEP, min_size=2, max_size=3))
def test_files_added_corrected_removed_renamed_and_exchanged_read_as_from_nothing(tmp_path_factory, steps):
    """A step writes a file, removes it (None), or puts it in the place of another."""
    root = tmp_path_factory.mktemp("data")
    (root / "lots").mkdir()
    source = LedgerSource.model_validate(
        {
            "name": "desk",
            "description": "Test.",
            "timezone": "America/New_York",
            "first_month": "2024-01",
            "lots": ["lots/*.csv"],
        }
    )
    (root / "lots" / "always.csv").write_text("\n".join([HEADER, lot(1), lot(2)]) + "\n")
    for name, change in [("a", [lot(1), lot(3)]), *steps]:
        path = root / "lots" / f"{name}.csv"
        if change is None:
            path.unlink(missing_ok=True)
        elif isinstance(change, str):
            if path.exists():
                path.replace(root / "lots" / f"{change}.csv")
        else:
            path.write_text("\n".join([HEADER, *change]) + "\n")
        expected = read_ledger(source, root, horizon=HORIZON)
        assert_same_intake(read_ledger(source, root, horizon=HORIZON, kept=root / "cells"), expected)
        # What no file is in any more is not kept.
        kept_in = [file for place in (root / "cells", root / "cells" / "aside") for file in place.glob("*.arrow")]
        assert len(kept_in) <= 1 + 2 * len([*(root / "lots").iterdir()])


def test_a_new_month_parses_its_own_file_alone(tmp_path: Path, parsed: list[str]) -> None:
    source = LedgerSource.model_validate(
        {"name": "desk", "description": "Test.", "timezone": "UTC", "first_month": "2024-01", "lots": ["*.csv"]}
    )
    for month in range(3):
        (tmp_path / f"{month}.csv").write_text("\n".join([HEADER, lot(month)]) + "\n")
        read_ledger(source, tmp_path, horizon=HORIZON, kept=tmp_path / "cells")
    assert parsed == ["0.csv", "1.csv", "2.csv"]
