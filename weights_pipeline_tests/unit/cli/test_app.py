"""Help: every command in a group, in lines that fit, and with a use that works."""

import re
import shlex
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
