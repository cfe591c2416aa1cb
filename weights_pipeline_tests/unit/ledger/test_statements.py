"""What a broker states: where it differs, what it makes known again, and what is compared with nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, calendar_sessions, read_ledger
from weights_pipeline_tests.support.examples import examples

HORIZON = dt.date(2024, 6, 28)
BOUGHT = "m,X,2024-03-01T10:00:00-05:00,10,5,0,1"
BAD = 'm,X,2024-03-05T10:00:00-05:00,-4,"6,0x",0,2'
HELD = "m,X,2024-03-07T10:00:00-05:00,-1,7,0,3"
SOLD = "m,X,2024-03-12T10:00:00-04:00,-6,8,0,4"


def read(root: Path, rows: list[str], stated: str, horizon: dt.date = HORIZON, **keys: Any) -> Intake:
    (root / "fills.csv").write_text("\n".join(["strategy,symbol,ts,amount,price,fees,fill_id", *rows]) + "\n")
    (root / "positions.csv").write_text(stated)
    said = {"name": "desk", "description": "Test.", "timezone": "America/New_York", "first_month": "2024-01"}
    said |= {"fills": ["fills.csv"], "positions": "positions.csv"}
    return read_ledger(LedgerSource.model_validate(said | keys), root, horizon=horizon)


def codes(intake: Intake) -> list[tuple[str, int]]:
    return [(each.code, each.line) for each in intake.findings]


def lots(intake: Intake) -> dict[str, float]:
    return dict(zip(intake.lots["lot_id"], intake.lots["pnl"].round(6), strict=True))


def test_a_statement_that_differs_names_both_figures_and_the_first_date(tmp_path: Path) -> None:
    rows = [
        BOUGHT,
        "k,X,2024-03-01T10:00:00-05:00,5,5,0,2",
        "m,X,2024-03-05T10:00:00-05:00,-4,6,0,3",
        "m,Y,2024-03-05T10:00:00-05:00,7,6,0,4",
    ]
    found = read(
        tmp_path,
        rows,
        "date,symbol,quantity,strategy,realized_pnl\n"
        "2024-03-02,X,15,,0\n"
        "2024-03-05,X,6,m,4\n"
        "2024-03-05,X,5,k,\n"
        "2024-03-08,X,12,,4.5\n"
        "2024-03-11,X,12,,4\n",
    ).findings
    assert {(f.symbol, f.line, f.message) for f in found if f.severity == "ERROR"} == {
        ("X", 5, "position on 2024-03-08: the statement says 12, the ledger's rows come to 11"),
        ("X", 5, "realized profit on 2024-03-08: the statement says 4.5, the ledger's rows come to 4"),
        ("Y", 0, "position on 2024-03-08: the statement says 0, the ledger's rows come to 7"),
    }
    (agreed,) = (f for f in found if f.severity != "ERROR")
    assert (agreed.code, f"{agreed.since:%Y-%m-%d}") == ("reconciled", "2024-03-05")


@pytest.mark.parametrize(
    ("stated", "prices"),
    [
        ("date,symbol,quantity,strategy,market_value\n2024-03-08,X,6,m,45\n", ""),
        ("date,symbol,quantity,account,market_value\n2024-03-09,X,6,U1,45\n", ""),
        ("date,symbol,quantity\n2024-03-08,X,6\n", "date,symbol,close\n2024-03-08,X,7.5\n"),
    ],
)
def test_a_statement_makes_a_position_known_again_at_what_it_is_worth(tmp_path: Path, stated: str, prices: str) -> None:
    if prices:
        (tmp_path / "closes.csv").write_text(prices)
    intake = read(tmp_path, [BOUGHT, BAD, HELD, SOLD], stated, **({"prices": "closes.csv"} if prices else {}))
    assert lots(intake) == {"m|X|#2024-03-08>4": 3.0}
    (unknown,) = intake.unknown
    assert (f"{unknown.since:%m-%d}", f"{unknown.until:%m-%d}", unknown.held_back) == ("03-05", "03-11", 1)
    assert [code for code, _ in codes(intake)] == ["position_unknown", "reconciled"]
    assert intake.rejected["reasons"].tolist() == ["not_a_number", "position_unknown"]


def test_one_of_nothing_needs_no_price(tmp_path: Path) -> None:
    again = "m,X,2024-03-11T10:00:00-04:00,6,7,0,5"
    intake = read(tmp_path, [BOUGHT, BAD, HELD, again, SOLD], "date,symbol,quantity\n2024-03-08,X,0\n")
    assert lots(intake) == {"m|X|5>4": 6.0}


@pytest.mark.parametrize(
    "stated",
    [
        "date,symbol,quantity,market_value\n2024-03-04,X,10,50\n",
        "date,symbol,quantity,strategy,market_value\n2024-03-08,X,6,k,45\n",
        "date,symbol,quantity,market_value\n2024-03-08,Y,6,45\n",
        "date,symbol,quantity\n2024-03-08,X,6\n",
    ],
    ids=["before the hole", "of another strategy", "of another symbol", "without a price"],
)
def test_what_a_statement_does_not_say_stays_unknown(tmp_path: Path, stated: str) -> None:
    intake = read(tmp_path, [BOUGHT, BAD, HELD, SOLD], stated)
    assert lots(intake) == {}
    assert [each.until for each in intake.unknown] == [None]


def test_a_statement_over_several_strategies_makes_none_of_them_known(tmp_path: Path) -> None:
    rows = [BOUGHT, BAD, HELD, SOLD, "k,X,2024-03-01T10:00:00-05:00,5,5,0,5"]
    stated = "date,symbol,quantity,account,market_value\n2024-03-08,X,6,A,45\n2024-03-08,X,5,B,45\n"
    with pytest.raises(LedgerError, match=r"positions\.csv: line 2: account: nothing says which strategies 'A' has"):
        read(tmp_path, rows, stated)
    assert not lots(read(tmp_path, rows, "date,symbol,quantity,market_value\n2024-03-08,X,11,88\n"))
    intake = read(tmp_path, rows, stated, accounts={"A": ["m"], "B": ["k"]})
    assert lots(intake) == {"m|X|#2024-03-08>4": 3.0}
    assert codes(intake) == [("position_unknown", 3), ("reconciled", 0)]


def test_each_account_is_summed_over_its_own_strategies(tmp_path: Path) -> None:
    rows = [BOUGHT, "k,X,2024-03-01T10:00:00-05:00,5,5,0,2", "k,Y,2024-03-01T10:00:00-05:00,5,5,0,2"]
    stated = "date,symbol,quantity,account\n2024-03-05,X,10,A\n2024-03-05,X,6,B\n"
    found = read(tmp_path, rows, stated, accounts={"A": ["m"], "B": ["k"]}).findings
    assert [(each.code, each.symbol, dict(each.figures)) for each in found] == [
        ("not_reconciled", "X", {"stated": 6.0, "found": 5.0}),
        ("not_reconciled", "Y", {"stated": 0.0, "found": 5.0}),
    ]


def test_positions_that_cancel_out_are_nothing_to_the_last_bit(tmp_path: Path) -> None:
    rows = [f"{name},X,2024-03-01T10:00:00-05:00,{held},5,0,1" for name, held in (("a", 0.3), ("b", -0.1), ("c", -0.2))]
    assert codes(read(tmp_path, rows, "date,symbol,quantity\n2024-03-04,X,0\n")) == [("reconciled", 0)]
    assert codes(read(tmp_path, rows, "date,symbol,quantity\n2024-03-04,Y,0\n")) == [("reconciled", 0)]


def test_while_a_position_is_unknown_nothing_is_compared_nor_called_reconciled(tmp_path: Path) -> None:
    stated = "date,symbol,quantity,realized_pnl\n2024-03-04,X,10,0\n2024-03-06,X,6,4\n"
    assert codes(read(tmp_path, [BOUGHT, BAD, HELD, SOLD], stated)) == [
        ("position_unknown", 3),
        ("statement_without_price", 3),
        ("reconciled", 0),
    ]


def test_known_again_over_a_split_it_is_in_the_units_of_its_date(tmp_path: Path) -> None:
    (tmp_path / "actions.csv").write_text("symbol,date,kind,ratio\nX,2024-03-11,split,2:1\n")
    sold = "m,X,2024-03-12T10:00:00-04:00,-12,4,0,4"
    stated = "date,symbol,quantity,market_value\n2024-03-08,X,6,45\n2024-03-12,X,0,0\n"
    intake = read(tmp_path, [BOUGHT, BAD, HELD, sold], stated, actions="actions.csv")
    assert lots(intake) == {"m|X|#2024-03-08@2024-03-11>4": 3.0}
    assert codes(intake) == [("position_unknown", 3), ("reconciled", 0)]


def test_rows_that_are_compared_with_nothing_are_named(tmp_path: Path) -> None:
    (tmp_path / "actions.csv").write_text(
        "symbol,date,kind,ratio,new_symbol\n"
        "X,2019-03-11,split,2:1,\nX,2025-03-11,split,2:1,\nXX,2024-03-11,split,2:1,\nX,2024-05-01,rename,,XY\n"
        "XY,2024-06-03,split,2:1,\n"
    )
    stated = "date,symbol,quantity\n2019-03-08,X,6\n2024-03-08,X,10\n2024-07-01,X,6\n"
    intake = read(tmp_path, [BOUGHT], stated, actions="actions.csv")
    assert codes(intake) == [
        ("action_of_nobody", 4),
        ("action_outside", 2),
        ("reconciled", 0),
        ("statement_outside", 2),
    ]
    assert [each.figures for each in intake.findings[1:]] == [{"actions": 2.0}, {}, {"rows": 2.0}]
    assert intake.findings[1].message.startswith("split of X on 2019-03-11, and 1 more: outside the sessions read, ")
    assert intake.findings[0].message == "split of XX on 2024-03-11: no row names the symbol"
    ended = read(tmp_path, [BOUGHT], stated, actions="actions.csv", last_month="2024-03").findings
    assert [each.line for each in ended if each.code == "action_outside"] == [2, 6]


@pytest.mark.parametrize(
    ("stated", "said", "agrees"),
    [
        ("10.00001,0", {}, True),
        ("10.0001,0", {}, False),
        ("10.0001,0", {"quantity": 1e-4}, True),
        ("10.00001,0", {"quantity": "1e-7"}, False),
        ("10,100.4", {}, True),
        ("10,101", {}, False),
        ("10,101", {"realized_pnl": 0.01}, True),
        ("10,100.4", {"realized_pnl": 0}, False),
    ],
)
def test_figures_may_be_so_far_apart_as_the_ledger_says(
    tmp_path: Path, stated: str, said: dict[str, Any], agrees: bool
) -> None:
    profit = "0" if stated.endswith(",0") else "100"
    rows = ["m,X,2024-02-28T10:00:00-05:00,1,5,0,8", f"m,X,2024-02-29T10:00:00-05:00,-1,{5 + int(profit)},0,9", BOUGHT]
    of_day = f"date,symbol,quantity,realized_pnl\n2024-03-08,X,{stated}\n"
    (found,) = (each for each in read(tmp_path, rows, of_day, tolerance=said).findings if "reconciled" in each.code)
    assert (found.code == "reconciled") is agrees


def test_a_position_that_stands_twice_is_refused(tmp_path: Path) -> None:
    stated = "date,symbol,quantity\n2024-03-08,X,6\n2024-03-08,X,4\n"
    with pytest.raises(LedgerError, match=r"positions\.csv: line 3: X on 2024-03-08 stands twice; keep one"):
        read(tmp_path, [BOUGHT], stated)


def test_accounts_name_each_strategy_once() -> None:
    said = {"name": "desk", "description": "Test.", "timezone": "UTC", "first_month": "2024-01", "fills": ["f.csv"]}
    for keys, expected in (
        ({"accounts": {"A": ["m"]}}, "expected positions beside accounts"),
        ({"positions": "p.csv", "accounts": {"A": ["m"], "B": ["m"]}}, "m is in several"),
        ({"tolerance": {"quantity": 0.1}}, "expected positions beside tolerance"),
        ({"positions": "p.csv", "tolerance": {"quantity": 1}}, "quantity: expected a fraction from 0 to below 1"),
        ({"positions": "p.csv", "tolerance": {"realized_pnl": -0.1}}, "realized_pnl: expected a fraction"),
        ({"positions": "p.csv", "tolerance": {"profit": 0.1}}, "profit"),
    ):
        with pytest.raises(ValueError, match=expected):
            LedgerSource.model_validate(said | keys)


def test_who_trades_the_symbol_later_changes_nothing_that_a_statement_has_made_known(tmp_path: Path) -> None:
    rows, stated = [BOUGHT, BAD, HELD, SOLD], "date,symbol,quantity,market_value\n2024-03-08,X,6,45\n"
    alone = read(tmp_path, rows, stated)
    joined = read(tmp_path, [*rows, "k,X,2024-04-02T10:00:00-04:00,5,5,0,5"], stated)
    pd.testing.assert_frame_equal(joined.lots, alone.lots, check_exact=True)
    assert lots(read(tmp_path, [*rows, "k,X,2024-03-02T10:00:00-04:00,5,5,0,5"], stated)) == {}


TRADES = st.lists(
    st.tuples(st.sampled_from("mk"), st.sampled_from("XY"), st.integers(1, 26), st.integers(-9, 9), st.booleans()),
    min_size=3,
    max_size=9,
)
STATED = st.lists(st.tuples(st.integers(1, 26), st.sampled_from("XY"), st.sampled_from(["", "m"]), st.integers(-9, 9)))


@given(trades=TRADES, said=STATED, cut=st.integers(5, 26))
@examples(6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_lot_nor_stretch_depends_on_what_comes_after_its_session(
    tmp_path: Path, trades: list[tuple[str, str, int, int, bool]], said: list[tuple[int, str, str, int]], cut: int
) -> None:
    rows = [
        f"{name},{symbol},2024-03-{day:02d}T10:00:{i:02d}-05:00,{amount},{'5x' if bad else 5 + i},0,{i}"
        for i, (name, symbol, day, amount, bad) in enumerate(trades)
        if amount
    ]
    lines = {
        (day, symbol, name): f"2024-03-{day:02d},{symbol},{held},{name},{6 * held}" for day, symbol, name, held in said
    }
    stated = "\n".join(["date,symbol,quantity,strategy,market_value", "2024-03-01,Z,0,,", *lines.values()]) + "\n"
    full = read(tmp_path, [BOUGHT, *rows], stated)
    last = pd.Timestamp(2024, 3, cut)
    begun = [BOUGHT, *(row for row in rows if int(row.split("2024-03-")[1][:2]) <= cut)]
    known = read(tmp_path, begun, stated, horizon=last.date())
    for whole, early in ((full.lots, known.lots), (full.cash, known.cash)):
        pd.testing.assert_frame_equal(
            early[early["session"] <= last].reset_index(drop=True),
            whole[whole["session"] <= last].reset_index(drop=True),
            check_exact=True,
        )
    sessions = calendar_sessions("XNYS", dt.date(2024, 1, 1), last.date())
    pd.testing.assert_frame_equal(known.unknown_sessions(sessions), full.unknown_sessions(sessions))
