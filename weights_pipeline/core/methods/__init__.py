"""Allocation methods: one file each, and the registry that makes them known. One entry adds a method."""

from __future__ import annotations

from weights_pipeline.core.methods.minmax_tilt import MinmaxTilt, SharpeTilt
from weights_pipeline.core.methods.power_tilt import CalmarTilt, PowerTilt

METHODS: tuple[type, ...] = (CalmarTilt, PowerTilt, SharpeTilt, MinmaxTilt)
"""Every method a book can name by its ``kind``."""
