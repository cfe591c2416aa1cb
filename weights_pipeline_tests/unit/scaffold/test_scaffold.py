"""A new desk, and a new book: what is written works as it stands."""

import datetime as dt
import json
from contextlib import contextmanager

import pytest
import yaml

from benchmarks.support.data import DATA
from weights_pipeline.books.load import load_book
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.files import replacing
from weights_pipeline.ledger import load_ledger_source, read_ledger
from weights_pipeline.ledger.periods import horizon
from weights_pipeline.scaffold import ScaffoldError, book_file, desk, desk_files, found_in, sample_files, write_new
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.trades import PLAIN
from weights_pipeline_tests.unit.ledger.importers.test_importers import SAMPLES

NOW = dt.datetime(2024, 4, 10, 12, tzinfo=dt.UTC)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder, of which no variable says anything."""
    for name in ("WEIGHTS_DATA", "WEIGHTS_HOME", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", [each.kind for each in METHODS if each.kind != "fixed"])
def test_a_book_of_every_method_is_valid_as_it_is_written(tmp_path, kind):
    file = tmp_path / "mine.yaml"
    file.write_text(book_file("mine", "desk", ["a", "b", "c"], kind))
    book = load_book(file)
    assert (book.method.kind, book.ledger) == (kind, "desk")
    assert sum(book.strategies.values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 300])
def test_equal_weights_add_up_as_they_are_printed(tmp_path, count):
    file = tmp_path / "mine.yaml"
    file.write_text(book_file("mine", "desk", [f"s{n}" for n in range(count)], "equal"))
    assert len(load_book(file).strategies) == count


def ledger_of(folder, content):
    write_new(folder, desk_files("desk", NOW))
    file = folder / "data" / "ledgers" / "desk.yaml"
    kept = {"name": "desk", "description": "x", "timezone": "America/New_York", "first_month": "2024-01"}
    file.write_text(yaml.safe_dump(kept | {"last_month": "2024-03"} | content))
    (folder / "templates").rename(folder / "data" / "own")
    source = load_ledger_source(file)
    return read_ledger(source, folder / "data", horizon=horizon(source, NOW))


@pytest.mark.parametrize(
    "content",
    [
        {"lots": ["own/lots.csv"], "capital": {"kind": "capital_base", "file": "own/capital.csv"}},
        {"returns": ["own/returns.csv"]},
        {
            "fills": ["own/fills.csv"],
            "openings": ["own/openings.csv"],
            "cash": ["own/cash.csv"],
            "prices": "own/prices.csv",
            "actions": "own/actions.csv",
            "positions": "own/positions.csv",
            "instruments": "own/instruments.csv",
            "currency": "USD",
            "fx": "own/fx.csv",
            "benchmark": {"file": "own/benchmark.csv", "column": "close"},
        },
    ],
    ids=["lots", "returns", "everything"],
)
def test_every_template_reads_as_it_stands(tmp_path, content):
    intake = ledger_of(tmp_path / "desk", content)
    counts = intake.files[["read", "accepted", "rejected"]].sum()
    assert counts["read"] == counts["accepted"] > 0
    assert [each.message for each in intake.findings if each.severity == "ERROR"] == []


def test_a_folder_that_holds_anything_stays_as_it_is(tmp_path):
    (tmp_path / "mine").write_text("x")
    for folder in (tmp_path, tmp_path / "mine"):
        with pytest.raises(ScaffoldError, match=r"is not empty|is a file"):
            write_new(folder, desk_files("desk", NOW))
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_on_a_full_disk_nothing_is_left(tmp_path, monkeypatch):
    written = []

    @contextmanager
    def full(file, **_):
        written.append(file)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        with replacing(file) as temporary:
            yield temporary

    monkeypatch.setattr(desk, "replacing", full)
    with pytest.raises(ScaffoldError, match="No space left on device; nothing was left there"):
        write_new(tmp_path / "new" / "desk", desk_files("desk", NOW))
    assert [*(tmp_path / "new").iterdir()] == []


def test_the_schemas_and_settings_of_a_desk_are_those_of_the_project():
    files = {str(path): content for path, content in desk_files("desk", NOW).items()}
    for name in ("book.schema.json", "ledger.schema.json"):
        assert files[f"data/{name}"] == (DATA / name).read_bytes()
    assert files["dagster.yaml"] == (DATA.parent / "dagster.yaml").read_bytes()
    sample = {str(path): content for path, content in sample_files().items()}
    assert sample["data/books/calmar_core.yaml"] == (DATA / "books" / "calmar_core.yaml").read_bytes()
    for path in (DATA / "sample").rglob("*.csv"):
        assert f"data/{path.relative_to(DATA)}" in sample


def test_a_desk_runs_as_it_is_made(elsewhere, monkeypatch):
    made = Result("new", "my_desk")
    assert made.exit_code == 0, made.errors
    assert made.output.endswith("Next: cd my_desk && weights run --book my_desk_book\n")
    monkeypatch.chdir(elsewhere / "my_desk")
    checked = Result("ledger", "check", "--json")
    assert (checked.exit_code, json.loads(checked.output)[0]["files"][0]["accepted"]) == (0, 9)
    valid = Result("books", "validate", "data/books/my_desk_book.yaml")
    assert valid.exit_code == 0, valid.errors
    assert Result("new", ".").errors.startswith("weights: . is not empty")


def test_a_desk_is_made_around_a_file_whichever_importer_reads_it(elsewhere, monkeypatch):
    (elsewhere / "trades.csv").write_text(PLAIN.replace(",", ";"))
    result = Result("new", "2nd desk", "--from-ledger", "trades.csv")
    assert result.exit_code == 0, result.errors
    assert "reads as fills in the ledger's own form" in result.output
    ledger = yaml.safe_load((elsewhere / "2nd desk" / "data" / "ledgers" / "nd_desk.yaml").read_text())
    assert ledger["fills"] == [{"files": ["nd_desk/trades.csv"], "delimiter": ";"}]
    monkeypatch.chdir(elsewhere / "2nd desk")
    assert Result("ledger", "check").exit_code == 0
    book = load_book(elsewhere / "2nd desk" / "data" / "books" / "nd_desk_book.yaml")
    assert {*book.strategies} == {*found_in("data/nd_desk/trades.csv", "", NOW).strategies}


@pytest.mark.parametrize("named", [[], ["--importer", "ibkr_flex_trades"]])
def test_an_export_that_says_nothing_of_strategies_is_one_strategy(elsewhere, named):
    file = SAMPLES["ibkr_flex_trades"]
    result = Result("new", "ib", "--from-ledger", str(file), *named)
    assert result.exit_code == 0, result.errors
    ledger = yaml.safe_load((elsewhere / "ib" / "data" / "ledgers" / "ib.yaml").read_text())
    assert ledger["fills"] == [
        {
            "files": [f"ib/{file.name}"],
            "importer": "ibkr_flex_trades",
            "constants": {"strategy": file.stem},
        }
    ]


@pytest.mark.parametrize(
    ("now", "first"),
    [
        ("2026-12-01T00:30", "2026-11"),  # the evening before, at the exchange
        ("2026-12-01T06:00", "2026-12"),
        ("2026-08-01T12:00", "2026-08"),  # a Saturday
        ("2027-01-01T12:00", "2027-01"),
    ],
)
def test_a_desk_can_read_its_files_in_the_hour_that_it_is_made(tmp_path, now, first):
    instant = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    write_new(tmp_path, desk_files("ib", instant, reads="ibkr_flex_trades"))
    (tmp_path / "data" / "ib" / "export.csv").write_bytes(SAMPLES["ibkr_flex_trades"].read_bytes())
    source = load_ledger_source(tmp_path / "data" / "ledgers" / "ib.yaml")
    assert source.first_month == first
    intake = read_ledger(source, tmp_path / "data", horizon=horizon(source, instant))
    assert intake.files["accepted"].sum() == intake.files["read"].sum() > 0


def test_a_desk_that_waits_for_files_says_so(elsewhere, monkeypatch):
    assert Result("new", "ib", "--importer", "ibkr_flex_trades").exit_code == 0
    monkeypatch.chdir(elsewhere / "ib")
    result = Result("ledger", "check")
    assert result.exit_code == 2
    assert "no file in" in result.errors
    (elsewhere / "ib" / "data" / "ib" / "export.csv").write_bytes(SAMPLES["ibkr_flex_trades"].read_bytes())
    assert Result("ledger", "check").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["d", "--importer", "ibkr_flex_cash"], "reads cash, which stand beside trades"),
        (["d", "--importer", "nobody"], "nobody"),
        (["d", "--sample", "--importer", "ibkr_flex_trades"], "--sample: brings its own ledger"),
        (["d", "--from-ledger", "none.csv"], "there is no such file"),
        (["d", "--from-ledger", "noise.csv"], "no importer reads a row of it"),
        (["d", "e"], "expected nothing after a folder"),
        (["book", "mine"], "WEIGHTS_DATA"),
    ],
)
def test_what_cannot_be_made_leaves_nothing_behind(elsewhere, arguments, message):
    (elsewhere / "noise.csv").write_text("a,b\n1,2\n")
    result = Result("new", *arguments)
    assert result.exit_code == 2
    assert message in result.errors
    assert [file.name for file in elsewhere.iterdir()] == ["noise.csv"]


def test_a_book_is_added_to_a_desk(elsewhere, monkeypatch):
    Result("new", "desk")
    monkeypatch.chdir(elsewhere / "desk")
    result = Result("new", "book", "second", "--method", "equal")
    assert result.exit_code == 0, result.errors
    assert load_book(elsewhere / "desk" / "data" / "books" / "second.yaml").strategies == {"carry": 0.5, "fade": 0.5}
    for arguments, message in (
        (["second"], "is there already"),
        (["third", "--method", "magic"], "--method: there is no 'magic'; there are calmar_tilt"),
        (["third", "--method", "fixed"], "takes its percentages from decisions"),
        (["third", "--ledger", "x"], "--ledger: there is no 'x'; there are desk"),
        (["Third"], "expected a name of small letters"),
    ):
        refused = Result("new", "book", *arguments)
        assert (refused.exit_code, message in refused.errors) == (2, True), refused.errors
    assert len([*(elsewhere / "desk" / "data" / "books").iterdir()]) == 2


def test_a_bare_command_says_what_comes_next(elsewhere, monkeypatch):
    assert "weights new my_desk" in Result().output
    Result("new", "desk")
    monkeypatch.chdir(elsewhere / "desk")
    assert Result().output.startswith("A desk with desk_book.")
    assert Result("--version").output == "weights-pipeline 0.1.0\n"
