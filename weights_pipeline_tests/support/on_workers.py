"""What workers of a cluster are asked for in tests; they import nothing else for it."""

import os
import signal
from pathlib import Path


def power(base, exponent):
    return base**exponent


def refused(shard):
    raise ValueError(f"{shard.strategies[0]}: has no capital")


def dies(shard):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_once(folder, shard):
    """Take the worker along at the first try of one shard."""
    mark = Path(folder) / "died"
    if shard == 3 and not mark.exists():
        mark.touch()
        dies(shard)
    return shard * 2
