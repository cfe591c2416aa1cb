"""Help: every command in a group, in lines that fit, and with a use that works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from weights_pipeline.cli import app, render
from weights_pipeline_tests.support.commands import Result


def choices():
    return app._parser()._subparsers._group_actions[0].choices


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_help_lists_every_command_in_lines_that_fit(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    said = Result("--help").output
    for title in app.GROUPS:
        assert f"\n{title}:\n" in said
    lines = said.splitlines()
    for name in choices():
        assert [line for line in lines if line.startswith(f"  {name} ")], name
    assert max(map(len, lines)) < min(columns, 101)


def test_the_help_of_every_command_ends_with_a_use_that_it_takes():
    there = choices()
    assert {*there} == {*app.EXAMPLES}
    for name, parser in there.items():
        assert parser.epilog == f"example: {app.EXAMPLES[name]}"
        _, own, *words = shlex.split(app.EXAMPLES[name])
        assert own == name
        parser.parse_args(words)


def test_an_unknown_command_names_those_there_are():
    result = Result("shwo")
    assert result.exit_code == 2
    assert "'show'" in result.errors


def test_what_comes_after_the_demo_finds_its_data(capsys):
    render.next_steps(None)
    assert "WEIGHTS_DATA" not in capsys.readouterr().out
    render.next_steps(Path("/a folder/data"))
    assert re.findall(r"`(WEIGHTS_DATA='/a folder/data') \S+ (ui|report)`", capsys.readouterr().out) == [
        ("WEIGHTS_DATA='/a folder/data'", "ui"),
        ("WEIGHTS_DATA='/a folder/data'", "report"),
    ]


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_of_one_command_does_what_is_to_be_done_at_its_end_and_frees_nothing(code):
    script = f"""
import atexit, sys
from weights_pipeline.cli import app
class Lying:
    def __del__(self): print("freed")
lying = Lying()
def command(words):
    atexit.register(print, "done at the end", *words)
    sys.stdout.write("said ")
    sys.exit({code})
app._answer = command
app.main()
"""
    ended = subprocess.run([sys.executable, "-c", script, "run"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "said done at the end run\n", "")


def test_a_process_that_fails_says_where():
    script = "from weights_pipeline.cli import app; app._answer = lambda words: 1 / 0; app.main()"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", [["new", "--help"], ["completion", "bash"]])
def test_where_there_is_no_room_for_what_is_printed_one_line_says_so(words):
    command = [sys.executable, "-c", f"from weights_pipeline.cli import main; main({words})"]
    # The parser of arguments lets an error of a stream that keeps nothing back pass.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ended.stderr == "weights: the output cannot be written: No space left on device\n"
    assert ended.returncode == 1
