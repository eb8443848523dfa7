"""The version of a dataset: a Merkle root over (sample, licence), hashed as RFC 6962, section 2.1 does.

leaf  = SHA-256(0x00 · sample digest as 32 bytes · licence as UTF-8)
node  = SHA-256(0x01 · left · right), the left tree holding the largest power of two of leaves below the whole
order = ascending by (sample digest, licence), so that neither the order of reading nor the workers matter
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 32


class MerkleTree:
    """Takes leaves in any order; holds 36 bytes a leaf, and while the root is taken about three times as much."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._licence_numbers = array("i")
        self._licences: dict[str, int] = {}

    def add(self, sample_sha256: str, licence: str) -> None:
        """Add one sample by its digest in hexadecimal."""
        self._digests += bytes.fromhex(sample_sha256)
        self._licence_numbers.append(self._licences.setdefault(licence, len(self._licences)))

    def root(self) -> str:
        """Return the root as 64 hexadecimal digits; that of the empty tree is SHA-256 of nothing.

        Pairing neighbours level by level and carrying an odd last node upwards gives the same tree as RFC 6962's
        split at the largest power of two.
        """
        if not self._digests:
            return hashlib.sha256(b"").hexdigest()
        level = self._leaves()
        while len(level) > DIGEST_BYTES:
            level = _parents(level)
        return level.hex()

    def _leaves(self) -> bytes:
        licences = [licence.encode() for licence in self._licences]
        numbers = np.frombuffer(self._licence_numbers, np.int32)
        leaves = bytearray()
        for row in self._order(numbers):
            digest = self._digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
            leaves += hashlib.sha256(b"\x00" + digest + licences[numbers[row]]).digest()
        return bytes(leaves)

    def _order(self, numbers: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the rows by digest, then by the licence's text in bytes."""
        rank = np.empty(len(self._licences), np.int32)
        rank[[self._licences[licence] for licence in sorted(self._licences)]] = np.arange(len(rank), dtype=np.int32)
        words = np.frombuffer(self._digests, ">u8").reshape(-1, 4)
        return np.lexsort((rank[numbers], words[:, 3], words[:, 2], words[:, 1], words[:, 0]))


def leaf_digest(sample_sha256: str, licence: str) -> bytes:
    """Return SHA-256(0x00 · sample digest · licence)."""
    return hashlib.sha256(b"\x00" + bytes.fromhex(sample_sha256) + licence.encode()).digest()


def merkle_root(samples: Iterable[tuple[str, str]]) -> str:
    """Return the root over (sample digest in hex, licence) pairs, as 64 hexadecimal digits."""
    tree = MerkleTree()
    for sample_sha256, licence in samples:
        tree.add(sample_sha256, licence)
    return tree.root()


def _parents(level: bytes) -> bytes:
    pair = 2 * DIGEST_BYTES
    parents = bytearray()
    for start in range(0, len(level) - pair + 1, pair):
        parents += hashlib.sha256(b"\x01" + level[start : start + pair]).digest()
    odd = len(level) % pair
    return bytes(parents) + level[len(level) - odd :]
