"""Calendars: sessions, their closes, and the zone whose dates they are.

A calendar is named by a text: a name of exchange_calendars, such as ``XNYS``, ``us_futures`` or ``24/7``, or a file of
sessions (:func:`sessions_file`).

Scope: the one place that asks the calendar library, and reads such a file. Not here: the assignment of times to
sessions, which is in ``core``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pandas as pd

from weights_pipeline.core.returns.cells import Column
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.sessions import day_start
from weights_pipeline.ledger.errors import LedgerError

ALWAYS = "24/7"
"""The calendar on which every day is a session, from midnight to midnight UTC."""

REACH = dt.timedelta(days=45)
"""From any date to past the end of its month, and the session after that."""

_YEAR = dt.timedelta(days=366)
_CLOCK = "@"
_SESSION_COLUMNS = {
    "date": Column(kind="date"),
    "open": Column(kind="time", required=False),
    "close": Column(kind="time", required=False),
}
_YEAR_DENSITY = (0.85, 1.15)


def sessions_file(file: Path, timezone: str) -> str:
    """Name the calendar whose sessions a file lists.

    Parameters
    ----------
    file
        CSV or Parquet with the column ``date`` and perhaps the instants ``open`` and ``close``. A session without a
        close ends with its date.
    timezone
        IANA zone whose dates they are, and of instants that state no offset.
    """
    return f"{file}{_CLOCK}{timezone}"


def file_of(calendar: str) -> Path | None:
    """File that lists the sessions of a calendar; None where the library knows them."""
    file, found, _ = calendar.rpartition(_CLOCK)
    return Path(file) if found else None


def calendar_sessions(calendar: str, start: dt.date, end: dt.date) -> pd.DatetimeIndex:
    """Sessions of a calendar from `start` to `end`, both included: tz-naive midnights, microseconds.

    Raises
    ------
    LedgerError
        The calendar is unknown, cannot be built, or is not recorded over these dates.
    """
    return pd.DatetimeIndex(session_hours(calendar, start, end).index)


def session_closes(calendar: str, start: dt.date, end: dt.date) -> pd.Series:
    """Return the closing instants, tz-naive UTC, by session; otherwise as `calendar_sessions`."""
    return session_hours(calendar, start, end)["close"]


def session_hours(calendar: str, start: dt.date, end: dt.date) -> pd.DataFrame:
    """Return the instants of ``open`` and ``close``, tz-naive UTC, by session; otherwise as `calendar_sessions`."""
    hours = _hours_over(calendar, start, end)
    first, after = hours.index.searchsorted([pd.Timestamp(start), pd.Timestamp(end) + pd.Timedelta(days=1)])
    return hours.iloc[first:after]


def sessions_past(calendar: str, start: dt.date, day: dt.date) -> pd.DatetimeIndex:
    """Sessions from `start` to past a day: to 45 days after it as far as they are recorded, and at least one after it.

    Raises
    ------
    LedgerError
        No session after the day is recorded; otherwise as :func:`calendar_sessions`.
    """
    _, high = recorded_bounds(calendar)
    sessions = calendar_sessions(calendar, start, min(day + REACH, high))
    if not len(sessions) or sessions[-1].date() <= day:
        raise _unrecorded(calendar, f"a session after {day}")
    return sessions


def observed_sessions(calendar: str, frequency: Frequency, sessions: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Those of some sessions without a gap that returns stand on; whether a month is over the calendar says."""
    if not frequency.monthly or not len(sessions):
        return sessions
    _, high = recorded_bounds(calendar)
    reach = calendar_sessions(calendar, sessions[0].date(), min(sessions[-1].date() + REACH, high))
    return frequency.observed(reach).intersection(sessions)


@dataclass(frozen=True)
class SessionSpan:
    """The sessions that close in a span of time.

    Attributes
    ----------
    first, after
        First session that closes after the start, and first one that closes after the end; where none is recorded, the
        day after the calendar's last one.
    settled
        End of the last session's day at the exchange, but no later than the end of the span.
    """

    first: dt.date
    after: dt.date
    settled: dt.datetime


def session_span(calendar: str, start: dt.datetime, end: dt.datetime) -> SessionSpan:
    """Sessions that have closed by the end of a span of time and had not by its start; zone-aware instants.

    Raises
    ------
    LedgerError
        The span reaches beyond what is recorded.
    """
    low, high = recorded_bounds(calendar)
    zone = ZoneInfo(exchange_timezone(calendar))
    if end > recorded_until(calendar) or start.astimezone(zone).date() < low:
        raise _unrecorded(calendar, f"{start:%Y-%m-%d} to {end:%Y-%m-%d}")
    closes = _hours_over(calendar, start.astimezone(zone).date(), min(end.date() + REACH, high))["close"]
    first, after = (int(closes.searchsorted(_utc(instant), side="right")) for instant in (start, end))
    settled = end
    if after > first:
        day_after = closes.index[after - 1].date() + dt.timedelta(days=1)
        settled = min(end, dt.datetime.combine(day_after, dt.time(), tzinfo=zone).astimezone(end.tzinfo))
    days = [closes.index[at].date() if at < len(closes) else high + dt.timedelta(days=1) for at in (first, after)]
    return SessionSpan(days[0], days[1], settled)


def closes_from(calendar: str, day: dt.date) -> Iterator[dt.datetime]:
    """Instants at which sessions close, from the last session before a day on, as far as they are recorded.

    Raises
    ------
    LedgerError
        There is no session before that day, or it is not recorded.
    """
    low, high = recorded_bounds(calendar)
    earlier = calendar_sessions(calendar, max(low, day - _YEAR), day) if low < day <= high else pd.DatetimeIndex([])
    earlier = earlier[earlier < pd.Timestamp(day)]
    if earlier.empty:
        raise _unrecorded(calendar, f"a session before {day}, to count from,")
    start = earlier[-1].date()
    while start <= high:
        end = min(dt.date(start.year // 10 * 10 + 9, 12, 31), high)
        yield from (close.replace(tzinfo=dt.UTC) for close in session_closes(calendar, start, end).dt.to_pydatetime())
        start = end + dt.timedelta(days=1)


def _utc(instant: dt.datetime) -> pd.Timestamp:
    return pd.Timestamp(instant).tz_convert("UTC").tz_localize(None)


def exchange_timezone(calendar: str) -> str:
    """IANA zone of a calendar, which says on which date something happened there."""
    return calendar.rpartition(_CLOCK)[2] if file_of(calendar) else str(_some_years(calendar).tz)


def default_per_year(calendar: str) -> int:
    """Sessions a year where a ledger does not say: 365 of ``24/7``, 252 of any other calendar."""
    return 365 if calendar == ALWAYS else int(DAILY.per_year)


def recorded_bounds(calendar: str) -> tuple[dt.date, dt.date]:
    """First and last day that a calendar is recorded for, within the years that a ledger may speak of.

    A file of sessions is taken for complete from the month of its first one on.
    """
    if file_of(calendar):
        sessions = _listed(calendar).index
        # A month begins with the first session that is listed of it.
        return sessions[0].date().replace(day=1), sessions[-1].date()
    kind = type(_some_years(calendar))
    low, high = kind.bound_min(), kind.bound_max()
    return low.date() if low else dt.date(1900, 1, 1), high.date() if high else dt.date(2199, 12, 31)


def recorded_until(calendar: str) -> dt.datetime:
    """Instant at which the last day that a calendar is recorded for is over."""
    _, high = recorded_bounds(calendar)
    zone = ZoneInfo(exchange_timezone(calendar))
    return dt.datetime.combine(high + dt.timedelta(days=1), dt.time(), tzinfo=zone)


def require_calendar(calendar: str, *, per_year: float | None = None) -> None:
    """Refuse a calendar that is unknown, or that cannot be built.

    Parameters
    ----------
    calendar
        Its name.
    per_year
        Sessions a year as a ledger says; where it does not, a file of sessions has to have about 252.
    """
    recorded_bounds(calendar)
    if file_of(calendar) and per_year is None:
        _require_density(calendar)


def _require_density(calendar: str) -> None:
    """Refuse a file of far more or fewer than 252 sessions a year: every annual figure would be wrong by it."""
    low, high = recorded_bounds(calendar)
    years = ((high - low).days + 1) / 365.25
    found, (least, most) = len(_listed(calendar)) / years, (share * DAILY.per_year for share in _YEAR_DENSITY)
    if years >= 1 and not least <= found <= most:
        raise LedgerError(
            f"calendar: {shown(calendar)} lists {found:.0f} sessions a year, where {DAILY.per_year:g} are assumed; "
            f"say how many make a year: sessions_per_year: {found:.0f}"
        )


def _hours_over(calendar: str, start: dt.date, end: dt.date) -> pd.DataFrame:
    """Hours by session, of whole decades around two days: a run asks for a dozen spans of years."""
    low, high = recorded_bounds(calendar)
    if start < low or end > high:
        raise _unrecorded(calendar, f"{start} to {end}")
    return _listed(calendar) if file_of(calendar) else _recorded(calendar, start.year // 10, end.year // 10)


def _unrecorded(calendar: str, asked: str) -> LedgerError:
    low, high = recorded_bounds(calendar)
    where = f"{shown(calendar)} is recorded from {low} to {high}"
    remedy = (
        "add the sessions to the file"
        if file_of(calendar)
        else "upgrade exchange_calendars, or list the sessions yourself: calendar: {custom: {file: sessions.csv}}"
    )
    return LedgerError(f"calendar: {where}; {asked} was asked for: {remedy}")


def shown(calendar: str) -> str:
    """Calendar as a person calls it: its name, or the file that lists its sessions."""
    return calendar.rpartition(_CLOCK)[0] if file_of(calendar) else calendar


_KEPT: dict[str, tuple[int, int, pd.DataFrame]] = {}
"""By calendar: its first and last decade that were built so far, and the hours of these."""
_USUAL = (201, 203)
"""Decades that hardly anybody asks beyond."""


def _recorded(name: str, first_decade: int, last_decade: int) -> pd.DataFrame:
    """Hours of a calendar of the library over decades at least, built once: a build costs the same however long."""
    _some_years(name)
    first, last, hours = _KEPT.get(name, (first_decade, last_decade, None))
    if hours is None or first_decade < first or last_decade > last:
        # Whoever asks for a past decade asks for the one around the newest session next.
        first, last = min(first, first_decade), max(last, last_decade + 1)
        hours = _built(name, first, last)
        _KEPT[name] = first, last, hours
    return hours


def _built(name: str, first_decade: int, last_decade: int) -> pd.DataFrame:
    """Hours of a calendar of the library over whole decades, as far as it is recorded."""
    low, high = recorded_bounds(name)
    start, end = max(dt.date(10 * first_decade, 1, 1), low), min(dt.date(10 * last_decade + 9, 12, 31), high)
    return _hours(_opened(name, start, end))


def _hours(calendar: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.DatetimeIndex(instants).tz_convert("UTC").tz_localize(None).as_unit("us")
            for name, instants in (("open", calendar.opens), ("close", calendar.closes))
        },
        index=pd.DatetimeIndex(calendar.sessions.to_numpy(dtype="datetime64[us]")),
    )


@lru_cache(maxsize=64)
def _some_years(name: str) -> Any:
    """Open a calendar over fixed years, whose hours are kept; the default range would depend on the clock."""
    if name not in exchange_calendars.get_calendar_names():
        raise LedgerError(f"calendar: {name!r} is not known to exchange_calendars; expected a name such as XNYS")
    first, last = _USUAL
    try:
        calendar = _opened(name, dt.date(10 * first, 1, 1), dt.date(10 * last + 9, 12, 31))
    except LedgerError:
        # Not every calendar is recorded so far; this year is in all of them.
        return _opened(name, dt.date(2024, 1, 1), dt.date(2024, 12, 31))
    _KEPT.setdefault(name, (first, last, _hours(calendar)))
    return calendar


def _opened(name: str, start: dt.date, end: dt.date) -> Any:
    try:
        return exchange_calendars.get_calendar(name, start=str(start), end=str(end))
    except Exception as error:
        # The library promises no kind of error where its rules and those of pandas do not agree.
        raise LedgerError(
            f"calendar: exchange_calendars {exchange_calendars.__version__} cannot build the sessions of {name} from "
            f"{start} to {end} ({type(error).__name__}); upgrade it, or list the sessions yourself: "
            "calendar: {custom: {file: sessions.csv}}"
        ) from error


def _listed(calendar: str) -> pd.DataFrame:
    """Hours that a file lists, by session; read again whenever the file has changed."""
    file, _, timezone = calendar.rpartition(_CLOCK)
    try:
        stat = Path(file).stat()
    except OSError as error:
        raise LedgerError(f"calendar: {file} cannot be read: {error}") from error
    return _read(Path(file), timezone, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _read(file: Path, timezone: str, changed: int, size: int) -> pd.DataFrame:
    # The reading of files knows what a source may say of them, and a source knows its calendar.
    from weights_pipeline.ledger.flawless import flawless_rows

    rows, line = flawless_rows(file.parent, file.name, _SESSION_COLUMNS, timezone=timezone)
    order = np.argsort(rows["date"].to_numpy(), kind="stable")
    rows, line = rows.iloc[order].reset_index(drop=True), line[order]
    days = pd.DatetimeIndex(rows["date"])
    begun, over = day_start(days, timezone), day_start(days + pd.Timedelta(days=1), timezone)
    opened, close = (rows[name].fillna(pd.Series(edge)) for name, edge in (("open", begun), ("close", over)))
    wrong = [
        (days.duplicated(), "date: occurs twice"),
        (((close > over) | (close <= begun)).to_numpy(), f"close: is not on its date in {timezone}"),
        ((opened >= close).to_numpy(), "open: is not before close"),
        ((rows["open"] < close.shift()).to_numpy(), "open: is before the close of the session before"),
    ]
    if flaws := [f"line {line[row]}: {what}" for mask, what in wrong for row in np.flatnonzero(mask)]:
        raise LedgerError(f"calendar: {file}: {len(flaws)} sessions to correct: {'; '.join(flaws[:5])}")
    hours = {name: pd.DatetimeIndex(edge).as_unit("us") for name, edge in (("open", opened), ("close", close))}
    return pd.DataFrame(hours, index=days.as_unit("us").rename(None))
