"""Closing prices: those that can hardly be right are found, and a ruinous mark is blamed on the line of its price."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.ledger import LedgerError, LedgerSource, calendar_sessions, read_ledger
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.prices import findings_of_prices, read_prices
from weights_pipeline.ledger.tables import intake_rows, return_rows

NOW = dt.datetime(2024, 3, 10, tzinfo=dt.UTC)
DAYS = calendar_sessions("XNYS", dt.date(2024, 2, 1), dt.date(2024, 2, 29)).strftime("%Y-%m-%d").tolist()


def desk(root: Path, **changes: float | None) -> LedgerSource:
    """A hundred A and ten B held through February, at closes of 50 and 200; changed by "A2024_02_14" = close."""
    fills = ["strategy,symbol,ts,amount,price,fill_id"]
    for symbol, amount, price in (("A", 100, 50), ("B", 10, 200)):
        fills.append(f"carry,{symbol},2024-02-01T15:00Z,{amount},{price},{symbol}1")
        fills.append(f"carry,{symbol},2024-02-29T15:00Z,{-amount},{price},{symbol}2")
    (root / "fills.csv").write_text("\n".join(fills) + "\n")
    closes = {f"{symbol}{day}": price for day in DAYS for symbol, price in (("A", 50.0), ("B", 200.0))}
    closes |= {key.replace("_", "-"): value for key, value in changes.items()}
    lines = [f"{key[1:]},{key[0]},{close}" for key, close in closes.items() if close is not None]
    (root / "closes.csv").write_text("\n".join(["date,symbol,close", *lines]) + "\n")
    return LedgerSource.model_validate(
        {
            "name": "desk",
            "description": "A desk.",
            "fills": ["fills.csv"],
            "prices": "closes.csv",
            "timezone": "UTC",
            "first_month": "2024-02",
            "last_month": "2024-02",
        }
    )


def line_of(root: Path, day: str, symbol: str) -> int:
    lines = (root / "closes.csv").read_text().splitlines()
    return 1 + next(i for i, line in enumerate(lines) if line.startswith(f"{day},{symbol},"))


def returns(source: LedgerSource, root: Path):
    windows = ledger_months(source).begun(NOW)
    rows = intake_rows(read_ledger(source, root, horizon=dt.date(2024, 2, 29)), source, windows, NOW)
    return return_rows(rows, source, root, windows, NOW)


def found_in(source: LedgerSource, root: Path) -> list[LedgerFinding]:
    """What is said of prices at which nothing was held."""
    return findings_of_prices(source, root, pd.DataFrame(columns=["strategy", "symbol", "since", "until"]), [])


def test_sound_prices_say_nothing_and_mark(tmp_path: Path) -> None:
    source = desk(tmp_path)
    assert found_in(source, tmp_path) == []
    assert (returns(source, tmp_path)["daily_return"] == 0).all()
    assert read_prices(source, tmp_path).loc["2024-02-14"].to_dict() == {"A": 50.0, "B": 200.0}


@pytest.mark.parametrize(
    ("wrong", "ruined"),
    [
        (-20.0, "2024-02-14"),  # of a short position's sign, or a cell of another column
        (400.0, "2024-02-15"),  # a gain first, and ruin where it comes back
    ],
)
def test_a_price_that_ruins_a_strategy_is_blamed_with_its_line(tmp_path: Path, wrong: float, ruined: str) -> None:
    source = desk(tmp_path, A2024_02_14=wrong)
    with pytest.raises(LedgerError) as caught:
        returns(source, tmp_path)
    message = str(caught.value)
    assert f"line {line_of(tmp_path, '2024-02-14', 'A')}" in message
    assert f"A closes at {wrong:g} on 2024-02-14" in message
    assert f"strategy carry, marked to it, lost 100% or more on {ruined}" in message
    if wrong > 0:
        assert message.startswith(f"closes.csv: line {line_of(tmp_path, '2024-02-14', 'A')}: A closes at 400")


def test_a_price_that_is_not_there_is_missed_in_its_file(tmp_path: Path) -> None:
    source = desk(tmp_path, B2024_02_14=None)
    with pytest.raises(LedgerError, match=r"^closes\.csv: prices: strategy carry held B on 2024-02-14, .*add the line"):
        returns(source, tmp_path)


@pytest.mark.parametrize(("wrong", "code"), [(5000.0, "price_jump"), (0.5, "price_jump"), (0.0, "price_not_positive")])
def test_a_price_that_can_hardly_be_right_is_found(tmp_path: Path, wrong: float, code: str) -> None:
    source = desk(tmp_path, A2024_02_14=wrong)
    (found,) = found_in(source, tmp_path)
    assert (found.code, found.severity, found.symbol) == (code, "WARN", "A")
    assert (found.source_file, found.line) == ("closes.csv", line_of(tmp_path, "2024-02-14", "A"))
    assert f"the close of {wrong:g} on 2024-02-14" in found.message
    assert found in read_ledger(source, tmp_path, horizon=dt.date(2024, 2, 29)).findings


def test_what_moves_for_good_is_no_jump_and_several_are_one_finding(tmp_path: Path) -> None:
    split = {f"A{day.replace('-', '_')}": 5.0 for day in DAYS if day >= "2024-02-14"}
    assert found_in(desk(tmp_path, **split), tmp_path) == []
    (found,) = found_in(desk(tmp_path, A2024_02_14=500.0, A2024_02_21=500.0), tmp_path)
    assert found.figures == {"close": 500.0, "closes": 2}
    # The first and the last have one neighbour only, which says nothing.
    assert found_in(desk(tmp_path, A2024_02_01=500.0, A2024_02_29=500.0), tmp_path) == []
