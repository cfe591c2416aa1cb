"""What a book has earned and what it risks: one series of returns, and every figure of a report from it.

Scope: the calls into ``core.study`` with the tables of one book. Not here: weights and why they moved (``facts``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from weights_pipeline.core.allocator.overlay import monthly_returns, performance
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.study.attribution import DECISIONS, Contributions, by_sleeve, contributions, hit_rate
from weights_pipeline.core.study.benchmark import AgainstBenchmark, against_benchmark
from weights_pipeline.core.study.book_comparison import net_returns
from weights_pipeline.core.study.costs import in_force_after
from weights_pipeline.core.study.holdings import HoldingsRisk, holdings_risk
from weights_pipeline.core.study.tear_sheet import (
    Drawdown,
    PeriodReturn,
    Tail,
    period_returns,
    rolling_figures,
    sharpe_over,
    tail_ratio,
    tail_risk,
    worst_drawdowns,
    yearly_figures,
)
from weights_pipeline.workspace import BookSetup

BOOKED_ON_EXIT = "P&L booked on exit"
"""How a ledger without prices books profit."""

LEVELS = (0.95, 0.99)
"""Of value at risk."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Earned:
    """What a book has earned, after fees, on all sessions on which its weights were in force.

    Attributes
    ----------
    returns
        By session; every figure here follows from it.
    figures
        Of the whole, by name, see :func:`~weights_pipeline.core.allocator.overlay.performance`; null is NaN.
    rate, sharpe_over_rate
        Annual risk-free rate of the book's own metrics, and the Sharpe ratio above it.
    periods, monthly, yearly
        Returns of periods to date, by month, and figures by year.
    drawdowns, tails, tail_ratio
        The worst ten; value at risk of one observation; size of good days over that of bad ones.
    rolling
        Sharpe ratio and volatility by what they are of: the last 6 and 12 months.
    overlay
        Returns unscaled and scaled, after fees; None for a book without overlay.
    booked
        Figures of the whole with all profit booked on exit; None where ``figures`` are that already.
    costs
        Figures before and after the costs that the book names, see
        :func:`~weights_pipeline.core.study.costs.in_force_after`; None where it names none.
    benchmark
        Beta and correlation to the ledger's benchmark; None where it names none, or none is stored.
    """

    returns: pd.Series
    frequency: Frequency
    figures: Mapping[str, float]
    rate: float
    sharpe_over_rate: float
    periods: tuple[PeriodReturn, ...]
    monthly: pd.Series
    yearly: pd.DataFrame
    drawdowns: tuple[Drawdown, ...]
    tails: tuple[Tail, ...]
    tail_ratio: float
    rolling: Mapping[str, pd.DataFrame]
    overlay: tuple[pd.Series, pd.Series] | None
    booked: Mapping[str, float] | None
    costs: Mapping[str, Any] | None
    benchmark: AgainstBenchmark | None

    @property
    def total(self) -> float:
        """Compounded return since inception."""
        return next(each.value for each in self.periods if each.name == "Since inception")

    @property
    def document(self) -> dict[str, Any]:
        """All figures for a machine; a null is NaN."""
        return {
            "first": f"{self.returns.index[0]:%Y-%m-%d}",
            "last": f"{self.returns.index[-1]:%Y-%m-%d}",
            "sessions": len(self.returns),
            "figures": dict(self.figures),
            "risk_free": {"sharpe": 0.0, "sharpe_over_rate": self.rate},
            "sharpe_over_rate": self.sharpe_over_rate,
            "periods": {each.name: {"first": f"{each.first:%Y-%m-%d}", "return": each.value} for each in self.periods},
            "months": {str(month): value for month, value in self.monthly.items()},
            "years": {str(year): dict(row) for year, row in self.yearly.to_dict("index").items()},
            "drawdowns": [
                {
                    "depth": each.depth,
                    "start": f"{each.start:%Y-%m-%d}",
                    "trough": f"{each.trough:%Y-%m-%d}",
                    "recovery": f"{each.recovery:%Y-%m-%d}" if each.recovery is not None else None,
                    "length": each.length,
                }
                for each in self.drawdowns
            ],
            "tails": [{"level": each.level, "var": each.var, "cvar": each.cvar} for each in self.tails],
            "tail_ratio": self.tail_ratio,
            "booked_on_exit": dict(self.booked) if self.booked else None,
            "costs": dict(self.costs) if self.costs else None,
            "benchmark": {name: getattr(self.benchmark, name) for name in ("observations", "beta", "correlation")}
            if self.benchmark
            else None,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """Who earned it; contributions are fractions of the capital at the start of their stretch.

    Attributes
    ----------
    whole, year, latest
        Since inception, over the last year and since the last rebalance: strategies × decisions, linked.
    sleeves
        The whole by sleeve; empty where no sleeve has two strategies.
    by_year
        Calendar years × decisions, each linked within its year.
    own, mean_weight
        Compounded return of each strategy while the book had weights in force, and its mean weight.
    hits
        Rebalances after which tilting earned more than base weights, and rebalances at all.
    """

    whole: pd.DataFrame
    year: pd.DataFrame
    latest: pd.DataFrame
    sleeves: pd.DataFrame
    by_year: pd.DataFrame
    own: pd.Series
    mean_weight: pd.Series
    hits: tuple[int, int]

    @property
    def decisions(self) -> dict[str, float]:
        """The whole by decision."""
        return {name: math.fsum(self.whole[name]) for name in DECISIONS}

    @property
    def document(self) -> dict[str, Any]:
        """All figures for a machine."""
        return {
            "linking": "Carino 1999",
            "since_inception": self.whole.to_dict("index"),
            "last_year": self.year.to_dict("index"),
            "since_the_last_rebalance": self.latest.to_dict("index"),
            "years": {str(year): row for year, row in self.by_year.to_dict("index").items()},
            "rebalances": {"tilt_helped": self.hits[0], "of": self.hits[1]},
        }


def booking(setup: BookSetup) -> str:
    """How profit is booked in the ledger that a book reads, in words."""
    source = setup.source
    if source.returns:
        return "returns as delivered"
    if source.prices:
        return "P&L of lots from fills marked to market while open, others booked on exit"
    return BOOKED_ON_EXIT


def earned(
    setup: BookSetup,
    base: pd.DataFrame,
    realized: pd.DataFrame,
    scaled: pd.DataFrame,
    final: pd.DataFrame,
    returns: pd.DataFrame,
    booked: pd.DataFrame | None = None,
    prices: pd.Series | None = None,
) -> tuple[Earned, Attribution] | None:
    """Performance and attribution of a book; None where its weights have not been in force on any session.

    Parameters
    ----------
    setup
        The book and its ledger.
    base, realized, scaled, final
        Weights by the session they are in force from; columns strategies.
    returns
        Of the ledger, sessions × strategies.
    booked
        The same with all profit booked on exit, where open lots are marked to market in ``returns``.
    prices
        Closes of the ledger's benchmark by session, where it has one.
    """
    net = net_returns(final, returns)
    if net.empty:
        return None
    book, frequency = setup.book, setup.source.frequency
    rebalances = pd.DatetimeIndex(realized.index)
    latest = rebalances[rebalances <= net.index[-1]][-1]
    rate = book.metrics.session_risk_free(frequency.per_year)
    overlay = None
    if book.overlay is not None:
        overlay = (net_returns(realized, returns), net_returns(scaled, returns))
    spans = {f"{months} months": round(frequency.per_year * months / 12) for months in (6, 12)}

    def figures(earned: pd.Series) -> dict[str, float]:
        return {name: value for name, (value, _) in performance(earned, book.name, frequency).items()}

    performed = Earned(
        returns=net,
        frequency=frequency,
        figures=figures(net),
        rate=book.metrics.risk_free,
        sharpe_over_rate=sharpe_over(net, rate, frequency),
        periods=period_returns(net, latest),
        monthly=monthly_returns(net),
        yearly=yearly_figures(net, frequency),
        drawdowns=worst_drawdowns(net),
        tails=tuple(tail_risk(net, level, frequency) for level in LEVELS),
        tail_ratio=tail_ratio(net, frequency),
        rolling={name: rolling_figures(net, span, frequency) for name, span in spans.items()},
        overlay=overlay,
        booked=figures(net_returns(final, booked)) if booked is not None else None,
        costs=in_force_after(final, returns, book.costs, frequency) if book.costs else None,
        benchmark=against_benchmark(net, prices, spans, frequency) if prices is not None else None,
    )
    found = contributions(base, realized, final, returns)
    return performed, _attribution(found, performed, rebalances, book.overlay.sleeves if book.overlay else {})


def at_risk(setup: BookSetup, weights: Mapping[str, float], returns: pd.DataFrame) -> HoldingsRisk | None:
    """Risk of the weights held now; None where the ledger has too few returns."""
    return holdings_risk(weights, returns, setup.source.frequency)


def _attribution(
    found: Contributions, performed: Earned, rebalances: pd.DatetimeIndex, sleeve_of: Mapping[str, str]
) -> Attribution:
    first = {each.name: each.first for each in performed.periods}
    whole = found.linked()
    sleeves = by_sleeve(whole, sleeve_of)
    years = sorted(set(found.sessions.year))
    by_year = {
        year: found.linked(pd.Timestamp(year, 1, 1), pd.Timestamp(year, 12, 31)).agg(math.fsum) for year in years
    }
    return Attribution(
        whole=whole,
        year=found.linked(max(first["One year"], found.sessions[0])),
        latest=found.linked(first["Since the last rebalance"]),
        sleeves=sleeves if len(sleeves) < len(whole) else sleeves.iloc[:0],
        by_year=pd.DataFrame.from_dict(by_year, orient="index"),
        own=found.own_returns,
        mean_weight=pd.Series(found.weights.mean(axis=0), index=list(found.strategies)),
        hits=hit_rate(found, rebalances),
    )
