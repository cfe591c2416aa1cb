"""Versions of weights: what is new, differences, digests; on frames made by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given

from weights_pipeline.core.versions import (
    CONTENT,
    additions,
    chain,
    changed_contents,
    changed_keys,
    diff,
    digest,
    intact,
    known_before,
    link,
    linked,
    metrics_read,
    newest_versions,
    running_digests,
    set_metrics_read,
    unbroken,
    version_rows,
)
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.versions_by_hand import (
    FOUR,
    NOTHING,
    START,
    history_of,
    made_of,
    month,
    numbers,
    rebalance,
    runs,
    stamp,
)


def test_reasons_and_numbers_follow_the_rebalances():
    reasons = FOUR.drop_duplicates("version").set_index("version")[["rebalance", "reason"]]
    assert reasons.to_dict("index") == {
        1: {"rebalance": month(0), "reason": "initial"},
        2: {"rebalance": month(1), "reason": "backfill"},
        3: {"rebalance": month(2), "reason": "scheduled"},
        4: {"rebalance": month(1), "reason": "correction"},
    }
    corrected_first = additions(FOUR, rebalance(0, 0.7), stamp())
    assert corrected_first["reason"].unique().tolist() == ["correction"]
    assert additions(NOTHING, rebalance(3), stamp(reason="scheduled"))["reason"].unique().tolist() == ["scheduled"]


def test_the_same_content_adds_nothing_whatever_else_is_new():
    again = pd.concat([rebalance(2, 0.3), rebalance(1, 0.4)]).sample(frac=1, random_state=1)
    assert additions(FOUR, again.assign(state_hash="other"), stamp(30, "scheduled", "r2", "2", "why")).empty


@pytest.mark.parametrize("column", CONTENT)
def test_whatever_differs_in_content_adds_a_version(column):
    value = {"as_of": pd.Timestamp("2020-03-27"), "effective_from": pd.Timestamp("2020-04-02")}.get(column, "other")
    changed = rebalance(2, 0.3)
    if changed[column].dtype.kind == "f":
        changed.loc[1, column] = np.nextafter(changed.loc[1, column], 2)
    elif column == "strategy":
        changed[column] = ["a", "c"]
    else:
        changed[column] = value
    added = additions(FOUR, changed, stamp(30))
    assert numbers(added) == [5]
    assert added["reason"].unique().tolist() == ["correction"]


def test_going_back_to_an_earlier_content_is_a_version_too():
    assert numbers(additions(FOUR, rebalance(1, 0.2), stamp(30))) == [5]


def test_a_clock_that_was_put_back_changes_nothing_of_what_was_known_before():
    newest = FOUR["recorded_at"].max()
    added = additions(FOUR, rebalance(1, 0.2), stamp(-1))
    assert added["recorded_at"].unique().tolist() == [newest]


def test_earlier_rebalances_as_they_stood_when_a_version_was_made():
    assert numbers(known_before(FOUR, 3)) == [1, 2]
    assert numbers(known_before(FOUR, 4)) == [1]
    again = pd.concat([FOUR, additions(FOUR, rebalance(2, 0.6), stamp(30))], ignore_index=True)
    assert numbers(known_before(again, 5)) == [1, 4]
    assert known_before(FOUR, 1).empty


# Nothing is gained from a smaller example that takes minutes to find.
@examples(12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(runs)
def test_versions_are_numbered_without_a_gap_and_hold_the_newest_content(drawn):
    made = made_of(drawn)
    whole = history_of(*made)
    assert numbers(whole) == list(range(1, whole["version"].max() + 1))
    assert additions(whole, *made[-1]).empty
    # Newest content by rebalance, as a dictionary would have it.
    newest = {month(number): weight for content, _ in drawn for number, weight in content.items()}
    found = newest_versions(whole)
    assert dict(zip(found["rebalance"][::2], found["final"][::2], strict=True)) == newest


def test_difference_by_strategy_and_what_it_comes_from():
    old = history_of((rebalance(0, 0.25, strategy=["a", "b"]), stamp()))
    new = history_of(
        (rebalance(0, 0.75, strategy=["a", "c"], ledger_hash="m", previous=[0.4, 0.6]), stamp(code_version="2"))
    )
    found = diff(old, new)
    assert found.changed == ("ledger", "metrics", "earlier weights", "code")
    rows = found.weights.set_index("strategy")
    assert rows.loc["a", ["final_old", "final_new", "final_change"]].tolist() == [0.25, 0.75, 0.5]
    assert np.isnan(rows.loc["b", "final_new"])
    assert np.isnan(rows.loc["c", ["final_old", "final_change"]].astype(float)).all()
    assert diff(old, old.sample(frac=1, random_state=0)).changed == ()
    assert diff(old, old.assign(parameters_hash="q")).changed == ("policy",)


def final_of(history):
    return newest_versions(history)[["as_of", "strategy", "realized", "final"]]


def test_unbroken_history_of_what_is_stored():
    found = unbroken(FOUR, final_of(FOUR))
    assert found.passed
    assert found.summary == (
        "4 versions of 3 rebalances; 0 numbers missing, 0 of 3 rebalances without a version of their stored weights"
    )


@pytest.mark.parametrize("column", ["realized", "final"])
def test_a_stored_weight_that_is_off_by_a_bit_is_found(column):
    stored = final_of(FOUR).reset_index(drop=True)
    stored.loc[0, column] = np.nextafter(stored.loc[0, column], 1)
    found = unbroken(FOUR, stored)
    assert not found.passed
    assert found.offending["strategy"].tolist() == ["a"]


def test_missing_numbers_and_rebalances_without_a_version_are_found():
    gap = FOUR[FOUR["version"] != 3]
    found = unbroken(gap, final_of(FOUR))
    assert not found.passed
    assert found.offending["version"].dropna().tolist() == [3]
    assert "1 numbers missing, 1 of 3 rebalances without a version of their stored weights: 2020-03-31" in found.summary
    assert not unbroken(NOTHING, final_of(FOUR)).passed
    extra = unbroken(FOUR, final_of(FOUR)[lambda rows: rows["strategy"] == "a"])
    assert not extra.passed
    assert extra.offending["strategy"].tolist() == ["b", "b", "b"]


def test_metrics_that_the_method_read_with_nulls():
    rows = [
        ("b", "sharpe", 1.5),
        ("a", "sharpe", np.nan),
        ("a", "max_drawdown", 0.1),
        ("a", "hit_rate", 1),
    ]
    metrics = pd.DataFrame(rows, columns=["strategy", "metric", "value"])
    metrics = metrics.assign(lookback="60d", as_of=START, source="live")
    read = metrics_read(metrics, ("sharpe", "max_drawdown")).set_index("strategy")["metrics"]
    assert read.to_dict() == {"a": '{"max_drawdown_60d":0.1,"sharpe_60d":null}', "b": '{"sharpe_60d":1.5}'}


def test_weight_set_that_was_read_is_told_apart_from_one_made_later_by_hand():
    targets = pd.DataFrame({"as_of": START, "strategy": ["a", "b"], "target": [0.3, 0.7]})
    targets["weight_set"] = "bull of 2025-12-30: current regime"
    sets = pd.DataFrame({"as_of": pd.Timestamp("2025-12-30"), "weight_set": "bull", "strategy": ["a", "b"] * 2})
    sets = sets.assign(target=[0.3, 0.7, 0.6, 0.4], metrics=['{"sharpe_60d": 1}'] * 2 + ['{"sharpe_60d": 9}'] * 2)
    sets["source"] = ["scheduled", "scheduled", "manual", "manual"]
    read = set_metrics_read(targets, sets)["metrics"].map(json.loads)
    assert read.tolist() == [{"sharpe_60d": 1, "weight_set": "bull of 2025-12-30: current regime"}] * 2
    uniform = set_metrics_read(targets.assign(weight_set="uniform: no active set, regime bull"), sets)
    assert json.loads(uniform["metrics"][0]) == {"weight_set": "uniform: no active set, regime bull"}


def test_rows_of_a_version_are_those_of_its_tables():
    made = rebalance(0, 0.25)
    read = made[["as_of", "strategy"]].iloc[:1].assign(metrics='{"calmar_12m":2.0}')
    hashes = made[["as_of", "parameters_hash", "ledger_hash", "state_hash"]].iloc[:1]
    rows = version_rows(made, made, read, hashes, {month(0): made["as_of"].iloc[0]})
    assert rows["metrics"].tolist() == ['{"calmar_12m":2.0}', "{}"]
    pd.testing.assert_frame_equal(
        rows[list(CONTENT)].drop(columns="metrics"), made[list(CONTENT)].drop(columns="metrics")
    )


def ledger(number, seed=0):
    rng = np.random.default_rng(seed)
    days = np.sort(rng.integers(1, 20, number))
    return pd.DataFrame(
        {
            "session": pd.to_datetime("2020-01-01") + pd.to_timedelta(days, "D"),
            "lot_id": [f"L{i}" for i in range(number)],
            "pnl": rng.normal(size=number),
            "note": [None if i % 3 else f"é{i}" for i in range(number)],
            "flag": rng.random(number) < 0.5,
        }
    ).astype({"note": "str"})


def test_rows_that_come_later_do_not_change_an_earlier_digest():
    rows, dates = ledger(60), pd.date_range("2020-01-01", "2020-01-21")
    found = running_digests(rows, "session", dates)
    for place, date in enumerate(dates):
        so_far = rows[rows["session"] <= date]
        assert running_digests(so_far, "session", dates[[place]]) == [found[place]]
        assert running_digests(so_far[list(reversed(so_far.columns))], "session", dates[[place]]) == [found[place]]
    assert found[0] == running_digests(rows.iloc[:0], "session", dates[:1])[0]
    assert len(set(found)) == 1 + rows["session"].nunique()


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("pnl", lambda value: np.nextafter(value, np.inf)),
        ("lot_id", lambda value: "M" + value[1:]),
        ("note", lambda value: ""),
        ("flag", lambda value: not value),
        ("session", lambda value: value + pd.Timedelta(days=1)),
    ],
)
def test_any_change_of_a_cell_changes_the_digest(column, change):
    rows, end = ledger(30), pd.DatetimeIndex(["2020-02-28"])
    changed = rows.copy()
    changed.loc[29, column] = change(rows.loc[29, column])
    assert running_digests(rows, "session", end) != running_digests(changed, "session", end)


def test_texts_that_run_together_are_told_apart():
    end = pd.DatetimeIndex(["2020-01-01"])
    rows = [
        pd.DataFrame({"session": end.repeat(2), "x": x, "y": y})
        for x, y in (
            (["ab", "c"], ["d", ""]),
            (["a", "bc"], ["d", ""]),
            (["ab", "c"], ["", "d"]),
            (["ab", "c"], ["d", None]),
        )
    ]
    assert len({running_digests(each.astype({"x": "str", "y": "str"}), "session", end)[0] for each in rows}) == 4


def test_equal_beginnings_of_a_chain_are_equal_and_a_change_goes_on():
    months = {f"2020-{m:02d}": {f"lots/{m}": f"hash{m}"} for m in range(1, 7)}
    heads, documents = chain(months)
    changed, more = chain(months | {"2020-04": {"lots/4": "corrected"}})
    assert [heads[m] == changed[m] for m in months] == [True, True, True, False, False, False]
    assert linked(documents, heads["2020-06"]) == months
    both = documents | more
    assert changed_contents(both, heads["2020-06"], changed["2020-06"]) == ["lots/4"]
    assert changed_contents(both, heads["2020-02"], changed["2020-05"]) == ["lots/3", "lots/4", "lots/5"]
    assert changed_contents(both, heads["2020-03"], changed["2020-03"]) == []


def test_documents_that_are_gone_or_altered_are_refused():
    heads, documents = chain({"2020-01": {"a": "1"}, "2020-02": {}})
    gone = {key: text for key, text in documents.items() if key != heads["2020-01"]}
    with pytest.raises(ValueError, match=f"document {heads['2020-01']} is missing"):
        linked(gone, heads["2020-02"])
    altered = documents | {heads["2020-01"]: link("2020-01", {"a": "2"}, None)}
    with pytest.raises(ValueError, match="is not what was recorded"):
        linked(altered, heads["2020-02"])
    assert intact({digest("x"): "x"}, digest("x")) == "x"


def test_keys_that_differ_are_named_by_their_path():
    old = {"book": {"method": {"alpha": 0.5, "kind": "power_tilt"}, "gross": 1.0}, "starter": {}}
    new = {"book": {"method": {"alpha": 0.7, "kind": "power_tilt"}, "gross": 1.0}, "starter": {"a": {"months": 3}}}
    assert changed_keys(old, new) == {"book.method.alpha": (0.5, 0.7), "starter.a": (None, {"months": 3})}
    assert changed_keys(old, json.loads(json.dumps(old))) == {}
