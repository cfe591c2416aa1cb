"""Metrics as a table, whatever they are measured on."""

from typing import Any

import pandas as pd

from weights_pipeline.core.metrics.table import metrics_grid


def metrics_table(*measured: Any, **options: Any) -> pd.DataFrame:
    return metrics_grid(*measured, **options).table()
