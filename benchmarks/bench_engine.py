"""A grid of policies in this process and on 1, 2 and 4 workers of a Dask cluster on loopback; all to the same bits.

Speed is bounded by the processors of the machine, whose number is in the table: more workers than that say what sharing
them costs, and no more. One case loses a worker after a quarter of its shards.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.bench_simulate import market, points
from benchmarks.support.dask_cluster import Cluster, cluster
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import grid
from weights_pipeline.engine import open_engine


def figures(
    history: ReturnHistory, as_of: pd.DatetimeIndex, sessions: pd.DatetimeIndex, policies: list[Policy]
) -> list[list[float]]:
    """What is kept of each policy."""
    return [
        [*simulation.final[-1].tolist(), float(np.sum(simulation.traded))]
        for simulation in grid(history, as_of, sessions, policies)
    ]


def timed(over: Callable[..., Iterable[Any]], work: Callable[[Any], Any], shards: Iterable[Any]) -> tuple[float, str]:
    """Wall time, and a hash of all results."""
    began = time.perf_counter()
    found = list(over(work, shards))
    return time.perf_counter() - began, hashlib.sha256(json.dumps(found).encode()).hexdigest()[:12]


def losing(own: Cluster, shards: list[Any]) -> Iterator[Any]:
    """Shards; a worker is killed when a quarter of them has been handed out."""
    for number, shard in enumerate(shards):
        if number == len(shards) // 4:
            own.kill_a_worker()
        yield shard


def run(quick: bool = False) -> list[dict[str, object]]:
    """Rows of results, one for each number of workers.

    Raises
    ------
    AssertionError
        Two of them differ in a bit.
    """
    months, shard = (40, 4) if quick else (132, 50)
    policies = points()[:: 25 if quick else 1] * (1 if quick else 4)
    returns, as_of, calendar = market(16, months)
    history = ReturnHistory.from_arrays(returns.to_numpy(), returns.index, list(returns.columns))
    work = partial(figures, history, as_of, calendar)
    shards = [policies[first : first + shard] for first in range(0, len(policies), shard)]
    results: list[dict[str, object]] = []
    alone, bits = timed(map, work, shards)
    cases = [(2, True)] if quick else [(1, False), (2, False), (4, False), (2, True)]
    for workers, lost in [(0, False), *cases]:
        seconds, found = alone, bits
        if workers:
            with (
                tempfile.TemporaryDirectory() as folder,
                cluster(Path(folder), workers) as own,
                open_engine(own.address) as engine,
            ):
                given = losing(own, shards) if lost else shards
                list(engine.map(work, shards[:workers]))  # imports are paid once for each worker
                seconds, found = timed(engine.map, work, given)
        assert found == bits, (workers, found, bits)
        results.append(
            {
                "workers": workers or "in process",
                "worker_lost": "one" if lost else "none",
                "processors": len(os.sched_getaffinity(0)),
                "policies": len(policies),
                "shards": len(shards),
                "bits": found,
                "wall_s": seconds,
                "times_as_fast": alone / seconds,
            }
        )
    return results
