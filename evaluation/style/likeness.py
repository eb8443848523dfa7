"""Style fidelity: how like a brand's own drawings pictures look, on a scale that the brand itself calibrates.

Shapes: descriptors of unit length, of made pictures [N,E], the brand's references [R,E], its unseen drawings [H,E],
off-brand drawings [O,E]; scores [N].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.intervals import LEVEL, Estimate, Interval
from evaluation.style.separation import auc_estimate

NEIGHBOURS = 10
LEAST_FOR_SCALE = 16
OWN_TAIL = 0.05
REDRAWN = 2000


def csls(asked_NE: Tensor, brand_RE: Tensor, crowd_KE: Tensor) -> Tensor:
    """Return s(x,R) = 2 cos(x,R̄) - r(x) - r(R̄), float64 [N], R̄ the mean of the brand's units.

    r is the mean cosine to the 10 nearest of a crowd of off-brand drawings: what lies where many looks lie is like
    everything, and that says little (Conneau et al. 2018, Eq. 3).  No asked picture may be in the crowd.
    """
    asked, brand, crowd = asked_NE.double(), brand_RE.double(), crowd_KE.double()
    centre_1E = torch.nn.functional.normalize(brand.mean(dim=0, keepdim=True), dim=1)
    likeness_N = (asked @ centre_1E.T)[:, 0]
    return 2 * likeness_N - _neighbourhood(asked, crowd) - _neighbourhood(centre_1E, crowd)


@dataclass(frozen=True, kw_only=True)
class StyleScale:
    """A brand's own scale: 0 is the off-brand median, 1 the brand's.

    ``own`` and ``off`` are the scores of the brand's unseen drawings and of off-brand ones: what calibrates, and what
    a figure's interval must not forget.
    """

    brand: Tensor
    crowd: Tensor
    own: Tensor
    off: Tensor

    @classmethod
    def of(cls, brand_RE: Tensor, own_HE: Tensor, off_OE: Tensor) -> StyleScale:
        """Calibrate on unseen drawings of the brand and on off-brand ones, every other of which becomes the crowd.

        Raises TooFewPicturesError for fewer than 16 on any side, EvaluationError when a value is not finite.
        """
        sides = {"references": brand_RE, "unseen drawings of the brand": own_HE, "off-brand drawings": off_OE[1::2]}
        for what, rows in sides.items():
            if len(rows) < LEAST_FOR_SCALE:
                raise TooFewPicturesError(
                    f"{len(rows)} {what} are too few to calibrate by: {LEAST_FOR_SCALE} are needed"
                )
            if not bool(rows.isfinite().all()):
                raise EvaluationError(f"{what}: descriptors hold values that are not finite numbers")
        crowd = off_OE[0::2]
        own, off = csls(own_HE, brand_RE, crowd), csls(off_OE[1::2], brand_RE, crowd)
        return cls(brand=brand_RE, crowd=crowd, own=own, off=off)

    def scores(self, made_NE: Tensor) -> Tensor:
        """Return the raw scores s [N] of pictures."""
        return csls(made_NE, self.brand, self.crowd)

    def on_scale(self, scores_N: Tensor) -> Tensor:
        """Return scores as places on the scale: (s - off-brand median) / (brand median - off-brand median)."""
        low, high = _median(self.off), _median(self.own)
        return (scores_N - low) / (high - low)

    def fidelity(self, scores_N: Tensor, *, seed: int = 0) -> Interval:
        """Return F, the mean place on the scale of made pictures.

        Its interval is the bootstrap's, over the made pictures and both calibrating sides: unlike a Fréchet distance,
        means and medians are not moved by pictures that are drawn twice, and a median has no jackknife.
        Raises EvaluationError when the brand's median does not lie above the off-brand one: then nothing is measured.
        """
        if float(_median(self.own)) <= float(_median(self.off)):
            raise EvaluationError(
                "the brand's own drawings look no more like its references than off-brand ones do: the descriptor"
                " cannot see this brand"
            )
        generator = torch.Generator().manual_seed(seed)
        made_T, own_TH, off_TO = (_redrawn(values, generator) for values in (scores_N, self.own, self.off))
        low_T, high_T = _median(off_TO), _median(own_TH)
        places_T = (made_T.mean(dim=1) - low_T) / (high_T - low_T)
        low, high = (float(torch.quantile(places_T, share)) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return Interval(float(self.on_scale(scores_N).mean()), low, high)

    def within_own(self, scores_N: Tensor) -> tuple[float, int]:
        """Return the threshold that 95 % of the brand's own drawings pass, and how many made pictures pass it."""
        threshold = float(torch.quantile(self.own, OWN_TAIL))
        return threshold, int((scores_N >= threshold).sum())

    def separation(self) -> Estimate:
        """Return the AUC of the brand's unseen drawings over off-brand ones: whether the scale can be trusted."""
        return auc_estimate(self.own, self.off)


def _neighbourhood(asked_NE: Tensor, crowd_KE: Tensor) -> Tensor:
    nearest = min(NEIGHBOURS, len(crowd_KE))
    return (asked_NE @ crowd_KE.T).topk(nearest, dim=1).values.mean(dim=1)


def _median(values: Tensor) -> Tensor:
    """Return the median along the last dimension, between the middle two where their number is even."""
    return torch.quantile(values, 0.5, dim=-1)


def _redrawn(values_N: Tensor, generator: torch.Generator) -> Tensor:
    """Return values drawn with replacement, [REDRAWN,N]."""
    return values_N[torch.randint(len(values_N), (REDRAWN, len(values_N)), generator=generator)]
