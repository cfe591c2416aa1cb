"""Shards on a Dask cluster, somebody's or one of processes on this machine.

Scope: all that knows ``dask.distributed``, which is imported when it is first needed. Not here: starting a cluster of
several machines (``deploy/``).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from weights_pipeline.engine.errors import EngineError, OtherVersionError
from weights_pipeline.extras import need

CONNECT_SECONDS = 15.0
WORKERS_SECONDS = 60.0
"""So long a scheduler is waited for, and its first worker."""

_TRIES = 3
"""Workers that a shard may lose, and times that work which got lost is handed out again."""

Shard = TypeVar("Shard")
Result = TypeVar("Result")


class Cluster:
    """An engine over a client of a cluster.

    Attributes
    ----------
    place
        Where it is, for a message.
    """

    def __init__(self, client: Any, place: str, version_of: Callable[[], str]) -> None:
        self._client, self.place, self._version_of, self._version = client, place, version_of, version_of()

    @property
    def width(self) -> int:
        """Threads of all workers there are now."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    @property
    def dashboard(self) -> str:
        """Dask's own page about the work."""
        return str(self._client.dashboard_link or "")

    def map(self, function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """See :meth:`weights_pipeline.engine.Engine.map`; few more shards than workers are under way at a time."""
        work = self._sent(function)
        under_way: deque[tuple[Shard, Any]] = deque()
        most = 2 * self.width
        for shard in shards:
            if len(under_way) >= most:
                yield self._result(function, *under_way.popleft())
            under_way.append((shard, self._handed(work, shard)))
        while under_way:
            yield self._result(function, *under_way.popleft())

    def _sent(self, function: Callable[[Any], Any]) -> Any:
        # To every worker: one that dies takes no other's copy with it.
        return self._client.scatter([function], broadcast=True, hash=False)[0]

    def _handed(self, work: Any, shard: Any) -> Any:
        return self._client.submit(
            _worked, work, shard, self._version_of, self._version, pure=False, retries=_TRIES - 1
        )

    def _result(self, function: Callable[[Any], Any], shard: Any, future: Any) -> Any:
        """Of one shard; what got lost on the way, with the worker or with the function, is handed out again."""
        from distributed import KilledWorker

        for _ in range(_TRIES):
            try:
                answer = future.result()
            except KilledWorker as error:
                raise EngineError(
                    f"{shard}: every worker of {self.place} that took it has died ({_TRIES} of them); give workers "
                    "more memory, and look into their logs"
                ) from error
            except CancelledError:
                if self._client.status != "running":
                    break
                future = self._handed(self._sent(function), shard)
            except Exception as error:
                error.add_note(f"in shard {shard}, worked on at {self.place}")
                raise
            else:
                if isinstance(answer, _Refused):
                    answer.error.add_note(f"in shard {shard}, worked on at {self.place}")
                    raise answer.error
                return answer
        raise EngineError(f"{shard}: {self.place} has lost it; see whether scheduler and workers are still running")


class _Refused(NamedTuple):
    """What a function says of its shard, and would say on any other worker too."""

    error: Exception


def _worked(work: Callable[[Any], Any], shard: Any, version_of: Callable[[], str], version: str) -> Any:
    """On a worker: the result of a shard, if the code is that of whoever asks."""
    if (own := version_of()) != version:
        raise OtherVersionError(f"a worker runs {own}, this process {version}")
    try:
        return work(shard)
    except (ValueError, LookupError) as error:
        return _Refused(error)


@contextmanager
def connected(address: str, version_of: Callable[[], str]) -> Iterator[Cluster]:
    """The cluster of a scheduler; see :func:`weights_pipeline.engine.open_engine`."""
    need("distributed", f"WEIGHTS_ENGINE {address}")
    from distributed import Client, Security

    if address.startswith("tls:") and Security().get_connection_args("client").get("ssl_context") is None:
        raise EngineError(
            f"WEIGHTS_ENGINE: {address} asks for certificates; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY (docs/engine.md)"
        )
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise EngineError(
            f"WEIGHTS_ENGINE: no Dask scheduler answers at {address}; start it (docs/engine.md), correct the address, "
            "or unset the variable to compute in this process"
        ) from error
    with client:
        yield _checked(client, address, version_of)


@contextmanager
def processes(version_of: Callable[[], str]) -> Iterator[Cluster]:
    """A process for each processor of this machine, for as long as the context lasts."""
    need("distributed", "WEIGHTS_ENGINE local")
    from distributed import Client, LocalCluster

    own = len(os.sched_getaffinity(0))
    with (
        LocalCluster(
            n_workers=own, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield _checked(client, f"{own} processes of this machine", version_of)


def _checked(client: Any, place: str, version_of: Callable[[], str]) -> Cluster:
    """The engine, if somebody works there and everybody runs the code of this process."""
    from distributed import TimeoutError as NobodyError

    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except (TimeoutError, NobodyError) as error:
        raise EngineError(
            f"WEIGHTS_ENGINE: {place} has no worker; start one with `dask worker {place}` (docs/engine.md)"
        ) from error
    try:
        # The scheduler reads tasks as well.
        running = {"the scheduler": client.run_on_scheduler(version_of)}
        running |= {f"worker {name}": said for name, said in client.run(version_of, on_error="return").items()}
    except ImportError as error:
        raise OtherVersionError(f"{place} does not have this package: {error}. Install it there, as here") from error
    own = version_of()
    if others := {name: said for name, said in running.items() if said != own}:
        told = ", ".join(f"{name} runs {said}" for name, said in sorted(others.items()))
        raise OtherVersionError(
            f"{place}: {told}; this process runs {own}. Other code may give other weights: install the same version "
            "everywhere"
        )
    return Cluster(client, place, version_of)
