"""What comes from outside stays what it is: names are names, paths stay inside, texts are shown, secrets are not."""

import ast
import datetime as dt
import functools
import json
import logging
import math
import os
import re
import runpy
import time
import tomllib
import traceback
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest
import yaml
from botocore.exceptions import ClientError
from dagster._core.definitions.utils import DISALLOWED_NAMES
from dagster._utils.error import serializable_error_info_from_exc_info
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pydantic import ValidationError

from benchmarks.support.data import BOOK, DATA
from weights_pipeline import aws
from weights_pipeline.aws import S3Objects
from weights_pipeline.books import reading
from weights_pipeline.books.book import Book
from weights_pipeline.books.comparisons import Comparison, load_comparisons
from weights_pipeline.books.load import load_book, load_books, load_starter_metrics
from weights_pipeline.books.reading import BookError, inside, read_json, read_yaml
from weights_pipeline.cli import render
from weights_pipeline.core.verify import Finding
from weights_pipeline.ledger import LedgerError, LedgerSource, load_ledger_source, read_ledger
from weights_pipeline.ledger.files import read_part
from weights_pipeline.ledger.places import file_at, find_files
from weights_pipeline.live.document import UnreachableError, require_name
from weights_pipeline.live.places import sink, source
from weights_pipeline.orchestration.asset_checks import as_result
from weights_pipeline.orchestration.metadata import table_figures
from weights_pipeline.settings import Settings, SettingsError, without_secrets
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.s3_store import S3Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window, prepare, to_frame
from weights_pipeline.tables.errors import StoreError
from weights_pipeline.text import visible
from weights_pipeline_tests.support.commands import Result

ROOT = DATA.parent
PACKAGE = ROOT / "weights_pipeline"
NOW = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)

# --------------------------------------------------------------------------- names

HOSTILE_NAMES = [
    "",
    "..",
    ".",
    "../calmar",
    "a/b",
    "a\\b",
    "/etc",
    "a;b",
    "a'b",
    'a"b',
    'a"; DROP SCHEMA calmar_core CASCADE; --',
    "a%2e%2e",
    "%s",
    "{a}",
    "$(id)",
    "a\nb",
    "a\n",
    "a\0",
    "a b",
    "A",
    "1a",
    "_a",
    "-a",
    "~a",
    "c\u0430lmar",  # a Cyrillic a
    "\uff41bc",  # full-width
    "a\u202eb",
    "a" * 64,
    "a" * 100_000,
]
GIVEN_BOOK = yaml.safe_load((DATA / "books" / f"{BOOK}.yaml").read_text())
GIVEN_SOURCE = yaml.safe_load((DATA / "ledgers" / "sample.yaml").read_text())
GIVEN_COMPARISON = yaml.safe_load((DATA / "comparisons" / "methods.yaml").read_text())


def refused_by(check, *arguments) -> bool:
    try:
        check(*arguments)
    except (ValidationError, ValueError, StoreError):
        return True
    return False


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: repr(name)[:20])
def test_a_name_that_is_more_than_a_name_is_refused_wherever_it_would_become_a_path_or_a_table(name):
    store = S3Store("desk", "weights")
    for number, check in enumerate(
        (
            lambda: Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_STAGE": name or "-"}),
            lambda: Book.model_validate(GIVEN_BOOK | {"name": name}),
            lambda: Book.model_validate(GIVEN_BOOK | {"ledger": name}),
            lambda: LedgerSource.model_validate(GIVEN_SOURCE | {"name": name}),
            lambda: Comparison.model_validate(GIVEN_COMPARISON | {"name": name}),
            lambda: Comparison.model_validate(GIVEN_COMPARISON | {"book": name}),
            lambda: Comparison.model_validate(GIVEN_COMPARISON | {"methods": {name: {}, "other": {}}}),
            lambda: require_name(name),
            lambda: store.partitions(name, "final_weights"),
            lambda: store.partitions("calmar_core", name),
        )
    ):
        assert refused_by(check), number


def test_names_that_the_store_python_or_dagster_use_themselves_are_refused():
    taken = {name for name in DISALLOWED_NAMES if re.fullmatch("[a-z][a-z0-9_]*", name)}
    taken |= {"store", "main", "memory", "temp", "system", "weights", "pg_catalog", "information_schema"}
    for name in sorted(taken):
        with pytest.raises(ValidationError, match=f"{name!r} is taken by"):
            Book.model_validate(GIVEN_BOOK | {"name": name})
        with pytest.raises(ValidationError, match=f"{name!r} is taken by"):
            Comparison.model_validate(GIVEN_COMPARISON | {"name": name})


def test_the_longest_ledger_still_has_a_table_in_every_store():
    longest = LedgerSource.model_validate(GIVEN_SOURCE | {"name": "l" * 56})
    S3Store("desk")._place(longest.schema_name, catalog.TRADE_LEDGER.name)
    with pytest.raises(ValidationError, match="at most 56 characters"):
        LedgerSource.model_validate(GIVEN_SOURCE | {"name": "l" * 57})


def test_names_that_merely_look_like_sql_are_schemas_like_any_other(tmp_path):
    store = DuckDBStore(tmp_path / "weights.duckdb", lock_timeout=5)
    names = [Book.model_validate(GIVEN_BOOK | {"name": name}).name for name in ("select", "table", "incoming")]
    for name in names:
        store.write(name, catalog.WEIGHT_DOCUMENTS, DOCUMENT, run_id="run", recorded_at=NOW)
    with store.view():
        assert sorted(store.tables()) == sorted((name, "weight_documents") for name in names)
        for name in names:
            assert store.read(name, catalog.WEIGHT_DOCUMENTS)["document"].tolist() == ["{}"]


DOCUMENT = pd.DataFrame({"hash": ["h"], "document": ["{}"]})


@pytest.mark.parametrize(
    "account", ["desk/1", "a b", "ünï", "a\nb", "", "a" * 64, "<script>"], ids=lambda text: repr(text)[:20]
)
def test_an_account_that_would_stop_every_book_from_loading_stops_its_own(account):
    with pytest.raises(ValidationError, match="account"):
        Book.model_validate(GIVEN_BOOK | {"account": account})


@pytest.mark.parametrize("owner", ["x", "team:a b", "<script>@desk.com", "a@b", "team:a\n", "a b@desk.com"])
def test_an_owner_that_would_stop_every_book_from_loading_stops_its_own(owner):
    for model, given in ((Book, GIVEN_BOOK), (Comparison, GIVEN_COMPARISON)):
        with pytest.raises(ValidationError, match="owner"):
            model.model_validate(given | {"owner": owner})
        assert model.model_validate(given | {"owner": "jane.doe+risk@desk.example.com"})


def test_options_of_the_command_line_are_looked_up_and_never_become_paths(tmp_path, monkeypatch):
    data, home = tmp_path / "data", tmp_path / "home"
    for folder in ("books", "ledgers"):
        (data / folder).mkdir(parents=True)
    (data / "books" / f"{BOOK}.yaml").write_text(yaml.safe_dump(GIVEN_BOOK | {"starter_metrics": None}))
    (data / "ledgers" / "sample.yaml").write_text(yaml.safe_dump(GIVEN_SOURCE))
    store = DuckDBStore(home / "weights.duckdb", lock_timeout=5)
    store.write(BOOK, catalog.WEIGHT_DOCUMENTS, DOCUMENT, run_id="run", recorded_at=NOW)
    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    monkeypatch.setenv("WEIGHTS_HOME", str(home))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    commands = (
        ("show", "--book"),
        ("explain", "--strategy", "x", "--book"),
        ("decide", "--strategy", "x", "--equity", "1", "--action", "enter", "--book"),
        ("check", "--book"),
        ("ensemble", "update", "--book"),
        ("allocations", "show", "--book"),
        ("allocator", "state", "--book"),
    )
    for name in ("../calmar_core", f'{BOOK}"; DROP SCHEMA {BOOK} CASCADE; --\x1b[2J', "/etc/" + "a" * 5000):
        for command in commands:
            result = Result(*command, name)
            assert result.exit_code in (2, 3), (command, name, result.output, result.errors)
            assert "Traceback" not in result.errors
            assert "\x1b" not in result.output + result.errors
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


# --------------------------------------------------------------------------- texts of a ledger

HOSTILE_TEXTS = [
    "'; DROP TABLE x; --",
    '"; DROP SCHEMA sample_ledger CASCADE; --',
    "a'b\"c`d",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a|b||c",
    "a\\|b",
    "one\ntwo\r\nthree",
    "![tracker](https://evil.example/x.png)",
    "[click](javascript:alert(1))",
    "**bold** _it_ ~~no~~ &lt;",
    "../../etc/passwd",
    "%s %d {0} {x} $HOME $(id)",
    "=1+1",
    "1e5",
    "007",
    "nan",
    "null",
    "NULL",
    "\x1b[2J\x1b[31mred",
    "back\bspace\x07bell",
    "\u202eright to left",
    "zero\u200bwidth",
    "\u0430\u0410a",
    "\U0001f4b0" * 3,
    "e\u0301 \u00e9",  # not the same characters, whatever they look like
    "x" * 20_000,
    "a\x1fb\x1ec",
]
MONTH = Window(
    "2020-01-01",
    pd.Timestamp("2020-01-01", tz="UTC"),
    pd.Timestamp("2020-02-01", tz="UTC"),
    pd.Timestamp("2020-01-01").date(),
    pd.Timestamp("2020-02-01").date(),
    pd.Timestamp("2020-02-01", tz="UTC"),
)


def csv_line(cells: list[str]) -> str:
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\n"


@pytest.fixture(scope="module")
def hostile_ledger(tmp_path_factory):
    """Intake of a ledger whose every text is hostile: all rows of one file good, all of another rejected."""
    root = tmp_path_factory.mktemp("hostile")
    header = "lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price\n"
    for name, quantity in (("good", "1"), ("it's; DROP TABLE x; -- <b>|bad", "0")):
        times = ["2020-01-06T15:00:00Z", "2020-01-07T15:00:00Z"]
        rows = [[f"{name[:4]} {t}", t, t, "long", quantity, *times, "10", "11"] for t in HOSTILE_TEXTS]
        content = header + "".join(map(csv_line, rows))
        (root / f"{name}.csv").write_bytes(content.encode())
    ledger = LedgerSource(
        name="hostile",
        description="x",
        lots=("*.csv",),
        timezone="UTC",
        first_month="2020-01",
    )
    return read_ledger(ledger, root, horizon=pd.Timestamp("2020-01-31").date())


def test_every_text_of_a_ledger_is_accepted_or_rejected_and_none_is_changed(hostile_ledger):
    expected = sorted(text.strip() for text in HOSTILE_TEXTS)
    assert sorted(hostile_ledger.lots["strategy"]) == sorted(hostile_ledger.lots["symbol"]) == expected
    assert hostile_ledger.files[["read", "accepted", "rejected"]].to_numpy().tolist() == [
        [len(expected), len(expected), 0],
        [len(expected), 0, len(expected)],
    ]
    content = [json.loads(row) for row in hostile_ledger.rejected["content"]]
    assert sorted(row["strategy"] for row in content) == sorted(HOSTILE_TEXTS)


def test_hostile_texts_come_back_from_the_store_byte_for_byte_and_drop_nothing(hostile_ledger, tmp_path):
    store = DuckDBStore(tmp_path / "weights.duckdb", lock_timeout=5)
    frames = [
        (catalog.TRADE_LEDGER, hostile_ledger.lots, [MONTH]),
        (catalog.REJECTED_LOTS, hostile_ledger.rejected, []),
        (catalog.LEDGER_FILES, hostile_ledger.files, []),
        (
            catalog.GIVEN_RETURNS,
            pd.DataFrame({"session": MONTH.first, "strategy": [*HOSTILE_TEXTS, "nul\0"], "daily_return": 0.0}).astype(
                {"session": "datetime64[us]"}
            ),
            [MONTH],
        ),
    ]
    for table, frame, windows in frames:
        store.write("sample_ledger", table, frame, windows, run_id="'; DROP TABLE x; --", recorded_at=NOW)
    with store.view():
        for table, frame, windows in frames:
            stored = to_frame(prepare(frame, table, windows)).drop(columns="partition_key", errors="ignore")
            back = store.read("sample_ledger", table)
            order = list(table.key)
            pd.testing.assert_frame_equal(
                back.sort_values(order, ignore_index=True),
                stored.sort_values(order, ignore_index=True),
                check_exact=True,
            )
            assert {r.run_id for r in store.partitions("sample_ledger", table.name).values()} == {"'; DROP TABLE x; --"}
        assert len(store.tables()) == len(frames)


def cells(line: str) -> list[str]:
    """Cells of a line of a Markdown table, as a reader of GitHub's Markdown parts them."""
    assert line.startswith("|")
    assert line.endswith("|")
    return re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]


def assert_well_formed(table: str, frame: pd.DataFrame) -> None:
    lines = table.split("\n")
    assert len(lines) == len(frame) + 2
    assert {len(cells(line)) for line in lines} == {frame.shape[1]}
    body = "\n".join(lines[2:])
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>\[\]`*~&]", body)
    assert all(c.isprintable() or c == "\n" for c in table)


def test_previews_and_offending_rows_are_tables_whatever_their_texts_say():
    texts = HOSTILE_TEXTS[:20]
    frame = pd.DataFrame({"strategy": texts, "reason": [*texts[1:], None], "weight": 0.25, "n": 3})
    table = catalog.REALIZED_WEIGHTS
    assert_well_formed(table_figures(frame, table)["preview"].md_str, frame)
    finding = Finding(passed=False, value=1.0, limit=0.0, summary="x", offending=frame)
    result = as_result(finding, error=True, check_name="x", asset_key=dg.AssetKey("x"))
    assert_well_formed(result.metadata["offending"].md_str, frame)
    preview = table_figures(frame, table)["preview"].md_str
    assert r"\<script\>" in preview
    assert r"one\\ntwo\\r\\nthree" in preview
    assert r"a\|b\|\|c" in preview
    assert "| 1e5 " in preview, "a name that looks like a number is still that name"
    assert "trend_long" in table_figures(pd.DataFrame({"strategy": ["trend_long"]}), table)["preview"].md_str


def test_what_a_ledger_says_does_not_steer_the_terminal(capsys):
    render.table([[text, "1"] for text in HOSTILE_TEXTS], ["Strategy", "n"])
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == len(HOSTILE_TEXTS) + 2
    assert all(c.isprintable() or c == "\n" for c in printed)
    assert visible("Größe\t–\n∆ 1", "\t\n") == "Größe\t–\n∆ 1"
    assert visible("Größe\t–\n∆ 1") == "Größe\\t–\\n∆ 1"
    assert visible("a\x1b[2J\u202e\x9b") == "a\\x1b[2J\\u202e\\x9b"


# --------------------------------------------------------------------------- paths

OUTSIDE = [
    "/etc/*.csv",
    "../x.csv",
    "a/../../x.csv",
    "C:\\x",
    "..\\x",
    "a\0.csv",
    "a\n.csv",
    "\u202ex.csv",
    "",
]


@pytest.mark.parametrize("path", OUTSIDE, ids=repr)
def test_a_ledger_names_files_inside_the_data_folder_only(path):
    capital = {"kind": "capital_base", "file": path}
    benchmark = {"file": path, "column": "close"}
    keys = {"lots": [path], "fills": [path], "returns": [path], "capital": capital, "benchmark": benchmark}
    for key, value in (keys | {"prices": path}).items():
        with pytest.raises(ValidationError, match=f"{key}.*\n.*(\n.*)*path inside the data folder"):
            LedgerSource.model_validate(GIVEN_SOURCE | {key: value})


def test_links_that_lead_out_of_the_data_folder_or_nowhere_are_not_followed(tmp_path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    for folder in (data, outside):
        folder.mkdir()
    (outside / "secret.csv").write_text("password\nhunter2\n")
    (data / "file.csv").symlink_to(outside / "secret.csv")
    (data / "folder").symlink_to(outside)
    (data / "loop.csv").symlink_to("loop.csv")
    for pattern in ("*.csv", "**/*.csv", "folder/*.csv"):
        for file in find_files(data, [pattern], "lots"):
            with pytest.raises(LedgerError, match="leads out of the data folder") as refused:
                read_part(file)
            assert "hunter2" not in str(refused.value)
    with pytest.raises(LedgerError, match="leads nowhere"):
        read_part(file_at(data, "loop.csv"))
    for path in ("file.csv", "folder/secret.csv", "../outside/secret.csv", str(outside / "secret.csv"), "a/../../x"):
        with pytest.raises(BookError, match="leaves the data folder"):
            inside(data, path, "key")
    for path in ("a\0b", "loop.csv"):
        with pytest.raises(BookError, match="leads nowhere"):
            inside(data, path, "key")


def test_allocations_and_starter_metrics_are_read_inside_the_data_folder_only(tmp_path):
    folder = tmp_path / "data" / "books"
    folder.mkdir(parents=True)
    (tmp_path / "2020-01-01.json").write_text("{}")
    fixed = yaml.safe_load((DATA / "books" / "max_hybrid.yaml").read_text())
    for path in ("..", "/etc", "books/../.."):
        fixed["method"]["folder"] = path
        (folder / "max_hybrid.yaml").write_text(yaml.safe_dump(fixed))
        with pytest.raises(BookError, match=r"method\.folder: path .* leaves the data folder"):
            load_book(folder / "max_hybrid.yaml")
        book = Book.model_validate(GIVEN_BOOK | {"starter_metrics": f"{path}/x.json"})
        with pytest.raises(BookError, match=r"starter_metrics: path .* leaves the data folder"):
            load_starter_metrics(book, tmp_path / "data")


def test_a_glob_takes_no_longer_for_having_many_stars(tmp_path):
    (tmp_path / f"{'a' * 200}.csv").write_text("x\n")
    began = time.process_time()
    for pattern in ("*a" * 40 + "b", "**" * 40 + "b", "**/" * 40 + "b"):
        with pytest.raises(LedgerError, match="no file in"):
            find_files(tmp_path, [pattern], "lots")
    assert time.process_time() - began < 2
    assert [file.path for file in find_files(tmp_path, ["*a*a*?.csv"], "lots")] == [f"{'a' * 200}.csv"]


# --------------------------------------------------------------------------- YAML and JSON

LAUGHS = "a0: &a0 lol\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
REFUSED_YAML = {
    "object": "!!python/object/apply:os.system ['touch pwned']",
    "name": "name: !!python/name:os.system",
    "module": "!!python/module:os",
    "tuple": "!!python/tuple [1]",
    "own tag": "!secret x",
    "laughs": LAUGHS,
    "laughs in the name": LAUGHS + "name: *a11",
    "laughs in a key": LAUGHS + "strategies: {x: *a11}",
    "long text repeated": f"a: &a '{'x' * 5000}'\nb: [{', '.join(['*a'] * 5000)}]",
    "itself": "&a [*a]",
    "itself in a map": "a: &a {b: *a}",
    "itself as a key": "&a {*a : 1}",
    "merge": "a: &a {x: 1}\nb: {<<: *a}",
    "duplicate": "name: a\nname: b",
    "duplicate deep": "a: {b: {c: 1, c: 2}}",
    "list as a key": "? [a]\n: 1",
    "many levels": "[" * 1000,
    "no date": "date: 2020-13-45",
    "no integer": "a: !!int x",
    "no float": "a: !!float x",
    "no truth": "a: !!bool maybe",
    "no time": "a: !!timestamp x",
    "digits": "name: 0x" + "f" * 5000,
    "sixties": "name: " + ":".join(["59"] * 3000),
    "large": "a: " + "x" * 500_001,
    "not text": b"\xff\xfe\x00",
    "nul": b"a: \x00",
}


@pytest.mark.parametrize("content", REFUSED_YAML.values(), ids=REFUSED_YAML)
def test_yaml_that_is_more_than_a_policy_is_refused_at_once_and_in_words(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "book.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    with pytest.raises(BookError, match=r"book\.yaml: not readable as YAML") as refused:
        load_book(file)
    assert time.process_time() - began < 3
    assert len("".join(traceback.format_exception(refused.value))) < 20_000
    assert list(tmp_path.iterdir()) == [file]


def test_ledgers_comparisons_and_overrides_of_a_stage_are_read_by_the_same_rules(tmp_path):
    (tmp_path / "prod").mkdir()
    for file in (tmp_path / f"{BOOK}.yaml", tmp_path / "prod" / f"{BOOK}.yaml"):
        file.write_text(LAUGHS)
    with pytest.raises(LedgerError, match="stands for more than"):
        load_ledger_source(tmp_path / f"{BOOK}.yaml")
    with pytest.raises(BookError, match="stands for more than"):
        load_comparisons(tmp_path, {}, [])
    (tmp_path / f"{BOOK}.yaml").write_text(yaml.safe_dump(GIVEN_BOOK))
    with pytest.raises(BookError, match=r"prod/.*stands for more than"):
        load_books(tmp_path, "prod")


def test_aliases_that_repeat_little_are_read(tmp_path):
    (tmp_path / "x.yaml").write_text("a: &a {x: 1}\nb: *a\nc: [*a, *a]\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "9" * 5000, "{" * 9, '{"a": 1, "a": 2}', "[0]" + " " * 500_000, "\0"]
)
def test_json_that_is_no_file_of_figures_is_refused_in_words(content, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(BookError, match=r"x\.json: figures cannot be read"):
        read_json(tmp_path / "x.json", "figures")


def numbers(content, path=()) -> Iterator[tuple]:
    """Paths of all numbers in a document."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from numbers(value, (*path, key))
    if isinstance(content, int | float) and not isinstance(content, bool):
        yield path


def with_value(content, path, value):
    if not path:
        return value
    copy = content.copy()
    copy[path[0]] = with_value(content[path[0]], path[1:], value)
    return copy


def test_no_number_of_a_book_or_a_comparison_may_be_infinite_or_none():
    tried = 0
    for file in (DATA / "books").glob("*.yaml"):
        content = read_yaml(file)
        for path, value in product(numbers(content), (math.nan, math.inf, -math.inf)):
            tried += 1
            assert refused_by(Book.model_validate, with_value(content, path, value)), (file.name, path, value)
    assert tried > 200
    for key in ("in_sample", "out_of_sample", "fee", "risk_free"):
        for value in (math.nan, math.inf, -math.inf):
            assert refused_by(Comparison.model_validate, GIVEN_COMPARISON | {key: value}), (key, value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1", "true", '"1"', "null", "[]"])
def test_figures_in_json_are_finite_numbers(number, tmp_path):
    given = {
        "twelve_month_return": "0.2",
        "twelve_month_max_drawdown": "0.1",
        "calmar_ratio": "2",
        "months_of_data": "12",
    }
    book = Book.model_validate(GIVEN_BOOK | {"starter_metrics": "x.json"})
    for key in given if number not in ("true", '"1"') else []:
        figures = ", ".join(f'"{name}": {value}' for name, value in (given | {key: number}).items())
        (tmp_path / "x.json").write_text(f'{{"rsi2": {{{figures}}}}}')
        with pytest.raises(BookError, match=r"x\.json"):
            load_starter_metrics(book, tmp_path)
    root = tmp_path / "data"
    shares = root / "shares"
    shares.mkdir(parents=True)
    fixed = yaml.safe_load((DATA / "books" / "max_hybrid.yaml").read_text())
    fixed["method"]["folder"] = "shares"
    allocations = ", ".join(f'"{name}": {number}' for name in fixed["strategies"])
    (shares / "2020-01-01.json").write_text(
        f'{{"date": "2020-01-01", "provenance": "x", "allocations": {{{allocations}}}}}'
    )
    (tmp_path / "max_hybrid.yaml").write_text(yaml.safe_dump(fixed))
    with pytest.raises(BookError, match=r"2020-01-01\.json"):
        load_book(tmp_path / "max_hybrid.yaml", root=root)


# --------------------------------------------------------------------------- the code itself

FORBIDDEN_IMPORTS = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "subprocess",
    "pty",
    "code",
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint", "input"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "os.fork", "tempfile.mktemp"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("pd.read_pickle", "pd.eval", "np.load", "np.fromregex", "importlib.import_module"),
}
ALLOWED_IMPORTS = {
    ("cli/commands/ui.py", "subprocess"): "this Python with modules of Dagster, each a constant, and no shell",
}
ALLOWED_CALLS = {
    ("core/targets/optimise/skfolio_estimators.py", "importlib.import_module"): "parts of skfolio, each a constant",
}
FORBIDDEN_METHODS = {"to_pickle", "read_pickle", "to_sql", "read_sql", "extractall", "eval"}
ALLOWED_SQL = {
    ("store/duckdb_store.py", "_ensure_table", "column.type.value"): "a member of the enumeration Type",
    ("store/duckdb_store.py", "_rows", "kinds[n]"): "a member of the enumeration Type",
    ("store/duckdb_store.py", "_known", "kind"): "a member of the enumeration Type",
    ("store/duckdb_store.py", "_known", "condition"): "one of two constants",
    (
        "store/duckdb_store.py",
        "create_table",
        "kind",
    ): "a member of the enumeration Type, also where read from a manifest",
    ("store/duckdb_store.py", "_insert", "name"): "given by the two callers, who quote it",
    ("store/s3_store.py", "_fill", "name"): "given by the two callers, who quote it or name the manifest",
    ("store/queries.py", "sql", "statements[0].query"): "a person's own question, on a connection that can only answer",
    ("store/queries.py", "_in_force", "table"): "one of two constants",
}
"""What is put into SQL as it is, and why that is harmless; everything else is a constant or in quotes."""


@functools.cache
def nodes(*kinds: type[ast.AST]) -> list[tuple[str, ast.AST]]:
    """Nodes of some kinds in all modules of the package, and the module that each is in."""
    if kinds:
        return [(name, node) for name, node in nodes() if isinstance(node, kinds)]
    trees = {file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text("utf-8")) for file in PACKAGE.rglob("*.py")}
    return [(name, node) for name, tree in trees.items() for node in ast.walk(tree)]


def test_nothing_is_unpickled_evaluated_or_handed_to_a_shell():
    for name, node in nodes(ast.Import, ast.ImportFrom):
        imported = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
        bad = {each.split(".")[0] for each in imported} & FORBIDDEN_IMPORTS
        assert {(name, each) for each in bad} <= {*ALLOWED_IMPORTS}, f"{name}:{node.lineno}"
    for name, node in nodes(ast.Call):
        plain = isinstance(node.func, ast.Name | ast.Attribute)
        called = ast.unparse(node.func) if plain else ""
        bad = called in FORBIDDEN_CALLS or called.rpartition(".")[2] in FORBIDDEN_METHODS
        assert not bad or (name, called) in ALLOWED_CALLS, f"{name}:{node.lineno}: {called}"
        for keyword in node.keywords:
            off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            assert keyword.arg not in ("shell", "allow_pickle") or off, f"{name}:{node.lineno}"


def test_yaml_is_only_read_by_safe_loaders():
    loaded = [(name, node) for name, node in nodes(ast.Call) if ast.unparse(node.func) == "yaml.load"]
    assert [(name, ast.unparse(node.keywords[0].value)) for name, node in loaded] == [
        ("books/reading.py", "_UniqueKeyLoader")
    ]
    assert issubclass(reading._UniqueKeyLoader, yaml.constructor.SafeConstructor)


class Unquoted:
    """Parts of a function's SQL that are neither constants nor quoted identifiers."""

    def __init__(self, function: ast.AST) -> None:
        self.values: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            pairs: list[tuple[ast.expr, ast.expr]] = []
            if isinstance(node, ast.Assign):
                pairs = [(target, node.value) for target in node.targets]
            elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
                pairs = [(node.target, node.value)]
            for target, value in pairs:
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    pairs += zip(target.elts, value.elts, strict=True)
                elif isinstance(target, ast.Name):
                    self.values.setdefault(target.id, []).append(value)

    def of(self, node: ast.expr, seen: frozenset[str] = frozenset()) -> set[str]:
        match node:
            case ast.Constant():
                return set()
            case ast.JoinedStr() | ast.Tuple() | ast.List():
                parts = node.values if isinstance(node, ast.JoinedStr) else node.elts
                return set().union(*(self.of(part, seen) for part in parts))
            case ast.FormattedValue():
                return self.of(node.value, seen)
            case ast.IfExp():
                return self.of(node.body, seen) | self.of(node.orelse, seen)
            case ast.BinOp(op=ast.Add()):
                return self.of(node.left, seen) | self.of(node.right, seen)
            case ast.GeneratorExp() | ast.ListComp():
                return self.of(node.elt, seen)
            case ast.Call(func=ast.Name(id="quoted")):
                return set()
            case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id="quoted"), _]):
                return set()
            case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[joined]):
                return self.of(joined, seen)
            case ast.Name(id=name) if name.strip("_").isupper():
                return set()
            case ast.Name(id=name) if name in self.values and name not in seen:
                return set().union(*(self.of(value, seen | {name}) for value in self.values[name]))
        return {ast.unparse(node)}


def unquoted_sql(function: ast.AST) -> set[str]:
    """What reaches a database in a function and is neither constant nor quoted."""
    found = Unquoted(function)
    asked = [
        node.args[0]
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("execute", "executemany", "sql", "query")
        and node.args
    ]
    return set().union(*map(found.of, asked))


def test_sql_is_made_of_constants_and_quoted_identifiers_and_values_are_parameters():
    functions = nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    found = {(name, function.name, part) for name, function in functions for part in unquoted_sql(function)}
    assert found == set(ALLOWED_SQL)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("c.execute(f'SELECT * FROM {quoted(x)} WHERE a = ?', [x])", set()),
        ("q = f'SELECT {x}'\n    c.sql(q)", {"x"}),
        ("q = 'SELECT '\n    q += x\n    c.execute(q)", {"x"}),
        ("c.execute('SELECT ' + x)", {"x"}),
        ("c.execute('SELECT %s' % x)", {"'SELECT %s' % x"}),
        ("c.execute('SELECT {}'.format(x))", {"'SELECT {}'.format(x)"}),
        ("a, b = quoted(x), x\n    c.execute(f'{a} {b}')", {"x"}),
        ("c.execute(', '.join(f'{n} {x}' for n in map(quoted, y)))", {"n", "x"}),
    ],
)
def test_the_look_for_unquoted_sql_finds_it(statement, found):
    assert unquoted_sql(ast.parse(f"def f(c, x, y):\n    {statement}")) == found


def test_the_environment_is_read_at_the_edge_alone():
    reads = {name for name, node in nodes(ast.Attribute) if ast.unparse(node) in ("os.environ", "os.getenv")}
    # Resources look up whom to alert and the key that signs when they need them: settings hold no secrets.
    edges = {
        f"orchestration/{name}.py" for name in ("component", "definitions", "resources", "s3", "sensors", "webserver")
    }
    # So do addresses of databases that a ledger reads.
    edges |= {"ledger/sources/reading.py"}
    # So does whose signatures are accepted.
    edges |= {"orchestration/assets/report.py"}
    assert {name for name in reads if not name.startswith("cli/")} <= edges


# --------------------------------------------------------------------------- secrets

SECRET, PASSWORD, KEY_ID = "CANARY/secret+key//x", "CANARY@p%ss:w0rd", "AKIACANARY"
CANARY = "CANARY"


@pytest.fixture
def canaries(monkeypatch, caplog):
    """An environment full of secrets, and an endpoint with a password at which nobody answers."""
    caplog.set_level(logging.INFO)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    values = {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://user:{CANARY}@127.0.0.1:1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "WEIGHTS_PG_PASSWORD": PASSWORD,
        "WEIGHTS_DATA": str(DATA),
        "WEIGHTS_STORE": "s3://desk/weights",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    yield values
    assert CANARY not in caplog.text


def everything_said(error: BaseException) -> str:
    """What an error says by itself, with its causes, and in the event log of Dagster."""
    recorded = serializable_error_info_from_exc_info((type(error), error, error.__traceback__)).to_string()
    return "".join(traceback.format_exception(error)) + recorded + repr(error)


def test_a_store_out_of_reach_is_said_without_secrets(canaries):
    # One client for all: making one is what takes the time.
    objects = S3Objects("desk")
    for call in (lambda: objects.get("x"), lambda: objects.put("x", b"", {}), lambda: objects.replace("x", b"", None)):
        with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:1 cannot be reached") as failed:
            call()
        assert CANARY not in everything_said(failed.value)
    result = Result("show")
    assert result.exit_code == 1
    assert "cannot be reached" in result.errors
    assert CANARY not in result.output + result.errors


def test_a_refusal_by_the_server_is_said_without_secrets(canaries):
    objects = S3Objects("desk")
    for code in ("NoSuchBucket", "AccessDenied", "SignatureDoesNotMatch", "Unheard"):

        def refuse(*, code=code, **_):
            raise ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {}}, "GetObject")

        vars(objects)["client"] = SimpleNamespace(get_object=refuse)
        with pytest.raises(StoreError) as failed:
            objects.get("x")
        assert CANARY not in everything_said(failed.value)


@pytest.mark.parametrize("endpoint", [f"http://user:{CANARY}@127.0.0.1:1", f"http://{CANARY}:bad port", CANARY])
def test_live_weights_and_stores_at_an_endpoint_that_is_none_are_said_without_secrets(endpoint, canaries, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UnreachableError, match="s3") as failed:
        source("s3://desk/live").poll(BOOK, None)
    assert CANARY not in everything_said(failed.value)
    with pytest.raises(StoreError) as failed:
        S3Objects("desk").get("x")
    assert CANARY not in everything_said(failed.value)


MISPLACED = [
    f"s3://{KEY_ID}:{SECRET}@desk/weights",
    f"s3:/{KEY_ID}:{SECRET}@desk/weights",
    f"{KEY_ID}:{SECRET}@desk/weights",
    f"s3://desk/weights?X-Amz-Signature={SECRET}",
    f"s3://desk/weights#{SECRET}",
    f"s3://desk:{PASSWORD}\n@desk",
    f"dynamodb://{KEY_ID}:{SECRET}@table",
    f"https://user:{PASSWORD}@desk/x",
]


@pytest.mark.parametrize("place", MISPLACED)
def test_a_secret_in_the_place_of_a_place_is_refused_and_not_repeated(place):
    assert CANARY not in without_secrets(place)
    with pytest.raises(SettingsError, match=r"Credentials go into AWS_") as refused:
        Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_STORE": place})
    assert CANARY not in everything_said(refused.value)
    if "://" not in place:
        return
    with pytest.raises(ValueError, match="target: expected") as refused:
        sink(place)
    assert CANARY not in everything_said(refused.value)
    if "\n" not in place:
        with pytest.raises(SettingsError, match=r"WEIGHTS_LIVE.*Credentials go into AWS_") as refused:
            Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_LIVE": f"/live {place}"})
        assert CANARY not in everything_said(refused.value)


def test_places_without_a_secret_are_shown_as_they_are():
    places = (
        "/srv/live",
        "/srv/a@b/live",
        "s3://desk/live",
        "s3://desk/live?encryption=aws:kms:alias/x",
        "dynamodb://t",
    )
    found = Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_LIVE": " ".join(places)})
    assert found.live == places
    assert [without_secrets(place) for place in places if "a@b" not in place] == [p for p in places if "a@b" not in p]


def test_nothing_that_is_shown_holds_a_secret(canaries):
    settings = Settings.from_environment(os.environ)
    objects = S3Objects("desk")
    shown = [settings, objects, S3Store("desk", "weights"), sink("s3://desk/live"), vars(sink("s3://desk/live"))]
    assert CANARY not in " ".join(map(repr, shown))
    for change in (
        {"WEIGHTS_STAGE": "x"},
        {"WEIGHTS_S3_SSE": "x"},
        {"WEIGHTS_LOCK_TIMEOUT": "x"},
        {"WEIGHTS_DATA": "/no"},
    ):
        with pytest.raises(SettingsError) as refused:
            Settings.from_environment(dict(os.environ) | change)
        assert CANARY not in everything_said(refused.value)


# --------------------------------------------------------------------------- the network

LISTENS = {
    "weights_pipeline/cli/commands/ui.py": r'"--host", default="127\.0\.0\.1"',
    "deploy/start": r"WEIGHTS_UI_HOST=\$\{WEIGHTS_UI_HOST:-127\.0\.0\.1\}",
    "deploy/environment.example": r"(?m)^#WEIGHTS_UI_HOST=127\.0\.0\.1$",
    "deploy/workspace.yaml": r"host: 127\.0\.0\.1\b",
    "docs/deploy.md": r"webserver \|.*\| 127\.0\.0\.1:3000 \|",
}


@pytest.mark.parametrize("file", LISTENS)
def test_the_user_interface_listens_on_loopback(file):
    assert re.search(LISTENS[file], (ROOT / file).read_text())


def test_everything_that_is_started_says_where_it_listens_and_nothing_listens_everywhere():
    files = ["Makefile", "deploy/start", "README.md", "docs/deploy.md", "workspace.yaml", "deploy/workspace.yaml"]
    for name in files:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if re.search(r"\b(dagster dev|dagster api grpc|orchestration.webserver)", line):
                assert re.search(r"-h (127\.0\.0\.1|\"\$WEIGHTS_UI_HOST\")", line), f"{name}: {line}"
        assert not re.search(r"0\.0\.0\.0|(-h|--host)[ =](::|\*)|\[::\]", text), name


# --------------------------------------------------------------------------- what others have written


def declared() -> list[Requirement]:
    """What the package needs at run time, on one machine and beyond, and what a book may ask for besides."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    of_extras = [
        line for name in ("report", "alerts", "aws", "deploy", "dask", "skfolio", "pdf") for line in extras[name]
    ]
    needed = [Requirement(line) for line in [*project["dependencies"], *of_extras]]
    return [each for each in needed if each.name != project["name"]]


def test_every_package_that_is_needed_at_run_time_is_listed_with_its_versions_and_licence():
    lines = (ROOT / "docs" / "licences.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    listed = {row[0]: (SpecifierSet(row[1]), row[2]) for row in rows if len(row) == 3 and re.match("[<>=~]", row[1])}
    assert {name: versions for name, (versions, _) in listed.items()} == {r.name: r.specifier for r in declared()}
    assert all(licence for _, licence in listed.values())
    # Of all licences the one that asks most is not to be overlooked.
    assert any(line.startswith("| psycopg2-binary | LGPL") and "Lesser GPL" in line for line in lines)
    assert not any(re.search(r"(?<!L)GPL", licence) for _, licence in listed.values())


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ({"pypi": ["ok", "ok"]}, 0, "2 packages, no known vulnerabilities (asked pypi.org)"),
        ({"pypi": ["skipped", "ok"], "osv": ["ok", "ok"]}, 0, "no known vulnerabilities (asked api.osv.dev)"),
        ({"pypi": ["skipped", "skipped"], "osv": []}, 2, "NOT DONE"),
        ({"pypi": ["skipped", "ok"], "osv": ["skipped", "ok"]}, 2, "does not know 1 of 2 packages"),
        ({"pypi": [], "osv": []}, 2, "NOT DONE"),
        ({"pypi": ["bad", "skipped"]}, 1, "p0 1.0: CVE-1 (GHSA-1), fixed in 1.1"),
        ({"pypi": [], "osv": ["ok", "bad"]}, 1, "1 of 2 packages have known vulnerabilities"),
    ],
)
def test_an_audit_that_could_not_ask_is_no_clean_one(answers, code, said, monkeypatch, capsys):
    audit = runpy.run_path(str(ROOT / ".ci" / "audit.py"))
    flaw = {"id": "CVE-1", "aliases": ["GHSA-1"], "fix_versions": ["1.1"]}
    kinds = {"ok": {"vulns": []}, "skipped": {"skip_reason": "not found"}, "bad": {"vulns": [flaw]}}

    def ask(service, _):
        found = [{"name": f"p{n}", "version": "1.0"} | kinds[kind] for n, kind in enumerate(answers[service])]
        return found, "" if found else "could not be asked"

    monkeypatch.setitem(audit["main"].__globals__, "ask", ask)
    assert audit["main"]() == code
    assert said in capsys.readouterr().out


def test_an_audit_asks_about_every_pin_of_every_platform():
    pins = (ROOT / "constraints.txt").read_text()
    rounds = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["rounds"](pins)
    asked = sorted(pin for part in rounds for pin in part)
    assert asked == sorted(line.partition(";")[0].strip() for line in pins.splitlines() if "==" in line)
    assert all(len(part) == len({pin.partition("==")[0] for pin in part}) for part in rounds)
