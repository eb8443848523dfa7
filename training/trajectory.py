"""What a student of few steps learns from: a teacher's guided way from noise to a picture, cut into a few segments.

Shapes: B batch, S segments, C channels, H W pixels; sigma in 0..1, 1 is noise; t = 1 - sigma.

Sources: the teacher's steps within a fixed segment as one step's target (progressive distillation, Salimans and Ho
2022; Piecewise Rectified Flow, Yan et al. 2024), guidance taken in (Meng et al. 2023), the student's own states as
starting points (DAgger, Ross et al. 2011; backward simulation, Yin et al. 2024, section 4.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from synthesis.condition import Condition, join
from synthesis.objective import flow_point
from synthesis.sampler import Denoiser, few_step_scheduler, guided
from training.errors import TrainingError
from training.limits import check_share


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What the student is to match, and from where.

    The teacher takes ``num_inference_steps`` times ``teacher_substeps`` steps with ``guidance_scale``. A segment of
    ``real_share`` of the pictures begins at a noised drawing, of ``own_share`` where the student itself arrived, of
    the rest where the teacher did.
    """

    num_inference_steps: int = 4
    teacher_substeps: int = 8
    guidance_scale: float = 3.0
    real_share: float = 0.25
    own_share: float = 0.25

    def __post_init__(self) -> None:
        for name, most in (("num_inference_steps", 64), ("teacher_substeps", 100)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= most:
                raise TrainingError(f"{name} is {value}: it must be a whole number from 1 to {most}")
        if not 0 <= self.guidance_scale <= 30:
            raise TrainingError(f"guidance_scale is {self.guidance_scale}: it must lie in 0 to 30")
        check_share("real_share", self.real_share)
        check_share("own_share", self.own_share)
        if self.real_share + self.own_share > 1:
            raise TrainingError(
                f"real_share {self.real_share} and own_share {self.own_share} make up more than 1: lower one of them"
            )

    @property
    def sigmas(self) -> list[float]:
        """Where segments begin and end, S + 1 of them from 1 to 0: those of the scheduler that the student ships."""
        scheduler = few_step_scheduler(self.num_inference_steps)
        scheduler.set_timesteps(self.num_inference_steps)
        return [float(sigma) for sigma in scheduler.sigmas]


@dataclass(frozen=True)
class Lessons:
    """Starts and targets [S·B,C,H,W], times [S·B] and conditions of all segments, one behind the other."""

    start: Tensor
    t: Tensor
    condition: Condition
    target: Tensor


def step_towards(x: Tensor, estimate: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """x' = r·x + (1 - r)·x̂, r = σ'/σ: Euler's step along v = (x - x̂)/σ, for clean-picture estimates."""
    ratio = next_sigma / sigma
    return ratio * x + (1 - ratio) * estimate


def segment_target(
    estimate: Denoiser, condition: Condition, x: Tensor, sigmas: Sequence[float], guidance_scale: float
) -> Tensor:
    """The one estimate x̂* whose single step ends where the teacher's many steps at ``sigmas`` end.

    Unrolled, the steps end at r·x + Σ wᵢ·x̂ᵢ with Σ wᵢ = 1 - r, so x̂* = Σ wᵢ·x̂ᵢ / (1 - r): a mean of the teacher's
    estimates, which lies in -1..1 as they do.  Salimans and Ho 2022, appendix G, for the flow of Liu et al. 2022.
    """
    towards = guided(estimate, condition, guidance_scale)
    total = torch.zeros_like(x)
    for sigma, next_sigma in pairwise(sigmas):
        t = torch.full((len(x),), 1 - sigma, device=x.device)
        drawn = towards(x, t).clamp(-1, 1)
        x = step_towards(x, drawn, sigma, next_sigma)
        total = step_towards(total, drawn, sigma, next_sigma)
    return total / (1 - sigmas[-1] / sigmas[0])


@torch.no_grad()
def lessons(
    settings: Distillation,
    teacher: Denoiser,
    student: Denoiser,
    drawn: tuple[Tensor, Condition],
    generator: Generator,
) -> Lessons:
    """Follow the teacher from noise through all segments for a clean batch [B,C,H,W] and its condition."""
    clean, condition = drawn
    noise = torch.randn(clean.shape, device=clean.device, generator=generator)
    chance_B = torch.rand(len(clean), device=clean.device, generator=generator)[:, None, None, None]
    real, own = chance_B < settings.real_share, chance_B >= 1 - settings.own_share
    x, starts, times, targets = noise, [], [], []
    sigmas = settings.sigmas
    for sigma, next_sigma in pairwise(sigmas):
        t = torch.full((len(clean),), 1 - sigma, device=clean.device)
        x = torch.where(real, flow_point(clean, noise, t), x)
        fine = torch.linspace(sigma, next_sigma, settings.teacher_substeps + 1).tolist()
        target = segment_target(teacher, condition, x, fine, settings.guidance_scale)
        starts.append(x)
        times.append(t)
        targets.append(target)
        reached = step_towards(x, target, sigma, next_sigma)
        if settings.own_share and next_sigma:
            estimate = student(x, t, condition).clamp(-1, 1)
            reached = torch.where(own, step_towards(x, estimate, sigma, next_sigma), reached)
        x = reached
    return Lessons(torch.cat(starts), torch.cat(times), join([condition] * len(starts)), torch.cat(targets))
