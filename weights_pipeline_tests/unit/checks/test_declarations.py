"""Declarations: thresholds that YAML sets, and what a person is told of a miss."""

import pytest

from benchmarks.support.data import BOOK, DATA, edit_yaml
from weights_pipeline.books.reading import BookError
from weights_pipeline.checks import book_checks, comparison_checks, ledger_checks, told_of
from weights_pipeline.settings import Settings
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import no_rows
from weights_pipeline.workspace import Workspace


class Rows:
    """A store that gives out one frame, of no partition."""

    def __init__(self, frame):
        self.frame = frame

    def read(self, schema, table, keys=None, *, columns=None, among=None):
        return self.frame

    def partitions(self, schema, table_name):
        return {}


def found(checks, name):
    return next(check for check in checks if check.name == name)


def checks_of(data):
    setup = Workspace(Settings(data=data, home=data)).setup(BOOK)
    return ledger_checks(setup.source, [setup]) + book_checks(setup)


def test_thresholds_are_set_in_yaml(own_data):
    assert "±25." in found(checks_of(own_data), "extreme_values").description
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", checks={"extreme_values": 1e6, "turnover": 0.5})
    edit_yaml(own_data / "ledgers" / "sample.yaml", checks={"rejection_share": 0.02})
    after = checks_of(own_data)
    assert "2%" in found(after, "rejection_share").description
    assert "50%" in found(after, "turnover").description
    assert "±1e+06." in found(after, "extreme_values").description
    history = no_rows(catalog.WEIGHT_HISTORY)
    assert found(after, "extreme_values").run(Rows(history.assign(**no_rows(catalog.METRICS)))).limit == 1e6


@pytest.mark.parametrize(
    ("file", "name", "settable"),
    [
        (f"books/{BOOK}.yaml", "turnaround", "extreme_values, turnover"),
        (f"books/{BOOK}.yaml", "recurrence", "extreme_values, turnover"),
        ("ledgers/sample.yaml", "turnover", "rejection_share, up_to_date"),
    ],
)
def test_a_threshold_of_no_check_is_refused_with_those_there_are(own_data, file, name, settable):
    edit_yaml(own_data / file, checks={name: 1.0})
    with pytest.raises(BookError, match=rf"checks: {name}: .* expected some of {settable}$"):
        checks_of(own_data)


@pytest.mark.parametrize("value", [-0.1, float("nan"), "much"])
def test_a_threshold_that_is_none_is_refused(own_data, value):
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", checks={"turnover": value})
    with pytest.raises(BookError, match=r"checks\.turnover"):
        checks_of(own_data)


def test_every_check_says_what_it_demands_and_what_to_do():
    workspace = Workspace(Settings(data=DATA, home=DATA))
    checks = [
        *(c for source in workspace.sources.values() for c in ledger_checks(source, workspace.readers[source.name])),
        *(c for setup in workspace.setups.values() for c in book_checks(setup)),
        *(c for comparison in workspace.comparisons.values() for c in comparison_checks(comparison)),
    ]
    for check in checks:
        assert check.description.endswith(".")
        assert "{" not in check.description
        assert not (check.blocking and not check.error)
        told = told_of(check.table.name, check.name, error=check.error)
        assert told.title
        assert told.advice.endswith(".")
    assert told_of("trade_ledger", "no_late_lots", error=False).advice.startswith("Run `weights restate`")
    assert told_of("metrics", "enough_data", error=True).title == "no strategy is measured (metrics)"
    assert told_of("table", "of_nobody", error=True).title == "check of_nobody of table failed"
