"""From the files of a data folder to the tables of a book by the library alone: no store, no orchestrator."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.support.data import BOOK, LEDGER, beginning, edit_rows, edit_yaml
from weights_pipeline.books.load import load_book, load_starter_metrics
from weights_pipeline.core.chain import last_sessions
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.ledger import calendar_sessions, load_ledger_source, read_ledger
from weights_pipeline.ledger.periods import book_periods, horizon, ledger_months, window_dates
from weights_pipeline.ledger.tables import intake_rows, return_rows
from weights_pipeline.store.base import Store
from weights_pipeline.tables import catalog

LATE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SMALL_BOOK = {"rsi2": 0.4, "reversal_5d": 0.35, "breakout_55d": 0.25}
"""Two strategies whose ledger is closed lots, and one whose ledger is fills."""


def small_desk(data: Path) -> Path:
    """Make a data folder of three strategies over five months, with a book that looks back over 90 days."""
    beginning(data, "2012-05")
    for file in (*data.glob("sample/lots/*.csv"), *data.glob("sample/fills/*.csv"), data / "sample" / "capital.csv"):
        edit_rows(file, lambda row: row if row["strategy"] in SMALL_BOOK else None)
    edit_yaml(
        data / "books" / f"{BOOK}.yaml",
        strategies=SMALL_BOOK,
        starter_metrics=None,
        method={"kind": "power_tilt", "metric": "sharpe", "lookback": "90d", "alpha": 0.5},
        adjustment={"rate": 0.3},
        metrics={"min_sessions": 15, "min_closed_lots": 2},
        overlay={"enabled": True, "profile": "low", "lag": 1},
    )
    return data


def tables_of(data: Path, now: dt.datetime = LATE) -> dict[str, pd.DataFrame]:
    """Lots, daily returns and all tables of the book, as known at an instant."""
    source = load_ledger_source(data / "ledgers" / "sample.yaml")
    book = load_book(data / "books" / f"{BOOK}.yaml")
    months = ledger_months(source).begun(now)
    intake = read_ledger(source, data, horizon=horizon(source, now))
    frames = intake_rows(intake, source, months, now)
    lots, returns = frames[catalog.TRADE_LEDGER], return_rows(frames, source, data, months, now)
    windows = book_periods(book, source).ended(now)
    newest = returns["session"].max()
    calendar = calendar_sessions(source.calendar, windows[0].first, newest.date() + dt.timedelta(days=14))
    as_of = last_sessions(calendar, window_dates(windows))
    history = ReturnHistory.from_long(returns, sessions=calendar[calendar <= newest])
    if catalog.STRATEGY_LIQUIDITY in frames:
        history = history.with_liquidity(frames[catalog.STRATEGY_LIQUIDITY], returns)
    made = simulate(history, as_of, calendar, book.policy(load_starter_metrics(book, data)))
    return {"trade_ledger": lots, "strategy_returns": returns, **made.tables()}


def assert_stored(store: Store, made: dict[str, pd.DataFrame], owners: Sequence[str] = (LEDGER, BOOK)) -> None:
    """A store holds the tables made, of a ledger, a book or both, to the last bit."""
    compared = []
    for name, table in made.items():
        definition = catalog.TABLES[name]
        for owner in owners:
            if (owner, name) in store.tables():
                stored = store.read(owner, definition)
                columns = [column for column in stored if column in table]
                order = list(definition.key)
                pd.testing.assert_frame_equal(
                    *(each[columns].sort_values(order, ignore_index=True) for each in (stored, table)),
                    check_exact=True,
                    check_dtype=False,
                    obj=f"{owner}.{name}",
                )
                assert len(columns) > len(definition.columns) / 2
                compared.append(name)
    assert len(compared) >= 2 * len(owners)
