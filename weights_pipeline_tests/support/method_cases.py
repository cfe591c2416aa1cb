"""One instance of every allocation method, and the cross-sections and limits that tests try them on."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping

import numpy as np
import pytest

from weights_pipeline.core.metrics.measures import LESS_IS_BETTER, REASONS
from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Method
from weights_pipeline.core.targets.methods.composite import Composite
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.fixed import Decision, Fixed
from weights_pipeline.core.targets.methods.minmax_tilt import MinmaxTilt, SharpeTilt
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt, PowerTilt
from weights_pipeline.core.targets.methods.proportional_share import CalmarWeighted, ProportionalSharpe
from weights_pipeline.core.targets.methods.softmax_sharpe import SoftmaxSharpe

NAN = math.nan
EPS = float(np.finfo(float).eps)
LIMITS = Limits()
PROPORTIONAL = Limits(normalisation="proportional")
WEIGHTS = Limits(of="weight", floor=0.0, cap=1.0)

POWER = (CalmarTilt(), PowerTilt(metric="sortino", lookback="90d", alpha=1.0))
MINMAX = (SharpeTilt(), MinmaxTilt(metric="hit_rate", lookback="12m", lo=0.0, hi=3.0))
SHARES = (SoftmaxSharpe(), ProportionalSharpe(), CalmarWeighted())
COMPOSITE = Composite(weights={"sharpe": 0.5, "calmar": 0.3, "max_drawdown": 0.2}, lookback="90d")
READING: tuple[Method, ...] = (*POWER, *MINMAX, *SHARES, COMPOSITE)
EVERY: tuple[Method, ...] = (*READING, Equal(), Fixed())
METRICS_READ = sorted({name for method in READING for name in method.reads})


def each(*methods: Method) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("method", methods, ids=lambda method: method.kind)


def section(base: list[float] | None = None, gross: float = 1.0, reason: str = "insufficient", **values: list[float]):
    """A cross-section of metrics by name, with one reason for every null; equal base weights where none are given."""
    n = len(base) if base is not None else len(next(iter(values.values())))
    weights = np.full(n, gross / n) if base is None else np.array(base, dtype=float)
    grids = {name: np.array(metric, dtype=float) for name, metric in values.items()}
    code = REASONS.index(reason)
    return CrossSection(
        strategies=tuple(f"s{number:02}" for number in range(n)),
        base=weights,
        gross=gross,
        values=grids,
        reasons={name: np.where(np.isnan(grid), code, 0).astype(np.int8) for name, grid in grids.items()},
    )


def alike(values: list[float], base: list[float] | None = None, gross: float = 1.0, reason: str = "insufficient"):
    """A cross-section in which every metric of a strategy is the same; of drawdown the less the better."""
    by_name = {name: [-x if name in LESS_IS_BETTER else x for x in values] for name in METRICS_READ}
    return section(base, gross, reason, **by_name)


def random_section(seed: int, *, nulls: bool = True, unfunded: bool = True, gross: float = 1.0) -> CrossSection:
    """One to eight strategies, some of them with equal metrics, a null, or no base weight."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    base = rng.uniform(0.1, 1, n)
    if unfunded:
        base[rng.random(n) < 0.15] = 0.0
        base[0] = 0.5
    values, reasons = {}, {}
    for name in METRICS_READ:
        metric = rng.uniform(0, 0.7, n) if name in LESS_IS_BETTER else rng.normal(0.5, 2, n)
        metric = np.round(metric, 1) if rng.random() < 0.5 else metric
        null = (rng.random(n) < 0.2) & nulls
        values[name] = np.where(null, NAN, metric)
        reasons[name] = np.where(null, rng.integers(1, len(REASONS), n), 0).astype(np.int8)
    base *= gross / math.fsum(base)
    return CrossSection(
        strategies=tuple(f"s{number:02}" for number in range(n)), base=base, gross=gross, values=values, reasons=reasons
    )


def decided(allocations: Mapping[str, float], date: str = "2011-12-30", number: int = 1) -> Decision:
    return Decision(date=dt.date.fromisoformat(date), number=number, allocations=allocations)


def fixed(allocations: Mapping[str, float]) -> Fixed:
    """The method with one decision."""
    return Fixed(decisions=(decided(allocations),))


def ready(method: Method, section: CrossSection) -> Method:
    """The method itself; fixed allocations get those of the section: different ones, each in proportion to a rank."""
    if not isinstance(method, Fixed):
        return method
    rank = np.arange(1.0, len(section.base) + 1) * (section.base > 0)
    percent = 100 * section.gross * rank / rank.sum()
    return fixed(dict(zip(section.strategies, percent.tolist(), strict=True)))


def limits_for(method: Method, section: CrossSection) -> list[Limits]:
    """Limits of every sort that allow the base weights, and that the method may be used with."""
    funded = section.base[section.base > 0]
    of_base = [LIMITS, PROPORTIONAL, Limits(floor=0.0, cap=3.0), Limits(floor=0.9, cap=1.05)]
    of_weight = [
        Limits(of="weight", floor=0.0, cap=section.gross),
        Limits(of="weight", floor=float(funded.min()) / 2, cap=float(funded.max())),
    ]
    return of_base if method.clips_to_limits else [*of_base, *of_weight]
