"""What a version of weights was computed from: parameters, and the ledger as it was known.

Scope: what of it a version keeps, written and read back. Not here: where versions are kept (``history``), and computing
weights from this again (``recompute``).

Two hashes tell whether two versions had the same to go by, a third leads back to the rows themselves:

``parameters_hash``
    of a document with everything that has no date: what of the book has a bearing on weights, its starter metrics, the
    ledger's calendar, frequency and policy of capital; and the allocations decided by the as-of date.
``ledger_hash``
    of everything dated up to the as-of date: closed and open lots, given returns, capital, prices, rates of exchange,
    sessions that a desk lists itself, and for an ensemble the market regimes. What comes later, or is corrected after
    that date, does not change it; so of a month that goes on after it the open lots are left out, which the months'
    ends count.
``state_hash``
    of a chain of documents, one per month, that name the contents the store held when the version was made. The last
    month may have been longer than the as-of date lets see; a return is fixed on its session all the same.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from weights_pipeline import core as science
from weights_pipeline.books.book import Book
from weights_pipeline.books.reading import validated
from weights_pipeline.core.metrics.measures import MIN_VOLATILITY
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.capital import CapitalBase, CapitalEntry, CapitalPolicy
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.targets.methods.fixed import Decision, Fixed
from weights_pipeline.core.targets.methods.skfolio import Skfolio
from weights_pipeline.core.versions import (
    canonical,
    chain,
    digest,
    intact,
    link,
    linked,
    published_before,
    running_digests,
)
from weights_pipeline.ledger import (
    CapitalFile,
    LedgerSource,
    exchange_timezone,
    read_capital,
    read_prices,
    read_rates,
    recorded_bounds,
    session_closes,
    sessions_past,
)
from weights_pipeline.ledger.calendars import file_of
from weights_pipeline.store.base import Reader, Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import no_rows
from weights_pipeline.tables.definition import Table
from weights_pipeline.tables.errors import DamagedError
from weights_pipeline.tables.partition import PartitionId
from weights_pipeline.workspace import BookSetup

LEDGER = (
    catalog.TRADE_LEDGER,
    catalog.OPEN_LOTS,
    catalog.GIVEN_RETURNS,
    catalog.CASH,
    catalog.UNKNOWN_POSITIONS,
    catalog.STRATEGY_LIQUIDITY,
    catalog.MARKET_REGIME,
)
"""Tables whose rows a version may be computed from; the market regimes for an ensemble alone."""

_SETTLED = tuple(table for table in LEDGER if table is not catalog.OPEN_LOTS)
"""Of these, those whose rows stay as they are while their month goes on."""

CAPITAL, PRICES, RATES, SESSIONS = FILES = ("capital", "prices", "rates", "sessions")
"""Parts of files that a version keeps, by month."""

_SPREAD = {PRICES: ("symbol", "close"), RATES: ("currency", "rate")}
"""Of files that are read as dates × names: what names and what values are."""

# No bearing on weights, each with a value that stands for any. What is not listed has one, so that a key which a book
# gains is never overlooked.
_NO_BEARING: dict[str, Any] = {
    "name": "any",
    "description": "any",
    "owner": "team:any",
    "account": "any",
    "starter_metrics": None,
    "max_turnover": 1.0,
    "checks": {},
    "max_age": 1,
    "since": {},
}
_EXCLUDED: dict[str, Any] = {**dict.fromkeys(_NO_BEARING, True), "overlay": {"audit": True}}
_BOOK = TypeAdapter(Book)
_STARTER = TypeAdapter(dict[str, StarterMetrics])
_DECISIONS = TypeAdapter(tuple[Decision, ...])
_CAPITAL_POLICY: TypeAdapter[CapitalPolicy] = TypeAdapter(CapitalPolicy)


@dataclass(frozen=True, kw_only=True, eq=False)
class VersionInputs:
    """What versions of some rebalances were computed from.

    Attributes
    ----------
    hashes
        ``as_of``, ``parameters_hash``, ``ledger_hash``, ``state_hash``.
    documents
        By hash.
    """

    hashes: pd.DataFrame
    documents: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Parameters and contents of a ledger, as they were when a version was made.

    Attributes
    ----------
    policy
        The book's policy.
    calendar, first_month
        Calendar of the ledger, or ``None`` where the desk lists sessions itself, and its first month, ``YYYY-MM``.
    starts
        First month of the book, where it has one of its own.
    months
        By month, the hash of each content: of a table by its partition, of a file's part by ``capital/month``,
        ``prices/month``, ``rates/month`` or ``sessions/month``.
    sets
        The same of the weight sets that an ensemble had made at the rebalance and by hand.
    capital
        What profit was divided by.
    dated
        Rows of the files of capital, prices, rates and sessions by name of content, each with its ``date``.
    """

    policy: Policy
    calendar: str | None
    first_month: str
    starts: str | None
    months: Mapping[str, Mapping[str, str]]
    sets: Mapping[str, str]
    capital: CapitalPolicy
    dated: Mapping[str, pd.DataFrame]

    @property
    def prices(self) -> pd.DataFrame | None:
        """Closing prices, dates × symbols; None where nothing was marked to market."""
        return self._spread(PRICES)

    @property
    def rates(self) -> pd.DataFrame | None:
        """Rates of exchange, dates × currencies; None where there was one currency."""
        return self._spread(RATES)

    def _spread(self, file: str) -> pd.DataFrame | None:
        parts = [rows for name, rows in self.dated.items() if name.startswith(f"{file}/")]
        of, value = _SPREAD[file]
        return pd.concat(parts).pivot(index="date", columns=of, values=value) if parts else None

    def sessions(self, start: dt.date, day: dt.date) -> pd.DatetimeIndex:
        """Sessions from a day to past another one, as they were known where the desk lists them itself."""
        if self.calendar is not None:
            return sessions_past(self.calendar, start, day)
        listed = [rows["date"] for name, rows in self.dated.items() if name.startswith(f"{SESSIONS}/")]
        sessions = pd.DatetimeIndex(pd.concat(listed).drop_duplicates().sort_values()).rename(None)
        return sessions[sessions >= pd.Timestamp(start)]

    def read(self, store: Store, table: Table) -> pd.DataFrame:
        """Rows of a table of the ledger as they were.

        Raises
        ------
        weights_pipeline.tables.errors.StoreError
            Some are nowhere any more.
        """
        named = {name: content for contents in self.months.values() for name, content in contents.items()}
        return read_named(store, table, named)

    def ledger_hash(self, rows: Mapping[Table, pd.DataFrame], as_of: pd.Timestamp) -> str:
        """Hash of what was dated up to the as-of session, from the rows there were."""
        sessions = self.sessions(as_of.date(), as_of.date())
        return _ledger_hashes(self.months, self.dated, rows, pd.DatetimeIndex([as_of]), sessions)[0]


@lru_cache(maxsize=1)
def code_version() -> str:
    """Release of the package, and a hash of its science: of what turns equal inputs into equal weights."""
    core = Path(science.__file__).parent
    content, files = hashlib.sha256(), sorted(core.rglob("*.py"))
    if not files:
        # A hash of nothing would be the same for every version of the science.
        raise FileNotFoundError(f"{core}: no source files of the science there; install the package again")
    for file in files:
        content.update(f"{file.relative_to(core).as_posix()}\n".encode() + file.read_bytes())
    return f"{metadata.version('weights-pipeline')}+{content.hexdigest()[:12]}"


class Contents(NamedTuple):
    """What a store and files hold of a ledger, by month.

    Attributes
    ----------
    months
        By month, ascending: hash of each content by its name.
    dated
        Rows of the files of capital, prices, rates and sessions by name of content.
    heads
        By month, the hash of everything up to it.
    documents
        By hash.
    """

    months: Mapping[str, Mapping[str, str]]
    dated: Mapping[str, pd.DataFrame]
    heads: Mapping[str, str]
    documents: Mapping[str, str]


def contents_of(setup: BookSetup, store: Reader, newest: str, sessions: pd.DatetimeIndex) -> Contents:
    """What there is of the ledger of a book up to a month.

    Parameters
    ----------
    setup
        The book.
    store
        Where the ledger's tables are read.
    newest
        The month, ``YYYY-MM``.
    sessions
        Trading sessions from the ledger's first month to past that month's rebalances.
    """
    source = setup.source
    months = dict[str, dict[str, str]]()
    for table in _read_by(setup):
        for key, record in store.partitions(source.schema_name, table.name).items():
            if key[:7] <= newest:
                own = months.setdefault(key[:7], {})
                # Without rows a table says nothing, whether it is there or not.
                name = str(PartitionId(source.schema_name, table.name, key))
                own |= {name: record.content_hash} if record.rows else {}
    dated, documents = _dated(source, setup.root, sessions, newest), dict[str, str]()
    for name, part in dated.items():
        text = canonical({**part.to_dict("list"), "date": part["date"].dt.strftime("%Y-%m-%d").tolist()})
        documents[digest(text)] = text
        months.setdefault(name[-7:], {})[name] = digest(text)
    months = {month: months[month] for month in sorted(months)}
    heads, links = chain(months)
    return Contents(months, dated, heads, documents | links)


def inputs_of(
    setup: BookSetup, store: Reader, rebalances: Mapping[str, pd.Timestamp], stored: Mapping[str, str] | None = None
) -> VersionInputs:
    """Gather what versions of some rebalances are computed from, as it is now.

    Months that have ended by an as-of session are known by the hashes that the store has of them anyway; rows are read
    only of a month that goes on after one.

    Parameters
    ----------
    setup
        The book.
    store
        Where the tables of the ledger and of the book are read.
    rebalances
        As-of session by key of the book's partition, ascending.
    stored
        Documents of parameters by key, of rebalances that were made by others than the book has now.
    """
    book, source = setup.book, setup.source
    dates = pd.DatetimeIndex(list(rebalances.values()))
    begin = pd.Timestamp(f"{source.first_month}-01")
    sessions = sessions_past(source.calendar, begin.date(), dates[-1].date())
    months, dated, heads, contents = contents_of(setup, store, f"{dates[-1]:%Y-%m}", sessions)
    documents = dict(contents)
    go_on = sorted({f"{date:%Y-%m-01}" for date, over in zip(dates, _over(dates, sessions), strict=True) if not over})
    tables = [table for table in _read_by(setup) if table in _SETTLED and go_on]
    read = {table: store.read(source.schema_name, table, go_on) for table in tables}
    ledger_hashes = _ledger_hashes(months, dated, read, dates, sessions)
    sets = _sets(book, store, rebalances)
    hashes = []
    for (key, as_of), ledger_hash in zip(rebalances.items(), ledger_hashes, strict=True):
        parameters = (stored or {}).get(key) or parameters_of(setup.on(key), as_of)
        state = heads[f"{as_of:%Y-%m}"]
        documents[digest(parameters)] = parameters
        if key in sets:
            text = link(key, sets[key], state)
            state = digest(text)
            documents[state] = text
        hashes.append((as_of, digest(parameters), ledger_hash, state))
    columns = ["as_of", "parameters_hash", "ledger_hash", "state_hash"]
    return VersionInputs(hashes=pd.DataFrame(hashes, columns=columns), documents=documents)


def _read_by(setup: BookSetup) -> Sequence[Table]:
    """Tables of the ledger that weights of a book are computed from."""
    return LEDGER if setup.book.ensemble is not None else LEDGER[:-1]


def parameters_of(setup: BookSetup, as_of: pd.Timestamp) -> str:
    """Document of everything without a date that determines weights, and of the decisions made by the as-of session."""
    book, source = setup.book, setup.source
    made = book.method.decisions if isinstance(book.method, Fixed) else ()
    capital, calendar, frequency = source.capital, source.calendar, source.frequency
    # Where a file of sessions is differs between machines; what it lists is kept by month.
    listed = {"custom": exchange_timezone(calendar)} if file_of(calendar) else calendar
    # A key that books have gained is left out while it says what always was: the same weights are no new version.
    later: dict[str, Any] = {"metrics": {"min_volatility"}} if book.metrics.min_volatility == MIN_VOLATILITY else {}
    later |= {} if book.starts else {"starts": True}
    if isinstance(book.method, Skfolio) and book.method.cost_horizon is None:
        later |= {"method": {"cost_horizon"}}
    # Of no other method they change a weight.
    later |= {} if setup.policy.counts_costs else {"costs": True}
    limits = {"groups": book.limits.groups, "capital": book.limits.capital, "max_capital": book.limits.max_capital}
    later |= {"limits": {key for key, value in limits.items() if not value}}
    if book.overlay is not None:
        gained = {"volatility_target": book.overlay.volatility_target, "hedges": book.overlay.hedges}
        absent = {key: True for key, value in gained.items() if value is None}
        later |= {"overlay": {**_EXCLUDED["overlay"], **absent}}
    return canonical(
        {
            "book": book.model_dump(mode="json", exclude=_EXCLUDED | later),
            "starter": _STARTER.dump_python(dict(setup.policy.starter), mode="json"),
            "decisions": _DECISIONS.dump_python(tuple(d for d in made if d.date <= as_of.date()), mode="json"),
            "ledger": {
                "calendar": listed,
                "first_month": source.first_month,
                "capital": {"kind": capital.kind}
                if isinstance(capital, CapitalFile)
                else _CAPITAL_POLICY.dump_python(capital, mode="json"),
                "marked_to_market": source.prices is not None,
                **({"frequency": asdict(frequency)} if frequency != DAILY else {}),
            },
        }
    )


def started_from(setup: BookSetup, store: Reader, as_of: pd.Timestamp) -> pd.Series | None:
    """Weights that the first rebalance of a book with a first month starts from; None for the base weights.

    Parameters
    ----------
    setup, store
        The book, and where its versions are.
    as_of
        Last session of its first rebalance.
    """
    if setup.book.starts is None:
        return None
    columns = ["version", "rebalance", "effective_from", "strategy", "realized"]
    return published_before(store.read(setup.name, catalog.WEIGHT_HISTORY, columns=columns), as_of)


def policy_of(parameters: Mapping[str, Any]) -> Policy:
    """Policy that the parameters of a version say.

    Raises
    ------
    weights_pipeline.books.reading.BookError
        They are not valid by the code as it is now.
    """
    named = "parameters of the version"
    book: Book = validated(_BOOK, {**_NO_BEARING, **parameters["book"]}, named)
    if isinstance(book.method, Fixed):
        decisions = validated(_DECISIONS, parameters["decisions"], named)
        book = book.model_copy(update={"method": replace(book.method, decisions=decisions)})
    frequency = Frequency(**parameters["ledger"].get("frequency", {}))
    return book.policy(validated(_STARTER, parameters["starter"], named), frequency)


def known_then(documents: Mapping[str, str], parameters_hash: str, state_hash: str) -> Known:
    """Read back what a version was computed from.

    Raises
    ------
    DamagedError
        A document is missing or altered.
    weights_pipeline.books.reading.BookError
        The parameters are not valid by the code as it is now.
    """
    try:
        parameters = json.loads(intact(documents, parameters_hash))
        sets, head = {}, state_hash
        if parameters["book"]["ensemble"] is not None:
            made = json.loads(intact(documents, state_hash))
            sets, head = made["contents"], made["previous"]
        months = linked(documents, head)
        named = {name: content for contents in months.values() for name, content in contents.items()}
        files = [name for name in named if name.startswith(tuple(f"{file}/" for file in FILES))]
        dated = {name: pd.DataFrame(json.loads(intact(documents, named[name]))) for name in files}
    except ValueError as error:
        raise DamagedError(f"what the version was computed from is not as it was: {error}") from error
    dated = {name: rows.astype({"date": "datetime64[us]"}) for name, rows in dated.items()}
    ledger = parameters["ledger"]
    return Known(
        policy=policy_of(parameters),
        calendar=None if isinstance(ledger["calendar"], dict) else ledger["calendar"],
        first_month=ledger["first_month"],
        starts=parameters["book"].get("starts"),
        months=months,
        sets=sets,
        capital=_capital(ledger["capital"], dated),
        dated=dated,
    )


def of_same_periods(documents: Mapping[str, str], parameters_hash: str, others: Iterable[str]) -> set[str]:
    """Those of other parameters whose book begins its periods on the same days.

    Raises
    ------
    DamagedError
        A document is missing or altered.
    """
    try:
        books = {each: json.loads(intact(documents, each))["book"] for each in {parameters_hash, *others}}
    except ValueError as error:
        raise DamagedError(f"what versions were computed from is not as it was: {error}") from error
    own = books[parameters_hash]
    keys = ("cadence", "timezone", "starts")
    return {each for each, book in books.items() if all(book.get(key) == own.get(key) for key in keys)}


def sets_then(documents: Mapping[str, str], state_hash: str) -> dict[str, str]:
    """Weight sets that an ensemble had made at a rebalance and by hand, by name of content."""
    try:
        contents: dict[str, str] = json.loads(intact(documents, state_hash))["contents"]
    except ValueError as error:
        raise DamagedError(f"what a version was computed from is not as it was: {error}") from error
    return contents


def read_named(store: Store, table: Table, named: Mapping[str, str]) -> pd.DataFrame:
    """Rows of those contents, given by name, that are of one table; none where none are.

    Raises
    ------
    weights_pipeline.tables.errors.StoreError
        A content is nowhere any more, or not what it was.
    """
    partitions = {PartitionId.parse(name): content for name, content in named.items()}
    parts = {of: content for of, content in partitions.items() if of is not None and of.table == table.name}
    if not parts:
        return no_rows(table)
    return store.read_known(next(iter(parts)).schema, table, {of.key: content for of, content in parts.items()})


def _ledger_hashes(
    months: Mapping[str, Mapping[str, str]],
    dated: Mapping[str, pd.DataFrame],
    rows: Mapping[Table, pd.DataFrame],
    dates: pd.DatetimeIndex,
    sessions: pd.DatetimeIndex,
) -> list[str]:
    """Hash, for each as-of session, of the months before it and of as much of its own month as it lets see."""
    heads, _ = chain(months)
    before = dict(zip(months, [None, *heads.values()], strict=False))
    month_of, over, found = dates.strftime("%Y-%m"), _over(dates, sessions), dict[pd.Timestamp, str]()
    for month in month_of.unique():
        own, ended = dates[month_of == month], over[month_of == month]
        so_far = [months[month]] * len(own) if ended.all() else _so_far(months[month], month, dated, rows, own)
        for date, whole, seen in zip(own, ended, so_far, strict=True):
            found[date] = digest(link(month, months[month] if whole else seen, before[month]))
    return [found[date] for date in dates]


def _so_far(
    names: Iterable[str],
    month: str,
    dated: Mapping[str, pd.DataFrame],
    rows: Mapping[Table, pd.DataFrame],
    dates: pd.DatetimeIndex,
) -> list[dict[str, str]]:
    """Digest of what a month has up to each date, by name of content; nothing of what has no rows by then."""
    by_table = {table.name: frame for table, frame in rows.items() if table in _SETTLED}
    seen: list[dict[str, str]] = [{} for _ in dates]
    for name in names:
        if name in dated:
            part, column = dated[name], "date"
        elif (of := PartitionId.parse(name)) is not None and of.table in by_table:
            part, column = by_table[of.table], "session"
            begin = pd.Timestamp(f"{month}-01")
            edges = part[column].searchsorted([begin, begin + pd.offsets.MonthBegin()])
            part = part.iloc[edges[0] : edges[1]]
        else:
            continue
        for contents, date, so_far in zip(seen, dates, running_digests(part, column, dates), strict=True):
            contents |= {name: so_far} if part[column].min() <= date else {}
    return seen


def _over(dates: pd.DatetimeIndex, sessions: pd.DatetimeIndex) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether each date is the last session of its month."""
    return np.asarray(sessions[sessions.searchsorted(dates, side="right")].month != dates.month)


def _dated(source: LedgerSource, root: Path, sessions: pd.DatetimeIndex, newest: str) -> dict[str, pd.DataFrame]:
    """Rows of side files by month; what is dated between sessions belongs to the one after."""
    files = dict[str, pd.DataFrame]()
    capital = read_capital(source, root)
    if isinstance(capital, CapitalBase):
        entries = [(pd.Timestamp(entry.date), entry.strategy, entry.capital) for entry in capital.table]
        files[CAPITAL] = pd.DataFrame(entries, columns=["date", "strategy", "capital"])
    for file, spread in ((PRICES, read_prices(source, root)), (RATES, read_rates(source, root))):
        if spread is not None:
            of, value = _SPREAD[file]
            files[file] = spread.reset_index().melt("date", var_name=of, value_name=value).dropna()
    found = dict[str, pd.DataFrame]()
    for name, rows in files.items():
        ordered = rows.sort_values(list(rows.columns[:2]), ignore_index=True)
        session = sessions.searchsorted(pd.DatetimeIndex(ordered["date"]))
        month = sessions.strftime("%Y-%m").append(pd.Index(["later"]))[session]
        found |= {f"{name}/{own}": ordered[month == own] for own in month.unique() if own <= newest}
    return found | _listed_sessions(source, newest)


def _listed_sessions(source: LedgerSource, newest: str) -> dict[str, pd.DataFrame]:
    """Sessions and closes that a desk lists itself, by month; of each month also the first session after it."""
    if file_of(source.calendar) is None:
        return {}
    closes = session_closes(source.calendar, *recorded_bounds(source.calendar))
    listed = pd.DataFrame({"date": closes.index, "close": closes.astype("str").to_numpy()})
    month = listed["date"].dt.strftime("%Y-%m")
    found = dict[str, pd.DataFrame]()
    for own in month[month <= newest].unique():
        place = np.flatnonzero(month == own)
        found[f"{SESSIONS}/{own}"] = listed.iloc[place[0] : place[-1] + 2]
    return found


def _sets(book: Book, store: Reader, keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """Of an ensemble, the weight sets that each rebalance made, and those made by hand: hash by name of content."""
    if book.ensemble is None:
        return {}
    made, by_hand = (
        {key: record.content_hash for key, record in store.partitions(book.name, table.name).items()}
        for table in (catalog.ENSEMBLE_WEIGHTS, catalog.ENSEMBLE_UPDATES)
    )

    def name(table: Table, key: str) -> str:
        return str(PartitionId(book.name, table.name, key))

    updates = {name(catalog.ENSEMBLE_UPDATES, key): content for key, content in by_hand.items()}
    return {key: {name(catalog.ENSEMBLE_WEIGHTS, key): made[key], **updates} for key in keys}


def _capital(policy: Mapping[str, Any], dated: Mapping[str, pd.DataFrame]) -> CapitalPolicy:
    if policy != {"kind": "capital_base"}:
        given: CapitalPolicy = validated(_CAPITAL_POLICY, policy, "capital")
        return given
    parts = [rows for name, rows in dated.items() if name.startswith(f"{CAPITAL}/")]
    entries = [row for rows in parts for row in rows[["strategy", "date", "capital"]].itertuples(index=False)]
    return CapitalBase(table=tuple(CapitalEntry(strategy=s, date=d.date(), capital=c) for s, d, c in entries))
