"""A data folder whose ledger is daily returns: as few strategies and months as a test needs."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from weights_pipeline.ledger import calendar_sessions

LEDGER, BOOK = "desk_ledger", "desk_book"


def random_returns(*strategies: str, first: str, last: str, seed: int = 1) -> pd.DataFrame:
    """Daily returns of strategies on every session of the exchange; shape (sessions, strategies)."""
    sessions = calendar_sessions("XNYS", pd.Timestamp(first).date(), pd.Timestamp(last).date())
    drawn = np.random.default_rng(seed).normal(0.0005, 0.01, (len(sessions), len(strategies)))
    return pd.DataFrame(drawn, index=sessions, columns=list(strategies))


def write_ledger(data: Path, returns: pd.DataFrame) -> None:
    """Write the returns, null where a strategy is not live, and a ledger that is finished with their last month."""
    for folder in ("ledgers", "books"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    returns.rename_axis("date").to_csv(data / "returns.csv")
    ledger = {
        "name": "desk",
        "description": "Daily returns.",
        "timezone": "America/New_York",
        "first_month": f"{returns.index[0]:%Y-%m}",
        "last_month": f"{returns.index[-1]:%Y-%m}",
        "returns": ["returns.csv"],
    }
    (data / "ledgers" / "desk.yaml").write_text(yaml.safe_dump(ledger))


def write_book(data: Path, strategies: dict[str, float], name: str = BOOK, **changes: object) -> None:
    """Write a book of strategies with an overlay that scales."""
    book = {
        "name": name,
        "description": "A few strategies.",
        "owner": "team:desk",
        "account": "main",
        "ledger": "desk",
        "cadence": {"kind": "monthly", "day": 1, "time": "07:00"},
        "timezone": "America/New_York",
        "max_age": 35,
        "strategies": strategies,
        "method": {"kind": "sharpe_tilt", "lookback": "90d"},
        "metrics": {"min_sessions": 10},
        "limits": {"floor": 0.5, "cap": 2.0},
        "adjustment": {"rate": 0.5},
        "overlay": {"enabled": True, "profile": "low", "lag": 1},
    }
    (data / "books" / f"{name}.yaml").write_text(yaml.safe_dump(book | changes, sort_keys=False))
