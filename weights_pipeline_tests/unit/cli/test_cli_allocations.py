"""The command ``weights allocations``: decisions shown, checked, compared, and added beside those there are."""

import datetime as dt
import json
import os
import shutil
import threading

import pytest

from benchmarks.support.data import DATA
from weights_pipeline.books.load import load_book
from weights_pipeline.cli.commands import allocations
from weights_pipeline.core.targets.methods.fixed import Decision
from weights_pipeline_tests.support.commands import Result

BOOK = "max_hybrid"
FOLDER = "sample/allocations/max_hybrid"


class Desk:
    """A copy of the book as the data folder, and a file beside it to propose allocations in."""

    def __init__(self, folder):
        self.data, self.decisions, self.file = folder / "data", folder / "data" / FOLDER, folder / "proposal.json"
        (self.data / "books").mkdir(parents=True)
        for name in (BOOK, "ensemble_regime"):
            shutil.copy(DATA / "books" / f"{name}.yaml", self.data / "books")
        shutil.copytree(DATA / FOLDER, self.decisions)

    def propose(self, **changes):
        """Write the newest sample allocations, some of them changed, as a plain map."""
        self.file.write_text(json.dumps(self.allocations("2014-12-31") | changes))

    def update(self, *options):
        return Result("allocations", "update", "--book", BOOK, str(self.file), *options)

    def allocations(self, label):
        return json.loads((self.decisions / f"{label}.json").read_text())["allocations"]

    def content(self):
        return {file.name: file.read_bytes() for file in self.decisions.iterdir()}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    made = Desk(tmp_path)
    monkeypatch.setenv("WEIGHTS_DATA", str(made.data))
    return made


def called(command, *arguments, book=BOOK):
    return Result("allocations", command, "--book", book, *arguments)


BESIDE = ("--date", "2015-02-27", "--provenance", "backtest of February")


def test_show_has_weights_total_provenance_file_and_count(desk):
    result = called("show")
    assert result.exit_code == 0, result.errors
    lines = [line.split() for line in result.output.splitlines()]
    assert ["vol_target_megacap", "59.34%", "59.34%"] in lines
    assert ["breakout_55d", "0.00%", "0.00%"] in lines
    assert ["Total", "230.01%", "230.00%"] in lines
    assert "allocations decided on 2014-12-31" in result.output
    assert "In proportion to the Sharpe ratio" in result.output
    assert f"File: {desk.decisions / '2014-12-31.json'}" in result.output
    assert "Decision 2 of 2." in result.output


def test_show_of_a_day_gives_the_decision_in_force_then(desk):
    assert "Decision 1 of 2, until that of 2014-12-31." in called("show", "--date", "2014-12-30").output
    told = json.loads(called("show", "--date", "2014-12-30", "--json").output)
    assert (told["date"], told["number"], told["decisions"]) == ("2011-12-30", 1, 2)
    assert (told["total"], told["gross"]) == (200.0, 2.3)
    assert told["allocations"] == desk.allocations("2011-12-30")
    assert told["weights"] == {name: pytest.approx(percent / 100) for name, percent in told["allocations"].items()}
    assert told["file"] == str(desk.decisions / "2011-12-30.json")
    newest = json.loads(called("show", "--date", "2014-12-31", "--json").output)
    assert (newest["total"], sum(newest["weights"].values())) == (230.01, pytest.approx(2.3, rel=1e-15))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "--book", BOOK, "--date", "2011-12-29"), 3, "no decision by 2011-12-29 in folder"),
        (
            ("show", "--book", "ensemble_regime"),
            2,
            "method softmax_sharpe; expected one with fixed allocations",
        ),
        (("show", "--book", "nonsense"), 2, "unknown book 'nonsense'; there are ensemble_regime, max_hybrid"),
        (("validate", "--book", "nonsense"), 2, "unknown book 'nonsense'"),
        (("show",), 2, "--book"),
        (("diff", "--book", BOOK, "2012-01-31"), 3, "there is no decision before 2011-12-30"),
        (("diff", "--book", BOOK, "2014-12-31_2"), 3, "2014-12-31_2: there is no such decision"),
        (("diff", "--book", BOOK, "2014-13-31"), 3, "2014-13-31: month must be in 1..12"),
        (("diff", "--book", BOOK, "nothing.json"), 2, "nothing.json: allocations cannot be read"),
        (("diff", "--book", BOOK, "2012-01-31", "2015-01-31", "2016-01-31"), 2, "two decisions at most, got 3"),
        (("update", "--book", BOOK, "nothing.json"), 2, "nothing.json: allocations cannot be read"),
    ],
)
def test_exit_codes_and_messages(desk, arguments, code, message):
    result = Result("allocations", *arguments)
    assert result.exit_code == code, result.errors
    assert message in result.errors
    assert result.output == ""


def test_validate_of_sound_decisions_and_proposals(desk):
    assert called("validate").output == f"2 decisions of book {BOOK}: valid.\n"
    told = json.loads(called("validate", "--json").output)
    assert (told["valid"], told["problems"]) == (True, [])
    desk.propose()
    assert called("validate", str(desk.file)).output == f"{desk.file}: valid.\n"


def test_validate_reports_everything_wrong_with_the_stored_decisions(desk):
    first = json.loads((desk.decisions / "2011-12-30.json").read_text())
    (desk.decisions / "2011-12-30.json").write_text(
        json.dumps(first | {"allocations": first["allocations"] | {"rsi2": 150, "gold": 1}})
    )
    (desk.decisions / "notes.md").write_text("see the wiki")
    result = called("validate")
    assert result.exit_code == 2
    assert result.output == ""
    problems = json.loads(called("validate", "--json").output)["problems"]
    assert len(problems) == 3
    for problem, part in zip(
        problems,
        ["2011-12-30.json: allocations.rsi2: ", "2011-12-30.json: allocations: ['gold']", "notes.md: not a decision"],
        strict=True,
    ):
        assert part in problem
        assert problem in result.errors


def test_validate_reports_everything_wrong_with_a_proposal(desk):
    proposed = desk.allocations("2014-12-31") | {"rsi2": -1, "gold": 3}
    del proposed["trend_long"]
    desk.file.write_text(json.dumps({"date": "2013-01-31", "provenance": "a backtest", "allocations": proposed}))
    result = called("validate", str(desk.file), "--json")
    assert result.exit_code == 2
    told = json.loads(result.output)
    assert not told["valid"]
    expected = [
        "date: expected 2014-12-31 or later, got 2013-01-31",
        "allocations.rsi2: expected percent of capital from 0 to 100, got -1",
        "allocations: ['trend_long'] have none",
        "allocations: ['gold'] are not strategies of the book",
    ]
    for problem, part in zip(told["problems"], expected, strict=True):
        assert problem.startswith(f"{desk.file}: {part}")
    assert json.dumps(told["problems"][0])[1:-1] in called("validate", str(desk.file)).errors


def test_diff_compares_the_newest_two_unless_told_otherwise(desk):
    result = called("diff")
    lines = [line.split() for line in result.output.splitlines()]
    assert result.output.startswith(f"{BOOK}: from 2011-12-30 to 2014-12-31")
    assert ["breakout_55d", "21.25", "0.00", "-21.25"] in lines
    assert ["Total", "200.00", "230.01", "+30.01"] in lines
    told = json.loads(called("diff", "--json").output)
    assert told["changes"]["vol_target_megacap"] == {"old": 26.25, "new": 59.34, "change": 33.09}
    assert told["total"] == {"old": 200.0, "new": 230.01, "change": 30.01}
    assert json.loads(called("diff", "2020-01-31", "--json").output) == told
    back = json.loads(called("diff", "2015-01-30", "2012-01-31", "--json").output)
    assert (back["old"], back["new"], back["total"]["change"]) == ("2014-12-31", "2011-12-30", -30.01)


def test_diff_with_a_file_and_with_an_earlier_decision_of_the_same_day(desk):
    desk.propose(rsi2=35.695)
    shown = called("diff", str(desk.file)).output
    assert f"from 2014-12-31 to {desk.file}" in shown
    # As many digits as it takes.
    assert ["rsi2", "35.710", "35.695", "-0.015"] in [line.split() for line in shown.splitlines()]
    against = json.loads(called("diff", "2012-01-31", str(desk.file), "--json").output)
    assert against["changes"]["rsi2"] == {"old": 24.75, "new": 35.695, "change": 10.945}
    desk.propose(rsi2=30)
    assert desk.update("--date", "2014-12-31", "--provenance", "less of it").exit_code == 0
    told = json.loads(called("diff", "--json").output)
    assert (told["old"], told["new"], told["total"]["change"]) == ("2014-12-31", "2014-12-31_2", -5.71)
    assert json.loads(called("diff", "2014-12-31_1", "--json").output)["old"] == "2011-12-30"
    desk.propose(gold=1)
    assert called("diff", str(desk.file)).exit_code == 2


def test_update_writes_a_new_file_and_touches_no_other(desk):
    before = desk.content()
    desk.propose(rsi2=30.5, pairs_ko_pep=32.13)
    result = desk.update(*BESIDE)
    assert result.exit_code == 0, result.errors
    lines = [line.split() for line in result.output.splitlines()]
    assert ["rsi2", "35.71", "30.50", "-5.21"] in lines
    assert ["Total", "230.01", "230.01", "0.00"] in lines
    written = desk.decisions / "2015-02-27.json"
    assert f"Wrote {written}." in result.output
    assert "next: weights run --book max_hybrid" in result.output
    after = desk.content()
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"2015-02-27.json"}
    assert written.stat().st_mode & 0o777 == 0o644
    document = json.loads(written.read_text())
    assert (document["date"], document["provenance"]) == ("2015-02-27", "backtest of February")
    assert list(document["allocations"]) == list(desk.allocations("2014-12-31"))
    newest = load_book(desk.data / "books" / f"{BOOK}.yaml").method.in_force()
    assert newest.allocations == json.loads(desk.file.read_text())


def test_update_from_a_whole_document_needs_nothing_beside_it(desk):
    desk.file.write_text((desk.decisions / "2011-12-30.json").read_text().replace("2011-12-30", "2015-02-27"))
    told = json.loads(desk.update("--json").output)
    assert (told["old"], told["new"], told["dry_run"]) == ("2014-12-31", "2015-02-27", False)
    assert told["file"] == str(desk.decisions / "2015-02-27.json")
    assert desk.allocations("2015-02-27") == desk.allocations("2011-12-30")


def test_a_dry_run_writes_nothing(desk):
    before = desk.content()
    desk.propose(rsi2=30.5)
    result = desk.update(*BESIDE, "--dry-run")
    assert result.exit_code == 0
    assert "Dry run: nothing was written." in result.output
    assert ["rsi2", "35.71", "30.50", "-5.21"] in [line.split() for line in result.output.splitlines()]
    told = json.loads(desk.update(*BESIDE, "--dry-run", "--json").output)
    assert (told["file"], told["dry_run"], told["new"]) == (None, True, "2015-02-27")
    assert desk.content() == before


@pytest.mark.parametrize(
    ("changes", "options", "messages"),
    [
        ({}, BESIDE, ["nothing changes: these are the allocations of 2014-12-31, the newest decision"]),
        ({"rsi2": 30}, (), ["date: expected one, there or as --date", "provenance: expected one, there or as --prov"]),
        ({"rsi2": 30}, ("--date", "2015-02-27", "--provenance", " "), ["provenance: String should match pattern"]),
        (
            {"rsi2": 30},
            ("--date", "2014-12-30", "--provenance", "x"),
            ["date: expected 2014-12-31 or later, got 2014-12-30", "history is not rewritten"],
        ),
        ({"rsi2": 90, "gold": 1}, BESIDE, ["['gold'] are not strategies", "at most 230%", "got 285.3"]),
    ],
)
def test_refused_updates_write_nothing(desk, changes, options, messages):
    before = desk.content()
    desk.propose(**changes)
    result = desk.update(*options)
    assert result.exit_code == 2
    assert result.output == ""
    for message in messages:
        assert message in result.errors
    assert desk.content() == before


def test_a_date_that_contradicts_the_document_is_refused(desk):
    document = json.loads((desk.decisions / "2011-12-30.json").read_text()) | {"date": "2015-02-27"}
    desk.file.write_text(json.dumps(document))
    result = desk.update("--date", "2015-02-28", "--provenance", "another")
    assert result.exit_code == 2
    assert "date: expected that of --date, 2015-02-28, got 2015-02-27" in result.errors
    assert "provenance: expected that of --provenance, another, got Illustrative" in result.errors
    assert desk.update("--date", "2015-02-27").exit_code == 0


def test_two_decisions_of_one_day_are_two_files_of_which_the_last_counts(desk):
    for number, percent in enumerate((30, 29, 28), start=1):
        desk.propose(rsi2=percent)
        assert desk.update(*BESIDE).exit_code == 0
        assert json.loads(called("show", "--json").output)["number"] == number
    made = {"2015-02-27.json", "2015-02-27_2.json", "2015-02-27_3.json"}
    assert made < set(desk.content())
    assert json.loads(called("show", "--json").output)["allocations"]["rsi2"] == 28


def test_updates_at_once_end_as_files_of_their_own(desk):
    count, before = 8, desk.content()
    start, made = threading.Barrier(count), list[Decision]()

    def update(percent):
        start.wait()
        decision = Decision(date=dt.date(2015, 2, 27), allocations={"rsi2": percent}, provenance="at once")
        made.append(allocations._record(decision, desk.decisions))

    threads = [threading.Thread(target=update, args=(float(percent),)) for percent in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decision.number for decision in made) == list(range(1, count + 1))
    for decision in made:
        assert desk.allocations(decision.label) == decision.allocations
    assert {name: desk.content()[name] for name in before} == before
    assert len(desk.content()) == len(before) + count


@pytest.mark.parametrize("failing", ["fsync", "link"])
def test_a_write_that_fails_leaves_nothing_behind(desk, monkeypatch, failing):
    before = desk.content()
    desk.propose(rsi2=30)

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fails)
    result = desk.update(*BESIDE)
    assert result.exit_code == 1
    assert "cannot be written: [Errno 28] No space left on device" in result.errors
    assert result.output == ""
    assert desk.content() == before


def test_a_broken_decision_stops_every_command_and_is_named(desk):
    (desk.decisions / "2014-12-31.json").write_text("{")
    desk.file.write_text("{}")
    for arguments in (("show",), ("diff",), ("update", str(desk.file)), ("validate",)):
        result = called(*arguments)
        assert result.exit_code == 2
        assert "2014-12-31.json: allocations cannot be read" in result.errors
