"""Positions from fills, session by session: how much of each opening fill was open.

A month stands on what left in it and on what was open at its end, and a position is the same whichever of the two it
was: the parts that an opening fill is closed in are added up before anything is computed of them, as the decimals that
they are written as. So a session's figures are the same bits before and after its month ends, and after any later exit.

Scope: quantities over sessions. Not here: what they are worth (``capital``), nor what they earn (``marking``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.returns.lot_arrays import Floats, Integers, inside, month_start, positions
from weights_pipeline.core.returns.lots import DUST

DIGITS = 14
"""Significant digits that a sum of decimals is exact to."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Stretches in which the open quantity of an opening fill stayed the same.

    Sorted by strategy, opening and time, so that a sum over them runs in an order which no later fill changes.

    Attributes
    ----------
    row
        Row of the parts that stands for the opening fill, shape (n,).
    begin, end
        Positions of the first and the last session, shape (n,).
    quantity
        Units open, shape (n,), positive.
    """

    row: Integers
    begin: Integers
    end: Integers
    quantity: Floats

    def where(self, mask: npt.NDArray[np.bool_]) -> Spans:
        """Return the spans under a mask, in their order."""
        return Spans(row=self.row[mask], begin=self.begin[mask], end=self.end[mask], quantity=self.quantity[mask])

    def days(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Every span and session in it: positions in the spans and of the sessions, in the order of the spans."""
        length = self.end - self.begin + 1
        span = np.repeat(np.arange(len(length)), length)
        return span, np.arange(len(span)) - np.repeat(np.cumsum(length) - length, length) + self.begin[span]


def parts_of(lots: pd.DataFrame, open_lots: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Every part that a position from fills left in, or was seen open in at the end of a month.

    Parameters
    ----------
    lots
        Closed lots from fills: ``strategy``, ``parent_lot_id``, ``quantity``, ``open_session``, ``session``.
    open_lots
        Lots from fills still open at a month's end, or known to be open until then: the same, ``lot_id`` in place of
        ``parent_lot_id`` and ``snapshot`` in place of ``session``.
    sessions
        The grid; parts outside of it are left out.

    Returns
    -------
    DataFrame
        Columns of both, ``opener``, ``closed``, and ``last`` and ``opened``, positions on the grid (that of an opening
        before it is 0).
    """
    closed = lots.rename(columns={"parent_lot_id": "opener"}).assign(closed=True)
    still_open = open_lots.rename(columns={"lot_id": "opener", "snapshot": "session"}).assign(closed=False)
    shared = [name for name in closed.columns if name in still_open.columns]
    kept = [*shared, *(name for name in ("close_price", "pnl") if name in closed.columns)]
    rows = pd.concat([closed[kept], still_open[shared]], ignore_index=True)
    rows = inside(rows, sessions).reset_index(drop=True)
    last = positions(rows, "session", sessions)
    return rows.assign(last=last, opened=positions(rows, "open_session", sessions))


def spans_of(parts: pd.DataFrame, sessions: pd.DatetimeIndex, *, with_exit: bool) -> Spans:
    """Open quantities of every opening fill, month by month.

    Parameters
    ----------
    parts
        As :func:`parts_of` gives them.
    sessions
        The grid.
    with_exit
        Whether the session of an exit counts as one in which its quantity was open.
    """
    starts = month_start(sessions)
    last = parts["last"].to_numpy() - (0 if with_exit else parts["closed"].to_numpy(dtype=np.intp))
    month = starts[parts["last"].to_numpy()]
    keys = pd.DataFrame(
        {
            "strategy": parts["strategy"].to_numpy(),
            "opened": parts["open_session"].to_numpy(),
            "opener": parts["opener"].to_numpy(),
            "month": month,
            "last": last,
        }
    )
    order = np.asarray(keys.sort_values(list(keys.columns), kind="stable").index)
    last, month = last[order], month[order]
    opener = keys["opener"].to_numpy()[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (opener[1:] != opener[:-1]) | (month[1:] != month[:-1])
    group = np.cumsum(new)
    # What is left is what leaves later; the sum is compensated, so that its error stays below the digits kept.
    quantity = pd.Series(parts["quantity"].to_numpy(np.float64)[order])[::-1].groupby(group[::-1]).cumsum()[::-1]
    begin = np.maximum(np.maximum(parts["opened"].to_numpy()[order], 0), month)
    begin[1:] = np.where(new[1:], begin[1:], np.maximum(begin[1:], last[:-1] + 1))
    some = begin <= last
    return Spans(
        row=order[some],
        begin=begin[some],
        end=last[some],
        quantity=decimal(quantity.to_numpy(np.float64)[some]),
    )


def dust_of(parts: pd.DataFrame, spans: Spans) -> npt.NDArray[np.bool_]:
    """Whether a span is of a remainder only, at most `DUST` of what left in the session that left it; shape (n,).

    Parameters
    ----------
    parts
        As :func:`parts_of` gives them, with their ``symbol``: of every session since the openings.
    spans
        As :func:`spans_of` gives them.
    """
    closed = parts[parts["closed"]]
    exits = closed.groupby(["strategy", "symbol", "last"], sort=False)["quantity"].transform("sum").to_numpy(np.float64)
    names = pd.Index(parts["opener"].unique())
    width = int(parts["last"].max()) + 2 if len(parts) else 1
    key = names.get_indexer(closed["opener"]).astype(np.int64) * width + closed["last"].to_numpy(np.int64)
    order = np.argsort(key, kind="stable")
    key, exits = key[order], exits[order]
    opener = names.get_indexer(parts["opener"]).astype(np.int64)[spans.row]
    before = np.searchsorted(key, opener * width + spans.begin) - 1
    left = (before >= 0) & (key[np.maximum(before, 0)] // width == opener) if len(key) else np.zeros(len(opener), bool)
    dust: npt.NDArray[np.bool_] = np.zeros(len(opener), dtype=bool)
    dust[left] = spans.quantity[left] <= DUST * exits[before[left]]
    return dust


def decimal(values: Floats) -> Floats:
    """Round to `DIGITS` significant digits, shape as given."""
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        shift = DIGITS - 1 - np.floor(np.log10(np.where(size > 0, size, 1.0))).astype(np.int64)
    scale = np.power(10.0, np.abs(shift))
    up = np.rint(np.where(shift >= 0, values * scale, values / scale))
    rounded: Floats = np.where(shift >= 0, up / scale, up * scale)
    return np.where(np.isfinite(rounded), rounded, values)
