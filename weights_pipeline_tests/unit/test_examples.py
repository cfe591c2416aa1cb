"""The examples that properties are tried on: the same in every run, whatever code there is beside."""

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture.providers import HypothesisProvider


@pytest.mark.skipif(settings.get_current_profile_name() != "fixed", reason="new examples are drawn")
def test_nothing_is_drawn_from_the_code_that_is_loaded():
    assert len(HypothesisProvider(None)._local_constants) == 0
