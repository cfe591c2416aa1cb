"""Ledgers damaged at random, read: nothing may be lost, nothing may fail but with a word of what is wrong.

Run ``python -m benchmarks.fuzz [--ledgers 10000] [--first 0]``: prints how many ledgers were read or refused, and ends
with exit code 1 where anything was not as it has to be. A number names a ledger, so that one that fails can be read
again: ``--first NUMBER --ledgers 1``.

Each ledger has files of some kinds at once, of which cells, lines, bytes or the encoding are damaged, and settings that
fit it or not. Then

- it is read, with accepted + rejected = read in every file and rows that fit their tables, or refused as a whole with a
  ``LedgerError``; any other error is a defect;
- no stream of fills, lot, movement of cash or series of returns whose rows are whole books what the sound ledger does
  not; where damage is in cells alone that do not say whose a row is, it books exactly that.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, read_ledger
from weights_pipeline.ledger.tables import finding_rows
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import prepare

HORIZON = dt.date(2024, 6, 28)
_TRADES = [(s, y, d, a) for d in (4, 5, 6, 7) for s in "ab" for y in "XY" for a in (2, -2)]
_SOUND: Mapping[str, list[str]] = {
    "fills": [
        "strategy,symbol,ts,amount,price,fees,fill_id,side,sequence,status,cancels,multiplier,currency",
        *(
            f"{s},{y},2024-03-{d:02d}T1{i % 9}:00:00Z,{a},{100 + i},0.5,f{i},{'buy' if a > 0 else 'sell'},{i},,,,"
            for i, (s, y, d, a) in enumerate(_TRADES)
        ),
    ],
    "lots": [
        "lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price,fees,pnl,margin_used",
        *(f"l{i},c,X,long,10,2024-03-04,2024-03-{5 + i % 9:02d},10,1{i % 9},0.1,," for i in range(12)),
    ],
    "cash": [
        "strategy,ts,amount,kind,symbol,cash_id",
        *(f"a,2024-03-0{4 + i % 5}T12:00,1.5,dividend,X,c{i}" for i in range(8)),
    ],
    "openings": ["strategy,symbol,date,amount,price", "a,X,2024-03-01,5,99", "b,Y,2024-03-06,0,0"],
    "returns": ["date,r1,r2", *(f"2024-03-0{4 + i},0.0{i},-0.0{i}" for i in range(5))],
}
_BESIDE: Mapping[str, list[str]] = {
    "positions": ["date,symbol,quantity,strategy,market_value", "2024-03-06,X,5,a,500", "2024-03-07,Y,0,b,0"],
    "actions": ["symbol,date,kind,ratio,new_symbol,price", "X,2024-03-06,split,2:1,,", "Y,2024-03-07,rename,,Z,"],
    "instruments": ["symbol,multiplier,long_only,currency", "X,50,false,", "Y,,true,"],
    "prices": ["date,symbol,close", *(f"2024-03-0{d},{y},10{d}" for d in (4, 5, 6, 7, 8) for y in "XY")],
    "fx": ["date,currency,rate", "2024-03-01,EUR,1.08", "2024-03-05,EUR,1.09"],
}
_FILES = {**_SOUND, **_BESIDE}
_IDENTITY = {"fills": (0, 1), "openings": (0, 1), "lots": (0,), "cash": (5,)}
"""Columns that say what a row is part of: a stream of fills, a lot, a movement of cash."""
_WHOSE = {"fills": (0, 1), "openings": (0, 1), "lots": (1, 2), "cash": (0, 4)}
"""Columns without which it may be of others."""
_TOKENS = [
    "", "x", "?!", "1e400", "nan", "-", "0", "-5", "1,000", "(5)", "2024-02-30", "2024-03-10T02:30", "2024-03-05", "'",
    '"', "\x00", "é", "\n", "\r\n", ",", ",,,,", ";", "\ufeff", "9" * 400, "=1+1", "a|b", "#", "%25", "٣",
    "2024-03-05T00:00:00Z", "9999-12-31", "1900-01-01", "cancelled", "filled", "sell", "SLD", "f3", "1e-320", "−3",
    "Total", "EUR",
]  # fmt: skip
_BREAKS = frozenset('",;\n\r\x00\ufeff')
_ELSEWHERE: list[dict[str, Any]] = [{"footer": 1}, {"skip_lines": 1}, {"encoding": "cp1252"}]
"""Settings by which rows are rows by their place, or text is not what was written: damage is not where it was done."""
_SETTINGS: list[dict[str, Any]] = [
    {"thousands": ","}, {"decimal": ",", "delimiter": ";"}, {"negatives": ["parentheses", "trailing", "minus_sign"]},
    {"time_format": "%Y-%m-%d"}, {"long_only": True}, {"fees_sign": "negative_is_cost"},
    {"unsigned": ["quantity", "fees"]}, {"values": {"side": {"x": "buy"}}}, {"where": {"strategy": ["a", "b"]}},
    {"columns": {"fill_id": "fill_id"}}, {"constants": {"multiplier": "5"}}, {"calendar": "CMES"},
    {"calendar": "24/7"}, {"currency_signs": ["$"]}, {"currency": "USD"}, *_ELSEWHERE,
]  # fmt: skip


@dataclass
class Damage:
    """What was damaged: of which streams rows are, and whether in cells alone that do not say whose a row is."""

    touched: set[tuple[str, ...]] = field(default_factory=set)
    contained: bool = True
    everywhere: bool = False


def main() -> int:
    """Read damaged ledgers; 1 where any was not read or refused as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledgers", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    options = parser.parse_args()
    found = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.first, options.first + options.ledgers):
            try:
                found[fuzzed(Path(folder), number)] += 1
            except Exception:
                found["not as it has to be"] += 1
                sys.stdout.write(f"\nledger {number}:\n{traceback.format_exc(limit=-4)}")
    sys.stdout.write("".join(f"{count:7} {what}\n" for what, count in sorted(found.items())))
    return int(found["not as it has to be"] > 0)


def fuzzed(root: Path, number: int) -> str:
    """Make a ledger, damage it and read it; what came of it, in a few words.

    Raises
    ------
    Exception
        It was neither read as it has to be nor refused.
    """
    chance = random.Random(number)
    kinds = [kind for kind in _SOUND if chance.random() < 0.6] or ["fills"]
    if "openings" in kinds and "fills" not in kinds:
        kinds.append("fills")
    if not {"lots", "fills", "returns"} & {*kinds}:
        kinds.append("lots")
    beside = [name for name in _BESIDE if "fills" in kinds and chance.random() < 0.15]
    said: dict[str, Any] = {"name": "desk", "description": "A desk.", "first_month": "2024-01"}
    said |= {"timezone": chance.choice(["UTC", "America/New_York"])}
    said |= {kind: [f"{kind}.csv"] for kind in kinds} | {name: f"{name}.csv" for name in beside}
    said |= {"currency": "USD"} if "fx" in beside else {}
    settings = chance.sample(_SETTINGS, chance.choice([0, 0, 0, 1, 2]))
    for setting in settings:
        said |= setting
    try:
        source = LedgerSource.model_validate(said)
    except ValidationError:
        return "settings that contradict each other"
    damage = Damage(everywhere=any(setting in _ELSEWHERE for setting in settings))
    for name in (*kinds, *beside):
        whole = "\n".join(_FILES[name]) + "\n"
        (root / f"{name}.csv").write_bytes(_damaged(chance, name, damage) if chance.random() < 0.7 else whole.encode())
    intake = _read(source, root)
    if intake is None:
        return "refused"
    for table, rows in (
        (catalog.LEDGER_FINDINGS, finding_rows(intake)),
        (catalog.REJECTED_LOTS, intake.rejected),
        (catalog.LEDGER_FILES, intake.files),
    ):
        prepare(rows, table, [])
    if damage.everywhere:
        return "read"
    sound = _sound(json.dumps(said))
    if sound is None:
        return "read, refused where it is sound"
    _require_untouched(sound, intake, damage)
    return "read, the rest untouched"


def _read(source: LedgerSource, root: Path) -> Intake | None:
    try:
        return read_ledger(source, root, horizon=HORIZON)
    except LedgerError:
        return None


@lru_cache(maxsize=500)
def _sound(said: str) -> Intake | None:
    """A ledger of sound files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in _FILES.items():
            Path(folder, f"{name}.csv").write_text("\n".join(lines) + "\n")
        return _read(LedgerSource.model_validate(json.loads(said)), Path(folder))


def _damaged(chance: random.Random, name: str, damage: Damage) -> bytes:
    """Bytes of a file, somehow damaged."""
    lines = list(_FILES[name])
    for _ in range(chance.randrange(4)):
        # A header is damaged seldom: it is refused for one reason or another.
        kind, at = chance.random(), chance.randrange(chance.random() < 0.95, max(len(lines), 2)) % len(lines)
        damage.everywhere |= at == 0 or name in _BESIDE
        _touch(damage, name, lines[at])
        if kind < 0.6:
            cells, token = lines[at].split(","), chance.choice(_TOKENS)
            column = chance.randrange(len(cells))
            cells[column] = token
            damage.contained &= not _BREAKS & {*token} and column not in _WHOSE.get(name, ())
            lines[at] = ",".join(cells)
            _touch(damage, name, lines[at])
        elif kind < 0.75:
            lines.insert(chance.randrange(1, len(lines) + 1), lines[at])
        elif kind < 0.85 and len(lines) > 1:
            lines.pop(at)
        else:
            place = chance.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + chance.choice(["", *_TOKENS]) + lines[at][place:][chance.randrange(2) :]
            damage.contained = False
            _touch(damage, name, lines[at])
    text = "\n".join(lines) + "\n"
    kind = chance.random()
    if kind < 0.92:
        return text.encode()
    damage.everywhere = True
    data = text.encode()
    place = chance.randrange(len(data))
    if kind < 0.93:
        return text.encode("utf-16")
    if kind < 0.96:
        return text.encode("cp1252", "replace")
    return data[:place] if kind < 0.98 else data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]


def _touch(damage: Damage, name: str, line: str) -> None:
    """Remember which streams a line is of, which may have become several."""
    if name == "returns":
        damage.touched |= {("returns",)}
    elif name in _IDENTITY:
        damage.touched |= {("cash", "")} if name == "cash" else set()
        kind = "fills" if name == "openings" else name
        for cells in (each.split(",") for each in line.splitlines()):
            damage.touched.add((kind, *(cells[column] for column in _IDENTITY[name] if column < len(cells))))


def _booked(intake: Intake) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """Every figure that a ledger has booked, by the stream that it is of."""
    columns = ["lot_id", "strategy", "symbol", "source", "quantity", "open_price", "close_price", "pnl", "session"]
    for lot_id, strategy, symbol, source, *figures in intake.lots[columns].itertuples(index=False, name=None):
        stream = ("lots", lot_id) if source == "lots" else ("fills", strategy, symbol)
        yield stream, (lot_id, strategy, symbol, *figures)
    for row in intake.cash[["cash_id", "strategy", "amount", "session"]].itertuples(index=False, name=None):
        # One without an id gets a name.
        yield ("cash", "" if str(row[0]).startswith("#") else str(row[0])), row
    for row in intake.returns[["strategy", "daily_return", "session"]].itertuples(index=False, name=None):
        yield ("returns",), row


def _require_untouched(sound: Intake, intake: Intake, damage: Damage) -> None:
    """Of streams whose rows are whole, nothing is booked that was not, or all that was."""
    before, after = ({each for each in _booked(of) if each[0] not in damage.touched} for of in (sound, intake))
    if more := sorted(map(str, after - before)):
        raise AssertionError(f"booked of rows that are whole: {more[:3]}")
    if damage.contained and (fewer := sorted(map(str, before - after))):
        raise AssertionError(f"not booked of rows that are whole: {fewer[:3]}")


if __name__ == "__main__":
    sys.exit(main())
