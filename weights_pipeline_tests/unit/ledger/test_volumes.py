"""The file of volumes: what is read, and what is refused by its line."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest

from benchmarks.support.data import BOOK, DATA, edit_yaml
from weights_pipeline.books.load import load_book
from weights_pipeline.core import verify
from weights_pipeline.ledger import LedgerError, LedgerSource, read_ledger
from weights_pipeline.ledger.calendars import sessions_file
from weights_pipeline.ledger.changes import state
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.source import load_sources
from weights_pipeline.ledger.tables import intake_rows, month_tables
from weights_pipeline.ledger.vocabulary import RelativePath
from weights_pipeline.tables import catalog

NOW = dt.datetime(2024, 3, 10, tzinfo=dt.UTC)
LOTS = """lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price
1,carry,A,long,10,2024-02-05T15:00Z,2024-02-14T15:00Z,50,51
2,carry,B,long,10,2024-02-06T15:00Z,2024-02-15T15:00Z,50,51
"""
SETTINGS = {
    "name": "desk",
    "description": "A desk.",
    "volumes": "closes.csv",
    "timezone": "UTC",
    "first_month": "2024-02",
    "last_month": "2024-02",
}


def desk(root: Path, *lines: str, header: str = "date,symbol,close,volume") -> LedgerSource:
    (root / "lots.csv").write_text(LOTS)
    (root / "closes.csv").write_text("\n".join([header, *lines]) + "\n")
    return LedgerSource.model_validate(SETTINGS | {"lots": ["lots.csv"]})


def test_volumes_beside_closes_are_what_trades_are_held_against(tmp_path: Path) -> None:
    source = desk(tmp_path, "2024-02-01,A,50,1000", "2024-02-02,A,50,", "2024-02-13,A,50,3000", "2024-02-09,B,1,7")
    windows = ledger_months(source).begun(NOW)
    rows = intake_rows(read_ledger(source, tmp_path, horizon=dt.date(2024, 2, 29)), source, windows, NOW)
    found = rows[catalog.STRATEGY_LIQUIDITY]
    assert catalog.STRATEGY_LIQUIDITY in month_tables(source)
    # A entered against 1,000 and left against 2,000; nothing is known of B by the day of its entry.
    assert found["usual_volume"].iloc[0] == 1000
    assert found["unknown"].fillna("").tolist() == ["", "B"]
    said = verify.known_volumes(found)
    assert not said.passed
    assert said.summary == "1 of 2 sessions traded symbols without volumes before: B on 2024-02-15"
    assert verify.known_volumes(found.iloc[:1]).passed


@pytest.mark.parametrize(
    ("lines", "header", "words"),
    [
        (["2024-02-01,A,50,-1"], "date,symbol,close,volume", "line 2: volume: expected 0 or more, got -1"),
        (
            ["2024-02-01,A,50,1", "2024-02-01,A,50,2"],
            "date,symbol,close,volume",
            "line 3: A on 2024-02-01 stands twice",
        ),
        (["2024-02-01,A,50,some"], "date,symbol,close,volume", "line 2: volume: "),
        (["2024-02-01,A,50"], "date,symbol,close", "no line has a volume; expected columns date, symbol, volume"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, lines: list[str], header: str, words: str) -> None:
    source = desk(tmp_path, *lines, header=header)
    with pytest.raises(LedgerError, match=f"closes.csv: .*{words}"):
        read_ledger(source, tmp_path, horizon=dt.date(2024, 2, 29))


def test_volumes_may_reach_further_back_than_the_calendar(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_text("date\n" + "".join(f"2024-02-{day:02}\n" for day in range(1, 30)))
    source = desk(tmp_path, "1950-01-03,A,1,9", "2024-01-31,A,50,5000", "2024-02-01,A,50,1000", "2024-02-02,B,50,1000")
    for calendar in ("XNYS", sessions_file(tmp_path / "sessions.csv", "UTC")):
        own = source.model_copy(update={"calendar": calendar})
        windows = ledger_months(own).begun(NOW)
        rows = intake_rows(read_ledger(own, tmp_path, horizon=dt.date(2024, 2, 29)), own, windows, NOW)
        usual = rows[catalog.STRATEGY_LIQUIDITY]["usual_volume"]
        # Without the day that its calendar does not have.
        assert usual.iloc[0] == (3000 if calendar == "XNYS" else 1000)


def test_every_file_that_a_ledger_names_is_watched(tmp_path: Path) -> None:
    """A file beside the rows that a sensor does not look at would change and nobody would read it."""
    named = [name for name, each in LedgerSource.model_fields.items() if each.annotation == RelativePath | None]
    assert {"prices", "volumes", "instruments", "fx"} <= {*named}
    source = desk(tmp_path)
    for name in named:
        own = source.model_copy(update=dict.fromkeys(named) | {name: f"{name}.csv"})
        (tmp_path / f"{name}.csv").write_text("a\n")
        before = state(own, tmp_path, {})
        (tmp_path / f"{name}.csv").write_text("a\nb\n")
        assert state(own, tmp_path, {}) != before, name


def test_a_book_that_reads_liquidity_needs_volumes_and_volumes_need_trades(tmp_path: Path) -> None:
    shutil.copytree(DATA / "books", tmp_path / "books")
    shutil.copytree(DATA / "ledgers", tmp_path / "ledgers")
    limits = {"gross": "at_most", "capital": 1e6, "max_capital": {"rsi2": {"participation": 0.05}}}
    edit_yaml(tmp_path / "books" / f"{BOOK}.yaml", limits=limits)
    book = load_book(tmp_path / "books" / f"{BOOK}.yaml")
    with pytest.raises(LedgerError, match=rf"sample\.yaml: volumes: book {BOOK} reads the liquidity"):
        load_sources(tmp_path / "ledgers", [book])
    with pytest.raises(ValueError, match="volumes: are what lots are held against; expected lots or fills"):
        LedgerSource.model_validate(SETTINGS | {"returns": ["returns.csv"]})
    with pytest.raises(ValueError, match="volumes: splits and renames are not carried into them"):
        LedgerSource.model_validate(SETTINGS | {"fills": ["fills.csv"], "actions": "actions.csv"})
