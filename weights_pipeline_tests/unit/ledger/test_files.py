"""Files read piece by piece say the same as read at once."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.ledger import LedgerError, files
from weights_pipeline.ledger.files import read_part
from weights_pipeline.ledger.places import File

CELLS = st.text(st.sampled_from("ab ,é1"), max_size=4)
LINES = st.lists(st.one_of(CELLS, CELLS.map(lambda cell: f"{cell},x")), max_size=30)


def part(text, name="a.csv"):
    return read_part(File(name, lambda: text if isinstance(text, bytes) else text.encode()))


@settings(max_examples=60, deadline=None)
@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r"]), last=st.booleans(), mark=st.sampled_from(["", "\ufeff"]))
def test_csv_in_pieces_has_the_rows_and_lines_of_the_whole(lines, end, last, mark):
    text = mark + end.join(["one,two", *lines]) + end * last
    whole = part(text)
    # What csv itself would say of every line by itself.
    expected = [(n, line.split(",")) for n, line in enumerate(lines, 2) if line]
    assert [n for n, cells in expected if len(cells) == 2] == whole.line.tolist()
    assert [cells for _, cells in expected if len(cells) == 2] == whole.cells.to_numpy().tolist()
    assert [(n, cells) for n, cells in expected if len(cells) != 2] == [(n, said) for n, _, said in whole.malformed]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_PIECE", 16)
        pieces = part(text)
    pd.testing.assert_frame_equal(pieces.cells, whole.cells)
    assert pieces.line.tolist() == whole.line.tolist()
    assert pieces.malformed == whole.malformed


def test_what_is_no_text_is_named_by_its_place_in_the_whole_file(monkeypatch):
    monkeypatch.setattr(files, "_PIECE", 16)
    with pytest.raises(LedgerError, match=r"is not UTF-8 \(byte 0xff at offset 64, line 10\)"):
        part(b"one,two\n" + b"abc,de\n" * 8 + b"\xff,b\n")


def test_parquet_in_pieces_is_the_text_of_the_whole_and_what_is_no_cell_is_told(monkeypatch, tmp_path):
    frame = pa.table({"n": range(50), "t": pa.array([None, "a"] * 25).dictionary_encode(), "l": [[1]] * 50})
    pyarrow.parquet.write_table(frame, tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    whole = part(data, "a.parquet")
    assert whole.cells["n"].tolist() == [str(n) for n in range(50)]
    assert whole.cells["t"].isna().tolist() == [True, False] * 25
    assert dict(whole.unreadable) == {"l": "list<element: int64>"}
    monkeypatch.setattr(files, "PAGE", 7)
    pieces = part(data, "a.parquet")
    pd.testing.assert_frame_equal(pieces.cells, whole.cells)
    assert pieces.line.tolist() == whole.line.tolist()
