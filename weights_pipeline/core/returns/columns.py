"""Columns of text made from codes.

Here belongs the one helper that turns whole numbers into words without a Python object per cell. Here does not belong
any meaning of the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


def texts(vocabulary: Sequence[str], codes: npt.NDArray[np.integer[Any]]) -> pd.api.extensions.ExtensionArray:
    """Return ``vocabulary[codes]`` as a string column."""
    return pd.array(list(vocabulary), dtype="str").take(codes)
