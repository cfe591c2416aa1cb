"""Decisions of a book with fixed allocations: what a folder of them may hold, and which one a date follows."""

import dataclasses
import datetime as dt
import json
import math

import pandas as pd
import pytest
import yaml

from benchmarks.support.data import DATA, edit_yaml
from weights_pipeline.books.allocations import load_proposal
from weights_pipeline.books.load import book_schema, load_book
from weights_pipeline.books.reading import BookError
from weights_pipeline.core.chain import returns_table, target_table
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.ledger import calendar_sessions, load_ledger_source, read_capital, read_ledger
from weights_pipeline_tests.unit.core.targets.test_methods import DESK

SAMPLE = DATA / "books" / "max_hybrid.yaml"


class Folder:
    """A data folder with one book, whose allocations are in ``mix``."""

    def __init__(self, data):
        self.data, self.mix, self.file = data, data / "mix", data / "books" / "desk.yaml"
        self.mix.mkdir(parents=True)
        self.file.parent.mkdir()
        self.file.write_text(SAMPLE.read_text())
        edit_yaml(
            self.file,
            name="desk",
            strategies=dict.fromkeys(DESK, 2.3 / 9),
            method={"kind": "fixed", "folder": "mix"},
        )

    def decide(self, label, allocations, **keys):
        document = {"date": label[:10], "provenance": "backtest of the month", "allocations": allocations}
        (self.mix / f"{label}.json").write_text(json.dumps(document | keys))

    def book(self):
        return load_book(self.file)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "data")


def test_all_decisions_are_loaded_the_oldest_first(folder):
    labels = ["2024-01-31", "2024-01-31_2", "2024-01-31_10", "2024-02-29"]
    for label in reversed(labels):
        folder.decide(label, DESK, provenance=f"backtest {label}")
    (folder.mix / ".2024-03-31.json").write_text('{"date": "2024-')
    decisions = folder.book().method.decisions
    assert [decision.label for decision in decisions] == labels
    assert [decision.number for decision in decisions] == [1, 2, 10, 1]
    assert {decision.date for decision in decisions} == {dt.date(2024, 1, 31), dt.date(2024, 2, 29)}
    assert decisions[1].provenance == "backtest 2024-01-31_2"
    assert decisions[0].allocations == DESK
    assert folder.book().method.in_force(dt.date(2024, 2, 1)).number == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SPY": 6.59}, r"allocations: expected a total of at most 230%, the book's gross, .* got 230.06%"),
        ({"SPY": -0.01}, "allocations.SPY: expected percent of capital from 0 to 100, got -0.01"),
        ({"SPY": 100.01}, "allocations.SPY: expected percent of capital from 0 to 100, got 100.01"),
        ({"SPY": None}, "allocations.SPY: Input should be a valid number"),
        ({"SPY": "6.54"}, "allocations.SPY: Input should be a valid number, got '6.54'"),
        ({"SPY": True}, "allocations.SPY: Input should be a valid number, got True"),
        ({"SPY": math.nan}, "allocations.SPY: Input should be a finite number"),
        ({"GLD": 0}, r"allocations: \['GLD'\] are not strategies of the book"),
    ],
)
def test_refused_allocations_name_file_and_key(folder, changes, message):
    folder.decide("2024-01-31", DESK | changes)
    with pytest.raises(BookError, match=rf"mix/2024-01-31.json: {message}"):
        folder.book()


def test_a_strategy_without_allocation_is_refused(folder):
    folder.decide("2024-01-31", {})
    with pytest.raises(BookError, match=r"2024-01-31.json: allocations: \['Com1-Met', .*'TLT', .*\] have none"):
        folder.book()
    folder.decide("2024-01-31", {name: percent for name, percent in DESK.items() if name != "TLT"})
    with pytest.raises(BookError, match=r"2024-01-31.json: allocations: \['TLT'\] have none; .* 0 for none"):
        folder.book()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", "", "notes.txt: not a decision; expected YYYY-MM-DD.json, or YYYY-MM-DD_2.json"),
        ("2024-01-31_1.json", "{}", "2024-01-31_1.json: not a decision"),
        ("2024-01-31_02.json", "{}", "2024-01-31_02.json: not a decision"),
        ("2024-02-29.json.bak", "{}", "json.bak: not a decision"),
        ("2024-02-29.json", "{", "2024-02-29.json: allocations cannot be read"),
        ("2024-02-29.json", "[]", r"2024-02-29.json: \(whole file\): Input should be a valid dictionary"),
        ("2024-02-29.json", '{"date": "2024-02-29", "date": "2024-02-29"}', r"duplicate keys \['date'\]"),
        ("2024-02-29.json", json.dumps({"allocations": DESK}), "json: date: Field required\n.*provenance: Field"),
    ],
)
def test_whatever_is_no_decision_is_refused_by_name(folder, name, content, message):
    folder.decide("2024-01-31", DESK)
    (folder.mix / name).write_text(content)
    with pytest.raises(BookError, match=message):
        folder.book()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"date": "2024-01-30"}, "date: expected that in the name of the file, 2024-01-31, got 2024-01-30"),
        ({"date": "soon"}, "date: Input should be a valid date"),
        ({"provenance": "  "}, "provenance: String should match pattern"),
        ({"account": "main"}, "account: Extra inputs are not permitted"),
    ],
)
def test_refused_documents(folder, keys, message):
    folder.decide("2024-01-31", DESK, **keys)
    with pytest.raises(BookError, match=f"2024-01-31.json: {message}"):
        folder.book()


def test_every_decision_is_checked_and_every_problem_reported(folder):
    folder.decide("2024-01-31", DESK | {"SPY": 101, "GLD": 1})
    folder.decide("2024-02-29", DESK | {"GLD": 0}, date="2024-03-01")
    folder.decide("2024-03-31", DESK)
    (folder.mix / "sub").mkdir()
    with pytest.raises(BookError) as caught:
        folder.book()
    problems = str(caught.value).splitlines()
    expected = ["01-31.json: allocations.SPY", "01-31.json: allocations", "02-29.json: date", "02-29.json: allocations"]
    for problem, named in zip(problems, [*expected, "mix/sub"], strict=True):
        assert f"{named}: " in problem


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nowhere", "nowhere: book desk: method.folder: allocations cannot be read"),
        ("mix", "mix: book desk: method.folder: no allocations there; expected YYYY-MM-DD.json"),
        ("../mix", "method.folder: path '../mix' leaves the data folder"),
        ("/etc", "method.folder: path '/etc' leaves the data folder"),
        ("", "method: allocations: none given, the folder '' was not loaded"),
    ],
)
def test_a_folder_without_decisions_is_an_error(folder, named, message):
    edit_yaml(folder.file, method={"kind": "fixed", "folder": named})
    with pytest.raises(BookError, match=message):
        folder.book()


def test_a_link_out_of_the_data_folder_is_refused(folder, tmp_path):
    folder.decide("2024-01-31", DESK)
    (folder.mix / "2024-01-31.json").rename(tmp_path / "2024-01-31.json")
    (folder.mix / "2024-01-31.json").symlink_to(tmp_path / "2024-01-31.json")
    with pytest.raises(BookError, match=r"mix/2024-01-31.json: path .* leaves the data folder"):
        folder.book()


def test_limits_may_not_change_what_was_decided(folder):
    folder.decide("2024-01-31", DESK)
    edit_yaml(folder.file, limits={"of": "weight", "floor": 0, "cap": 0.8, "gross": "at_most"})
    with pytest.raises(BookError, match=r"31.json: limits: they change .* fixed sets for \['chong_vansh_strategy'\]"):
        folder.book()


@pytest.mark.parametrize(("gross", "accepted"), [("at_most", True), ("exactly", False)])
def test_less_than_gross_is_a_decision_where_gross_is_a_limit(folder, gross, accepted):
    folder.decide("2024-01-31", DESK | {"SPY": 0})
    edit_yaml(folder.file, limits={"of": "weight", "floor": 0, "cap": 1, "gross": gross})
    if accepted:
        assert folder.book().method.in_force().allocations["SPY"] == 0
        return
    with pytest.raises(BookError, match=r"expected a total of 230%, .* got 223.47%"):
        folder.book()


def test_decisions_belong_neither_in_a_book_nor_in_its_schema(folder):
    folder.decide("2024-01-31", DESK)
    written = json.loads(folder.book().model_dump_json())
    assert written["method"] == {"kind": "fixed", "folder": "mix"}
    folder.file.write_text(yaml.safe_dump(written))
    assert folder.book().method.in_force().allocations == DESK
    assert "Decision" not in book_schema()["$defs"]
    edit_yaml(folder.file, method={"kind": "fixed", "decisions": [{"date": "2024-01-31", "allocations": DESK}]})
    with pytest.raises(BookError, match=r"method.fixed.decisions: Tuple should have at most 0 items"):
        folder.book()


def test_a_proposal_is_a_whole_decision_or_a_plain_map(tmp_path):
    file = tmp_path / "mix.json"
    file.write_text(json.dumps(DESK))
    assert (load_proposal(file).allocations, load_proposal(file).date) == (DESK, None)
    file.write_text(json.dumps({"provenance": "a backtest", "allocations": DESK}))
    assert load_proposal(file).provenance == "a backtest"
    file.write_text(json.dumps({"date": "2024-01-31"}))
    with pytest.raises(BookError, match=r"mix.json: allocations: Field required"):
        load_proposal(file)


# The sample


def targets(policy, dates):
    """Targets of some dates, by the chain; the metrics beside them are of no account."""
    names = sorted(policy.base)
    metrics = pd.DataFrame(
        {
            "as_of": pd.DatetimeIndex(dates).repeat(len(names)),
            "strategy": names * len(dates),
            "metric": "calmar",
            "lookback": "12m",
            "value": math.nan,
            "reason": "insufficient",
        }
    )
    return target_table(metrics, policy).pivot(index="as_of", columns="strategy", values=["target", "formula"])


def test_a_past_partition_follows_what_had_been_decided_by_then():
    book = load_book(SAMPLE)
    table = targets(book.policy(), ["2012-01-31", "2014-12-30", "2014-12-31", "2022-12-28"])
    first, second = book.method.decisions
    assert [first.label, second.label] == ["2011-12-30", "2014-12-31"]
    for date, decision in zip(table.index, (first, first, second, second), strict=True):
        assert set(table.loc[date, "formula"]) == {f"allocation of {decision.label} / 100 / base"}
        scale = min(1, 230 / math.fsum(decision.allocations.values()))
        for name, percent in decision.allocations.items():
            assert table.loc[date, ("target", name)] == pytest.approx(scale * percent / 100, rel=1e-14)
    assert math.fsum(table.loc["2012-01-31", "target"]) == pytest.approx(2.0, rel=1e-15)
    assert math.fsum(table.loc["2022-12-28", "target"]) == 2.3
    with pytest.raises(ValueError, match="no decision by 2011-12-29 in folder 'sample/allocations/max_hybrid'"):
        targets(book.policy(), ["2011-12-29"])


def test_a_later_decision_changes_no_bit_of_the_past():
    book = load_book(SAMPLE)
    dates = ["2012-01-31", "2013-06-28", "2014-12-30"]
    before = dataclasses.replace(book.method, decisions=book.method.decisions[:1])
    policy = dataclasses.replace(book.policy(), method=before)
    pd.testing.assert_frame_equal(targets(policy, dates), targets(book.policy(), dates), check_exact=True)


def test_decisions_of_the_sample_are_what_the_book_is_documented_to_follow():
    book = load_book(SAMPLE)
    first, second = (decision.allocations for decision in book.method.decisions)
    assert book.limits == Limits(of="weight", floor=0.0, cap=1.0, gross="at_most")
    assert (book.gross, book.overlay, book.adjustment.rate) == (2.3, None, 1.0)
    assert all(weight > 0 for weight in book.strategies.values())
    assert min(first.values()) > 0
    assert math.fsum(first.values()) <= 230
    assert round(math.fsum(second.values()), 2) == 230.01
    assert {name for name, percent in second.items() if percent == 0} == {"breakout_55d", "xs_momentum"}


def test_the_second_decision_follows_the_rule_that_it_names():
    end = dt.date(2014, 12, 31)
    source = load_ledger_source(DATA / "ledgers" / "sample.yaml")
    (lots,) = source.lots
    source = source.model_copy(update={"lots": (lots.model_copy(update={"files": ("sample/lots/2012_2015.csv",)}),)})
    sessions = calendar_sessions(source.calendar, dt.date(2012, 1, 1), end)
    intake = read_ledger(source, DATA, horizon=end)
    returns = returns_table(
        intake.lots,
        intake.open_lots(sessions[-1:]),
        intake.returns,
        sessions,
        read_capital(source, DATA),
        sessions[0],
    )
    decision = load_book(SAMPLE).method.in_force(end)
    daily = wide(returns).reindex(sessions)[list(decision.allocations)]
    # No risk-free rate, so that annualising and the total cancel.
    sharpe = (daily.mean() / daily.std()).where((1 + daily).prod() > 1, 0.0)
    assert (230 * sharpe / sharpe.sum()).round(2).to_dict() == decision.allocations
    assert "Sharpe ratio (risk-free rate 0) of daily returns from 2012-01-03 to 2014-12-31" in decision.provenance
