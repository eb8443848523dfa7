"""The journal: one signed JSON line a move, each bound to the line before it by that line's hash.

A line is ``{"sequence", "time", …, "previous", "key", "signature"}``: ``previous`` is the SHA-256 of the line before
(64 zeros in the first), ``signature`` the Ed25519 signature (base64) over the line's other fields as canonical JSON.
``journal.jsonl.head`` holds the count and the hash of the last line, signed too, so that a line cut off the end is
missed as well. The head is written after its line; when it is one line behind, a kill fell between the two.
"""

from __future__ import annotations

import base64
import datetime
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from registry import keys
from registry.errors import JournalError
from registry.files import replace_file

FIRST_PREVIOUS = "0" * 64

Line = dict[str, Any]


class Journal:
    """An append-only file that tells when one of its lines was changed, moved or removed.

    Its callers hold ``lock_path`` while they read or append.
    """

    def __init__(self, path: Path, key_path: Path) -> None:
        """Remember the places; nothing is read, and no key is made, before it is needed."""
        self.path, self.key_path = Path(path).absolute(), Path(key_path).absolute()
        self.head_path = self.path.with_name(self.path.name + ".head")
        self.intent_path = self.path.with_name(self.path.name + ".intent")
        self.lock_path = self.path.with_name(self.path.name + ".lock")

    def read(self) -> list[Line]:
        """Verify every line and return them all.

        Raises:
            JournalError: names the first line that was changed, removed, cut short or signed by another key.
        """
        raw_lines = self._raw_lines()
        if not raw_lines and not self.head_path.is_file():
            return []
        lines, previous = [], FIRST_PREVIOUS
        for number, raw in enumerate(raw_lines, start=1):
            lines.append(self._verified(number, raw, previous))
            previous = hashlib.sha256(raw).hexdigest()
        self._verify_head(raw_lines)
        return lines

    def append(self, entry: Line) -> Line:
        """Sign ``entry`` as the next line, write it to the disk, and return the whole line.

        Raises:
            JournalError: the lines so far do not verify, or the key that signed them is gone.
        """
        lines, raw_lines = self.read(), self._raw_lines()
        if raw_lines:
            # A kill may have left the head one line behind; it must never be two behind.
            self._write_head(raw_lines)
        previous = hashlib.sha256(raw_lines[-1]).hexdigest() if raw_lines else FIRST_PREVIOUS
        signed = self._signed({"sequence": len(lines) + 1, **entry, "previous": previous})
        raw = _canonical(signed)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as stream:
            stream.write(raw + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._write_head([*raw_lines, raw])
        return signed

    def declare(self, entry: Line) -> None:
        """Write down, signed, what the next line is to say, before the move that it records is made."""
        intent = self._signed({"sequence": len(self.read()) + 1, **entry})
        replace_file(self.intent_path, _canonical(intent) + b"\n")

    def declared(self) -> Line | None:
        """Return the declared entry that nobody withdrew, with its sequence; None where there is none.

        Raises:
            JournalError: it was not written by the holder of the key.
        """
        if not self.intent_path.is_file():
            return None
        return self._unsealed(self.intent_path.read_bytes(), str(self.intent_path))

    def withdraw(self) -> None:
        """Forget the declared entry: its line is written, or its move was never made."""
        self.intent_path.unlink(missing_ok=True)

    def finish(self, is_made: Callable[[Line], bool] = lambda entry: True) -> None:
        """Write the line that was declared when its writer was killed, if the move that it records was made.

        The caller holds ``lock_path``.
        """
        entry = self.declared()
        if entry is None:
            return
        # Only a writer that was killed leaves a line without its end.
        self.cut_torn_line()
        is_unwritten = entry.pop("sequence") == len(self.read()) + 1
        del entry["key"]
        if is_unwritten and is_made(entry):
            self.append(entry)
        self.withdraw()

    def cut_torn_line(self) -> bool:
        """Cut off a last line that a kill left without its end; return whether there was one."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        whole = content.rfind(b"\n") + 1
        if whole == len(content):
            return False
        os.truncate(self.path, whole)
        return True

    def _raw_lines(self) -> list[bytes]:
        content = self.path.read_bytes() if self.path.is_file() else b""
        lines = content.split(b"\n")
        if lines.pop() != b"":
            raise JournalError(f"{self.path} line {len(lines) + 1} is cut short: somebody changed the file")
        return lines

    def _verified(self, number: int, raw: bytes, previous: str) -> Line:
        where = f"{self.path} line {number}"
        line = self._unsealed(raw, where)
        sequence = line.get("sequence")
        if isinstance(sequence, int) and sequence > number:
            raise JournalError(f"{self.path} line {number} was removed: line {sequence} stands in its place")
        if sequence != number or line.get("previous") != previous:
            raise JournalError(f"{where} does not follow from the lines before it: lines were added or moved")
        return line

    def _unsealed(self, raw: bytes, where: str) -> Line:
        """Return signed content without its signature, after verifying it."""
        try:
            content = json.loads(raw)
            signature = base64.b64decode(content.pop("signature"), validate=True)
            signed_by = content["key"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise JournalError(f"{where} is not what was written there: somebody changed the file") from None
        ours = keys.fingerprint(self._public_key)
        if signed_by != ours:
            raise JournalError(f"{where} is signed by the key {signed_by}, not by {ours} at {self.key_path}")
        if not keys.is_signed(self._public_key, signature, _canonical(content)):
            raise JournalError(f"{where} was changed after it was signed")
        return dict(content)

    def _verify_head(self, raw_lines: list[bytes]) -> None:
        count = self._head_count(raw_lines)
        if count > len(raw_lines):
            raise JournalError(f"{self.path} line {len(raw_lines) + 1} was removed: {count} lines were written")
        if count < len(raw_lines) - 1:
            raise JournalError(f"{self.head_path} counts {count} lines of {len(raw_lines)}: somebody changed it")

    def _head_count(self, raw_lines: list[bytes]) -> int:
        """Return the count in the head after verifying it; 0 where there is no head."""
        if not self.head_path.is_file():
            return 0
        head = self._unsealed(self.head_path.read_bytes(), str(self.head_path))
        count, last = int(head["count"]), str(head["last"])
        if 0 < count <= len(raw_lines) and hashlib.sha256(raw_lines[count - 1]).hexdigest() != last:
            raise JournalError(f"{self.path} line {count} is not the one that was written")
        return count

    def _write_head(self, raw_lines: list[bytes]) -> None:
        head = {"count": len(raw_lines), "last": hashlib.sha256(raw_lines[-1]).hexdigest()}
        replace_file(self.head_path, _canonical(self._signed(head)) + b"\n")

    def _signed(self, content: Line) -> Line:
        content = {**content, "key": keys.fingerprint(self._private_key.public_key())}
        signature = self._private_key.sign(_canonical(content))
        return {**content, "signature": base64.b64encode(signature).decode()}

    @cached_property
    def _private_key(self) -> Ed25519PrivateKey:
        if self.key_path.is_file():
            return keys.load_key(self.key_path)
        if self.path.is_file() and self.path.stat().st_size:
            raise JournalError(f"the key {self.key_path} that signed {self.path} is gone: restore it to go on")
        return keys.make_key(self.key_path)

    @cached_property
    def _public_key(self) -> Ed25519PublicKey:
        return keys.load_public_key(self.key_path)


def _canonical(content: Line) -> bytes:
    """Return JSON in the one form that is signed: sorted keys, no spaces, UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def signed_by(who: str | None) -> Line:
    """Return the fields ``time`` and ``who`` of a line of a journal that is written now."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return {"time": now, "who": who or _whoever_runs_this()}


def _whoever_runs_this() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
