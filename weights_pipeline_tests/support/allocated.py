"""State, regimes and scalars of any portfolio, by the steps of the chain."""

from typing import NamedTuple

import pandas as pd

from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.allocator.state import allocator_state
from weights_pipeline.core.chain import regime_table, scalar_table


class Allocated(NamedTuple):
    """Rows of ``allocator_state``, ``risk_regime`` and ``risk_scalar``."""

    state: pd.DataFrame
    regimes: pd.DataFrame
    scalars: pd.DataFrame


def allocated(
    portfolio: pd.Series,
    equity: pd.Series,
    components: pd.DataFrame,
    parameters: AllocatorParameters,
    trend_units: pd.DataFrame | None = None,
    sleeves: pd.DataFrame | None = None,
) -> Allocated:
    features = allocator_state(portfolio, equity, components, trend_units=trend_units, sleeves=sleeves)
    state = features.rename_axis("session").reset_index()
    regimes = regime_table(state, parameters.thresholds)
    return Allocated(state, regimes, scalar_table(regimes, parameters))
