"""Allocation methods: one file each, and the registry that makes them known. One entry adds a method."""

from __future__ import annotations

from weights_pipeline.core.methods.composite import Composite
from weights_pipeline.core.methods.equal import Equal
from weights_pipeline.core.methods.fixed import Fixed
from weights_pipeline.core.methods.minmax_tilt import MinmaxTilt, SharpeTilt
from weights_pipeline.core.methods.optimised import (
    MaxHybrid,
    MaximumDiversification,
    MeanVariance,
    MinimumVariance,
    RiskParity,
)
from weights_pipeline.core.methods.power_tilt import CalmarTilt, PowerTilt
from weights_pipeline.core.methods.proportional_share import CalmarWeighted, ProportionalSharpe
from weights_pipeline.core.methods.softmax_sharpe import SoftmaxSharpe

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
    MinimumVariance,
    RiskParity,
    MaximumDiversification,
    MeanVariance,
)
"""Every method a book can name by its ``kind``."""
