"""Books: what is accepted, and what is refused with file, key and expectation."""

import json

import pytest
import yaml

from weights_pipeline.books import BookError, load_book, load_books, load_starter_metrics
from weights_pipeline_tests.conftest import DATA, edit_yaml

ORIGINAL = DATA / "books" / "calmar_core.yaml"


@pytest.fixture
def file(tmp_path):
    copy = tmp_path / "calmar_core.yaml"
    copy.write_text(ORIGINAL.read_text())
    return copy


def test_sample_book_is_the_policy_it_is_documented_to_be():
    book = load_book(ORIGINAL)
    assert sum(book.strategies.values()) == pytest.approx(1.0, abs=1e-12)
    assert (book.method.kind, book.metric, book.method.alpha) == ("power_tilt", "calmar_12m", 0.5)
    assert (book.limits.floor, book.limits.cap, book.limits.normalisation) == (0.5, 2.0, "capped")
    assert book.adjustment.rate == 0.1
    assert book.overlay.enabled
    assert book.overlay.lag == 1
    assert set(book.overlay.sleeves) == set(book.strategies)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"name": "../etc"}, "name: String should match pattern"),
        ({"name": "Calmar"}, "name: String should match pattern"),
        ({"name": 'x"; DROP TABLE'}, "name: String should match pattern"),
        ({"gross": 1.5}, "base weights sum to 1, expected gross 1.5"),
        ({"strategies": {"a": 0.6, "b": 0.6}}, "base weights sum to 1.2, expected gross 1"),
        ({"strategies": {"a": -0.5, "b": 1.5}}, "strategies.a: Input should be greater than or equal to 0"),
        ({"strategies": {"a": float("nan")}}, "strategies.a"),
        ({"strategies": {}}, "strategies: Dictionary should have at least 1 item"),
        ({"limits": {"floor": 1.2, "cap": 2.0}}, r"limits.*floor: expected a multiple of base in \[0, 1\], got 1.2"),
        ({"limits": {"floor": 0.5, "cap": 0.9}}, "limits.*cap: expected a finite multiple of base of at least 1"),
        ({"limits": {"floor": 0.5, "ceiling": 2}}, "limits.ceiling"),
        ({"adjustment": {"rate": 0}}, "adjustment.rate: Input should be greater than 0"),
        ({"adjustment": {"rate": 1.5}}, "adjustment.rate: Input should be less than or equal to 1"),
        ({"timezone": "Mars/Olympus"}, "timezone.*'Mars/Olympus' is not an IANA time zone"),
        ({"cadence": {"kind": "monthly", "day": 31}}, "cadence.day: Input should be less than or equal to 28"),
        ({"method": {"kind": "alchemy"}}, "method.*alchemy"),
        ({"method": {"kind": "calmar_tilt", "alpha": -1}}, "method.*alpha"),
        ({"overlay": {"profile": "reckless"}}, "overlay.*profile: expected one of low, medium, high"),
        ({"overlay": {"lag": 0}}, "overlay.*lag: expected at least 1 session"),
        ({"owner": "nobody"}, "owner"),
        ({"max_age": 0}, "max_age"),
    ],
)
def test_refused_books_name_file_key_and_expectation(file, changes, expected):
    edit_yaml(file, **changes)
    with pytest.raises(BookError, match=f"(?s)calmar_core.yaml: .*{expected}"):
        load_book(file)


def test_all_problems_are_reported_at_once(file):
    edit_yaml(file, max_age=-1, timezone="Nowhere", surprise=1)
    with pytest.raises(BookError) as caught:
        load_book(file)
    assert len(str(caught.value).splitlines()) == 3


def test_duplicate_keys_and_unsafe_yaml_are_refused(file):
    file.write_text(file.read_text() + "\ngross: 1.0\n")
    with pytest.raises(BookError, match="duplicate key 'gross'"):
        load_book(file)
    file.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(BookError, match="not readable as YAML"):
        load_book(file)
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(BookError, match="not readable as YAML"):
        load_book(file)


def test_duplicate_book_names_are_refused(file, tmp_path):
    (tmp_path / "another.yaml").write_text(ORIGINAL.read_text())
    with pytest.raises(BookError, match="duplicate book 'calmar_core', already defined in"):
        load_books(tmp_path)


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(BookError, match="no books"):
        load_books(tmp_path)


def starter(tmp_path, content):
    (tmp_path / "starter.json").write_text(content if isinstance(content, str) else json.dumps(content))
    book = load_book(ORIGINAL).model_copy(update={"starter_metrics": "starter.json"})
    return load_starter_metrics(book, tmp_path)


GOOD = {
    "twelve_month_return": 0.20,
    "twelve_month_max_drawdown": 0.15,
    "calmar_ratio": 1.33,
    "months_of_data": 12,
}


def test_starter_metrics_are_read(tmp_path):
    assert starter(tmp_path, {"rsi2": GOOD})["rsi2"].calmar_ratio == 1.33


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"rsi2": GOOD | {"calmar_ratio": 1.4}}, "calmar_ratio"),
        ({"rsi2": GOOD | {"months_of_data": 13}}, "months_of_data"),
        ({"rsi2": GOOD | {"twelve_month_max_drawdown": 15}}, "twelve_month_max_drawdown"),
        ({"rsi2": GOOD | {"extra": 1}}, "extra"),
        ({"stranger": GOOD}, r"strategies \['stranger'\] are not in book calmar_core"),
        ("{not json", "cannot be read"),
    ],
)
def test_refused_starter_metrics(tmp_path, content, expected):
    with pytest.raises(BookError, match=expected):
        starter(tmp_path, content)


def test_starter_path_may_not_leave_the_data_folder(tmp_path):
    book = load_book(ORIGINAL).model_copy(update={"starter_metrics": "../../etc/passwd"})
    with pytest.raises(BookError, match="leaves the data folder"):
        load_starter_metrics(book, tmp_path)


def test_book_round_trips_through_yaml(file):
    book = load_book(file)
    file.write_text(yaml.safe_dump(json.loads(book.model_dump_json())))
    assert load_book(file) == book
