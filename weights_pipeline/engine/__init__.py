"""Where work that falls into shards is done: in this process, in processes of this machine, or on a Dask cluster.

Scope: carrying a function of ours to where its shards are worked on, and the results back in the order of the shards.
Not here: what the function computes. An engine never aggregates: what several shards give is put together by whoever
asked, in an order of its own, so that every engine gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from weights_pipeline.engine.errors import EngineError, OtherVersionError
from weights_pipeline.engine.running import running_code
from weights_pipeline.settings import LOCAL

__all__ = ["Engine", "EngineError", "OtherVersionError", "open_engine"]

Shard = TypeVar("Shard")
Result = TypeVar("Result")


class Engine(Protocol):
    """What carries a function to shards."""

    @property
    def width(self) -> int:
        """So many shards are worked on at once."""
        ...

    @property
    def dashboard(self) -> str:
        """Address of a page that shows the work; empty where there is none."""
        ...

    def map(self, function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield what the function gives for each shard, in their order.

        Parameters
        ----------
        function
            One of a module, or a partial of one, which may hold much: it is sent once, not with each shard.
        shards
            Taken as they are worked on. The text of a shard names it in an error.

        Raises
        ------
        EngineError
            A shard could not be worked on: its workers died, or nobody is left to work on it.
        Exception
            What the function raises, with a note that names the shard.
        """
        ...


class _InProcess:
    """One shard after the other, here."""

    width = 1
    dashboard = ""

    def map(self, function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        return map(function, shards)


def open_engine(address: str, version_of: Callable[[], str] = running_code) -> AbstractContextManager[Engine]:
    """The engine of an address, connected to on entering and let go on leaving.

    Parameters
    ----------
    address
        ``tcp://HOST:PORT`` or ``tls://HOST:PORT`` of a Dask scheduler, ``local`` for a process for each processor of
        this machine, or empty for this process.
    version_of
        Says which code runs, here and wherever shards are worked on; it has to be the same everywhere.

    Raises
    ------
    EngineError
        Nobody answers there, no worker has come, or Dask is not installed.
    OtherVersionError
        Scheduler or workers run other code.
    """
    if not address:
        return nullcontext(_InProcess())
    from weights_pipeline.engine.cluster import connected, processes

    return processes(version_of) if address == LOCAL else connected(address, version_of)
