"""Work in processes of its own, so that the peak of memory is that of the work alone."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def apart(quick: bool) -> Callable[..., Any]:
    """What calls a function in a new process each time; in this one if quick, where to start one takes longest."""
    return _here if quick else _alone


def _here(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as own:
        return own.submit(work, *arguments).result()
