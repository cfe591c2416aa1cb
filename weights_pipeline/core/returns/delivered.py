"""Returns as they are delivered, in place of trades: brought onto sessions, ended where they end, and looked through.

Scope: which session a dated return belongs to, several of one session compounded, sessions without a value, series that
have ended, and the scale of returns. Not here: how a row is read, and returns computed from lots (``daily``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.columns import in_order
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.frequency import Frequency

Floats = NDArray[np.float64]

MOST_BLANK = 0.01
"""Share of sessions without a value above which a series is worth a look."""

MEDIAN_RETURN, LARGEST_RETURN, TIMES_OTHERS = 0.05, 1.0, 50.0
"""What a series of fractions stays below: median and largest size of a daily return, and times the others' median."""

_PERCENT = 100.0


def observation_of(dates: pd.Series, sessions: pd.DatetimeIndex, frequency: Frequency) -> pd.DatetimeIndex:
    """Session that the return of each date stands on.

    That of a day is the first session on or after it, so that what a weekend earns is part of the next session's
    return; that of a month is the month's last session, on whatever day of it the return is dated.

    Parameters
    ----------
    dates : Series, shape (n,)
        tz-naive midnights; null stays null.
    sessions : DatetimeIndex
        Sessions that returns stand on, ascending; see :meth:`Frequency.observed`.
    frequency : Frequency

    Returns
    -------
    DatetimeIndex, shape (n,)
        Null where there is no such session.
    """
    days = pd.DatetimeIndex(dates)
    if frequency.monthly:
        place = (sessions.year * 12 + sessions.month).get_indexer(days.year * 12 + days.month)
    else:
        place = sessions.searchsorted(days)
        place = np.where(np.asarray(days < sessions[0]) | (place == len(sessions)), -1, place)
    known = np.asarray(days.notna()) & (place >= 0)
    return pd.DatetimeIndex(sessions.take(np.where(known, place, 0)).where(known))


def compounded(returns: pd.DataFrame) -> pd.DataFrame:
    """One return per strategy and session: Π(1 + r) − 1 of those that stand on it, in order of their dates.

    Parameters
    ----------
    returns : DataFrame
        ``date``, ``strategy``, ``daily_return`` and ``session``, without nulls; a strategy has each date once.

    Returns
    -------
    DataFrame
        ``session``, ``strategy``, ``daily_return``, by session and strategy. A return that stands alone is as it was,
        to the bit.
    """
    rows = in_order(returns, ["session", "strategy", "date"])
    alone = ~rows.duplicated(["session", "strategy"]).to_numpy()
    place = np.cumsum(alone) - 1
    number = np.arange(len(rows)) - np.flatnonzero(alone)[place]
    value = rows["daily_return"].to_numpy(np.float64)
    total = value[alone].copy()
    for nth in range(1, int(number.max(initial=0)) + 1):
        at, more = place[number == nth], value[number == nth]
        # (1 + a)(1 + b) − 1 without the digits that adding 1 would cost.
        total[at] += more + total[at] * more
    first = {name: rows[name].array[alone] for name in ("session", "strategy")}
    return pd.DataFrame(first | {"daily_return": total})


def delivered(given: pd.DataFrame, sessions: pd.DatetimeIndex, ended_after: int | None) -> pd.DataFrame:
    """Returns of every session on which a series is live.

    A series is live from its first value on. A session without one is a return of 0, until there has been none for so
    many sessions: from then on the series has ended. Whether it has is known on the session itself, and never revised.

    Parameters
    ----------
    given : DataFrame
        ``session``, ``strategy``, ``daily_return``, from the first session on.
    sessions : DatetimeIndex, shape (T,)
        Sessions that returns stand on, ascending.
    ended_after : int, optional
        See :attr:`Frequency.ended_after`; None where a series never ends.

    Returns
    -------
    DataFrame, shape (T, strategies)
        Null where a series is not live.
    """
    spread, age = _aged(given, sessions)
    live = age >= 0 if ended_after is None else (age >= 0) & (age < ended_after)
    return spread.fillna(0.0).where(live)


def delivery_findings(
    returns: pd.DataFrame, sessions: pd.DatetimeIndex, frequency: Frequency, horizon: pd.Timestamp
) -> list[LedgerFinding]:
    """What there is to say of delivered returns: days off the calendar, blanks, series that have ended, and scale.

    Parameters
    ----------
    returns : DataFrame
        Accepted rows: ``date``, ``strategy``, ``daily_return``, ``session``, ``source_file`` and ``line``.
    sessions : DatetimeIndex
        Sessions that returns stand on, ascending.
    frequency : Frequency
    horizon : Timestamp
        Day up to which the ledger is read: a series without a value for long by then has ended.
    """
    if returns.empty:
        return []
    newest = returns["session"].max()
    spread, age = _aged(compounded(returns), sessions)
    lived, over = (int(sessions.searchsorted(day, side="right")) for day in (newest, horizon))
    return [
        *(() if frequency.monthly else _off_calendar(returns)),
        *_blanks(spread.iloc[:lived], age[:lived], frequency, newest),
        *_ended(spread.iloc[:over], age[:over], frequency),
        *_scales(returns, frequency),
    ]


class OddScale(NamedTuple):
    """A series whose returns are of another size than fractions, or than those of other series.

    Attributes
    ----------
    strategy
        Whose.
    median, largest
        Median and largest size of its returns.
    times_others
        Its median over the median of the other series' medians; NaN where there are no others.
    factor
        Power of ten that it seems to be too large by; 1 where only single returns are large.
    """

    strategy: str
    median: float
    largest: float
    times_others: float
    factor: float


def odd_scales(returns: Mapping[str, Floats], frequency: Frequency) -> list[OddScale]:
    """Series of returns whose size is not that of fractions, or not that of the others.

    Parameters
    ----------
    returns : mapping of str to ndarray
        Returns by strategy; zeros and nulls say nothing of scale.
    frequency : Frequency
        The median that a series stays below is 5% of a day's sessions, and as many times that as a longer period is
        wider (by the square root of time).

    Returns
    -------
    list of OddScale
        By name.
    """
    sizes = {name: np.abs(values[np.isfinite(values) & (values != 0)]) for name, values in sorted(returns.items())}
    sizes = {name: size for name, size in sizes.items() if len(size)}
    median = {name: float(np.median(size)) for name, size in sizes.items()}
    most = MEDIAN_RETURN * (np.sqrt(252 / frequency.per_year) if frequency.monthly else 1.0)
    odd = []
    for name, size in sizes.items():
        others = [value for other, value in median.items() if other != name]
        times = median[name] / float(np.median(others)) if others else np.nan
        wide = median[name] > most or times >= TIMES_OTHERS
        largest = float(size.max())
        if wide or largest > LARGEST_RETURN:
            factor = 10.0 ** round(np.log10(times)) if times >= TIMES_OTHERS else _PERCENT if wide else 1.0
            odd.append(OddScale(name, median[name], largest, times, factor))
    return odd


def _aged(given: pd.DataFrame, sessions: pd.DatetimeIndex) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Values, sessions × strategies, and sessions since the newest one: −1 before the first, 0 where there is one."""
    code, names = pd.factorize(given["strategy"], sort=True)
    at = sessions.get_indexer(pd.DatetimeIndex(given["session"]))
    values = np.full((len(sessions), len(names)), np.nan)
    values[at[at >= 0], code[at >= 0]] = given["daily_return"].to_numpy(np.float64)[at >= 0]
    spread = pd.DataFrame(values, index=sessions, columns=pd.Index(names, name="strategy"))
    place = np.arange(len(sessions))[:, None]
    newest = np.maximum.accumulate(np.where(spread.notna().to_numpy(), place, -1), axis=0)
    return spread, np.where(newest < 0, -1, place - newest)


def _off_calendar(returns: pd.DataFrame) -> Iterable[LedgerFinding]:
    off = returns[returns["date"] != returns["session"]]
    for strategy, rows in off.groupby("strategy"):
        first, of = rows.sort_values("date").iloc[0], int((returns["strategy"] == strategy).sum())
        yield LedgerFinding(
            code="returns_off_calendar",
            strategy=str(strategy),
            since=first["session"],
            source_file=first["source_file"],
            line=int(first["line"]),
            message=f"{len(rows)} of {of} returns are dated on days without a session, the first on "
            f"{first['date']:%Y-%m-%d}; each is compounded into the next session",
            figures={"rows": len(rows), "of": of},
            setting="calendar: 24/7, where every day is a session",
        )


def _blanks(
    spread: pd.DataFrame, age: NDArray[np.int64], frequency: Frequency, newest: pd.Timestamp
) -> Iterable[LedgerFinding]:
    for column, strategy in enumerate(spread.columns):
        lived, blank = int((age[:, column] >= 0).sum()), int((age[:, column] > 0).sum())
        if blank > MOST_BLANK * lived:
            since = spread.index[int(np.argmax(age[:, column] > 0))]
            yield LedgerFinding(
                code="returns_gap",
                strategy=str(strategy),
                since=since,
                message=f"{blank} of {lived} {frequency.unit}s from its first value to {newest:%Y-%m-%d} have none, "
                f"the first {since:%Y-%m-%d}; each counts as a return of 0",
                figures={"blank": blank, "of": lived},
                setting="write 0 where it earned nothing, and the return where it is missing",
            )


def _ended(spread: pd.DataFrame, age: NDArray[np.int64], frequency: Frequency) -> Iterable[LedgerFinding]:
    if not len(spread):
        return
    for column, strategy in enumerate(spread.columns):
        if age[-1, column] < frequency.ended_after:
            continue
        last = len(age) - 1 - int(age[-1, column])
        since = spread.index[last + frequency.ended_after]
        yield LedgerFinding(
            code="series_ended",
            strategy=str(strategy),
            since=since,
            message=f"its last return is of {spread.index[last]:%Y-%m-%d}; from {since:%Y-%m-%d} on it has none, and "
            "its metrics are null",
            figures={"without": int(age[-1, column])},
            setting="deliver its returns, or take it out of the books",
        )


def _scales(returns: pd.DataFrame, frequency: Frequency) -> Iterable[LedgerFinding]:
    by_strategy = {str(name): rows["daily_return"].to_numpy() for name, rows in returns.groupby("strategy")}
    for row in odd_scales(by_strategy, frequency):
        own = returns[returns["strategy"] == row.strategy]
        largest = own.iloc[int(own["daily_return"].abs().to_numpy().argmax())]
        beside = "" if np.isnan(row.times_others) else f", {row.times_others:.3g} times that of the other series"
        said = f"the median size of its returns is {row.median:.4g}{beside}, the largest is {row.largest:.4g}"
        percent = row.factor == _PERCENT
        yield LedgerFinding(
            code="scale",
            strategy=row.strategy,
            since=own["session"].min(),
            source_file=largest["source_file"],
            line=int(largest["line"]),
            message=said
            if row.factor == 1
            else f"{said}: too large by {row.factor:g}, it seems"
            + (" (percent in place of fractions)" if percent else ""),
            figures={"median": row.median, "largest": row.largest, "factor": row.factor},
            setting="write returns as fractions: 0.01 is 1%",
        )
