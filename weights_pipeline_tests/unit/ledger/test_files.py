"""Files read piece by piece say the same as read at once."""

import json
from dataclasses import replace
from xml.sax.saxutils import escape, quoteattr

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.ledger import LedgerError, files, places
from weights_pipeline.ledger.files import read_part
from weights_pipeline.ledger.places import File, file_at
from weights_pipeline.ledger.vocabulary import PLAIN, Reading
from weights_pipeline_tests.support.examples import examples

CELLS = st.text(st.sampled_from("ab ,é1"), max_size=4)
LINES = st.lists(st.one_of(CELLS, CELLS.map(lambda cell: f"{cell},x")), max_size=30)


def part(text, name="a.csv", reading=PLAIN):
    return read_part(File(name, lambda: text if isinstance(text, bytes) else text.encode()), reading)


def said(text, name, reading=PLAIN):
    """All that is read of a file, or why it is not."""
    try:
        read = part(text, name, reading)
    except LedgerError as error:
        return str(error)
    cells = {column: read.cells[column].fillna("(none)").tolist() for column in read.cells}
    return cells, read.line.tolist(), list(read.header), list(read.malformed), read.version


def in_pieces(text, name, reading=PLAIN, *, piece=5, page=2):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_PIECE", piece)
        patch.setattr(places, "_PIECE", piece)
        patch.setattr(files, "PAGE", page)
        return said(text, name, reading)


@examples(60)
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


RECORDS = st.lists(
    st.one_of(
        st.dictionaries(
            st.sampled_from("abé"),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
                lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("xy"), inner)),
                max_leaves=4,
            ),
            max_size=3,
        ),
        st.integers(),
    ),
    max_size=7,
)


@examples(60)
@given(records=RECORDS, indent=st.sampled_from([None, 1]), piece=st.integers(1, 30), page=st.integers(1, 4))
def test_json_in_pieces_is_the_json_of_the_whole(records, indent, piece, page):
    inside = {"before": [1, {"a": 2}], "page": [[], {"fills": records, "total": 1.50}], "after": "]}"}
    for content, reading in ((records, PLAIN), (inside, Reading(records="page.1.fills"))):
        text = json.dumps(content, indent=indent)
        assert in_pieces(text, "a.json", reading, piece=piece, page=page) == said(text, "a.json", reading)
    lines = "\n\n".join(json.dumps(each) for each in records) or "{}"
    assert in_pieces(lines, "a.jsonl", piece=piece, page=page) == said(lines, "a.jsonl")


def test_numbers_of_json_stay_as_they_are_written_wherever_a_piece_ends():
    text = '[{"a":1.50,"b":-2e+05},{"a":10,"b":0.1E-7}]'
    for piece in range(1, len(text)):
        cells, *_ = in_pieces(text, "a.json", piece=piece)
        assert cells == {"a": ["1.50", "10"], "b": ["-2e+05", "0.1E-7"]}


@pytest.mark.parametrize(
    ("text", "records", "says"),
    [
        ('[{"a": 1}, {"a": }]', "", r"is not JSON \(Expecting value: line 1 column 18 \(char 17\)\)"),
        ('[{"a": 1}] x', "", r"is not JSON \(Extra data: line 1 column 12 \(char 11\)\)"),
        ('[{"a": 1}', "", r"is not JSON \(Expecting ',' delimiter"),
        ('{"a": [{"b": 1}], "c": }', "a", "is not JSON"),
        ('{"a": [{"b": 1}]}', "c", "records: there is no 'c' in it"),
        ('{"a": 1}', "", "expected a list of records; found a: say with records where the list is"),
        (b'[{"a": "\xff"}]', "", r"is not UTF-8 \(byte 0xff at offset 8, line 1\)"),
        (b'[{"a": "\x00"}]', "", "is not text"),
        (b"\xef\xbb\xbf \n", "", "is empty"),
    ],
)
def test_what_is_wrong_with_json_is_said_of_the_whole_file(text, records, says):
    reading = Reading(records=records)
    with pytest.raises(LedgerError, match=says):
        part(text, "a.json", reading)
    assert in_pieces(text, "a.json", reading, piece=3) == said(text, "a.json", reading)


def test_of_a_list_that_stands_twice_the_last_counts_and_an_object_of_records_is_a_list():
    twice = '{"a": [{"b": 1}], "a": [{"b": 2}, {"b": 3}]}'
    assert in_pieces(twice, "a.json", Reading(records="a"))[0] == {"b": ["2", "3"]}
    assert in_pieces('{"k": {"b": 1}, "l": {"b": 2}}', "a.json")[0] == {"b": ["1", "2"]}


TEXTS = st.text(st.sampled_from("ab é&;1"), max_size=4)


@examples(60)
@given(
    rows=st.lists(st.tuples(st.dictionaries(st.sampled_from("xy"), TEXTS), TEXTS), max_size=6),
    end=st.sampled_from(["\n", ""]),
    piece=st.integers(1, 40),
    page=st.integers(1, 4),
)
def test_xml_in_pieces_is_the_xml_of_the_whole(rows, end, piece, page):
    def row(attributes, text):
        told = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
        return f"<row{told}><note>{escape(text)}<!-- no text -->{escape(text)}</note></row>{end}"

    content = f"<desk>{end}<rows>{end}{''.join(row(*each) for each in rows)}</rows></desk>"
    reading = Reading(records="rows.row")
    whole = said(content, "a.xml", reading)
    assert in_pieces(content, "a.xml", reading, piece=piece, page=page) == whole
    assert whole[1] == list(range(3, 3 + len(rows)) if end else range(1, 1 + len(rows)))
    notes = [(2 * text).strip() or "(none)" for _, text in rows]
    assert whole[0].get("note", ["(none)"] * len(rows)) == notes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<r><a x='1'/><a x=></r>", "is not XML"),
        ("<r><a x='1'><x>2</x></a></r>", "line 1: x stands twice in one record"),
        ("<!DOCTYPE r><r><a/></r>", "declares a document type"),
        ("<r><b/></r>", "records: there is no 'c.a' below its root"),
        (" ", "is empty"),
    ],
)
def test_what_is_wrong_with_xml_is_said(text, says):
    reading = Reading(records="c.a" if "<b/>" in text else "a")
    assert says in said(text, "a.xml", reading)
    assert says in in_pieces(text, "a.xml", reading, piece=4)


QUOTED = st.lists(st.sampled_from(['"a,b",1', '"a""b",2', '"two\nlines",3', "plain,4", "", '"stray,5', "6", '"x"y,7']))


@examples(60)
@given(lines=QUOTED, end=st.sampled_from(["\n", "\r\n"]), page=st.integers(1, 4))
def test_quoted_csv_in_pieces_is_that_of_the_whole(lines, end, page):
    text = end.join(['"one",two', *lines])
    assert in_pieces(text, "a.csv", page=page) == said(text, "a.csv")


@pytest.mark.parametrize("name", ["a.json", "a.xml"])
def test_a_file_that_is_written_to_while_it_comes_is_refused_whatever_else_is_wrong(name, tmp_path, monkeypatch):
    content = {"a.json": '[{"a": 1}, {"a": 2}', "a.xml": "<r><a x='1'/><a x='2'"}[name]
    (tmp_path / name).write_text(content)
    monkeypatch.setattr(places, "_PIECE", 4)
    file = file_at(tmp_path, name)
    pieces = file.stream

    def written_to():
        for number, piece in enumerate(pieces()):
            if not number:
                (tmp_path / name).write_text(content + " ")
            yield piece

    reading = Reading(records="a" if name == "a.xml" else "")
    with pytest.raises(LedgerError, match=f"{name}: was written to while the ledger was being read"):
        read_part(replace(file, stream=written_to), reading)
