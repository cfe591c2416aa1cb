"""Completion, by the shell itself where it is installed: what it offers, and that it loads nothing heavy for it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from weights_pipeline_tests.support.commands import Result, loaded_by

BASH = shutil.which("bash")

ASK = """
eval "$2"
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
function=$(complete -p weights | sed -n 's/.* -F \\([^ ]*\\) .*/\\1/p')
IFS=' ' read -ra COMP_WORDS <<< "$1"
[[ $1 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
$function weights
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def desk(tmp_path):
    """A folder with a desk, and the command where a shell finds it."""
    for name in ("books/alpha", "books/alto", "ledgers/prime"):
        file = tmp_path / "data" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("nothing is read of it")
    (tmp_path / "prices.csv").touch()
    command = tmp_path / "bin" / "weights"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom weights_pipeline.cli import main\nmain()\n")
    command.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("weights sh", ["show"]),
        ("weights re", ["rebalance", "report", "reproduce", "restate"]),
        ("weights ledger ", ["check", "importers", "schema"]),
        ("weights show --b", ["--book"]),
        ("weights show --book ", ["alpha", "alto"]),
        ("weights explain --strategy rsi2 --book alt", ["alto"]),
        ("weights ledger check pr", ["prices.csv", "prime"]),
        ("weights completion ", ["bash", "fish", "zsh"]),
        ("weights nonsense --b", []),
    ],
)
def test_bash_completes(desk, line, offered):
    path = f"{desk / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHTS_")}
    asked = subprocess.run(
        [str(BASH), "--norc", "-c", ASK, "bash", line, Result("completion", "bash").output],
        cwd=desk,
        env=environment | {"PATH": path, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.stderr == ""
    found = sorted(word.strip() for word in asked.stdout.splitlines() if word.strip())
    assert [word for word in found if word not in ("-h", "--help", "--json")] == offered


@pytest.mark.parametrize(
    ("shell", "line"), [("bash", "complete "), ("zsh", "compdef"), ("fish", "complete --command weights")]
)
def test_each_shell_gets_its_own(shell, line):
    result = Result("completion", shell)
    assert result.exit_code == 0
    assert line in result.output
    assert json.loads(Result("completion", shell, "--json").output) == {"shell": shell, "script": result.output}
    assert Result("completion", "cmd").exit_code == 2


def test_an_answer_loads_nothing_heavy():
    statement = (
        "import os\nos.environ |= {'COMP_LINE': 'weights run --b', 'COMP_POINT': '15', '_ARGCOMPLETE': '1'}\n"
        "import argcomplete\nargcomplete.autocomplete = lambda parser: None\n"
        "from weights_pipeline.cli import app\nfrom weights_pipeline.cli.commands.completion import answer\n"
        "answer(app._parser)"
    )
    assert not loaded_by(statement)[0] & {"dagster", "duckdb", "numpy", "pandas", "pydantic", "yaml"}
