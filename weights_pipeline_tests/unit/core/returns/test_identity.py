"""Whether rows repeat is told a bucket at a time, as it is of all of them at once."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns import identity
from weights_pipeline.core.returns.identity import repeats
from weights_pipeline_tests.support.examples import examples

TEXTS = st.sampled_from([None, "", "a", "b", "xa", "ya", "fill 17", "fill 27", "é", "ﬁé"])


@pytest.fixture(autouse=True, scope="module")
def few_are_many():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(identity, "_AT_ONCE", 1)
        yield


@examples(80, derandomize=True)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8), st.sampled_from([["id"], ["strategy", "id"], []]))
def test_rows_repeat_where_they_are_the_same_in_what_names_them(
    cells: list[tuple[str | None, str | None]], names: list[str]
) -> None:
    rows = pd.DataFrame(cells, columns=["strategy", "id"], dtype="str")
    assert repeats(rows, names) == rows.duplicated(names or None).any()


@pytest.mark.parametrize("twice", [False, True])
def test_of_many_rows_one_that_is_there_twice_is_found(twice: bool) -> None:
    ids = pd.Series(np.random.default_rng(7).permutation(20_000)).astype("str")
    rows = pd.DataFrame({"id": pd.concat([ids, ids[:1] if twice else "x" + ids[:1]], ignore_index=True)})
    assert repeats(rows, ["id"]) == twice
