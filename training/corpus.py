"""What a run learns from, on its device: pictures, caption features, styles.

Shapes: R rows of the bank, M distinct captions, T text tokens, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Generator, Tensor

from data.bank import PictureBank
from data.cache import cache_folder, content_key, encoder_cache
from data.dataset import Dataset
from data.record import MAX_CAPTIONS
from synthesis.text import TextEncoder
from training.errors import TrainingError


class Mates:
    """Who else is drawn in a row's style: rows in order of style [R], where each style begins and how many it has."""

    def __init__(self, styles: Tensor) -> None:
        """styles [R] numbers."""
        self._styles = styles
        self._arrange(torch.ones_like(styles, dtype=torch.bool))

    def _arrange(self, shown: Tensor) -> None:
        rows = shown.nonzero()[:, 0]
        self.order = rows[self._styles[rows].argsort(stable=True)]
        self.counts = torch.bincount(self._styles[rows], minlength=int(self._styles.max()) + 1)
        self.begins = self.counts.cumsum(0) - self.counts
        self._shown = shown

    def to(self, device: torch.device | str) -> Mates:
        """Return the same on a device."""
        moved = Mates(self._styles.to(device))
        moved._arrange(self._shown.to(device))
        return moved

    def forget(self, rows: Tensor) -> None:
        """Let none of these rows [N] be anybody's mate."""
        shown = self._shown.clone()
        shown[rows] = False
        self._arrange(shown)

    def mate(self, rows: Tensor, generator: Generator) -> Tensor:
        """For each row [B], a row of its style by chance, itself among them [B]."""
        style = self._styles[rows]
        chance = torch.rand(len(rows), device=rows.device, generator=generator)
        place = self.begins[style] + (chance * self.counts[style]).long()
        return torch.where(self.counts[style] > 0, self.order[place.clamp(max=len(self.order) - 1)], rows)


class Spoken(Protocol):
    """A corpus's distinct captions as a network reads them."""

    def text(self, captions: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,T,D] and mask [B,T] of captions [B] by number, told with the rows of their tasks [B]."""

    def to(self, device: torch.device | str) -> Spoken:
        """Return the same on a device."""


@dataclass(frozen=True)
class EncodedCaptions:
    """All captions encoded once [M,T,384]: the project's own network is told the task beside the text."""

    features: Tensor
    masks: Tensor  # [M,T]

    def text(self, captions: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,T,384] and mask [B,T]."""
        return self.features[captions].float(), self.masks[captions]

    def to(self, device: torch.device | str) -> EncodedCaptions:
        """Return the same on a device."""
        return EncodedCaptions(self.features.to(device), self.masks.to(device))


@dataclass(frozen=True)
class Corpus:
    """A bank of pictures with their captions and their style rows [R]."""

    bank: PictureBank
    spoken: Spoken
    captions: Tensor  # [R,4] numbers of distinct captions
    caption_counts: Tensor  # [R]
    styles: Tensor  # [R]
    mates: Mates

    def to(self, device: torch.device | str) -> Corpus:
        """Return the corpus on a device."""
        return Corpus(**{name: value.to(device) for name, value in vars(self).items()})

    def forget(self, rows: Tensor) -> None:
        """Show none of these rows [N] as another's partner or mate any more."""
        self.bank.forget(rows)
        self.mates.forget(rows)

    def text(self, rows: Tensor, task: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """One of each row's captions by chance, as its task's row [B] tells it: features [B,T,D] and mask [B,T]."""
        chance = torch.rand(len(rows), device=rows.device, generator=generator)
        choice = (chance * self.caption_counts[rows]).long()
        return self.spoken.text(self.captions[rows].gather(1, choice[:, None])[:, 0], task)


def load_corpus(
    dataset: Dataset,
    rows: Sequence[int],
    style_rows: Sequence[int],
    encoder: TextEncoder,
    *,
    batch: int = 512,
    cache: Path | None = None,
    resident: bool | str = "auto",
) -> Corpus:
    """Decode the pictures, and encode each distinct caption unless ``cache`` has it (``cache_folder()`` if None).

    ``resident`` as ``PictureBank.of`` has it.
    """

    def spoken(captions: Sequence[str]) -> Spoken:
        return EncodedCaptions(*encode_all(captions, encoder, batch, cache))

    return captioned(dataset, rows, style_rows, spoken, resident=resident)


def captioned(
    dataset: Dataset,
    rows: Sequence[int],
    style_rows: Sequence[int],
    spoken: Callable[[Sequence[str]], Spoken],
    *,
    resident: bool | str = "auto",
) -> Corpus:
    """Decode the pictures and number the distinct captions, which ``spoken`` is given."""
    if not rows:
        raise TrainingError(f"{dataset.folder} has no row to learn from: it needs records of split train")
    texts = [dataset.records[row].captions[:MAX_CAPTIONS] for row in rows]
    distinct = {caption: place for place, caption in enumerate(dict.fromkeys(c for row in texts for c in row))}
    told = spoken(list(distinct))
    captions = torch.zeros(len(rows), MAX_CAPTIONS, dtype=torch.long)
    for place, row_captions in enumerate(texts):
        captions[place, : len(row_captions)] = torch.tensor([distinct[caption] for caption in row_captions])
    counts = torch.tensor([len(row_captions) for row_captions in texts])
    bank, styles = PictureBank.of(dataset, rows, resident=resident), torch.tensor(style_rows)
    return Corpus(bank, told, captions, counts, styles, Mates(styles))


def encode_all(
    captions: Sequence[str], encoder: TextEncoder, batch: int, cache: Path | None = None
) -> tuple[Tensor, Tensor]:
    """Features [M,T,384] in half precision and masks [M,T], on the CPU; processes share what is to be encoded.

    An entry of the cache is what a caption's tokens gave, up to its last one: a quarter of T, mostly.
    """

    def encode(places: Sequence[int]) -> list[Tensor]:
        features, masks = encoder.encode([captions[place] for place in places])
        # The mask is the last column: a tokenizer may pad on either side.
        marked = torch.cat([features.half(), masks[..., None].half()], dim=-1).cpu()
        return [entry[: _end(entry)].clone() for entry in marked]

    features, masks = torch.empty(0), torch.zeros(len(captions), encoder.longest_tokens, dtype=torch.bool)
    keys = [content_key(caption.encode()) for caption in captions]
    kept = encoder_cache(cache or cache_folder(), "text", encoder.digest)
    for place, entry in kept.entries(keys, encode, batch=batch):
        if not features.numel():
            features = torch.zeros(*masks.shape, entry.shape[1] - 1, dtype=entry.dtype)
        features[place, : len(entry)] = entry[:, :-1]
        masks[place, : len(entry)] = entry[:, -1].bool()
    return features, masks


def _end(entry: Tensor) -> int:
    """The place behind the last token of an entry [T,384+1] that counts."""
    spoken = entry[:, -1].nonzero()
    return int(spoken[-1]) + 1 if len(spoken) else 0
