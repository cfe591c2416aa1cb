"""Rows of a ledger: what a closed lot, a fill, a cash movement, an opening and a daily return have to say.

Scope: the columns of each kind, profit of a lot, and the rules of a row. Rows arrive as frames, one row per ledger row,
and every rule answers with `Fault` entries instead of dropping anything. Not here: how a cell is read (``cells``),
which rows are the same (``identity``), what follows from a row that is missing (``stream``).

Reason codes, all stable:

=========================== ================================================================================
``missing_<column>``        a required cell is empty
``no_strategy``             no rule of the source says whose the row is
``unexpected_value``        a cell says what the source does not expect there
``not_a_number``            not a plain decimal such as ``-1234.5`` or ``1e-3``, nor what the source says it is
``non_finite``              NaN, infinite, or so large (above 1e150) that a product of two would be
``unparseable_time``        not an ISO 8601 time or date between 1900 and 2199
``unparseable_date``        not an ISO 8601 date between 1900 and 2199
``ambiguous_time``          a local time that occurred twice when the clocks were put back
``nonexistent_time``        a local time skipped when the clocks were put forward
``bad_side``                ``side`` is neither ``long`` nor ``short``; of a fill, nor ``buy`` nor ``sell``
``side_contradicts_amount`` a signed amount against its own ``side``
``bad_status``              ``status`` is neither ``filled`` nor ``cancelled``
``bad_kind``                ``kind`` of cash is none of those there are
``quantity_not_positive``   ``quantity`` ≤ 0
``bad_multiplier``          ``multiplier`` ≤ 0
``zero_amount``             a fill of nothing
``closed_before_opened``    ``closed_at`` before ``opened_at``
``outside_history``         booked to a session outside the ledger's months, or before the calendar begins
``no_return``               a row of allocations whose return cannot be computed; the details say why
``return_too_low``          a daily return ≤ −1
``duplicate_lot_id``        a ``lot_id`` that occurs with differing content
``duplicate_fill_id``       a ``fill_id`` that occurs with differing content within a strategy and symbol
``duplicate_cash_id``       a ``cash_id`` that occurs with differing content within a strategy
``duplicate_return``        differing returns of one strategy in one session
``exact_duplicate``         repeats an earlier row
``cancelled``               taken back, by its own ``status`` or by a row that ``cancels`` it, or takes one back
``cancels_nothing``         ``cancels`` names a fill that is not there
``contradicting_openings``  openings of one strategy, symbol and date that are long and short
``oversold``                sells more than a long-only strategy or symbol holds
``position_unknown``        comes after a row that is missing from its stream: held back, not wrong
``malformed_row``           a line that has not as many fields as the file has columns, or broken quotes
=========================== ================================================================================

Where an identity occurs with differing content, *every* row that carries it is at fault: nothing in the
ledger says which of them is the true one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.cells import Column, Fault, Indices, against

Floats = NDArray[np.float64]
_Figures = TypeVar("_Figures", pd.Series, Floats)

DUST = 0.01
"""Less than this share of what a position was is dust, such as a fee paid in the instrument leaves behind."""


# --- profit -------------------------------------------------------------------------------------------------


def lot_pnl(
    side: pd.Series | pd.api.extensions.ExtensionArray,
    quantity: _Figures,
    open_price: _Figures,
    close_price: _Figures,
    fees: _Figures,
    multiplier: _Figures,
) -> _Figures:
    """Realized net profit of each lot: ±quantity·multiplier·(close − open) − fees, + for long and − for short.

    All arguments and the result have shape (n,); money is in the currency of the prices, fees are a cost. A
    NaN among a lot's figures gives NaN.
    """
    direction: Floats = np.where(side == "long", 1.0, -1.0)
    profit: _Figures = direction * quantity * (close_price - open_price) * multiplier - fees
    return profit


def entry_value(quantity: _Figures, open_price: _Figures, multiplier: _Figures) -> _Figures:
    """Capital that a lot tied up when it was opened, quantity·open price·multiplier without its sign; shape (n,)."""
    return abs(quantity * open_price * multiplier)


# --- columns ------------------------------------------------------------------------------------------------

LOT_COLUMNS: Mapping[str, Column] = {
    "lot_id": Column(kind="text"),
    "strategy": Column(kind="text"),
    "symbol": Column(kind="text"),
    "side": Column(kind="text"),
    "quantity": Column(kind="number"),
    "opened_at": Column(kind="time"),
    "closed_at": Column(kind="time"),
    "open_price": Column(kind="number"),
    "close_price": Column(kind="number"),
    "fees": Column(kind="number", required=False),
    "pnl": Column(kind="number", required=False),
    "margin_used": Column(kind="number", required=False),
    "parent_lot_id": Column(kind="text", required=False),
    "multiplier": Column(kind="number", required=False),
    "currency": Column(kind="text", required=False),
    "fees_currency": Column(kind="text", required=False),
}
FILL_COLUMNS: Mapping[str, Column] = {
    "strategy": Column(kind="text"),
    "symbol": Column(kind="text"),
    "ts": Column(kind="time"),
    "amount": Column(kind="number"),
    "price": Column(kind="number"),
    "fees": Column(kind="number", required=False),
    "fill_id": Column(kind="text", required=False),
    "side": Column(kind="text", required=False),
    "sequence": Column(kind="number", required=False),
    "multiplier": Column(kind="number", required=False),
    "status": Column(kind="text", required=False),
    "cancels": Column(kind="text", required=False),
    "currency": Column(kind="text", required=False),
    "fees_currency": Column(kind="text", required=False),
}
CASH_COLUMNS: Mapping[str, Column] = {
    "strategy": Column(kind="text"),
    "ts": Column(kind="time"),
    "amount": Column(kind="number"),
    "kind": Column(kind="text"),
    "symbol": Column(kind="text", required=False),
    "cash_id": Column(kind="text", required=False),
    "fees": Column(kind="number", required=False),
    "currency": Column(kind="text", required=False),
    "fees_currency": Column(kind="text", required=False),
}
OPENING_COLUMNS: Mapping[str, Column] = {
    "strategy": Column(kind="text"),
    "symbol": Column(kind="text"),
    "date": Column(kind="date"),
    "amount": Column(kind="number"),
    "price": Column(kind="number"),
    "multiplier": Column(kind="number", required=False),
    "currency": Column(kind="text", required=False),
}
RETURN_COLUMNS: Mapping[str, Column] = {
    "session": Column(kind="date"),
    "strategy": Column(kind="text"),
    "daily_return": Column(kind="number"),
}

CASH_KINDS = ("dividend", "funding", "interest", "fee", "rebate", "adjustment")
BUYS, SELLS = ("buy", "b", "bot", "long"), ("sell", "s", "sld", "short")
"""Sides of a fill, in any case."""


# --- row rules ----------------------------------------------------------------------------------------------
# A null was reported when its cell was read, so no rule below judges one.


def lot_faults(lots: pd.DataFrame, days: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    """Rules that a closed lot has to keep.

    Parameters
    ----------
    lots : DataFrame
        The columns of `LOT_COLUMNS`, and ``open_session`` and ``session``, the sessions of ``opened_at`` and
        ``closed_at`` (NaT where the calendar has none).
    days : DataFrame of bool
        Whether ``opened_at`` and ``closed_at`` are dates alone: one within a day is not before a time of it.
    first, last : Timestamp
        First and last session of the ledger's history.
    """
    if lots.empty:
        return []
    side, quantity, opened, closed = (lots[name] for name in ("side", "quantity", "opened_at", "closed_at"))
    too_early = lots["open_session"].isna() & (opened < first)
    backwards = "closed_at: {} is before opened_at {} (UTC)"
    bad_side = side.notna() & ~side.isin(["long", "short"])
    unsigned = "; where its sign says nothing, `unsigned: [quantity]` takes its size"
    same_day = days["closed_at"] & (closed + pd.Timedelta(days=1) > opened)
    hint = (
        side[bad_side]
        .str.lower()
        .map(lambda text: "; `values: {side: …}` says which of the two it stands for" if text else "")
    )
    return [
        *against(bad_side, "bad_side", "side: {!r} is not 'long' or 'short'{}", side, hint),
        *against(quantity == 0, "quantity_not_positive", "quantity: 0 is not > 0"),
        *against(quantity < 0, "quantity_not_positive", f"quantity: {{:.15g}} is not > 0{unsigned}", quantity),
        *_multiplier_faults(lots["multiplier"]),
        *against((closed < opened) & ~same_day, "closed_before_opened", backwards, closed, opened),
        *against(too_early, "outside_history", "opened_at: {} UTC is before the calendar begins", opened),
        *_outside("closed_at", closed, lots["session"], first, last),
    ]


def fill_faults(fills: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    """Rules that a fill has to keep; one before the ledger's months is kept, it may open what they close.

    Parameters
    ----------
    fills : DataFrame
        The columns of `FILL_COLUMNS`, and ``session``, the session of ``ts`` (NaT where there is none).
    first, last : Timestamp
        First session of the calendar and last session of the ledger's history.
    """
    if fills.empty:
        return []
    status = fills["status"].dropna()
    bad_status = np.zeros(len(fills), dtype=bool)
    bad_status[status.index[~status.str.lower().isin(["filled", "cancelled"])]] = True
    says = "status: {!r} is not 'filled' or 'cancelled'; `values: {{status: …}}` says which of the two it stands for"
    return [
        *against(
            fills["amount"] == 0,
            "zero_amount",
            "amount: is 0; `where: {{amount: {{not: 0}}}}` leaves out what is no fill",
        ),
        *against(bad_status, "bad_status", says, fills["status"]),
        *_multiplier_faults(fills["multiplier"]),
        *_outside("ts", fills["ts"], fills["session"], first, last),
    ]


def signed_amounts(amount: pd.Series, side: pd.Series, file: Indices) -> tuple[pd.Series, list[Fault]]:
    """Amounts of fills with the sign of their side, where a file states sides.

    A file none of whose amounts is negative writes sizes: the side gives the sign. In any other file the amounts are
    signed, and one against its side is at fault.

    Parameters
    ----------
    amount, side : Series, shape (n,)
        As read; null where there is none.
    file : ndarray of int, shape (n,)
        Which file each row is of.
    """
    if side.isna().all():
        return amount, []
    text = side.str.lower()
    sign = pd.Series(np.select([text.isin(BUYS), text.isin(SELLS)], [1.0, -1.0], np.nan), index=side.index)
    size = int(file.max()) + 1
    has_sides = (np.bincount(file, weights=side.notna(), minlength=size) > 0)[file]
    signed = (np.bincount(file, weights=amount < 0, minlength=size) > 0)[file]
    unsigned = has_sides & ~signed
    bad = side.notna() & sign.isna()
    against_side = signed & ((amount * sign) < 0)
    faults = [
        *against(bad, "bad_side", "side: {!r} is not buy or sell; `values: {{side: …}}` says what it is", side),
        *against(unsigned & side.isna(), "missing_side", "side: is empty, and the amounts of the file have no sign"),
        *against(against_side, "side_contradicts_amount", "amount: {:.15g} against the side {!r}", amount, side),
    ]
    return amount.where(~unsigned, (amount * sign) + 0.0), faults


def cash_faults(cash: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    """Rules that a cash movement has to keep; ``session`` is that of ``ts``."""
    if cash.empty:
        return []
    kind = cash["kind"]
    bad = kind.notna() & ~kind.isin(CASH_KINDS)
    expected = f"kind: {{!r}} is not one of {', '.join(CASH_KINDS)}; `values: {{{{kind: …}}}}` says which it stands for"
    return [
        *against(bad, "bad_kind", expected, kind),
        *_outside("ts", cash["ts"], cash["session"], first, last),
    ]


def opening_faults(openings: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    """Rules that an opening has to keep; ``session`` is that of the ``date``."""
    if openings.empty:
        return []
    sign = pd.Series(np.sign(openings["amount"]))
    place = [openings[name] for name in ("strategy", "symbol", "date")]
    both = sign.groupby(place).transform("min") * sign.groupby(place).transform("max") < 0
    return [
        *against(both, "contradicting_openings", "amount: others of the date have the other sign"),
        *_multiplier_faults(openings["multiplier"]),
        *_outside("date", openings["date"], openings["session"], first, last),
    ]


def return_faults(returns: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    """Rules that a delivered return has to keep.

    Parameters
    ----------
    returns : DataFrame
        The columns of `RETURN_COLUMNS`, and ``stands_on``, the session of the return dated ``session`` (NaT where there
        is none).
    first, last : Timestamp
        First and last session of the ledger's history that returns stand on.
    """
    value = returns["daily_return"]
    return [
        *against(value <= -1, "return_too_low", "daily_return: {:.15g} is not > -1", value),
        *_outside("session", returns["session"], returns["stands_on"], first, last),
    ]


def cancelled_faults(fills: pd.DataFrame) -> list[Fault]:
    """Fills that are taken back, and the rows that take them back: neither is matched, and no position is in doubt.

    Parameters
    ----------
    fills : DataFrame
        ``strategy``, ``symbol``, ``fill_id``, ``status`` and ``cancels``, the id of the fill that a row takes back.
    """
    if fills["status"].isna().all() and fills["cancels"].isna().all():
        return []
    gone = fills["status"].str.lower() == "cancelled"
    faults = against(gone, "cancelled", "status: cancelled")
    takes_back = fills["cancels"].notna() & ~gone
    if not takes_back.any():
        return faults
    pair = [fills["strategy"], fills["symbol"]]
    there = dict[tuple[object, ...], int]()
    for row, key in enumerate(zip(*pair, fills["fill_id"], strict=True)):
        there.setdefault(key, row)
    for row in np.flatnonzero(takes_back).tolist():
        named = fills["cancels"].iloc[row]
        other = there.get((*(column.iloc[row] for column in pair), named))
        if other is None or other == row:
            faults.append(
                Fault(row, "cancels_nothing", f"cancels: there is no fill {named!r} of its strategy and symbol")
            )
        else:
            faults.append(Fault(row, "cancelled", f"takes back fill {named!r}"))
            faults.append(Fault(other, "cancelled", f"taken back by a later row of {named!r}"))
    return faults


def mostly_negative(fees: Floats) -> bool:
    """Whether fees that are not 0 are mostly negative: costs, written with the sign of what they take away."""
    return int((fees < 0).sum()) > int((fees > 0).sum())


def _multiplier_faults(multiplier: pd.Series) -> list[Fault]:
    return against(multiplier <= 0, "bad_multiplier", "multiplier: {:.15g} is not > 0", multiplier)


def _outside(name: str, time: pd.Series, session: pd.Series, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    says = f"{name}: {{}} is outside the sessions {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return against(time.notna() & ~(session >= first), "outside_history", says, time)
