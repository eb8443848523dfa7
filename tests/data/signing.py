"""Signs pictures with Content Credentials, by a certificate made on the spot."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def signed(
    content: bytes,
    media_type: str,
    uses: Mapping[str, str],
    label: str = "cawg.training-mining",
    *,
    parent: bytes | None = None,
) -> bytes:
    """Return the file with a manifest that says each use's verdict: allowed, notAllowed or constrained.

    With ``parent``, the manifest names that file as what this one was made from.
    """
    entries = {use: {"use": verdict} for use, verdict in uses.items()}
    manifest = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "format": media_type,
        "title": "a picture",
        "assertions": [{"label": label, "data": {"entries": entries}}],
    }
    chain, key = _credentials()
    info = c2pa.C2paSignerInfo(b"es256", chain, key, b"")
    info.ta_url = None  # no time stamp: nothing is fetched
    settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}
    signed_file = io.BytesIO()
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context(c2pa.Settings.from_dict(settings)) as context,
        c2pa.Builder(manifest, context) as builder,
    ):
        if parent is not None:
            origin = {"title": "the original", "format": media_type, "relationship": "parentOf"}
            builder.add_ingredient(json.dumps(origin), media_type, io.BytesIO(parent))
        builder.sign(signer, media_type, io.BytesIO(content), signed_file)
    return signed_file.getvalue()


@lru_cache(maxsize=1)
def _credentials() -> tuple[bytes, bytes]:
    """Return a chain of two certificates and the key of the first, as PEM: a leaf may not be its own root."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, leaf_name = _name("Root"), _name("A. Drawer")
    root = (
        _certificate(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(leaf_name, root_name, leaf_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    chain = leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM)
    return chain, leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, common)]
    )


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )
