"""Pairs of pictures and captions, and how well an aligner brings together those that it never learnt.

Shapes: R pairs, M captions [M,384], N queries and as many answers, features [N,1280].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from data.record import Record
from evaluation.fidelity.aligner import AlignerNetwork
from evaluation.fidelity.retrieval import Retrieval, chance, retrieval

LEAST_ROWS = 16


@dataclass(frozen=True)
class Pairs:
    """Features [R,1280] of what is shown, the captions [R,4] of each by number, and whose subject it is [R]."""

    features: Tensor
    captions: Tensor
    caption_counts: Tensor
    subjects: Tensor

    def __len__(self) -> int:
        return len(self.features)


def measure(
    network: AlignerNetwork, records: Sequence[Record], learn: Pairs, held: Pairs, texts_ME: Tensor
) -> dict[str, Any]:
    """Return retrieval among held-out subjects, colour and one-colour drawings apart, both ways, beside baselines.

    ``records`` are those of the held-out pairs, in order.
    """
    measured: dict[str, Any] = {}
    for kind, monochrome in (("colour", False), ("one-colour", True)):
        gallery = _one_a_subject(records, monochrome)
        if len(gallery) < LEAST_ROWS:
            continue
        rows_N = torch.tensor(gallery)
        captions_NE = texts_ME[held.captions[rows_N, 0]]
        with torch.inference_mode():
            scores_NN = network.pictures(held.features[rows_N]) @ network.captions(captions_NE).T
        measured[kind] = {
            "picture to caption": _told(
                scores_NN, _nearest_pictures(learn, held.features[rows_N], captions_NE, texts_ME)
            ),
            "caption to picture": _told(
                scores_NN.T, _nearest_captions(learn, held.features[rows_N], captions_NE, texts_ME)
            ),
        }
    return measured


def _told(scores_NN: Tensor, baseline_NN: Tensor) -> dict[str, Any]:
    results: dict[str, Retrieval] = {"aligner": retrieval(scores_NN), "nearest neighbour": retrieval(baseline_NN)}
    results["chance"] = chance(len(scores_NN))
    return {name: result.to_json() for name, result in results.items()}


def _nearest_pictures(learn: Pairs, features_ND: Tensor, captions_NE: Tensor, texts_ME: Tensor) -> Tensor:
    """Score captions by their likeness to the caption of the learnt drawing most like each picture."""
    nearest_N = _nearest(features_ND, learn.features)
    return texts_ME[learn.captions[nearest_N, 0]] @ captions_NE.T


def _nearest_captions(learn: Pairs, features_ND: Tensor, captions_NE: Tensor, texts_ME: Tensor) -> Tensor:
    """Score pictures by their likeness to the learnt drawing whose caption is most like each caption."""
    nearest_N = _nearest(captions_NE, texts_ME[learn.captions[:, 0]])
    return functional.normalize(learn.features[nearest_N], dim=1) @ functional.normalize(features_ND, dim=1).T


def _nearest(queries_ND: Tensor, known_RD: Tensor) -> Tensor:
    known = functional.normalize(known_RD, dim=1)
    parts = functional.normalize(queries_ND, dim=1).split(512)
    return torch.cat([(part @ known.T).argmax(dim=1) for part in parts])


def _one_a_subject(records: Sequence[Record], monochrome: bool) -> list[int]:
    """Return the first place of each subject whose caption no other has: each query then has one right answer."""
    captions: set[str] = set()
    places: dict[str, int] = {}
    for place, record in enumerate(records):
        if record.monochrome == monochrome and record.subject not in places and record.caption not in captions:
            places[record.subject] = place
            captions.add(record.caption)
    return list(places.values())
