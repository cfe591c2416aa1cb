"""Lots that were set aside are read as if all files were judged together, from nothing."""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns.scale import multiples_suspected, profit_multiples
from weights_pipeline.core.returns.sums import exact_sum
from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, aside, read_ledger
from weights_pipeline.ledger.closed import SORTED_BY
from weights_pipeline.ledger.files import Part, read_part
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.places import File
from weights_pipeline.ledger.tables import hashes_of, lot_hashes
from weights_pipeline.ledger.vocabulary import PLAIN, Reading
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.unit.ledger.test_kept import assert_same_intake

HORIZON = dt.date(2024, 6, 28)
COLUMNS = (
    "lot_id", "strategy", "symbol", "side", "quantity", "opened_at", "closed_at", "open_price", "close_price", "pnl",
    "fees", "multiplier", "currency", "fees_currency", "note",
)  # fmt: skip
HEADER = ",".join(COLUMNS)


def lot(number: int, **said: object) -> str:
    month = number % 6 + 1
    sound = dict.fromkeys(COLUMNS, "") | {
        "lot_id": f"L{number}",
        "strategy": ["alpha", "beta"][number % 2],
        "symbol": ["SPY", "EWZ"][number // 2 % 2],
        "side": "long",
        "quantity": 10,
        "opened_at": f"2024-{month:02}-03T15:00:00Z",
        "closed_at": f"2024-{month:02}-{4 + number % 20:02}T15:00:00Z",
        "open_price": 500,
        "close_price": 505 + number % 7,
        "fees": 1,
    }
    return ",".join(map(str, (sound | said).values()))


def profit(number: int, times: float) -> float:
    return (5 + number % 7) * 10 * times - 1


def write(root: Path, name: str, *rows: str) -> Path:
    path = root / "lots" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def source(**said: Any) -> LedgerSource:
    keys = {"name": "desk", "description": "A desk.", "timezone": "America/New_York", "first_month": "2024-01"}
    return LedgerSource.model_validate({**keys, "lots": ["lots/*.csv"], **said})


def read(of: LedgerSource, root: Path, horizon: dt.date = HORIZON, *, kept: bool = True) -> Intake:
    return read_ledger(of, root, horizon=horizon, kept=root / "cells" if kept else None)


def read_as_from_nothing(of: LedgerSource, root: Path, horizon: dt.date = HORIZON) -> Intake | str:
    """Read with what is kept, and compare with what is read from nothing, errors too."""
    found: list[Intake | str] = []
    for kept in (True, False):
        try:
            found.append(read(of, root, horizon, kept=kept))
        except LedgerError as error:
            found.append(str(error))
    with_kept, from_nothing = found
    if isinstance(with_kept, Intake) and isinstance(from_nothing, Intake):
        assert_same_intake(with_kept, from_nothing)
    else:
        assert with_kept == from_nothing
    return with_kept


@pytest.fixture(autouse=True, scope="module")
def _of_any_size() -> Iterator[None]:
    """Files of few rows are set aside too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aside, "WORTH", 1)
        yield


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the files that were judged by themselves."""
    paths = list[str]()

    def noting(file: File, reading: Reading = PLAIN) -> Part:
        paths.append(file.path)
        return read_part(file, reading)

    monkeypatch.setattr(aside, "read_part", noting)
    return paths


NUMBER = st.integers(1, 40)
SOUND = NUMBER.map(lot)
OTHER = st.one_of(
    st.builds(
        lot,
        NUMBER,
        closed_at=st.sampled_from(
            ["2024-01-01T00:00:00Z", "2024-06-28T20:30:00Z", "2024-07-02T15:00:00Z", "2024-05-16", "2024-02-30"]
        ),
    ),
    st.builds(lot, NUMBER, opened_at=st.sampled_from(["1950-01-01T00:00:00Z", "2024-02-05T00:00:00Z", "2024-01-02"])),
    st.builds(lot, NUMBER, lot_id=st.just("")),
    st.builds(lot, NUMBER, strategy=st.just("")),
    st.builds(lot, NUMBER, side=st.just("Long")),
    st.builds(lot, NUMBER, open_price=st.just("x")),
    st.builds(lot, NUMBER, close_price=st.just(1)),
    st.builds(lot, NUMBER, fees=st.sampled_from([-1, ""])),
    st.builds(lot, NUMBER, multiplier=st.sampled_from([0, 2])),
    st.builds(lot, NUMBER, currency=st.sampled_from(["usd", "usd", "EUR"])),
    st.builds(lot, NUMBER, fees_currency=st.just("usd")),
    st.builds(lot, NUMBER, pnl=st.just(3)),
    st.builds(lambda number, times: lot(number, pnl=profit(number, times)), NUMBER, st.sampled_from([1, 50, 50])),
    st.builds(lot, NUMBER, note=st.just('"quoted, ""twice"""')),
    st.sampled_from(["Total,5", '"never closed', ",,,,", "Total" + "," * (len(COLUMNS) - 1)]),
)
FILE = st.one_of(
    st.lists(SOUND, min_size=1, max_size=6), st.lists(st.one_of(SOUND, SOUND, OTHER), min_size=1, max_size=6)
)
STEP = st.tuples(
    st.sampled_from("abc"), st.one_of(FILE, FILE, st.none()), st.sampled_from([HORIZON, dt.date(2024, 5, 15)])
)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"currency": "USD"},
    {"instruments": "instruments.csv"},
    {"cash": ["cash.csv"]},
    {"returns": ["returns.csv"]},
    {"lots": ["lots/*.csv", "lots/a.csv"]},
]


@examples(24)
@given(
    steps=st.lists(STEP, min_size=2, max_size=4), said=st.sampled_from(SETTINGS), block=st.sampled_from([2, 500_000])
)
def test_whatever_comes_is_read_as_from_nothing(tmp_path_factory, steps, said, block):
    """A step writes a file or removes it, and the ledger is read up to some day."""
    root = tmp_path_factory.mktemp("data")
    (root / "instruments.csv").write_text("symbol,multiplier,currency\nSPY,50,usd\n")
    (root / "cash.csv").write_text("strategy,ts,amount,kind\nalpha,2024-02-05T15:00:00Z,5,fee\n")
    (root / "returns.csv").write_text("date,gamma\n2024-02-05,0.01\n")
    of = source(**said)
    write(root, "z", lot(100), lot(101, pnl=profit(101, 50)))
    write(root, "a", lot(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aside, "BLOCK", block)
        for name, rows, horizon in steps:
            if rows is None:
                (root / "lots" / f"{name}.csv").unlink(missing_ok=True)
            else:
                write(root, name, *rows)
            read_as_from_nothing(of, root, horizon)


def months(root: Path, number: int) -> None:
    for month in range(1, number + 1):
        rows = [
            lot(10 * month + day, opened_at=f"2024-{month:02}-02T15:00:00Z", closed_at=f"2024-{month:02}-{day:02}")
            for day in range(3, 9)
        ]
        write(root, f"{month:02}", *rows, lot(10 * month, open_price="at fault"))


def test_a_new_month_judges_its_own_file_alone_and_a_month_that_goes_on_again(tmp_path, judged):
    for month in range(1, 5):
        months(tmp_path, month)
        intake = read_as_from_nothing(source(), tmp_path, dt.date(2024, month, 20))
        assert isinstance(intake, Intake)
        assert (len(intake.lots), len(intake.rejected)) == (6 * month, month)
    assert judged == [f"lots/{month:02}.csv" for month in range(1, 5)]
    read(source(), tmp_path)
    assert len(judged) == 4


def test_a_file_is_judged_again_when_anything_that_it_depends_on_has_changed(tmp_path, judged, monkeypatch):
    path = write(tmp_path, "a", lot(1))
    (tmp_path / "instruments.csv").write_text("symbol,multiplier\nSPY,50\n")
    (tmp_path / "days.csv").write_text("date\n2024-02-05\n2024-02-06\n2024-02-20\n2024-02-21\n")
    of = source(instruments="instruments.csv")
    read(of, tmp_path)
    assert isinstance(read_as_from_nothing(of, tmp_path), Intake)
    assert len(judged) == 1
    for change in (
        lambda: path.write_text(path.read_text().replace("505", "506").replace("506,,1", "509,,1")),
        lambda: (tmp_path / "instruments.csv").write_text("symbol,multiplier\nSPY,20\n"),
        lambda: monkeypatch.setattr(aside, "reader", lambda: "another version"),
    ):
        change()
        read_as_from_nothing(of, tmp_path)
    assert len(judged) == 4
    assert isinstance(read_as_from_nothing(source(timezone="UTC"), tmp_path), Intake)
    assert len(judged) == 5


def test_a_file_is_judged_again_when_its_sessions_are_others(tmp_path, judged):
    write(tmp_path, "a", lot(1, opened_at="2024-02-05T15:00:00Z", closed_at="2024-02-08T15:00:00Z"))
    (tmp_path / "ledgers").mkdir()
    days = ["2023-12-01", "2024-01-02", "2024-02-05", "2024-02-06", "2024-02-20", "2024-02-21", "2024-06-28"]

    def session(listed: list[str]) -> str:
        (tmp_path / "days.csv").write_text("\n".join(["date", *listed]) + "\n")
        keys = {"name": "desk", "description": "D", "timezone": "UTC", "first_month": "2024-01"}
        of = LedgerSource.model_validate(
            {**keys, "lots": ["lots/*.csv"], "calendar": {"custom": {"file": "days.csv"}}}, context={"root": tmp_path}
        )
        intake = read_as_from_nothing(of, tmp_path, dt.date(2024, 6, 27))
        assert isinstance(intake, Intake)
        return f"{intake.lots['session'].iloc[0]:%m-%d}"

    assert session(days) == session(days) == "02-20"
    assert len(judged) == 1
    assert session(sorted([*days, "2024-02-09"])) == "02-09"
    assert len(judged) == 2


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path):
    path = write(tmp_path, "a", lot(1))
    read(source(), tmp_path)
    before = path.stat()
    path.write_text(path.read_text().replace(",500,", ",400,"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert read(source(), tmp_path).lots["open_price"].tolist() == [400.0]


def test_a_file_that_stands_as_it_did_is_not_read(tmp_path, monkeypatch):
    """What was changed a moment ago is: its file system may not tell the next change from it."""
    write(tmp_path, "a", lot(1))
    digests = list[str]()

    def noting(file: File) -> str:
        digests.append(file.path)
        return known(file)

    known = aside.digest_of
    monkeypatch.setattr(aside, "digest_of", noting)
    read(source(), tmp_path)
    read(source(), tmp_path)
    assert len(digests) == 2
    monkeypatch.setattr(aside, "_SETTLED", 0)
    read(source(), tmp_path)
    read(source(), tmp_path)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("what", "damage"),
    [("index", "cut"), ("index", "swapped"), ("lots", "flipped"), ("lots", "removed"), ("lots", "swapped")],
)
def test_what_is_damaged_is_made_again_and_told(tmp_path, caplog, what, damage):
    months(tmp_path, 2)
    # Judged when the history went less far, it leaves a lot that is accepted later.
    write(tmp_path, "03", lot(50, closed_at="2024-06-20"), lot(51, closed_at="2024-02-20"))
    read(source(), tmp_path, dt.date(2024, 5, 15))
    folder = tmp_path / "cells" / "aside"
    index = folder / "index.arrow"
    blocks = sorted({*folder.glob("*.arrow")} - {index})
    for file in [index] if what == "index" else blocks:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        match damage:
            case "cut":
                file.write_bytes(content[: len(content) // 2])
            case "flipped":
                file.write_bytes(content)
            case "removed":
                file.unlink()
            case "swapped":
                file.write_bytes((blocks[0] if what == "index" else index).read_bytes())
    intake = read_as_from_nothing(source(), tmp_path)
    assert isinstance(intake, Intake)
    assert ("cannot be used" in caplog.text) == (damage != "removed" or what == "lots")
    caplog.clear()
    assert_same_intake(read(source(), tmp_path), intake)
    assert not caplog.text


def test_readers_up_to_different_days_do_not_disturb_each_other(tmp_path, judged):
    write(tmp_path, "a", lot(1, closed_at="2024-02-05T23:30:00Z"), lot(2), lot(7, closed_at="2024-02-06T23:30:00Z"))
    early, late = dt.date(2024, 2, 5), dt.date(2024, 2, 6)
    first = read(source(), tmp_path, early)
    second = read(source(), tmp_path, late)
    assert len(judged) == 2
    for intake, horizon in ((first, early), (second, late), (first, early)):
        assert_same_intake(intake, read(source(), tmp_path, horizon, kept=False))


def test_a_file_that_changes_before_its_lots_are_read_is_told(tmp_path):
    path = write(tmp_path, "a", lot(1), lot(2))
    read(source(), tmp_path)
    intake = read(source(), tmp_path)
    for block in {*(tmp_path / "cells" / "aside").glob("*.arrow")} - {tmp_path / "cells" / "aside" / "index.arrow"}:
        block.unlink()
    path.write_text(path.read_text().replace(",500,", ",400,"))
    with pytest.raises(LedgerError, match=r"^lots/a.csv: was written to while the ledger was being read; start again$"):
        _ = intake.lots


def test_a_file_of_few_rows_is_judged_with_others_and_parsed_once(tmp_path, judged, monkeypatch):
    monkeypatch.setattr(aside, "WORTH", 3)
    write(tmp_path, "few", lot(1), lot(2))
    write(tmp_path, "many", lot(3), lot(4), lot(5))
    for _ in range(2):
        intake = read_as_from_nothing(source(), tmp_path)
        assert isinstance(intake, Intake)
        assert [each["lot_id"].tolist() for each in (intake.closed.here, intake.lots)] == [
            ["L1", "L2"],
            ["L1", "L2", "L3", "L4", "L5"],
        ]
    assert sorted(judged) == ["lots/few.csv", "lots/many.csv"]
    assert len([*(tmp_path / "cells").glob("*.arrow")]) == 1


@pytest.mark.parametrize("rows", [[lot(2, open_price="x"), lot(3, side="up")], ["Total,5", '"never closed']])
def test_a_file_with_many_rows_at_fault_is_judged_with_others(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(aside, "_AT_FAULT", 1)
    write(tmp_path, "a", lot(1), *rows)
    intake = read_as_from_nothing(source(), tmp_path)
    assert isinstance(intake, Intake)
    assert (len(intake.closed.aside), len(intake.rejected)) == (0, 2)


def test_where_nothing_can_be_kept_the_ledger_is_read_all_the_same(tmp_path, caplog):
    months(tmp_path, 2)
    (tmp_path / "cells").write_text("no folder")
    assert isinstance(read_as_from_nothing(source(), tmp_path), Intake)
    assert "cannot be written, lots/01.csv is judged with others" in caplog.text


def test_a_disk_that_is_full_for_once_leaves_no_file_to_be_judged_with_others_for_ever(tmp_path, monkeypatch, judged):
    write(tmp_path, "a", lot(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(aside, "write_sealed", full)
        assert isinstance(read_as_from_nothing(source(), tmp_path), Intake)
    assert len(read(source(), tmp_path).closed.here) == 0


def test_lots_are_read_by_session_and_hashed_month_by_month(tmp_path, monkeypatch):
    months(tmp_path, 5)
    of, now = source(), dt.datetime(2024, 6, 28, tzinfo=dt.UTC)
    windows = ledger_months(of).begun(now)
    expected = read(of, tmp_path, kept=False).lots
    hashes = hashes_of(expected, catalog.TRADE_LEDGER, windows)
    closed = read(of, tmp_path).closed
    for window in windows:
        first, after = pd.Timestamp(window.first), pd.Timestamp(window.after)
        own = expected[(expected["session"] >= first) & (expected["session"] < after)].reset_index(drop=True)
        pd.testing.assert_frame_equal(closed.between(first, after), own, check_exact=True)
    assert len(closed) == len(expected) == 30
    assert expected.sort_values(SORTED_BY, ignore_index=True).equals(expected)
    kept = tmp_path / "cells"
    assert lot_hashes(closed, windows) == lot_hashes(closed, windows, kept) == hashes
    asked = list[str]()
    monkeypatch.setattr(type(closed), "between", lambda lots, first, after: asked.append(first))
    assert lot_hashes(closed, windows, kept) == hashes
    assert asked == []


def test_a_month_of_other_lots_has_another_hash(tmp_path):
    of, now = source(), dt.datetime(2024, 6, 28, tzinfo=dt.UTC)
    windows, kept = ledger_months(of).begun(now), tmp_path / "cells"
    for price in (505, 506, 505):
        write(tmp_path, "a", lot(1, close_price=price), lot(2))
        write(tmp_path, "b", lot(8))
        found = lot_hashes(read(of, tmp_path).closed, windows, kept)
        assert found == hashes_of(read(of, tmp_path, kept=False).lots, catalog.TRADE_LEDGER, windows)


@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), max_size=40))
def test_sums_are_exact_in_any_order(values):
    finite = [value for value in values if math.isfinite(value)]
    total = exact_sum(pd.Series(values, dtype=np.float64))
    assert total == exact_sum(pd.Series(values[::-1], dtype=np.float64))
    try:
        expected = math.fsum(finite)
    except OverflowError:
        return
    assert float(total) == expected


PAIRS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([0.5, 1, 1.005, 1.01, 1.0101, 1.02, 50, -1]), st.integers(1, 40)),
    min_size=1,
    max_size=12,
)


@given(pairs=PAIRS, cut=st.integers(0, 12))
def test_no_multiple_of_profits_escapes_its_suspicion(pairs, cut):
    """Whatever the ledger as a whole shows is suspected of one part or the other, and mixed in none."""
    rows = [
        {"strategy": "s", "symbol": symbol, "side": "long", "quantity": 1.0, "open_price": 100.0, "pnl": gross * factor}
        | {"close_price": 100.0 + gross, "fees": np.nan, "multiplier": np.nan}
        for symbol, factor, cents in pairs
        for gross in [cents / 100]
    ]
    lots = pd.DataFrame(rows)
    found = {(each.strategy, each.symbol) for each in profit_multiples(lots)}
    parts = [multiples_suspected(part) for part in (lots[:cut], lots[cut:]) if len(part)]
    assert found <= set().union(*(part.suspect for part in parts))
    assert not found & set().union(*(part.mixed for part in parts))
