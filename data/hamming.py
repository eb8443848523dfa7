"""Finds all pairs of 64-bit hashes within a Hamming radius, exactly and without comparing each with each.

Multi-index hashing (Norouzi, Punjani and Fleet 2012, arXiv:1307.2982): of two hashes that differ in fewer bits than
``BANDS · (1 + flips)``, one band of 16 bits differs in at most ``flips`` of its own. FAISS does the search.
Legend: N hashes; P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BANDS, BAND_BITS = 4, 16
BAND_BYTES = BAND_BITS // 8
MAX_RADIUS_BITS = 2 * BANDS - 1
QUERIES = 16_384

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]


def near_pairs(hashes_N: NDArray[np.uint64], radius_bits: int) -> Iterator[Pairs]:
    """Yield blocks of (left [P], right [P], distance in bits [P]) with left < right, of all pairs that near, each once.

    One band after the other, so that one band's table is in memory.

    Args:
        hashes_N: the hashes.
        radius_bits: the most bits in which two may differ, 0 to ``MAX_RADIUS_BITS``.
    """
    import faiss

    codes_N8 = hashes_N.astype(">u8").view(np.uint8).reshape(-1, 8)
    flips = int(radius_bits >= BANDS)
    for band in range(BANDS):
        codes_N8 = np.roll(codes_N8, -band and -BAND_BYTES, axis=1)  # FAISS takes the band from the first bits
        index = faiss.IndexBinaryMultiHash(BANDS * BAND_BITS, 1, BAND_BITS)
        index.nflip = flips
        index.add(codes_N8)
        for start in range(0, len(codes_N8), QUERIES):
            ends, distances, found = index.range_search(codes_N8[start : start + QUERIES], radius_bits + 1)
            left = np.repeat(np.arange(start, start + len(ends) - 1), np.diff(ends).astype(np.int64))
            wanted = (found > left) & ~_found_before(hashes_N[left] ^ hashes_N[found], band, flips)
            order = np.lexsort((found[wanted], left[wanted]))
            yield left[wanted][order], found[wanted][order], distances[wanted][order].astype(np.int32)


def _found_before(differing_P: NDArray[np.uint64], band: int, flips: int) -> NDArray[np.bool_]:
    """Return which pairs an earlier band has found already."""
    before = np.zeros(len(differing_P), np.bool_)
    for earlier in range(band):
        part = differing_P >> np.uint64(BAND_BITS * (BANDS - 1 - earlier)) & np.uint64(2**BAND_BITS - 1)
        before |= np.bitwise_count(part) <= flips
    return before
