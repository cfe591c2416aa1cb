"""The sample ledger: facts its readme states, identities every row keeps, and its script still makes it."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SAMPLE = Path(__file__).parents[3] / "data" / "sample"
MADE = sorted(path for pattern in ("*.csv", "*.json", "*/*.csv") for path in SAMPLE.glob(pattern))
PLANTED = {"MANUAL-1", "MANUAL-2", "MANUAL-3"}


def moments(column: pd.Series) -> pd.Series:
    """Read times as the desk does: New York where no zone is written."""
    zoned = column.str.len() > len("2012-01-03T16:00:00")
    local = pd.to_datetime(column[~zoned]).dt.tz_localize("America/New_York")
    other = pd.to_datetime(column[zoned], utc=True).dt.tz_convert("America/New_York")
    return pd.concat([local, other]).reindex(column.index)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    files = sorted((SAMPLE / "lots").glob("*.csv"))
    return pd.concat([pd.read_csv(file).assign(file=file.name) for file in files], ignore_index=True)


@pytest.fixture(scope="module")
def lots(rows: pd.DataFrame) -> pd.DataFrame:
    lots = rows[~rows.lot_id.isin(PLANTED)].drop_duplicates(subset=rows.columns.drop("file"))
    opened, closed = moments(lots.opened_at), moments(lots.closed_at)
    return lots.assign(opened=opened, closed=closed, sign=np.where(lots.side == "long", 1, -1))


@pytest.fixture(scope="module")
def fills() -> pd.DataFrame:
    files = sorted((SAMPLE / "fills").glob("*.csv"))
    fills = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    return fills.assign(at=moments(fills.ts))


@pytest.fixture(scope="module")
def benchmark() -> pd.Series:
    return pd.read_csv(SAMPLE / "benchmark.csv", index_col="date").close


@pytest.mark.xdist_group("skfolio")
def test_the_script_makes_the_committed_bytes_and_the_table_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skfolio", reason="the sample's prices come with skfolio: pip install -e '.[sample]'")
    monkeypatch.setattr(sys, "argv", ["make_sample.py", "--out", str(tmp_path)])
    runpy.run_path(str(SAMPLE / "make_sample.py"), run_name="__main__")
    made = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(made) == {path.relative_to(SAMPLE) for path in MADE}
    assert [str(name) for name, path in made.items() if path.read_bytes() != (SAMPLE / name).read_bytes()] == []
    assert capsys.readouterr().out in (SAMPLE / "PROVENANCE.md").read_text(encoding="utf-8")


def test_files_are_small_and_have_unix_line_ends() -> None:
    assert sum(path.stat().st_size for path in MADE) <= 3_000_000
    assert not any(b"\r" in path.read_bytes() for path in MADE)


def test_twelve_strategies_or_more_each_in_one_input_form(lots: pd.DataFrame, fills: pd.DataFrame) -> None:
    as_lots, as_fills = set(lots.strategy), set(fills.strategy)
    assert len(as_lots | as_fills) == 16
    assert as_fills == {"breakout_55d", "index_timing", "factor_rotation", "vol_target_megacap"}
    assert not as_lots & as_fills


def test_planted_rows_are_the_five_of_the_readme_and_no_more(rows: pd.DataFrame, lots: pd.DataFrame) -> None:
    planted = rows[rows.lot_id.isin(PLANTED)].set_index("lot_id")
    assert len(planted) == 3
    assert planted.quantity["MANUAL-1"] == 0
    assert pd.Timestamp(planted.closed_at["MANUAL-2"]) < pd.Timestamp(planted.opened_at["MANUAL-2"])
    assert pd.isna(planted.symbol["MANUAL-3"])

    repeated = rows[rows.duplicated(subset=rows.columns.drop("file"))]
    assert list(repeated.lot_id) == ["EW-00939-1", "EW-00940-1"]
    assert set(repeated.file) == {"2016_2019.csv"}
    first, second = ((SAMPLE / "lots" / name).read_text().splitlines() for name in ("2012_2015.csv", "2016_2019.csv"))
    assert first[-2:] == second[1:3]
    assert len(lots) == len(rows) - 5 == 15_059
    assert lots.lot_id.is_unique


def test_planted_lines_are_where_the_readme_says() -> None:
    readme = (SAMPLE / "PROVENANCE.md").read_text(encoding="utf-8")
    for file in sorted((SAMPLE / "lots").glob("*.csv")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if line.startswith("MANUAL"):
                assert f"| `lots/{file.name}` | {number} | `{line.split(',')[0]}` |" in readme


def test_row_counts_are_those_of_the_readme() -> None:
    readme = (SAMPLE / "PROVENANCE.md").read_text(encoding="utf-8")
    for path in MADE:
        text = path.read_text()
        count = len(json.loads(text)) if path.suffix == ".json" else len(text.splitlines()) - 1
        assert f"| `{path.relative_to(SAMPLE).as_posix()}` | {count:,} |" in readme


def test_pnl_is_price_move_by_quantity_less_fees(lots: pd.DataFrame) -> None:
    expected = lots.sign * (lots.close_price - lots.open_price) * lots.quantity - lots.fees
    given = lots.pnl.notna()
    assert (lots.pnl - expected)[given].abs().max() <= 0.0051
    assert set(lots.strategy[~given]) == {"turn_of_month"}
    assert not (given & (lots.strategy == "turn_of_month")).any()


def test_lots_are_whole_shares_at_positive_prices_closed_after_opened(lots: pd.DataFrame) -> None:
    assert pd.api.types.is_integer_dtype(lots.quantity)
    assert (lots.quantity > 0).all()
    assert (lots[["open_price", "close_price"]] > 0).all(axis=None)
    assert (lots.fees >= 0).all()
    assert (lots.closed > lots.opened).all()


def test_both_sides_are_traded_and_the_short_books_are_short_only(lots: pd.DataFrame, fills: pd.DataFrame) -> None:
    assert lots.groupby("side").size().min() > 1_000
    assert set(lots.side[lots.strategy.isin(["trend_short", "jump_fade_short"])]) == {"short"}
    position = fills.groupby(["strategy", "symbol"]).amount.cumsum()
    assert (position > 0).any()
    assert (position < 0).any()


def test_parts_share_their_parents_entry(lots: pd.DataFrame) -> None:
    parts = lots[lots.parent_lot_id.notna()]
    assert len(parts) > 1_000
    assert (parts.lot_id.str.rsplit("-", n=1).str[0] == parts.parent_lot_id).all()
    entry = parts.groupby("parent_lot_id")[["strategy", "symbol", "side", "opened", "open_price"]].nunique()
    assert (entry == 1).all(axis=None)
    assert not set(parts.parent_lot_id) & set(lots.lot_id)


def test_fills_have_ids_leave_a_remainder_open_and_flip(fills: pd.DataFrame) -> None:
    assert fills.fill_id.is_unique
    assert (fills.amount != 0).all()
    fills = fills.sort_values(["at", "fill_id"])
    after = fills.groupby(["strategy", "symbol"]).amount.cumsum()
    before = after - fills.amount
    flips = fills[np.sign(before) * np.sign(after) < 0]
    assert "index_timing" in set(flips.strategy)
    assert (fills.groupby(["strategy", "symbol"]).amount.sum() != 0).any()


def test_index_trades_are_at_the_closes_of_the_benchmark(
    lots: pd.DataFrame, fills: pd.DataFrame, benchmark: pd.Series
) -> None:
    index = lots[lots.symbol == "SP500"]
    trades = pd.concat(
        [
            index[["opened", "open_price"]].set_axis(["at", "price"], axis=1),
            index[["closed", "close_price"]].set_axis(["at", "price"], axis=1),
            fills.loc[fills.symbol == "SP500", ["at", "price"]],
        ]
    )
    close = trades["at"].dt.strftime("%Y-%m-%d").map(benchmark)
    assert len(trades) > 500
    np.testing.assert_allclose(trades.price, close, rtol=0, atol=1e-9)


def test_trades_are_at_the_close_of_a_session_in_new_york(
    lots: pd.DataFrame, fills: pd.DataFrame, benchmark: pd.Series
) -> None:
    times = pd.concat([lots.opened, lots.closed, fills["at"]])
    clock, day = times.dt.strftime("%H:%M"), times.dt.strftime("%Y-%m-%d")
    assert set(clock) == {"15:59", "16:00", "12:59", "13:00"}
    assert set(day) <= set(benchmark.index)
    half_days = set(day[clock.isin(["12:59", "13:00"])])
    assert {"2012-11-23", "2015-12-24", "2019-07-03"} <= half_days
    assert set(clock[day.isin(half_days)]) <= {"12:59", "13:00"}


def test_start_and_stop_dates(lots: pd.DataFrame, fills: pd.DataFrame) -> None:
    first = {**lots.groupby("strategy").opened.min(), **fills.groupby("strategy")["at"].min()}
    late = {name: f"{at:%Y-%m}" for name, at in first.items() if at.year > 2012}
    assert late == {"factor_rotation": "2014-07", "jump_fade_short": "2016-01", "energy_bands": "2018-07"}
    last = {**lots.groupby("strategy").closed.max(), **fills.groupby("strategy")["at"].max()}
    early = {name: f"{at:%Y-%m-%d}" for name, at in last.items() if at.year < 2022}
    assert early == {"trend_short": "2019-12-13"}


def test_every_closed_lot_strategy_but_the_sparse_one_exits_at_least_four_times_a_year(
    lots: pd.DataFrame,
) -> None:
    exits = lots.groupby(["strategy", lots.closed.dt.year.rename("year")]).size()
    assert exits.drop("index_dip").min() >= 4
    assert 30 <= exits["index_dip"].sum() <= 50
    assert 2017 not in exits["index_dip"].index


def test_capital_covers_every_strategy_from_its_first_trade(lots: pd.DataFrame, fills: pd.DataFrame) -> None:
    capital = pd.read_csv(SAMPLE / "capital.csv")
    assert (capital.capital > 0).all()
    assert not capital.duplicated(["strategy", "date"]).any()
    assert (capital.groupby("strategy").size() > 1).sum() >= 5
    since = capital.groupby("strategy").date.min()
    first = pd.Series({**lots.groupby("strategy").opened.min(), **fills.groupby("strategy")["at"].min()})
    assert set(since.index) == set(first.index)
    assert (since <= first[since.index].dt.strftime("%Y-%m-%d")).all()


def test_daily_returns_on_capital_look_like_a_traders(lots: pd.DataFrame, benchmark: pd.Series) -> None:
    capital = pd.read_csv(SAMPLE / "capital.csv").pivot_table(index="date", columns="strategy", values="capital")
    pnl = lots.pnl.fillna(lots.sign * (lots.close_price - lots.open_price) * lots.quantity - lots.fees)
    day = lots.closed.dt.strftime("%Y-%m-%d").rename("date")
    booked = pnl.groupby([day, lots.strategy]).sum().unstack().reindex(benchmark.loc["2012":].index)
    base = capital.reindex(booked.index.union(capital.index)).ffill().reindex(booked.index)[booked.columns]
    returns = (booked.fillna(0.0) / base).where(base.notna())
    returns.loc[returns.index > "2019-12-31", "trend_short"] = np.nan
    assert returns.min(axis=None) > -0.25
    assert (returns.std() * 252**0.5).between(0.045, 0.20).all()
    wealth = (1 + returns).cumprod()
    drawdown = (1 - wealth / wealth.cummax().clip(lower=1.0)).max()
    assert drawdown.between(0.05, 0.30).all()
    assert (wealth.ffill().iloc[-1] < 1).sum() == 4


def test_benchmark_is_one_close_per_session_from_2010_to_2022(benchmark: pd.Series) -> None:
    assert benchmark.index.is_monotonic_increasing
    assert benchmark.index.is_unique
    assert (benchmark.index[0], benchmark.index[-1]) == ("2010-01-04", "2022-12-28")
    assert benchmark.pct_change().abs().max() < 0.13


def test_starter_metrics_are_consistent_and_lack_only_the_strategy_without_a_past() -> None:
    starter = json.loads((SAMPLE / "starter_calmar_core.json").read_text())
    capital = pd.read_csv(SAMPLE / "capital.csv")
    assert set(capital.strategy) - set(starter) == {"factor_rotation"}
    for metrics in starter.values():
        assert metrics["months_of_data"] == 12
        assert 0 < metrics["twelve_month_max_drawdown"] < 0.3
        ratio = metrics["twelve_month_return"] / metrics["twelve_month_max_drawdown"]
        assert metrics["calmar_ratio"] == pytest.approx(ratio, rel=0.01)
