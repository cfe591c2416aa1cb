"""A document of live weights, and a reader of a place where it may be."""

import datetime as dt

from weights_pipeline.live import LiveWeights, Reader

NOW = dt.datetime(2024, 3, 8, 15, 30, tzinfo=dt.UTC)
BASE = {"trend": 0.6, "carry": 0.4}


def document(version=7, **changes):
    """Weights of which each version has its own: a reader that mixes two would be found out."""
    trend = 0.3 + version / 10_000
    return LiveWeights(
        **{
            "book": "calmar_core",
            "account": "main",
            "version": version,
            "effective_from": dt.date(2024, 3, 1),
            "as_of": dt.date(2024, 2, 29),
            "recorded_at": dt.datetime(2024, 3, 1, 6, 30, tzinfo=dt.UTC) + dt.timedelta(seconds=version),
            "reason": "scheduled",
            "run_id": "run-1",
            "max_age": 35,
            "gross": 1.0,
            "base": BASE,
            "target": {"trend": 0.5, "carry": 0.5},
            "realized": {"trend": trend, "carry": 0.1 + 0.2},
            "final": {"trend": trend, "carry": 0.7 - trend},
            "regime": "ELEVATED",
            "scalar": 0.85,
            "parameters_hash": "p" * 8,
            "ledger_hash": "l" * 8,
            "code_version": "0.1.0",
        }
        | changes
    )


def reader(location, **changes):
    return Reader(location, **{"book": "calmar_core", "base": BASE, "max_leverage": 1.0, "max_age": 35} | changes)
