"""The probability of backtest overfitting and the walk forward, against plain implementations."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.study.overfitting import BLOCKS, SHORTEST, block_sums, of_returns, overfitting, walked


def plainly(returns, blocks):
    """Bailey et al. (2017), section 2.2, a step a line: logits of the chosen trial out of sample."""
    length = len(returns) // blocks
    parts = np.split(returns[len(returns) % blocks :], blocks)
    assert all(len(part) == length for part in parts)

    def ratios(half):
        joined = np.concatenate([parts[place] for place in half])
        return [float(column.mean() / column.std(ddof=1)) for column in joined.T]

    logits, outside = [], []
    for half in combinations(range(blocks), blocks // 2):
        seen = ratios(half)
        unseen = ratios([place for place in range(blocks) if place not in half])
        best = seen.index(max(seen))
        rank = 1 + sum(each < unseen[best] for each in unseen)
        share = rank / (len(unseen) + 1)
        logits.append(math.log(share / (1 - share)))
        outside.append(unseen[best])
    return np.array(logits), np.array(outside)


def noise(seed, sessions=403, trials=7, edge=0.0):
    returns = np.random.default_rng(seed).normal(0.0, 0.01, (sessions, trials))
    returns[:, 2:3] += edge
    return returns


@pytest.mark.parametrize("blocks", [2, 4, 8])
@pytest.mark.parametrize("edge", [0.0, 0.001, 0.01])
def test_it_is_what_the_paper_says(blocks, edge):
    returns = noise(blocks, edge=edge)
    logits, outside = plainly(returns, blocks)
    found = of_returns(returns, blocks)
    assert found.ways == len(logits) == math.comb(blocks, blocks // 2)
    assert found.probability == np.mean(logits <= 0.0)
    assert found.loss == np.mean(outside < 0.0)
    assert found.outside == pytest.approx(outside.mean(), abs=1e-12)
    assert found.inside >= found.outside


def test_golden_figures():
    found = of_returns(noise(20170401, sessions=1000, trials=20))
    assert (found.trials, found.blocks, found.ways) == (20, BLOCKS, 12_870)
    assert found == of_returns(noise(20170401, sessions=1000, trials=20))
    # The plain implementation above counts them in eight seconds.
    assert found.probability == 3696 / 12_870
    assert found.loss == 2230 / 12_870


def test_skill_is_no_overfitting_and_luck_is_a_coin():
    assert of_returns(noise(1, edge=0.01)).probability == 0.0
    lucky = [of_returns(noise(seed), 8).probability for seed in range(60)]
    assert np.mean(lucky) == pytest.approx(0.5, abs=0.1)


def test_of_equal_trials_the_first_is_chosen_and_none_is_better_than_the_median():
    same = np.repeat(noise(3)[:, :1], 3, axis=1)
    assert of_returns(same).probability == 1.0
    # The better one twice: whichever is chosen, one is worse and one is equal, 2½ of 4.
    better = np.column_stack([same[:, 0], same[:, 0] + 0.01, same[:, 0] + 0.01])
    assert of_returns(better).probability == 0.0


def test_what_does_not_move_is_chosen_by_nobody_and_ranks_last():
    still = np.column_stack([np.full(200, 0.001), noise(4, 200, 1)[:, 0]])
    assert of_returns(still).probability == 0.0
    assert of_returns(np.full((200, 2), 0.001)) is None


def test_without_a_choice_or_with_too_few_returns_there_is_none():
    assert of_returns(noise(5)[:, :1]) is None
    assert of_returns(noise(5)[:, :0]) is None
    assert of_returns(noise(5, sessions=5 * BLOCKS - 1)) is None
    assert of_returns(noise(5, sessions=5 * BLOCKS)) is not None
    for blocks in (0, 3):
        with pytest.raises(ValueError, match=f"blocks: expected an even number of at least 2, got {blocks}"):
            block_sums([0.1], blocks)


@given(st.integers(0, 10_000), st.permutations(range(7)), st.floats(0.1, 10.0))
def test_neither_scale_nor_the_order_of_trials_matters(seed, order, scale):
    returns = noise(seed, sessions=120)
    found = of_returns(returns, 6)
    moved = of_returns(scale * returns[:, order], 6)
    assert (moved.probability, moved.loss, moved.ways) == (found.probability, found.loss, found.ways)


def test_sums_of_blocks_are_enough():
    returns = noise(6)
    sums = [block_sums(column) for column in returns.T]
    assert overfitting(sums, len(returns) // BLOCKS) == of_returns(returns)


def ratio(returns):
    return float(returns.mean() / returns.std(ddof=1))


@pytest.mark.parametrize("edge", [0.0, 0.01])
def test_a_walk_forward_chooses_by_what_was_seen_before(edge):
    returns = noise(11, sessions=16 * 25 + 3, edge=edge)
    parts = np.split(returns[3:], BLOCKS)
    chosen, earned = [], []
    for block in range(8, 16):
        seen = [ratio(column) for column in np.concatenate(parts[:block]).T]
        chosen.append(seen.index(max(seen)))
        earned.append(parts[block][:, chosen[-1]])
    found = walked([block_sums(column) for column in returns.T], 25)
    assert found.chosen == tuple(chosen)
    assert found.sharpe == pytest.approx(ratio(np.concatenate(earned)), abs=1e-12)
    held = [ratio(column) for column in np.concatenate(parts[8:]).T]
    assert (found.best, found.median) == pytest.approx((max(held), float(np.median(held))), abs=1e-12)
    assert edge == 0.0 or set(found.chosen) == {2}


def test_what_comes_later_changes_no_choice_before_it():
    returns = noise(12, sessions=16 * 25)
    altered = returns.copy()
    altered[12 * 25 :] *= -2
    one, other = (walked([block_sums(column) for column in each.T], 25).chosen for each in (returns, altered))
    assert one[:5] == other[:5]


def test_there_is_no_walk_without_a_choice_or_returns_that_move():
    returns = noise(13)
    sums = [block_sums(column) for column in returns.T]
    assert walked(sums[:1], 25) is None
    assert walked(sums, SHORTEST - 1) is None
    assert walked([*sums, np.zeros((2, BLOCKS))], 25) is None
