"""Cells of a ledger: text read into numbers, times and dates, or a fault that says what would read it.

Scope: how one cell is read, whatever row it stands in. Not here: what a row must say (``lots``), nor files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import pandas_dtype

from weights_pipeline.core.returns.sessions import day_start, to_utc

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

MAX_MAGNITUDE = 1e150
"""Largest number a ledger may hold: the product of any two stays finite."""

EPOCHS: Mapping[str, int] = {"seconds": -6, "milliseconds": -3, "microseconds": 0, "nanoseconds": 3}
"""Units in which times are counted since 1970, UTC, and the decimal places of a microsecond in each. With ``local_``
before it, the count is of a clock that shows the source's zone."""

ZONES = pd.Timedelta(hours=14)
"""No zone is further from UTC, so that a wall clock without its zone is at most so far off."""


class Fault(NamedTuple):
    """One reason against one row: its position, the stable code, and the same in words."""

    row: int
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column of a ledger holds: how its cells are read, and whether it has to be there and filled."""

    kind: Literal["text", "number", "time", "date"]
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class Formats:
    """How a file writes numbers and times.

    Attributes
    ----------
    decimal, thousands
        Decimal mark, and what separates groups of three digits; nothing does when empty.
    currency_signs
        Signs taken off a number, such as ``$`` or ``EUR``.
    negatives
        Ways of writing a negative number beside a leading hyphen: ``parentheses``, ``trailing`` (``5-``) and
        ``minus_sign`` (U+2212).
    unsigned
        Columns of numbers whose sign says nothing: their size is taken.
    time_format
        Formats of times and dates, the first that reads one: as of ``strptime``, or one of `EPOCHS`. ISO 8601 when
        empty.
    settable
        Whether a source says this, and could say otherwise: faults name the setting that would read a cell.
    timezone
        IANA zone of times that do not state theirs.
    exchange_timezone
        IANA zone in which a date alone is read as that day's midnight, so that a date names its own session wherever
        the ledger was written.
    """

    decimal: str = "."
    thousands: str = ""
    currency_signs: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    time_format: tuple[str, ...] = ()
    settable: bool = False
    timezone: str = "UTC"
    exchange_timezone: str = "UTC"


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Cells, read.

    Attributes
    ----------
    typed : DataFrame, shape (n, columns)
        ``str``, ``float64`` (finite or NaN, never −0.0) and ``datetime64[us]`` columns. Times are tz-naive UTC, cut to
        the microsecond; dates are midnights.
    faults : list of Fault
        In the order of the columns.
    days : DataFrame of bool, shape (n, time columns)
        Whether a time is a date alone, or was read as one.
    as_days : ndarray of bool, shape (n,)
        Rows of files whose every time is a midnight, and was read as the date that it is written with.
    near : DataFrame of datetime64[us], shape (n, columns)
        Wall clock of a time that the change of clocks leaves open, at most `ZONES` off; otherwise null. Of time columns
        that have such times.
    """

    typed: pd.DataFrame
    faults: list[Fault]
    days: pd.DataFrame
    as_days: Mask
    near: pd.DataFrame


_DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NON_FINITE = r"(?i)[+-]?(?:nan|inf|infinity)"
_DAY = r"(?:19|20|21)[0-9]{2}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4})"
_CLOCK = r"[T ][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
_OFFSET = r" ?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_MIDNIGHT = r"[T ]00:?00(?::?00(?:\.0{1,9})?)?(?:Z|\+00:?00)?"
_ANY_MIDNIGHT = rf"[T ]00(?::?00(?::?00(?:\.0{{1,9}})?)?)?(?:{_OFFSET})?"
_DAYS = f"{_DAY}(?:{_ANY_MIDNIGHT})?"
_EARLIEST, _LATEST = pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")

_Finding = tuple[Mask, str, str]


def parse_cells(
    cells: pd.DataFrame,
    columns: Mapping[str, Column],
    formats: Formats,
    file: Indices | None = None,
    beside: Mapping[int, pd.DataFrame] | None = None,
) -> Parsed:
    """Read text cells into typed columns; a cell that cannot be read is null and has a `Fault`.

    Parameters
    ----------
    cells : DataFrame of str, shape (n, …)
        Raw cells with a positional index; null or blank is empty. Columns not in `columns` are not looked at,
        absent ones count as empty.
    columns : mapping of str to Column
        What to read.
    formats : Formats
        How numbers and times are written.
    file : ndarray of int, shape (n,), optional
        Which file each row is of; one when left out. A file whose every time is a midnight holds dates.
    beside : mapping of int to DataFrame, optional
        Rows of files that are not to be read, which may hold times of day.
    """
    typed: dict[str, Any] = {}
    faults: list[Fault] = []
    blank = pd.Series(np.nan, index=cells.index, dtype="str")
    texts = {name: _text(cells[name], blank) if name in cells else blank for name in columns}
    times = [name for name, column in columns.items() if column.kind == "time"]
    as_days = _days_alone([texts[name] for name in times], file, len(cells), formats)
    for number, others in (beside or {}).items():
        if as_days.any() and not all(_midnights(_text(others[name], blank)) for name in times if name in others):
            as_days &= file != number
    days, near = dict[str, Any](), dict[str, Any]()
    for name, column in columns.items():
        text = texts[name]
        given = ~text.array.isna()
        if column.required:
            faults += against(~given, f"missing_{name}", f"{name}: is empty")
        findings: list[_Finding] = []
        if column.kind == "text":
            typed[name] = text
        elif column.kind == "number":
            typed[name], findings = _numbers(text, given, formats)
            if name in formats.unsigned:
                typed[name] = np.abs(typed[name])
        elif column.kind == "time":
            typed[name], days[name], open_clock, findings = _times(text, given, formats, as_days)
            if open_clock is not None:
                near[name] = open_clock
        else:
            typed[name], findings = _dates(text, given, formats)
        for mask, code, says in findings:
            if not mask.any():
                continue
            hints = text[mask].map(_number_hint) if code == "not_a_number" and formats.settable else None
            said = says.replace("{", "{{").replace("}", "}}") + ("" if hints is None else "{}")
            faults += against(mask, code, f"{name}: {{!r}} {said}", text, hints)
    found, alone, open_clocks = (pd.DataFrame(of, index=cells.index, copy=False) for of in (typed, days, near))
    return Parsed(typed=found, faults=faults, days=alone, as_days=as_days, near=open_clocks)


def against(mask: pd.Series | Mask, code: str, template: str, *columns: pd.Series | None) -> list[Fault]:
    """One fault per marked row; the detail is the template with the row's cells of `columns`."""
    rows = np.flatnonzero(mask).tolist()
    if not rows:
        return []
    shown = [column for column in columns if column is not None]
    cells = zip(*(column.loc[rows] for column in shown), strict=True) if shown else [()] * len(rows)
    return [Fault(row, code, template.format(*cell)) for row, cell in zip(rows, cells, strict=True)]


def _text(cells: pd.Series, blank: pd.Series) -> pd.Series:
    """Cells without the spaces around them, the empty ones null; `blank` where all are, and no copy where none is."""
    if cells.array.isna().all():
        return blank
    text = cells.str.strip()
    if text.equals(cells):
        text = cells
    empty = (text == "").to_numpy()
    return text.mask(empty) if empty.any() else text


def _plain(text: pd.Series, formats: Formats) -> pd.Series:
    """Numbers as a file writes them, rewritten as plain decimals; what is no such number stays as it is."""
    for sign in formats.currency_signs:
        text = text.str.replace(sign, "", regex=False).str.strip()
    if "minus_sign" in formats.negatives:
        text = text.str.replace("\u2212", "-", regex=False)
    if "parentheses" in formats.negatives:
        text = text.str.replace(r"^\(([^()+-]*)\)$", r"-\1", regex=True)
    if "trailing" in formats.negatives:
        text = text.str.replace(r"^([^+-]*)-$", r"-\1", regex=True)
    mark, group = re.escape(formats.decimal), re.escape(formats.thousands)
    if group:
        grouped = text.str.fullmatch(rf"[+-]?[0-9]{{1,3}}(?:{group}[0-9]{{3}})+(?:{mark}[0-9]*)?", na=False)
        text = text.where(~grouped, text.str.replace(formats.thousands, "", regex=False))
    if formats.decimal != ".":
        # Swapped, so that a point where none belongs is no number.
        text = text.str.translate(str.maketrans(f"{formats.decimal}.", f".{formats.decimal}"))
    return text


def _numbers(text: pd.Series, given: Mask, formats: Formats) -> tuple[Floats, list[_Finding]]:
    if not given.any():
        return np.full(len(text), np.nan), []
    if formats.decimal != "." or formats.thousands or formats.currency_signs or formats.negatives:
        text = _plain(text, formats)
    other, non_finite = np.zeros((2, len(text)), dtype=bool)
    try:
        values = _cast(text)
        plain = bool(np.isfinite(values[given]).all())
    except ValueError:
        plain = False
    if not plain:
        decimal = _matches(text, _DECIMAL)
        other = given & ~decimal
        non_finite[other] = _matches(text[other], _NON_FINITE)
        values = _cast(text.where(decimal))
    too_large = np.abs(values) > MAX_MAGNITUDE
    values[too_large] = np.nan
    return values, [
        (other & ~non_finite, "not_a_number", "is not a plain decimal number"),
        (non_finite, "non_finite", "is not finite"),
        (too_large, "non_finite", f"is too large, above {MAX_MAGNITUDE:g}"),
    ]


def _cast(text: pd.Series) -> Floats:
    """Numbers as Arrow reads them: rounded correctly, as by float(), in a twentieth of the time.

    What it takes is a plain decimal or not finite; anything else is a ``ValueError``. + 0.0 makes −0.0 a 0.0.
    """
    cast = text.astype("double[pyarrow]")
    return np.asarray(cast.to_numpy(dtype=float, na_value=np.nan) + 0.0, dtype=float)


_HINTS = (
    (r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?", 'thousands: ","'),
    (r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]*", 'decimal: "," and thousands: "."'),
    (r"[+-]?[0-9]*,[0-9]+", 'decimal: ","'),
    (r"[+-]?[0-9]{1,3}(?: [0-9]{3})+(?:[.,][0-9]*)?", 'thousands: " "'),
    ("[+-]?[0-9]{1,3}(?:\u00a0[0-9]{3})+(?:[.,][0-9]*)?", 'thousands: "\\u00A0"'),
    ("[+-]?[0-9]{1,3}(?:\u202f[0-9]{3})+(?:[.,][0-9]*)?", 'thousands: "\\u202F"'),
    (r"[+-]?[0-9]{1,3}(?:'[0-9]{3})+(?:[.,][0-9]*)?", 'thousands: "\'"'),
    (r"\([^()]*[0-9][^()]*\)", "negatives: [parentheses]"),
    (r"[0-9.,]+-", "negatives: [trailing]"),
    ("\u2212[0-9.,]+", "negatives: [minus_sign]"),
)


def _number_hint(text: str) -> str:
    """The setting that would read a number written otherwise, as the end of a sentence."""
    for pattern, setting in _HINTS:
        if re.fullmatch(pattern, text):
            return f"; the setting `{setting}` reads it"
    sign = re.fullmatch(
        r"[+-]?([^\w\s.,+()%-]+|[A-Za-z]{3}) ?[0-9][0-9.,]*|[0-9][0-9.,]* ?([^\w\s.,+()%-]+|[A-Z]{3})", text
    )
    if sign:
        return f"; the setting `currency_signs: [{sign[1] or sign[2]!r}]` reads it"
    return "; say under `values` what it stands for"


def _days_alone(texts: list[pd.Series], file: Indices | None, rows: int, formats: Formats) -> Mask:
    """Rows of files all of whose times are written as midnights, and not all as dates alone."""
    none = np.zeros(rows, dtype=bool)
    if formats.time_format or not texts or not rows:
        return none
    code = np.zeros(rows, dtype=np.intp) if file is None else file
    first = np.unique(code, return_index=True)[1]
    # A file that begins with a time of day holds no dates alone, and most do.
    if not any(pd.isna(cell) or re.fullmatch(_DAYS, cell) for text in texts for cell in text.iloc[first]):
        return none
    broken, clocked = none.copy(), none.copy()
    for text in texts:
        clocked |= _matches(text, _DAY + _ANY_MIDNIGHT)
        broken |= text.notna().to_numpy() & ~_matches(text, _DAYS)
    size = int(code.max()) + 1
    timed = np.bincount(code, weights=broken, minlength=size) > 0
    some = np.bincount(code, weights=clocked, minlength=size) > 0
    return np.asarray((some & ~timed)[code])


def _midnights(text: pd.Series) -> bool:
    return bool((text.isna().to_numpy() | _matches(text, _DAYS)).all())


def _times(
    text: pd.Series, given: Mask, formats: Formats, as_days: Mask
) -> tuple[pd.DatetimeIndex, Mask, pd.DatetimeIndex | None, list[_Finding]]:
    if not given.any():
        never = pd.DatetimeIndex(np.full(len(text), np.datetime64("NaT", "us")))
        return never, np.zeros(len(text), dtype=bool), None, []
    if formats.time_format:
        stated, offset, clocked = _formatted(text, formats.time_format)
        read = np.asarray(stated.notna())
        date_only, wall_clock = read & ~clocked, read & clocked & ~offset
    elif not as_days.any() and (alike := _alike(text)):
        stated = alike.times
        date_only, offset, wall_clock = (given & (alike.written == how) for how in ("date", "offset", "clock"))
    else:
        date_only, offset, wall_clock = _of_one(text, given, _DAY, _DAY + _CLOCK + _OFFSET, _DAY + _CLOCK)
        if as_days.any():
            text = text.where(~as_days, text.str.extract(f"^({_DAY})", expand=False))
            date_only, wall_clock, offset = (date_only | as_days) & given, wall_clock & ~as_days, offset & ~as_days
        stated = _parsed(text.where(date_only | wall_clock | offset))
    unparseable = given & np.asarray(stated.isna())
    utc = stated
    ambiguous, nonexistent = np.zeros((2, len(text)), dtype=bool)
    if wall_clock.any():
        local = to_utc(pd.DatetimeIndex(stated.where(wall_clock)), formats.timezone)
        ambiguous, nonexistent = local.ambiguous, local.nonexistent
        utc = utc.where(~wall_clock, local.utc)
    if date_only.any():
        midnight = day_start(pd.DatetimeIndex(stated.where(date_only)), formats.exchange_timezone)
        utc = utc.where(~date_only | offset, midnight)
    expected = (
        f"as time_format {', '.join(map(repr, formats.time_format))} says"
        if formats.time_format
        else "an ISO 8601 time such as 2024-03-15T14:30:00-04:00"
    )
    hint = "; a `time_format` reads others" if formats.settable and not formats.time_format else ""
    zone = formats.timezone
    return (
        pd.DatetimeIndex(utc),
        date_only & ~unparseable,
        pd.DatetimeIndex(stated.where(ambiguous | nonexistent)) if (ambiguous | nonexistent).any() else None,
        [
            (unparseable, "unparseable_time", f"is not {expected}{hint}"),
            (ambiguous, "ambiguous_time", f"occurs twice in {zone}: state its offset from UTC"),
            (nonexistent, "nonexistent_time", f"does not exist in {zone}: state its offset from UTC"),
        ],
    )


def _dates(text: pd.Series, given: Mask, formats: Formats) -> tuple[pd.DatetimeIndex, list[_Finding]]:
    if formats.time_format:
        dates, _, _ = _formatted(text, formats.time_format)
        dates = pd.DatetimeIndex(dates.where(dates == dates.normalize()))
        expected = f"a date as time_format {', '.join(map(repr, formats.time_format))} says"
    elif given.any() and (alike := _alike(text)) and alike.written == "date":
        return alike.times, []
    else:
        dates = _parsed(text.where(_matches(text, f"{_DAY}(?:{_MIDNIGHT})?")))
        expected = "an ISO 8601 date such as 2024-03-15"
    unparseable = given & np.asarray(dates.isna())
    return dates, [(unparseable, "unparseable_date", f"is not {expected}")]


class _Alike(NamedTuple):
    """Times of which all are written alike: dates alone, of a clock without an offset, or with one."""

    times: pd.DatetimeIndex
    written: Literal["date", "clock", "offset"]


_UTC, _NAIVE = (pandas_dtype(f"timestamp[us{zone}][pyarrow]") for zone in (", tz=UTC", ""))
_ALIKE_FROM, _ALIKE_TO = _EARLIEST + pd.Timedelta(days=2), _LATEST - pd.Timedelta(days=2)


def _alike(text: pd.Series) -> _Alike | None:
    """Read the usual spelling in a tenth of the time; None where a cell has another, or none at all.

    Arrow takes ``YYYY-MM-DD``, a clock of whole groups with at most six decimals behind it and an offset behind that,
    nothing else: a part of what is read here otherwise, to the same instants.
    """
    try:
        times, offset = text.astype(_UTC).astype(_NAIVE), True
    except ValueError:
        try:
            times, offset = text.astype(_NAIVE), False
        except ValueError:
            return None
    size = text.str.len()
    shortest, longest = size.min(), size.max()
    # Years are judged as they are written, which an offset moves by a day at most.
    if not (times.min() >= _ALIKE_FROM and times.max() < _ALIKE_TO and (shortest > 10 or longest == 10)):
        return None
    found = pd.DatetimeIndex(times.to_numpy(dtype="datetime64[us]", na_value=np.datetime64("NaT")))
    return _Alike(found, "offset" if offset else "date" if longest == 10 else "clock")


def _of_one(text: pd.Series, given: Mask, *patterns: str) -> list[Mask]:
    """Which cells each pattern fits, of patterns no two of which fit the same; nothing is tried where none is left."""
    found, left = list[Mask](), given
    for pattern in patterns:
        found.append(_matches(text, pattern) if left.any() else np.zeros(len(text), dtype=bool))
        left = left & ~found[-1]
    return found


def _matches(text: pd.Series, pattern: str) -> Mask:
    return text.str.fullmatch(pattern, na=False).to_numpy(dtype=bool)


def _formatted(text: pd.Series, formats: tuple[str, ...]) -> tuple[pd.DatetimeIndex, Mask, Mask]:
    """Times as the first format that reads them says, whether each states an offset, whether it has a time of day."""
    times = pd.DatetimeIndex(np.full(len(text), np.datetime64("NaT", "us")))
    zoned, clocked = np.zeros((2, len(text)), dtype=bool)
    for each in formats:
        unread = np.asarray(times.isna())
        unit = each.removeprefix("local_")
        offset, clock = "%z" in each or each in EPOCHS, unit in EPOCHS or bool(re.search(r"%[HIcXsfMST]", each))
        if unit in EPOCHS:
            found = _counted(text, EPOCHS[unit])
        else:
            parsed = pd.DatetimeIndex(pd.to_datetime(text, format=each, utc=offset, errors="coerce"))
            found = (parsed.tz_localize(None) if offset else parsed).as_unit("us")
        found = pd.DatetimeIndex(found.where((found >= _EARLIEST) & (found < _LATEST)))
        mine = unread & np.asarray(found.notna())
        times, zoned, clocked = (
            pd.DatetimeIndex(times.where(~mine, found)),
            zoned | mine & offset,
            clocked | mine & clock,
        )
    return times, zoned, clocked


def _counted(text: pd.Series, places: int) -> pd.DatetimeIndex:
    """Times counted since 1970, cut to the microsecond: digits are moved, not multiplied, so that none is lost."""
    parts = (
        text.where(_matches(text, rf"[0-9]{{1,{18 + places}}}(?:\.[0-9]*)?"))
        .str.split(".", n=1, expand=True)
        .reindex(columns=[0, 1])
    )
    digits = parts[0]
    if places < 0:
        digits = digits + parts[1].astype("str").fillna("").str[:-places].str.pad(-places, "right", "0")
    elif places:
        digits = digits.str[:-places]
    return pd.DatetimeIndex(pd.to_numeric(digits, errors="coerce").astype("Int64").astype("datetime64[us]"))


def _parsed(text: pd.Series) -> pd.DatetimeIndex:
    """Read a stated offset as such, a time without one as if it were UTC; NaT where there is no such time."""
    parsed = pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce"))
    return parsed.tz_localize(None).as_unit("us")
