"""The identity of a partition: its spelling in documents, which never changes."""

import pytest

from weights_pipeline.tables.partition import PartitionId


def test_spelled_and_read_back():
    partition = PartitionId("sample_ledger", "trade_ledger", "2012-01-01")
    assert str(partition) == "sample_ledger/trade_ledger/2012-01-01"
    assert PartitionId.parse(str(partition)) == partition
    assert PartitionId.parse("calmar_core/ensemble_updates/") == PartitionId("calmar_core", "ensemble_updates", "")


@pytest.mark.parametrize("name", ["capital/2012-01", "prices/2012-01", "", "a/b/c/d"])
def test_names_of_other_contents(name):
    assert PartitionId.parse(name) is None
