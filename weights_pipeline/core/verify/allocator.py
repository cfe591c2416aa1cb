"""What holds of the allocator's tables.

Scope: state, regimes, scalars, their application and the audit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.hedges import Hedging, hedged_rows
from weights_pipeline.core.allocator.overlay import AuditGates, audit_misses
from weights_pipeline.core.allocator.regime import REGIMES, RegimeThresholds, regime_levels, regime_summary
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters, Profile, risk_scalar
from weights_pipeline.core.allocator.state import MAY_BE_NULL, OPTIONAL, idle_sessions, reference_portfolio
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.verify.finding import Finding


def state_coverage(due: pd.DatetimeIndex, state: pd.DataFrame) -> Finding:
    """Every session that is due a state has one."""
    lost = due.difference(pd.DatetimeIndex(state["session"]))
    idle = int(idle_sessions(state).sum())
    return Finding(
        passed=lost.empty,
        value=float(len(lost)),
        limit=0.0,
        summary=f"{len(lost)} of {len(due)} sessions beyond warm-up have no state; on {idle} too little moved for one",
        offending=pd.DataFrame({"session": lost}),
    )


def scalar_bounds(scalars: pd.DataFrame, profile: Profile) -> Finding:
    """Every scalar lies inside the profile's floor and cap."""
    value = scalars["scalar"]
    broken = scalars[~value.between(profile.floor, profile.cap)]
    lowest = float(value.min()) if len(value) else profile.cap
    return Finding(
        passed=broken.empty,
        value=lowest,
        limit=profile.floor,
        summary=f"scalars between {lowest:.4f} and {float(value.max()) if len(value) else profile.cap:.4f}, "
        f"allowed {profile.floor:g} to {profile.cap:g}",
        offending=broken,
    )


def scalar_recursion(scalars: pd.DataFrame, profiles: Mapping[str, Profile]) -> Finding:
    """The stored scalars are the smoothed targets of the stored regimes, to the bit.

    Parameters
    ----------
    scalars
        Rows of ``risk_scalar``.
    profiles
        Profile of the book and of each sleeve with a map of its own.
    """
    broken, worst = [], 0.0
    for sleeve, rows in scalars.sort_values(["sleeve", "session"]).groupby("sleeve"):
        if str(sleeve) not in profiles:
            broken.append(rows.assign(expected=np.nan))
            continue
        expected = risk_scalar(rows.set_index("session")["regime"], profiles[str(sleeve)])["scalar"].to_numpy()
        gap = np.abs(rows["scalar"].to_numpy() - expected)
        worst = max(worst, float(gap.max(initial=0.0)))
        broken.append(rows[gap > 0].assign(expected=expected[gap > 0]))
    offending = pd.concat(broken) if broken else pd.DataFrame()
    return Finding(
        passed=offending.empty,
        value=worst,
        limit=0.0,
        summary=f"scalars deviate at most {worst:.1e} from the smoothed targets",
        offending=offending,
    )


def smooth_scalars(scalars: pd.DataFrame, profile: Profile) -> Finding:
    """No scalar moves further in a session than the profile's smoothing allows."""
    limit = profile.alpha * (profile.cap - min(profile.floor, *profile.map.values()))
    rows = scalars.sort_values(["sleeve", "session"])
    step = rows.groupby("sleeve")["scalar"].diff().abs()
    largest = float(step.max()) if step.notna().any() else 0.0
    return Finding(
        passed=largest <= limit,
        value=largest,
        limit=limit,
        summary=f"largest step of a scalar in a session is {largest:.4f}, allowed {limit:.4f}",
        offending=rows[step > limit],
    )


def volatility_targeted(scalars: pd.DataFrame, expected: pd.DataFrame | None) -> Finding:
    """The stored scalars of a volatility target are those of the unscaled portfolio that was held, to the bit.

    Parameters
    ----------
    scalars
        Rows of ``risk_scalar``.
    expected
        ``volatility`` and ``volatility_scalar`` by session; None where there is no target, and nothing is stored of
        one.
    """
    columns = ["volatility", "volatility_scalar"]
    rows = scalars[scalars["sleeve"] == WHOLE_BOOK]
    found, again = rows[columns].to_numpy(np.float64), np.full((len(rows), 2), np.nan)
    if expected is not None:
        again = expected[columns].reindex(pd.DatetimeIndex(rows["session"])).to_numpy(np.float64)
    broken = ~((found == again) | (np.isnan(found) & np.isnan(again))).all(axis=1)
    names = [f"{name}_expected" for name in columns]
    offending = rows.loc[broken, ["session", *columns]]
    offending[names] = again[broken]
    return Finding(
        passed=not broken.any(),
        value=float(broken.sum()),
        limit=0.0,
        summary=f"{len(rows)} sessions, {int(broken.sum())} whose scalar is not target over volatility",
        offending=offending,
    )


def ordered_scalars(scalars: pd.DataFrame) -> Finding:
    """The mean scalar of a worse regime is not above that of a calmer one, for the book and each sleeve."""
    means = scalars.groupby(["sleeve", "regime"])["scalar"].mean().unstack().reindex(columns=list(REGIMES))
    known = means.ffill(axis=1)
    broken = means[(known.diff(axis=1) > 0).any(axis=1)]
    words = (
        ", ".join(f"{name} {mean:.3f}" for name, mean in means.iloc[0].dropna().items()) if len(means) else "none yet"
    )
    return Finding(
        passed=broken.empty,
        value=float(len(broken)),
        limit=0.0,
        summary=f"mean scalar by regime: {words}",
        offending=broken.reset_index(),
    )


def same_sessions(state: pd.DataFrame, regimes: pd.DataFrame, scalars: pd.DataFrame) -> Finding:
    """Every session with a state has a regime and a scalar and none else has; nothing that must be known is null."""
    features = [name for name in state.columns if name not in (*OPTIONAL, *MAY_BE_NULL)]
    expected = pd.DatetimeIndex(state["session"])
    book = scalars[scalars["sleeve"] == WHOLE_BOOK]
    tables = {"regime": regimes[["session", "regime"]], "scalar": book[["session", "scalar"]]}
    offending = [
        pd.DataFrame({"session": expected.symmetric_difference(pd.DatetimeIndex(table["session"])), "problem": name})
        for name, table in tables.items()
    ]
    for name, table in {"state": state[features], **tables}.items():
        null = table.isna().any(axis=1)
        offending.append(pd.DataFrame({"session": table.loc[null, "session"], "problem": f"null in {name}"}))
    rows = pd.concat(offending, ignore_index=True)
    return Finding(
        passed=rows.empty,
        value=float(len(rows)),
        limit=0.0,
        summary=f"{len(expected)} sessions with a state; {len(rows)} without regime or scalar, or with a null",
        offending=rows,
    )


def aligned_state(state: pd.DataFrame, realized: pd.DataFrame, returns: pd.DataFrame) -> Finding:
    """The state speaks of the portfolio that was held: Σ w·r of the unscaled weights in force, to the bit.

    Parameters
    ----------
    state, realized, returns
        Rows of ``allocator_state``, ``realized_weights`` and ``strategy_returns``.
    """
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized").fillna(0.0)
    held = reference_portfolio(weights, wide(returns).reindex(columns=weights.columns)).returns
    expected = held.reindex(pd.DatetimeIndex(state["session"])).to_numpy(float)
    stored = state["portfolio_return"].to_numpy(float)
    broken = stored != expected
    return Finding(
        passed=not broken.any(),
        value=float(np.nanmax(np.abs(stored - expected), initial=0.0)),
        limit=0.0,
        summary=f"{len(state)} sessions, {int(broken.sum())} not of the portfolio held",
        offending=state.loc[broken, ["session", "portfolio_return"]].assign(expected=expected[broken]),
    )


def audit_gates(audited: pd.DataFrame, gates: AuditGates) -> Finding:
    """The overlay keeps the gates of the newest audit; the figures are told either way."""
    newest = audited[audited["as_of"] == audited["as_of"].max()]
    if newest.empty:
        return Finding(passed=True, value=0.0, limit=0.0, summary="no audit yet")
    missed = audit_misses(newest, gates)
    whole = newest[newest["window"] == "all"].set_index(["portfolio", "metric"])["value"]
    told = "; ".join(
        f"{metric} {whole['unscaled', metric]:.4f} unscaled, {whole['scaled', metric]:.4f} scaled"
        for metric in ("cagr", "sharpe", "max_drawdown")
    )
    names = f"; gates missed: {', '.join(missed['gate'])}" if len(missed) else ""
    return Finding(passed=missed.empty, value=float(len(missed)), limit=0.0, summary=f"{told}{names}", offending=missed)


def overlay_applied(
    final: pd.DataFrame,
    realized: pd.DataFrame,
    scalars: pd.DataFrame,
    overlay: AllocatorParameters | None,
    hedging: Hedging | None = None,
) -> Finding:
    """Final weights are the stored realized ones times the stored scalars where applied, to the bit.

    Parameters
    ----------
    final, realized, scalars
        Rows of ``final_weights``, ``realized_weights`` and ``risk_scalar``.
    overlay
        The allocator, which says by what a strategy is scaled.
    hedging
        Hedges of the policy: they are among final weights as the stored regimes say.
    """
    rows = final.merge(
        realized[["as_of", "strategy", "realized"]], on=["as_of", "strategy"], how="outer", suffixes=("", "_stored")
    )
    rows["sleeve"] = [overlay.scaled_by(name) if overlay else WHOLE_BOOK for name in rows["strategy"]]
    stored = scalars[["session", "sleeve", "scalar"]].rename(
        columns={"session": "scalar_session", "scalar": "smoothed"}
    )
    rows = rows.merge(stored, on=["scalar_session", "sleeve"], how="left")
    known = rows["scalar_session"].notna()
    rows["scaled"] = rows["realized_stored"] * np.where(known, rows["smoothed"], rows["scalar"])
    book = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")
    nothing = np.full(len(rows), np.nan)
    told = dict.fromkeys(("volatility_scalar", "funding", "hedge"), nothing)
    if overlay is not None and overlay.volatility_target is not None:
        targeted = np.where(known, book["volatility_scalar"].reindex(rows["scalar_session"]).to_numpy(), 1.0)
        told["volatility_scalar"], rows["scaled"] = targeted, rows["scaled"] * targeted
    if hedging is not None:
        told["funding"], told["hedge"] = hedged_rows(rows, book["regime"], hedging)
        rows["scaled"] = rows["scaled"] * told["funding"] + told["hedge"]
    expected = np.where(rows["applied"], rows["scaled"], rows["realized_stored"])
    gap = np.abs(rows["final"] - expected)
    broken = ~(gap == 0) | (rows["realized"] != rows["realized_stored"])
    for column, found in told.items():
        broken |= (rows[column] != found) & ~(rows[column].isna() & np.isnan(found))
    return Finding(
        passed=not broken.any(),
        value=float(gap.max()) if len(gap) else 0.0,
        limit=0.0,
        summary=f"{len(rows)} final weights, {int(broken.sum())} differ from realized × scalars"
        f"{' and hedges' if hedging else ''}",
        offending=rows[broken],
    )


def sticky_regimes(regimes: pd.DataFrame, thresholds: RegimeThresholds) -> Finding:
    """No regime is left for a calmer one before its minimum stay."""
    rows = regimes.sort_values("session")
    left = np.diff(regime_levels(rows["regime"]), prepend=0) < 0
    early = left & (rows["sessions_in_regime"].shift() < thresholds.min_stay).to_numpy()
    changes = int(rows["changed"].sum())
    longest = regime_summary(rows.set_index("session")["regime"]).by_regime["longest_run"]
    runs = ", ".join(f"{name} {int(run)}" for name, run in longest.items())
    return Finding(
        passed=not early.any(),
        value=float(early.sum()),
        limit=0.0,
        summary=f"{changes} transitions in {len(rows)} sessions; {int(early.sum())} downgrades before "
        f"{thresholds.min_stay} sessions; longest runs: {runs}",
        offending=rows[early],
    )
