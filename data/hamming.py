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
MAX_RADIUS_BITS = 2 * BANDS - 1
QUERIES = 16_384

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]


def near_pairs(hashes_N: NDArray[np.uint64], radius_bits: int) -> Iterator[Pairs]:
    """Yield blocks of (left [P], right [P], distance in bits [P]) with left < right, of all pairs that near.

    Args:
        hashes_N: the hashes.
        radius_bits: the most bits in which two may differ, 0 to ``MAX_RADIUS_BITS``.
    """
    import faiss

    codes_N8 = hashes_N.astype(">u8").view(np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryMultiHash(BANDS * BAND_BITS, BANDS, BAND_BITS)
    index.nflip = int(radius_bits >= BANDS)
    index.add(codes_N8)
    for start in range(0, len(codes_N8), QUERIES):
        ends, distances, found = index.range_search(codes_N8[start : start + QUERIES], radius_bits + 1)
        left = np.repeat(np.arange(start, start + len(ends) - 1), np.diff(ends).astype(np.int64))
        upper = found > left
        order = np.lexsort((found[upper], left[upper]))
        yield left[upper][order], found[upper][order], distances[upper][order].astype(np.int32)
