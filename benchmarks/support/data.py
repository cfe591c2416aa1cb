"""Data folders cut from the sample: files edited row by row, ledgers that end sooner, one book in place of all."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml

DATA = Path(__file__).resolve().parents[2] / "data"
BOOK, LEDGER = "calmar_core", "sample_ledger"
WEEKLY_BOOKS = ("sharpe_weekly", "ensemble_regime")


def edit_rows(file: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    """Rewrite a CSV file, each row changed, or dropped where the change gives None."""
    with file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        names = list(reader.fieldnames or [])
        rows = [kept for row in reader if (kept := change(row)) is not None]
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def edit_yaml(file: Path, **changes: object) -> None:
    content = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    file.write_text(yaml.dump(content | changes, Dumper=yaml.CSafeDumper, sort_keys=False))


def cut_ledger(data: Path, end: str) -> None:
    """Drop every exit and every fill on or after a date."""
    for file in (data / "sample" / "lots").glob("*.csv"):
        edit_rows(file, lambda row: row if row["closed_at"][:10] < end else None)
    for file in (data / "sample" / "fills").glob("*.csv"):
        edit_rows(file, lambda row: row if row["ts"][:10] < end else None)


def open_ended(data: Path) -> None:
    """Let the ledger's months go on."""
    source = data / "ledgers" / "sample.yaml"
    lines = source.read_text().splitlines(keepends=True)
    source.write_text("".join(line for line in lines if "last_month" not in line))


def beginning(data: Path, last_month: str) -> Path:
    """Make a data folder of the sample up to a month, as a finished history, with one book and no comparison."""
    shutil.copytree(DATA, data)
    for file in (data / "books").glob("*.yaml"):
        if file.stem != BOOK:
            file.unlink()
    shutil.rmtree(data / "comparisons")
    for file in (data / "sample" / "lots").glob("*.csv"):
        if file.stem[:4] > last_month:
            file.unlink()
    year, month = map(int, last_month.split("-"))
    cut_ledger(data, f"{year + month // 12}-{month % 12 + 1:02d}-01")
    edit_yaml(data / "ledgers" / "sample.yaml", last_month=last_month)
    return data
