"""The commands beneath ``weights allocator``: tables as stored, files whole, words plain."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.support.data import BOOK, edit_yaml
from weights_pipeline.cli.commands import allocator
from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.allocator.scalar import PROFILES, AllocatorParameters
from weights_pipeline.core.allocator.tune import SCORES
from weights_pipeline.core.chain import state_of
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline.ledger import LedgerError, calendar_sessions
from weights_pipeline.operations.allocator_runs import audit_sentence, read_weights
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result

PARTS = {
    "state": ("state", catalog.ALLOCATOR_STATE),
    "regime": ("regime", catalog.RISK_REGIME),
    "risk": ("scalar", catalog.RISK_SCALAR),
}
NAMES = ("alpha", "beta", "gamma")
TUNE = ("--train", "120", "--test", "60")


@pytest.fixture
def weights(finished, monkeypatch):
    """Call the command line on the finished store."""
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    return lambda *arguments: Result("allocator", *map(str, arguments))


@pytest.fixture(scope="module")
def returns() -> pd.DataFrame:
    """Three strategies over fourteen months, the last one live only from the second month on."""
    sessions = calendar_sessions("XNYS", *(pd.Timestamp(day).date() for day in ("2019-01-02", "2020-03-31")))
    random = np.random.default_rng(8)
    burst = np.where(np.arange(len(sessions)) % 80 > 55, 0.02, 0.005)[:, None]
    frame = pd.DataFrame(random.normal(0.0005, burst, (len(sessions), 3)), index=sessions, columns=list(NAMES))
    frame.iloc[:20, 2] = np.nan
    return frame


@pytest.fixture(scope="module")
def returns_file(returns, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("returns") / "daily.csv"
    returns.rename_axis("date").to_csv(file, date_format="%Y-%m-%d")
    return file


@pytest.mark.parametrize("command", PARTS)
def test_of_a_book_the_stored_tables_are_made_again(weights, finished, tmp_path, command):
    part, table = PARTS[command]
    result = weights(command, "--book", BOOK, "--output", tmp_path)
    assert result.exit_code == 0, result.errors
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{part}.csv", f"{part}.json"]
    # Without a volatility target there are no columns of it.
    stored = finished.store.read(BOOK, table).dropna(axis="columns", how="all")
    written = pd.read_csv(tmp_path / f"{part}.csv", parse_dates=["session"], keep_default_na=False, na_values=[""])
    if command == "risk":
        written["sleeve"] = written["sleeve"].fillna("")
        assert set(written) == set(stored)
    pd.testing.assert_frame_equal(
        written[list(stored)], stored, check_exact=True, check_dtype=False, check_index_type=False
    )
    document = json.loads((tmp_path / f"{part}.json").read_text())
    assert document["sessions"] == {"first": "2012-04-26", "last": "2013-06-28", "count": len(stored)}
    assert f"{BOOK}: {part} on {len(stored)} sessions, 2012-04-26 to 2013-06-28" in result.output
    assert f"Wrote {tmp_path / f'{part}.json'}." in result.output
    content = json.loads(weights(command, "--book", BOOK, "--json").output)
    assert content["document"] == document
    assert [row["session"] for row in content["last"]] == [f"{day:%Y-%m-%d}" for day in stored["session"].tail(5)]


def test_the_figures_printed_are_those_of_the_documents(weights):
    documents = {
        command: json.loads(weights(command, "--book", BOOK, "--json").output)["document"] for command in PARTS
    }
    state, regime, scalar = (weights(command, "--book", BOOK).output for command in PARTS)
    assert f"Without a state: 59 sessions of warm-up, {documents['state']['dropped']['beyond']} beyond." in state
    assert f"{documents['state']['features']['vol_accel']['max']:.4f}" in state
    assert f"in {documents['regime']['current']['regime']} for {documents['regime']['current']['sessions']}" in regime
    assert f"{documents['regime']['regimes']['NORMAL']['percent']:.1f}%" in regime
    assert f"{documents['risk']['scalar']['mean']:.4f}" in scalar
    assert f"on {documents['risk']['scalar']['largest_step']['session']}." in scalar
    assert documents["risk"]["parameters_hash"][:12] in scalar


def test_a_profile_takes_the_place_of_the_book_s(weights):
    low, high = (
        json.loads(weights("risk", "--book", BOOK, "--profile", name, "--json").output)["document"]
        for name in ("low", "high")
    )
    assert low == json.loads(weights("risk", "--book", BOOK, "--json").output)["document"]
    assert high["profile"]["name"] == "high"
    assert high["profile"]["map"]["CRISIS"] == 0.60
    assert high["scalar"]["mean"] > low["scalar"]["mean"]
    assert high["parameters_hash"] != low["parameters_hash"]


def test_sleeves_with_a_map_of_their_own_have_rows_and_figures(finished, own_data, monkeypatch):
    """Nothing stored is needed but weights and returns, so the book's file may differ from when it was run."""
    monkeypatch.setenv("WEIGHTS_DATA", str(own_data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    maps = {"trend": {"NORMAL": 1.0, "ELEVATED": 0.5, "STRESS": 0.3, "CRISIS": 0.25}}
    overlay = {"enabled": True, "sleeves": {"trend_long": "trend"}, "sleeve_maps": maps}
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", overlay=overlay)
    content = json.loads(Result("allocator", "risk", "--book", BOOK, "--json").output)
    assert len(content["last"]) == 10
    assert [row["sleeve"] for row in content["last"][:2]] == ["", "trend"]
    document = content["document"]
    assert document["sleeves"]["trend"]["scalar"]["mean"] < document["scalar"]["mean"]
    assert document["profile"]["sleeve_maps"] == maps
    assert "sleeve trend" in Result("allocator", "risk", "--book", BOOK).output


def test_a_volatility_target_has_columns_figures_and_a_part_in_the_audit(finished, own_data, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(own_data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    plain = json.loads(Result("allocator", "audit", "--book", BOOK, "--json").output)
    assert "volatility" not in json.loads(Result("allocator", "risk", "--book", BOOK, "--json").output)["last"][0]
    overlay = {"enabled": True, "volatility_target": {"target": 0.05, "window": 20, "cap": 1.5}}
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", overlay=overlay)
    content = json.loads(Result("allocator", "risk", "--book", BOOK, "--json").output)
    last, told = content["last"][-1], content["document"]["volatility_target"]
    assert last["volatility_scalar"] == min(1.5, 0.05 / last["volatility"]) == told["scalar"]["last"]
    assert told["parameters"] == overlay["volatility_target"]
    assert "volatility target" in Result("allocator", "risk", "--book", BOOK).output
    levered = json.loads(Result("allocator", "audit", "--book", BOOK, "--json").output)
    means = [
        next(row["value"] for row in each["figures"] if row["metric"] == "mean_scalar") for each in (plain, levered)
    ]
    assert means[0] < 1 < means[1]


def test_a_file_of_returns_is_held_at_equal_weights(weights, returns, returns_file, tmp_path):
    result = weights("state", "--returns", returns_file, "--output", tmp_path)
    assert result.exit_code == 0, result.errors
    written = pd.read_csv(tmp_path / "state.csv", parse_dates=["session"])
    equal = pd.DataFrame([dict.fromkeys(NAMES, 1 / 3)], index=returns.index[:1])
    expected = state_of(equal, returns, AllocatorParameters(), DAILY)
    pd.testing.assert_frame_equal(written[list(expected)], expected, check_exact=True, check_dtype=False)
    document = json.loads((tmp_path / "state.json").read_text())
    assert document["profile"]["name"] == "low"
    assert document["dropped"] == {"warm_up": 59, "beyond": 0, "beyond_share": 0.0, "sessions": []}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.json", '{"alpha": 0.5, "gamma": 0.25}'),
        ("own.csv", "strategy,weight,remark\nalpha,0.5,\n gamma ,0.25,new\n"),
    ],
)
def test_a_file_of_returns_may_be_held_at_other_weights(weights, returns, returns_file, tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    result = weights("state", "--returns", returns_file, "--weights", file, "--output", tmp_path / "made")
    assert result.exit_code == 0, result.errors
    written = pd.read_csv(tmp_path / "made" / "state.csv", parse_dates=["session"])
    own = pd.DataFrame([{"alpha": 0.5, "gamma": 0.25}], index=returns.index[:1])
    expected = state_of(own, returns, AllocatorParameters(), DAILY)
    pd.testing.assert_frame_equal(written[list(expected)], expected, check_exact=True, check_dtype=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"delta": 1.0}', "delta: expected one of alpha, beta"),
        ('{"alpha": 1.0, "alpha": 0.5}', "alpha: has two weights"),
        ('{"alpha": -0.5}', "alpha: expected a weight of at least 0, got -0.5"),
        ('{"alpha": "much"}', "alpha: expected a weight of at least 0, got 'much'"),
        ('{"alpha": null}', "alpha: expected a weight of at least 0, got None"),
        ('{"alpha": NaN}', "alpha: expected a weight of at least 0, got nan"),
        ('{"alpha": 0}', "expected at least one weight above 0"),
        ("[1, 2]", "expected JSON with weights by strategy"),
        ("{", "expected JSON with weights by strategy"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path, text, message):
    file = tmp_path / "weights.json"
    file.write_text(text)
    with pytest.raises(LedgerError, match=message):
        read_weights(file, ["alpha", "beta"])
    file = tmp_path / "weights.csv"
    file.write_text("strategy,share\nalpha,1\n")
    with pytest.raises(LedgerError, match=r"CSV with the columns strategy and weight: found \['strategy', 'share'\]"):
        read_weights(file, ["alpha", "beta"])


def test_too_short_a_history_says_so(weights, returns, tmp_path):
    file = tmp_path / "short.csv"
    returns[:59].rename_axis("date").to_csv(file, date_format="%Y-%m-%d")
    for command in PARTS:
        result = weights(command, "--returns", file)
        assert result.exit_code == 0, result.errors
        assert "short.csv: no session has a state; it takes 60 sessions at weights" in result.output


def test_audit_prints_both_portfolios_and_a_verdict(weights, finished):
    result = weights("audit", "--book", BOOK)
    assert result.exit_code == 0, result.errors
    content = json.loads(weights("audit", "--book", BOOK, "--json").output)
    assert (content["first"], content["last"], content["enabled"]) == ("2012-02-01", "2013-06-28", True)
    state = finished.store.read(BOOK, catalog.ALLOCATOR_STATE).set_index("session")
    figures = {(row["window"], row["portfolio"], row["metric"]): row["value"] for row in content["figures"]}
    # The state begins later than the weights do; the worst day of the book is in it.
    assert figures["all", "unscaled", "worst_day"] <= performance(state["portfolio_return"])["worst_day"][0]
    assert figures["2020-03", "scaled", "share_scaled"] is None
    assert f"{figures['all', 'scaled', 'sharpe']:.2f}" in result.output
    assert "Not covered by the history: 2015-08, 2018-Q4, 2020-03, 2022." in result.output
    assert content["sentence"] in result.output
    assert content["sentence"].startswith("The overlay ")


def test_audit_reads_nothing_after_a_day(weights):
    content = json.loads(weights("audit", "--book", BOOK, "--as-of", "2013-02-14", "--json").output)
    assert content["last"] == "2013-02-14"
    too_early = weights("audit", "--book", BOOK, "--as-of", "2012-01-31")
    assert too_early.exit_code == 3
    assert "no session at its weights by 2012-01-31" in too_early.errors


def test_a_missed_gate_is_listed_and_no_error(finished, own_data, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(own_data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    gates = {"max_share_scaled": 0.0, "max_transitions_per_year": 0.5}
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", overlay={"enabled": False, "audit": gates})
    result = Result("allocator", "audit", "--book", BOOK)
    assert result.exit_code == 0
    assert "is not applied; this is what it would have done" in result.output
    content = json.loads(Result("allocator", "audit", "--book", BOOK, "--json").output)
    missed = {miss["gate"]: miss["limit"] for miss in content["misses"]}
    assert gates.items() <= missed.items()
    for gate, limit in gates.items():
        assert f"Gate missed: {gate} is " in result.output
        assert f"the limit {limit:.4g}." in result.output


def test_an_audit_of_a_book_with_costs_is_before_and_after_them(weights, finished, own_data, monkeypatch):
    assert json.loads(weights("audit", "--book", BOOK, "--json").output)["costs"] == {}
    monkeypatch.setenv("WEIGHTS_DATA", str(own_data))
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", costs={"fee": 0.01, "rebalance": 0.0001})
    content = json.loads(weights("audit", "--book", BOOK, "--json").output)
    figures = {(row["window"], row["portfolio"], row["metric"]): row["value"] for row in content["figures"]}
    for portfolio, found in content["costs"].items():
        for metric in ("cagr", "sharpe", "max_drawdown"):
            assert found["before"][metric] == pytest.approx(figures["all", portfolio, metric], rel=1e-9)
        assert found["after"]["sharpe"] < found["before"]["sharpe"]
        assert found["fees_per_year"] == pytest.approx(0.01 * found["traded_per_year"])
    scaled, unscaled = (content["costs"][portfolio] for portfolio in ("scaled", "unscaled"))
    assert scaled["traded_per_year"] > unscaled["traded_per_year"]
    said = weights("audit", "--book", BOOK).output
    assert "Weights constant between rebalances, before and after the costs that the book names:" in said
    assert "Scaled, after costs" in said


def test_an_audit_says_what_hedges_cost(finished, own_data, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(own_data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    file = own_data / "books" / f"{BOOK}.yaml"
    base = yaml.safe_load(file.read_text())["strategies"]
    base |= {"trend_short": 0, "trend_long": base["trend_long"] + base["trend_short"]}

    def audited(**keys):
        hedges = {"strategies": ["trend_short"], "weight": 0.1, "ramp": 0.5} | keys
        thresholds = {"vol_accel_enter": 1.05, "vol_accel_exit": 1.0}
        edit_yaml(file, strategies=base, overlay={"thresholds": thresholds, "hedges": hedges})
        rows = json.loads(Result("allocator", "audit", "--book", BOOK, "--json").output)["figures"]
        whole = {(row["portfolio"], row["metric"]): row["value"] for row in rows if row["window"] == "all"}
        return whole, Result("allocator", "audit", "--book", BOOK).output

    figures, said = audited(regimes=["ELEVATED", "STRESS", "CRISIS"])
    assert 0 < figures["hedges", "share_on"] < 1
    assert figures["hedges", "carry"] == figures["hedges", "earned"] - figures["hedges", "given_up"]
    assert figures["scaled", "cagr"] != figures["unhedged", "cagr"]
    assert "Scaled, no hedges" in said
    assert f"Hedges were on in {figures['hedges', 'share_on']:.1%} of the sessions" in said
    assert f"a carry of {figures['hedges', 'carry']:+.2%}." in said

    cash, _ = audited(regimes=["ELEVATED", "STRESS", "CRISIS"], funded="cash")
    assert cash["hedges", "given_up"] == 0
    never, said = audited(regimes=["CRISIS"])
    assert "Hedges were never on." in said
    for metric in ("cagr", "sharpe", "max_drawdown"):
        assert never["scaled", metric] == never["unhedged", metric] == figures["unhedged", metric]


@pytest.mark.parametrize(
    ("scaled", "verdict"),
    [
        ((0.05, 1.2, 0.08), "The overlay helped: 1.00% of return a year given up, 2.00% of maximum drawdown avoided"),
        ((0.07, 1.2, 0.08), "The overlay helped: 1.00% of return a year gained"),
        ((0.05, 0.9, 0.08), "The overlay helped in one way and hurt in another"),
        ((0.07, 1.2, 0.11), "The overlay helped in one way and hurt in another: 1.00% of return a year gained, 1.00%"),
        (
            (0.05, 0.9, 0.11),
            "The overlay did not help: 1.00% of return a year given up, 1.00% of maximum drawdown added",
        ),
        ((0.06, 1.0, 0.10), "The overlay did not help: 0.00% of return a year given up"),
        ((np.nan, np.nan, 0.1), "There are too few sessions"),
    ],
)
def test_the_sentence_of_an_audit_flatters_nobody(scaled, verdict):
    metrics = ("cagr", "sharpe", "max_drawdown")
    rows = [("all", "unscaled", *pair) for pair in zip(metrics, (0.06, 1.0, 0.10), strict=True)]
    rows += [("all", "scaled", *pair) for pair in zip(metrics, scaled, strict=True)]
    rows += [("2022", "scaled", "max_drawdown", 0.5)]
    assert audit_sentence(pd.DataFrame(rows, columns=["window", "portfolio", "metric", "value"])).startswith(verdict)


def test_tune_changes_no_book_and_says_so(weights, finished):
    def content():
        return {file: file.read_bytes() for file in sorted(finished.settings.data.rglob("*")) if file.is_file()}

    before = content()
    result = weights("tune", "--book", BOOK, *TUNE, "--grid", "vol_accel_enter=1.2,1.3", "profile=low,high")
    assert result.exit_code == 0, result.errors
    assert content() == before
    assert "4 choices, 4 windows of 60 sessions" in result.output
    assert "No book was changed" in result.output
    for heading in ("Out of sample", "walk_forward", "unscaled", "vol_accel_enter=1.2, profile=high"):
        assert heading in result.output


def test_tune_json_has_every_choice_and_window(weights, returns_file):
    arguments = ("tune", "--returns", returns_file, *TUNE, "--score", "calmar", "--json")
    content = json.loads(weights(*arguments).output)
    assert len(content["choices"]) == 72
    assert content["choices"][0]["choice"] == "base"
    assert len(content["windows"]) == 4
    assert len(content["trials"]) == 72 * 4
    assert content["windows"][0]["train_last"] < content["windows"][0]["test_first"]
    assert [row["portfolio"] for row in content["totals"]] == ["walk_forward", "base", "unscaled"]
    assert content["score"] == "calmar"
    assert content["verdict"]
    assert 0.0 <= content["overfitting"]["probability"] <= 1.0
    assert content["overfitting"]["trials"] == len(content["choices"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("state",), 2, "one of the arguments --book --returns is required"),
        (("state", "--book", "nonsense"), 2, "unknown book 'nonsense'"),
        (("state", "--book", BOOK, "--weights", "w.json"), 2, "--weights: a book has its own"),
        (("state", "--returns", "nowhere.csv"), 2, "nowhere.csv: cannot be read"),
        (("risk", "--book", BOOK, "--profile", "bold"), 2, "invalid choice: 'bold'"),
        (("tune", "--book", BOOK, "--grid", "vol_accel_enter"), 2, "expected KEY=VALUE,VALUE"),
        (("tune", "--book", BOOK, "--grid", "min_stay=3", "min_stay=4"), 2, "min_stay=4: is named twice"),
        (("tune", "--book", BOOK, "--grid", "speed=3"), 2, "--grid speed: expected profile or one of vol_accel_enter"),
        (("tune", "--book", BOOK, "--grid", "dd_enter=[1"), 2, "not readable as YAML"),
        (("tune", "--book", BOOK), 1, "expected more than the 756 sessions to train on"),
        (("audit", "--book", "nonsense"), 2, "unknown book 'nonsense'"),
    ],
)
def test_exit_codes_and_messages(weights, arguments, code, message):
    result = weights(*arguments)
    assert result.exit_code == code, result.errors
    assert message in result.errors
    assert result.output == ""


def test_the_options_offer_all_there_is():
    assert set(allocator._PROFILES) == set(PROFILES)
    assert set(allocator._SCORES) == set(SCORES)


def test_nothing_stored_yet(finished, monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path))
    for command in ("state", "audit", "tune"):
        result = Result("allocator", command, "--book", BOOK)
        assert result.exit_code == 3
        assert f"Run `weights run --book {BOOK}` first." in result.errors


def test_a_folder_that_cannot_be_written_to_is_named(weights, returns_file, tmp_path):
    (tmp_path / "file").write_text("")
    result = weights("state", "--returns", returns_file, "--output", tmp_path / "file")
    assert result.exit_code == 1
    assert "cannot be written" in result.errors
