"""Columns and rows of frames, without a Python object per cell.

Scope: columns of text made from codes, and the order of rows. Not here: any meaning of either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


def texts(vocabulary: Sequence[str], codes: npt.NDArray[np.integer[Any]]) -> pd.api.extensions.ExtensionArray:
    """Return ``vocabulary[codes]`` as a string column."""
    return pd.array(list(vocabulary), dtype="str").take(codes)


def framed(rows: Sequence[Sequence[Any]], types: Mapping[str, Any]) -> pd.DataFrame:
    """Rows as a frame of columns of the types given; null where a cell of text is None."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in types)
    return pd.DataFrame(
        {name: pd.array(list(cells), dtype=of) for (name, of), cells in zip(types.items(), columns, strict=True)}
    )


def in_order(rows: pd.DataFrame, names: Sequence[str], *, spent: bool = False) -> pd.DataFrame:
    """Rows in the order of some columns, with a positional index; those that tie stay as they stand.

    The same as a stable ``sort_values``, in half the time, and in next to none where the rows stand in order already.

    Parameters
    ----------
    rows
        Any rows.
    names
        Columns without nulls, the first of which weighs most. They are quick where all but the last have few values.
    spent
        Whether nobody needs `rows` any more: they lose each column as it is ordered, and never are all there twice.
    """
    if ascends(rows, names):
        return rows.reset_index(drop=True)
    *coarse, finest = names
    order = np.asarray(rows[finest].array.argsort(kind="stable"))
    for name in reversed(coarse):
        codes, values = pd.factorize(rows[name], sort=True)
        # The smallest integers are sorted digit by digit, in time that is linear.
        codes = codes.astype(np.min_scalar_type(len(values)))
        order = order[np.argsort(codes[order], kind="stable")]
    if not spent:
        return rows.take(order).reset_index(drop=True)
    columns = {name: rows[name].array for name in rows}
    rows.drop(columns=[*columns], inplace=True)
    return pd.DataFrame({name: columns.pop(name).take(order) for name in [*columns]}, copy=False)


def ascends(rows: pd.DataFrame, names: Sequence[str], *, each_once: bool = False) -> bool:
    """Whether no row is before the one above it, by columns without nulls; nor the same, where each is there once."""
    tied = np.ones(max(len(rows) - 1, 0), dtype=bool)
    for name in names if len(rows) > 1 else ():
        column = rows[name].array
        above, below = pd.Series(column[:-1]), pd.Series(column[1:])
        if (tied & (above > below).to_numpy()).any():
            return False
        tied &= (above == below).to_numpy()
    return not (each_once and tied.any())
