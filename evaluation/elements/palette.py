"""The palette of a picture, and how far it lies from a brand's.

Shapes: pictures uint8 [3,H,W], colours sRGB float64 [K,3] in 0..1, weights float64 [K] that sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from evaluation.elements.colour import Colours, delta_e_2000, differences, hex_of_srgb, lab_of_srgb, oklab_of_srgb
from evaluation.errors import EvaluationError

CLUSTERS = 8
GROUND_TOLERANCE = 5.0
SETTLED_TOLERANCE = 2.0
SEED = 0
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Palette:
    """Colours and the share of the area that each takes, the largest first."""

    colours: Colours
    weights: Colours

    def __post_init__(self) -> None:
        if len(self.colours) == 0 or len(self.colours) != len(self.weights):
            raise EvaluationError(f"a palette of {len(self.colours)} colours with {len(self.weights)} weights is none")

    @property
    def names(self) -> tuple[str, ...]:
        """The colours as #rrggbb."""
        return tuple(hex_of_srgb(colour) for colour in self.colours)


def pixels_of(picture_3HW: Tensor) -> Colours:
    """Return sRGB [H,W,3] in 0..1 of a uint8 picture [3,H,W]; EvaluationError for another shape."""
    if picture_3HW.ndim != 3 or picture_3HW.shape[0] != 3 or picture_3HW.dtype.is_floating_point:
        raise EvaluationError(
            f"a palette is of a uint8 picture [3,H,W], got {picture_3HW.dtype} {[*picture_3HW.shape]}"
        )
    return np.asarray(picture_3HW.permute(1, 2, 0).numpy() / 255, dtype=np.float64)


def ground_of(pixels_HW3: Colours, ground_3: Colours, tolerance: float = GROUND_TOLERANCE) -> Mask:
    """Return bool [H,W]: what is joined to the border by pixels within ΔE2000 ``tolerance`` of the ground's colour.

    White inside a drawing is none of it: an eye, a shirt.
    """
    like = delta_e_2000(lab_of_srgb(pixels_HW3), lab_of_srgb(ground_3)) <= tolerance
    labels, _ = ndimage.label(like)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(np.isin(labels, border[border > 0]))


def settled_of(pixels_HW3: Colours, tolerance: float = SETTLED_TOLERANCE) -> Mask:
    """Return bool [H,W]: pixels that at least three of their four neighbours match, so no blend along an edge."""
    lab = lab_of_srgb(pixels_HW3)
    down = delta_e_2000(lab[1:], lab[:-1]) <= tolerance
    across = delta_e_2000(lab[:, 1:], lab[:, :-1]) <= tolerance
    alike = np.zeros(lab.shape[:2], dtype=np.int64)
    alike[1:] += down
    alike[:-1] += down
    alike[:, 1:] += across
    alike[:, :-1] += across
    return np.asarray(alike >= 3)


def flats_of(picture_3HW: Tensor, ground_3: Colours | None) -> Colours:
    """Return the sRGB pixels [P,3] of what is drawn less the blends along its edges: the colours that were chosen.

    Empty where nothing of the picture is settled.
    """
    pixels = pixels_of(picture_3HW)
    settled = settled_of(pixels)
    return pixels[settled if ground_3 is None else settled & ~ground_of(pixels, ground_3)]


def figure_of(picture_3HW: Tensor, ground_3: Colours | None) -> Colours:
    """Return the sRGB pixels [P,3] of what is drawn; all of them without a ground, or where nothing else is there.

    So an empty picture has a palette of one colour, its ground's, and is as far from the brand's as that.
    """
    pixels = pixels_of(picture_3HW)
    drawn = np.ones(pixels.shape[:2], dtype=bool) if ground_3 is None else ~ground_of(pixels, ground_3)
    return pixels[drawn] if drawn.any() else pixels.reshape(-1, 3)


def palette_of(pixels_P3: Colours, clusters: int = CLUSTERS) -> Palette:
    """Return the palette of pixels: k-means in OKLab, each cluster by the colour of a pixel nearest to its centre.

    The same pixels in any order give the same palette: equal colours are counted, and k-means++ starts from one seed.
    """
    from sklearn.cluster import KMeans

    colours, counts = np.unique(np.round(255 * pixels_P3).astype(np.uint8), axis=0, return_counts=True)
    srgb = colours / 255
    lab = oklab_of_srgb(srgb)
    means = KMeans(min(clusters, len(lab)), n_init=1, random_state=SEED)
    with _threads().limit(limits=1):  # sums of several threads differ in their last bit from run to run
        labels = means.fit(lab, sample_weight=counts).labels_
    found = np.unique(labels)
    kept = [_member(lab, labels == each, means.cluster_centers_[each]) for each in found]
    weights = np.array([counts[labels == each].sum() for each in found]) / counts.sum()
    order = np.argsort(-weights, kind="stable")
    return Palette(srgb[kept][order], weights[order])


def pooled(palettes: Iterable[Palette]) -> Palette:
    """Return the palette of several pictures, each of equal weight."""
    every = list(palettes)
    return Palette(
        np.concatenate([each.colours for each in every]), np.concatenate([each.weights for each in every]) / len(every)
    )


def palette_distance(palette: Palette, brand: Palette) -> float:
    """Return the earth mover's distance between two palettes over ΔE2000: the mean step by which colour must move.

    Rubner, Tomasi and Guibas, "The earth mover's distance as a metric for image retrieval", 2000; solved by POT.
    """
    from ot.lp import emd2

    return float(emd2(palette.weights, brand.weights, differences(palette.colours, brand.colours)))


def nearest_in(pixels_P3: Colours, brand_K3: Colours) -> tuple[NDArray[np.int64], Colours]:
    """Return for each pixel which of the brand's colours is nearest [P], and its ΔE2000 [P]; each colour once."""
    colours, inverse = np.unique(np.round(255 * pixels_P3).astype(np.uint8), axis=0, return_inverse=True)
    steps = differences(colours / 255, brand_K3)
    where = inverse.reshape(-1)
    return steps.argmin(axis=1)[where], steps.min(axis=1)[where]


def shares_of(nearest_P: NDArray[np.int64], count: int) -> Colours:
    """Return the share [K] of the pixels that lies nearest to each of ``count`` colours."""
    return np.asarray(np.bincount(nearest_P, minlength=count) / len(nearest_P))


def _member(lab_U3: Colours, inside_U: Mask, centre_3: Colours) -> int:
    rows = np.flatnonzero(inside_U)
    return int(rows[((lab_U3[rows] - centre_3) ** 2).sum(axis=1).argmin()])


@cache
def _threads() -> Any:
    """Return the controller of the libraries' threads; to find them takes longer than a palette."""
    from sklearn.cluster import KMeans  # noqa: F401  # its library must be loaded to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
