"""A widened model behind the calls of the project's own pipeline: every task, with previews, one step at a time.

Shapes: B batch, C latent channels, h w latents, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from synthesis.condition import Condition
from synthesis.errors import SynthesisError
from synthesis.pipeline import Progress
from synthesis.pixels import enlarged, read_as, to_mask
from synthesis.precision import arithmetic
from synthesis.pretrained.backbone import PretrainedBackbone
from synthesis.pretrained.drawing import draw
from synthesis.pretrained.prompts import UNTOLD
from synthesis.request import DEFAULT_GUIDANCE, DEFAULT_STEPS, PictureRequest
from synthesis.sampler import seeded_noise
from synthesis.tasks import task_named


class PretrainedPipeline:
    """Draws what ``synthesis.pipeline.MultiTaskPipeline`` draws, by the model's own scheduler, in latents.

    A palette is shown to the network and not held to: latents have no colours to carry.
    """

    def __init__(
        self, backbone: PretrainedBackbone, *, tasks: Sequence[str] = (UNTOLD,), side_px: int | None = None
    ) -> None:
        """``tasks`` are those that it learnt; ``side_px`` is the side that it learnt at, if not the model's own."""
        self._backbone = backbone.eval().requires_grad_(False)
        self.tasks = tuple(tasks)
        self.picture_px = backbone.native_px if side_px is None else side_px
        self.sizes = (self.picture_px,)
        self.styles: tuple[str, ...] = ()
        self.brands: tuple[str, ...] = ()
        self.own_steps: int | None = None
        self.own_guidance: float | None = None

    @classmethod
    def load(
        cls, folder: Path, *, device: str = "cpu", tasks: Sequence[str] = (UNTOLD,), side_px: int | None = None
    ) -> PretrainedPipeline:
        """Load a folder that ``atelier widen`` wrote or that was trained from one, or say what is wrong with it."""
        backbone = PretrainedBackbone.load(folder).to(device)
        backbone.accompany(device)
        return cls(backbone, tasks=tasks, side_px=side_px)

    def load_brand(self, folder: Path, name: str) -> None:
        """Refuse: an adapter is for the project's own network."""
        raise SynthesisError(
            f"brand '{name}' cannot be worn by a pretrained {self._backbone.family.name} model: onboard it on a"
            " backbone that atelier train made without backbone=pretrained"
        )

    def stream(self, request: PictureRequest) -> Iterator[Progress]:
        """Yield the clean estimate after each step. Checks happen before the first step."""
        self._check(request)
        return self._steps(request)

    def _check(self, request: PictureRequest) -> None:
        if request.task not in self.tasks:
            raise SynthesisError(
                f"task '{request.task}' was not learnt by this model: it knows {', '.join(self.tasks)}"
            )
        if request.style is not None or request.brand is not None:
            raise SynthesisError("a pretrained model has no styles and no brands: tell the style in the prompt")

        if request.side_px not in (None, *self.sizes):
            raise SynthesisError(f"this model does not draw {request.side_px} px a side: it draws {self.picture_px}")

    @torch.no_grad()
    def _steps(self, request: PictureRequest) -> Iterator[Progress]:
        pixels, mask = self._pictures(request)
        condition = self._condition(request, pixels, mask)
        device, codec = condition.source.device, self._backbone.codec
        steps = request.num_inference_steps or DEFAULT_STEPS
        skip_steps = request.skipped_steps(steps)
        noise = seeded_noise(request.seeds, tuple(condition.source.shape[1:])).to(device)
        drawing = draw(
            self._backbone,
            condition,
            noise,
            num_inference_steps=steps,
            guidance_scale=DEFAULT_GUIDANCE if request.guidance_scale is None else request.guidance_scale,
            clean=codec.encode(pixels) if skip_steps and pixels is not None else None,
            skip_steps=skip_steps,
            generators=[_on_the_way(seed) for seed in request.seeds],
        )
        decode = self._decoder(pixels if task_named(request.task).needs_mask else None, condition.mask)
        while True:
            with arithmetic(device, torch.bfloat16 if device.type == "cuda" else torch.float32):
                drawn = next(drawing, None)
            if drawn is None:
                return
            estimate = drawn.latents if drawn.step == drawn.num_steps else drawn.estimate
            yield Progress(drawn.step, drawn.num_steps, estimate, self.picture_px, decode)

    def _decoder(self, kept: Tensor | None, mask: Tensor) -> Callable[[Tensor], Tensor]:
        """Latents to pictures; outside the mask stands what was given, not what the codec made of it."""

        def decode(latents: Tensor) -> Tensor:
            drawn = self._backbone.codec.decode(latents)
            return drawn if kept is None else mask * drawn + (1 - mask) * kept.to(drawn)

        return decode

    def _pictures(self, request: PictureRequest) -> tuple[Tensor | None, Tensor | None]:
        if not request.images:
            return None, None
        device = self._backbone.unspoken.device
        pixels = read_as(request.task, request.images, self.picture_px, request.ground_rgb).to(device)
        return pixels, to_mask(request.masks, self.picture_px).to(device) if request.masks else None

    def _condition(self, request: PictureRequest, pixels: Tensor | None, mask: Tensor | None) -> Condition:
        tasks = [request.task] * len(request.prompts)
        told = self._backbone.condition(tasks, request.prompts, pixels, masks=mask, side_px=self.picture_px)
        small = [max(image.size) <= self.picture_px // 2 for image in request.images]
        if request.task != "super_resolution" or not any(small):
            return told
        source = told.source.clone()
        for place, image in enumerate(request.images):
            if small[place]:  # small already: shown as it is, stretched as in training
                shown = enlarged(image, self.picture_px, request.ground_rgb)
                source[place] = self._backbone.codec.encode(shown[None])[0]
        return replace(told, source=source)


def _on_the_way(seed: int) -> Generator:
    """Noise for schedulers that add some at each step: of the picture's seed, and other than what it starts from."""
    return Generator().manual_seed((seed * 2_654_435_761 + 1) % 2**63)
