"""Rows of a relational database: SQLite, PostgreSQL, MySQL and MariaDB, through SQLAlchemy.

Scope: one read-only query, streamed. Not here: anything that writes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import pyarrow as pa
from pydantic import AfterValidator

from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.sources.cells import batch, text
from weights_pipeline.ledger.sources.reading import PAGE, PassingError, RowSource, Variable, require_variable

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

_EXAMPLE = "postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE"
_SERVERS = ("postgresql", "mysql", "mariadb")


def _reads(text: str) -> str:
    query = text.strip().rstrip(";").rstrip()
    if not re.match(r"(?is)(?:select|with)\b", query):
        raise ValueError("expected one statement that reads, beginning with SELECT or WITH")
    return query


def _query(text: str) -> str:
    query = _reads(text)
    if not re.search(r"(?is)\border\s+by\b", query):
        raise ValueError(
            "expected ORDER BY, such as `ORDER BY executed_at, id`: without it a database may give the rows in another "
            "order tomorrow, and fills of one instant are matched in the order they come in"
        )
    return query


class Sql(RowSource):
    """A query of a relational database.

    Attributes
    ----------
    url_env
        Environment variable that holds the address, as SQLAlchemy writes them.
    query
        One ``SELECT``, with ``ORDER BY``. It runs in a transaction that can only read and, on a server, sees the
        database as it is when it begins.
    watch
        A query of one row that is another one once rows have changed, such as
        ``SELECT count(*), max(updated_at) FROM fills``: with it, changes are seen without reading them all.
    """

    url_env: Variable
    query: Annotated[str, AfterValidator(_query)]
    watch: Annotated[str, AfterValidator(_reads)] | None = None

    @property
    def name(self) -> str:
        """Variable and a digest of the query."""
        return f"sql:{self.url_env}/{hashlib.sha256(self.query.encode()).hexdigest()[:8]}"

    def batches(self, environment: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """Run the query and stream what it gives; see :meth:`RowSource.batches`."""
        with self._asked(self.query, environment) as result:
            names = list(result.keys())
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise LedgerError(f"{self.name}: column {', '.join(twice)} appears more than once; name each with AS")
            yield batch(names, [])
            for rows in result.partitions(PAGE):
                yield batch(names, rows)

    def changed(self, environment: Mapping[str, str]) -> str | None:
        """The row that ``watch`` gives; see :meth:`RowSource.changed`."""
        if self.watch is None:
            return None
        with self._asked(self.watch, environment) as result:
            rows = result.fetchmany(2)
            if len(rows) != 1:
                raise LedgerError(f"{self.name}: watch: expected one row, got {'none' if not rows else 'several'}")
            return json.dumps([text(value) for value in rows[0]])

    @contextmanager
    def _asked(self, query: str, environment: Mapping[str, str]) -> Iterator[Any]:
        """Run a query in a transaction of its own that can only read."""
        from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

        engine = _engine(self.name, require_variable(environment, self.url_env, self.name, _EXAMPLE))
        try:
            with _reading(engine) as connection:
                yield connection.exec_driver_sql(query)
        except (OperationalError, InterfaceError, InternalError) as error:
            if _is_lasting(error):
                raise LedgerError(_refused(self.name, error)) from None
            # The text of what failed may hold what the address holds.
            raise PassingError(type(error.orig).__name__) from None
        except DBAPIError as error:
            raise LedgerError(_refused(self.name, error)) from None
        except TypeError as error:
            raise LedgerError(
                f"{self.name}: {error}; convert it in the query with CAST(… AS TEXT), or leave it out"
            ) from error
        finally:
            engine.dispose()


def _engine(name: str, address: str) -> Engine:
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        url = make_url(address)
        if (backend := url.get_backend_name()) in (*_SERVERS, "sqlite"):
            return create_engine(_read_only_file(url) if backend == "sqlite" else url, poolclass=NullPool)
    except NoSuchModuleError:
        raise LedgerError(f"{name}: no driver of that name; expected an address such as {_EXAMPLE}") from None
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"{name}: the driver {error.name} is not installed; pip install 'weights-pipeline[postgresql]' or "
            f"'weights-pipeline[mysql]' brings one"
        ) from None
    except (ArgumentError, ValueError):
        raise LedgerError(
            f"{name}: its address is none that SQLAlchemy reads; expected one such as {_EXAMPLE}"
        ) from None
    raise LedgerError(f"{name}: expected an address of sqlite, postgresql, mysql or mariadb, got one of {backend}")


def _read_only_file(url: URL) -> URL:
    """Address of a SQLite file that is neither written to nor, where it is missing, made."""
    return url.set(database=f"file:{quote(url.database or '')}", query={"mode": "ro", "uri": "true"})


@contextmanager
def _reading(engine: Engine) -> Iterator[Any]:
    """Open a transaction that can only read and gives rows as they are asked for."""
    options: dict[str, Any] = {"stream_results": True, "max_row_buffer": PAGE}
    if engine.dialect.name in _SERVERS:
        options["isolation_level"] = "REPEATABLE READ"
    if engine.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    with engine.connect().execution_options(**options) as connection:
        if engine.dialect.name in ("mysql", "mariadb"):
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.commit()
        yield connection


_LASTING = re.compile(
    r"(?i)no such|syntax|does not exist|doesn't exist|unknown (?:column|table|database)|denied|authentication failed|"
    r"readonly|read-only|read only|unable to open database file|not a database"
)


def _is_lasting(error: Any) -> bool:
    """Whether trying again is of no use: drivers raise one class for a wrong query and for a lost connection."""
    return bool(_LASTING.search(str(error.orig)))


def _refused(name: str, error: Any) -> str:
    said = str(error.orig).strip().splitlines()
    return f"{name}: the database refused the query: {said[0] if said else type(error.orig).__name__}"
