"""How a report becomes a page: one HTML file with everything in it, the same bytes for the same report.

Scope: filters, figures in their places, and the template's environment, which escapes whatever is not markup made here.
Not here: any figure (``facts``) or sentence (``words``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from weights_pipeline.charts import report as charts
from weights_pipeline.core.allocator.overlay import STRESS_WINDOWS, performance, through_stress
from weights_pipeline.core.metrics.label import in_words
from weights_pipeline.core.study.book_comparison import DRAWS, FEE, LEVEL, SEED, BookComparison
from weights_pipeline.core.study.costs import paid_in_words
from weights_pipeline.core.study.holdings import HoldingsRisk
from weights_pipeline.core.study.tear_sheet import underwater
from weights_pipeline.core.waterfall import Step
from weights_pipeline.extras import need
from weights_pipeline.report import words
from weights_pipeline.report.earnings import Attribution
from weights_pipeline.report.facts import BookReport, Outcome, Report
from weights_pipeline.text import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OFFENDERS_SHOWN = 5
"""Offending rows of a check that are shown; how many there are is said."""

STRATEGIES_SHOWN = 20
"""Strategies of a matrix of correlations; of more, those with the largest share of risk."""

_NULL = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_SIGNS = {"start": "", "hold": "", "times": "×", "over": "÷", "plus": "+", "clip": "within"}
_WHOLE = {
    "cagr": "Annual return",
    "volatility": "Volatility",
    "sharpe": "Sharpe ratio, risk-free 0%",
    "sortino": "Sortino ratio, risk-free 0%",
    "max_drawdown": "Largest drawdown",
    "worst_month": "Worst month",
    "worst_day": "Worst day",
}
_RATIOS = frozenset({"sharpe", "sortino"})


def render(report: Report, *, printed: bool = False) -> str:
    """The page of a report, for a browser or with what a PDF of it needs beside.

    Raises
    ------
    MissingExtraError
        Nothing is installed that can draw its figures.
    """
    need("matplotlib", "the report")
    figures = {each.book.name: _figures(each, f"b{place}") for place, each in enumerate(report.books)}
    page = _environment().get_template("report.html.j2")
    return page.render(
        report=report,
        printed=printed,
        figures=figures,
        sides=_sides(report.comparison) if report.comparison else {},
        fee=FEE,
        draws=DRAWS,
        seed=SEED,
        level=LEVEL,
    )


def render_markdown(report: Report) -> str:
    """The same without charts, as Markdown: what comes from outside is text in it and nothing else."""
    environment = _environment().overlay(autoescape=False)
    return environment.get_template("report.md.j2").render(report=report)


def percent(value: float, digits: int = 2, sign: bool = False) -> str:
    """A fraction in percent; a dash for a null."""
    return _NULL if math.isnan(value) else f"{number(100 * value, digits, sign)}%"


def chance(value: float) -> str:
    """A probability in percent, never rounded to a certainty."""
    return "> 99.9%" if value > 0.999 else "< 0.1%" if value < 0.001 else percent(value, 1)


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A number; a dash for a null, and no sign where nothing is left of it."""
    if math.isnan(value):
        return _NULL
    shown = f"{value:{'+' if sign else ''}.{digits}f}"
    return (shown if shown.strip("+-0.") else shown.strip("+-")).replace("-", _MINUS)


def general(value: float) -> str:
    """A number of any size, four digits of it."""
    return _NULL if math.isnan(value) else f"{value:.4g}".replace("-", _MINUS)


def breakable(name: str) -> Markup:
    """A name that may be broken after each underscore."""
    return escape(name).replace("_", Markup("_<wbr>"))


def offenders(outcome: Outcome) -> tuple[list[str], list[list[str]], int]:
    """Columns and first rows of what offends, as texts, and how many rows there are."""
    rows = outcome.finding.offending
    shown = rows.head(OFFENDERS_SHOWN)
    return [str(name) for name in rows.columns], [[_cell(cell) for cell in row] for row in shown.to_numpy()], len(rows)


def step_text(step: Step) -> str:
    """One step of a waterfall: what it does, by which figure, and the value after it."""
    if step.operation == "note":
        value = _NULL if math.isnan(step.value) else general(step.value)
        return f"{step.name} {value}" + (
            f" ({words.rounded(step.remark)})" if step.remark and step.remark != "measured" else ""
        )
    by = " to ".join(general(each) for each in step.operands) if step.operation in ("times", "over", "clip") else ""
    remark = f" ({step.remark})" if step.remark else ""
    return f"{step.name} {_SIGNS[step.operation]} {by} = {step.value:.6g}{words.rounded(remark)}".replace("  ", " ")


def _cell(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _overlay(each: BookReport) -> dict[str, Any]:
    """Whole history and windows of stress after fees, unscaled beside scaled, as texts; how often it was scaled."""
    if each.earned is None or each.earned.overlay is None:
        return {}

    def text(metric: str, value: float, reason: str = "") -> str:
        if math.isnan(value):
            return f"{_NULL} {reason.replace('_', ' ')}".rstrip()
        return number(value) if metric in _RATIOS else percent(value)

    sides = [performance(returns, each.book.name, each.earned.frequency) for returns in each.earned.overlay]
    through = [through_stress(returns) for returns in each.earned.overlay]
    stored = each.audit[each.audit["portfolio"] == "scaled"].set_index(["window", "metric"])["value"].to_dict()
    return {
        "whole": [(name, *(text(metric, *side[metric]) for side in sides)) for metric, name in _WHOLE.items()],
        "windows": [
            (
                window,
                [
                    (percent(was), percent(now))
                    for was, now in zip(unscaled.values(), through[1][window].values(), strict=True)
                ],
                percent(stored.get((window, "share_scaled"), math.nan)),
            )
            for window, unscaled in through[0].items()
        ],
        "left_out": [name for name in STRESS_WINDOWS if name not in through[0]],
        "share": percent(stored.get(("all", "share_scaled"), math.nan)),
        "changes": number(stored.get(("all", "transitions_per_year"), math.nan), 1),
        "mean": number(stored.get(("all", "mean_scalar"), math.nan)),
        "through": ["Return", "Largest drawdown", "Worst day"],
    }


def _heat(monthly: pd.Series) -> list[tuple[int, list[float]]]:
    """Returns of months, a row of twelve for each year; NaN where there is none."""
    months = pd.PeriodIndex(monthly.index)
    values = dict(zip(zip(months.year, months.month, strict=True), monthly.to_numpy(np.float64).tolist(), strict=True))
    years = range(months[0].year, months[-1].year + 1)
    return [(year, [values.get((year, month), math.nan) for month in range(1, 13)]) for year in years]


def _shade(value: float, largest: float) -> str:
    """Class of a cell between −largest and largest: ``n3`` to ``p3``, ``z`` around 0 and where there is none."""
    if math.isnan(value) or not largest:
        return "z"
    step = min(3, round(3 * abs(value) / largest))
    return f"{'n' if value < 0 else 'p'}{step}" if step else "z"


def _correlations(risk: HoldingsRisk) -> pd.DataFrame:
    """Correlations of the strategies with the largest shares of risk, as many as a page shows, in cluster order."""
    kept = set(risk.by_strategy.index[:STRATEGIES_SHOWN])
    shown = [name for name in risk.correlations.index if name in kept]
    return risk.correlations.loc[shown, shown]


def _year_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The last row of each year, the newest at the top: what a chart shows, as a table."""
    years = pd.DatetimeIndex(rows.index).year
    return rows[np.r_[years[1:] != years[:-1], True]].iloc[::-1]


def _rolled(rolling: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rolling figures at the end of each year, a column for each."""
    six, twelve = (rolling[span] for span in ("6 months", "12 months"))
    return _year_ends(six.join(twelve, lsuffix="_6", rsuffix="_12"))


def _figures(each: BookReport, prefix: str) -> dict[str, Markup]:
    """Figures of one book, by name; their ids share no prefix with those of another."""
    name = each.book.name
    rows = pd.DataFrame(
        {
            field: [getattr(move, field) for move in each.moves]
            for field in ("base", "lower", "upper", "target", "realized", "final")
        },
        index=[move.strategy for move in each.moves],
    )
    drawn = {
        "weights": (
            charts.weights(rows, each.applied),
            f"Weights of {name}: traded, target and base, with floor and cap",
        ),
        "history": (charts.history(each.final, each.targets, rows), f"Weights of {name} over time, by strategy"),
    }
    if len(each.scalars) > 1:
        drawn["regime"] = (
            charts.regime(each.scalars, each.regimes, STRESS_WINDOWS),
            f"Risk scalar of {name} over time on its risk regimes",
        )
    if (earned := each.earned) is not None and len(earned.returns) > 1:
        drawn["equity"] = (
            charts.equity(earned.returns, underwater(earned.returns)),
            f"Growth of one unit of capital in {name} after fees, and how far below its peak",
        )
    if earned is not None and len(earned.rolling["6 months"]) > 1:
        drawn["rolling"] = (
            charts.rolling(
                earned.rolling, {"sharpe": ("Sharpe ratio", 1.0), "volatility": ("volatility, % a year", 100.0)}
            ),
            f"Sharpe ratio and volatility of {name} over the last 6 and 12 months",
        )
    if earned is not None and earned.benchmark is not None and len(earned.benchmark.rolling["6 months"]) > 1:
        drawn["market"] = (
            charts.rolling(earned.benchmark.rolling, {"beta": ("beta", 1.0), "correlation": ("correlation", 1.0)}),
            f"Beta and correlation of {name} to the benchmark over the last 6 and 12 months",
        )
    if each.attribution is not None:
        drawn["sources"] = (
            charts.bars(_sources(each.attribution), "contribution since inception, % of capital at the start"),
            f"Contribution of each strategy to the return of {name}, and what tilting and overlay made of it",
        )
    if each.risk is not None:
        shares = each.risk.by_strategy[["share", "weight"]]
        drawn["bets"] = (
            charts.bars(shares.set_axis(["share of risk", "weight"], axis=1), "% of risk, % of capital"),
            f"Share of each strategy in the risk of {name}, beside its weight",
        )
    return _inline(drawn, prefix)


def _sources(found: Attribution) -> pd.DataFrame:
    """What the chart of contributions shows, the largest first."""
    whole = pd.DataFrame(
        {
            "contribution": found.whole.agg(math.fsum, axis=1),
            "of it by tilt and overlay": found.whole["tilt"] + found.whole["overlay"],
        }
    )
    return whole.sort_values("contribution", ascending=False, kind="stable")


def _sides(found: BookComparison) -> dict[str, Markup]:
    """Figures of the comparison: growth without base weights, which would make too many lines."""
    base = {each.base.against for each in found.books if each.base} - {e.equal.against for e in found.books if e.equal}
    pairs = {
        label: [None if gap is None else (gap.sharpe.value, gap.sharpe.lower, gap.sharpe.upper) for gap in gaps]
        for label, gaps in (
            ("less equal weight", [each.equal for each in found.books]),
            ("less its base weights", [each.tilt for each in found.books]),
        )
    }
    drawn = {
        "growth": (
            charts.growth(found.returns.drop(columns=sorted(base))),
            "Growth of one unit of capital after fees, by book and equal weight",
        ),
        "gaps": (
            charts.gaps([each.name for each in found.books], pairs),
            "Difference of the Sharpe ratio of each book to equal weight and to its base weights, with intervals",
        ),
    }
    return _inline(drawn, "c")


def _inline(drawn: Mapping[str, tuple[Figure, str]], prefix: str) -> dict[str, Markup]:
    # Texts are escaped by Matplotlib, the label by ``inline``; the rest is drawn here.
    return {
        key: Markup(charts.inline(figure, f"{prefix}{key[:2]}", label))  # noqa: S704
        for key, (figure, label) in drawn.items()
    }


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: Mapping[str, Any] = {
        "percent": percent,
        "chance": chance,
        "number": number,
        "general": general,
        "apart": charts.apart,
        "breakable": breakable,
        "metric": in_words,
        "points": words.points,
        "day": words.day,
        "instant": words.instant,
        "rounded": words.rounded,
        "cause": words.cause,
        "why": words.why,
        "driver": words.driver,
        "headline": words.headline,
        "hedges": words.hedges,
        "since": words.since,
        "in_short": words.in_short,
        "verdict": words.verdict,
        "offenders": offenders,
        "step": step_text,
        "markdown": markdown,
        "overlay": _overlay,
        "heat": _heat,
        "shade": _shade,
        "correlations": _correlations,
        "year_ends": _year_ends,
        "rolled": _rolled,
        "fsum": math.fsum,
        "basis": words.basis,
        "paid": paid_in_words,
        "headline_figures": words.figures,
    }
    environment.filters.update(filters)
    environment.tests["null"] = lambda value: isinstance(value, float) and math.isnan(value)
    return environment
