"""Reading a source whole: rows per CPU second and the peak memory of a process that does nothing else.

SQLite, CSV (plain and quoted), JSON, XML and Parquet are real files. S3 is a stand-in that gives the CSV or the JSON
file, MongoDB and DynamoDB are stand-ins that make their pages as they are asked for, so that what is measured is the
adapter and not a server. Rows wait in a temporary file and are mapped from it, not held.

Run ``python -m benchmarks sources [--quick]``: 10 million rows of 8 columns, or 20,000.
"""

from __future__ import annotations

import csv
import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.csv
import pyarrow.parquet

from benchmarks.support.apart import apart
from weights_pipeline.ledger.files import read_part
from weights_pipeline.ledger.places import file_at
from weights_pipeline.ledger.sources import read_rows
from weights_pipeline.ledger.sources.dynamodb import DynamoDb
from weights_pipeline.ledger.sources.mongodb import MongoDb
from weights_pipeline.ledger.sources.sql import Sql
from weights_pipeline.ledger.vocabulary import PLAIN, Reading

CREATE = """
CREATE TABLE fills AS
WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < ?)
SELECT printf('f%08d', i) AS fill_id, printf('strategy_%02d', i % 12) AS strategy, 'SYM' || (i % 500) AS symbol,
       strftime('%Y-%m-%dT%H:%M:%SZ', 1325430000 + 35 * i, 'unixepoch') AS ts, (i % 2 * 2 - 1) * 10.5 AS amount,
       30 + i % 1000 / 8.0 AS price, 0.35 AS fees, i % 3 = 0 AS maker
FROM numbers
"""


def document(i: int) -> dict[str, Any]:
    """One fill, as a document database has it."""
    return {
        "fill_id": f"f{i:08d}",
        "strategy": f"strategy_{i % 12:02d}",
        "symbol": f"SYM{i % 500}",
        "ts": f"2024-01-01T{i // 3600 % 24:02d}:{i // 60 % 60:02d}:{i % 60:02d}Z",
        "amount": (i % 2 * 2 - 1) * 10.5,
        "price": 30 + i % 1000 / 8,
        "fees": 0.35,
        "maker": i % 3 == 0,
    }


def item(i: int) -> dict[str, Any]:
    """The same as DynamoDB sends it."""
    kinds = {str: "S", float: "N", bool: "BOOL"}
    return {
        name: {kinds[type(value)]: value if isinstance(value, str | bool) else str(value)}
        for name, value in document(i).items()
    }


class Client:
    """Stand-in for the clients of S3, MongoDB and DynamoDB: pages are made when they are asked for."""

    def __init__(self, rows: int, folder: Path) -> None:
        self.rows, self.folder = rows, folder

    def get_object(self, **asked: str) -> dict[str, Any]:
        return {"Body": (self.folder / asked["Key"]).open("rb"), "ETag": '"1"'}

    def get_default_database(self) -> Client:
        return self

    def __getitem__(self, name: str) -> Client:
        return self

    def find(self, *_: Any, **__: Any) -> Client:
        return self

    def sort(self, *_: Any) -> Iterator[dict[str, Any]]:
        return map(document, range(self.rows))

    def close(self) -> None: ...

    def get_paginator(self, _: str) -> Client:
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        for start in range(0, self.rows, 4_000):
            yield {"Items": list(map(item, range(start, min(start + 4_000, self.rows))))}


def create(folder: Path, rows: int) -> None:
    """Write the files."""
    with sqlite3.connect(folder / "desk.db") as database:
        database.execute(CREATE, (rows,))
        with (folder / "desk.csv").open("w", newline="") as text:
            found = database.execute("SELECT * FROM fills ORDER BY rowid")
            writer = csv.writer(text)
            names = [column for column, *_ in found.description]
            writer.writerow(names)
            writer.writerows(found)
        with (
            (folder / "quoted.csv").open("w", newline="") as quoted,
            (folder / "desk.json").open("w") as listed,
            (folder / "desk.xml").open("w") as tagged,
        ):
            writer = csv.writer(quoted, quoting=csv.QUOTE_ALL)
            writer.writerow(names)
            listed.write('{"fills": [')
            tagged.write("<desk><fills>\n")
            for number, row in enumerate(database.execute("SELECT * FROM fills ORDER BY rowid")):
                writer.writerow(row)
                listed.write(",\n" * bool(number) + json.dumps(dict(zip(names, row, strict=True))))
                cells = " ".join(f'{name}="{value}"' for name, value in zip(names, row, strict=True))
                tagged.write(f"<fill {cells}/>\n")
            listed.write("]}")
            tagged.write("</fills></desk>")
    database.close()
    with (
        pyarrow.csv.open_csv(folder / "desk.csv") as pieces,
        pyarrow.parquet.ParquetWriter(folder / "desk.parquet", pieces.schema) as written,
    ):
        for piece in pieces:
            written.write_batch(piece)


def measure(kind: str, folder: Path, rows: int) -> dict[str, float]:
    """Read once; CPU seconds and peak memory in MB."""
    client = Client(rows, folder)
    queries = {
        "sqlite": Sql(url_env="DESK", query="SELECT * FROM fills ORDER BY rowid"),
        "mongodb": MongoDb(url_env="DESK", collection="fills"),
        "dynamodb": DynamoDb(table="fills"),
    }
    paths = {"csv": "desk.csv", "quoted": "quoted.csv", "parquet": "desk.parquet", "s3": "s3://desk/desk.csv"}
    paths |= {"json": "desk.json", "xml": "desk.xml", "s3_json": "s3://desk/desk.json"}
    records = {"json": "fills", "s3_json": "fills", "xml": "fills.fill"}
    with (
        mock.patch("weights_pipeline.ledger.sources.mongodb._client", return_value=client),
        mock.patch("weights_pipeline.aws.client", return_value=client),
    ):
        before = time.process_time()
        if kind in paths:
            reading = Reading(records=records[kind]) if kind in records else PLAIN
            read = len(read_part(file_at(folder, paths[kind]), reading).line)
        else:
            read = len(read_rows(queries[kind], {"DESK": f"sqlite:///{folder / 'desk.db'}"}).to_pandas())
    assert read == rows
    return {
        "cpu_seconds": time.process_time() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Measure each kind in a process of its own, so that the peak memory is that of the measured work."""
    rows = 20_000 if quick else 10_000_000
    found, done = [], apart(quick)
    with tempfile.TemporaryDirectory() as folder:
        # Apart as well: what is measured begins as large as what has started it.
        done(create, Path(folder), rows)
        files = ("csv", "quoted", "json", "xml", "parquet", "s3", "s3_json")
        for kind in (*files, "sqlite", "mongodb", "dynamodb"):
            measured = done(measure, kind, Path(folder), rows)
            found.append(
                {
                    "source": kind,
                    "rows": rows,
                    "cpu_seconds": round(measured["cpu_seconds"], 1),
                    "rows_per_cpu_second": round(rows / max(measured["cpu_seconds"], 1e-9)),
                    "peak_mb": round(measured["peak_mb"]),
                }
            )
    return found
