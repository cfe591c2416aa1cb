"""Rows are put in order as a stable sort would, whether they stand in order or not."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns.columns import ascends, in_order
from weights_pipeline_tests.support.examples import examples

KEY = ["session", "strategy", "lot_id"]
ROW = st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", "é", "B"]), st.sampled_from(["1", "10", "2", "é", ""]))


@examples(60, derandomize=True)
@given(st.lists(ROW, max_size=12), st.booleans(), st.booleans())
def test_order_is_that_of_a_stable_sort(cells: list[tuple[int, str, str]], sorted_before: bool, spent: bool) -> None:
    days = pd.DatetimeIndex([f"2024-01-0{day + 1}" for day, _, _ in cells]).as_unit("us")
    names, ids = ([cell[i] for cell in cells] for i in (1, 2))
    rows = pd.DataFrame({"number": range(len(cells)), "session": days, "strategy": names, "lot_id": ids})
    rows = rows.astype({"strategy": "str", "lot_id": "str"}).set_axis(range(5, 5 + len(cells)))
    expected = rows.sort_values(KEY, kind="stable", ignore_index=True)
    given_rows = expected if sorted_before else rows
    distinct = not expected.duplicated(KEY).any()
    assert ascends(expected, KEY)
    assert ascends(expected, KEY, each_once=True) == distinct
    pd.testing.assert_frame_equal(in_order(given_rows.copy(), KEY, spent=spent), expected, check_exact=True)


@pytest.mark.parametrize("spent", [False, True])
def test_only_rows_that_nobody_needs_are_used_up(spent: bool) -> None:
    rows = pd.DataFrame({"session": [2, 1], "lot_id": pd.Series(["a", "b"], dtype="str")})
    assert in_order(rows, ["session", "lot_id"], spent=spent)["lot_id"].tolist() == ["b", "a"]
    assert list(rows) == ([] if spent else ["session", "lot_id"])
