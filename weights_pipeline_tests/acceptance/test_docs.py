"""The documentation does what it says: every command, block of code, file and link of its pages is tried.

A block of ``text`` is what the block before it has printed; an ellipsis in it stands for anything. A block that names a
file is that file. Commands work on a copy of the small finished history, and ``SMALL`` says what a command on the full
sample, or one with a placeholder, is there. What cannot be run in a test is in ``ELSEWHERE``, word for word; anything
else fails.
"""

import ast
import configparser
import contextlib
import csv
import datetime as dt
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
import yaml

from benchmarks.support.data import DATA
from weights_pipeline.books.comparisons import Comparison
from weights_pipeline.books.load import load_book
from weights_pipeline.cli.app import _parser, main
from weights_pipeline.core.allocator.regime import REGIMES, SIGNALS
from weights_pipeline.core.allocator.scalar import PROFILES
from weights_pipeline.core.allocator.state import OPTIONAL, REQUIRED
from weights_pipeline.core.metrics.measures import METRICS, REASONS
from weights_pipeline.core.metrics.table import SOURCES
from weights_pipeline.core.returns import lots as lot_rules
from weights_pipeline.core.returns.findings import FINDINGS
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.core.targets.rules import Rule
from weights_pipeline.ledger import load_ledger_source
from weights_pipeline.ledger import sources as queries
from weights_pipeline.ledger.intake import read_ledger
from weights_pipeline.ledger.vocabulary import Reading
from weights_pipeline.orchestration import component

ROOT = DATA.parent
PACKAGE = ROOT / "weights_pipeline"
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
LEDGER_PAGE, METHOD_PAGE = "docs/bring_your_own_ledger.md", "docs/write_your_own_method.md"
HAND_PAGE, GLOSSARY = "docs/how_a_weight_comes_to_be.md", PAGES["docs/glossary.md"]
WRONG_PAGE, FOREIGN_PAGE = "docs/when_is_my_ledger_wrong.md", "docs/brokers_and_databases.md"
OWN_FOLDER = (LEDGER_PAGE, METHOD_PAGE, WRONG_PAGE, FOREIGN_PAGE)
TESTS_OF_METHODS = (
    "__init__.py",
    "support/__init__.py",
    "support/examples.py",
    "support/method_cases.py",
    "unit/__init__.py",
    "unit/core/__init__.py",
    "unit/core/targets/__init__.py",
    "unit/core/targets/test_methods.py",
    "unit/core/targets/test_limits_and_targets.py",
)

RUN = "weights run --book desk_book --from 2024-01 --to 2024-03"
REBALANCE = "weights rebalance --book calmar_core --reason 'late fills'"
SMALL = {
    # A Dagster run takes seconds: all of a range are the one on the page about ledgers.
    "weights run --book desk_book": RUN,
    "weights run --book calmar_core --from 2020-01 --to 2020-06": RUN,
    "weights run --book calmar_core --from 2020-03": RUN,
    "weights run --book calmar_core": RUN,
    "weights run --book calmar_core --from 2020-03 --policy stored": RUN,
    "weights run --book calmar_core --from 2020-03 --policy today": RUN,
    "weights rebalance --book B --reason TEXT": REBALANCE,
    "weights rebalance --book calmar_core --reason TEXT": REBALANCE,
    "weights rebalance --book B --dry-run": "weights rebalance --book calmar_core --dry-run",
    "weights books returns calmar_core sharpe_weekly --output data/desk_books/returns.csv": (
        "weights books returns calmar_core --output data/desk_books/returns.csv"
    ),
    "weights books validate FILE": "weights books validate data/books/calmar_core.yaml",
    "weights simulate --book FILE --returns FILE": (
        "weights simulate --book data/books/calmar_core.yaml --returns r.csv"
    ),
    "weights allocations validate": "weights allocations validate --book max_hybrid",
    "weights allocations validate --book max_hybrid FILE": "weights allocations validate --book max_hybrid next.json",
    "weights allocations update --book max_hybrid FILE": "weights allocations update --book max_hybrid next.json",
    "weights allocator tune --book calmar_core": (
        "weights allocator tune --book calmar_core --train 120 --test 60 --grid dd_enter=-0.1,-0.08"
    ),
    "weights init --book B": "weights init --book sharpe_weekly",
    "weights history --book B": "weights history --book calmar_core",
    "weights diff 12 13 --book B": "weights diff 12 13 --book calmar_core",
    "weights reproduce 12 --book B": "weights reproduce 12 --book calmar_core",
    'weights sql "SELECT …"': 'weights sql "SELECT count(*) FROM calmar_core.final_weights"',
    "weights new book NAME": "weights new --help",
    # It serves until somebody ends it; a browser looks at it elsewhere.
    "weights ui": "weights ui --help",
    # It makes the whole history of the sample.
    "weights demo": "weights demo --help",
}
"""Commands of the pages, as they are run on the small history."""

EXITS = {
    # What the small history published was in force years ago.
    "weights decide --book calmar_core --strategy rsi2 --equity 1000000 --action enter": {4},
    # It examines the machine that the test runs on.
    "weights doctor": {0, 1},
}
"""Exit codes of commands that may say no."""

ELSEWHERE = {
    "source .venv/bin/activate",
    "uv run --no-project --with bt==1.4.1 python benchmarks/peers.py bt",
    "dask scheduler --host 10.0.0.5",
    "dask worker tcp://10.0.0.5:8786 --nthreads 1",
    "export WEIGHTS_ENGINE=tcp://10.0.0.5:8786",
    "python3 -m venv .venv",
    "pip install --upgrade weights-pipeline",
    "pip install 'weights-pipeline[report]'",
    ".venv/bin/pip install -c constraints.txt -e '.[deploy]'",
    "sudo install -D -m 600 -o weights deploy/environment.example /etc/weights/environment",
    "set -a; . /etc/weights/environment; set +a",
    "deploy/start",
    "systemctl stop weights",
    "systemctl start weights",
    "systemctl restart weights",
    "systemctl enable --now weights",
    "git pull && .venv/bin/pip install -c constraints.txt -e '.[deploy]'",
    "cp deploy/dagster.yaml .home/$WEIGHTS_STAGE/",
    "PGPASSWORD=$WEIGHTS_PG_PASSWORD pg_dump -Fc -h $WEIGHTS_PG_HOST -p $WEIGHTS_PG_PORT -U $WEIGHTS_PG_USER "
    "-f before.dump $WEIGHTS_PG_DB",
    "DAGSTER_HOME=$PWD/.home/$WEIGHTS_STAGE .venv/bin/dagster schedule start --start-all -w deploy/workspace.yaml",
    "DAGSTER_HOME=$PWD/.home/$WEIGHTS_STAGE .venv/bin/dagster instance migrate",
}
"""Lines that need a machine of their own: services, a package index, users. Their syntax and files are checked."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file it is, if any, what is in it, and what stands after it."""

    language: str
    file: str
    content: str
    printed: str | None


def blocks(page: str) -> list[Block]:
    found = list(re.finditer(r"(?ms)^```(\w*)(?: (\S+))?\n(.*?)^```$", PAGES[page]))
    following = [*found[1:], None][: len(found)]
    return [
        Block(
            language=block[1],
            file=block[2] or "",
            content=block[3],
            printed=after[3]
            if after and after[1] == "text" and not PAGES[page][block.end() : after.start()].strip()
            else None,
        )
        for block, after in zip(found, following, strict=True)
    ]


def prose(page: str) -> str:
    return re.sub(r"(?ms)^```.*?^```$", "", PAGES[page])


def lines_of(content: str) -> list[str]:
    """Commands of a shell block: continued lines in one, comments taken off."""
    joined = re.sub(r"\\\n\s*", "", content)
    plain = (re.sub(r"(^|\s+)#\s.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in plain if line]


def in_tables(page: str) -> list[str]:
    rows = [line for line in prose(page).splitlines() if line.startswith("|")]
    return [code for row in rows for code in re.findall(r"`((?:weights|make) [^`]+)`", row)]


def in_sentences(page: str) -> list[str]:
    sentences = "\n".join(line for line in prose(page).splitlines() if not line.startswith("|"))
    return [" ".join(code.split()) for code in re.findall(r"`((?:weights|make) [^`]+)`", sentences)]


def matches(expected: str, found: str) -> bool:
    def tidy(text: str) -> str:
        return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())

    pattern = re.escape(tidy(expected)).replace(re.escape("…\n"), "…\n")
    pattern = re.sub(r"(?m)^…$\n?", "(?s:.*)", pattern).replace("…", ".*")
    return re.fullmatch(pattern, tidy(found)) is not None


def call(line: str) -> tuple[int, str, str]:
    """Run one command of the command line in this process; exit code, output and errors."""
    arguments = shlex.split(line)[1:]
    target = arguments[arguments.index(">") + 1] if ">" in arguments else None
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main(arguments[: arguments.index(">")] if target else arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    if target:
        Path(target).write_text(output.getvalue(), encoding="utf-8")
    return code, output.getvalue(), errors.getvalue()


def made(target: str) -> None:
    """Whether make knows a target and what it would do; it does nothing."""
    words = shlex.split(target)[1:]
    assert re.search(rf"(?m)^{re.escape(words[0])}:", (ROOT / "Makefile").read_text()), target
    subprocess.run(["make", "-n", "-C", str(ROOT), *words], check=True, capture_output=True)


class Desk:
    """A folder with the small history, all books of the sample, and what commands of the pages read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: dict[str, str] = {}

    def run(self, line: str, printed: str | None = None) -> None:
        """Run a line of a page; one that was run before is not run again for its own sake."""
        if line in ELSEWHERE:
            return
        line = line.removeprefix(".venv/bin/")
        if line.startswith("make "):
            made(line)
            return
        assert line.startswith("weights "), f"no way to run {line!r}"
        command = SMALL.get(line, line)
        if command == RUN or (command in self.done and printed is None):
            return
        code, output, errors = call(command)
        assert code in EXITS.get(line, {0}), f"{line}: exit {code}\n{output}{errors}"
        assert printed is None or matches(printed, output), f"{line} has printed\n{output}"
        self.done[command] = output


@pytest.fixture(scope="module")
def desk_of_pages(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(finished.settings.data, folder / "data")
    for book in (DATA / "books").glob("*.yaml"):
        shutil.copy(book, folder / "data" / "books")
    shutil.copytree(finished.settings.home, folder / ".home")
    shutil.copy(ROOT / "dagster.yaml", folder)
    first = min((DATA / "sample" / "allocations" / "max_hybrid").glob("*.json"))
    decision = json.loads(first.read_text()) | {"date": "2015-06-30", "provenance": "The first one once more."}
    (folder / "next.json").write_text(json.dumps(decision))
    (folder / "costs.yaml").write_text("fee: 0.001\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WEIGHTS_")]:
            patch.delenv(name)
        patch.setenv("DAGSTER_HOME", str(folder / ".home"))
        # Runs are real, their records are not kept.
        patch.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)
        patch.chdir(folder)
        returns = "SELECT * FROM sample_ledger.strategy_returns"
        assert call(f'weights sql --csv --limit 1000000 "{returns}" > r.csv')[0] == 0
        yield Desk(folder)


@pytest.fixture
def desk(desk_of_pages, monkeypatch):
    monkeypatch.chdir(desk_of_pages.folder)
    return desk_of_pages


# --------------------------------------------------------------------------- commands and code


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OWN_FOLDER])
def test_every_command_and_every_line_of_code_of_a_page_works(page, desk):
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.language == "sh":
            *others, last = lines_of(block.content)
            for line in others:
                desk.run(line)
            desk.run(last, block.printed)
        elif block.language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(block.content, page, "exec"), names)
            assert block.printed is None or matches(block.printed, output.getvalue()), output.getvalue()
    for line in in_tables(page):
        desk.run(line)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_exist_with_their_options(page):
    for line in in_sentences(page):
        if line.startswith("make "):
            made(line)
            continue
        parser, (_, *words) = _parser(), shlex.split(line)
        while words and (subparsers := parser._subparsers) is not None:
            choices = subparsers._group_actions[0].choices
            if words[0] not in choices:
                break
            parser = choices[words.pop(0)]
        assert parser.prog != "weights", f"{page}: there is no command {line!r}"
        options = {word for word in words if word.startswith("--")}
        assert options <= set(parser._option_string_actions), f"{page}: {line!r} has other options"


def test_what_is_run_elsewhere_is_on_a_page_and_names_files_that_are_there():
    on_pages = {
        line for page in PAGES for block in blocks(page) if block.language == "sh" for line in lines_of(block.content)
    }
    on_pages |= {code for page in PAGES for code in re.findall(r"`([^`\n]+)`", prose(page))}
    assert on_pages >= ELSEWHERE
    for line in ELSEWHERE:
        subprocess.run(["bash", "-nc", line], check=True)
        for file in re.findall(r"(?<![\w/$])(?:deploy/[\w.]+|constraints\.txt)", line):
            assert (ROOT / file).exists(), file
    from dagster._cli import create_dagster_cli

    dagster = create_dagster_cli()
    start = dagster.commands["schedule"].commands["start"]
    assert {"--start-all", "-w"} <= {name for option in start.params for name in option.opts}
    assert "migrate" in dagster.commands["instance"].commands


def test_the_command_line_is_on_its_page_command_by_command():
    choices = _parser()._subparsers._group_actions[0].choices
    told = {code.split()[1] for code in in_tables("docs/commands.md") if code.startswith("weights ")}
    assert told == set(choices)


# --------------------------------------------------------------------------- pages that bring files


FAULTS = {
    "rename a column": ("data/desk/lots.csv", lambda text: text.replace("quantity", "qty", 1)),
    "save with semicolons": ("data/desk/lots.csv", lambda text: text.replace(",", ";")),
    "save in another encoding": ("data/desk/lots.csv", lambda text: text + "11,café,SPY,long,1,,,,,\n"),
    "move the file": ("data/ledgers/desk.yaml", lambda text: text),
    "save as a workbook": ("data/ledgers/desk.yaml", lambda text: text.replace("lots.csv", "lots.xlsx")),
    "leave a strategy out of the capital file": ("data/desk/capital.csv", lambda text: text.replace("fade,", "x,")),
    "let base weights miss gross": ("data/books/desk_book.yaml", lambda text: text.replace("carry: 0.6", "carry: 0.7")),
    "misspell a key of a book": ("data/books/desk_book.yaml", lambda text: text.replace("limits:", "limit:")),
    "misspell the zone": ("data/ledgers/desk.yaml", lambda text: text.replace("America/New_York", "EST5")),
}


@pytest.fixture
def own_ledger(tmp_path, monkeypatch):
    """The page about a ledger of one's own, followed to its end in a folder of its own."""
    for name in [name for name in os.environ if name.startswith("WEIGHTS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "my_desk" / ".home"))
    monkeypatch.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)
    for block in blocks(LEDGER_PAGE):
        if block.file:
            Path(block.file).write_text(block.content, encoding="utf-8")
        if block.language != "sh":
            continue
        for line in lines_of(block.content):
            if line.startswith("cd "):
                monkeypatch.chdir(line.removeprefix("cd "))
            elif line.startswith(("mkdir ", "cp ")):
                subprocess.run(shlex.split(line.replace("PROJECT", str(ROOT))), check=True)
            else:
                code, output, errors = call(SMALL.get(line, line))
                assert code == 0, f"{line}\n{output}{errors}"
        assert block.printed is None or matches(block.printed, output), f"{line} has printed\n{output}"
    return Path.cwd()


def test_a_ledger_of_ones_own_becomes_weights_as_the_page_says_and_its_errors_say_what_it_says(own_ledger):
    names = (("desk_fills", 3), ("desk_returns", 5), ("desk_record", 11), ("desk_custom", 5), ("desk_broker", 2))
    for name, accepted in names:
        source = load_ledger_source(own_ledger / "data" / "ledgers" / f"{name}.yaml")
        horizon = dt.date(2024, 1, 4) if name == "desk_custom" else dt.date(2024, 3, 31)
        intake = read_ledger(source, own_ledger / "data", horizon=horizon)
        assert intake.rejected.empty
        assert intake.files["accepted"].sum() == accepted
        if name == "desk_broker":
            assert intake.lots["pnl"].round(9).tolist() == [89.0]
            assert not intake.findings
        elif name == "desk_fills":
            assert intake.lots["quantity"].tolist() == [60.0, 40.0]
            left = intake.holdings[intake.holdings["until"].isna()]
            assert left[["side", "quantity"]].to_numpy().tolist() == [["short", 20.0]]
        else:
            assert len(intake.returns) == accepted
    told = [re.split(r"(?<!\\)\|", line)[1:3] for line in PAGES[LEDGER_PAGE].splitlines() if line.startswith("| ")]
    messages = {did.strip(): re.findall(r"`([^`]+)`", said) for did, said in told if did.strip() in FAULTS}
    assert messages.keys() == FAULTS.keys()
    for did, (name, fault) in FAULTS.items():
        file, lots = own_ledger / name, own_ledger / "data" / "desk" / "lots.csv"
        text = file.read_text()
        file.write_text(fault(text), encoding="latin-1")
        if did in ("move the file", "save as a workbook"):
            lots.rename(lots.with_suffix(".xlsx" if "workbook" in did else ".old"))
        code, _, errors = call("weights restate")
        assert code in (1, 2), did
        for part in messages[did]:
            assert part in errors, f"{did}: {errors}"
        for moved in lots.parent.glob("lots.[xo]l*"):
            moved.rename(lots)
        file.write_text(text)
    assert call("weights restate")[0] == 0


def test_every_reason_to_reject_a_row_is_on_the_page_about_ledgers():
    codes = set(re.findall(r"(?m)^``(\w+?)_?(?:<column>)?``", lot_rules.__doc__))
    page = set(re.findall(r"`(\w+?)(?:_COLUMN)?`", PAGES[LEDGER_PAGE]))
    assert len(codes) > 15
    assert codes <= page


REFUSED = {
    "has costs as negative numbers": "strategy,symbol,ts,amount,price,fees\nm,A,2024-03-04,1,10,-1\n",
    "has a column `Currency`": "strategy,symbol,ts,amount,price,Currency\nm,A,2024-03-04,1,10,USD\n",
    "has amounts in several currencies": "strategy,symbol,ts,amount,price,currency\n"
    "m,A,2024-03-04,1,10,USD\nm,B,2024-03-04,1,10,EUR\n",
    "begins with a sentence": "Trades of 2024\nstrategy,symbol,ts,amount,price\nm,A,2024-03-04,1,10\n",
    "is named twice, and shares out no rows": "strategy,symbol,ts,amount,price,kind\nm,A,2024-03-04,1,10,fee\n",
}
"""Files that the page on wrong ledgers says are refused."""


def test_everything_that_is_found_in_a_ledger_is_found_in_the_example_of_its_page(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for folder in ("ledgers", "desk"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    found, told = set(), blocks(WRONG_PAGE)
    for block in told:
        if block.file:
            Path(block.file).write_text(block.content, encoding="utf-8")
        elif block.printed is not None:
            code, output, errors = call(*lines_of(block.content))
            assert matches(block.printed, output), f"{output}{errors}"
            assert code == ("ERROR " in output), output
            found |= set(re.findall(r"(?m)^(?:ERROR|WARN|INFO) (\w+)", output))
    assert found >= set(FINDINGS)
    assert set(re.findall(r"`(\w+)`", PAGES[WRONG_PAGE])) >= set(FINDINGS)
    rows = [line.split("|")[1:3] for line in PAGES[WRONG_PAGE].splitlines() if line.startswith("| ")]
    messages = {file.strip(): re.findall(r"`([^`]+)`", said) for file, said in rows}
    ledger = tmp_path / "data" / "ledgers" / "desk.yaml"
    ledger.write_text(next(block.content for block in told if block.file.endswith("desk.yaml")))
    for file, text in REFUSED.items():
        (tmp_path / "data" / "desk" / "fills.csv").write_text(text)
        if "twice" in file:
            ledger.write_text(ledger.read_text() + "cash: [desk/fills.csv]\nignore: [kind]\n")
        code, _, errors = call("weights ledger check desk")
        assert code == 2
        assert all(part in errors for part in messages[file]), errors


def test_a_brokers_export_is_read_as_its_page_says_and_every_setting_is_on_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for folder in ("ledgers/importers", "desk"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for block in blocks(FOREIGN_PAGE):
        if block.file:
            Path(block.file).write_text(block.content, encoding="utf-8")
        if block.language == "sh":
            # The page ends with ledgers that lead elsewhere: only commands before them are run.
            code, output, errors = call(*lines_of(block.content))
            assert matches(block.printed, output), f"{output}{errors}"
            assert code == (2 if "none of them is applied" in output else "ERROR " in output), output
    for file in Path("data/ledgers").glob("*.yaml"):
        assert load_ledger_source(file).name == file.stem
    desk = Path("data/ledgers/desk.yaml")
    desk.write_text(desk.read_text().replace("{column: OrderReference}", "{table: desk/strategies.csv}"))
    assert call("weights ledger check desk")[0] == 0
    desk.write_text(desk.read_text().replace("ibkr_flex_trades", "back_office"))
    assert load_ledger_source(desk).fills[0].delimiter == ";"
    settings = [name for name in Reading.model_fields if f"`{name}`" not in PAGES[FOREIGN_PAGE]]
    assert settings == []
    assert [kind for kind in queries.SOURCES if f"`{kind}`" not in PAGES[FOREIGN_PAGE]] == []


def patched(folder: Path, block: Block) -> None:
    """Change a file as a block of differences says; what it replaces is there exactly once."""
    file, lines = folder / block.file, block.content.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = file.read_text()
    assert text.count(before) == 1, f"{block.file}: {before}"
    file.write_text(text.replace(before, after))


def test_a_method_of_ones_own_is_one_file_and_one_entry(desk, tmp_path):
    folder = tmp_path / "project"
    nothing = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "weights_pipeline", ignore=nothing)
    for name in TESTS_OF_METHODS:
        file = folder / "weights_pipeline_tests" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "weights_pipeline_tests" / name, file)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "data" / "books").mkdir(parents=True)
    shutil.copytree(DATA / "ledgers", folder / "data" / "ledgers")
    commands = []
    for block in blocks(METHOD_PAGE):
        if block.language == "diff":
            patched(folder, block)
        elif block.file:
            (folder / block.file).write_text(block.content, encoding="utf-8")
        elif block.language == "sh":
            commands += [shlex.split(line) for line in lines_of(block.content)]
    script = """
import contextlib, json, sys
import pytest
import weights_pipeline
from weights_pipeline.cli import main
for name, *arguments in json.loads(sys.argv[1]):
    target = arguments[arguments.index(">") + 1] if ">" in arguments else None
    if name == "pytest":
        code = int(pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", *arguments]))
    else:
        with contextlib.ExitStack() as files:
            if target:
                stream = files.enter_context(open(target, "w"))
                files.enter_context(contextlib.redirect_stdout(stream))
                arguments = arguments[: arguments.index(">")]
            try:
                main(arguments)
            except SystemExit as end:
                code = end.code or 0
    print("exit", code, name, *arguments[:3])
print("package", weights_pipeline.__file__)
"""
    assert {name for name, *_ in commands} == {"weights", "pytest"}
    environment = os.environ | {"PYTHONPATH": str(folder), "WEIGHTS_HOME": str(desk.folder / ".home")}
    ran = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines()[-1] == f"package {folder / 'weights_pipeline' / '__init__.py'}", ran.stderr
    codes = re.findall(r"(?m)^exit (\d+) (.*)$", ran.stdout)
    assert [code for code, _ in codes] == ["0"] * len(commands), ran.stdout + ran.stderr
    assert re.search(r"(?m)^Method +rank_tilt: Rank tilt on a metric of choice", ran.stdout), ran.stdout
    assert re.search(r"(?m)^\d+ passed", ran.stdout)
    assert re.search(r"(?m)^exposure +\d", ran.stdout)


# --------------------------------------------------------------------------- what stands on the pages


def test_every_block_is_of_a_language_that_is_tried():
    for page in PAGES:
        found = blocks(page)
        for before, block in pairwise([Block("", "", "", None), *found]):
            assert block.language in {"sh", "text", "python", "yaml", "csv", "diff", "ini", "nginx", "tree"}, page
            if block.language == "text":
                assert before.language in {"sh", "python"}, f"{page}: nothing prints {block.content}"
            if block.file:
                assert page in OWN_FOLDER, f"{page}: nothing puts {block.file} there"
            if block.language == "csv" and "broker" not in block.file:
                # A broker's export has lines above its header.
                assert len({len(row) for row in csv.reader(io.StringIO(block.content))}) == 1
            if block.language == "ini":
                configparser.RawConfigParser(strict=True).read_string(block.content)
            if block.language == "nginx":
                assert block.content.count("{") == block.content.count("}")
            if block.language == "python":
                ast.parse(block.content)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OWN_FOLDER])
def test_settings_in_yaml_are_those_of_a_book_a_ledger_or_the_component(page, tmp_path):
    for number, block in enumerate(blocks(page)):
        if block.language == "yaml":
            content = yaml.safe_load(block.content)
            if "type" in content:
                assert content["type"] == "weights_pipeline.Desk"
                assert {*content["attributes"]} <= {*component.Desk.model_fields}
                continue
            if "drift" in content:
                compared = yaml.safe_load((DATA / "comparisons" / "methods.yaml").read_text())
                del compared["fee"]
                assert Comparison.model_validate(compared | content).charged.by_strategy
                continue
            if "first_month" in content:
                ledger = tmp_path / f"{content['name']}.yaml"
                ledger.write_text(block.content)
                load_ledger_source(ledger)
                continue
            own = tmp_path / f"{number}.yaml"
            own.write_text(block.content)
            load_book(DATA / "books" / "calmar_core.yaml", overrides={"calmar_core": own})


def slugs(page: str) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.*)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in slugs(file.relative_to(ROOT).as_posix()), f"{page}: {target}"


def test_every_page_is_in_the_index_of_the_readme():
    linked = set(re.findall(r"\]\((docs/\w+\.(?:md|ipynb))\)", PAGES["README.md"]))
    assert linked == {*PAGES, "docs/tutorial.ipynb"} - {"README.md"}


def test_the_glossary_has_every_metric_reason_note_and_feature():
    notes = [rule.note for rule in Rule]
    words = [*METRICS, *REASONS[1:], *notes, *SOURCES, *REGIMES, *SIGNALS, *REQUIRED, *OPTIONAL, *PROFILES]
    assert [word for word in words if f"`{word}`" not in GLOSSARY] == []


def test_the_glossary_has_the_numbers_of_the_code():
    for profile in PROFILES.values():
        numbers = ", ".join(f"{profile.map[regime]:.2f}" for regime in REGIMES)
        assert f"{numbers}, α {profile.alpha:.2f}, floor {profile.floor:.2f}" in " ".join(GLOSSARY.split())


def test_every_method_is_on_the_page_about_books():
    kinds = {method.__dataclass_fields__["kind"].default for method in METHODS}
    assert {kind for kind in kinds if f"`{kind}`" not in PAGES["docs/books.md"]} == set()


def test_the_numbers_told_in_the_worked_example_are_those_it_computes():
    computed = " ".join(block.content for block in blocks(HAND_PAGE))
    numbers = re.findall(r"\d+\.\d{4,}", prose(HAND_PAGE))
    assert len(numbers) > 20
    own = {"1.08864", "1.0993", "1.0752", "0.4752", "0.0930", "0.0993"}
    assert {number for number in numbers if number not in computed} <= own
    wealth = 1.05 * 0.96 * 1.08
    tilted = 0.3 * 1.5839
    assert own == {
        f"{wealth:.5f}",
        f"{wealth * 1.02 * 0.99:.4f}",
        f"{wealth * 1.02 * 0.99 - 1:.4f}",
        f"{tilted:.4f}",
        f"{tilted + 0.6:.4f}",
        f"{0.1 / (tilted + 0.6):.4f}",
    }
