"""Instruments and corporate actions: what is held over a split, a rename or an expiry, and what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from weights_pipeline.core.chain import last_sessions, returns_table
from weights_pipeline.core.returns.capital import AveragePositionValue
from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, calendar_sessions, read_ledger
from weights_pipeline_tests.support.examples import examples

HORIZON = dt.date(2024, 6, 28)
FILLS = "strategy,symbol,ts,amount,price,fees,fill_id"
ACTIONS = "symbol,date,kind,ratio,new_symbol,price"
SESSIONS = calendar_sessions("XNYS", dt.date(2024, 1, 1), HORIZON)


def read(root: Path, *fills: str, actions: tuple[str, ...] = (), **keys: Any) -> Intake:
    (root / "fills.csv").write_text("\n".join([FILLS, *fills]) + "\n")
    if actions:
        (root / "actions.csv").write_text("\n".join([ACTIONS, *actions]) + "\n")
        keys["actions"] = "actions.csv"
    sound = {"name": "desk", "description": "Test.", "timezone": "America/New_York", "first_month": "2024-01"}
    return read_ledger(LedgerSource.model_validate(sound | {"fills": ["fills.csv"]} | keys), root, horizon=HORIZON)


def lots(intake: Intake) -> dict[str, float]:
    return dict(zip(intake.lots["lot_id"], intake.lots["pnl"].round(6), strict=True))


def daily(intake: Intake, closes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Returns of the whole history."""
    months = pd.interval_range(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-07-01"), freq="MS", closed="left")
    shown = pd.concat([intake.open_lots(last_sessions(SESSIONS, months)), intake.lost_lots()])
    table = returns_table(
        intake.lots, shown, intake.returns, SESSIONS, AveragePositionValue(), SESSIONS[0], closes, intake.cash
    )
    return table.set_index("session")


BOUGHT = "mom,NVX,2024-06-03T10:00:00-04:00,10,1200.00,0,b"
SOLD = "mom,NVX,2024-06-20T10:00:00-04:00,-100,130.00,0,s"
SPLIT = "NVX,2024-06-10,split,10:1,,"


@pytest.mark.parametrize("ratio", ["10:1", "10", "20:2", "10.0"])
def test_what_is_held_over_a_split_goes_on_in_new_units_at_the_same_cost(tmp_path: Path, ratio: str) -> None:
    intake = read(tmp_path, BOUGHT, SOLD, actions=(f"NVX,2024-06-10,split,{ratio},,",), long_only=True)
    assert lots(intake) == {"mom|NVX|b@2024-06-10>s": 1000.0}
    assert intake.lots[["quantity", "open_price", "entry_value"]].to_numpy().tolist() == [[100.0, 120.0, 12000.0]]
    assert not intake.unknown
    assert intake.open_lots(SESSIONS[-1:]).empty


def test_a_reverse_split_keeps_fractions_and_a_date_without_a_session_is_the_next(tmp_path: Path) -> None:
    rows = ("m,X,2024-03-01T10:00:00-05:00,-25,4,0,1", "m,X,2024-03-05T10:00:00-05:00,2.5,30,0,2")
    intake = read(tmp_path, *rows, actions=("X,2024-03-03,split,1:10,,",))
    assert lots(intake) == {"m|X|1@2024-03-04>2": 25.0}


def test_without_the_action_the_sale_is_oversold_and_the_position_unknown(tmp_path: Path) -> None:
    intake = read(tmp_path, BOUGHT, SOLD, long_only=True)
    assert lots(intake) == {}
    assert [(each.symbol, f"{each.since:%m-%d}") for each in intake.unknown] == [("NVX", "06-20")]


@pytest.mark.parametrize("until", ["2024-06-07", "2024-06-14", "2024-06-28"])
def test_marked_on_unadjusted_closes_a_split_is_no_loss_and_earlier_days_keep_their_bits(
    tmp_path: Path, until: str
) -> None:
    held = SESSIONS[SESSIONS >= "2024-05-31"]
    closes = pd.DataFrame({"NVX": [1200.0 if day < pd.Timestamp("2024-06-10") else 125.0 for day in held]}, held)
    whole = daily(read(tmp_path, BOUGHT, SOLD, actions=(SPLIT,)), closes)
    assert whole.loc["2024-06-10", "daily_return"] == pytest.approx(500 / 12000)
    assert whole.loc["2024-06-20", "daily_return"] == pytest.approx(500 / 12000)
    assert whole["pnl"].sum() == pytest.approx(1000)
    assert whole["daily_return"].abs().max() < 0.05
    unaware = daily(read(tmp_path, BOUGHT, *[SOLD] * (until >= "2024-06-20"), actions=(SPLIT,)), closes)
    pd.testing.assert_frame_equal(whole.loc[:until], unaware.loc[:until], check_exact=True)


def test_a_split_that_nobody_told_of_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "closes.csv").write_text(
        "date,symbol,close\n"
        + "".join(
            f"{day:%Y-%m-%d},NVX,{1200 if day < pd.Timestamp('2024-06-10') else 121}\n"
            for day in SESSIONS[SESSIONS >= "2024-05-31"]
        )
    )
    (by_close,) = [f for f in read(tmp_path, BOUGHT, prices="closes.csv").findings if f.code == "possible_split"]
    assert (by_close.symbol, by_close.since) == ("NVX", pd.Timestamp("2024-06-10"))
    assert by_close.setting.endswith("NVX,2024-06-10,split,10:1")
    told = read(tmp_path, BOUGHT, SOLD, actions=(SPLIT,), prices="closes.csv")
    assert not told.findings
    (by_fill,) = read(tmp_path, BOUGHT, SOLD).findings
    assert (by_fill.code, by_fill.symbol, by_fill.line, by_fill.figures) == (
        "possible_split",
        "NVX",
        3,
        {"times": 10.0, "held": 10.0},
    )


@pytest.mark.parametrize(
    ("fills", "asked"),
    [
        (((10, 400), (-20, 101)), 4),  # in parts, the first of which is more than was held
        (((10, 400), (-4, 101), (-36, 101)), 4),  # after a part that was not
        (((-10, 400), (25, 104)), 4),  # short
        (((10, 400), (-15, 150)), None),  # 2.7:1 is no split
        (((10, 400), (-90, 101)), None),  # more than a split of 4:1 makes
        (((10, 400), (-20, 390)), None),
        (((10, 400), (-10, 390), (-30, 101)), None),  # nothing is held
    ],
)
def test_a_sale_of_more_than_is_held_at_a_part_of_the_price_is_asked_about(
    tmp_path: Path, fills: Sequence[tuple[int, int]], asked: int | None
) -> None:
    rows = [
        f"m,NVX,2024-06-{3 + n:02}T10:00:00-04:00,{amount},{price},0,{n}" for n, (amount, price) in enumerate(fills)
    ]
    found = [each for each in read(tmp_path, *rows).findings if each.code == "possible_split"]
    assert [each.figures["times"] for each in found] == ([] if asked is None else [float(asked)])


def test_over_several_actions_fills_without_ids_keep_their_numbers(tmp_path: Path) -> None:
    rows = [(1, 10, 8), (5, -10, 9), (7, 4, 10), (12, -2, 6), (18, -18, 2), (21, 1, 5), (22, -1, 6)]
    fills = [f"m,X,2024-03-{day:02d}T12:00:00-05:00,{amount},{price},0," for day, amount, price in rows]
    splits = ("X,2024-03-11,split,2:1,,", "X,2024-03-14,split,3:1,,", "X,2024-03-20,split,5:1,,")
    assert lots(read(tmp_path, *fills, actions=splits)) == {
        "m|X|#1>#2": 10.0,
        "m|X|#3@2024-03-11>#4": 2.0,
        "m|X|#3@2024-03-11@2024-03-14>#5": 6.0,
        "m|X|#6>#7": 1.0,
    }


def test_a_rename_carries_lots_over_and_the_old_symbol_may_be_used_again(tmp_path: Path) -> None:
    rows = (
        "m,FBX,2024-06-03T10:00:00-04:00,10,190,0,1",
        "m,METAX,2024-06-12T10:00:00-04:00,-10,180,0,2",
        "m,FBX,2024-06-13T10:00:00-04:00,5,10,0,3",
        "m,FBX,2024-06-14T10:00:00-04:00,-5,11,0,4",
    )
    intake = read(tmp_path, *rows, actions=("FBX,2024-06-10,rename,,METAX,",), long_only=True)
    assert lots(intake) == {"m|METAX|FBX|1@=2024-06-10>2": -100.0, "m|FBX|3>4": 5.0}
    held = SESSIONS[SESSIONS >= "2024-05-31"]
    closes = pd.DataFrame({"FBX": 195.0, "METAX": 185.0}, held)
    closes.loc["2024-06-10":, "FBX"] = 10.5
    marked = daily(intake, closes)
    assert marked["pnl"].sum() == pytest.approx(-95)
    assert marked.loc["2024-06-10", "pnl"] == pytest.approx(-100)


def test_an_expiry_closes_what_is_open_at_its_price(tmp_path: Path) -> None:
    rows = ("m,C,2024-03-01T10:00:00-05:00,-2,5,1,1", "m,C,2024-03-04T10:00:00-05:00,-1,6,0,2")
    intake = read(tmp_path, *rows, actions=("C,2024-03-15,expiry,,,0",))
    assert sum(lots(intake).values()) == pytest.approx(2 * 5 - 1 + 6)
    assert set(intake.lots["session"]) == {pd.Timestamp("2024-03-15")}
    assert intake.open_lots(SESSIONS[-1:]).empty


def test_a_hole_before_an_action_reaches_over_it_and_an_expiry_ends_it(tmp_path: Path) -> None:
    rows = ("m,FBX,2024-06-03T10:00:00-04:00,x,190,0,1", "m,METAX,2024-06-12T10:00:00-04:00,-10,180,0,2")
    actions = ("FBX,2024-06-10,rename,,METAX,", "METAX,2024-06-14,expiry,,,1")
    intake = read(tmp_path, *rows, "m,METAX,2024-06-17T10:00:00-04:00,3,2,0,3", actions=actions)
    assert lots(intake) == {}
    assert [(each.held_back, f"{each.until:%m-%d}") for each in intake.unknown] == [(1, "06-14")]
    assert intake.open_lots(SESSIONS[-1:])["quantity"].tolist() == [3.0]


def test_instruments_say_what_a_contract_stands_for_and_what_cannot_be_short(tmp_path: Path) -> None:
    (tmp_path / "instruments.csv").write_text("symbol,multiplier,long_only\nES,50,\nSHY,,true\n")
    rows = (
        "m,ES,2024-03-01T10:00:00-05:00,1,5100,2.1,1",
        "m,ES,2024-03-04T10:00:00-05:00,-1,5110,2.1,2",
        "m,SHY,2024-03-04T10:00:00-05:00,-1,80,0,3",
    )
    intake = read(tmp_path, *rows, instruments="instruments.csv")
    assert lots(intake) == {"m|ES|1>2": 495.8}
    assert [each.symbol for each in intake.unknown] == ["SHY"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("X,2024-03-04,merger,,,", "line 2: kind: expected one of split, rename, expiry, got 'merger'"),
        ("X,2024-03-04,split,,,", "line 2: ratio: needed by every split"),
        ("X,2024-03-04,split,0:1,,", "line 2: ratio: expected new units for old ones"),
        ("X,2024-03-04,rename,,,", "line 2: new_symbol: needed by every rename"),
        ("X,2024-03-04,expiry,,,", "line 2: price: needed by every expiry"),
        ("X,04.03.2024,split,2,,", "line 2: date"),
        (f"{SPLIT}\n{SPLIT}", "line 3: split of NVX on 2024-06-10 stands in actions.csv: line 2 too"),
    ],
)
def test_an_action_that_cannot_be_read_stops_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        read(tmp_path, BOUGHT, actions=(line,))


@examples(10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amounts=st.lists(st.integers(-40, 40).filter(bool), min_size=1, max_size=8),
    cut=st.integers(0, 8),
    ratio=st.sampled_from(["2:1", "10:1", "1:10", "3:2", "1:4"]),
)
def test_a_split_of_fills_and_action_leaves_the_profit(
    tmp_path: Path, amounts: list[int], cut: int, ratio: str
) -> None:
    """Fills after the split in new units at new prices are the same trades."""
    more, fewer = map(int, ratio.split(":"))
    days = SESSIONS[40 : 40 + len(amounts)]

    def rows(split: bool) -> list[str]:
        said = []
        for i, (day, amount) in enumerate(zip(days, amounts, strict=True)):
            price = 100 + 7 * i
            new = split and i >= cut
            amount, price = (amount * more / fewer, price * fewer / more) if new else (amount, price)
            said.append(f"m,X,{day:%Y-%m-%d}T10:00:00-05:00,{amount!r},{price!r},1,{i}")
        return said

    plain = read(tmp_path, *rows(False))
    at = days[cut] if cut < len(days) else SESSIONS[60]
    split = read(tmp_path, *rows(True), actions=(f"X,{at:%Y-%m-%d},split,{ratio},,",))
    assert split.lots["pnl"].sum() == pytest.approx(plain.lots["pnl"].sum(), abs=1e-6)
    assert (
        split.lots.groupby("session")["pnl"].sum().round(6).equals(plain.lots.groupby("session")["pnl"].sum().round(6))
    )
    assert split.open_lots(SESSIONS[-1:])["entry_value"].sum() == pytest.approx(
        plain.open_lots(SESSIONS[-1:])["entry_value"].sum()
    )
