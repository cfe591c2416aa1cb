"""Settings: where the data is and where state is kept.

Here belongs what differs between machines, read from the environment once, at the edge. Policies are in ``books``,
ledger sources in ``ledger``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingsError(ValueError):
    """A setting is not usable. The message names the variable, what was expected and what to do."""


@dataclass(frozen=True)
class Settings:
    """Where things are.

    Attributes
    ----------
    data
        Folder with ``books/``, ``ledgers/`` and the files they name. Variable ``WEIGHTS_DATA``, default ``./data``.
    home
        Folder of everything the pipeline writes: the store and Dagster's own files. Variable ``WEIGHTS_HOME``,
        default ``./.home``.
    lock_timeout
        Seconds to wait for another process's lock on the store. Variable ``WEIGHTS_LOCK_TIMEOUT``, default 120.
    """

    data: Path
    home: Path
    lock_timeout: float = 120.0

    @property
    def store_path(self) -> Path:
        """The DuckDB file."""
        return self.home / "weights.duckdb"

    @property
    def artefacts(self) -> Path:
        """Folder of the files that go with the allocator's tables."""
        return self.home / "artefacts"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and validate the settings.

        Raises
        ------
        SettingsError
            The data folder does not exist, or the time-out is not a positive number.
        """
        data = Path(environment.get("WEIGHTS_DATA", "data")).resolve()
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
        home = Path(environment.get("WEIGHTS_HOME", ".home")).resolve()
        return cls(data=data, home=home, lock_timeout=lock_timeout)
