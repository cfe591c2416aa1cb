"""Documents that go with an allocator run: what a state, regime or scalar table says, as plain numbers.

Scope: the summing up of the tables ``allocator_state``, ``risk_regime`` and ``risk_scalar`` in dicts that become JSON
as they are: keys sorted, dates as text, null where there is no number. Not here: the making of those tables
(``core.chain``), what the overlay would have earned (``overlay``), and where documents are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.overlay import FULL_EXPOSURE
from weights_pipeline.core.allocator.regime import REGIMES, regime_counts, regime_levels
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters, parameter_hash
from weights_pipeline.core.allocator.state import OPTIONAL, REQUIRED, WARM_UP, idle_sessions
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline.core.targets.normalise import Floats

VERSION = 2
"""Of the documents' keys and their meaning; a change to either raises it."""

Document = dict[str, Any]


def documents(
    state: pd.DataFrame,
    regimes: pd.DataFrame,
    scalars: pd.DataFrame,
    eligible_sessions: pd.DatetimeIndex,
    overlay: AllocatorParameters,
    per_year: float = DAILY.per_year,
) -> dict[str, Document]:
    """All three documents: ``state``, ``regime`` and ``scalar``.

    Parameters
    ----------
    state, regimes, scalars
        Rows of ``allocator_state``, ``risk_regime`` and ``risk_scalar`` from the first session on, up to one date.
    eligible_sessions
        Sessions up to that date on which the book held weights, its warm-up included.
    overlay
        What the tables were made with.
    per_year
        Sessions a year.

    Returns
    -------
    dict of str to dict
        Each has, beside its own keys, ``version`` (of the keys and their meaning), ``document`` (its name),
        ``parameters_hash``, ``profile`` (``name``, null where the book has one of its own, its numbers, and
        ``sleeve_maps``), ``thresholds``, and ``sessions`` with a value (``first``, ``last`` and ``count``).
    """
    return {
        "state": state_document(state, eligible_sessions, overlay),
        "regime": regime_document(regimes, overlay, per_year),
        "scalar": scalar_document(scalars, regimes, overlay),
    }


def state_document(state: pd.DataFrame, eligible_sessions: pd.DatetimeIndex, overlay: AllocatorParameters) -> Document:
    """Sum up a state table.

    Parameters
    ----------
    state
        Rows of ``allocator_state``; optional features may be missing as columns.
    eligible_sessions
        Sessions on which the book held weights. The first 59 are the warm-up.
    overlay
        What the table was made with.

    Returns
    -------
    dict
        ``features``: by name ``coverage`` (share of the eligible sessions beyond the warm-up that have a value; null
        without any), ``min``, ``max``, ``mean`` and ``last`` (of the last row, null where that is). ``dropped``:
        ``warm_up`` and ``beyond`` sessions without a state, ``beyond_share`` of the sessions beyond the warm-up, and
        the ``sessions`` beyond by date. ``idle``: sessions whose state rests on too little movement. Beside them what
        :func:`documents` have in common.

    Raises
    ------
    ValueError
        A session occurs twice, or has a state though it is not eligible.
    """
    rows = _by_session(state, "allocator_state")
    eligible = eligible_sessions.sort_values()
    if len(stray := rows.index[~rows.index.isin(eligible)]):
        raise ValueError(f"allocator_state: expected eligible sessions, got {stray[0]:%Y-%m-%d}, which is not one")
    beyond = eligible[WARM_UP:]
    dropped = beyond[~beyond.isin(rows.index)]
    features = {}
    for name in (*REQUIRED, *OPTIONAL):
        if name in rows:
            values = rows[name].to_numpy(np.float64)
            known = values[~np.isnan(values)]
            features[name] = {
                "coverage": len(known) / len(beyond) if len(beyond) else None,
                **_range(known),
                "last": values[-1] if len(values) else None,
            }
    content = {
        "features": features,
        "dropped": {
            "warm_up": min(len(eligible), WARM_UP),
            "beyond": len(dropped),
            "beyond_share": len(dropped) / len(beyond) if len(beyond) else None,
            "sessions": list(dropped),
        },
        "idle": int(idle_sessions(rows).sum()),
    }
    return _document("state", rows.index, overlay, content)


def regime_document(regimes: pd.DataFrame, overlay: AllocatorParameters, per_year: float = DAILY.per_year) -> Document:
    """Sum up a regime table.

    Parameters
    ----------
    regimes
        Rows of ``risk_regime``.
    overlay
        What the table was made with.
    per_year
        Sessions a year.

    Returns
    -------
    dict
        ``regimes``: of each regime ``sessions``, ``percent`` of all sessions and ``longest_run``. ``transitions``:
        changes by regime left and regime entered; ``transitions_per_year``: changes in a year's sessions. ``current``:
        the last ``regime`` and the ``sessions`` spent in it so far. Beside them what :func:`documents` have in common.

    Raises
    ------
    ValueError
        A session occurs twice, a regime is unknown.
    """
    rows = _by_session(regimes, "risk_regime")
    counts = regime_counts(regime_levels(rows["regime"]))
    changes = int(counts.transitions.sum())
    content = {
        "regimes": {
            regime: {
                "sessions": counts.sessions[level],
                "percent": 100.0 * counts.share[level],
                "longest_run": counts.longest_run[level],
            }
            for level, regime in enumerate(REGIMES)
        },
        "transitions": {
            before: {
                after: counts.transitions[left, entered] for entered, after in enumerate(REGIMES) if after != before
            }
            for left, before in enumerate(REGIMES)
        },
        "transitions_per_year": changes * per_year / len(rows) if len(rows) else None,
        "current": {
            "regime": rows["regime"].iloc[-1] if len(rows) else None,
            "sessions": rows["sessions_in_regime"].iloc[-1] if len(rows) else None,
        },
    }
    return _document("regime", rows.index, overlay, content)


def scalar_document(scalars: pd.DataFrame, regimes: pd.DataFrame, overlay: AllocatorParameters) -> Document:
    """Sum up a scalar table.

    Parameters
    ----------
    scalars
        Rows of ``risk_scalar``.
    regimes
        Rows of ``risk_regime``, of the same sessions at least.
    overlay
        What the tables were made with.

    Returns
    -------
    dict
        ``scalar``: ``mean``, ``min``, ``max``, ``std`` (ddof = 1, null below two sessions), ``last``, ``share_scaled``
        (sessions below 0.99) and ``largest_step``, the largest change from one session to the next with its sign and
        ``session``, the first of equal ones; null where nothing changes. ``by_regime``: the same of the sessions of
        each regime, but for the step, and their number. ``sleeves``: ``scalar`` and ``by_regime`` of each sleeve that
        has scalars of its own. With a volatility target also ``volatility_target``: its ``parameters``, ``volatility``
        (``min``, ``max``, ``mean`` and ``last``, null where never measured), ``scalar`` as above but for the step, and
        ``share_at_cap`` of the sessions. Beside them what :func:`documents` have in common.

    Raises
    ------
    ValueError
        A session occurs twice, or has a scalar but no regime.
    """
    by_session = _by_session(regimes, "risk_regime")["regime"]
    sleeves = scalars["sleeve"]
    book = _by_session(scalars[sleeves == WHOLE_BOOK], "risk_scalar")
    whole = book["scalar"]
    content = _scalar_figures(whole, by_session) | {
        "sleeves": {
            sleeve: _scalar_figures(_by_session(rows, f"risk_scalar of sleeve {sleeve}")["scalar"], by_session)
            for sleeve, rows in scalars[sleeves != WHOLE_BOOK].groupby("sleeve")
        }
    }
    if wanted := overlay.volatility_target:
        volatility, scalar = (book[name].to_numpy(np.float64) for name in ("volatility", "volatility_scalar"))
        content["volatility_target"] = {
            "parameters": asdict(wanted),
            "volatility": _range(volatility[~np.isnan(volatility)])
            | {"last": volatility[-1] if len(volatility) else None},
            "scalar": _spread(scalar),
            "share_at_cap": np.mean(scalar == wanted.cap) if len(scalar) else None,
        }
    return _document("scalar", whole.index, overlay, content)


def _scalar_figures(scalars: pd.Series, regimes: pd.Series) -> Document:
    if not scalars.index.isin(regimes.index).all():
        stray = scalars.index.difference(regimes.index)
        raise ValueError(f"risk_scalar: expected a regime on each of its sessions, got none on {stray[0]:%Y-%m-%d}")
    regime = regimes.reindex(scalars.index).to_numpy()
    values = scalars.to_numpy(np.float64)
    steps = np.diff(values)
    largest = int(np.abs(steps).argmax()) if steps.any() else None
    step = None if largest is None else {"change": steps[largest], "session": scalars.index[largest + 1]}
    return {
        "scalar": _spread(values) | {"largest_step": step},
        "by_regime": {
            name: _spread(values[regime == name]) | {"sessions": np.count_nonzero(regime == name)} for name in REGIMES
        },
    }


def _spread(values: Floats) -> Document:
    return _range(values) | {
        "std": values.std(ddof=1) if len(values) > 1 else None,
        "last": values[-1] if len(values) else None,
        "share_scaled": np.mean(values < FULL_EXPOSURE) if len(values) else None,
    }


def _range(values: Floats) -> Document:
    if not len(values):
        return dict.fromkeys(("min", "max", "mean"))
    return {"min": values.min(), "max": values.max(), "mean": values.mean()}


def _by_session(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows in the order of their sessions, whatever order they came in."""
    rows = table.set_index("session")
    rows = rows if rows.index.is_monotonic_increasing else rows.sort_index()
    if not rows.index.is_unique:
        raise ValueError(
            f"{name}: expected each session once, got {rows.index[rows.index.duplicated()][0]:%Y-%m-%d} twice"
        )
    return rows


def _document(name: str, sessions: pd.Index, overlay: AllocatorParameters, content: Document) -> Document:
    """Content with what all documents have, in plain types."""
    named = overlay.profile if isinstance(overlay.profile, str) else None
    head = {
        "version": VERSION,
        "document": name,
        "parameters_hash": parameter_hash(overlay),
        "profile": {"name": named, **asdict(overlay.resolved_profile()), "sleeve_maps": overlay.sleeve_maps},
        "thresholds": asdict(overlay.thresholds),
        "sessions": {
            "first": sessions[0] if len(sessions) else None,
            "last": sessions[-1] if len(sessions) else None,
            "count": len(sessions),
        },
    }
    plain: Document = _plain(head | content)
    return plain


def _plain(value: Any) -> Any:
    """Value in the types of JSON: keys sorted, NumPy's numbers as Python's, NaN as None, a session as its date."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain
