"""Ledgers damaged at random: read with every row accounted for and the rest untouched, or refused with a word."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz
from weights_pipeline.ledger.closed import ClosedLots


@given(number=st.integers(0, 2**31))
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_damaged_ledger_is_read_or_refused(tmp_path: Path, number: int) -> None:
    assert fuzz.fuzzed(tmp_path, number)


def test_what_is_lost_or_made_of_whole_rows_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "_sound", lru_cache(fuzz._sound.__wrapped__))
    number, read = 4, fuzz.read_ledger
    assert fuzz.fuzzed(tmp_path, number) == "read, the rest untouched"
    for changed, said in ((1, "booked of rows that are whole"), (0, "not booked of rows that are whole")):
        fuzz._sound.cache_clear()
        readings = []

        def without_lots(source, root, *, horizon, changed=changed, readings=readings):
            intake = read(source, root, horizon=horizon)
            readings.append(intake)
            return replace(intake, closed=ClosedLots(intake.lots.iloc[:0])) if len(readings) - 1 == changed else intake

        monkeypatch.setattr(fuzz, "read_ledger", without_lots)
        with pytest.raises(AssertionError, match=f"^{said}"):
            fuzz.fuzzed(tmp_path, number)
