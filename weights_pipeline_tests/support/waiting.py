"""Waiting for what another thread or process does, as long as the busiest machine needs."""

import time


def until(condition, seconds=120.0):
    """What a condition gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (given := condition()):
        assert time.monotonic() < deadline, "nothing came of it in time"
        time.sleep(0.005)
    return given
