"""What a run learns from, on its device: pictures, caption features, styles.

Shapes: R rows of the bank, M distinct captions, T text tokens, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from data.bank import PictureBank
from data.dataset import Dataset
from data.record import MAX_CAPTIONS
from synthesis.text import TextEncoder
from training.errors import TrainingError


@dataclass(frozen=True)
class Corpus:
    """A bank of pictures with the features of their captions [M,T,384] and their style rows [R]."""

    bank: PictureBank
    features: Tensor
    masks: Tensor
    captions: Tensor  # [R,4] rows of features
    caption_counts: Tensor  # [R]
    styles: Tensor  # [R]

    def to(self, device: torch.device | str) -> Corpus:
        """Return the corpus on a device."""
        tensors = (self.features, self.masks, self.captions, self.caption_counts, self.styles)
        return Corpus(self.bank.to(device), *(tensor.to(device) for tensor in tensors))

    def text(self, rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """One of each row's captions by chance: features [B,T,384] and mask [B,T]."""
        chance = torch.rand(len(rows), device=rows.device, generator=generator)
        choice = (chance * self.caption_counts[rows]).long()
        found = self.captions[rows].gather(1, choice[:, None])[:, 0]
        return self.features[found].float(), self.masks[found]


def load_corpus(
    dataset: Dataset, rows: Sequence[int], style_rows: Sequence[int], encoder: TextEncoder, *, batch: int = 512
) -> Corpus:
    """Decode the pictures and encode each distinct caption once."""
    if not rows:
        raise TrainingError(f"{dataset.folder} has no row to learn from: it needs records of split train")
    texts = [dataset.records[row].captions[:MAX_CAPTIONS] for row in rows]
    distinct = {caption: place for place, caption in enumerate(dict.fromkeys(c for row in texts for c in row))}
    features, masks = encode_all(list(distinct), encoder, batch)
    captions = torch.zeros(len(rows), MAX_CAPTIONS, dtype=torch.long)
    for place, row_captions in enumerate(texts):
        captions[place, : len(row_captions)] = torch.tensor([distinct[caption] for caption in row_captions])
    counts = torch.tensor([len(row_captions) for row_captions in texts])
    return Corpus(PictureBank.of(dataset, rows), features, masks, captions, counts, torch.tensor(style_rows))


def encode_all(captions: Sequence[str], encoder: TextEncoder, batch: int) -> tuple[Tensor, Tensor]:
    """Features [M,T,384] in half precision and masks [M,T], on the CPU."""
    parts = [encoder.encode(captions[begin : begin + batch]) for begin in range(0, len(captions), batch)]
    return torch.cat([part[0].half().cpu() for part in parts]), torch.cat([part[1].cpu() for part in parts])
