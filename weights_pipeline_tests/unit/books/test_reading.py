"""Reading YAML that somebody has written by hand, or by malice."""

import pytest

from weights_pipeline.books.reading import BookError, read_yaml


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_yaml_of_many_levels_is_refused_before_it_takes_the_stack(tmp_path, text):
    file = tmp_path / "deep.yaml"
    file.write_text(text)
    with pytest.raises(BookError, match="too many levels"):
        read_yaml(file)


def test_levels_that_a_person_may_mean_are_read(tmp_path):
    file = tmp_path / "deep.yaml"
    file.write_text("[" * 50 + "]" * 50)
    found = read_yaml(file)
    for _ in range(49):
        (found,) = found
    assert found == []
