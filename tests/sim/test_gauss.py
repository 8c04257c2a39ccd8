"""The slow obvious blocks: against the generator's published answers, and NumPy's own logarithm and sine."""

import numpy as np
import pytest

from coarsegrad.sim import gauss


def words(first, key):
    return [int(w[0]) for w in gauss._words(first, np.uint64(key), 1)]


def test_words_are_philox_4x32_10():
    # Random123's kat_vectors: counter and key all zero; and the words of its engine for counter (1, 0, 0, 0)
    assert words(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_many_counters_are_each_their_own():
    whole = gauss._words(5, np.uint64(77), 40)
    for i in range(40):
        assert [int(w[i]) for w in whole] == words(5 + i, 77)


@pytest.mark.parametrize(("kind", "close"), [(np.float32, 1e-6), (np.float64, 4e-15)])
def test_numbers_are_box_and_mullers(kind, close):
    key, out = np.uint64(3), np.empty(gauss.BLOCK, kind)
    if kind == np.float32:
        gauss.fill32(out, 0, key)
        a, b, c, d = (w.astype(float) for w in gauss._words(0, key, gauss.BLOCK // 4))
        pairs = [((np.floor(u / 2) + 0.5) / 2**31, t / 2**32) for u, t in ((a, b), (c, d))]
    else:
        gauss.fill64(out, 0, key)
        a, b, c, d = gauss._words(0, key, gauss.BLOCK // 2)
        u = (((a << np.uint64(32)) | b) >> np.uint64(11)).astype(float)
        pairs = [((u + 0.5) / 2**53, ((c << np.uint64(32)) | d).astype(float) / 2**64)]
    told = []
    for u, t in pairs:
        radius = np.sqrt(-2 * np.log(u))
        told += [radius * np.sin(2 * np.pi * t), radius * np.cos(2 * np.pi * t)]
    np.testing.assert_allclose(out, np.concatenate(told), rtol=0, atol=close)
