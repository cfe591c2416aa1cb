"""Make the sample ledger: rule-based strategies traded on the S&P 500 closes bundled with ``skfolio``.

Belongs here: the rules, the paper broker that trades them, and the writing of the files beside this script.
Does not belong here: anything the pipeline computes. The first-in-first-out matching below is deliberately
its own, so that the sample can be held against the pipeline's.

Usage
-----
``python data/sample/make_sample.py [--out DIR]`` (needs ``pip install -e '.[sample]'``). The same package
versions give the same bytes. The table of strategies in ``PROVENANCE.md`` is what this script prints.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars as xcals
import numpy as np
import pandas as pd
from skfolio.datasets import load_factors_dataset, load_sp500_dataset, load_sp500_index

NEW_YORK = ZoneInfo("America/New_York")
FIRST, LAST = pd.Timestamp("2012-01-03"), pd.Timestamp("2022-12-28")
INDEX = "SP500"
FACTORS = ["MTUM", "QUAL", "SIZE", "USMV", "VLUE"]
CYCLICALS = ["AMD", "BAC", "BBY", "CVX", "GE", "JPM", "RRC", "XOM"]
ENERGY = ["CVX", "RRC", "XOM"]
MEGACAP = ["AAPL", "JNJ", "JPM", "MSFT", "WMT", "XOM"]
NOT_STOCKS = [INDEX, *FACTORS]

COMMISSION_BP = 0.5
SLIPPAGE_BP = defaultdict(lambda: 1.5, {"AMD": 4.0, "BBY": 4.0, "RRC": 6.0, INDEX: 0.5})
MARGIN_RATE = 0.5
NO_TRADE_BAND = 0.10

XNYS = xcals.get_calendar("XNYS", start="1990-01-02", end="2023-01-31")
HALF_DAYS = frozenset(XNYS.early_closes)


# --- Rules ---
# A rule maps closes (sessions x symbols, sorted) to orders of the same index: a number is "bring the position
# to this signed share of capital", NaN is "leave it". Row t uses closes to t only; it is traded at the
# close of t + 1.

Rule = Callable[[pd.DataFrame], pd.DataFrame]


def stocks(closes: pd.DataFrame) -> pd.DataFrame:
    """Return the closes of the twenty single names."""
    return closes.drop(columns=NOT_STOCKS)


def at_high(prices: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Whether the close is the highest of the last ``sessions``."""
    return prices == prices.rolling(sessions).max()


def at_low(prices: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Whether the close is the lowest of the last ``sessions``."""
    return prices == prices.rolling(sessions).min()


def z_score(values: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Distance from the rolling mean in rolling standard deviations."""
    window = values.rolling(sessions)
    return (values - window.mean()) / window.std()


def volatility(prices: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """Annual volatility of close-to-close returns."""
    return prices.pct_change(fill_method=None).rolling(sessions).std() * math.sqrt(252)


def latch(enter: pd.DataFrame, leave: pd.DataFrame) -> pd.DataFrame:
    """1.0 from ``enter`` until ``leave``, else 0.0; ``leave`` wins where both hold."""
    state = np.select([leave.to_numpy(), enter.to_numpy()], [0.0, 1.0], np.nan)
    return pd.DataFrame(state, index=enter.index, columns=enter.columns).ffill().fillna(0.0)


def on_change(state: pd.DataFrame, size: pd.DataFrame | float) -> pd.DataFrame:
    """Orders of ``state * size`` on the sessions on which ``state`` changes."""
    return (state * size).where(state != state.shift())


def every(period: str, targets: pd.DataFrame) -> pd.DataFrame:
    """Orders on the first session of each ``period`` (W or M)."""
    periods = pd.DatetimeIndex(targets.index).to_period(period)
    first = np.r_[True, periods[1:] != periods[:-1]]
    return targets.where(pd.Series(first, index=targets.index), axis=0)


def extremes(score: pd.DataFrame, count: int) -> pd.DataFrame:
    """+1 for the ``count`` highest scores of the session, -1 for the lowest, else 0."""
    rank = score.rank(axis=1, method="first")
    return (rank > score.shape[1] - count).astype(float) - (rank <= count).astype(float)


def day_of_next_session(closes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return which session of its month the next one is, from 1, and how many follow it in that month.

    The exchange's calendar is known in advance, so this looks ahead at no price.
    """
    sessions = pd.Series(XNYS.sessions, index=XNYS.sessions)
    month = sessions.groupby(XNYS.sessions.to_period("M"))
    day, left = month.cumcount() + 1, month.cumcount(ascending=False)
    return day.shift(-1).loc[closes.index].to_numpy(), left.shift(-1).loc[closes.index].to_numpy()


def trend_long(closes: pd.DataFrame) -> pd.DataFrame:
    """Long at a 20-day high above the 200-day mean; half out at a 10-day low, the rest at a 20-day low."""
    prices = stocks(closes)
    above = prices > prices.rolling(200).mean()
    enter = at_high(prices, 20) & above
    halves = latch(enter, at_low(prices, 10) | ~above) + latch(enter, at_low(prices, 20) | ~above)
    return on_change(halves, 0.035)


def trend_short(closes: pd.DataFrame) -> pd.DataFrame:
    """Short eight cyclicals at a 20-day low under the 200-day mean; halves out at 10- and 20-day highs."""
    prices = closes[CYCLICALS]
    below = prices < prices.rolling(200).mean()
    enter = at_low(prices, 20) & below
    halves = latch(enter, at_high(prices, 10) | ~below) + latch(enter, at_high(prices, 20) | ~below)
    return on_change(halves, -0.065)


def breakout_55d(closes: pd.DataFrame) -> pd.DataFrame:
    """Long at a 55-day high, short at a 55-day low, out at the opposite 20-day extreme; equal risk."""
    prices = stocks(closes)
    state = latch(at_high(prices, 55), at_low(prices, 20)) - latch(at_low(prices, 55), at_high(prices, 20))
    return on_change(state, (0.015 / volatility(prices, 20)).clip(upper=0.10))


def index_timing(closes: pd.DataFrame) -> pd.DataFrame:
    """Index long with the 50-day mean above the 200-day mean, else half short; weekly to 12% volatility."""
    index = closes[[INDEX]]
    side = (index.rolling(50).mean() > index.rolling(200).mean()).astype(float) * 1.5 - 0.5
    return every("W", side * (0.12 / volatility(index, 20)).clip(upper=1.2))


def xs_momentum(closes: pd.DataFrame) -> pd.DataFrame:
    """Monthly: long the four best, short the four worst by the return from 12 months to 1 month ago."""
    prices = stocks(closes)
    return every("M", extremes(prices.shift(21) / prices.shift(252), 4) * 0.09)


def factor_rotation(closes: pd.DataFrame) -> pd.DataFrame:
    """Weekly: the two of five factor funds with the best 63-day return."""
    funds = closes[FACTORS]
    return every("W", extremes(funds / funds.shift(63), 2).clip(lower=0.0) * 0.5)


def reversal_5d(closes: pd.DataFrame) -> pd.DataFrame:
    """Weekly: long the four worst, short the four best by the last 5-day return."""
    prices = stocks(closes)
    return every("W", extremes(prices / prices.shift(5), 4) * -0.07)


def rsi2(closes: pd.DataFrame) -> pd.DataFrame:
    """Long at a 2-day RSI under 10 above the 200-day mean; out above the 5-day mean."""
    prices = stocks(closes)
    moves = prices.diff()
    gain, loss = (part.ewm(alpha=0.5).mean() for part in (moves.clip(lower=0.0), -moves.clip(upper=0.0)))
    oversold = (gain < 0.1 * (gain + loss)) & (prices > prices.rolling(200).mean())
    return on_change(latch(oversold, prices > prices.rolling(5).mean()), 0.10)


def jump_fade_short(closes: pd.DataFrame) -> pd.DataFrame:
    """Short a jump of 2.5 daily standard deviations; cover below the 10-day mean or after 5 sessions."""
    prices = stocks(closes)
    moves = prices.pct_change(fill_method=None)
    jump = moves > 2.5 * moves.rolling(60).std().shift()
    held_long_enough = jump.astype(float).rolling(6).sum() == 0
    return on_change(latch(jump, (prices < prices.rolling(10).mean()) | held_long_enough), -0.11)


def index_dip(closes: pd.DataFrame) -> pd.DataFrame:
    """Buy the index 5% under its 50-day high; sell above its 20-day mean."""
    index = closes[[INDEX]]
    return on_change(latch(index < 0.95 * index.rolling(50).max(), index > index.rolling(20).mean()), 1.0)


def turn_of_month(closes: pd.DataFrame) -> pd.DataFrame:
    """Index from a month's last but one session; half out on the second of the next, rest on the third."""
    day, left = day_of_next_session(closes)
    position = np.select([(left <= 1) | (day == 1), day == 2], [1.0, 0.5], 0.0)
    return on_change(pd.DataFrame({INDEX: position}, index=closes.index), 1.5)


def pairs_ko_pep(closes: pd.DataFrame) -> pd.DataFrame:
    """KO against PEP: enter when the 60-day z-score of the log price ratio passes 2, leave at its mean."""
    logs = closes[["KO", "PEP"]].apply(np.log)
    z = z_score((logs["KO"] - logs["PEP"]).to_frame("KO"), 60)
    ratio = latch(z < -2, z > 0) - latch(z > 2, z < 0)
    return on_change(ratio.assign(PEP=-ratio["KO"]), 0.75)


def energy_bands(closes: pd.DataFrame) -> pd.DataFrame:
    """Oil and gas names: fade a close two standard deviations off the 20-day mean, leave at the mean."""
    prices = closes[ENERGY]
    z = z_score(prices, 20)
    return on_change(latch(z < -2, z > 0) - latch(z > 2, z < 0), (0.05 / volatility(prices, 60)).clip(upper=0.3))


def low_volatility(closes: pd.DataFrame) -> pd.DataFrame:
    """Weekly: the five names with the lowest 60-day volatility, each while above its 50-day mean."""
    prices = stocks(closes)
    calm = extremes(-volatility(prices, 60), 5) > 0
    return every("W", (calm & (prices > prices.rolling(50).mean())) * 0.2)


def equal_weight_quarterly(closes: pd.DataFrame) -> pd.DataFrame:
    """All twenty names at 5%, in thirds held a quarter; one is sold each month's end, rebought next day."""
    _, left = day_of_next_session(closes)
    position = np.where(left == 0, 2 / 3, 1.0)
    return on_change(pd.DataFrame(dict.fromkeys(stocks(closes), position), index=closes.index), 0.05)


def vol_target_megacap(closes: pd.DataFrame) -> pd.DataFrame:
    """Six very large names in equal parts, the basket sized weekly to 12% volatility, at most 1.5 times."""
    moves = closes[MEGACAP].pct_change(fill_method=None)
    total = (0.12 / (moves.mean(axis=1).rolling(20).std() * math.sqrt(252))).clip(upper=1.5)
    return every("W", pd.DataFrame({name: total / len(MEGACAP) for name in MEGACAP}))


# --- Accounts ---


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A rule and the account it trades on.

    Attributes
    ----------
    rule : Rule
        Its name is the strategy's.
    code : str
        Prefix of its lot and fill ids.
    sleeve : str
        Kind of return it is after.
    start, stop : str
        First and last session; a strategy that stops before the data ends sells out on its last session.
    capital : dict of str to int
        Capital base in dollars from each date on.
    at : time
        New York time of its orders; three hours earlier on half days.
    fills : bool
        Reported as fills rather than closed lots.
    cash : bool
        A cash account: no margin is reported.
    reports_pnl : bool
        Whether its closed lots carry a P&L.
    """

    rule: Rule
    code: str
    sleeve: str
    capital: dict[str, int]
    start: str = "2012-01-03"
    stop: str = "2022-12-28"
    at: time = time(16)
    fills: bool = False
    cash: bool = False
    reports_pnl: bool = True

    @property
    def name(self) -> str:
        """Name of the rule."""
        return self.rule.__name__

    def capital_on(self, sessions: pd.DatetimeIndex) -> pd.Series:
        """Capital base in force per session; the first amount before its date as well."""
        steps = pd.Series(self.capital, dtype=float)
        steps.index = pd.DatetimeIndex(steps.index)
        return steps.reindex(sessions, method="ffill").fillna(steps.iloc[0])


MOC, BEFORE_CLOSE = time(16), time(15, 59)

STRATEGIES = [
    Strategy(
        rule=trend_long,
        code="TL",
        sleeve="trend",
        at=BEFORE_CLOSE,
        capital={"2012-01-03": 1_000_000, "2015-01-02": 1_500_000, "2019-01-02": 2_000_000},
    ),
    Strategy(
        rule=trend_short,
        code="TS",
        sleeve="trend",
        at=BEFORE_CLOSE,
        stop="2019-12-31",
        capital={"2012-01-03": 500_000},
    ),
    Strategy(rule=breakout_55d, code="BO", sleeve="trend", fills=True, capital={"2012-01-03": 1_000_000}),
    Strategy(
        rule=index_timing,
        code="IT",
        sleeve="trend",
        fills=True,
        capital={"2012-01-03": 2_000_000, "2017-01-03": 2_500_000},
    ),
    Strategy(rule=rsi2, code="RS", sleeve="mean_reversion", capital={"2012-01-03": 1_000_000}),
    Strategy(
        rule=reversal_5d,
        code="RV",
        sleeve="mean_reversion",
        capital={"2012-01-03": 1_000_000, "2016-07-01": 750_000, "2020-07-01": 1_000_000},
    ),
    Strategy(
        rule=jump_fade_short,
        code="JF",
        sleeve="mean_reversion",
        at=BEFORE_CLOSE,
        start="2016-01-04",
        capital={"2016-01-04": 500_000},
    ),
    Strategy(
        rule=energy_bands,
        code="EB",
        sleeve="mean_reversion",
        start="2018-07-02",
        capital={"2018-07-02": 500_000, "2021-01-04": 800_000},
    ),
    Strategy(rule=index_dip, code="ID", sleeve="mean_reversion", cash=True, capital={"2012-01-03": 500_000}),
    Strategy(rule=xs_momentum, code="XM", sleeve="relative_value", capital={"2012-01-03": 1_000_000}),
    Strategy(
        rule=pairs_ko_pep,
        code="KP",
        sleeve="relative_value",
        at=BEFORE_CLOSE,
        capital={"2012-01-03": 600_000},
    ),
    Strategy(
        rule=factor_rotation,
        code="FR",
        sleeve="relative_value",
        start="2014-07-01",
        fills=True,
        cash=True,
        capital={"2014-07-01": 1_000_000, "2018-01-02": 1_500_000},
    ),
    Strategy(
        rule=low_volatility,
        code="LV",
        sleeve="defensive",
        cash=True,
        capital={"2012-01-03": 1_500_000, "2018-01-02": 2_000_000},
    ),
    Strategy(
        rule=equal_weight_quarterly,
        code="EW",
        sleeve="defensive",
        cash=True,
        capital={"2012-01-03": 2_000_000},
    ),
    Strategy(rule=vol_target_megacap, code="VT", sleeve="defensive", fills=True, capital={"2012-01-03": 1_000_000}),
    Strategy(
        rule=turn_of_month,
        code="TM",
        sleeve="defensive",
        reports_pnl=False,
        capital={"2012-01-03": 1_000_000},
    ),
]


# --- Paper broker ---


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One execution: signed whole shares at the close, fees in cents."""

    strategy: Strategy
    symbol: str
    session: pd.Timestamp
    amount: int
    price: float
    fee_cents: int
    fill_id: str


@dataclass(kw_only=True)
class Entry:
    """An opening fill with what is left of it."""

    fill: Fill
    quantity: int
    fee_cents: int
    exits: list[tuple[Fill, int, int]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Lot:
    """One exit of one entry."""

    lot_id: str
    parent_lot_id: str
    opened: Fill
    closed: Fill
    quantity: int
    fee_cents: int

    @property
    def sign(self) -> int:
        """+1 long, -1 short."""
        return 1 if self.opened.amount > 0 else -1

    @property
    def pnl(self) -> float:
        """Realized dollars, net of fees, in whole cents."""
        gross = self.sign * (self.closed.price - self.opened.price) * self.quantity
        return round(gross - self.fee_cents / 100, 2)


def load_closes() -> pd.DataFrame:
    """Return the closes of twenty stocks, the index and, from 2014, five factor funds; three decimals."""
    index = load_sp500_index().set_axis([INDEX], axis=1)
    closes = pd.concat([load_sp500_dataset(), index, load_factors_dataset()], axis=1).sort_index()
    closes = pd.DataFrame(closes.loc[:LAST].round(3))
    if not pd.DatetimeIndex(closes.index).isin(XNYS.sessions).all():
        raise ValueError("closes on days that are no XNYS session")
    return closes


def execute(strategy: Strategy, closes: pd.DataFrame, start: pd.Timestamp, stop: pd.Timestamp) -> list[Fill]:
    """Trade a strategy's orders one session after they are decided, at the close, in whole shares.

    On the first session the account takes the positions its rule already holds; on a last one before the data
    end it sells out. A change of up to ``NO_TRADE_BAND`` of the wanted position is left alone. Sized on the
    capital base and the last known close.
    """
    sessions = pd.DatetimeIndex(closes.loc[start:stop].index)
    orders = strategy.rule(closes)
    before = orders.index < sessions[0]
    orders = pd.concat([orders.ffill()[before], orders[~before]]).shift().loc[sessions]
    sized = orders.mul(strategy.capital_on(sessions), axis=0) / closes[orders.columns].shift().loc[sessions]
    if stop < LAST:
        sized.iloc[-1] = 0.0
    wanted, prices = sized.to_numpy(), closes.loc[sessions, orders.columns].to_numpy()
    fills: list[Fill] = []
    held = dict.fromkeys(orders.columns, 0)
    for row, column in np.argwhere(np.isfinite(wanted)):
        symbol, price = orders.columns[column], float(prices[row, column])
        target = int(wanted[row, column])
        amount = target - held[symbol]
        if abs(amount) <= NO_TRADE_BAND * abs(target):
            continue
        rate = (COMMISSION_BP + SLIPPAGE_BP[symbol]) / 1e4
        fills.append(
            Fill(
                strategy=strategy,
                symbol=symbol,
                session=sessions[row],
                amount=amount,
                price=price,
                fee_cents=round(abs(amount) * price * rate * 100),
                fill_id=f"{strategy.code}-F{len(fills) + 1:05d}",
            )
        )
        held[symbol] = target
    return fills


def match(fills: Iterable[Fill]) -> list[Lot]:
    """Match one strategy's fills first in, first out; fees are shared by quantity, to the cent, none lost.

    An entry closed at once is one lot; one closed in parts is numbered lots under the entry's id. What is
    still open at the end gives no lot.
    """
    entries: list[Entry] = []
    book: dict[str, deque[Entry]] = defaultdict(deque)
    for fill in fills:
        left, fee = abs(fill.amount), fill.fee_cents
        queue = book[fill.symbol]
        while left and queue and (queue[0].fill.amount > 0) != (fill.amount > 0):
            entry = queue[0]
            quantity = min(left, entry.quantity)
            entry_fee = round(entry.fee_cents * quantity / entry.quantity)
            exit_fee = round(fee * quantity / left)
            entry.exits.append((fill, quantity, entry_fee + exit_fee))
            entry.quantity, entry.fee_cents = entry.quantity - quantity, entry.fee_cents - entry_fee
            left, fee = left - quantity, fee - exit_fee
            if not entry.quantity:
                queue.popleft()
        if left:
            entries.append(Entry(fill=fill, quantity=left, fee_cents=fee))
            queue.append(entries[-1])
    lots = []
    for number, entry in enumerate(entries, start=1):
        whole = f"{entry.fill.strategy.code}-{number:05d}"
        in_parts = len(entry.exits) + (entry.quantity > 0) > 1
        for part, (closed, quantity, fee) in enumerate(entry.exits, start=1):
            lots.append(
                Lot(
                    lot_id=f"{whole}-{part}" if in_parts else whole,
                    parent_lot_id=whole if in_parts else "",
                    opened=entry.fill,
                    closed=closed,
                    quantity=quantity,
                    fee_cents=fee,
                )
            )
    return lots


# --- Figures ---


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Annual return, annual volatility and maximum drawdown (positive) of daily returns."""

    annual_return: float
    volatility: float
    max_drawdown: float


def figures(returns: pd.Series) -> Figures:
    """Figures of daily returns; equity is anchored at 1 before the first session."""
    equity = np.cumprod(np.r_[1.0, 1.0 + returns.to_numpy()])
    return Figures(
        annual_return=float(equity[-1] ** (252 / len(returns)) - 1),
        volatility=float(returns.std() * math.sqrt(252)),
        max_drawdown=float(np.max(1 - equity / np.maximum.accumulate(equity))),
    )


def booked_returns(strategy: Strategy, lots: Iterable[Lot], sessions: pd.DatetimeIndex) -> pd.Series:
    """P&L of the lots closed in each session over the capital base."""
    pnl: dict[pd.Timestamp, float] = defaultdict(float)
    for lot in lots:
        pnl[lot.closed.session] += lot.pnl
    return pd.Series([pnl[session] for session in sessions], index=sessions) / strategy.capital_on(sessions)


def marked_returns(
    strategy: Strategy, fills: Iterable[Fill], closes: pd.DataFrame, sessions: pd.DatetimeIndex
) -> pd.Series:
    """Daily change in value of the positions, open ones included, net of fees, over the capital base."""
    traded = np.zeros((len(sessions), closes.shape[1]))
    fees = np.zeros(len(sessions))
    rows, columns = ({key: n for n, key in enumerate(axis)} for axis in (sessions, closes.columns))
    for fill in fills:
        traded[rows[fill.session], columns[fill.symbol]] += fill.amount
        fees[rows[fill.session]] += fill.fee_cents / 100
    moves = closes.loc[sessions].diff().fillna(0.0).to_numpy()[1:]
    gains = np.r_[0.0, (traded.cumsum(axis=0)[:-1] * moves).sum(axis=1)]
    return pd.Series(gains - fees, index=sessions) / strategy.capital_on(sessions)


def starter(strategy: Strategy, closes: pd.DataFrame) -> dict[str, float | int | str] | None:
    """Figures of the twelve months before the start, from a two-year backtest of the same rule.

    None where the prices do not reach back that far, or there was no drawdown and hence no ratio.
    """
    end = pd.Timestamp(strategy.start) - pd.Timedelta(days=1)
    begin = end - pd.DateOffset(years=1) + pd.Timedelta(days=1)
    warm_up = begin - pd.DateOffset(years=1)
    if closes.loc[warm_up:begin, strategy.rule(closes.loc[:end]).columns].isna().any(axis=None):
        return None
    lots = match(execute(strategy, closes.loc[:end], warm_up, end))
    sessions = pd.DatetimeIndex(closes.loc[begin:end].index)
    booked = figures(booked_returns(strategy, [x for x in lots if x.closed.session >= begin], sessions))
    total, drawdown = round(booked.annual_return, 4), round(booked.max_drawdown, 4)
    if not drawdown:
        return None
    return {
        "twelve_month_return": total,
        "twelve_month_max_drawdown": drawdown,
        "calmar_ratio": round(total / drawdown, 4),
        "months_of_data": 12,
        "known_from": strategy.start,
    }


# --- Files ---

LOT_FIELDS = [
    "lot_id",
    "strategy",
    "symbol",
    "side",
    "quantity",
    "opened_at",
    "closed_at",
    "open_price",
    "close_price",
    "pnl",
    "fees",
    "margin_used",
    "parent_lot_id",
]
FILL_FIELDS = ["strategy", "symbol", "ts", "amount", "price", "fees", "fill_id"]
# File name, last year of exits in it, whether its times carry an offset, and one row that must be rejected.
LOT_FILES = [
    (
        "lots/2012_2015.csv",
        2015,
        False,
        "MANUAL-1,rsi2,JNJ,long,0,2014-03-11T16:00:00,2014-03-14T16:00:00,75.250,75.500,,0.00,,",
    ),
    (
        "lots/2016_2019.csv",
        2019,
        False,
        "MANUAL-2,trend_long,MSFT,long,100,2017-06-15T15:59:00,2017-06-05T15:59:00,65.000,66.000,99.00,1.00,3250.00,",
    ),
    (
        "lots/2020_2022.csv",
        2022,
        True,
        "MANUAL-3,xs_momentum,,short,200,2021-05-04T16:00:00-04:00,2021-06-02T16:00:00-04:00,40.000,39.000,198.00,2.00,4000.00,",
    ),
]
REPEATED = 2  # last rows of the first file, exported again at the head of the second


def stamp(fill: Fill, zone: str) -> str:
    """ISO time of a fill: ``local`` (no zone), ``offset`` (New York offset) or ``utc`` (Z)."""
    at = fill.strategy.at
    hour = at.hour - 3 if fill.session in HALF_DAYS else at.hour
    local = datetime.combine(fill.session.date(), at.replace(hour=hour))
    if zone == "local":
        return local.isoformat()
    aware = local.replace(tzinfo=NEW_YORK)
    return aware.isoformat() if zone == "offset" else aware.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%SZ")


def lot_row(lot: Lot, zone: str) -> list[str]:
    """One closed-lot row, in the order of ``LOT_FIELDS``."""
    strategy = lot.opened.strategy
    return [
        lot.lot_id,
        strategy.name,
        lot.opened.symbol,
        "long" if lot.sign > 0 else "short",
        str(lot.quantity),
        stamp(lot.opened, zone),
        stamp(lot.closed, zone),
        f"{lot.opened.price:.3f}",
        f"{lot.closed.price:.3f}",
        f"{lot.pnl:.2f}" if strategy.reports_pnl else "",
        f"{lot.fee_cents / 100:.2f}",
        "" if strategy.cash else f"{MARGIN_RATE * lot.quantity * lot.opened.price:.2f}",
        lot.parent_lot_id,
    ]


def fill_row(fill: Fill, zone: str) -> list[str]:
    """One fill row, in the order of ``FILL_FIELDS``."""
    return [
        fill.strategy.name,
        fill.symbol,
        stamp(fill, zone),
        str(fill.amount),
        f"{fill.price:.3f}",
        f"{fill.fee_cents / 100:.2f}",
        fill.fill_id,
    ]


def write_csv(path: Path, header: list[str], rows: Iterable[list[str]]) -> None:
    """Write rows with unix line ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_lots(out: Path, lots: list[Lot]) -> None:
    """Write the closed lots by year of exit, with the repeated and the rejectable rows."""
    lots = sorted(lots, key=lambda lot: (lot.closed.session, lot.closed.strategy.at, lot.lot_id))
    after = 0
    repeated: list[list[str]] = []
    for name, last_year, offset, bad_row in LOT_FILES:
        zone = "offset" if offset else "local"
        rows = [lot_row(lot, zone) for lot in lots if after < lot.closed.session.year <= last_year]
        middle = len(rows) // 2
        rows.insert(middle, bad_row.split(","))
        write_csv(out / name, LOT_FIELDS, repeated + rows)
        repeated = rows[-REPEATED:] if after == 0 else []
        after = last_year


def write_fills(out: Path, fills: list[Fill]) -> None:
    """Write the fills: the trend strategies' in local time, the others' in UTC."""
    fills = sorted(fills, key=lambda fill: (fill.session, fill.strategy.at, fill.fill_id))
    trend = [fill_row(fill, "local") for fill in fills if fill.strategy.sleeve == "trend"]
    write_csv(out / "fills/trend.csv", FILL_FIELDS, trend)
    others = [fill_row(fill, "utc") for fill in fills if fill.strategy.sleeve != "trend"]
    write_csv(out / "fills/other.csv", FILL_FIELDS, others)


def main() -> None:
    """Trade every strategy, write every file, print the table of strategies."""
    parser = argparse.ArgumentParser(description="Make the sample ledger.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out: Path = parser.parse_args().out
    closes = load_closes()

    all_lots: list[Lot] = []
    all_fills: list[Fill] = []
    starters: dict[str, dict[str, float | int | str]] = {}
    columns = ["strategy", "sleeve", "rule", "input", "from", "to", "lots"]
    columns += ["a year", "return", "volatility", "max DD", "marked max DD"]
    print("|", " | ".join(columns), "|")
    print("|---|---|---|---|---|---|---:|---:|---:|---:|---:|---:|")
    for strategy in STRATEGIES:
        start, stop = pd.Timestamp(strategy.start), pd.Timestamp(strategy.stop)
        sessions = pd.DatetimeIndex(closes.loc[start:stop].index)
        fills = execute(strategy, closes, start, stop)
        lots = match(fills)
        if strategy.fills:
            all_fills += fills
        else:
            all_lots += lots
        backtest = starter(strategy, closes)
        if backtest:
            starters[strategy.name] = backtest
        booked = figures(booked_returns(strategy, lots, sessions))
        marked = figures(marked_returns(strategy, fills, closes, sessions))
        rule = (strategy.rule.__doc__ or "").strip().rstrip(".")
        print(
            f"| {strategy.name} | {strategy.sleeve} | {rule} | {'fills' if strategy.fills else 'lots'} "
            f"| {strategy.start} | {strategy.stop} | {len(lots)} | {len(lots) * 252 / len(sessions):.0f} "
            f"| {booked.annual_return:.1%} | {booked.volatility:.1%} | {booked.max_drawdown:.1%} "
            f"| {marked.max_drawdown:.1%} |"
        )

    write_lots(out, all_lots)
    write_fills(out, all_fills)
    steps = [[s.name, day, str(amount)] for s in STRATEGIES for day, amount in s.capital.items()]
    write_csv(out / "capital.csv", ["strategy", "date", "capital"], steps)
    index = closes.loc["2010":, INDEX]
    benchmark = [[f"{day:%Y-%m-%d}", f"{close:.2f}"] for day, close in index.items()]
    write_csv(out / "benchmark.csv", ["date", "close"], benchmark)
    text = json.dumps(starters, indent=2) + "\n"
    (out / "starter_calmar_core.json").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
