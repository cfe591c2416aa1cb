"""What holds of any stored table.

Scope: that it is what was written, whole, and what its inputs make of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from weights_pipeline.core.verify.finding import Finding


def as_written(altered: pd.DataFrame, tables: int) -> Finding:
    """Finding on a store whose rows were compared with what was recorded when they were written.

    Parameters
    ----------
    altered
        Columns table and partition: those that differ.
    tables
        How many tables were compared.
    """
    if len(altered):
        summary = f"{len(altered)} partitions of {altered['table'].nunique()} tables are not what was written"
    else:
        summary = f"{tables} tables hold exactly what was written" if tables else "there is no table to compare"
    return Finding(
        passed=altered.empty and tables > 0,
        value=float(len(altered)),
        limit=0.0,
        summary=summary,
        offending=altered,
    )


def no_gap(keys: Collection[str], expected: Sequence[str]) -> Finding:
    """Partitions form one unbroken run from the first to the newest one written."""
    newest = max(keys, default="")
    missing = [key for key in expected if key <= newest and key not in keys]
    return Finding(
        passed=not missing,
        value=float(len(missing)),
        limit=0.0,
        summary=f"{len(missing)} partitions missing before {newest}: {', '.join(missing[:6])}"
        if missing
        else f"no gap up to {newest}",
        offending=pd.DataFrame({"partition_key": missing}),
    )


def unchanged_months(source: Mapping[str, str], stored: Mapping[str, str], being_written: Collection[str]) -> Finding:
    """Months written earlier still hold what the source says now; otherwise late or corrected lots have arrived.

    Parameters
    ----------
    source, stored
        Content hash by month: of the source as it reads now, and of what was written.
    being_written
        Months that this very run writes, which cannot be late.
    """
    late = sorted(key for key in stored if key not in being_written and source.get(key) != stored[key])
    return Finding(
        passed=not late,
        value=float(len(late)),
        limit=0.0,
        summary=f"late or corrected lots in {', '.join(late[:6])}: materialise from {late[0]} on"
        if late
        else "no month written earlier has changed in the source",
        offending=pd.DataFrame({"partition_key": late}),
    )


def reproduced(recomputed: pd.DataFrame, stored: pd.DataFrame) -> Finding:
    """Weights computed again are those stored: unscaled, scalars and final, bit for bit.

    Parameters
    ----------
    recomputed, stored
        Rows of ``final_weights`` for the same dates.
    """
    columns = ["realized", "scalar", "volatility_scalar", "final"]
    rows = stored.merge(
        recomputed[["as_of", "strategy", *columns]],
        on=["as_of", "strategy"],
        how="outer",
        suffixes=("", "_recomputed"),
    )
    found, expected = (rows[[f"{name}{end}" for name in columns]].to_numpy(float) for end in ("", "_recomputed"))
    gap = np.abs(found - expected).max(axis=1, initial=0)
    # A book without overlay has no scalar, neither stored nor recomputed.
    broken = ~((found == expected) | (np.isnan(found) & np.isnan(expected))).all(axis=1)
    return Finding(
        passed=not broken.any(),
        value=float(np.nanmax(gap, initial=0.0)),
        limit=0.0,
        summary=f"{len(rows)} weights of {rows['as_of'].nunique()} dates recomputed, {int(broken.sum())} differ",
        offending=rows.loc[broken, ["as_of", "strategy", *columns, *(f"{name}_recomputed" for name in columns)]],
    )
