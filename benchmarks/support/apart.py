"""Work in processes of its own, so that the peak of memory is that of the work alone."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def apart(quick: bool) -> Iterator[Callable[..., Any]]:
    """What calls a function in a new process each time; in the same one if quick, where to start it takes longest."""

    def process() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def alone(work: Callable[..., Any], *arguments: Any) -> Any:
        with process() as own:
            return own.submit(work, *arguments).result()

    if quick:
        with process() as shared:
            yield lambda work, *arguments: shared.submit(work, *arguments).result()
    else:
        yield alone
