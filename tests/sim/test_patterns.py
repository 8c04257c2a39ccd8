"""The store of patterns against a dict. The walk itself is held to the oracle in test_events.py."""

import numpy as np
import pytest

from coarsegrad.sim import patterns


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_kept_patterns_are_found_and_the_least_used_goes(draw):
    n, slots = 130, 16
    kept, used, values = np.empty((slots, 3), np.uint64), np.zeros(slots, np.int64), np.empty((slots, 1))
    counts, known, words = np.zeros(len(patterns.COUNTS), np.int64), {}, np.empty(3, np.uint64)
    for k in range(60):
        negative = draw.random(n) < 0.5
        known[tuple(negative)] = float(k)
        patterns.insert(negative, np.array([float(k)]), kept, used, values, counts)
    found = 0
    for negative, value in known.items():
        patterns._pack(np.array(negative), words)
        slot = patterns._find(words, kept, used)
        found += slot >= 0
        assert slot < 0 or values[slot, 0] == value
    assert found == slots and counts[patterns.COUNTS.index("evictions")] == 60 - slots
    assert slot >= 0  # the newest stays


def test_bins_are_powers_of_two():
    assert [patterns._bin(k) for k in (1, 2, 3, 4, 1023, 1024)] == [0, 1, 1, 2, 9, 10]
