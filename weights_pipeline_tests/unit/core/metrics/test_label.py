import pytest

from weights_pipeline.core.metrics.label import in_words, metric_label, of_label


@pytest.mark.parametrize(
    ("metric", "lookback", "label", "words"),
    [
        ("calmar", "12m", "calmar_12m", "Calmar over 12 months"),
        ("max_drawdown", "90d", "max_drawdown_90d", "Max drawdown over 90 days"),
        ("sharpe", "60s", "sharpe_60s", "Sharpe over 60 sessions"),
        ("", "", "", ""),
    ],
)
def test_a_label_is_taken_apart_into_what_it_was_made_of(metric, lookback, label, words):
    assert metric_label(metric, lookback) == label
    assert of_label(label) == (metric, lookback)
    assert in_words(label) == words


def test_no_metric_has_no_label_whatever_the_lookback():
    assert metric_label("", "12m") == ""
