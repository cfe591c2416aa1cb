"""The code location that Dagster loads: see :mod:`weights_pipeline.orchestration.definitions`."""

from weights_pipeline.orchestration.definitions import definitions as definitions
