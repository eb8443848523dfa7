"""The nearest drawing by edges, of a picture as it is or mirrored.  Shapes: pictures uint8 [N,3,H,W], vectors [M,D]."""

from __future__ import annotations

from torch import Tensor

from evaluation.memorisation.neighbours import Neighbours, nearer_of, nearest_neighbours
from evaluation.memorisation.structure import StructureExtractor
from evaluation.studio import Studio


def nearest_by_edges(studio: Studio, pictures_N3HW: Tensor, gallery_MD: Tensor, title: str) -> Neighbours:
    """Return the nearest of the gallery's edge vectors, K = 1, to each picture or to its mirror image."""

    def found(shown_N3HW: Tensor) -> Neighbours:
        return nearest_neighbours(studio.features(StructureExtractor(), shown_N3HW, title), gallery_MD, 1)

    return nearer_of(found(pictures_N3HW), found(pictures_N3HW.flip(-1).contiguous()))
