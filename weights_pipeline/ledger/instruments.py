"""What a ledger's symbols are, and what happens to them.

Scope: the small files of instruments and corporate actions beside a ledger's rows. Not here: what becomes of positions
(``core.returns.actions``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.actions import Action, Lineage
from weights_pipeline.core.returns.cells import Column
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.ledger.beside import rows_beside
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.flawless import flawless_rows
from weights_pipeline.ledger.source import LedgerSource

_INSTRUMENTS = {
    "symbol": Column(kind="text"),
    "multiplier": Column(kind="number", required=False),
    "long_only": Column(kind="text", required=False),
    "currency": Column(kind="text", required=False),
}
_RATIO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?::(\d{1,9}(?:\.\d{1,9})?))?", re.ASCII)
_NEEDS = {"split": "ratio", "rename": "new_symbol", "expiry": "price"}
_MOMENT = pd.Timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """What is said of symbols.

    Attributes
    ----------
    multiplier
        Units that a contract stands for, by symbol; 1 of any other.
    never_short
        Symbols of which nobody can be short.
    currency
        What prices and amounts of a symbol are in; of any other the ledger's own.
    """

    multiplier: Mapping[str, float] = field(default_factory=dict)
    never_short: frozenset[str] = frozenset()
    currency: Mapping[str, str] = field(default_factory=dict)


def read_instruments(source: LedgerSource, root: Path) -> Instruments:
    """What the source's file of instruments says; nothing where it names none.

    Raises
    ------
    LedgerError
        The file cannot be read, a symbol stands in it twice, a multiplier is not above 0, or ``long_only`` is neither
        true nor false.
    """
    if source.instruments is None:
        return Instruments()
    path = source.instruments
    rows, line = flawless_rows(root, path, _INSTRUMENTS)
    said = rows["long_only"].fillna("false").str.strip().str.lower()
    for wrong, what in (
        (rows.duplicated("symbol"), "symbol: stands twice; keep one"),
        (rows["multiplier"] <= 0, "multiplier: expected a number above 0"),
        (~said.isin(["true", "false"]), "long_only: expected true or false"),
    ):
        if wrong.any():
            at = int(wrong.to_numpy().argmax())
            raise LedgerError(f"{path}: line {line[at]}: {rows['symbol'].iloc[at]}: {what}")
    known, stated = rows[rows["multiplier"].notna()], rows[rows["currency"].notna()]
    return Instruments(
        multiplier=dict(zip(known["symbol"], known["multiplier"].astype(float), strict=True)),
        never_short=frozenset(rows.loc[said == "true", "symbol"]),
        currency=dict(zip(stated["symbol"], stated["currency"], strict=True)),
    )


def read_actions(
    source: LedgerSource, root: Path, hours: pd.DataFrame, traded: Iterable[pd.Series]
) -> tuple[Lineage, list[LedgerFinding]]:
    """Corporate actions of the source's file, and those that act on nothing; none where it names none.

    Parameters
    ----------
    source, root
        The ledger, and the data folder.
    hours
        ``open`` and ``close`` of sessions, tz-naive UTC, by session. An action before the second of them, or after the
        last, has nothing to act on.
    traded
        Symbols that the ledger's rows name, as columns.

    Raises
    ------
    LedgerError
        The file cannot be read, or a line is not an action; the message names file and line.
    """
    if source.actions is None:
        return Lineage(), []
    rows = rows_beside(root, source.actions, "actions", f"ledger {source.name}: actions")
    actions = _actions(rows, hours)
    known = {*pd.concat(traded).dropna().unique(), *rows.loc[rows["kind"] == "rename", "new_symbol"]}
    strange = ~rows["symbol"].isin([*known]).to_numpy()
    outside = np.array([action is None for action in actions], dtype=bool) & ~strange
    span = f"{hours.index[1]:%Y-%m-%d} to {hours.index[-1]:%Y-%m-%d}"
    findings = [
        LedgerFinding(
            code=code,
            symbol=str(symbol),
            source_file=str(file),
            line=int(own["line"].iloc[0]),
            message=f"{own['kind'].iloc[0]} of {symbol} on {own['date'].iloc[0]:%Y-%m-%d}"
            + f", and {len(own) - 1} more" * (len(own) > 1)
            + f": {what}",
            figures={"actions": float(len(own))},
            setting=setting,
        )
        for code, mask, what, setting in (
            ("action_of_nobody", strange, "no row names the symbol", "correct the symbol"),
            ("action_outside", outside, f"outside the sessions read, {span}", "correct the date, where it is wrong"),
        )
        for (file, symbol), own in rows[mask].groupby(["source_file", "symbol"])
    ]
    return Lineage(tuple(action for action in actions if action is not None)), findings


def _actions(rows: pd.DataFrame, hours: pd.DataFrame) -> list[Action | None]:
    """One per row; None where it is outside the sessions."""
    actions = list[Action | None]()
    sessions = pd.DatetimeIndex(hours.index)
    opens, closes = (pd.DatetimeIndex(hours[name]) for name in ("open", "close"))
    days = sessions.searchsorted(pd.DatetimeIndex(rows["date"])).tolist()
    seen: dict[tuple[str, int, str], str] = {}
    for said, day in zip(rows.to_dict("records"), days, strict=True):
        symbol, kind, place = said["symbol"], said["kind"], f"{said['source_file']}: line {said['line']}"
        if kind not in _NEEDS:
            raise LedgerError(f"{place}: kind: expected one of {', '.join(_NEEDS)}, got {kind!r}")
        if pd.isna(said[_NEEDS[kind]]):
            raise LedgerError(f"{place}: {_NEEDS[kind]}: needed by every {kind}")
        if (first := seen.setdefault((symbol, day, kind), place)) != place:
            raise LedgerError(f"{place}: {kind} of {symbol} on {said['date']:%Y-%m-%d} stands in {first} too")
        if not 0 < day < len(sessions):
            actions.append(None)
            continue
        before = closes[day - 1] - (_MOMENT if opens[day] == closes[day - 1] else pd.Timedelta(0))
        more, fewer = _ratio(said["ratio"], place) if kind == "split" else (Decimal(1), Decimal(1))
        action = Action(
            symbol=symbol,
            kind=kind,
            session=sessions[day],
            before=before,
            at=closes[day] - _MOMENT if kind == "expiry" else before + _MOMENT,
            more=more,
            fewer=fewer,
            new_symbol=said["new_symbol"] if kind == "rename" else "",
            price=said["price"] if kind == "expiry" else 0.0,
        )
        actions.append(action)
    return actions


def _ratio(text: str, place: str) -> tuple[Decimal, Decimal]:
    found = _RATIO.fullmatch(text.strip())
    if found is None or not Decimal(found[1]) or (found[2] is not None and not Decimal(found[2])):
        raise LedgerError(f"{place}: ratio: expected new units for old ones, such as 10:1, 3:2 or 1:10, got {text!r}")
    return Decimal(found[1]), Decimal(found[2] or 1)
