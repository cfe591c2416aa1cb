"""Waiting for what another thread or process does, as long as the busiest machine needs."""

import time


def until(condition, seconds=120.0):
    """What a condition gives once it gives something; the longer it takes, the more seldom it is asked."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while not (given := condition()):
        assert time.monotonic() < deadline, "nothing came of it in time"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.25)
    return given
