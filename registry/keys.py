"""The Ed25519 key that signs the journal: made at first use, readable by its owner alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from registry.errors import JournalError
from registry.files import replace_file

_READABLE_BY_OTHERS = 0o077


def public_path(path: Path) -> Path:
    """Return where the public half lies: beside the private one, for whoever only verifies."""
    return path.with_suffix(".pub")


def make_key(path: Path) -> Ed25519PrivateKey:
    """Make a key pair: PKCS #8 PEM with mode 0600 at ``path``, the public half beside it."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(public_path(path), public)
    replace_file(path, private, mode=0o600)
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """Load the private key.

    Raises:
        JournalError: it is no Ed25519 key, or others than its owner may read it.
    """
    if path.stat().st_mode & _READABLE_BY_OTHERS:
        raise JournalError(f"{path} may be read by others, so its signatures prove nothing: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise JournalError(f"{path} is no Ed25519 private key in PEM form")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Load the public half of the key at ``path``; the private one need not be there."""
    if path.is_file():
        return load_key(path).public_key()
    try:
        key = serialization.load_pem_public_key(public_path(path).read_bytes())
    except FileNotFoundError:
        raise JournalError(f"no key at {path} to verify the journal with: restore it, or its public half") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise JournalError(f"{public_path(path)} is no Ed25519 public key in PEM form")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the first 16 hex digits of the SHA-256 of the raw public key."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def is_signed(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    """Return whether ``signature`` is the key's over ``content``."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
