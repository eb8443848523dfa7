"""The version of a dataset: a Merkle root over (sample, licence), hashed as RFC 6962, section 2.1 does.

leaf  = SHA-256(0x00 · sample digest as 32 bytes · licence as UTF-8)
node  = SHA-256(0x01 · left · right), the left tree holding the largest power of two of leaves below the whole
order = ascending by (sample digest, licence), so that neither the order of reading nor the workers matter
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def leaf_digest(sample_sha256: str, licence: str) -> bytes:
    """Return SHA-256(0x00 · sample digest · licence)."""
    return hashlib.sha256(b"\x00" + bytes.fromhex(sample_sha256) + licence.encode()).digest()


def merkle_root(samples: Iterable[tuple[str, str]]) -> str:
    """Return the root over (sample digest in hex, licence) pairs, as 64 hexadecimal digits.

    The empty tree is SHA-256 of nothing. Pairing neighbours level by level and carrying an odd last node upwards
    gives the same tree as RFC 6962's split at the largest power of two.
    """
    level = [leaf_digest(digest, licence) for digest, licence in sorted(samples)]
    if not level:
        return hashlib.sha256(b"").hexdigest()
    while len(level) > 1:
        pairs = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0].hex()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
