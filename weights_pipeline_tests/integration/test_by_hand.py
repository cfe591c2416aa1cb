"""The sample's weights worked out by hand, and what the package makes of the same files.

The first half of this file recomputes real weight tables the way one would in a spreadsheet: plain floats, loops and
the standard library, from the committed CSV files to the weights. It shares no code with the package and takes every
definition at its word, however slow. The second half holds the package's own tables against it.

Belongs here: that recomputation and the comparison. Does not belong here: made-up inputs, edge cases and speed, which
have tests of their own beside each module.
"""

from __future__ import annotations

import csv
import json
import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from operator import mul
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import yaml

from benchmarks.support.data import DATA
from weights_pipeline.books.load import load_book, load_starter_metrics
from weights_pipeline.core import chain
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.ledger import calendar_sessions, load_ledger_source, read_capital, read_ledger, session_span

# --- The ledger: from CSV rows to one P&L per strategy and session ---


@dataclass
class Ledger:
    """Everything the recomputation needs to know about the past. A session is a ``date``."""

    sessions: list[date]
    capital: dict[str, list[tuple[date, float]]]
    pnl: dict[str, dict[date, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    exits: dict[str, list[date]] = field(default_factory=lambda: defaultdict(list))
    first_activity: dict[str, date] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)

    def session_of(self, moment: datetime) -> date:
        """The session of a New York time: its own day, or the next session where that day is none."""
        return self.sessions[bisect_left(self.sessions, moment.date())]

    def seen(self, strategy: str, session: date) -> None:
        """Note that the strategy was active in a session."""
        self.first_activity[strategy] = min(session, self.first_activity.get(strategy, session))

    def book_exit(self, strategy: str, session: date, pnl: float) -> None:
        """Book one exit on its session."""
        self.pnl[strategy][session] += pnl
        self.exits[strategy].append(session)
        self.seen(strategy, session)

    def daily_return(self, strategy: str, session: date) -> float:
        """P&L of the session over the capital in force: the newest dated amount not after the session."""
        in_force = [amount for since, amount in self.capital[strategy] if since <= session][-1]
        return self.pnl[strategy].get(session, 0.0) / in_force


def rows_of(*patterns: str) -> Iterator[dict[str, str]]:
    for pattern in patterns:
        for path in sorted(DATA.glob(pattern)):
            with path.open(newline="") as file:
                yield from csv.DictReader(file)


def new_york(text: str, zone: ZoneInfo) -> datetime:
    """A written time in New York; one without a zone is already in it."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)


def what_is_wrong(row: dict[str, str], opened: datetime, closed: datetime) -> str:
    if not row["strategy"] or not row["symbol"]:
        return "no strategy or symbol"
    if float(row["quantity"]) <= 0:
        return "quantity"
    return "closed before opened" if closed < opened else ""


def book_lots(ledger: Ledger, patterns: list[str], zone: ZoneInfo) -> None:
    """Closed lots: each row one exit, wrong rows set aside, exact repeats counted once."""
    known: dict[str, dict[str, str]] = {}
    for row in rows_of(*patterns):
        opened, closed = new_york(row["opened_at"], zone), new_york(row["closed_at"], zone)
        if reason := what_is_wrong(row, opened, closed):
            ledger.rejected[row["lot_id"]] = reason
            continue
        if row["lot_id"] in known:
            assert known[row["lot_id"]] == row
            ledger.repeated.append(row["lot_id"])
            continue
        known[row["lot_id"]] = row
        sign = 1 if row["side"] == "long" else -1
        move = sign * (float(row["close_price"]) - float(row["open_price"]))
        computed = move * float(row["quantity"]) - float(row["fees"] or 0)
        ledger.book_exit(row["strategy"], ledger.session_of(closed), float(row["pnl"]) if row["pnl"] else computed)


def book_fills(ledger: Ledger, patterns: list[str], zone: ZoneInfo) -> None:
    """Fills matched first in, first out; each match is one exit. Fees go with the units they were paid for."""
    queues: dict[tuple[str, str], deque[list[float]]] = defaultdict(deque)
    fills = sorted(rows_of(*patterns), key=lambda row: new_york(row["ts"], zone))
    for row in fills:
        session = ledger.session_of(new_york(row["ts"], zone))
        ledger.seen(row["strategy"], session)
        left, price = float(row["amount"]), float(row["price"])
        fee = float(row["fees"]) / abs(left)
        queue = queues[row["strategy"], row["symbol"]]
        while left and queue and queue[0][0] * left < 0:
            held, entry_price, entry_fee = queue[0]
            sign = math.copysign(1, held)
            units = min(abs(held), abs(left))
            pnl = sign * units * (price - entry_price) - units * (entry_fee + fee)
            ledger.book_exit(row["strategy"], session, pnl)
            queue[0][0] -= sign * units
            left += sign * units
            if not queue[0][0]:
                queue.popleft()
        if left:  # what opens a position, or is left of a fill that flipped one
            queue.append([left, price, fee])


def read_by_hand() -> Ledger:
    source = yaml.safe_load((DATA / "ledgers/sample.yaml").read_text())
    zone = ZoneInfo(source["timezone"])
    capital: dict[str, list[tuple[date, float]]] = defaultdict(list)
    for row in sorted(rows_of(source["capital"]["file"]), key=lambda row: row["date"]):
        capital[row["strategy"]].append((date.fromisoformat(row["date"]), float(row["capital"])))
    # The benchmark has a close on every session of the exchange up to 2022-12-28.
    ledger = Ledger([date.fromisoformat(row["date"]) for row in rows_of(source["benchmark"]["file"])], capital)
    book_lots(ledger, source["lots"], zone)
    book_fills(ledger, source["fills"], zone)
    return ledger


# --- Metrics as of session d, over the sessions in (d - lookback, d] ---


def twelve_months_before(day: date) -> date:
    leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - 1, day=28 if leap_day else day.day)


def window(ledger: Ledger, strategy: str, after: date, until: date) -> tuple[list[float], int]:
    """Daily returns and the number of exits in (after, until], from the strategy's first activity on."""
    begin = ledger.first_activity[strategy]
    days = ledger.sessions[bisect_right(ledger.sessions, after) : bisect_right(ledger.sessions, until)]
    exits = sum(after < day <= until for day in ledger.exits[strategy])
    return [ledger.daily_return(strategy, day) for day in days if day >= begin], exits


def total_return(returns: list[float]) -> float:
    return math.prod(1 + r for r in returns) - 1


def max_drawdown(returns: list[float]) -> float:
    equity = peak = 1.0  # the peak before the first session is 1, so a loss on the first day counts
    worst = 0.0
    for r in returns:
        equity *= 1 + r
        peak = max(peak, equity)
        worst = max(worst, 1 - equity / peak)
    return worst


def calmar_12m(ledger: Ledger, strategy: str, d: date, starter: dict[str, Any]) -> tuple[float | None, str]:
    """Twelve-month Calmar, or None with the reason: at least five exits and sixty sessions are needed.

    A strategy with less than twelve calendar months of data is blended with figures from before its start, once known:
    the past counts (1 - m/12); the live return as an annual rate, live * 12/m, counts m/12, which makes it live.
    """
    begin = ledger.first_activity[strategy]
    months = clip((d.year - begin.year) * 12 + d.month - begin.month + 1, 0, 12)
    returns, exits = window(ledger, strategy, twelve_months_before(d), d)
    total, drawdown = total_return(returns), max_drawdown(returns)
    if months < 12 and strategy in starter and d.isoformat() >= starter[strategy]["known_from"]:
        past = 1 - months / 12
        annual = past * starter[strategy]["twelve_month_return"] + total
        return annual / max(past * starter[strategy]["twelve_month_max_drawdown"], drawdown), ""
    if exits < 5 or len(returns) < 60:
        return None, "insufficient"
    if drawdown == 0:
        return None, "no_drawdown" if total > 0 else "flat"
    annual = total if months == 12 else (1 + total) ** (252 / len(returns)) - 1
    return annual / drawdown, ""


def sharpe_90d(ledger: Ledger, strategy: str, d: date, risk_free: float) -> tuple[float | None, str]:
    """Sharpe ratio over ninety calendar days, or None with the reason: at least five exits and twenty sessions."""
    returns, exits = window(ledger, strategy, d - timedelta(days=90), d)
    if exits < 5 or len(returns) < 20:
        return None, "insufficient"
    if max(returns) == min(returns):
        return None, "zero_volatility"
    return (mean(returns) * 252 - risk_free) / (deviation(returns) * math.sqrt(252)), ""


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def deviation(values: list[float]) -> float:
    """Standard deviation, ddof=1."""
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def median(values: list[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def clip(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


# --- From metrics to weights ---

Metrics = dict[str, tuple[float | None, str]]  # by strategy: the metric, or None and why


@dataclass
class Row:
    """One strategy's line of a weight table."""

    metric: float | None
    reason: str
    multiplier: float
    target: float
    realized: float


def power_tilt(metrics: Metrics, book: dict[str, Any]) -> dict[str, float]:
    """(x / anchor)^alpha inside the limits; a loss sits at the floor, a gain without drawdown at the cap."""
    method, floor, cap = book["method"], book["limits"]["floor"], book["limits"]["cap"]
    measured = [x for x, _ in metrics.values() if x is not None]
    anchor = max(median(measured), method["anchor_floor"]) if measured else method["anchor_floor"]

    def multiplier(x: float | None, reason: str) -> float:
        if x is None:
            return cap if reason == "no_drawdown" else 1.0
        return floor if x <= 0 else clip((x / anchor) ** method["alpha"], floor, cap)

    return {strategy: multiplier(x, reason) for strategy, (x, reason) in metrics.items()}


def minmax_tilt(metrics: Metrics, book: dict[str, Any]) -> dict[str, float]:
    """The worst measured strategy at lo, the best at hi, the others in proportion between them."""
    lo, hi, bound = (book["method"][key] for key in ("lo", "hi", "metric_clip"))
    clipped = {strategy: clip(x, -bound, bound) for strategy, (x, _) in metrics.items() if x is not None}
    if len(clipped) < 2 or max(clipped.values()) == min(clipped.values()):
        return dict.fromkeys(metrics, 1.0)
    worst, best = min(clipped.values()), max(clipped.values())
    return {s: lo + (hi - lo) * (clipped[s] - worst) / (best - worst) if s in clipped else 1.0 for s in metrics}


def inside_the_limits(raw: dict[str, float], book: dict[str, Any]) -> dict[str, float]:
    """The one c with sum clip(c raw_i, floor b_i, cap b_i) = gross, by halving the interval it lies in."""
    base, floor, cap = book["strategies"], book["limits"]["floor"], book["limits"]["cap"]

    def scaled(c: float) -> dict[str, float]:
        return {s: clip(c * raw[s], floor * base[s], cap * base[s]) for s in base}

    low, high = 0.0, 64.0
    while high - low > 1e-15 and low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if sum(scaled(middle).values()) < book["gross"] else (low, middle)
    return scaled(high)


def weight_table(metrics: Metrics, old: dict[str, float], book: dict[str, Any]) -> dict[str, Row]:
    """Multiplier, target and realized weight of every strategy; ``old`` are the realized weights before."""
    tilt = power_tilt if book["method"]["kind"] == "power_tilt" else minmax_tilt
    multipliers = tilt(metrics, book)
    target = inside_the_limits({s: book["strategies"][s] * multipliers[s] for s in metrics}, book)
    before = inside_the_limits(old, book)
    rate = book["adjustment"]["rate"]
    return {s: Row(*metrics[s], multipliers[s], target[s], before[s] + rate * (target[s] - before[s])) for s in metrics}


def read_book(name: str) -> dict[str, Any]:
    book: dict[str, Any] = yaml.safe_load((DATA / "books" / f"{name}.yaml").read_text())
    return book


def month_ends(ledger: Ledger) -> list[date]:
    """The last session of each month from 2012-01 to 2022-11."""
    last = {(day.year, day.month): day for day in ledger.sessions if date(2012, 1, 1) <= day < date(2022, 12, 1)}
    return list(last.values())


def monthly_by_hand(ledger: Ledger) -> dict[date, dict[str, Row]]:
    """Every monthly table of ``calmar_core``, by its last session; each starts from the one before."""
    book = read_book("calmar_core")
    starter = json.loads((DATA / book["starter_metrics"]).read_text())
    old: dict[str, float] = book["strategies"]
    tables = {}
    for d in month_ends(ledger):
        metrics = {s: calmar_12m(ledger, s, d, starter) for s in book["strategies"]}
        tables[d] = weight_table(metrics, old, book)
        old = {s: row.realized for s, row in tables[d].items()}
    return tables


def week_by_hand(ledger: Ledger, sunday: date) -> dict[str, Row]:
    """The table of ``sharpe_weekly`` made on a Sunday. All of the gap is closed at once: no past is needed."""
    book = read_book("sharpe_weekly")
    d = ledger.sessions[bisect_right(ledger.sessions, sunday) - 1]
    metrics = {s: sharpe_90d(ledger, s, d, book["metrics"]["risk_free"]) for s in book["strategies"]}
    return weight_table(metrics, book["strategies"], book)


# --- The book's own state, its regime and the risk scalar ---

ENTER = {"vol_accel": 1.30, "corr_shock": 0.10, "dd_level": -0.10, "dd_slope_10d": -0.06}
LEAVE = {"vol_accel": 1.15, "corr_shock": 0.05, "dd_level": -0.06, "dd_slope_10d": -0.03}
REGIMES = ("NORMAL", "ELEVATED", "STRESS", "CRISIS")
TARGET_SCALAR = {"NORMAL": 1.00, "ELEVATED": 0.85, "STRESS": 0.55, "CRISIS": 0.30}
SCORE_TO_LEAVE = {"ELEVATED": 1, "STRESS": 2, "CRISIS": 3}  # the exit score has to be below it


@dataclass
class Allocator:
    """One session of the allocator."""

    state: dict[str, float]
    regime: str
    scalar: float


def volatility(returns: list[float]) -> float:
    return deviation(returns) * math.sqrt(252)


def pearson(xs: list[float], ys: list[float]) -> float:
    x0, y0 = mean(xs), mean(ys)
    covariance = math.fsum((x - x0) * (y - y0) for x, y in zip(xs, ys, strict=True))
    return covariance / math.sqrt(math.fsum((x - x0) ** 2 for x in xs) * math.fsum((y - y0) ** 2 for y in ys))


def unit(values: list[float]) -> list[float]:
    """Deviations from the mean, scaled to length 1: the product of two such columns is their correlation."""
    centre = mean(values)
    length = math.sqrt(math.fsum((value - centre) ** 2 for value in values))
    return [(value - centre) / length for value in values]


def mean_correlation(columns: list[list[float | None]]) -> float:
    """Mean Pearson correlation over all pairs, each on the sessions both have; constant columns are left out."""
    known = [[value for value in column if value is not None] for column in columns]
    used = [i for i, values in enumerate(known) if len(values) >= 2 and deviation(values) > 1e-10]
    units = {i: unit(known[i]) for i in used if len(known[i]) == len(columns[i])}
    correlations = []
    for position, i in enumerate(used):
        for j in used[:position]:
            if i in units and j in units:
                correlations.append(sum(map(mul, units[i], units[j])))
            else:
                both = [(x, y) for x, y in zip(columns[i], columns[j], strict=True) if x is not None and y is not None]
                xs, ys = [x for x, _ in both], [y for _, y in both]
                if len(both) >= 2 and max(xs) > min(xs) and max(ys) > min(ys):
                    correlations.append(pearson(xs, ys))
    return mean(correlations)


def signals(state: dict[str, float], limits: dict[str, float]) -> dict[str, bool]:
    return {
        "vol_fast": state["vol_accel"] >= limits["vol_accel"],
        "corr_spike": state["corr_shock"] >= limits["corr_shock"],
        "dd_deep": state["dd_level"] <= limits["dd_level"],
        "dd_worsening": state["dd_slope_10d"] <= limits["dd_slope_10d"],
    }


def regime_to_enter(state: dict[str, float]) -> str:
    on = signals(state, ENTER)
    score = sum(on.values())
    shock = on["vol_fast"] and on["corr_spike"]
    if state["dd_level"] <= -0.20 or score >= 3 or (shock and on["dd_worsening"]):
        return "CRISIS"
    if score >= 2 or shock or state["dd_level"] <= -0.12:
        return "STRESS"
    return "ELEVATED" if score >= 1 else "NORMAL"


def next_regime(regime: str, sessions_in_it: int, state: dict[str, float]) -> str:
    """Up at once; down only after five sessions, and with the exit score low enough."""
    target = regime_to_enter(state)
    if REGIMES.index(target) >= REGIMES.index(regime):
        return target
    calm = sum(signals(state, LEAVE).values()) < SCORE_TO_LEAVE[regime]
    return target if sessions_in_it >= 5 and calm else regime


def states_by_hand(ledger: Ledger, tables: dict[date, dict[str, Row]]) -> dict[date, dict[str, float]]:
    """State of the unscaled book per session. A month's weights are in force from the first session after it."""
    strategies = list(read_book("calmar_core")["strategies"])
    ends = list(tables)
    days = [day for day in ledger.sessions if ends[0] < day <= ends[-1]]
    columns: dict[str, list[float | None]] = {
        s: [ledger.daily_return(s, day) if day >= ledger.first_activity[s] else None for day in days]
        for s in strategies
    }
    book, drawdown = [], []
    equity = peak = 1.0
    for t, day in enumerate(days):
        in_force = tables[ends[bisect_left(ends, day) - 1]]
        book.append(sum(in_force[s].realized * (columns[s][t] or 0.0) for s in strategies))
        equity *= 1 + book[t]
        peak = max(peak, equity)
        drawdown.append(equity / peak - 1)
    states = {}
    for t in range(59, len(days)):  # from the first session that makes sixty
        days_20, days_60 = slice(t - 19, t + 1), slice(t - 59, t + 1)
        rvol_20, rvol_60 = volatility(book[days_20]), volatility(book[days_60])
        corr_20 = mean_correlation([column[days_20] for column in columns.values()])
        corr_60 = mean_correlation([column[days_60] for column in columns.values()])
        states[days[t]] = {
            "port_rvol_20d": rvol_20,
            "port_rvol_60d": rvol_60,
            "vol_accel": rvol_20 / rvol_60,
            "dd_level": drawdown[t],
            "dd_slope_10d": drawdown[t] - drawdown[t - 10],
            "corr_20d": corr_20,
            "corr_60d": corr_60,
            "corr_shock": corr_20 - corr_60,
        }
    return states


def allocator_by_hand(states: dict[date, dict[str, float]]) -> dict[date, Allocator]:
    """Regime and risk scalar of every session; the scalar goes a quarter of the way to its target each session."""
    rows: dict[date, Allocator] = {}
    regime, sessions_in_it, smooth = "", 0, math.nan
    for day, state in states.items():
        new = next_regime(regime, sessions_in_it, state) if regime else regime_to_enter(state)
        sessions_in_it = sessions_in_it + 1 if new == regime else 1
        regime = new
        target = TARGET_SCALAR[regime]
        smooth = 0.75 * smooth + 0.25 * target if rows else target
        rows[day] = Allocator(state, regime, clip(smooth, 0.25, 1.00))
    return rows


# --- What the package makes of the same files ---

MONTHS = (
    # The first table: starts from base; one month live, blended with the past; energy_bands and jump_fade_short are
    # years from their start, when their figures will be known. The median is under the anchor's floor.
    date(2012, 1, 31),
    # The twelfth month of those that began in January, and the first on the true window alone; index_dip began in June.
    date(2012, 12, 31),
    # Two strategies without any drawdown, whose multiplier is the cap; index_dip with too few exits.
    date(2013, 6, 28),
    # Third month of factor_rotation, 64 sessions: the first measured one, a return made annual and no past to blend.
    date(2014, 9, 30),
    # Ten losses: the others would pass twice their base, so the cap binds for four; the median is a loss.
    date(2015, 11, 30),
    # Eleven losses, the cap binds for five; second month of jump_fade_short; a leap day, so the window is after 28 Feb.
    date(2016, 2, 29),
    # index_dip has no exit in the window at all, and index_timing fewer than five.
    date(2017, 10, 31),
    # First month of energy_bands, the latest starter.
    date(2018, 7, 31),
    # Twelfth month of energy_bands, which has been live for less than a year: measured, but not made annual.
    date(2019, 6, 28),
    # Nine losses and a median below zero, yet no cap binds; trend_short is shut down, but has exits in the window.
    date(2020, 6, 30),
    # Four strategies without any drawdown; trend_short is out of exits.
    date(2021, 11, 30),
    # The last month whose last session the benchmark's file can tell.
    date(2022, 11, 30),
)
SUNDAYS = (
    # Nine sessions: nobody is measured, so the target is base.
    date(2012, 1, 15),
    # Easter: the week ended on Thursday.
    date(2013, 3, 31),
    # Two ratios under the clip of -5; the cap binds for rsi2.
    date(2015, 8, 30),
    # trend_short was shut down; floors bind.
    date(2021, 6, 27),
)
# The session on which the book leaves STRESS after four weeks, so that the scalar begins to rise.
SCALAR_DAY = date(2021, 6, 30)


@pytest.fixture(scope="module")
def ledger():
    return read_by_hand()


@pytest.fixture(scope="module")
def monthly(ledger):
    return monthly_by_hand(ledger)


@pytest.fixture(scope="module")
def package():
    """The package's ledger and daily returns, in memory."""
    source = load_ledger_source(DATA / "ledgers" / "sample.yaml")
    intake = read_ledger(source, DATA, horizon=date(2022, 12, 31))
    calendar = calendar_sessions(source.calendar, date(2012, 1, 1), date(2023, 1, 31))
    sessions = calendar[calendar < "2023"]
    ends = pd.DatetimeIndex(sessions.to_series().groupby(sessions.to_period("M")).max())
    returns = chain.returns_table(
        intake.lots, intake.open_lots(ends), intake.returns, sessions, read_capital(source, DATA), sessions[0]
    )
    history = ReturnHistory.from_long(returns, sessions=sessions)
    return SimpleNamespace(intake=intake, calendar=calendar, ends=ends, returns=returns, history=history)


def package_tables(package, book_name, as_of):
    book = load_book(DATA / "books" / f"{book_name}.yaml")
    policy = book.policy(load_starter_metrics(book, DATA))
    targets = chain.target_table(chain.metric_rows(package.history, as_of, policy), policy)
    realized = chain.realized_table(pd.DataFrame(), targets, policy, package.calendar)
    rows = targets.merge(realized[["as_of", "strategy", "realized"]], on=["as_of", "strategy"], validate="1:1")
    return SimpleNamespace(policy=policy, realized=realized, rows=rows)


@pytest.fixture(scope="module")
def package_monthly(package):
    return package_tables(package, "calmar_core", package.ends[package.ends < "2022-12"])


@pytest.fixture(scope="module")
def package_weekly(package):
    evenings = [datetime.combine(day, time(18), ZoneInfo("America/New_York")) for day in SUNDAYS]
    spans = [session_span("XNYS", evening - timedelta(days=7), evening) for evening in evenings]
    as_of = [package.calendar[package.calendar < pd.Timestamp(span.after)][-1] for span in spans]
    return package_tables(package, "sharpe_weekly", pd.DatetimeIndex(as_of)), dict(zip(SUNDAYS, as_of, strict=True))


def assert_same_table(by_hand, table):
    rows = table.set_index("strategy")
    assert set(rows.index) == set(by_hand)
    assert rows["reason"].to_dict() == {s: row.reason for s, row in by_hand.items()}
    assert rows["metric_value"].isna().to_dict() == {s: row.metric is None for s, row in by_hand.items()}
    measured = {s: row.metric for s, row in by_hand.items() if row.metric is not None}
    assert rows["metric_value"].dropna().to_dict() == pytest.approx(measured, rel=1e-10, abs=0)
    multipliers = {s: row.multiplier for s, row in by_hand.items()}
    assert rows["multiplier"].to_dict() == pytest.approx(multipliers, rel=1e-10, abs=0)
    for column in ("target", "realized"):
        expected = {s: getattr(row, column) for s, row in by_hand.items()}
        assert rows[column].to_dict() == pytest.approx(expected, rel=0, abs=1e-12)


def test_the_five_planted_rows_are_the_ones_set_aside(ledger, package):
    rejected = package.intake.rejected
    lots = [json.loads(content)["lot_id"] for content in rejected["content"]]
    codes = {
        "quantity": "quantity_not_positive",
        "closed before opened": "closed_before_opened",
        "no strategy or symbol": "missing_symbol",
    }
    by_hand = {(lot, codes[reason]) for lot, reason in ledger.rejected.items()}
    assert len(by_hand) == 3
    assert len(ledger.repeated) == 2
    expected = by_hand | {(lot, "exact_duplicate") for lot in ledger.repeated}
    assert sorted(zip(lots, rejected["reasons"], strict=True)) == sorted(expected)


def test_every_daily_return(ledger, package):
    found = package.returns[package.returns["session"] <= pd.Timestamp(ledger.sessions[-1])]
    days = [day for day in ledger.sessions if day.year >= 2012]
    exits = {strategy: Counter(exit_days) for strategy, exit_days in ledger.exits.items()}
    by_hand = {
        (pd.Timestamp(day), strategy): (ledger.daily_return(strategy, day), exits[strategy][day])
        for strategy, first in ledger.first_activity.items()
        for day in days
        if day >= first
    }
    expected = pd.DataFrame.from_dict(by_hand, orient="index", columns=["daily_return", "closed_lots"])
    found = found.set_index(["session", "strategy"])[["daily_return", "closed_lots"]]
    expected.index = pd.MultiIndex.from_tuples(expected.index, names=found.index.names)
    pd.testing.assert_frame_equal(
        found.sort_index(), expected.sort_index(), check_dtype=False, check_index_type=False, rtol=1e-10, atol=1e-15
    )


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_a_month_of_calmar_core(monthly, package_monthly, month):
    rows = package_monthly.rows
    assert_same_table(monthly[month], rows[rows["as_of"] == pd.Timestamp(month)])


def test_realized_weights_of_every_month(monthly, package_monthly):
    found = package_monthly.realized.set_index(["as_of", "strategy"])["realized"].to_dict()
    expected = {(pd.Timestamp(d), s): row.realized for d, rows in monthly.items() for s, row in rows.items()}
    assert len(monthly) == 131
    assert found == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("sunday", SUNDAYS, ids=str)
def test_a_week_of_sharpe_weekly(ledger, package_weekly, sunday):
    tables, as_of = package_weekly
    assert_same_table(week_by_hand(ledger, sunday), tables.rows[tables.rows["as_of"] == as_of[sunday]])


def test_state_regime_and_scalar_at_a_month_end(ledger, monthly, package, package_monthly):
    until = {d: rows for d, rows in monthly.items() if d <= SCALAR_DAY}
    by_hand = allocator_by_hand(states_by_hand(ledger, until))
    overlay = package_monthly.policy.overlay
    state = chain.state_table(package.returns, package_monthly.realized, overlay, DAILY)
    regimes = chain.regime_table(state, overlay.thresholds)
    scalars = chain.scalar_table(regimes, overlay).set_index("session").loc[: SCALAR_DAY.isoformat()]
    expected = by_hand[SCALAR_DAY]
    found = state.set_index("session").loc[pd.Timestamp(SCALAR_DAY)]
    assert found[list(expected.state)].to_dict() == pytest.approx(expected.state, rel=1e-10, abs=1e-12)
    assert (expected.regime, expected.scalar) == ("ELEVATED", pytest.approx(0.62607, abs=1e-5))
    # The whole way there, as each session's regime and scalar follow from the one before.
    assert scalars["regime"].tolist() == [row.regime for row in by_hand.values()]
    assert scalars.index.date.tolist() == list(by_hand)
    assert scalars["scalar"].tolist() == pytest.approx([row.scalar for row in by_hand.values()], rel=0, abs=1e-12)
