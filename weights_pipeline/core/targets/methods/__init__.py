"""Weighting methods: one file each, and the registry that makes them known. One entry adds a method."""

from __future__ import annotations

from weights_pipeline.core.targets.methods.composite import Composite
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.fixed import Fixed
from weights_pipeline.core.targets.methods.minmax_tilt import MinmaxTilt, SharpeTilt
from weights_pipeline.core.targets.methods.optimised import MaxHybrid
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt, PowerTilt
from weights_pipeline.core.targets.methods.proportional_share import CalmarWeighted, ProportionalSharpe
from weights_pipeline.core.targets.methods.skfolio import Skfolio
from weights_pipeline.core.targets.methods.softmax_sharpe import SoftmaxSharpe

METHODS: tuple[type, ...] = (
    CalmarTilt,
    PowerTilt,
    SharpeTilt,
    MinmaxTilt,
    SoftmaxSharpe,
    ProportionalSharpe,
    CalmarWeighted,
    Composite,
    Equal,
    Fixed,
    MaxHybrid,
    Skfolio,
)
"""Every method a book can name by its ``kind``."""
