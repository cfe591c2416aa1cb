"""Amounts in several currencies: at which rate each is taken, what is refused, and what a change of currency leaves."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from weights_pipeline.core.chain import last_sessions, returns_table
from weights_pipeline.core.returns.capital import AverageLotValue, AveragePositionValue, CapitalPolicy
from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, calendar_sessions, read_ledger, read_rates
from weights_pipeline.ledger.changes import state
from weights_pipeline_tests.support.examples import examples

HORIZON = dt.date(2024, 6, 28)
SESSIONS = calendar_sessions("XNYS", dt.date(2024, 1, 1), HORIZON)
HEADER = "strategy,symbol,ts,amount,price,fees,fees_currency,currency"
EURO = ["m,X,2024-03-01T10:00,10,5,1,,EUR", "m,X,2024-03-05T10:00,-10,6,1,usd,eur"]
RATES = "date,currency,rate\n2024-03-01,EUR,1.1\n2024-03-04,EUR,1.15\n2024-03-05,EUR,1.2\n"
POSITION = AveragePositionValue()
SAID: dict[str, Any] = {
    "name": "desk",
    "description": "Test.",
    "timezone": "America/New_York",
    "first_month": "2024-01",
}


def read(root: Path, rows: list[str], rates: str = RATES, **keys: Any) -> Intake:
    (root / "fills.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (root / "fx.csv").write_text(rates)
    said = SAID | {"fills": ["fills.csv"], "currency": "USD", "fx": "fx.csv"} | keys
    source = LedgerSource.model_validate({name: value for name, value in said.items() if value is not None})
    return read_ledger(source, root, horizon=HORIZON)


def figures(intake: Intake) -> list[list[float]]:
    return intake.lots[["open_price", "entry_value", "fees", "pnl"]].round(9).to_numpy().tolist()


def test_profit_is_at_the_rate_of_the_exit_and_what_is_tied_up_stays_in_its_own_currency(tmp_path: Path) -> None:
    intake = read(tmp_path, [*EURO, "m,Y,2024-03-05T10:00,-7,6,1,,USD"])
    # 10 euros gained, 1 euro and 1 dollar of fees.
    assert figures(intake) == [[5.0, 50.0, 2.2, 9.8]]
    assert intake.lots["currency"].tolist() == ["EUR"]
    still_open = intake.open_lots(SESSIONS[-1:])
    assert still_open["entry_value"].tolist() == [42.0]
    assert still_open["currency"].isna().all()
    assert not intake.findings


def test_lots_and_cash_are_converted_too(tmp_path: Path) -> None:
    (tmp_path / "lots.csv").write_text(
        "lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price,pnl,currency\n"
        "1,m,X,long,10,2024-03-01T10:00,2024-03-05T10:00,5,6,9,EUR\n2,m,X,long,10,2024-03-01,2024-03-05,5,6,9,USD\n"
    )
    (tmp_path / "cash.csv").write_text("strategy,ts,amount,kind,fees\nm,2024-03-05T10:00,5,dividend,1\n")
    (tmp_path / "fx.csv").write_text(RATES)
    said = SAID | {"lots": ["lots.csv"], "cash": [{"files": ["cash.csv"], "currency": "EUR"}], "currency": "usd"}
    intake = read_ledger(LedgerSource.model_validate(said | {"fx": "fx.csv"}), tmp_path, horizon=HORIZON)
    assert figures(intake) == [[5.0, 50.0, 0.0, 10.8], [5.0, 50.0, 0.0, 9.0]]
    assert intake.lots["currency"].fillna("own").tolist() == ["EUR", "own"]
    assert intake.cash["amount"].tolist() == [4 * 1.2]


def test_a_row_says_its_currency_or_its_symbol_does_or_it_is_the_ledgers_own(tmp_path: Path) -> None:
    (tmp_path / "instruments.csv").write_text("symbol,currency\nX,EUR\nY,\n")
    rows = [
        line.replace("EUR", said).replace("eur", said).replace("X", symbol)
        for symbol, said in (("X", ""), ("Y", ""), ("Z", "EUR"))
        for line in EURO
    ]
    intake = read(tmp_path, rows, instruments="instruments.csv")
    found = intake.lots.fillna({"currency": "own"})
    assert dict(zip(found["symbol"], found["currency"], strict=True)) == {"X": "EUR", "Y": "own", "Z": "EUR"}


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ("2024-03-06,EUR,1.1", "there is no rate of EUR on 2024-03-01, nor in the 5 sessions before it; add the line"),
        ("2024-02-22,EUR,1.1", "there is no rate of EUR on 2024-03-01, nor in the 5 sessions before it; add the line"),
        ("2024-02-26,EUR,1.1", "there is no rate of EUR on 2024-03-05"),
        ("2024-03-01,GBP,1.1", "there is no rate of EUR on 2024-03-01"),
        ("2024-03-01,EUR,0", "line 2: EUR on 2024-03-01: expected a rate above 0"),
        ("2024-03-01,EUR,1\n2024-03-01,eur,1.1", "line 3: EUR on 2024-03-01: stands twice; keep one"),
        ("2024-03-01,USD,1.1", "line 2: USD on 2024-03-01: is the ledger's own currency; expected a rate into USD"),
    ],
)
def test_a_rate_that_is_missing_or_wrong_is_an_error_with_currency_and_date(
    tmp_path: Path, rates: str, expected: str
) -> None:
    with pytest.raises(LedgerError, match=rf"fx\.csv: {expected}"):
        read(tmp_path, [row.replace("usd", "") for row in EURO], f"date,currency,rate\n{rates}\n")


def test_a_rate_of_five_sessions_before_is_used_and_counted_and_a_later_one_never(tmp_path: Path) -> None:
    early = "date,currency,rate\n2024-02-25,EUR,1.1\n2024-02-27,EUR,1.2\n"
    intake = read(tmp_path, EURO, early)
    (found,) = intake.findings
    # The sessions of opening and exit, and the one between.
    assert (found.code, found.severity, found.figures) == ("rate_carried", "INFO", {"sessions": 3.0})
    assert figures(intake) == [[5.0, 50.0, 2.2, 9.8]]
    later = read(tmp_path, EURO, early + "2024-03-06,EUR,9\n2024-03-04,GBP,9\n")
    pd.testing.assert_frame_equal(later.lots, intake.lots, check_exact=True)


def test_several_currencies_without_rates_are_refused_with_a_row_of_each(tmp_path: Path) -> None:
    rows = [*EURO, "m,Y,2024-03-05T10:00,-7,6,1,,GBP"]
    for keys in ({"fx": None}, {"fx": None, "currency": None}):
        with pytest.raises(
            LedgerError, match=r"currency: amounts in EUR \(fills.csv line 2\), GBP \(fills.csv line 4\)"
        ):
            read(tmp_path, rows, **keys)
    with pytest.raises(LedgerError, match=r"EUR \(fills.csv line 2\) cannot be added up"):
        read(tmp_path, EURO[:1], fx=None)
    assert figures(read(tmp_path, [row.replace("usd", "") for row in EURO], fx=None, currency=None)) == [
        [5.0, 50.0, 2.0, 8.0]
    ]
    ignoring = [{"files": ["fills.csv"], "ignore": ["currency", "fees_currency"]}]
    assert len(read(tmp_path, rows, fills=ignoring, fx=None).lots) == 1
    with pytest.raises(ValueError, match="expected currency beside fx"):
        read(tmp_path, EURO, currency=None)


def test_a_position_is_in_one_currency(tmp_path: Path) -> None:
    with pytest.raises(
        LedgerError, match=r"fills.csv line 3: currency: X of m is in USD, and in EUR in fills.csv line 2"
    ):
        read(tmp_path, [EURO[0], EURO[1].replace("eur", "USD")])


def daily(
    intake: Intake, root: Path, prices: pd.DataFrame | None = None, policy: CapitalPolicy = POSITION
) -> pd.DataFrame:
    months = pd.interval_range(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-07-01"), freq="MS", closed="left")
    shown = pd.concat([intake.open_lots(last_sessions(SESSIONS, months)), intake.lost_lots()])
    source = LedgerSource.model_validate(SAID | {"fills": ["fills.csv"], "currency": "USD", "fx": "fx.csv"})
    rates = read_rates(source, root)
    given, cash = intake.returns, intake.cash
    return returns_table(intake.lots, shown, given, SESSIONS, policy, SESSIONS[0], prices, cash, rates=rates)


BIG = "m,Z,2024-01-02T10:00,1000,1000,0,,"
TRADE = st.tuples(st.sampled_from("XY"), st.integers(1, 20), st.integers(-50, 50), st.integers(100, 900))


@given(trades=st.lists(TRADE, min_size=1, max_size=8), factor=st.sampled_from([0.5, 8.0, 3.0, 0.7]))
@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_amounts_in_another_currency_and_back_leave_returns(
    tmp_path: Path, trades: list[tuple[str, int, int, int]], factor: float
) -> None:
    def rows(scale: float, currency: str) -> list[str]:
        return [
            f"m,{symbol},2024-03-{day:02d}T10:00:{number:02d},{amount},{price * scale!r},{scale!r},,{currency}"
            for number, (symbol, day, amount, price) in enumerate(trades)
            if amount
        ]

    plain = daily(read(tmp_path, [*rows(1.0, "USD"), BIG]), tmp_path)
    dates = "\n".join(f"{day:%Y-%m-%d},EUR,{1 / factor!r}" for day in SESSIONS)
    other = daily(read(tmp_path, [*rows(factor, "EUR"), BIG], f"date,currency,rate\n{dates}\n"), tmp_path)
    power_of_two = factor in (0.5, 8.0)
    pd.testing.assert_frame_equal(other, plain, check_exact=power_of_two, rtol=1e-9, atol=1e-9)


def test_a_share_in_euros_and_one_in_dollars_marked_and_measured_by_hand(tmp_path: Path) -> None:
    rows = [row.replace("usd", "") for row in EURO] + ["m,Y,2024-03-04T10:00,7,6,0,,USD"]
    intake = read(tmp_path, rows, "date,currency,rate\n2024-03-01,EUR,1.5\n2024-03-04,EUR,3\n2024-03-05,EUR,2\n")
    days = SESSIONS[(SESSIONS >= "2024-02-29") & (SESSIONS < "2024-06-29")]
    closes = pd.DataFrame({"X": 6.0, "Y": 6.5}, days)
    closes.iloc[:4] = [[5.0, 6.0], [5.5, 6.0], [5.5, 6.0], [6.0, 6.5]]
    table = daily(intake, tmp_path, closes).set_index("session").loc["2024-03-01":"2024-03-05"]
    # X: 5 euros of profit at 1.5 and then at 3; at the exit 10 euros and 2 of fees at 2. Y: 7 times half a dollar.
    assert table["pnl"].tolist() == [7.5, 15.0 - 7.5, (20.0 - 15.0) - 4.0 + 3.5]
    # Of each session what it held: 50 euros at 1.5, at 3 and at 2; from the second on 42 dollars too.
    assert table["capital"].tolist() == [75.0, (75 + 192) / 2, (75 + 192 + 142) / 3]
    assert table["daily_return"].tolist() == [0.1, 7.5 / 133.5, 4.5 / (409 / 3)]
    assert intake.lots["pnl"].tolist() == [16.0]
    # Not marked, all of it is earned on exit; the mean value of a lot is 50 euros at 2.
    booked = daily(intake, tmp_path, policy=AverageLotValue()).set_index("session").loc["2024-03-05"]
    assert (booked["pnl"], booked["capital"]) == (16.0, 100.0)


def test_of_a_day_that_goes_on_no_rate_is_needed_yet(tmp_path: Path) -> None:
    (tmp_path / "fills.csv").write_text(f"{HEADER}\n{EURO[0]}\n")
    (tmp_path / "fx.csv").write_text(RATES)
    source = LedgerSource.model_validate(SAID | {"fills": ["fills.csv"], "currency": "USD", "fx": "fx.csv"})
    assert not read_ledger(source, tmp_path, horizon=dt.date(2024, 3, 6)).findings
    (carried,) = read_ledger(source, tmp_path, horizon=dt.date(2024, 3, 7)).findings
    assert (carried.code, carried.since) == ("rate_carried", pd.Timestamp("2024-03-06"))
    with pytest.raises(
        LedgerError, match="no rate of EUR on 2024-03-13, nor in the 5 sessions before it; add the line"
    ):
        read_ledger(source, tmp_path, horizon=dt.date(2024, 3, 20))


def test_a_share_of_value_is_stated_in_one_currency_only(tmp_path: Path) -> None:
    (tmp_path / "fx.csv").write_text(RATES)
    lots = [f"{i},m,X,long,10,2024-03-01T10:00,2024-03-05T10:00,5,{price}" for i, price in enumerate(("6", "x"))]
    said = SAID | {"lots": ["lots.csv"], "currency": "usd", "fx": "fx.csv"}
    for currencies, share in ((("EUR", "EUR"), True), (("EUR", "USD"), False)):
        rows = "\n".join(f"{lot},{name}" for lot, name in zip(lots, currencies, strict=True))
        header = "lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price,currency"
        (tmp_path / "lots.csv").write_text(f"{header}\n{rows}\n")
        intake = read_ledger(LedgerSource.model_validate(said), tmp_path, horizon=HORIZON)
        (found,) = (each for each in intake.findings if each.code == "lots_rejected")
        assert ("with 50.00 of 100.00 of entry value" in found.message) is share


def test_another_rate_is_a_change_of_the_ledger(tmp_path: Path) -> None:
    said = {"name": "desk", "description": "Test.", "timezone": "UTC", "first_month": "2024-01", "fills": ["fills.csv"]}
    source = LedgerSource.model_validate(said | {"currency": "USD", "fx": "fx.csv"})
    (tmp_path / "fills.csv").write_text(HEADER)
    seen = set()
    for rates in (RATES, RATES + "2024-03-06,EUR,1.3\n"):
        (tmp_path / "fx.csv").write_text(rates)
        seen.add(state(source, tmp_path, {}))
    assert len(seen) == 2
