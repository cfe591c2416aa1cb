"""Return histories: daily returns of many strategies as aligned arrays.

Here belong their shape and what is refused on the way in. Here do not belong the making of returns from lots
(``returns``) nor anything measured on them (``measures``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReturnHistory:
    """Daily returns and activity of strategies, aligned on sessions.

    Attributes
    ----------
    sessions : DatetimeIndex, shape (T,)
        Ascending, tz-naive midnights.
    strategies : tuple of str, length N
        Sorted and unique.
    returns : ndarray of float, shape (T, N)
        Simple returns, each above −1. NaN before a strategy's first activity; of returns delivered without lots also
        after they have ended. Should they go on, the strategy begins anew.
    closed_lots, winning_lots : ndarray of int, shape (T, N), or None
        Lots closed, and closed with a profit, per session; 0 where they are not counted. None where none are.
    active : ndarray of bool, shape (T, N)
        Whether the strategy had capital at work in the session.
    unknown : ndarray of bool, shape (T, N), or None
        Whether a position of the strategy is not known in the session, so that its return is not either. None where all
        are known.
    liquid : ndarray of float, shape (T, N), or None
        Capital at which what a strategy has traded would have been all that usually trades in the symbol where that is
        least; NaN in a session in which that is not known, or nothing was traded. None where no volumes are known.
    without_lots : frozenset of str
        Strategies whose returns were delivered without lots, where those of others have some.

    Raises
    ------
    ValueError
        When a rule above is broken; the message names the strategy and the session.
    """

    sessions: pd.DatetimeIndex
    strategies: tuple[str, ...]
    returns: FloatArray
    closed_lots: IntArray | None
    winning_lots: IntArray | None
    active: BoolArray
    unknown: BoolArray | None = None
    liquid: FloatArray | None = None
    without_lots: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check_sessions(self.sessions)
        if list(self.strategies) != sorted(set(self.strategies)):
            raise ValueError(f"strategies: expected sorted and unique names, got {list(self.strategies)}")
        shape = (len(self.sessions), len(self.strategies))
        if (self.closed_lots is None) != (self.winning_lots is None):
            raise ValueError("closed_lots and winning_lots: expected both or neither")
        for name in ("returns", "closed_lots", "winning_lots", "active", "unknown", "liquid"):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name}: expected shape {shape} (sessions, strategies), got {array.shape}")
        live = np.arange(shape[0])[:, None] >= self.first_live
        gap = live & np.isnan(self.returns)
        self._refuse(gap & self.counted, "daily_return missing after the first activity (expected 0)")
        self._refuse(gap & self.active, "active in a session without a daily_return")
        self._refuse(np.isinf(self.returns), "daily_return not finite")
        self._refuse(self.returns <= -1, "daily_return of -100% or worse")
        if self.closed_lots is not None and self.winning_lots is not None:
            self._refuse(~live & (self.closed_lots != 0), "closed_lots before the first daily_return")
            self._refuse(self.winning_lots < 0, "winning_lots below 0")
            self._refuse(self.winning_lots > self.closed_lots, "more winning_lots than closed_lots")

    def of(self, strategies: Sequence[str]) -> FloatArray:
        """Returns of some strategies in their order, shape (sessions, strategies); null where they are not here."""
        place = pd.Index(self.strategies, dtype=object).get_indexer(pd.Index(strategies, dtype=object))
        returns = np.full((len(self.sessions), len(place)), np.nan)
        returns[:, place >= 0] = self.returns[:, place[place >= 0]]
        return returns

    @property
    def counted(self) -> BoolArray:
        """Whether a strategy's lots are counted, shape (N,)."""
        lots = self.closed_lots is not None
        return np.array([lots and name not in self.without_lots for name in self.strategies], dtype=np.bool_)

    @property
    def first_live(self) -> IntArray:
        """Index of each strategy's first session with a return, shape (N,); T where there is none."""
        live = ~np.isnan(self.returns)
        if not len(live):
            return np.zeros(live.shape[1], dtype=np.int64)
        return np.where(live.any(axis=0), live.argmax(axis=0), len(live))

    def live_since(self, rows: IntArray) -> IntArray:
        """First session of the unbroken returns that reach to each session.

        Parameters
        ----------
        rows : ndarray of int, shape (A,)
            Positions of sessions.

        Returns
        -------
        ndarray of int, shape (A, N)
            Beyond the session where its return is NaN: the strategy is not live, or has ended.
        """
        missing, first_live = np.isnan(self.returns), self.first_live
        since = np.broadcast_to(first_live, (len(rows), len(first_live)))
        broken = np.flatnonzero(missing.sum(axis=0) > first_live)
        if broken.size:
            place = np.arange(len(missing))[:, None]
            begun = np.maximum.accumulate(np.where(missing[:, broken], place + 1, 0), axis=0)[rows]
            since = since.copy()
            since[:, broken] = np.where(rows[:, None] < first_live[broken], first_live[broken], begun)
        return since

    @classmethod
    def from_long(cls, frame: pd.DataFrame, *, sessions: pd.DatetimeIndex | None = None) -> Self:
        """Align a long frame on sessions.

        Parameters
        ----------
        frame : DataFrame
            Columns ``session``, ``strategy``, ``daily_return``, ``closed_lots``, ``winning_lots`` and
            ``active``; one row per session and strategy, in any order. A row may be absent, or its return
            null, before the first activity. The lot counts of a strategy are null throughout when its returns were
            delivered without lots; then rows may be absent later on too.
        sessions : DatetimeIndex, optional
            The calendar to align on; by default the sessions in `frame`.

        Returns
        -------
        ReturnHistory

        Raises
        ------
        ValueError
            When a column is missing, a session is not in the calendar, a session and strategy occur twice,
            lot counts of a strategy are null in some rows only, or the result breaks a rule of the class.
        """
        columns = ("session", "strategy", "daily_return", "closed_lots", "winning_lots", "active")
        missing = [column for column in columns if column not in frame]
        if missing:
            raise ValueError(f"returns: missing columns {missing}, got {list(frame.columns)}")
        if frame["strategy"].isna().any():
            raise ValueError("strategy: expected a name in every row, found null")
        days = pd.DatetimeIndex(frame["session"])
        names = np.asarray(frame["strategy"], dtype=object)
        if sessions is None:
            sessions = days.unique().sort_values().rename(None)
        _check_sessions(sessions)
        strategies = tuple(sorted(set(names)))
        row, column = sessions.get_indexer(days), pd.Index(strategies, dtype=object).get_indexer(names)

        def refuse(bad: NDArray[np.bool_], what: str) -> None:
            if bad.any():
                k = int(np.flatnonzero(bad)[0])
                raise ValueError(f"{what}: strategy {names[k]!r}, session {days[k]}")

        refuse(row < 0, "session outside the calendar")
        refuse(
            pd.Series(row * len(strategies) + column).duplicated().to_numpy(),
            "more than one row for a session",
        )

        def spread(values: pd.Series, empty: float) -> FloatArray:
            # Strategy by strategy in memory, as the window kernel reads it.
            grid = np.full((len(sessions), len(strategies)), empty, order="F")
            grid[row, column] = values.to_numpy(dtype=np.float64, na_value=empty)
            return grid

        unknown = frame[["closed_lots", "winning_lots"]].isna().to_numpy()
        counted = np.bincount(column, weights=~unknown.all(axis=1), minlength=len(strategies)) > 0
        refuse(unknown.any(axis=1) & counted[column], "closed_lots or winning_lots null here but not everywhere")
        without_lots = frozenset(name for name, lots in zip(strategies, counted, strict=True) if not lots)
        no_lots = len(frame) > 0 and not counted.any()
        refuse(frame["active"].isna().to_numpy(), "active is null")
        return cls(
            sessions=sessions,
            strategies=strategies,
            returns=spread(frame["daily_return"], np.nan),
            closed_lots=None if no_lots else spread(frame["closed_lots"], 0.0).astype(np.int64),
            winning_lots=None if no_lots else spread(frame["winning_lots"], 0.0).astype(np.int64),
            active=spread(frame["active"], 0.0).astype(np.bool_),
            without_lots=without_lots,
        )

    def with_unknown(self, rows: pd.DataFrame) -> Self:
        """Mark sessions in which a position of a strategy is not known.

        Parameters
        ----------
        rows : DataFrame
            ``session`` and ``strategy``. Sessions that the history does not have are left aside; a strategy that it
            does not have is one without any return.
        """
        rows = rows[rows["session"].isin(self.sessions)]
        if rows.empty:
            return self
        names = tuple(sorted({*self.strategies, *rows["strategy"]}))
        place = pd.Index(names, dtype=object)
        own = place.get_indexer(pd.Index(self.strategies, dtype=object))

        def widened(values: NDArray[Any], empty: float) -> NDArray[Any]:
            wide = np.full((len(self.sessions), len(names)), empty, dtype=values.dtype, order="F")
            wide[:, own] = values
            return wide

        unknown = np.zeros((len(self.sessions), len(names)), dtype=np.bool_, order="F")
        unknown[self.sessions.get_indexer(pd.DatetimeIndex(rows["session"])), place.get_indexer(rows["strategy"])] = (
            True
        )
        return replace(
            self,
            strategies=names,
            returns=widened(self.returns, np.nan),
            closed_lots=None if self.closed_lots is None else widened(self.closed_lots, 0),
            winning_lots=None if self.winning_lots is None else widened(self.winning_lots, 0),
            active=widened(self.active, False),
            unknown=unknown,
            liquid=None if self.liquid is None else widened(self.liquid, np.nan),
        )

    def with_liquidity(self, rows: pd.DataFrame, returns: pd.DataFrame) -> Self:
        """Say how much capital the liquidity of what was traded would have been for.

        Parameters
        ----------
        rows : DataFrame
            ``session``, ``strategy``, ``quantity`` and ``usual_volume``, as
            :func:`~weights_pipeline.core.returns.liquidity.liquidity` gives them. Sessions and strategies that the
            history does not have are left aside.
        returns : DataFrame
            ``session``, ``strategy`` and ``capital`` (null while unknown) of the same sessions.
        """
        traded = rows.merge(returns[["session", "strategy", "capital"]], on=["session", "strategy"])
        row = self.sessions.get_indexer(pd.DatetimeIndex(traded["session"]))
        column = pd.Index(self.strategies, dtype=object).get_indexer(pd.Index(traded["strategy"], dtype=object))
        known = (row >= 0) & (column >= 0)
        liquid = np.full((len(self.sessions), len(self.strategies)), np.nan, order="F")
        share = traded["usual_volume"].to_numpy(np.float64) / traded["quantity"].to_numpy(np.float64)
        liquid[row[known], column[known]] = (traded["capital"].to_numpy(np.float64) * share)[known]
        return replace(self, liquid=liquid)

    @classmethod
    def from_arrays(cls, returns: ArrayLike, sessions: pd.DatetimeIndex, strategies: Sequence[str]) -> Self:
        """Take daily returns without lots.

        Parameters
        ----------
        returns : array_like, shape (T, N)
            Simple returns, each above −1; NaN before a strategy's first activity, and after they have ended.
        sessions : DatetimeIndex, shape (T,)
            Ascending, tz-naive midnights.
        strategies : sequence of str, length N
            Names of the columns, unique, in any order.

        Returns
        -------
        ReturnHistory
            Columns sorted by name; a session counts as active where the return is not 0.

        Raises
        ------
        ValueError
            When the result breaks a rule of the class.
        """
        given = np.asarray(returns, dtype=np.float64)
        shape = (len(sessions), len(strategies))
        if given.shape != shape:
            raise ValueError(f"returns: expected shape {shape} (sessions, strategies), got {given.shape}")
        order = sorted(range(len(strategies)), key=lambda column: strategies[column])
        # Strategy by strategy in memory, as the window kernel reads it.
        values = np.asfortranarray(given[:, order])
        return cls(
            sessions=sessions,
            strategies=tuple(strategies[column] for column in order),
            returns=values,
            closed_lots=None,
            winning_lots=None,
            active=~np.isnan(values) & (values != 0),
        )

    def _refuse(self, bad: BoolArray, what: str) -> None:
        if bad.any():
            t, i = (int(index[0]) for index in np.nonzero(bad))
            raise ValueError(f"{what}: strategy {self.strategies[i]!r}, session {self.sessions[t]:%Y-%m-%d}")


def _check_sessions(sessions: pd.DatetimeIndex) -> None:
    if sessions.tz is not None or not (sessions == sessions.normalize()).all():
        raise ValueError("sessions: expected tz-naive midnights")
    if not (sessions.is_monotonic_increasing and sessions.is_unique):
        raise ValueError("sessions: expected ascending and unique days")
