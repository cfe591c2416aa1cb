"""Hedges: strategies that carry weight in named risk regimes alone, and what pays for them.

Scope: how much they are to carry on each session, and what funding does to the other weights. Not here: regimes as such
(``regime``), how the other weights are scaled (``scalar``), and what hedges have earned (``overlay``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.regime import REGIMES, regime_levels
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats, Group

FundedBy = Literal["pro_rata", "cash"]


@dataclass(frozen=True, kw_only=True)
class Hedges:
    """The ``hedges`` section of an allocator.

    Attributes
    ----------
    strategies : tuple of str
        Strategies of the book with a base weight of 0. Their metrics tilt nothing, and they are no components of the
        state.
    weight : float
        What they weigh together once fully on, in the units of gross.
    regimes : tuple of str
        Risk regimes in which they are on: some of ``REGIMES``, but not all.
    shares : mapping of str to float
        Share of each in the weight of all, above 0, adding up to 1; equal ones where left out.
    funded : {"pro_rata", "cash"}
        Whether all other weights give way by one factor, so that gross stays, or the hedges take what gross leaves in
        cash.
    ramp : float
        Largest change from one session to the next, as a share of ``weight``, in (0, 1].
    cap : float
        Largest share of all weights in force that they may be, in (0, 1].
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    strategies: tuple[str, ...]
    weight: float
    regimes: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    funded: FundedBy = "pro_rata"
    ramp: float = 1.0
    cap: float = 1.0

    def __post_init__(self) -> None:
        if not self.strategies or len(set(self.strategies)) < len(self.strategies):
            raise ValueError(f"strategies: expected one hedge or more, each once, got {list(self.strategies)}")
        if not 0.0 < self.weight < math.inf:
            raise ValueError(f"weight: expected a weight above 0, got {self.weight!r}")
        if not self.regimes or not set(self.regimes) <= set(REGIMES) or len(set(self.regimes)) < len(self.regimes):
            raise ValueError(f"regimes: expected some of {', '.join(REGIMES)}, each once, got {list(self.regimes)}")
        if len(self.regimes) == len(REGIMES):
            raise ValueError("regimes: a hedge that is on in all of them is no hedge; give it a base weight instead")
        if self.shares and set(self.shares) != set(self.strategies):
            raise ValueError(
                f"shares: expected none, or one of each of {', '.join(self.strategies)}, got {dict(self.shares)}"
            )
        if not all(0.0 < share <= 1.0 for share in self.shares.values()):
            raise ValueError(f"shares: expected shares above 0, got {dict(self.shares)}")
        if self.shares and abs(math.fsum(self.shares.values()) - 1.0) > GROSS_TOLERANCE:
            raise ValueError(f"shares: expected them to add up to 1, got {math.fsum(self.shares.values()):.12g}")
        if self.funded not in get_args(FundedBy):
            raise ValueError(f"funded: expected one of {', '.join(get_args(FundedBy))}, got {self.funded!r}")
        for key, share in (("ramp", self.ramp), ("cap", self.cap)):
            if not 0.0 < share <= 1.0:
                raise ValueError(f"{key}: expected a share in (0, 1], got {share!r}")
        # In one form, so that what means the same is the same however it was written.
        object.__setattr__(self, "strategies", tuple(sorted(self.strategies)))
        object.__setattr__(self, "regimes", tuple(regime for regime in REGIMES if regime in self.regimes))
        object.__setattr__(self, "shares", {name: float(self.shares[name]) for name in sorted(self.shares)})

    def share(self, strategy: str) -> float:
        """Share of a strategy in the weight of all hedges; 0 of one that is none."""
        if strategy not in self.strategies:
            return 0.0
        return self.shares[strategy] if self.shares else 1.0 / len(self.strategies)


class Hedging(NamedTuple):
    """What hedges come to over the strategies of a book.

    Attributes
    ----------
    hedges
        The section of the book.
    strategies
        Names, n of them, sorted.
    shares
        Share of each in the weight of all hedges, shape (n,); 0 of those that are none.
    limits
        Caps on weights, of single hedges and of groups; floors are not read.
    gross
        What weights and hedges add up to at most where these are funded in cash.
    """

    hedges: Hedges
    strategies: tuple[str, ...]
    shares: Floats
    limits: tuple[Group, ...]
    gross: float


class Funded(NamedTuple):
    """What makes of weights those with hedges among them: ``weights · funding + hedge``.

    Attributes
    ----------
    funding
        Factor that is left of every weight, shape (dates,); 1 where cash pays.
    hedge
        What each strategy carries as a hedge, shape (dates, n).
    """

    funding: Floats
    hedge: Floats


def wanted(regimes: pd.Series, hedges: Hedges) -> pd.Series:
    r"""Weight that hedges go for on each session: :math:`h_t = W u_t`, before any limit.

    .. math:: u_t = \min(u_{t-1} + \rho, 1) \text{ in a regime that is named, else } \max(u_{t-1} - \rho, 0)

    with the weight :math:`W`, the ramp :math:`\rho` and nothing before the first session.

    Parameters
    ----------
    regimes : Series of str, shape (sessions,)
        In session order.
    hedges : Hedges

    Returns
    -------
    Series, shape (sessions,)
        From 0 to the weight, never null.

    Raises
    ------
    ValueError
        A value that is not a regime.
    """
    named = np.isin(regime_levels(regimes), [REGIMES.index(regime) for regime in hedges.regimes])
    # A last step of a rounding error would cost a session.
    up, down = 1.0 - hedges.ramp * (1.0 + GROSS_TOLERANCE), hedges.ramp * (1.0 + GROSS_TOLERANCE)
    part, parts = 0.0, list[float]()
    for on in named.tolist():
        risen, fallen = part + hedges.ramp if part < up else 1.0, part - hedges.ramp if part > down else 0.0
        part = risen if on else fallen
        parts.append(part)
    return pd.Series(hedges.weight * np.array(parts, dtype=np.float64), index=regimes.index)


def funded(weights: Floats, wanted: Floats, hedging: Hedging) -> Funded:
    r"""Size hedges among weights, as far as every limit allows.

    With the sum :math:`S` of the weights :math:`w` of a date, hedges that weigh :math:`h` together and their shares
    :math:`s`, the weights become

    .. math:: w_i \varphi + s_i h, \qquad \varphi = \frac{S - h}{S} \text{ pro rata, or } 1 \text{ in cash}.

    :math:`h` is the largest weight of at most that wanted with which

    - the hedges are no more than the share :math:`k` (``cap``) of all weights: :math:`h \le k S` pro rata,
      :math:`h \le S k / (1 - k)` in cash;
    - gross :math:`G` holds: :math:`h \le S` pro rata, :math:`h \le \max(G - S, 0)` in cash;
    - no group passes its cap :math:`c`: :math:`A \varphi + B h \le c`, with what its members weigh, :math:`A`, and
      their shares, :math:`B`. A group that is beyond its cap without hedges gets none that would raise it.

    All of these are linear in :math:`h`, so that it is found without a search, and the limits hold to rounding. A
    weight that is no hedge never rises, and a date reads its own weights alone.

    Parameters
    ----------
    weights
        Before hedges, shape (dates, n), of at least 0. A date with a null has nulls throughout.
    wanted
        Weight that hedges go for, shape (dates,).
    hedging
        See :class:`Hedging`.

    Returns
    -------
    Funded
    """
    hedges, shares = hedging.hedges, hedging.shares
    pro_rata = hedges.funded == "pro_rata"
    together, funding = np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    for date, (row, goal) in enumerate(zip(weights, wanted.tolist(), strict=True)):
        total = math.fsum(row)
        if math.isnan(total):
            continue
        most = [goal]
        if pro_rata:
            most.append(hedges.cap * total)
        else:
            most.append(hedging.gross - total)
            most += [total * hedges.cap / (1.0 - hedges.cap)] if hedges.cap < 1.0 else []
        for group in hedging.limits:
            held = math.fsum(row[group.members])
            rise = math.fsum(shares[group.members]) - (held / total if pro_rata and total > 0.0 else 0.0)
            # What rises by no more than rounding is no limit.
            most += [(group.cap - held) / rise] if rise > GROSS_TOLERANCE else []
        together[date] = max(min(most), 0.0)
        funding[date] = (total - together[date]) / total if pro_rata and total > 0.0 else 1.0
    return Funded(funding, together[:, None] * shares)


def hedged(weights: pd.DataFrame, wanted: Floats, hedging: Hedging) -> Funded:
    """Size hedges as :func:`funded` does among weights of books that change.

    Parameters
    ----------
    weights
        Dates × strategies; null where one is not in the book.
    wanted, hedging
        See :func:`funded`.

    Returns
    -------
    Funded
        In the rows and columns of ``weights``. Where others are in the book than the strategies of ``hedging``, as
        after a rebalance under another policy, there are no hedges.
    """
    names = list(hedging.strategies)
    theirs = weights.reindex(columns=names)
    own = (theirs.notna().all(axis=1) & (weights.notna().sum(axis=1) == len(names))).to_numpy()
    made = Funded(np.ones(len(weights)), np.zeros(weights.shape))
    if own.any():
        found = funded(theirs.to_numpy()[own], wanted[own], hedging)
        made.funding[own] = found.funding
        made.hedge[np.ix_(own, weights.columns.get_indexer(pd.Index(names)))] = found.hedge
    return made


def hedged_rows(final: pd.DataFrame, regimes: pd.Series, hedging: Hedging) -> tuple[Floats, Floats]:
    """Funding and hedge of every row of scaled weights.

    Parameters
    ----------
    final
        Columns as_of, strategy, scaled and scalar_session: hedges follow the regime of that session, and there are none
        before the first.
    regimes
        Risk regime by session, from the first on.
    hedging
        See :func:`funded`.

    Returns
    -------
    funding, hedge : ndarray, shape (rows,)
    """
    weights = final.pivot(index="as_of", columns="strategy", values="scaled")
    sessions = pd.DatetimeIndex(final.groupby("as_of")["scalar_session"].first())
    goal = wanted(regimes, hedging.hedges).reindex(sessions).fillna(0.0).to_numpy()
    made = hedged(weights, goal, hedging)
    date = weights.index.get_indexer(pd.Index(final["as_of"]))
    return made.funding[date], made.hedge[date, weights.columns.get_indexer(pd.Index(final["strategy"]))]
