"""The command ``weights books``: the list, a book in words or all that is wrong with it, the schema."""

import json
import re
import shutil

import pytest
import yaml

from benchmarks.support.data import DATA, edit_yaml
from weights_pipeline.books.book import Book
from weights_pipeline.books.load import book_schema
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline_tests.support.commands import Result


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the books and what they name, as the data folder."""
    folder = tmp_path / "data"
    for name in ("books", "ledgers"):
        shutil.copytree(DATA / name, folder / name)
    shutil.copytree(DATA / "sample" / "allocations", folder / "sample" / "allocations")
    shutil.copy(DATA / "sample" / "starter_calmar_core.json", folder / "sample")
    monkeypatch.setenv("WEIGHTS_DATA", str(folder))
    return folder


def test_list_says_how_each_book_works(data):
    result = Result("books")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert "monthly on day 1 at 06:30, America/New_York" in lines["calmar_core"]
    assert "power_tilt on calmar_12m" in lines["calmar_core"]
    assert "0.5x..2x base" in lines["calmar_core"]
    assert "softmax_sharpe on sharpe_60d, by market regime" in lines["ensemble_regime"]
    assert "computed, not applied" in lines["sharpe_weekly"]
    rows = {row["book"]: row for row in json.loads(Result("books", "--json").output)}
    assert sorted(rows) == sorted(file.stem for file in (DATA / "books").glob("*.yaml"))
    assert rows["ensemble_regime"]["limits"] == "0..1"
    assert (rows["max_hybrid"]["method"], rows["max_hybrid"]["account"]) == ("fixed", "hybrid")
    assert rows["ensemble_regime"]["overlay"] == "none"
    assert rows["calmar_core"] | {"rate": "0.1", "overlay": "applied", "account": "main"} == rows["calmar_core"]


def test_a_first_day_and_dated_changes_are_told(data):
    since = {"2016-01": {"limits": {"floor": 0.8, "cap": 1.2}}, "2015-06": {"adjustment": {"rate": 0.2}}}
    edit_yaml(data / "books" / "calmar_core.yaml", starts="2014-01", since=since)
    told = " ".join(Result("books", "validate", str(data / "books" / "calmar_core.yaml")).output.split())
    assert "with 2014-01, from what was published by then." in told
    assert "in 2015-06, 2016-01; this is the book since then." in told
    assert "between 0.8 and 1.2 times" in told
    assert "closes 20% of the gap" in told


def test_list_of_a_broken_book_is_refused(data):
    edit_yaml(data / "books" / "calmar_core.yaml", gross=2)
    result = Result("books")
    assert result.exit_code == 2
    assert "calmar_core.yaml" in result.errors
    assert "expected gross 2" in result.errors


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        (
            "calmar_core",
            [
                "calmar over the last 12 months, risk-free rate 4.50%; "
                "null with fewer than 60 sessions or 5 closed lots.",
                "Before the twelfth month of data, blended with sample/starter_calmar_core.json.",
                "power_tilt: Power tilt on a metric of choice (alpha 0.5, anchor_floor 0.1).",
                "every weight stays between 0.5 and 2 times its base weight, exactly.",
                "90% takes 22",
                "final weights are scaled: NORMAL 1, ELEVATED 0.85, STRESS 0.55, CRISIS 0.3; smoothed with alpha 0.25, "
                "between 0.25 and 1, 1 session behind, once at each rebalance.",
                "none; there is one weight set",
                "16 with base weights from 3.00% to 10.00%, adding up to 1.",
            ],
        ),
        (
            "sharpe_weekly",
            ["weekly on Sunday at 18:00, America/New_York", "a risk scalar is computed and not applied", "(λ = 1)"],
        ),
        (
            "ensemble_regime",
            [
                "sharpe and max drawdown over the last 60 days",
                "every weight stays between 0 and 1, exactly.",
                "none; weights are never scaled by risk.",
                "one weight set per market regime",
            ],
        ),
        (
            "max_hybrid",
            ["nothing that the weights depend on.", "fixed: Fixed allocations (folder sample/allocations/max_hybrid"],
        ),
    ],
)
def test_a_valid_book_is_told_in_words(data, name, sentences):
    file = data / "books" / f"{name}.yaml"
    result = Result("books", "validate", str(file))
    assert result.exit_code == 0, result.errors
    assert f"{name}.yaml is a valid book." in result.output
    for sentence in sentences:
        assert sentence in result.output
    told = json.loads(Result("books", "validate", str(file), "--json").output)
    assert told["valid"]
    assert told["problems"] == []
    for sentence in sentences:
        assert any(sentence in said for said in told["meaning"].values())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"method": {"kind": "equal"}, "limits": {"of": "weight", "floor": 0, "cap": 1}},
            "nothing that the weights depend on.",
        ),
        (
            {"method": {"kind": "composite", "weights": {"sharpe": 2, "calmar": 1}, "lookback": "6m"}},
            "(lo 0.5, hi 2, metric_clip 5, weights sharpe 2, calmar 1)",
        ),
        (
            {
                "method": {
                    "kind": "sharpe_tilt",
                    "lookback": {"NORMAL": "90d", "ELEVATED": "60d", "STRESS": "60d", "CRISIS": "20s"},
                }
            },
            "sharpe over 90 days in NORMAL or 60 days in ELEVATED or 60 days in STRESS or 20 sessions in CRISIS",
        ),
        ({"limits": {"floor": 0.4, "cap": 3, "normalisation": "proportional"}}, "multipliers stay between 0.4 and 3;"),
        ({"metrics": {"active_days_only": True}}, "Means are taken over active days only."),
        (
            {"cadence": {"kind": "quarterly", "first_month": 3}},
            "quarterly on day 1 of March, June, September and December at 06:30, America/New_York, on the three "
            "calendar months before;",
        ),
        (
            {"cadence": {"kind": "sessions", "every": 10, "time": "17:00"}},
            "every 10 sessions at 17:00, America/New_York, on the sessions that have closed since the one before;",
        ),
        (
            {"overlay": {"lag": 2, "profile": "high", "apply": "daily"}},
            "smoothed with alpha 0.15, between 0.5 and 1, 2 sessions behind, anew for every session.",
        ),
        (
            {
                "overlay": {
                    "sleeves": {"rsi2": "fast"},
                    "sleeve_maps": {"fast": {"NORMAL": 1, "ELEVATED": 0.5, "STRESS": 0.5, "CRISIS": 0.25}},
                }
            },
            "Sleeves with scalars of their own: fast.",
        ),
        (
            {"overlay": {"volatility_target": {"target": 0.125, "window": 40, "cap": 1.5}}},
            "After it a volatility target of 12.5% a year over 40 sessions, at most 1.5 times.",
        ),
        (
            {
                "strategies": {"index_dip": 0.0, "rsi2": 1.0},
                "overlay": {
                    "hedges": {
                        "strategies": ["index_dip"],
                        "weight": 0.1,
                        "regimes": ["CRISIS", "STRESS"],
                        "ramp": 0.25,
                    }
                },
            },
            "In STRESS, CRISIS the hedges index_dip weigh 0.1 together, paid by all others in proportion, by steps of "
            "at most 0.025 a session.",
        ),
        (
            {
                "adjustment": {
                    "rate": {"NORMAL": 0.1, "ELEVATED": 0.2, "STRESS": 0.5, "CRISIS": 1},
                    "turnover_cap": 0.05,
                }
            },
            "the share of the gap to target closed in a rebalance is 0.1 in NORMAL, 0.2 in ELEVATED, 0.5 in STRESS, 1",
        ),
        ({"adjustment": {"rate": 1, "turnover_cap": 0.05}}, "draws a warning; one is shortened at 0.05."),
        ({"adjustment": {"kind": "optimal", "cost": 20, "half_life": 6}}, "each rebalance closes 20% of the gap"),
        (
            {"adjustment": {"kind": "optimal", "cost": 20, "half_life": 6}},
            "steps go 70% of the way from base to target.",
        ),
        (
            {"adjustment": {"rate": 1, "band": {"absolute": 0.05, "relative": 0.25, "to": "target"}}},
            "further from its target than 5.00% of capital or 25% of its target, whichever is narrower, and then to "
            "its target; others only",
        ),
        ({"adjustment": {"rate": 1, "band": {"absolute": 0.02, "of": "book"}}}, "only when one weight is further from"),
        ({"adjustment": {"rate": 1, "band": {"absolute": 0.02, "of": "turnover"}}}, "would turn over more than 2.00%"),
    ],
)
def test_words_follow_the_policy(data, changes, sentence):
    file = data / "books" / "sharpe_weekly.yaml"
    edit_yaml(file, **changes)
    result = Result("books", "validate", str(file))
    assert result.exit_code == 0, result.errors
    assert sentence in result.output


def test_costs_are_told_in_words(data):
    file = data / "books" / "calmar_core.yaml"
    edit_yaml(file, costs={"fee": 0.0005, "by_strategy": {"rsi2": 0.002}, "financing": 0.05})
    result = Result("books", "validate", str(file))
    assert (
        "trading one unit of weight costs 0.0005, rsi2 0.002, a rebalance 0, gross above 1 0.05 a year; figures are "
        "stated before and after them."
    ) in " ".join(result.output.split())
    edit_yaml(file, costs={"by_strategy": {"zebra": 0.002}})
    refused = Result("books", "validate", str(file))
    assert (refused.exit_code, "costs.by_strategy: ['zebra'] are no strategies of the book" in refused.errors) == (
        2,
        True,
    )


@pytest.mark.xdist_group("skfolio")
def test_the_page_on_books_spells_a_shrunk_metric_and_two_optimisers_of_skfolio(data):
    pytest.importorskip("skfolio", reason="an extra: pip install -e '.[skfolio]'")
    page = (DATA.parent / "docs" / "books.md").read_text(encoding="utf-8")
    methods = [yaml.safe_load(text) for text in re.findall(r"(?ms)^```yaml\n(method:.*?)^```$", page)]
    file = data / "books" / "sharpe_weekly.yaml"
    told = []
    for method in methods:
        edit_yaml(file, **method)
        result = Result("books", "validate", str(file))
        assert result.exit_code == 0, result.errors
        told.append(result.output)
    assert "It is drawn towards the mean of all strategies, the more the larger its sampling error." in told[0]
    assert "optimiser MeanRisk (objective_function maximize_ratio, risk_measure cvar, cvar_beta 0.95, " in told[1]
    assert "prior_estimator EmpiricalPrior (mu_estimator ShrunkMu))" in told[1]
    assert "optimiser HierarchicalRiskParity (" in told[2]
    edit_yaml(file, **methods[0])
    assert "power_tilt on shrunk calmar_12m" in Result("books").output
    edit_yaml(file, method={"kind": "skfolio", "optimiser": {"kind": "MeanRisk", "alpha": 1}})
    result = Result("books", "validate", str(file))
    assert result.exit_code == 2
    assert "method.skfolio: optimiser.alpha: MeanRisk does not have it; it has " in result.errors


def test_everything_wrong_is_reported_at_once(data):
    file = data / "books" / "calmar_core.yaml"
    edit_yaml(file, max_age=-1, timezone="Nowhere", surprise=1)
    result = Result("books", "validate", str(file))
    assert result.exit_code == 2
    assert result.output == ""
    for problem in ("max_age: Input should be", "'Nowhere' is not an IANA time zone", "surprise: Extra inputs"):
        assert problem in result.errors
    told = json.loads(Result("books", "validate", str(file), "--json").output)
    assert not told["valid"]
    assert len(told["problems"]) == 3
    assert told["meaning"] == {}


def test_what_a_book_names_is_looked_at_too(data):
    file = data / "books" / "calmar_core.yaml"
    edit_yaml(file, ledger="elsewhere", starter_metrics="sample/nothing.json")
    result = Result("books", "validate", str(file))
    assert result.exit_code == 2
    assert "nothing.json" in result.errors
    assert "elsewhere.yaml" in result.errors
    missing = Result("books", "validate", str(data / "books" / "missing.yaml"))
    assert missing.exit_code == 2
    assert "missing.yaml" in missing.errors


def test_schema_in_the_data_folder_is_up_to_date(tmp_path):
    printed = Result("books", "schema")
    assert printed.exit_code == 0
    assert (DATA / "book.schema.json").read_text(encoding="utf-8") == printed.output, (
        "run `weights books schema --output data/book.schema.json`"
    )
    copy = tmp_path / "new" / "schema.json"
    told = Result("books", "schema", "--output", str(copy), "--json")
    assert json.loads(told.output) == {"file": str(copy)}
    assert copy.read_text(encoding="utf-8") == printed.output
    assert [file.name for file in copy.parent.iterdir()] == ["schema.json"]


def test_schema_knows_every_key_and_method_and_where_books_look_for_it():
    schema = book_schema()
    assert set(schema["properties"]) == set(Book.model_fields)
    assert set(schema["$defs"]["Fixed"]["properties"]) == {"folder", "kind"}
    kinds = {method.__dataclass_fields__["kind"].default for method in METHODS}
    assert set(schema["properties"]["method"]["discriminator"]["mapping"]) == kinds
    for file in (DATA / "books").glob("*.yaml"):
        assert file.read_text().startswith("# yaml-language-server: $schema=../book.schema.json\n")


def test_schema_that_cannot_be_written_is_a_failure(tmp_path):
    (tmp_path / "file").write_text("")
    result = Result("books", "schema", "--output", str(tmp_path / "file" / "schema.json"))
    assert result.exit_code == 1
    assert "cannot be written" in result.errors
