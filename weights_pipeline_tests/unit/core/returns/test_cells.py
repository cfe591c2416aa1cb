"""Cells that are all written alike are read at once: to the same bits as among cells that are not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns.cells import Column, Formats, Parsed, parse_cells
from weights_pipeline_tests.support.examples import examples

COLUMNS = {"time": Column(kind="time"), "date": Column(kind="date"), "number": Column(kind="number")}
FORMATS = Formats(timezone="America/New_York", exchange_timezone="America/New_York")
JUNK = "none of all that"

DAYS = [
    f"{year}-{day}"
    for year in (1899, 1900, 2023, 2024, 2199, 2200)
    for day in ("01-01", "02-29", "03-10", "11-03", "12-31")
]
CLOCKS = ["T00:00:00", "T01:30", " 02:30:00", "T23", "T12:30:59.5", "T12:30:59.123456", "T12:30:59.1234567", "T24:00"]
OFFSETS = ["Z", "+05:30", "-0500", "+14", " Z", "-24:00"]
NUMBERS = ["1", "+2.5", "-.5", "1.", "1e3", "1E-400", "-0", "1e151", "1e400", "nan", "-inf", "1,000", "0x10", "1_0"]


def read(*cells: tuple[str | None, ...]) -> Parsed:
    return parse_cells(pd.DataFrame(list(cells), columns=list(COLUMNS), dtype="str"), COLUMNS, FORMATS)


def alike(first: str, times: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str | None, ...]]]:
    """Rows of one spelling, the first of a time of day where it has any: a file of midnights alone holds dates."""
    row = st.tuples(
        times | st.none(), st.sampled_from(DAYS) | st.none(), st.sampled_from(NUMBERS) | st.floats().map(repr)
    )
    return st.lists(row, min_size=1, max_size=4).map(lambda rows: [(first, "2024-03-15", "1"), *rows])


DAY, CLOCK, OFFSET = st.sampled_from(DAYS), st.sampled_from(CLOCKS), st.sampled_from(OFFSETS)
SPELLINGS = {
    "2024-03-15": DAY,
    "2024-03-15T10:00:00": st.builds(str.__add__, DAY, CLOCK),
    "2024-03-15T10:00:00Z": st.builds("{}{}{}".format, DAY, CLOCK, OFFSET),
}


@examples(60, derandomize=True)
@given(st.one_of([alike(*spelling) for spelling in SPELLINGS.items()]))
def test_cells_are_read_as_among_others(cells: list[tuple[str | None, ...]]) -> None:
    alone, among = read(*cells), read(*cells, (JUNK, JUNK, JUNK))
    for name in ("typed", "days", "near"):
        mine, theirs = getattr(alone, name), getattr(among, name).iloc[:-1]
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    assert alone.typed["number"].to_numpy().tobytes() == among.typed["number"].to_numpy()[:-1].tobytes()
    assert alone.faults == [fault for fault in among.faults if fault.row < len(cells)]


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2024-03-15T10:00:00Z", "2024-03-15T10:00:00"),
        ("2024-03-15T10:00:00.123456+05:30", "2024-03-15T04:30:00.123456"),
        ("2024-03-15 10:00", "2024-03-15T14:00:00"),
        ("2024-03-15", "2024-03-15T04:00:00"),
    ],
)
def test_the_usual_spellings(written: str, instant: str) -> None:
    parsed = read((written, "2024-03-15", "1"))
    assert parsed.typed["time"].to_numpy()[0] == np.datetime64(instant)
    assert parsed.days["time"].tolist() == [len(written) == 10]
    assert not parsed.faults
