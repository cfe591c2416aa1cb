"""Decided and optimised allocations of one desk through Dagster: stored, replayed, checked and compared."""

import datetime as dt
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.support.data import DATA, LEDGER, edit_yaml
from weights_pipeline.books.comparisons import compared_policies, load_comparisons
from weights_pipeline.books.load import load_books
from weights_pipeline.books.reading import BookError
from weights_pipeline.checks import book_checks, comparison_checks
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.waterfall import waterfalls
from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.ledger.periods import rebalances
from weights_pipeline.tables import catalog

FIXED, DYNAMIC = "max_hybrid", "max_hybrid_dynamic"
LAST = "2013-06-01"


@pytest.fixture
def hybrid(own_data, finished, desk):
    """The finished ledger with both books and the comparison, which has shorter windows than the sample's."""
    for name in (FIXED, DYNAMIC):
        shutil.copy(DATA / "books" / f"{name}.yaml", own_data / "books")
    shutil.copytree(DATA / "comparisons", own_data / "comparisons")
    edit_yaml(own_data / "comparisons" / "methods.yaml", in_sample=126)
    edit_yaml(
        own_data / "books" / f"{DYNAMIC}.yaml", method={"kind": "max_hybrid", "lookback": "126s", "max_drawdown": 0.01}
    )
    return desk(own_data, like=finished)


def test_stored_weights_are_the_simulated_ones_and_every_check_holds(hybrid):
    returns = hybrid.store.read(LEDGER, catalog.STRATEGY_RETURNS)
    calendar = calendar_sessions("XNYS", dt.date(2012, 1, 1), dt.date(2013, 7, 15))
    history = ReturnHistory.from_long(returns, sessions=calendar[calendar <= returns["session"].max()])
    hybrid.job(DYNAMIC, "2012-01-01", LAST, checks=False)
    hybrid.job(FIXED, "2012-01-01")
    book = load_books(hybrid.settings.data / "books")[DYNAMIC]
    _, as_of = rebalances(hybrid.workspace.setups[DYNAMIC].periods, dt.date(2013, 6, 28))
    tables = simulate(history, as_of, calendar, book.policy()).tables()
    for table in (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.FINAL_WEIGHTS):
        stored = hybrid.store.read(DYNAMIC, table)
        made = tables[table.name].reindex(columns=table.column_names())
        names = [name for name in table.column_names() if name != "next_rebalance"]
        pd.testing.assert_frame_equal(stored[names], made[names], check_exact=True, check_dtype=False)

    targets, realized, final = (
        hybrid.store.read(DYNAMIC, table)
        for table in (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.FINAL_WEIGHTS)
    )
    gross = targets.groupby("as_of")["target"].sum()
    assert (gross <= 2.3 * (1 + 1e-9)).all()
    assert (gross < 2.2).any()
    young = targets.groupby("as_of")["note"].agg(lambda notes: set(notes))
    assert young.iloc[0] == {"neutral: insufficient"}
    assert young.iloc[-1] == {"optimised"}
    newest = as_of[-1]
    steps = waterfalls(*(table[table["as_of"] == newest] for table in (targets, realized, final)))
    assert {step.remark for each in steps.values() for step in each if step.name == "scale"} == {
        "the sum keeps gross as it is"
    }
    with hybrid.store.view():
        findings = {
            check.name: check.run(hybrid.store)
            for check in book_checks(hybrid.workspace.setups[DYNAMIC])
            if check.error and check.name not in ("no_version_gap",)
        }
    assert {name for name, finding in findings.items() if not finding.passed} == set()
    assert {"hard_limits", "recurrence", "no_look_ahead"} <= set(findings)

    decided = hybrid.store.read(FIXED, catalog.TARGET_WEIGHTS)
    assert decided["formula"].str.contains("2011-12-30").all()
    percent = yaml.safe_load((DATA / "sample/allocations/max_hybrid/2011-12-30.json").read_text())["allocations"]
    np.testing.assert_allclose(decided["target"], decided["strategy"].map(percent) / 100, rtol=1e-12)


def test_a_comparison_judges_all_methods_on_the_same_sessions(hybrid):
    hybrid.job("methods")
    figures = hybrid.store.read("methods", catalog.COMPARISON)
    assert figures["method"].tolist() == ["calmar_tilt", "dynamic", "ensemble", "equal", "fixed", "sharpe_tilt"]
    assert figures["sessions"].nunique() == 1
    assert (figures["fees_per_year"] > 0).all()
    assert (figures["cagr"] < figures["cagr_before_fees"]).all()
    windows = hybrid.store.read("methods", catalog.WALK_FORWARD_WINDOWS)
    assert (windows["train_last"] < windows["test_first"]).all()
    assert windows["sessions"].tolist()[:-1] == [63] * (len(windows) - 1)

    comparison = load_comparisons(hybrid.settings.data / "comparisons", load_books(hybrid.settings.data / "books"), [])[
        "methods"
    ]
    check, as_written = comparison_checks(comparison)
    assert check.run(hybrid.store).passed
    assert as_written.run(hybrid.store).passed
    daily = hybrid.store.read("methods", catalog.WALK_FORWARD_RETURNS)
    short = daily[~((daily["method"] == "equal") & (daily["session"] == daily["session"].max()))]
    hybrid.store.write(
        "methods", catalog.WALK_FORWARD_RETURNS, short, run_id="test", recorded_at=dt.datetime.now(dt.UTC)
    )
    finding = check.run(hybrid.store)
    assert not finding.passed
    assert finding.offending["method"].tolist() == ["equal"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"book": "nobody"}, "book: there is no valid 'nobody'"),
        ({"name": "other"}, "name: expected 'methods' as the file is named"),
        ({"fee": -1}, "fee: Input should be greater than or equal to 0"),
        ({"costs": {"fee": 0.002}}, r"fee: expected it within costs, where these are given"),
        ({"costs": {"financing": -1}}, r"costs: financing: expected a fraction of at least 0"),
        ({"methods": {"equal": {}}}, "methods: Dictionary should have at least 2 items"),
        ({"taxes": 1}, "taxes: Extra inputs are not permitted"),
    ],
)
def test_a_comparison_that_is_not_valid_is_refused_with_the_key(tmp_path, changes, message):
    shutil.copytree(DATA / "comparisons", tmp_path / "comparisons")
    edit_yaml(tmp_path / "comparisons" / "methods.yaml", **changes)
    with pytest.raises(BookError, match=message):
        load_comparisons(tmp_path / "comparisons", load_books(DATA / "books"), [])


def test_a_comparison_may_not_take_a_name_that_is_taken_nor_a_key_that_no_book_has():
    books = load_books(DATA / "books")
    with pytest.raises(BookError, match="keeps its tables under 'methods'"):
        load_comparisons(DATA / "comparisons", books, ["methods"])
    comparison = load_comparisons(DATA / "comparisons", books, [])["methods"]
    wrong = comparison.model_copy(update={"methods": {"equal": {"methode": {"kind": "equal"}}}})
    with pytest.raises(BookError, match="methode: Extra inputs are not permitted"):
        compared_policies(wrong, books[FIXED], DATA)
