"""Books: what is accepted, and what is refused with file, key and expectation."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from benchmarks.support.data import DATA, edit_yaml
from weights_pipeline.books.load import load_book, load_books, load_starter_metrics
from weights_pipeline.books.reading import BookError

ORIGINAL = DATA / "books" / "calmar_core.yaml"


@pytest.fixture
def file(tmp_path):
    copy = tmp_path / "calmar_core.yaml"
    copy.write_text(ORIGINAL.read_text())
    return copy


def test_sample_book_is_the_policy_it_is_documented_to_be():
    book = load_book(ORIGINAL)
    assert sum(book.strategies.values()) == pytest.approx(1.0, abs=1e-12)
    assert (book.method.kind, book.method.metric, book.method.lookback, book.method.alpha) == (
        "power_tilt",
        "calmar",
        "12m",
        0.5,
    )
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
        ({"limits": {"groups": {"slow": {"members": ["trend"], "caps": 1}}}}, "limits.groups.slow.caps"),
        ({"limits": {"groups": {"slow": {"members": ["nobody"], "cap": 1}}}}, r"slow.members: \['nobody'\] are not"),
        ({"limits": {"groups": {"slow": {"members": ["rsi2"], "cap": 0.01}}}}, "limits.groups.slow: .* would do"),
        ({"adjustment": {"rate": 0}}, "adjustment.rate.*Input should be greater than 0"),
        ({"adjustment": {"rate": 1.5}}, "adjustment.rate.*Input should be less than or equal to 1"),
        ({"adjustment": {"rate": {"NORMAL": 0.1}}}, "rate: expected one number, or one for each of NORMAL"),
        ({"adjustment": {"rate": {"CALM": 0.1}}}, "rate: expected one number, or one for each of .*'CALM'"),
        ({"adjustment": {"rate": 0.1, "turnover_cap": -1}}, "adjustment.turnover_cap.*greater than 0"),
        ({"adjustment": {}}, "adjustment: rate: expected a share of the gap"),
        ({"adjustment": {"rate": 0.1, "cost": 2}}, "adjustment: rate: expected a share of the gap, and neither cost"),
        ({"adjustment": {"kind": "optimal", "rate": 0.1, "cost": 2}}, "adjustment: cost: kind optimal expects it"),
        ({"adjustment": {"kind": "optimal", "half_life": 6}}, "adjustment: cost: kind optimal expects it"),
        ({"adjustment": {"kind": "optimal", "cost": 2, "half_life": 0}}, "adjustment.half_life.*greater than 0"),
        ({"adjustment": {"rate": 0.1, "band": -0.01}}, "adjustment.band: absolute: expected a width of at least 0"),
        ({"adjustment": {"rate": 0.1, "band": {"to": "edge"}}}, "adjustment.band: expected a width, absolute: 0.01"),
        ({"adjustment": {"rate": 0.1, "band": {"absolute": 0.1, "width": 1}}}, "adjustment.band.width"),
        (
            {"adjustment": {"rate": dict.fromkeys(["NORMAL", "ELEVATED", "STRESS", "CRISIS"], 0.1)}, "overlay": None},
            "rate: one number per risk regime needs an overlay",
        ),
        ({"timezone": "Mars/Olympus"}, "timezone.*'Mars/Olympus' is not an IANA time zone"),
        ({"cadence": {"kind": "monthly", "day": 31}}, "cadence.monthly.day: Input should be less than or equal to 28"),
        ({"method": {"kind": "alchemy"}}, "method.*alchemy"),
        ({"method": {"kind": "calmar_tilt", "alpha": -1}}, "method.*alpha"),
        ({"overlay": {"profile": "reckless"}}, "overlay.*profile: expected one of low, medium, high"),
        ({"overlay": {"lag": 0}}, "overlay.*lag: expected at least 1 session"),
        ({"owner": "nobody"}, "owner"),
        ({"cadence": {"kind": "weekly", "weekday": "someday", "time": "18:00"}}, "cadence.weekly.weekday"),
        ({"cadence": {"kind": "weekly", "weekday": "sunday"}}, "cadence.weekly.time: Field required"),
        ({"cadence": {"kind": "daily"}}, "cadence.*'daily'"),
        ({"method": {"kind": "power_tilt", "metric": "luck", "lookback": "12m"}}, "metric: expected one of .*sharpe"),
        (
            {"method": {"kind": "minmax_tilt", "metric": "volatility", "lookback": "90d"}},
            "of volatility less is better",
        ),
        ({"method": {"kind": "calmar_tilt", "lookback": "a year"}}, "lookback: expected months, days or sessions"),
        ({"method": {"kind": "calmar_tilt", "lookback": {"NORMAL": "12m"}}}, "one for each of NORMAL, ELEVATED"),
        ({"limits": {"of": "weight", "floor": 0, "cap": 1}}, "power_tilt clips multiples of base weights"),
        ({"limits": {"of": "weight", "floor": 0, "cap": 0.05}, "method": {"kind": "equal"}}, "base weights of .*trend"),
        (
            {"overlay": {"sleeves": {"stranger": "x"}}},
            r"overlay.sleeves: strategies \['stranger'\] are not in the book",
        ),
        ({"ensemble": "weather"}, "ensemble: Input should be 'market_regime'"),
        ({"max_age": 0}, "max_age"),
    ],
)
def test_refused_books_name_file_key_and_expectation(file, changes, expected):
    edit_yaml(file, **changes)
    with pytest.raises(BookError, match=f"(?s)calmar_core.yaml: .*{expected}"):
        load_book(file)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"participaton": 1}, ["rsi2.participation: Field required", "rsi2.participaton: Unexpected keyword argument"]),
        ({"margin": 5}, ["rsi2.rate: Field required"]),
        ({"participation": 5}, ["rsi2: participation: expected a share of volume in (0, 1], got 5.0"]),
        ("much", ["rsi2: Input should be a valid number"]),
        ([1], ["rsi2: Input should be a valid number"]),
    ],
)
def test_of_what_may_be_several_things_the_nearest_is_what_was_expected(file, said, expected):
    edit_yaml(file, limits={"gross": "at_most", "capital": 1e6, "max_capital": {"rsi2": said}})
    with pytest.raises(BookError) as caught:
        load_book(file)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected)
    for line, words in zip(lines, expected, strict=True):
        assert f": limits.max_capital.{words}" in line


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


def test_two_accounts_have_policies_of_their_own_over_the_same_strategies():
    books = load_books(DATA / "books")
    assert {book.account for book in books.values()} == {"main", "tactical", "ensemble", "hybrid"}
    by_account = {(book.account == "hybrid", tuple(sorted(book.strategies))) for book in books.values()}
    (_, sixteen), (_, nine) = sorted(by_account)
    assert (len(sixteen), len(nine)) == (16, 9)
    assert set(nine) < set(sixteen)
    assert books["ensemble_regime"].overlay is None
    assert not books["sharpe_weekly"].overlay.enabled


@pytest.fixture
def folder(tmp_path):
    """A data folder with the sample's books."""
    shutil.copytree(DATA / "sample" / "allocations", tmp_path / "data" / "sample" / "allocations")
    return Path(shutil.copytree(DATA / "books", tmp_path / "data" / "books"))


def test_a_stage_overrides_single_keys(folder):
    (folder / "staging").mkdir()
    (folder / "staging" / "calmar_core.yaml").write_text("adjustment: {rate: 0.25}\naccount: paper\n")
    staged, plain = load_books(folder, "staging"), load_books(folder)
    assert (staged["calmar_core"].adjustment.rate, staged["calmar_core"].account) == (0.25, "paper")
    assert (
        staged["calmar_core"].model_copy(update={"adjustment": plain["calmar_core"].adjustment, "account": "main"})
        == plain["calmar_core"]
    )
    assert staged["sharpe_weekly"] == plain["sharpe_weekly"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calmar_core", "adjustment: {rate: 3}", "staging/calmar_core.yaml: adjustment.rate.*Input should be less"),
        ("calmar_core", "name: another", "expected keys of book calmar_core to override, other than its name"),
        ("calmar_core", "- a list", "expected keys of book calmar_core"),
        ("stranger", "gross: 1", "staging/stranger.yaml: overrides a book that there is not; there are calmar_core"),
    ],
)
def test_refused_overrides(folder, name, content, message):
    (folder / "staging").mkdir()
    (folder / "staging" / f"{name}.yaml").write_text(content)
    with pytest.raises(BookError, match=f"(?s){message}"):
        load_books(folder, "staging")
