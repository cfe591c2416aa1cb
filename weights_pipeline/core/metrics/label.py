"""Labels: a metric and its window in one word, such as ``calmar_12m``, for people and for JSON.

Scope: making and reading a label. Not here: tables of metrics, which keep metric and lookback apart; this module is
loaded by commands that load neither NumPy nor pandas.
"""

from __future__ import annotations

_UNITS = {"m": "months", "d": "days", "s": "sessions"}


def metric_label(metric: str, lookback: str) -> str:
    """Label of a metric over a lookback such as ``12m``; empty for no metric."""
    return f"{metric}_{lookback}" if metric else ""


def of_label(label: str) -> tuple[str, str]:
    """Metric and lookback of a label; both empty for an empty one."""
    metric, _, lookback = label.rpartition("_")
    return metric, lookback


def in_words(label: str) -> str:
    """A label as a person says it: ``calmar_12m`` is Calmar over 12 months."""
    metric, lookback = of_label(label)
    return f"{metric.replace('_', ' ').capitalize()} over {lookback[:-1]} {_UNITS[lookback[-1]]}" if metric else ""
