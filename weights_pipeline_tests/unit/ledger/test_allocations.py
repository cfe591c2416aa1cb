"""Files of allocations: every row is a return or says why it is none, and nothing is guessed."""

import datetime as dt

import pytest

from weights_pipeline.ledger import LedgerError, read_ledger
from weights_pipeline_tests.unit.ledger.importers.test_importers import CLOSES, SAMPLES, ledger

SAMPLE = SAMPLES["composer_allocations"].read_text()
HEADER, *ROWS = SAMPLE.splitlines()
RIGHT = [0, -0.008, 0.00843604768640, 0, 0.009]


@pytest.fixture
def read(tmp_path):
    def read(closes=CLOSES, said=None, **files):
        for name, lines in files.items():
            (tmp_path / f"{name}.csv").write_text("\n".join([HEADER, *lines]) + "\n")
        beside = {} if closes is None else {"prices": "closes.txt.csv"}
        (tmp_path / "closes.txt.csv").write_text(closes or "")
        entry = {
            "files": [f"{name}.csv" for name in files],
            "importer": "composer_allocations",
            "constants": {"strategy": "desk"},
        }
        return read_ledger(
            ledger(tmp_path, {"returns": [entry | (said or {})]}, **beside), tmp_path, horizon=dt.date(2024, 6, 28)
        )

    return read


def values(intake):
    return {f"{day:%m-%d}": value for day, value in zip(*map(intake.returns.get, ("session", "daily_return")))}  # noqa: B905


def reasons(intake):
    return dict(zip(intake.rejected["line"], intake.rejected["details"], strict=True))


def right(*days):
    given = dict(zip(("01-02", "01-03", "01-04", "01-05", "01-08"), RIGHT, strict=True))
    return pytest.approx({day: given[day] for day in days or given}, rel=1e-10)


def test_rows_in_any_order_and_overlapping_exports_are_the_same_returns(read):
    assert values(read(a=ROWS)) == right()
    assert values(read(a=ROWS[::-1])) == right()
    both = read(a=ROWS[:3], b=ROWS[1:])
    assert values(both) == right()
    assert both.rejected["reasons"].tolist() == ["exact_duplicate"] * 2
    assert values(read(a=ROWS[:2], b=ROWS[2:])) == right()


def test_a_close_that_is_missing_is_named_and_costs_the_returns_that_need_it(read):
    intake = read(CLOSES.replace("2024-01-03,TLT,101\n", ""), a=ROWS)
    assert values(intake) == right("01-02", "01-05", "01-08")
    assert reasons(intake) == {
        3: "daily_return: no close of TLT on 2024-01-03",
        4: "daily_return: no close of TLT on 2024-01-03",
    }
    assert set(intake.rejected["reasons"]) == {"no_return"}


@pytest.mark.parametrize("cell", ["0.605", "60,5%", "-1%", "", "x%", "1e1%"])
def test_a_cell_that_is_no_share_is_named_and_the_next_return_is_not_known(read, cell):
    rows = [row.replace("60.5%", f'"{cell}"') for row in ROWS]
    intake = read(a=rows)
    assert values(intake) == right("01-02", "01-05", "01-08")
    assert reasons(intake) == {
        3: f"daily_return: QLD: {cell!r} is no share such as 12.5%, or - for none",
        4: "daily_return: the allocation of 2024-01-03 is not known",
    }


@pytest.mark.parametrize("line", ["2024-01-03,No", "03.01.2024,No,-,60.5%,39.5%", ",No,-,60.5%,39.5%"])
def test_what_is_held_after_a_line_that_cannot_be_read_is_not_known(read, line):
    intake = read(a=[ROWS[0], line, *ROWS[2:]])
    assert values(intake) == right("01-02", "01-05", "01-08")
    assert reasons(intake)[4] == "daily_return: a line between 2024-01-02 and 2024-01-04 cannot be read"
    assert len(intake.rejected) == 2
    over_two_files = read(a=[ROWS[0], line], b=ROWS[2:])
    assert values(over_two_files) == right("01-02", "01-05", "01-08")


def test_allocations_that_contradict_each_other_are_out(read):
    intake = read(a=ROWS, b=[ROWS[1].replace("60.5%", "61.5%")])
    assert values(intake) == right("01-02", "01-05", "01-08")
    both = intake.rejected[intake.rejected["details"].str.contains("stands twice, with other allocations")]
    assert both["source_file"].tolist() == ["a.csv", "b.csv"]


def test_rows_that_lie_far_apart_are_no_consecutive_sessions(read):
    closes = CLOSES + "2024-01-17,QLD,80\n2024-01-18,QLD,82\n"
    intake = read(closes, a=[*ROWS, "2024-01-17,No,-,100.0%,-", "2024-01-18,No,-,100.0%,-"])
    assert values(intake) == pytest.approx({**right().expected, "01-18": 0.025}, rel=1e-10)
    assert reasons(intake) == {7: "daily_return: no allocation is given between 2024-01-08 and 2024-01-17"}


def test_what_is_lacking_is_said(read, tmp_path):
    with pytest.raises(LedgerError, match=r"returns: allocations are shares of symbols, .* under prices"):
        read(None, a=ROWS)
    with pytest.raises(LedgerError, match=r"a\.csv: expected a column for each symbol beside the date"):
        read(said={"ignore": ["QLD", "TLT"]}, a=ROWS)
    said = {"files": ["a.csv"], "allocations": "percent", "constants": {"strategy": "desk"}}
    with pytest.raises(LedgerError, match="ledger desk: fills: allocations: are of returns; name the file there"):
        read_ledger(ledger(tmp_path, {"fills": [said]}), tmp_path, horizon=dt.date(2024, 6, 28))
