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
import pandas as pd
from markupsafe import Markup, escape

from weights_pipeline.charts import report as charts
from weights_pipeline.core.allocator.overlay import STRESS_WINDOWS
from weights_pipeline.core.metrics.label import in_words
from weights_pipeline.core.study.book_comparison import DRAWS, FEE, LEVEL, SEED, BookComparison
from weights_pipeline.core.waterfall import Step
from weights_pipeline.extras import need
from weights_pipeline.report import words
from weights_pipeline.report.facts import BookReport, Outcome, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OFFENDERS_SHOWN = 5
"""Offending rows of a check that are shown; how many there are is said."""

_NULL = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_SIGNS = {"start": "", "hold": "", "times": "×", "over": "÷", "plus": "+", "clip": "within"}
_WHOLE = ("cagr", "volatility", "sharpe", "sortino", "max_drawdown", "worst_month", "worst_day")
_THROUGH = ("total_return", "max_drawdown", "worst_day")
_NAMES = {
    "cagr": "Annual return",
    "volatility": "Volatility",
    "sharpe": "Sharpe ratio",
    "sortino": "Sortino ratio",
    "max_drawdown": "Largest drawdown",
    "worst_month": "Worst month",
    "worst_day": "Worst day",
    "total_return": "Return",
}
_RATIOS = frozenset({"sharpe", "sortino"})


def render(report: Report) -> str:
    """The page of a report; raises :class:`MissingExtraError` where nothing can draw its figures."""
    need("matplotlib", "the report")
    figures = {each.book.name: _figures(each, f"b{place}") for place, each in enumerate(report.books)}
    page = _environment().get_template("report.html.j2")
    return page.render(
        report=report,
        figures=figures,
        sides=_sides(report.comparison) if report.comparison else {},
        fee=FEE,
        draws=DRAWS,
        seed=SEED,
        level=LEVEL,
    )


def percent(value: float, digits: int = 2, sign: bool = False) -> str:
    """A fraction in percent; a dash for a null."""
    return _NULL if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}%}".replace("-", _MINUS)


def chance(value: float) -> str:
    """A probability in percent, never rounded to a certainty."""
    return "> 99.9%" if value > 0.999 else "< 0.1%" if value < 0.001 else percent(value, 1)


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A number; a dash for a null."""
    return _NULL if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}".replace("-", _MINUS)


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


def _audit(rows: pd.DataFrame) -> dict[str, Any]:
    """Whole history and windows of stress, unscaled beside scaled, as texts."""
    if rows.empty:
        return {}
    found = {
        key: tuple(rest)
        for *key_, value, reason in rows[["window", "portfolio", "metric", "value", "reason"]].to_numpy()
        for key, rest in [(tuple(key_), (value, reason))]
    }

    def text(window: str, portfolio: str, metric: str) -> str:
        value, reason = found.get((window, portfolio, metric), (math.nan, "not computed"))
        if math.isnan(value):
            return f"{_NULL} {str(reason).replace('_', ' ')}".rstrip()
        return number(value) if metric in _RATIOS else percent(value)

    whole = [(_NAMES[m], text("all", "unscaled", m), text("all", "scaled", m)) for m in _WHOLE]
    windows = [
        (
            name,
            [(text(name, "unscaled", m), text(name, "scaled", m)) for m in _THROUGH],
            text(name, "scaled", "share_scaled"),
        )
        for name in STRESS_WINDOWS
        if found.get((name, "scaled", "total_return"), ("", "not covered"))[1] == ""
    ]
    left_out = [name for name in STRESS_WINDOWS if name not in {window for window, *_ in windows}]
    share = text("all", "scaled", "share_scaled")
    changes, mean = (
        found.get(("all", "scaled", m), (math.nan, ""))[0] for m in ("transitions_per_year", "mean_scalar")
    )
    return {
        "whole": whole,
        "windows": windows,
        "left_out": left_out,
        "share": share,
        "changes": number(changes, 1),
        "mean": number(mean),
        "through": [_NAMES[m] for m in _THROUGH],
    }


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
    return _inline(drawn, prefix)


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
        "rounded": words.rounded,
        "cause": words.cause,
        "why": words.why,
        "driver": words.driver,
        "headline": words.headline,
        "since": words.since,
        "in_short": words.in_short,
        "verdict": words.verdict,
        "offenders": offenders,
        "step": step_text,
        "audit": _audit,
    }
    environment.filters.update(filters)
    environment.tests["null"] = lambda value: isinstance(value, float) and math.isnan(value)
    return environment
