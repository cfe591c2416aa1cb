"""Shards: work that can be done strategy by strategy, in pieces that do not know of each other.

Scope: how strategies, or whatever else has rows, fall into shards. Not here: where shards are worked on; whoever calls
a function that takes an ``over`` says it, and ``map`` is this process. No figure depends on how many shards there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

SIZE = 64
"""Strategies of a shard."""
AT_ONCE = 1_000_000
"""Rows that are worked on at a time, where there may be more than fit into memory."""

Item = TypeVar("Item")

Over = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Carries a function to shards and gives its results in their order, as ``map`` does."""


class Shard(NamedTuple):
    """Some of the strategies.

    Attributes
    ----------
    strategies
        Ascending.
    rows
        What is known of them, if anything has to go with them.
    """

    strategies: tuple[str, ...]
    rows: Any = None

    def __str__(self) -> str:
        first, last, count = self.strategies[0], self.strategies[-1], len(self.strategies)
        return f"strategy {first}" if count == 1 else f"the {count} strategies {first} to {last}"


def shards_of(strategies: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Strategies in ascending order, each once, so many at a time."""
    names: Sequence[str] = sorted(set(strategies))
    for first in range(0, len(names), SIZE):
        yield tuple(names[first : first + SIZE])


def few_at_a_time(rows: Iterable[tuple[Item, int]], at_once: int) -> Iterator[tuple[Item, ...]]:
    """Things that have rows, in their order, as many at a time as have so many rows together.

    One that has more is by itself.
    """
    group, total = list[Item](), 0
    for item, count in rows:
        if group and total + count > at_once:
            yield tuple(group)
            group, total = [], 0
        group.append(item)
        total += count
    if group:
        yield tuple(group)
