"""The command ``weights simulate``: what it reads, what it computes, what it refuses, grids."""

import datetime as dt
import json
import math
from itertools import groupby

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.support.data import WEEKLY_BOOKS, edit_yaml
from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.study.sharpe_inference import expected_maximum_sharpe
from weights_pipeline.ledger import LedgerError, calendar_sessions, read_returns_file
from weights_pipeline.operations import policy_grid
from weights_pipeline.operations.policy_grid import figures_of
from weights_pipeline_tests.support.commands import Result

SHARPE, ENSEMBLE = WEEKLY_BOOKS
NAMES = ["alpha", "beta", "gamma"]


# --- a small book and its returns ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A book of three strategies, and two years of their returns as a wide file."""
    monkeypatch.setenv("WEIGHTS_DATA", str(tmp_path))
    book = {
        "name": "trial",
        "description": "A trial.",
        "owner": "team:allocation",
        "account": "paper",
        "ledger": "none",
        "cadence": {"kind": "monthly"},
        "timezone": "America/New_York",
        "strategies": {"alpha": 0.5, "beta": 0.3, "gamma": 0.2},
        "method": {"kind": "sharpe_tilt", "lookback": "90d"},
        "adjustment": {"rate": 0.5},
        "limits": {},
        "overlay": {"enabled": True},
        "max_age": 35,
    }
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump(book))
    sessions = calendar_sessions("XNYS", dt.date(2020, 1, 6), dt.date(2021, 6, 15))
    values = np.random.default_rng(7).normal(0.0005, 0.01, (len(sessions), 3)).round(6)
    wide = pd.DataFrame(values, index=sessions.rename("date"), columns=NAMES)
    wide.iloc[:100, 2] = np.nan
    wide.to_csv(tmp_path / "wide.csv")
    return tmp_path


def simulate(folder, *arguments, returns="wide.csv"):
    book = ["--book", str(folder / "trial.yaml")]
    return Result("simulate", *book, "--returns", str(folder / returns), *map(str, arguments))


def test_figures_are_those_of_the_written_weights(folder):
    result = simulate(folder, "--output", folder / "weights.csv", "--json")
    assert result.exit_code == 0, result.errors
    content = json.loads(result.output)
    weights = pd.read_csv(folder / "weights.csv", parse_dates=["as_of", "effective_from"], float_precision="round_trip")
    # June is not over on the 15th.
    assert content["rebalances"] == weights["as_of"].nunique() == 17
    assert content["sessions"] == ["2020-01-02", "2021-06-15"]
    assert weights["as_of"].max() == pd.Timestamp("2021-05-28")
    newest = weights[weights["as_of"] == weights["as_of"].max()].set_index("strategy")
    shown = {row["strategy"]: row for row in content["weights"]["rows"]}
    for column in ("base", "target", "realized", "final"):
        assert {name: row[column] for name, row in shown.items()} == newest[column].to_dict()
    before = weights[weights["as_of"] == sorted(weights["as_of"].unique())[-2]].set_index("strategy")
    assert {name: row["previous"] for name, row in shown.items()} == before["final"].to_dict()
    assert content["weights"]["previous_from"] == f"{before['effective_from'].iloc[0]:%Y-%m-%d}"

    returns = pd.read_csv(folder / "wide.csv", parse_dates=["date"], index_col="date").fillna(0.0)
    for column, name in (("realized", "unscaled"), ("final", "traded")):
        held = weights.pivot(index="effective_from", columns="strategy", values=column)
        held = held.reindex(returns.index, method="ffill").dropna()
        earned = (held * returns.loc[held.index]).sum(axis=1)
        for metric, (value, _) in performance(earned).items():
            assert content["performance"][name][metric] == pytest.approx(value, rel=1e-9)
    moved = (weights["realized"] - weights["previous"]).abs().groupby(weights["as_of"]).sum() / 2
    assert content["turnover"]["mean"] == pytest.approx(moved.mean())
    assert content["turnover"]["largest"] == pytest.approx(moved.max())
    assert content["turnover"]["largest_as_of"] == str(moved.idxmax().date())


def test_a_no_trade_band_is_held_against_the_same_book_without_it(folder):
    freely = json.loads(simulate(folder, "--json").output)
    edit_yaml(folder / "trial.yaml", adjustment={"rate": 0.5, "band": {"absolute": 0.03}})
    content = json.loads(simulate(folder, "--json").output)
    assert content["turnover"].pop("without_band") == freely["turnover"]["mean"] > content["turnover"]["mean"]
    assert content["turnover"].keys() == freely["turnover"].keys()
    assert (content["weights"]["rate"], content["weights"]["speed"]) == (None, None)
    said = simulate(folder).output
    saved = freely["turnover"]["mean"] - content["turnover"]["mean"]
    assert f"on average: the band saves {saved:.2%} of capital in trades a rebalance." in said
    assert "each strategy was traded by its own gap; those inside the no-trade band were left alone." in said
    edit_yaml(folder / "trial.yaml", adjustment={"rate": 0.5, "band": 0.9})
    assert "nothing was traded: every weight is inside the no-trade band." in simulate(folder).output


def test_costs_and_drift_are_said_before_and_after(folder):
    (folder / "costs.yaml").write_text("{fee: 0.002, by_strategy: {beta: 0.01}, rebalance: 0.0001, financing: 0.05}")
    plain = json.loads(simulate(folder, "--json").output)
    content = json.loads(simulate(folder, "--costs", folder / "costs.yaml", "--json").output)
    paid = content.pop("costs")
    assert content == plain
    assert paid["before"] == pytest.approx(plain["performance"]["traded"], rel=1e-12)
    assert paid["after"]["cagr"] < paid["before"]["cagr"]
    assert 0.002 * paid["traded_per_year"] < paid["fees_per_year"] < 0.01 * paid["traded_per_year"]
    assert paid["rebalances_per_year"] == pytest.approx(0.0001 * 17 * 252 / 345)
    assert (paid["financing_per_year"], paid["drift"]) == (0.0, False)

    drifting = json.loads(simulate(folder, "--drift", "--json").output)["costs"]
    assert drifting["before"] == drifting["after"] != paid["before"]
    said = simulate(folder, "--costs", folder / "costs.yaml", "--drift").output
    assert "Traded weights, which drift with returns between rebalances, before and after costs:" in said
    assert "of capital bought and sold" in said


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ("{fee: -0.1}", "costs.yaml: (whole file): fee: expected a fraction of at least 0, such as 0.001, got -0.1"),
        ("{bps: 10}", "costs.yaml: bps"),
        ("{by_strategy: {omega: 0.1}}", "costs.yaml: by_strategy: ['omega'] are no strategies of the book"),
    ],
)
def test_costs_that_cannot_be_are_refused(folder, costs, message):
    (folder / "costs.yaml").write_text(costs)
    result = simulate(folder, "--costs", folder / "costs.yaml")
    assert result.exit_code == 2
    assert message in result.errors


def test_costs_of_the_book_count_where_no_file_says_others(folder):
    edit_yaml(folder / "trial.yaml", costs={"fee": 0.002})
    (folder / "costs.yaml").write_text("{fee: 0.004}")
    own = json.loads(simulate(folder, "--json").output)["costs"]
    other = json.loads(simulate(folder, "--costs", folder / "costs.yaml", "--json").output)["costs"]
    assert own["traded_per_year"] == other["traded_per_year"]
    assert other["fees_per_year"] == pytest.approx(2 * own["fees_per_year"])
    rows = json.loads(simulate(folder, "--grid", "costs.fee=0.002,0.004", "--json").output)["grid"]
    assert [row["costs"] for row in rows] == [own, other]
    # Of weights that are scaled every session costs are not counted.
    edit_yaml(folder / "trial.yaml", overlay={"enabled": True, "apply": "daily"})
    assert "costs" not in json.loads(simulate(folder, "--json").output)


def test_costs_need_weights_that_stay_between_rebalances(folder):
    given = ("--drift", "--grid", "overlay.enabled=false,true", "--grid", "overlay.apply=daily")
    refused = simulate(folder, *given)
    assert (refused.exit_code, "the overlay scales them every session" in refused.errors) == (2, True)


def test_a_grid_with_costs_is_judged_after_them(folder):
    (folder / "costs.yaml").write_text("{fee: 0.02, rebalance: 0.0001}")
    given = ("--costs", folder / "costs.yaml", "--grid", "adjustment.rate=0.1,1")
    content = json.loads(simulate(folder, *given, "--json", "--output", folder / "grid.csv").output)
    rows = content["grid"]
    edit_yaml(folder / "trial.yaml", adjustment={"rate": 1})
    alone = json.loads(simulate(folder, *given[:2], "--json").output)
    assert rows[1]["costs"] == alone["costs"]
    after = [row["costs"]["after"]["sharpe"] for row in rows]
    assert [row["best_sharpe"] for row in rows] == [value == max(after) for value in after]
    assert content["choice"]["best_sharpe_by_luck"] == expected_maximum_sharpe(np.var(after, ddof=1), 2)
    written = pd.read_csv(folder / "grid.csv", float_precision="round_trip")
    assert written["after_sharpe"].tolist() == after
    assert written["fees_per_year"].tolist() == [row["costs"]["fees_per_year"] for row in rows]

    text = simulate(folder, *given).output
    (line,) = (line for line in text.splitlines() if "← best Sharpe" in line)
    best = rows[after.index(max(after))]["costs"]
    assert line.split()[1:4] == [f"{best['before']['sharpe']:.2f}", f"{best['after']['cagr']:.2%}", f"{max(after):.2f}"]
    assert "after them, at weights that are held constant between rebalances." in " ".join(text.split())


def test_text_shows_weights_and_figures(folder):
    result = simulate(folder)
    assert result.exit_code == 0, result.errors
    for text in ("Simulated 17 rebalances", "Realized", "Max drawdown", "Unscaled", "Traded", "One-way turnover"):
        assert text in result.output
    assert "Without any return" not in result.output
    pd.read_csv(folder / "wide.csv").drop(columns="gamma").to_csv(folder / "two.csv", index=False)
    assert "Without any return: gamma." in simulate(folder, returns="two.csv").output


def test_from_starts_the_weights_later_and_keeps_the_history_before(folder):
    content = json.loads(simulate(folder, "--from", "2021-01", "--output", folder / "late.parquet", "--json").output)
    late = pd.read_parquet(folder / "late.parquet")
    assert content["rebalances"] == 5
    assert late["as_of"].min() == pd.Timestamp("2021-01-29")
    first = late[late["as_of"] == late["as_of"].min()]
    assert first["previous"].tolist() == first["base"].tolist()
    assert first["metric_value"].notna().all()


def test_a_book_without_overlay_trades_unscaled_weights(folder):
    edit_yaml(
        folder / "trial.yaml", overlay=None, method={"kind": "equal"}, limits={"of": "weight", "floor": 0, "cap": 1}
    )
    content = json.loads(simulate(folder, "--json").output)
    assert content["performance"]["unscaled"] == content["performance"]["traded"]
    assert all(row["scalar"] is None for row in content["weights"]["rows"])


# --- reading ------------------------------------------------------------------------------------------------


def read(folder, text, name="returns.csv", strategies=NAMES):
    (folder / name).write_text(text)
    return read_returns_file(folder / name, calendar="XNYS", strategies=strategies).history


def whole(folder, text):
    (folder / "returns.csv").write_text(text)
    read_returns_file(folder / "returns.csv", calendar="XNYS", strategies=NAMES).require_whole()


def test_a_session_without_a_row_is_no_return_and_one_before_the_first_is_no_session(tmp_path):
    long = "session,strategy,daily_return\n2020-01-03,beta,0.01\n2020-01-07,beta,-0.02\n2020-01-06,alpha,0\n"
    wide = "date,beta,alpha\n2020-01-03,0.01,\n2020-01-06,,0\n2020-01-07,-0.02,\n"
    nan = np.nan
    for text in (long, wide):
        history = read(tmp_path, text)
        assert history.sessions.strftime("%m-%d").tolist() == ["01-02", "01-03", "01-06", "01-07"]
        assert history.strategies == ("alpha", "beta")
        np.testing.assert_array_equal(history.returns, [[nan, nan], [nan, 0.01], [0, 0], [0, -0.02]])
        np.testing.assert_array_equal(history.active, np.nan_to_num(history.returns) != 0)
        assert history.closed_lots is None


def test_lots_and_activity_are_read_where_they_are_given(tmp_path):
    text = (
        "session,strategy,daily_return,closed_lots,winning_lots,active,pnl\n"
        "2020-01-03,beta,0.01,3,2,True,12\n2020-01-07,beta,0,0,0,true,\n"
    )
    history = read(tmp_path, text)
    assert history.closed_lots.tolist() == [[0], [3], [0], [0]]
    assert history.winning_lots.tolist() == [[0], [2], [0], [0]]
    assert history.active.tolist() == [[False], [True], [False], [True]]


HEADER = "session,strategy,daily_return\n2020-01-03,alpha,0.01\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (HEADER + "2020-01-06,omega,0.01\n", ["strategies that are not known: omega"]),
        (HEADER + "2020-01-06,alpha,-1\n", ["line 3: daily_return: -1 is not > -1"]),
        (
            HEADER + "2020-01-03,alpha,0.02\n",
            ["line 2: session, strategy: other content at returns.csv line 3", "line 3: session"],
        ),
        (HEADER + "2020-01-03,alpha,0.01\n", ["line 3: repeats returns.csv line 2"]),
        (
            "session,strategy,daily_return\n2020-01-03,omega,0\n",
            ["none of omega is in the book, which has alpha, beta"],
        ),
        (
            HEADER + "2020-01-06,alpha,x\n2020-01-07,alpha,\n",
            ["line 3: daily_return: 'x'", "line 4: daily_return: is empty"],
        ),
        (HEADER + "2020-01-06,alpha\n", ["line 3: expected 3 fields, found 2"]),
        (HEADER + "tomorrow,alpha,0\n", ["line 3: session: 'tomorrow' is not an ISO 8601 date"]),
        ("day,alpha\n2020-01-03,0.01\n", ["expected the columns session, strategy, daily_return, or a date and one"]),
        ("session,strategy,return\n2020-01-03,alpha,0\n", ["missing column daily_return"]),
        ("session,strategy,daily_return\n", ["has no row below its header"]),
        ("", ["is empty"]),
        (
            "session,strategy,daily_return,closed_lots,winning_lots,active\n"
            "2020-01-03,alpha,0.01,1.5,1,yes\n2020-01-06,alpha,0.01,,0,true\n",
            [
                "line 2: closed_lots: 1.5 is no count of lots; active: 'yes' is not true or false",
                "line 3: closed_lots: is empty, but lots are given in other rows",
            ],
        ),
        (
            "session,strategy,daily_return,closed_lots,winning_lots\n2020-01-03,alpha,0.01,1,2\n",
            ["more winning_lots than closed_lots: strategy 'alpha', session 2020-01-03"],
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(folder, text, messages):
    with pytest.raises(LedgerError) as caught:
        whole(folder, text)
    for message in messages:
        assert message in str(caught.value)
    assert simulate(folder, returns="returns.csv").exit_code == 2


def test_what_a_ledger_would_reject_is_told_and_the_rest_is_simulated(folder):
    right = json.loads(simulate(folder, "--json").output)
    assert (right["rejected"], right["not_in_the_book"]) == ([], [])
    lines = (folder / "wide.csv").read_text().splitlines()
    lines = [f"{lines[0]},stranger", *(f"{line},0.01" for line in lines[1:]), "someday,1,1,1,1", lines[-1] + ",0.01"]
    (folder / "more.csv").write_text("\n".join(lines) + "\n")
    found = json.loads(simulate(folder, "--json", returns="more.csv").output)
    assert {name: found[name] for name in ("weights", "performance")} == {
        name: right[name] for name in ("weights", "performance")
    }
    assert found["not_in_the_book"] == ["stranger"]
    assert {row["reasons"] for row in found["rejected"]} == {"unparseable_date", "exact_duplicate"}
    printed = simulate(folder, returns="more.csv").output
    assert "Not in the book, and left out: stranger." in printed
    assert "which count as if they were not there. more.csv: " in printed
    assert "'someday' is not an ISO 8601 date" in printed


def test_parquet_counts_rows_and_long_lists_are_cut(tmp_path):
    days = calendar_sessions("XNYS", dt.date(2020, 1, 2), dt.date(2020, 2, 28))
    pd.DataFrame({"session": days, "strategy": "alpha", "daily_return": -2.0}).to_parquet(tmp_path / "r.parquet")
    with pytest.raises(LedgerError, match=r"r.parquet: 40 rows to correct:\n  row 1: (.|\n)*  …$") as caught:
        read_returns_file(tmp_path / "r.parquet", calendar="XNYS", strategies=NAMES)
    assert len(str(caught.value).splitlines()) == 10


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "2019-12"), "--from 2019-12: "),
        (("--from", "2021-06"), "there is no whole period of book trial, which rebalances monthly on day 1"),
        (("--from", "June"), "--from: invalid month value: 'June'"),
        (("--calendar", "MARS"), "calendar: 'MARS' is not known"),
        (("--output", "weights.xlsx"), "--output weights.xlsx: expected a file named .csv or .parquet"),
        (("--benchmark", "prices.csv"), "--benchmark: book trial reads none"),
        (("--grid", "ensemble=market_regime"), "--benchmark: book trial keeps a weight set per market regime"),
        (("--grid", "method.alpha=0.5"), "with method.alpha=0.5: method.sharpe_tilt.alpha"),
        (("--grid", "adjustment.rate=0.5,2"), "with adjustment.rate=2: adjustment.rate"),
        (("--grid", "name.first=x"), "with name.first=x: first: expected it to be a key of a mapping, found 'trial'"),
        (("--grid", "adjustment.rate"), "--grid adjustment.rate: expected KEY=VALUE,VALUE"),
        (("--grid", "gross=1", "--grid", "gross=2"), "--grid gross=2: is named twice"),
        (("--grid", "gross=[1"), "--grid gross=[1: not readable as YAML"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(folder, arguments, message):
    result = simulate(folder, *arguments)
    assert result.exit_code == 2
    assert message in result.errors
    assert result.output == ""


def test_files_that_are_not_there_are_named(folder):
    assert "nothing.csv: cannot be read" in simulate(folder, returns="nothing.csv").errors
    missing = Result("simulate", "--book", str(folder / "no.yaml"), "--returns", str(folder / "wide.csv"))
    assert missing.exit_code == 2
    assert "no.yaml" in missing.errors


def test_benchmark_columns(folder):
    edit_yaml(folder / "trial.yaml", ensemble="market_regime", overlay=None)
    days = calendar_sessions("XNYS", dt.date(2019, 1, 2), dt.date(2021, 6, 15))
    prices = pd.DataFrame({"date": days, "price": np.linspace(100, 200, len(days))})
    prices.to_csv(folder / "one.csv", index=False)
    prices.assign(other=1.0).to_csv(folder / "two.csv", index=False)
    prices.rename(columns={"price": "close"}).assign(other=1.0).to_csv(folder / "close.csv", index=False)
    one, close = (simulate(folder, "--benchmark", folder / name, "--json") for name in ("one.csv", "close.csv"))
    assert one.exit_code == 0, one.errors
    assert one.output == close.output
    refused = simulate(folder, "--benchmark", folder / "two.csv")
    assert refused.exit_code == 2
    assert "two.csv: expected the columns date and close, or date and one other; found price, other" in refused.errors
    prices[prices["date"] > "2021-06-14"].assign(date="2021-06-19").to_csv(folder / "late.csv", index=False)
    late = simulate(folder, "--benchmark", folder / "late.csv")
    assert late.exit_code == 2
    assert "has no price on a session up to 2021-06-15" in late.errors


# --- grids --------------------------------------------------------------------------------------------------


def test_a_grid_is_so_many_simulations_and_marks_the_best_with_a_warning(folder):
    given = ("--grid", "method.hi=1.5,3", "--grid", "adjustment.rate=0.1,1")
    content = json.loads(simulate(folder, *given, "--output", folder / "grid.csv", "--json").output)
    rows = content["grid"]
    assert [tuple(row["changes"].values()) for row in rows] == [(1.5, 0.1), (1.5, 1), (3, 0.1), (3, 1)]
    sharpe = [row["performance"]["traded"]["sharpe"] for row in rows]
    assert [row["best_sharpe"] for row in rows] == [value == max(sharpe) for value in sharpe]
    assert len(set(sharpe)) == 4
    edit_yaml(folder / "trial.yaml", method={"kind": "sharpe_tilt", "lookback": "90d", "hi": 3}, adjustment={"rate": 1})
    alone = json.loads(simulate(folder, "--json").output)
    assert {name: alone[name] for name in ("performance", "turnover")} == {
        name: rows[3][name] for name in ("performance", "turnover")
    }
    written = pd.read_csv(folder / "grid.csv", float_precision="round_trip")
    assert written["sharpe"].tolist() == sharpe
    assert written["adjustment.rate"].tolist() == [0.1, 1, 0.1, 1]
    choice = content["choice"]
    assert choice["policies"] == 4
    assert choice["best_sharpe_by_luck"] == expected_maximum_sharpe(np.var(sharpe, ddof=1), 4)
    assert choice["overfitting"]["ways"] == 12_870
    assert len(choice["walk_forward"]["chosen"]) == 8
    assert choice["walk_forward"]["best"] >= choice["walk_forward"]["median"]

    text = simulate(folder, *given).output
    assert len([line for line in text.splitlines() if "← best Sharpe" in line]) == 1
    assert "flattered by the choice" in text
    assert f"would show a Sharpe ratio of {choice['best_sharpe_by_luck']:.2f}." in " ".join(text.split())
    assert f"Probability of backtest overfitting {choice['overfitting']['probability']:.1%}: " in text
    walked = choice["walk_forward"]["sharpe"] * math.sqrt(252)
    assert f"policies would have shown a Sharpe ratio of {walked:.2f} there;" in " ".join(text.split())


def test_values_of_a_grid_may_be_mappings(folder):
    given = ("--grid", "method.metric=sharpe,{name: calmar, shrink: true}", "--grid", "method.kind=minmax_tilt")
    output = ("--output", folder / "grid.parquet")
    rows = json.loads(simulate(folder, *given, "--json", *output).output)["grid"]
    assert [row["changes"]["method.metric"] for row in rows] == ["sharpe", {"name": "calmar", "shrink": True}]
    assert len({row["performance"]["traded"]["sharpe"] for row in rows}) == 2
    assert pd.read_parquet(folder / "grid.parquet")["method.metric"].tolist() == [
        "sharpe",
        "{name: calmar, shrink: true}",
    ]
    assert "{name: calmar, shrink: true}" in simulate(folder, *given).output


def test_a_grid_that_was_interrupted_goes_on_where_it_was(folder, monkeypatch):
    given = ("--grid", "adjustment.rate=0.1,0.5,1", "--grid", "method.hi=1.5,3", "--output", folder / "grid.parquet")
    simulate(folder, *given)
    whole = (folder / "grid.parquet").read_bytes()
    (folder / "grid.parquet").unlink()
    computed = []
    monkeypatch.setattr(policy_grid, "BATCH", 1)

    def interrupted(simulation, paid):
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(simulation.policy)
        return figures_of(simulation, paid)

    with monkeypatch.context() as patch:
        patch.setattr(policy_grid, "figures_of", interrupted)
        assert simulate(folder, *given).exit_code == 130
    kept = folder / "grid.parquet.partial"
    kept.write_bytes(kept.read_bytes()[:-5])  # as a machine that lost power may leave it
    assert not (folder / "grid.parquet").exists()

    before = len(computed)
    with monkeypatch.context() as patch:
        patch.setattr(policy_grid, "figures_of", lambda each, _: computed.append(each.policy) or figures_of(each))
        assert simulate(folder, *given).exit_code == 0
    assert len(computed) == before + 4  # of six, two were whole
    assert (folder / "grid.parquet").read_bytes() == whole
    assert not kept.exists()


@pytest.mark.parametrize("left", [b"", b'{"gri'])
def test_a_file_of_results_that_was_only_begun_is_begun_anew(folder, left):
    (folder / "grid.csv.partial").write_bytes(left)
    result = simulate(folder, "--grid", "adjustment.rate=0.1,1", "--output", folder / "grid.csv")
    assert result.exit_code == 0, result.errors
    assert len(pd.read_csv(folder / "grid.csv")) == 2
    assert not (folder / "grid.csv.partial").exists()


def test_a_file_that_is_somebody_elses_is_left_alone(folder):
    (folder / "grid.csv.partial").write_text("my notes\n")
    result = simulate(folder, "--grid", "adjustment.rate=0.1,1", "--output", folder / "grid.csv")
    assert result.exit_code == 2
    assert "holds results of another grid" in result.errors
    assert (folder / "grid.csv.partial").read_text() == "my notes\n"


@pytest.mark.parametrize("change", ["values", "book", "returns", "costs"])
def test_results_of_another_grid_are_not_gone_on_with(folder, change, monkeypatch):
    output = ("--output", folder / "grid.csv")

    def stops(simulation, _):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(policy_grid, "figures_of", stops)
        assert simulate(folder, "--grid", "adjustment.rate=0.1,1", *output).exit_code == 130
    kept = (folder / "grid.csv.partial").read_bytes()
    if change == "book":
        edit_yaml(folder / "trial.yaml", limits={"floor": 0.9})
    if change == "returns":
        wide = pd.read_csv(folder / "wide.csv")
        wide.loc[200, "alpha"] += 1e-6
        wide.to_csv(folder / "wide.csv", index=False)
    values = "adjustment.rate=0.1,0.9" if change == "values" else "adjustment.rate=0.1,1"
    result = simulate(folder, "--grid", values, *output, *(["--drift"] if change == "costs" else []))
    assert result.exit_code == 2
    assert "grid.csv.partial: holds results of another grid" in result.errors
    assert (folder / "grid.csv.partial").read_bytes() == kept


def test_of_a_large_grid_the_best_are_listed(folder):
    rates = ",".join(f"{rate:.3f}" for rate in np.linspace(0.1, 1, 45))
    result = simulate(folder, "--grid", f"adjustment.rate={rates}", "--output", folder / "grid.csv")
    lines = [line for line in result.output.splitlines() if line.count("%") == 4]
    written = pd.read_csv(folder / "grid.csv")
    assert len(written) == 45
    assert written["adjustment.rate"].is_monotonic_increasing
    assert len(lines) == 40
    assert "best Sharpe" in lines[0]
    assert "The 40 best by Sharpe ratio of 45 policies" in result.output


@given(
    sizes=st.dictionaries(
        st.sampled_from(["method.alpha", "method.lookback", "limits.cap", "timezone", "overlay.half_life"]),
        st.integers(1, 4),
        min_size=1,
    )
)
def test_neighbours_of_a_grid_share_what_the_chain_reads_first(sizes):
    grid = policy_grid.PolicyGrid({key: range(size) for key, size in sizes.items()})
    order = grid.order()
    assert sorted(order) == list(range(len(grid)))
    made = [grid.changes(place) for place in order]
    last = grid.changes(len(grid) - 1)
    assert last == {key: size - 1 for key, size in sizes.items()}
    for early in ("timezone", "method.lookback", "method.alpha", "limits.cap"):
        if early in sizes:
            # Up to this key of the chain, every combination is one run of neighbours.
            keys = ["timezone", "method.lookback", "method.alpha", "limits.cap"]
            read = [tuple(each.get(key) for key in keys[: keys.index(early) + 1]) for each in made]
            assert len([key for key, _ in groupby(read)]) == len(set(read))


def test_a_grid_may_change_the_cadence_and_make_keys_that_are_not_there(folder):
    given = ("--grid", "timezone=America/New_York,Asia/Tokyo", "--grid", "metrics.risk_free=0,0.05")
    rows = json.loads(simulate(folder, *given, "--json").output)["grid"]
    # A month of Tokyo ends before New York's last session of it has closed.
    assert len({row["performance"]["traded"]["cagr"] for row in rows}) == 4


@pytest.mark.xdist_group("skfolio")
def test_a_grid_may_go_over_the_parameters_of_an_optimiser(folder):
    pytest.importorskip("skfolio", reason="an extra: pip install -e '.[skfolio]'")
    method = {"kind": "skfolio", "lookback": "90d", "optimiser": {"kind": "HierarchicalRiskParity"}}
    edit_yaml(folder / "trial.yaml", method=method, limits={"of": "weight", "floor": 0.1, "cap": 0.5})
    given = ("--grid", "method.optimiser.risk_measure=variance,cvar", "--output", folder / "weights.csv", "--json")
    result = simulate(folder, *given)
    assert result.exit_code == 0, result.errors
    rows = json.loads(result.output)["grid"]
    assert len({row["performance"]["traded"]["cagr"] for row in rows}) == 2
    simulate(folder, "--output", folder / "weights.csv")
    weights = pd.read_csv(folder / "weights.csv", parse_dates=["as_of"])
    early = weights["as_of"] < "2020-06-01"
    # The third strategy starts at the end of May. Until then it keeps its base weight, and the others share the rest.
    assert (weights.loc[early & (weights["strategy"] == "gamma"), "target"] == 0.2).all()
    np.testing.assert_allclose(weights.groupby("as_of")["target"].sum(), 1, rtol=1e-12)
    assert weights["target"].between(0.1, 0.5).all()
    assert weights["target"].nunique() > 20
