"""The nearest pictures of a gallery, by comparing each query with all of it: an index that skips some misses copies.

Shapes: queries [N,D], gallery [M,D], K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError

CHUNK_ROWS = 65_536  # 336 MB of 1280 numbers each


@dataclass(frozen=True)
class Neighbours:
    """Cosine similarities float32 [N,K], the highest first, and the rows of the gallery int64 [N,K] they are of."""

    similarity: Tensor
    rows: Tensor

    @property
    def nearest(self) -> Tensor:
        """The similarity [N] of the nearest one."""
        return self.similarity[:, 0]


def nearest_neighbours(queries_ND: Tensor, gallery_MD: Tensor, count: int, chunk_rows: int = CHUNK_ROWS) -> Neighbours:
    """Return the ``count`` nearest by cosine, exactly; all where the gallery holds fewer.  A zero vector is like none.

    ``gallery_MD`` may be a mapped file: ``chunk_rows`` of it are in memory at a time.
    Raises EvaluationError for an empty gallery, for features of another length, and for values that are not finite.
    """
    import faiss

    _check(queries_ND, gallery_MD)
    queries = _unit(queries_ND)
    best = Neighbours(torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64))
    for start in range(0, len(gallery_MD), chunk_rows):
        chunk = _unit(gallery_MD[start : start + chunk_rows])
        most = min(count, len(chunk))
        similarity, rows = faiss.knn(queries, chunk, most, metric=faiss.METRIC_INNER_PRODUCT)
        best = _joined(best, Neighbours(torch.from_numpy(similarity), torch.from_numpy(rows) + start), count)
    return best


def nearer_of(one: Neighbours, other: Neighbours) -> Neighbours:
    """Return for each query the nearest of two searches, K = 1: of a picture and of its mirror image, say."""
    return _joined(one, other, 1)


def distance_ratio(neighbours: Neighbours) -> Tensor:
    """Return d(x, NN₁) / mean_k d(x, NN_k) [N] with d = √(2 - 2·cosine), 0 for an exact copy, about 1 for none.

    Carlini et al. 2023 (arXiv:2301.13188, section 4.2) divide by the distance to the 50 nearest: what is near to many
    drawings is of a common kind, what is near to one alone is a copy.
    """
    distance = (2 - 2 * neighbours.similarity.double()).clamp(min=0).sqrt()
    return distance[:, 0] / distance.mean(dim=1).clamp(min=1e-9)


def _check(queries_ND: Tensor, gallery_MD: Tensor) -> None:
    if not len(gallery_MD):
        raise EvaluationError("the gallery is empty: copies are looked for among the drawings that a model learnt")
    if queries_ND.shape[1:] != gallery_MD.shape[1:]:
        raise EvaluationError(
            f"features of shape {list(queries_ND.shape)} and {list(gallery_MD.shape)} are not one extractor's"
        )
    if not bool(queries_ND.isfinite().all()):
        raise EvaluationError("features of the pictures hold values that are not finite numbers")


def _unit(features_ND: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    unit = torch.nn.functional.normalize(features_ND.float(), dim=1)
    if not bool(unit.isfinite().all()):
        raise EvaluationError("features of the gallery hold values that are not finite numbers")
    return np.ascontiguousarray(unit.numpy())


def _joined(one: Neighbours, other: Neighbours, count: int) -> Neighbours:
    similarity, rows = (torch.cat(pair, dim=1) for pair in ((one.similarity, other.similarity), (one.rows, other.rows)))
    best = similarity.sort(dim=1, descending=True, stable=True)
    return Neighbours(best.values[:, :count], rows.gather(1, best.indices)[:, :count])
