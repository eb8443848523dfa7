"""What a frozen encoder made of captions or pictures, kept by the digest of what went in and of the encoder.

A cache is a folder for one encoder. Entries lie in packs, a safetensors file each: the digests of what went in [N,32],
how long each entry is [N], and the entries one after the other [ΣL,…]. A pack is written under a temporary name and
renamed, so that whatever is there is whole; nothing is ever changed. The folder may be deleted at any time.

Several processes fill a cache together: the digests are dealt into buckets, a bucket is one process's work while it
holds the bucket's lock, and the kernel gives the lock back when that process dies. Nobody waits inside a collective.

Legend: N entries of a pack, M asked for, L length of one entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from data.errors import DataError

FORMAT = "atelier-cache-1"
ENCODER_FILE = "encoder.json"
ENTRIES_PER_BUCKET = 2048
CACHE_VARIABLE = "ATELIER_CACHE"

Encode = Callable[[Sequence[int]], Sequence[Tensor]]


class CacheError(DataError):
    """A cache folder is another encoder's, or no cache."""


def cache_folder() -> Path:
    """Return where caches lie: ``ATELIER_CACHE`` of the environment, else ``var/cache``."""
    return Path(os.environ.get(CACHE_VARIABLE) or "var/cache")


def content_key(content: bytes) -> bytes:
    """Return the key of what goes into the encoder: SHA-256, 32 bytes."""
    return hashlib.sha256(content).digest()


def encoder_cache(root: Path, kind: str, encoder_sha256: str) -> Cache:
    """Return the cache of one encoder among those of a root folder: ``ROOT/KIND/FIRST-16-OF-DIGEST``."""
    return Cache(root / kind / encoder_sha256[:16], kind=kind, encoder_sha256=encoder_sha256)


class Cache:
    """Entries of one encoder. ``found`` and ``encoded`` count what the last call took from here and made anew.

    Args:
        folder: of this cache alone; made if it is not there.
        kind: what is encoded, ``text`` or ``latents``.
        encoder_sha256: of all that decides what the encoder makes: weights, tokenizer, settings.
        per_pack: so many entries are written at a time; a kill loses no more.
        bar: show how far the encoding is, where nobody else does.

    Raises:
        CacheError: the folder is another encoder's, or holds something else.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kind: str,
        encoder_sha256: str,
        per_pack: int | None = None,
        bar: bool = True,
    ) -> None:
        self.folder = folder
        self.per_pack = per_pack or ENTRIES_PER_BUCKET
        self.bar = bar
        self.kind = kind
        self.encoder_sha256 = encoder_sha256
        self.found = self.encoded = 0
        self._packs: dict[Path, list[bytes]] = {}
        self._check_or_claim()

    def entries(self, keys: Sequence[bytes], encode: Encode, *, batch: int = 512) -> Iterator[tuple[int, Tensor]]:
        """Yield (place, entry [L,…]) for every one of ``keys``, pack by pack and so in no order.

        Args:
            keys: ``content_key`` of each thing [M]; equal ones are encoded once.
            encode: gives the entries of the things at some places, on any device; called for what is missing alone.
            batch: so many at a time at most.
        """
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        self._fill(places, encode, batch)
        wanted = set(places)
        for file, held in self._packs.items():
            if wanted.isdisjoint(held):
                continue
            for key, entry in zip(held, self._read(file), strict=True):
                if key in wanted:
                    wanted.discard(key)  # two processes of other bucket sizes may both have made it
                    yield from ((place, entry) for place in places[key])

    def _fill(self, places: dict[bytes, list[int]], encode: Encode, batch: int) -> None:
        self._scan()
        missing = self._missing(places)
        self.found, self.encoded = len(places) - len(missing), 0
        count = 1 << max(0, (len(places) - 1) // self.per_pack).bit_length()
        buckets = sorted({_bucket(key, count) for key in missing})
        turn = os.getpid() % max(1, len(buckets))  # processes begin at different ones
        left = [*buckets[turn:], *buckets[:turn]]
        with tqdm(total=len(missing), desc=f"encoding {self.kind}", delay=2, disable=not (missing and self.bar)) as bar:
            for wait in (False, True):
                left = [
                    one for one in left if not self._fill_bucket(one, count, places, encode, batch, wait, bar.update)
                ]

    def _fill_bucket(
        self,
        bucket: int,
        count: int,
        places: dict[bytes, list[int]],
        encode: Encode,
        batch: int,
        wait: bool,
        done: Callable[[int], object],
    ) -> bool:
        """Encode what a bucket lacks; returns False if another process is at it and there is other work."""
        name = f"{bucket:04d}-of-{count:04d}"
        with self._locked(name, wait) as held:
            if not held:
                return False
            self._scan()
            missing = [key for key in self._missing(places) if _bucket(key, count) == bucket]
            entries: list[Tensor] = []
            for begin in range(0, len(missing), batch):
                some = missing[begin : begin + batch]
                entries += [entry.detach().cpu() for entry in encode([places[key][0] for key in some])]
                done(len(some))
            if missing:
                self._write(missing, entries, name)
                self.encoded += len(missing)
        return True

    def _missing(self, places: dict[bytes, list[int]]) -> list[bytes]:
        held = {key for keys in self._packs.values() for key in keys}
        return sorted(key for key in places if key not in held)

    def _scan(self) -> None:
        """Read the keys of packs that were not there before; one that cannot be read counts as not there."""
        for file in sorted(self.folder.glob("*.safetensors")):
            if file in self._packs:
                continue
            try:
                with safe_open(file, "pt") as pack:
                    self._check_encoder((pack.metadata() or {}).get("encoder", "none"), file)
                    self._packs[file] = [bytes(key) for key in pack.get_tensor("keys").numpy()]
            except FileNotFoundError:
                continue  # another process found it damaged and removed it
            except SafetensorError:
                file.unlink(missing_ok=True)

    def _read(self, file: Path) -> Sequence[Tensor]:
        with safe_open(file, "pt") as pack:
            values: Tensor = pack.get_tensor("values")
            lengths: list[int] = pack.get_tensor("lengths").tolist()
            return torch.split(values, lengths)

    def _write(self, keys: list[bytes], entries: list[Tensor], name: str) -> None:
        tensors = {
            "keys": torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, 32),
            "lengths": torch.tensor([len(entry) for entry in entries]),
            "values": torch.cat(entries),
        }
        partial = self.folder / f".{name}.partial"  # nobody else's: the bucket's lock is held
        save_file(tensors, partial, {"format": FORMAT, "kind": self.kind, "encoder": self.encoder_sha256})
        file = self.folder / f"{hashlib.sha256(b''.join(keys)).hexdigest()[:32]}.safetensors"
        partial.replace(file)
        self._packs[file] = keys

    @contextmanager
    def _locked(self, name: str, wait: bool) -> Iterator[bool]:
        descriptor = os.open(self.folder / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            yield _lock(descriptor, wait)
        finally:
            os.close(descriptor)

    def _check_or_claim(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / ENCODER_FILE
        if not file.is_file():
            partial = self.folder / f".{ENCODER_FILE}.{uuid.uuid4().hex}"
            told = {"format": FORMAT, "kind": self.kind, "encoder": self.encoder_sha256}
            partial.write_text(json.dumps(told) + "\n", encoding="utf-8")
            partial.replace(file)
        try:
            told = json.loads(file.read_bytes())
            kind, encoder = str(told["kind"]), str(told["encoder"])
        except (ValueError, KeyError, TypeError) as error:
            raise CacheError(f"{file} is broken ({error}): delete {self.folder}, it is made again") from None
        if kind != self.kind:
            raise CacheError(f"{self.folder} caches {kind}, not {self.kind}: name another folder")
        self._check_encoder(encoder, self.folder)

    def _check_encoder(self, encoder: str, where: Path) -> None:
        if encoder != self.encoder_sha256:
            raise CacheError(
                f"{where} was made by encoder {encoder}, this one is {self.encoder_sha256}: "
                "name another folder, or delete it"
            )


def _lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _bucket(key: bytes, count: int) -> int:
    return int.from_bytes(key[:4], "big") % count
