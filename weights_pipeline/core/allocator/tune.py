"""Thresholds of the allocator on trial: chosen on the sessions before a window, judged on the window.

Scope: the walk-forward study of regime thresholds and profiles. Not here: the formulas it calls (``regime``,
``scalar``, ``overlay``), and the use of what it finds: parameters change where a person changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.overlay import FULL_EXPOSURE, applied_scalar, performance
from weights_pipeline.core.allocator.regime import RegimeThresholds, classify, regime_summary
from weights_pipeline.core.allocator.scalar import AllocatorParameters, Profile, risk_scalar
from weights_pipeline.core.returns.frequency import DAILY, Frequency

FIGURES = ("cagr", "sharpe", "max_drawdown")

Figures = Mapping[str, float]


def _calmar(figures: Figures) -> float:
    return figures["cagr"] / figures["max_drawdown"] if figures["max_drawdown"] > 0.0 else np.nan


SCORES: Mapping[str, Callable[[Figures], float]] = MappingProxyType(
    {
        "sharpe": lambda figures: figures["sharpe"],
        "calmar": _calmar,
        "max_drawdown": lambda figures: -figures["max_drawdown"],
    }
)
"""What a choice is preferred for, by name; more is better. Least drawdown alone always favours the hardest cuts."""

DEFAULT_GRID: Mapping[str, Sequence[Any]] = MappingProxyType(
    {
        "vol_accel_enter": (1.2, 1.3, 1.4),
        "corr_shock_enter": (0.1, 0.15),
        "dd_enter": (-0.1, -0.08),
        "dd_slope_enter": (-0.06, -0.045),
        "profile": ("low", "medium", "high"),
    }
)
"""72 combinations around the default thresholds, which are one of them."""

_TYPES: Mapping[str, type] = {field.name: type(field.default) for field in fields(RegimeThresholds)}
_WORDS: Mapping[type, str] = {float: "a number", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Parameters on trial.

    Attributes
    ----------
    label : str
        What differs from the base parameters.
    thresholds : RegimeThresholds
    profile : Profile
    """

    label: str
    thresholds: RegimeThresholds
    profile: Profile


@dataclass(frozen=True, kw_only=True, eq=False)
class TuneResult:
    """What came of a walk-forward study.

    Figures are those of :func:`~weights_pipeline.core.allocator.overlay.performance`, null where they cannot be
    measured; ``…_change`` is the figure less that of the unscaled portfolio on the same sessions.

    Attributes
    ----------
    score : str
        One of ``SCORES``.
    choices : DataFrame, shape (choices, …)
        Index ``choice`` (label), base parameters first. Of the whole history: ``share_NORMAL`` … ``share_CRISIS`` of
        the sessions with a state, ``transitions_per_year``, ``mean_scalar`` and ``share_scaled`` (below 0.99) of the
        scalars in force, ``cagr``, ``sharpe``, ``max_drawdown`` and their changes; in sample, as the history has been
        seen. Of the sessions of all windows, with the choice held throughout: the same three with the prefix ``held_``,
        their changes, and ``held_score``. ``times_chosen``: windows for which it was chosen.
    trials : DataFrame, shape (windows · choices, …)
        Index ``window`` (from 0) and ``choice``. ``train_score``, the three figures on the training sessions with the
        prefix ``train_`` and on the window with ``test_``, and the changes of the latter.
    windows : DataFrame, shape (windows, …)
        Index ``window``. ``train_first``, ``train_last``, ``test_first``, ``test_last``, ``sessions`` (of the window;
        the last window may be shorter), ``chosen``, and the three figures on the window with the prefixes ``chosen_``,
        ``base_`` and ``unscaled_``.
    totals : DataFrame, shape (3, 6)
        Index ``walk_forward``, ``base``, ``unscaled``, all over the sessions of all windows: ``cagr``, ``sharpe``,
        ``max_drawdown``, ``worst_month``, ``score`` and ``share_scaled``.
    returns : DataFrame, shape (sessions of all windows, 3)
        Daily returns behind ``totals``.
    held : DataFrame, shape (sessions of all windows, choices)
        Daily returns of each choice, held throughout.
    """

    score: str
    choices: pd.DataFrame
    trials: pd.DataFrame
    windows: pd.DataFrame
    totals: pd.DataFrame
    returns: pd.DataFrame
    held: pd.DataFrame

    @property
    def better_than_base(self) -> tuple[str, ...]:
        """Choices that, held throughout, score better than the base parameters out of sample.

        With many choices some do by luck alone; only ``walk_forward`` is chosen without knowing the windows.
        """
        scores = self.choices["held_score"]
        return tuple(self.choices.index[scores > scores.iloc[0]])

    @property
    def verdict(self) -> str:
        """Whether choosing would have paid, in sentences, flattering or not."""
        better, others = len(self.better_than_base), len(self.choices) - 1
        scores = self.totals["score"]
        if not others:
            held = "There is no choice beside the base parameters."
        elif not better:
            held = f"None of {others} choices beats the base parameters out of sample."
        else:
            held = f"{better} of {others} choices, held throughout, beat the base parameters out of sample."
        if scores[["walk_forward", "base"]].isna().any():
            return f"{held} Choosing as time went on cannot be judged: too few sessions, or none with a move."
        outcome, against = (
            "beats" if scores["walk_forward"] > scores[of] else "does not beat" for of in ("base", "unscaled")
        )
        shown = -scores if self.score == "max_drawdown" else scores
        return (
            f"{held} Choosing as time went on {outcome} them by {self.score} "
            f"({shown['walk_forward']:.4g} against {shown['base']:.4g}) and {against} the unscaled portfolio "
            f"({shown['unscaled']:.4g})."
        )


def choices(grid: Mapping[str, Sequence[Any]], base: AllocatorParameters) -> list[Choice]:
    """Every combination of the values of a grid, after the base parameters themselves.

    Parameters
    ----------
    grid
        Values by key: a field of :class:`~weights_pipeline.core.allocator.regime.RegimeThresholds`, or ``profile`` with
        names in :data:`~weights_pipeline.core.allocator.scalar.PROFILES`.
    base
        What the grid does not name, and the first choice. Scalars of single sleeves are not on trial.

    Returns
    -------
    list of Choice
        Base first, labelled ``base``; a combination that means the same as an earlier one is left out.

    Raises
    ------
    ValueError
        A key that there is not, one without values, or a combination that is not valid; the message names the key.
    """
    for key, values in grid.items():
        if key != "profile" and key not in _TYPES:
            raise ValueError(f"{key}: expected profile or one of {', '.join(_TYPES)}")
        if not len(values):
            raise ValueError(f"{key}: expected at least one value, got none")
    made = [Choice(label="base", thresholds=base.thresholds, profile=base.resolved_profile())]
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        try:
            own = {key: _typed(key, value) for key, value in chosen.items() if key != "profile"}
            thresholds = replace(base.thresholds, **own)
            profile = replace(base, profile=str(chosen["profile"])) if "profile" in chosen else base
            resolved = profile.resolved_profile()
        except ValueError as error:
            combination = ", ".join(f"{key}={value}" for key, value in chosen.items())
            raise ValueError(f"{combination}: {error}") from error
        if not any((choice.thresholds, choice.profile) == (thresholds, resolved) for choice in made):
            differing = [f"{key}={value}" for key, value in own.items() if getattr(base.thresholds, key) != value]
            if resolved != made[0].profile:
                differing.append(f"profile={chosen['profile']}")
            made.append(Choice(label=", ".join(differing), thresholds=thresholds, profile=resolved))
    return made


def walk_forward(
    state_table: pd.DataFrame,
    portfolio_returns: pd.Series,
    choices: Sequence[Choice],
    *,
    lag: int = 1,
    train: int = 756,
    test: int = 252,
    score: str = "sharpe",
    frequency: Frequency = DAILY,
) -> TuneResult:
    """Choose on the sessions before each window, earn what the choice earns in the window, and move on.

    Regimes and scalars of a choice are made once over the whole history, since they only look back; returns are
    portfolio × scalar, lagged. For each window of ``test`` sessions the choice with the best score on the ``train``
    sessions before it is taken: the first of equal ones, and a score that is null ranks below any number. Hence nothing
    in or after a window has a say in its choice. As a position is scaled from one session to the next, a change of
    choice takes effect at once, and costs nothing here.

    Parameters
    ----------
    state_table
        Rows of ``allocator_state``, in order.
    portfolio_returns : Series, shape (sessions,)
        Unscaled daily returns above −1 from before the first state on. A session without a state keeps the last scalar.
    choices
        What to choose from, base parameters first.
    lag : int
        Sessions between scalar and returns, at least 1.
    train, test : int
        Sessions to choose on, at least 60, and sessions to judge on, at least 1.
    score : {"sharpe", "calmar", "max_drawdown"}
        What to choose by: Sharpe ratio, CAGR / maximum drawdown (null without a drawdown), or least drawdown.
    frequency : Frequency
        How many sessions make a year.

    Returns
    -------
    TuneResult

    Raises
    ------
    ValueError
        No choice, labels that repeat, sessions out of order, a state outside of the portfolio's sessions, too few
        sessions, an unknown score, a lag below 1, a return that is null or not above −1.
    """
    sessions = pd.DatetimeIndex(portfolio_returns.index)
    state = state_table.set_index("session")
    labels = [choice.label for choice in choices]

    def figures_of(returns: pd.Series) -> dict[str, float]:
        return {name: value for name, (value, _) in performance(returns, frequency=frequency).items()}

    def effect(prefix: str, returns: pd.Series, unscaled: pd.Series) -> dict[str, float]:
        figures = figures_of(returns)
        return _named(prefix, figures) | _changes(prefix, figures, figures_of(unscaled))

    _require(labels, state, sessions, train, test, score)

    distinct = dict.fromkeys(choice.thresholds for choice in choices)
    paths = {thresholds: classify(state, thresholds)["regime"] for thresholds in distinct}
    scalars = {
        choice.label: applied_scalar(risk_scalar(paths[choice.thresholds], choice.profile)["scalar"], sessions, lag)
        for choice in choices
    }
    scaled = {label: portfolio_returns * scalar for label, scalar in scalars.items()}
    windows = [(start, min(start + test, len(sessions))) for start in range(train, len(sessions), test)]
    trials, rows = list[dict[str, Any]](), list[dict[str, Any]]()
    for window, (start, end) in enumerate(windows):
        unscaled = figures_of(portfolio_returns.iloc[start:end])
        tested = {label: figures_of(returns.iloc[start:end]) for label, returns in scaled.items()}
        trained = {label: figures_of(returns.iloc[start - train : start]) for label, returns in scaled.items()}
        scores = {label: SCORES[score](figures) for label, figures in trained.items()}
        chosen = _best(scores)
        trials += [
            {"window": window, "choice": label, "train_score": scores[label]}
            | _named("train_", trained[label])
            | _named("test_", tested[label])
            | _changes("test_", tested[label], unscaled)
            for label in labels
        ]
        rows.append(
            {
                "train_first": sessions[start - train],
                "train_last": sessions[start - 1],
                "test_first": sessions[start],
                "test_last": sessions[end - 1],
                "sessions": end - start,
                "chosen": chosen,
            }
            | _named("chosen_", tested[chosen])
            | _named("base_", tested[labels[0]])
            | _named("unscaled_", unscaled)
        )

    frame = pd.DataFrame(rows).rename_axis("window")
    judged = portfolio_returns.iloc[train:]
    in_force = {
        "walk_forward": pd.concat(
            [scalars[row["chosen"]].iloc[start:end] for row, (start, end) in zip(rows, windows, strict=True)]
        ),
        "base": scalars[labels[0]].iloc[train:],
        "unscaled": pd.Series(1.0, index=judged.index),
    }
    chained = {name: judged * scalar for name, scalar in in_force.items()}
    totals = []
    for name, returns in chained.items():
        figures = figures_of(returns)
        share = float((in_force[name] < FULL_EXPOSURE).mean())
        totals.append(figures | {"score": SCORES[score](figures), "share_scaled": share})
    by_choice = [
        _on_regimes(paths[choice.thresholds], frequency.per_year)
        | _on_scalars(scalars[choice.label])
        | effect("", scaled[choice.label], portfolio_returns)
        | effect("held_", scaled[choice.label].iloc[train:], judged)
        | {"held_score": SCORES[score](figures_of(scaled[choice.label].iloc[train:]))}
        | {"times_chosen": int((frame["chosen"] == choice.label).sum())}
        for choice in choices
    ]
    return TuneResult(
        score=score,
        choices=pd.DataFrame(by_choice, index=pd.Index(labels, name="choice")),
        trials=pd.DataFrame(trials).set_index(["window", "choice"]),
        windows=frame,
        totals=pd.DataFrame(totals, index=pd.Index(list(chained), name="portfolio")),
        returns=pd.DataFrame(chained),
        held=pd.DataFrame(scaled).iloc[train:],
    )


def _require(
    labels: Sequence[str], state: pd.DataFrame, sessions: pd.DatetimeIndex, train: int, test: int, score: str
) -> None:
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"choices: expected at least one, each with a label of its own, got {list(labels)}")
    if score not in SCORES:
        raise ValueError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
    if train < DAILY.enough:
        raise ValueError(f"train: expected at least {DAILY.enough} sessions, got {train}")
    if test < 1:
        raise ValueError(f"test: expected at least 1 session, got {test}")
    for name, index in (("portfolio_returns", sessions), ("state", state.index)):
        if not (index.is_unique and index.is_monotonic_increasing):
            raise ValueError(f"{name}: expected unique sessions in increasing order, got others")
    if len(stray := state.index.difference(sessions)):
        raise ValueError(f"state: expected sessions of the portfolio, got {stray[0]:%Y-%m-%d}, which is none")
    if len(sessions) <= train:
        raise ValueError(f"portfolio_returns: expected more than the {train} sessions to train on, got {len(sessions)}")


def _typed(key: str, value: Any) -> Any:
    """Value in the type of a threshold; what would have to be rounded is refused."""
    wanted = _TYPES[key]
    if not isinstance(value, Real) or not np.isfinite(float(value)) or wanted(value) != value:
        raise ValueError(f"{key}: expected {_WORDS[wanted]}, got {value!r}")
    return wanted(value)


def _best(scores: Mapping[str, float]) -> str:
    """First of the best; null ranks below any number."""
    return max(scores, key=lambda label: -np.inf if np.isnan(scores[label]) else scores[label])


def _named(prefix: str, figures: Figures) -> dict[str, float]:
    return {f"{prefix}{name}": figures[name] for name in FIGURES}


def _changes(prefix: str, figures: Figures, unscaled: Figures) -> dict[str, float]:
    return {f"{prefix}{name}_change": figures[name] - unscaled[name] for name in FIGURES}


def _on_regimes(regimes: pd.Series, per_year: float) -> dict[str, float]:
    summary = regime_summary(regimes)
    changes = int(summary.transitions.to_numpy().sum())
    shares = {f"share_{regime}": share for regime, share in summary.by_regime["share"].to_dict().items()}
    a_year = changes * per_year / len(regimes) if len(regimes) else np.nan
    return shares | {"transitions_per_year": a_year}


def _on_scalars(scalars: pd.Series) -> dict[str, float]:
    return {"mean_scalar": float(scalars.mean()), "share_scaled": float((scalars < FULL_EXPOSURE).mean())}
