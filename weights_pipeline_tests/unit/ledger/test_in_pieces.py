"""A large ledger of closed lots: returns from pieces of strategies and months are those of all lots, to the bit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.ledger import LedgerError, LedgerSource, calendar_sessions
from weights_pipeline.ledger.periods import ledger_months, only_windows
from weights_pipeline.ledger.tables import return_rows, stored_return_rows
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import no_rows
from weights_pipeline_tests.support.examples import examples

NOW = dt.datetime(2024, 12, 20, tzinfo=dt.UTC)
SESSIONS = calendar_sessions("XNYS", dt.date(2023, 12, 1), dt.date(2024, 10, 31))


@dataclass(frozen=True)
class InMemory:
    """Rows of a table by month, and which months were read."""

    months: dict[str, pd.DataFrame]
    read: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def keys(self) -> Sequence[str]:
        return [*self.months]

    def count(self) -> int:
        return sum(map(len, self.months.values()))

    def of(
        self,
        strategies: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        chosen = [key for key in self.months if keys is None or key in keys]
        self.read.append(tuple(chosen))
        rows = pd.concat([self.months[key] for key in chosen], ignore_index=True)
        own = rows if strategies is None else rows[rows["strategy"].isin(list(strategies))].reset_index(drop=True)
        return own if columns is None else own[list(columns)]

    def each(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        yield from (rows[list(columns)] for rows in self.months.values())


def source(**capital: Any) -> LedgerSource:
    return LedgerSource.model_validate(
        {
            "name": "desk",
            "description": "A desk.",
            "lots": ["lots.csv"],
            "timezone": "UTC",
            "first_month": "2024-01",
            "last_month": "2024-10",
            "capital": capital,
        }
    )


def ledger(seed: int, of: LedgerSource, number: int = 240) -> tuple[dict[Any, InMemory], pd.DataFrame]:
    """Lots of four strategies, one of which begins late and one of which ends soon."""
    rng = np.random.default_rng(seed)
    close = np.sort(rng.integers(21, len(SESSIONS), number))
    frame = pd.DataFrame(
        {
            "strategy": pd.array(rng.choice(["a", "b", "c", "d"], number, p=[0.6, 0.2, 0.1, 0.1]), dtype="str"),
            "session": SESSIONS[close],
            "open_session": SESSIONS[np.maximum(close - rng.integers(0, 30, number), 0)],
            "entry_value": rng.integers(1, 10**6, number) / 7,
            "pnl": rng.integers(-(10**4), 10**4, number) / 700,
            "margin_used": np.where(rng.random(number) < 0.3, rng.integers(0, 2, number) * 100.0, np.nan),
            "currency": pd.array([None] * number, dtype="str"),
            "source": pd.array(["lots"] * number, dtype="str"),
        }
    )
    late = (frame["strategy"] == "c") & (frame["session"] < "2024-07-01")
    soon = (frame["strategy"] == "d") & (frame["session"] > "2024-03-01")
    frame = frame[~late & ~soon]
    whole = no_rows(catalog.TRADE_LEDGER)
    frame = frame.assign(**{name: whole[name].reindex(frame.index) for name in whole if name not in frame})[[*whole]]
    months = ledger_months(of).begun(NOW)
    rows = {month.key: only_windows(frame, "session", [month]) for month in months}
    nothing = {month.key: no_rows(catalog.OPEN_LOTS) for month in months}
    return {catalog.TRADE_LEDGER: InMemory(rows), catalog.OPEN_LOTS: InMemory(nothing)}, frame


@examples(12)
@given(
    seed=st.integers(0, 999),
    kind=st.sampled_from(["average_position_value", "average_lot_value"]),
    window=st.integers(1, 12),
    at_once=st.sampled_from([1, 15, 60, 10**6]),
    since=st.sampled_from(["2024-01", "2024-04", "2024-09"]),
)
def test_pieces_of_strategies_and_months_come_to_the_bits_of_the_whole(seed, kind, window, at_once, since) -> None:
    of = source(kind=kind, sessions=window)
    stored, frame = ledger(seed, of)
    windows = [month for month in ledger_months(of).begun(NOW) if month.key >= since]
    whole = {catalog.TRADE_LEDGER: frame, catalog.OPEN_LOTS: no_rows(catalog.OPEN_LOTS)}
    expected = return_rows(whole, of, Path(), windows, NOW)
    found = stored_return_rows(stored, of, Path(), windows, NOW, at_once=at_once)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_of_months_that_no_return_depends_on_nothing_is_read() -> None:
    of = source(kind="average_position_value", sessions=10)
    stored, _ = ledger(7, of)
    windows = ledger_months(of).begun(NOW)[-1:]
    stored_return_rows(stored, of, Path(), windows, NOW, at_once=60)
    read = stored[catalog.TRADE_LEDGER].read
    assert len(read) > 1
    assert {months[0] for months in read} == {"2024-09-01"}


def test_a_ruin_is_the_ledgers_first_whichever_piece_it_is_in() -> None:
    of = source(kind="average_position_value", sessions=5)
    stored, _ = ledger(3, of)
    lots = stored[catalog.TRADE_LEDGER].months
    for month in ("2024-05-01", "2024-08-01"):
        lots[month] = lots[month].assign(pnl=-1e12)
    first = lots["2024-05-01"].sort_values(["session", "strategy"]).iloc[0]
    for at_once in (1, 40, 10**6):
        with pytest.raises(LedgerError, match=f"strategy {first['strategy']} lost 100%.*{first['session']:%Y-%m-%d}"):
            stored_return_rows(stored, of, Path(), ledger_months(of).begun(NOW), NOW, at_once=at_once)
