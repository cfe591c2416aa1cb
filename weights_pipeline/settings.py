"""Settings: the stage, where the data is and where state is kept.

Scope: what differs between machines, read from the environment once, at the edge. Not here: policies (``books``),
ledger sources (``ledger``), and secrets: passwords and keys stay in the environment, where the libraries that use them
look for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STAGES = ("dev", "staging", "prod")
POSTGRES = ("WEIGHTS_PG_HOST", "WEIGHTS_PG_PORT", "WEIGHTS_PG_DB", "WEIGHTS_PG_USER", "WEIGHTS_PG_PASSWORD")
"""Variables that Dagster reads itself, by its own configuration, at every stage but ``dev``."""

_STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]*)*/?")
ENCRYPTION = re.compile(r"AES256|aws:kms(:[A-Za-z0-9:/_-]+)?")
"""Encryption that can be asked of S3."""

LOCAL = "local"
"""The engine of processes on this machine."""
_ENGINE = re.compile(r"local|(tcp|tls)://[A-Za-z0-9.\[\]:-]+:[0-9]{1,5}")

_UI = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~/-]*)?")


def without_secrets(place: str) -> str:
    """A place as it may be shown: ``***`` for what stands before an ``@``, and for what follows a ``?`` or ``#``."""
    shown = re.sub(r"(?s)^([a-z0-9]+://)?.*@", r"\1***@", place)
    return re.sub(r"(?s)([?#])(?!encryption=[A-Za-z0-9:/_-]*$).*", r"\1***", shown)


class SettingsError(ValueError):
    """A setting is not usable. The message names the variable, what was expected and what to do."""


def require_bucket(key: str, url: str, otherwise: str = "") -> str:
    """A part of a bucket, without the slash at its end; refused, under the name of its setting, where it is none."""
    if not _STORE.fullmatch(url):
        raise SettingsError(
            f"{key}: expected s3://BUCKET/PREFIX, of letters, digits and . _ = - in each part{otherwise}, got "
            f"{without_secrets(url)!r}. Credentials go into AWS_* variables."
        )
    return url.rstrip("/")


def require_encryption(key: str, sse: str) -> str:
    """Encryption to ask of S3, if any; refused, under the name of its setting, where it is none."""
    if sse and not ENCRYPTION.fullmatch(sse):
        raise SettingsError(f"{key}: expected AES256, aws:kms or aws:kms:KEY, got {sse!r}")
    return sse


def require_places(key: str, places: Sequence[str]) -> tuple[str, ...]:
    """Places of live weights; refused, under the name of their setting, where one of them holds credentials."""
    if unfit := [without_secrets(place) for place in places if "://" in place and place != without_secrets(place)]:
        raise SettingsError(
            f"{key}: expected folders, s3://BUCKET/PREFIX or dynamodb://TABLE with spaces between, got "
            f"{' '.join(unfit)}. Credentials go into AWS_* variables."
        )
    return tuple(places)


@dataclass(frozen=True)
class Settings:
    """Where things are.

    Attributes
    ----------
    stage
        ``dev``, ``staging`` or ``prod``: which overrides of the books apply. Beyond ``dev`` the store has to be in S3,
        and Dagster records in PostgreSQL. Variable ``WEIGHTS_STAGE``, default ``dev``.
    data
        Folder with ``books/``, ``ledgers/`` and the files they name. Variable ``WEIGHTS_DATA``, default ``./data``.
    home
        Folder of everything the pipeline writes: the store and Dagster's own files. Variable ``WEIGHTS_HOME``,
        default ``./.home``, and ``./.home/STAGE`` beyond ``dev``.
    lock_timeout
        Seconds to wait while other processes write to the store. Variable ``WEIGHTS_LOCK_TIMEOUT``, default 120.
    store
        ``s3://BUCKET/PREFIX`` to keep all tables there, or empty for a DuckDB file in ``home``. Variable
        ``WEIGHTS_STORE``. Credentials, region and endpoint are those of the standard ``AWS_*`` variables.
    sse
        Encryption asked of S3: ``AES256``, ``aws:kms`` or ``aws:kms:KEY``, or empty for the bucket's own. Variable
        ``WEIGHTS_S3_SSE``.
    step_logs
        ``s3://BUCKET/PREFIX`` of what steps say, at a stage that keeps it in S3. Variable ``WEIGHTS_STEP_LOGS``,
        default ``_logs`` in the store; empty without a store.
    live
        Where live weights are published: folders, ``s3://BUCKET/PREFIX`` or ``dynamodb://TABLE``. Variable
        ``WEIGHTS_LIVE``, separated by spaces; default the folder ``live`` in ``home``.
    ui
        Address of the user interface, as those who are alerted reach it. Variable ``WEIGHTS_UI``, default
        ``http://127.0.0.1:3000``.
    mail_reports
        Whether those who are alerted get the report of each rebalance too. Variable ``WEIGHTS_MAIL_REPORTS``: ``yes``,
        or empty.
    engine
        Who works on what falls into shards: ``tcp://HOST:PORT`` or ``tls://HOST:PORT`` of a Dask scheduler, ``local``
        for processes on this machine, or empty for the process itself. Variable ``WEIGHTS_ENGINE``. Certificates are
        those of Dask's own settings, ``DASK_DISTRIBUTED__COMM__TLS__*``.
    """

    data: Path
    home: Path
    lock_timeout: float = 120.0
    store: str = ""
    sse: str = ""
    step_logs: str = ""
    stage: str = "dev"
    live: tuple[str, ...] = ()
    ui: str = "http://127.0.0.1:3000"
    engine: str = ""
    mail_reports: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", self.live or (str(self.home / "live"),))

    @property
    def deployed(self) -> bool:
        """Whether others rely on what this stage writes, so that it is kept off this machine."""
        return self.stage != "dev"

    @property
    def store_path(self) -> Path:
        """The DuckDB file."""
        return self.home / "weights.duckdb"

    @property
    def artefacts(self) -> Path:
        """Folder of the files that go with the allocator's tables."""
        return self.home / "artefacts"

    @property
    def verified(self) -> Path:
        """Folder of what runs have verified, a file for each ledger and book."""
        return self.home / "verified"

    @property
    def cells(self) -> Path:
        """Folder of what files held when they were read last, a folder for each ledger."""
        return self.home / "cells"

    @property
    def alerts(self) -> Path:
        """Folder of the alerts that wait, and of what was delivered."""
        return self.home / "alerts"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and validate the settings.

        Raises
        ------
        SettingsError
            The stage is unknown or lacks what it needs, the data folder does not exist, the time-out is not a positive
            number, the store is not an S3 URL, or a place of live weights holds credentials. The message holds none.
        """
        stage = environment.get("WEIGHTS_STAGE") or "dev"
        if stage not in STAGES:
            raise SettingsError(f"WEIGHTS_STAGE: expected one of {', '.join(STAGES)}, got {stage!r}")
        data = Path(environment.get("WEIGHTS_DATA") or "data").resolve()
        if not data.is_dir():
            raise SettingsError(
                f"WEIGHTS_DATA: {data} is not a folder. Run from the project's root, or set WEIGHTS_DATA to the "
                f"folder that holds books/ and ledgers/."
            )
        text = environment.get("WEIGHTS_LOCK_TIMEOUT", "120")
        try:
            lock_timeout = float(text)
        except ValueError:
            lock_timeout = -1.0
        if not 0 < lock_timeout < float("inf"):
            raise SettingsError(f"WEIGHTS_LOCK_TIMEOUT: expected a positive number of seconds, got {text!r}")
        own = ".home" if stage == "dev" else f".home/{stage}"
        home = Path(environment.get("WEIGHTS_HOME") or own).resolve()
        store, sse = environment.get("WEIGHTS_STORE", ""), environment.get("WEIGHTS_S3_SSE", "")
        if store:
            require_bucket("WEIGHTS_STORE", store, f", or nothing for a DuckDB file in {home}")
        require_encryption("WEIGHTS_S3_SSE", sse)
        step_logs = environment.get("WEIGHTS_STEP_LOGS", "")
        if step_logs:
            step_logs = require_bucket("WEIGHTS_STEP_LOGS", step_logs)
        elif store:
            # No ledger and no book has a name that begins so.
            step_logs = f"{store.rstrip('/')}/_logs"
        if sse and not store:
            raise SettingsError(
                "WEIGHTS_S3_SSE is set, WEIGHTS_STORE is not: set it to s3://BUCKET/PREFIX, or unset both"
            )
        live = tuple(environment.get("WEIGHTS_LIVE", "").split())
        require_places("WEIGHTS_LIVE", live)
        ui = environment.get("WEIGHTS_UI") or cls.ui
        if not _UI.fullmatch(ui):
            raise SettingsError(
                f"WEIGHTS_UI: expected the address of the user interface, such as https://weights.example.com, without "
                f"user, password or query, got {without_secrets(ui)!r}"
            )
        engine = environment.get("WEIGHTS_ENGINE", "")
        if engine and not _ENGINE.fullmatch(engine):
            raise SettingsError(
                f"WEIGHTS_ENGINE: expected local, or tcp://HOST:PORT or tls://HOST:PORT of a Dask scheduler, got "
                f"{without_secrets(engine)!r}"
            )
        if (mailed := environment.get("WEIGHTS_MAIL_REPORTS", "")) not in ("", "yes"):
            raise SettingsError(f"WEIGHTS_MAIL_REPORTS: expected yes, or nothing, got {mailed!r}")
        if stage != "dev":
            _require_deployable(stage, environment)
        return cls(
            data=data,
            home=home,
            lock_timeout=lock_timeout,
            store=store.rstrip("/"),
            sse=sse,
            step_logs=step_logs,
            stage=stage,
            live=live,
            ui=ui.rstrip("/"),
            engine=engine,
            mail_reports=bool(mailed),
        )


def _require_deployable(stage: str, environment: Mapping[str, str]) -> None:
    """Refuse a stage whose state would stay on this machine."""
    if missing := [name for name in ("WEIGHTS_STORE", *POSTGRES) if not environment.get(name)]:
        raise SettingsError(
            f"{', '.join(missing)}: not set. Stage {stage} keeps its tables in S3 and Dagster's runs in PostgreSQL: "
            f"set all of them as deploy/environment.example shows, or WEIGHTS_STAGE=dev to stay on this machine"
        )
    port = environment["WEIGHTS_PG_PORT"]
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SettingsError(f"WEIGHTS_PG_PORT: expected the port of PostgreSQL, such as 5432, got {port!r}")
