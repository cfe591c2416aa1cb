"""Identity: which rows of a ledger are one and the same.

Scope: repeats and conflicts. Not here: what follows from a conflict (``stream``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.returns.cells import Fault, Indices

_BUCKETS = 64
_AT_ONCE = 100_000
"""Rows of which it is no matter to hold them twice."""


def repeats(rows: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether any two rows are the same in some columns, or in all where none is named; two nulls are equal.

    Of many, rows whose last column ends alike are compared, a bucket at a time: what is unique would otherwise be held
    twice.

    Parameters
    ----------
    rows : DataFrame
        Any rows.
    names : sequence of str
        The columns, the last of them of text.
    """
    if not names or len(rows) <= _AT_ONCE:
        return bool(rows.duplicated(list(names) or None).any())
    bucket = pd.factorize(rows[names[-1]].str[-2:])[0] % _BUCKETS
    order = np.argsort(bucket.astype(np.uint8), kind="stable")
    ends = np.cumsum(np.bincount(bucket, minlength=_BUCKETS)).tolist()
    apart = rows[list(names)]
    return any(
        bool(apart.take(order[start:end]).duplicated().any()) for start, end in pairwise([0, *ends]) if end - start > 1
    )


def hashed(names: pd.Series) -> npt.NDArray[np.uint64]:
    """A number of 64 bits for each text, the same for the same one."""
    return np.asarray(pd.util.hash_array(names.array, categorize=False), dtype=np.uint64)


def ascending(parts: Iterable[npt.NDArray[np.uint64]], total: int) -> npt.NDArray[np.uint64]:
    """So many numbers in ascending order, of which no two copies are held where they come a part at a time."""
    found, end = np.empty(total, dtype=np.uint64), 0
    for part in parts:
        found[end : end + len(part)] = part
        end += len(part)
    found.sort()
    return found


def duplicate_faults(
    content: pd.DataFrame, identity: Sequence[str], file: Indices, *, code: str, place: Callable[[int], str]
) -> list[Fault]:
    """Rows that repeat an earlier row, and rows whose identity also stands for something else.

    A row with an identity is one row, however often it is there. Rows without one that are equal in all are as many as
    any single file has of them: partial fills look alike, and exports that overlap show them again.

    Parameters
    ----------
    content : DataFrame
        All that makes two rows the same, in reading order and with a positional index; two nulls are equal.
    identity : sequence of str
        The columns that name a row. A row with a null among them has no name; none has where there are no such columns.
    file : ndarray of int, shape (n,)
        Which file each row is of.
    code : str
        Reason against every row whose identity occurs with differing content.
    place : callable
        Says where the row at a position was read.
    """
    names = list(identity)
    repeated = content.duplicated(names or None, keep=False)
    suspects = content[repeated]
    if suspects.empty:
        return []
    version = suspects.groupby(list(content), dropna=False, sort=False).ngroup().tolist()
    owner = suspects.groupby(names, dropna=False, sort=False).ngroup().tolist() if names else version
    named = suspects[names].notna().all(axis=1).tolist() if names else [False] * len(suspects)
    rows = suspects.index.tolist()
    first_row: dict[int, int] = {}
    firsts: dict[int, list[int]] = {}
    for row, v, who in zip(rows, version, owner, strict=True):
        if first_row.setdefault(v, row) == row:
            firsts.setdefault(who, []).append(row)
    faults = []
    in_file: dict[tuple[int, int], int] = {}
    kept: dict[tuple[int, int], int] = {}
    for row, v, who, has_name in zip(rows, version, owner, named, strict=True):
        if has_name:
            if len(firsts[who]) > 1:
                other = next(other for other in firsts[who] if other != first_row[v])
                faults.append(Fault(row, code, f"{', '.join(names)}: other content at {place(other)}"))
            if row != first_row[v]:
                faults.append(Fault(row, "exact_duplicate", f"repeats {place(first_row[v])}"))
            continue
        # The nth of its kind in its file is the nth in any other.
        number = in_file[int(file[row]), v] = in_file.get((int(file[row]), v), 0) + 1
        if (earlier := kept.setdefault((v, number), row)) != row:
            hint = f"; if both are meant, give each its own {names[-1]}" if names else ""
            faults.append(Fault(row, "exact_duplicate", f"repeats {place(earlier)}{hint}"))
    return faults
