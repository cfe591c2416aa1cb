"""Charts: what stands on a figure is what stands in the table, whatever the table holds, and in the same bytes."""

from __future__ import annotations

import base64
import datetime as dt
import io
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from weights_pipeline.charts import metrics, parts, regime, style, weights
from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.orchestration.metadata import CHARTED, HISTORY, Told, per_partition
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

AS_OF = pd.Timestamp("2024-01-31")


def realized(names=("a", "b", "c"), weight=(0.2, 0.5, 0.3), target=(0.25, 0.5, 0.25), base=(0.4, 0.25, 0.35)):
    base = np.array(base, dtype=float)
    table = pd.DataFrame({"strategy": list(names), "realized": weight, "target": target, "base": base})
    return table.assign(as_of=AS_OF, previous=base, lower=base / 2, upper=base * 2)


def multipliers(**changes):
    table = pd.DataFrame(
        {
            "as_of": AS_OF,
            "strategy": ["capped", "floored", "plain", "unmeasured"],
            "metric": "calmar_12m",
            "metric_value": [9.0, -1.0, 1.2, np.nan],
            "reason": ["", "", "", "insufficient"],
            "multiplier": [2.0, 0.5, 1.1, 1.0],
            "note": ["clipped at cap", "floor: metric <= 0", "measured", "neutral: insufficient"],
            "bound": ["cap", "floor", "floor", ""],
            "target": 0.25,
            "weight_set": "",
        }
    )
    return table.assign(**changes)


def measured(values, reasons=None, source="live", names=("calmar",)):
    tables = [
        pd.DataFrame(
            {
                "as_of": AS_OF,
                "strategy": [f"s{at}" for at in range(len(values))],
                "metric": name,
                "lookback": "12m",
                "value": values,
                "reason": reasons or "",
                "source": source,
            }
        )
        for name in names
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def path() -> dict[str, pd.DataFrame]:
    """State, regimes and scalars of three hundred sessions."""
    sessions, rng = pd.bdate_range("2022-06-01", periods=300), np.random.default_rng(5)
    names = np.repeat(REGIMES, (200, 40, 50, 10))
    state = pd.DataFrame({"session": sessions, "dd_level": -rng.uniform(0, 0.1, 300), "corr_20d": 0.1})
    state[["port_rvol_20d", "port_rvol_60d"]] = rng.uniform(0.01, 0.2, (300, 2))
    regimes = pd.DataFrame({"session": sessions, "regime": names, "sessions_in_regime": 3})
    scalars = pd.DataFrame({"session": sessions, "sleeve": "", "scalar": rng.uniform(0.3, 1, 300)})
    return {"state": state, "regimes": regimes, "scalars": scalars}


def texts(drawn: Figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in drawn.findobj(Text) if text.get_text()]


def bars(drawn: Figure, label: str, panel: int = 0) -> dict[int, tuple[float, float]]:
    """Both ends of each row's bar."""
    found = next(c for c in drawn.axes[panel].collections if c.get_label() == label)
    return {int(a[1]): (a[0], b[0]) for a, b in found.get_segments()}


def marked(drawn: Figure, label: str, panel: int = 0) -> dict[int, float]:
    """Place of each row's mark."""
    lines = [line for line in drawn.axes[panel].lines if line.get_label() == label]
    return {int(row): at for line in lines[-1:] for at, row in zip(*line.get_data(), strict=True)}


def picture(markdown: str) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(markdown.rpartition("base64,")[2].rstrip(")"))))


def test_realized_weights_are_bars_beside_target_base_floor_and_cap():
    drawn = weights.realized(realized())
    assert bars(drawn, "realized") == {0: (0, 0.5), 1: (0, 0.3), 2: (0, 0.2)}
    assert marked(drawn, "target") == {0: 0.5, 1: 0.25, 2: 0.25}
    assert marked(drawn, "base") == {0: 0.25, 1: 0.35, 2: 0.4}
    assert marked(drawn, "floor, cap") == {0: 0.125, 1: 0.175, 2: 0.2}
    assert bars(drawn, "limits") == {0: (0.125, 0.5), 1: (0.175, 0.7), 2: (0.2, 0.8)}
    said = texts(drawn)
    assert [text for text in said if text in "abc"] == ["b", "c", "a"]
    assert {"50.0% at cap", "30.0%", "20.0% at floor"} <= set(said)
    assert "sum 100.0%, one-way turnover 25.0%, 5.0% one way from target" in said


def test_limits_far_outside_do_not_flatten_the_bars():
    far = weights.realized(realized().assign(upper=10.0))
    assert far.axes[0].get_xlim()[1] < 0.6
    assert marked(far, "floor, cap") == {}
    near = weights.realized(realized())
    assert near.axes[0].get_xlim()[1] >= 0.8


def test_a_strategy_without_base_weight_is_held_by_no_limit():
    rows = realized(weight=(0.0, 0.5, 0.5), base=(0.0, 0.25, 0.35)).assign(upper=[0.0, 0.5, 0.7])
    assert weights.held_at(rows).tolist() == ["", "cap", ""]


def test_nulls_are_said_and_not_drawn():
    drawn = weights.realized(realized(weight=(0.2, np.nan, 0.3)))
    assert len(bars(drawn, "realized")) == 2
    assert "no value" in texts(drawn)
    drawn = weights.multipliers(multipliers(multiplier=[2.0, 0.5, np.nan, 1.0]))
    assert "no value" in texts(drawn)
    drawn = metrics.measured(measured([np.nan, 1.5], ["no_drawdown", ""]), ["calmar"])
    assert bars(drawn, "calmar") == {0: (0, 1.5)}
    assert " no_drawdown" in texts(drawn)
    assert "1 of 2 strategies measured" in texts(drawn)
    nothing = metrics.measured(measured([np.nan, np.nan], "insufficient"), ["calmar"])
    assert texts(nothing).count(" insufficient") == 2


def test_multipliers_start_from_one_and_those_at_a_limit_or_unmeasured_are_marked():
    drawn = weights.multipliers(multipliers())
    assert bars(drawn, "multiplier") == {0: (1, 2.0), 1: (1, 1.1), 2: (1, 1.0), 3: (1, 0.5)}
    assert marked(drawn, "at cap") == {0: 2.0}
    assert marked(drawn, "at floor") == {3: 0.5}
    assert marked(drawn, "not measured") == {2: 1.0}
    assert {
        "2.00× clipped at cap",
        "1.10× target at floor",
        "1.00× neutral: insufficient",
        "0.50× floor: metric <= 0",
        "by calmar_12m, 3 of 4 measured",
    } <= set(texts(drawn))


def test_a_method_without_metrics_says_how_it_chose_once():
    drawn = weights.multipliers(
        multipliers(metric="", reason="", note="fixed allocation", bound="", multiplier=[0.0, 2.4, 1.0, 1.1])
    )
    assert texts(drawn).count("fixed allocation") == 1
    assert bars(drawn, "multiplier")[3] == (1, 0.0)
    assert marked(drawn, "not measured") == {}


def test_final_weights_stand_beside_what_the_scalar_would_make_of_them():
    rows = realized().rename(columns={"realized": "final"})
    rows = rows.assign(realized=rows["final"] * 2, scalar=0.5, scaled=rows["final"], regime="STRESS", applied=True)
    rows = rows.assign(volatility_scalar=np.nan)
    drawn = weights.final(rows)
    assert marked(drawn, "realized") == {0: 1.0, 1: 0.6, 2: 0.4}
    assert "sum 100.0%, risk scalar 0.50 (stress)" in texts(drawn)
    idle = weights.final(rows.assign(applied=False, realized=rows["final"], scaled=rows["final"] / 2))
    assert marked(idle, "scaled, not applied") == {0: 0.25, 1: 0.15, 2: 0.1}
    levered = weights.final(rows.assign(volatility_scalar=1.25))
    assert "sum 100.0%, risk scalar 0.50 (stress), volatility target 1.25" in texts(levered)
    without = weights.final(rows.assign(applied=False, scalar=np.nan, scaled=np.nan, regime=""))
    assert "sum 100.0%, no risk scalar" in texts(without)
    assert marked(without, "scaled, not applied") == {}


def test_an_outlier_ends_in_an_arrow_and_is_told():
    drawn = metrics.measured(measured([1.0, 1.2, 0.8, -0.5, 150.0]), ["calmar"])
    (place,) = marked(drawn, "above").values()
    assert 1.2 < place < drawn.axes[0].get_xlim()[1] < 10
    assert marked(drawn, "below") == {}
    assert "150.00" in texts(drawn)


def test_metrics_that_are_not_live_alone_have_a_hollow_mark():
    rows = measured([1.0, 2.0, 3.0], source=["build_up", "live", "manual"])
    assert marked(metrics.measured(rows, ["calmar"]), "not live alone") == {0: 3.0, 2: 1.0}
    assert "not of live returns alone" in texts(metrics.measured(rows, ["calmar"]))
    assert "not of live returns alone" not in texts(metrics.measured(measured([1.0, 2.0]), ["calmar"]))


def test_rolling_metrics_show_the_median_strategy():
    rows = pd.concat(
        measured([at, at + 1.0, at + 8.0], names=("calmar", "sharpe")).assign(as_of=AS_OF + pd.DateOffset(months=at))
        for at in range(5)
    )
    drawn = metrics.history(rows.sample(frac=1, random_state=1), ["sharpe", "calmar"])
    for panel, name in enumerate(["sharpe", "calmar"]):
        line = next(line for line in drawn.axes[panel].lines if line.get_label() == name)
        assert line.get_ydata().tolist() == [1, 2, 3, 4, 5]


def test_weights_over_time_are_cells_in_the_order_of_the_newest():
    earlier = realized(names=("a", "b", "gone"), weight=(0.1, 0.2, 0.7)).assign(as_of=AS_OF - pd.DateOffset(months=1))
    drawn = weights.history(pd.concat([realized(names=("a", "b", "new")), earlier]))
    cells = drawn.axes[0].collections[0].get_array()
    assert cells.tolist() == [[0.2, 0.5], [None, 0.3], [0.1, 0.2], [0.7, None]]
    assert [text for text in texts(drawn) if text in ("a", "b", "new", "gone")] == ["b", "new", "a", "gone"]
    assert "left" in texts(drawn)


def test_weight_sets_stand_side_by_side_and_inactive_ones_are_named():
    rows = pd.concat(
        realized().assign(weight_set=name, is_active=active, sessions=count)
        for name, active, count in (("all", True, 60), ("bear", False, 0))
    )
    drawn = weights.sets(rows)
    assert drawn.axes[0].collections[0].get_array().tolist() == [[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]]
    assert {"targets; not active: bear", "all\n60 sessions", "bear\n0 sessions"} <= set(texts(drawn))


def allocator(path, as_of):
    return regime.allocator(path["state"], path["regimes"], path["scalars"], as_of)


def test_ribbon_has_one_piece_for_each_run_of_a_regime(path):
    drawn = allocator(path, path["regimes"]["session"].iloc[-1])
    for ax in drawn.axes:
        pieces = ax.collections[0].get_paths()
        edges = [(box.x0, box.x1) for box in (piece.get_extents() for piece in pieces)]
        # The last 252 of 300 sessions: 152, 40, 50 and 10.
        assert edges == [(-0.5, 151.5), (151.5, 191.5), (191.5, 241.5), (241.5, 251.5)]
    shown = [line.get_ydata() for ax in drawn.axes for line in ax.lines]
    names = ("dd_level", "port_rvol_20d", "port_rvol_60d")
    for line, stored in zip(shown, [*(path["state"][name] for name in names), path["scalars"]["scalar"]], strict=True):
        np.testing.assert_array_equal(line, stored.tail(252))
    (said,) = (text for text in texts(drawn) if text.startswith("CRISIS for 3 sessions, drawdown"))
    assert ", correlation 0.10, scalar " in said


def test_sleeves_are_lines_of_their_own(path):
    sleeve = path["scalars"].assign(sleeve="trend", scalar=0.4)
    drawn = allocator(path | {"scalars": pd.concat([path["scalars"], sleeve])}, AS_OF)
    assert [line.get_linewidth() for line in drawn.axes[-1].lines] == [1.6, 0.7]
    assert "sleeve" in texts(drawn)
    assert set(drawn.axes[-1].lines[1].get_ydata()) == {0.4}


def test_where_fewer_than_two_strategies_moved_no_correlation_is_said(path):
    drawn = allocator(path | {"state": path["state"].assign(corr_20d=np.nan)}, AS_OF)
    assert not [text for text in texts(drawn) if "correlation" in text]


def test_nothing_after_the_date_is_drawn(path):
    as_of = path["regimes"]["session"].iloc[220]
    cut = {name: table[table["session"] <= as_of] for name, table in path.items()}
    assert style.png(allocator(path, as_of)) == style.png(allocator(cut, as_of))


def test_before_the_first_state_the_chart_says_so(path):
    drawn = allocator(path, path["state"]["session"].iloc[0] - pd.Timedelta(days=1))
    assert "the first is that of session 60" in texts(drawn)
    style.png(drawn)


def test_the_same_table_in_any_order_gives_the_same_bytes():
    rows = realized(weight=(0.3, 0.4, 0.3))
    drawn = [style.png(weights.realized(frame)) for frame in (rows, rows, rows.iloc[::-1])]
    assert drawn[0] == drawn[1] == drawn[2]
    assert b"Software" not in drawn[0]
    assert b"tIME" not in drawn[0]


@pytest.mark.parametrize("count", [1, 40])
def test_every_strategy_has_its_row(count):
    names = [f"strategy_{at:02d}" for at in range(count)]
    share = np.arange(1, count + 1) / (count * (count + 1) / 2)
    drawn = weights.realized(realized(names, share, share, share))
    assert texts(drawn).count(names[0]) == 1
    assert set(names) <= set(texts(drawn))
    places = [text for text in drawn.axes[0].texts if text.get_text() in names]
    style.png(drawn)
    tops = sorted(text.get_window_extent().y0 for text in places)
    assert all(np.diff(tops) > 12)
    assert drawn.get_figheight() == pytest.approx(0.78 + 0.165 * max(count, 3))


@pytest.mark.parametrize("name", ["a$b$c_{x}", r"\frac{1}$2$", "under_score", "50%", "$$", "new\nline", "x" * 300])
def test_any_name_is_shown_as_it_is(name):
    drawn = weights.realized(realized([name, "b", "c"]))
    style.png(drawn)
    shown = next(text for text in drawn.axes[0].texts if text.get_text() == parts.short(name))
    assert not shown.get_parse_math()
    assert shown.get_window_extent().x0 >= 0
    assert parts.short(name) == name or "\n" in name or len(name) > 28
    assert len(parts.short(name)) <= 28


def test_named_colours_are_kept_exactly():
    from PIL import Image

    palette = Image.new("P", (1, 1))
    palette.putpalette(style._palette())
    assert len(style._palette()) <= 3 * 256
    for name in ("#ffffff", *style.SERIES, style.GREY, style.PALE, *style.REGIMES.values()):
        pixel = Image.new("RGB", (1, 1), name)
        assert pixel.quantize(palette=palette, dither=0).convert("RGB").getpixel((0, 0)) == pixel.getpixel((0, 0))


def test_colours_of_small_marks_survive_the_palette():
    image = picture(style.markdown(weights.realized(realized()), "x")).convert("RGB")
    seen = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in image.getcolors(1 << 16)}
    assert {style.SKY, style.ORANGE, style.BLACK, "#ffffff"} <= seen


class Metadata:
    """What per_partition says of so many days, a partition each."""

    def __init__(self, count, **charts):
        self.warnings = []
        days = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=at) for at in range(count + 1)]
        windows = [Window(str(a.date()), a, b, a.date(), b.date(), b) for a, b in pairwise(days)]
        frame = pd.DataFrame({"as_of": pd.DatetimeIndex([day.date() for day in days[:-1]])})
        told = Told(figures=len_of, shown=lambda rows: {"shown": len(rows)}, **charts)
        self.metadata = per_partition(frame, catalog.FINAL_WEIGHTS, windows, told, self.warnings.append)

    def having(self, name):
        return [key for key, metadata in self.metadata.items() if name in metadata]


def len_of(rows):
    return {"rows": len(rows)}


def plain(rows):
    return style.figure(0.2, 0.2)


def test_a_run_charts_its_newest_partition_and_a_long_one_its_history():
    keys = list(Metadata(HISTORY).metadata)
    assert len(keys) == HISTORY
    assert Metadata(HISTORY, chart=plain).having("chart") == keys[-CHARTED:] == keys[-1:]
    assert Metadata(HISTORY, history=plain).having("history") == keys[-1:]
    assert Metadata(HISTORY - 1, history=plain).having("history") == []


def test_what_plots_is_said_of_each_partition_and_what_is_looked_at_of_the_newest():
    told = Metadata(3)
    assert told.having("rows") == list(told.metadata)
    assert told.having("shown") == told.having("preview") == list(told.metadata)[-1:]


def test_a_chart_that_cannot_be_drawn_is_a_warning():
    told = Metadata(2, chart=lambda rows: 1 / 0)
    assert told.having("chart") == []
    assert told.warnings == ["no chart of 2024-01-02: ZeroDivisionError: division by zero"]


def test_a_figure_that_several_tables_show_is_drawn_once(monkeypatch):
    drawn, figure = [], plain(None)
    monkeypatch.setattr(figure, "draw", lambda renderer: drawn.append(renderer))
    assert style.markdown(figure, "a").partition("](")[2] == style.markdown(figure, "b").partition("](")[2]
    assert len(drawn) == 1
