"""The pipeline: a folder in diffusers layout that draws pictures for every task and brand.

``stream`` yields after each denoising step, so that a server can show previews, interleave requests and stop; calling
the pipeline runs it to the end. A picture larger than the network's native size is drawn at that size first, which is
a preview of it, and then refined by the network's own super-resolution. Shapes: [B,3,H,W] in -1..1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from PIL import Image
from torch import Tensor

from synthesis.adapter import merged_with
from synthesis.backbone import NO_STYLE, MultiTaskTransformer
from synthesis.condition import REFERENCE_PX, Condition, no_reference, plain_appearance
from synthesis.control import Palette
from synthesis.errors import SynthesisError
from synthesis.palette import colours_of, held_to, noise_left_alone
from synthesis.pixels import enlarged, read_as, to_mask, to_pictures
from synthesis.precision import arithmetic, fast_dtype
from synthesis.request import DEFAULT_GUIDANCE, DEFAULT_STEPS, REFINING_TASK, PictureRequest
from synthesis.sampler import follow_flow, guided, seeded_noise
from synthesis.tasks import resize, task_named, task_row
from synthesis.text import SHIPPED_ENCODER, TextEncoder

REFINING_GUIDANCE = 1.0


@dataclass(frozen=True)
class Progress:
    """One denoising step: ``step`` counts from 1 to ``num_steps``, over all stages.

    ``estimate`` is of the stage's own size; its pictures are shown at ``side_px``, that of the finished ones.
    ``decode`` makes pictures of latents.
    """

    step: int
    num_steps: int
    estimate: Tensor
    side_px: int
    decode: Callable[[Tensor], Tensor] | None = None

    @property
    def final(self) -> bool:
        """Whether the pictures are done."""
        return self.step == self.num_steps

    def pictures(self) -> list[Image.Image]:
        """The clean-picture estimates at this step, made into pictures when asked for."""
        drawn = self.estimate if self.decode is None else self.decode(self.estimate)
        return to_pictures(drawn if drawn.shape[-1] == self.side_px else resize(drawn, self.side_px))


class MultiTaskPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Text-to-image, image-to-image, inpainting, outpainting, super-resolution and style transfer by one network."""

    def __init__(
        self,
        transformer: MultiTaskTransformer,
        scheduler: Any,
        text_encoder_name: str = SHIPPED_ENCODER,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> None:
        """``num_inference_steps`` and ``guidance_scale`` are those that the network was distilled for, if any."""
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler)
        own = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        told = {name: value for name, value in own.items() if value is not None}
        self.register_to_config(text_encoder_name=text_encoder_name, **told)
        self._branded: dict[str, MultiTaskTransformer] = {}
        self._text: TextEncoder | None = None

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> MultiTaskPipeline:
        """Load a backbone's folder, or say what is wrong with it."""
        if not (folder / "model_index.json").is_file():
            raise SynthesisError(f"{folder} is not a backbone: it has no model_index.json (a diffusers folder has one)")
        diffusers.utils.logging.disable_progress_bar()
        try:
            told = cls.load_config(str(folder)).get("_class_name")
            if told != cls.__name__:
                raise SynthesisError(
                    f"{folder} is a {told}: atelier generate and atelier serve alone draw with a pretrained model"
                    if told
                    else f"{folder / 'model_index.json'} names no pipeline: a backbone's names {cls.__name__}"
                )
            pipeline: MultiTaskPipeline = cls.from_pretrained(str(folder), dtype=dtype, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise SynthesisError(f"backbone {folder} does not load: {str(error).splitlines()[0]}") from error
        pipeline.transformer.eval().requires_grad_(False)
        return pipeline.to(device)  # type: ignore[no-any-return]

    @property
    def picture_px(self) -> int:
        """Side of the pictures that the network draws."""
        return int(self.transformer.config.native_px)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides in px that can be asked for, the native one first; larger ones are refined by super-resolution."""
        return self.transformer.sizes if REFINING_TASK in self.tasks else (self.picture_px,)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the base styles."""
        return tuple(self.transformer.config.styles)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the network learnt."""
        return tuple(self.transformer.config.tasks)

    @property
    def own_steps(self) -> int | None:
        """The number of steps that the network was distilled for; None where any number will do."""
        told = self.config.get("num_inference_steps")
        return None if told is None else int(told)

    @property
    def own_guidance(self) -> float | None:
        """The guidance scale that the network was distilled for; None where a person may choose."""
        told = self.config.get("guidance_scale")
        return None if told is None else float(told)

    @property
    def brands(self) -> tuple[str, ...]:
        """Names of the loaded brands."""
        return tuple(self._branded)

    def load_brand(self, folder: Path, name: str) -> None:
        """Load a brand's adapter under a name, replacing one of that name once the new files are validated.

        Each brand is a copy of the network with its updates merged: no request of another brand can change it, the
        backbone stays as fast as without brands, and what was measured is what is served.
        """
        self._branded[name] = merged_with(self.transformer, folder).to(self.device)

    def unload_brand(self, name: str) -> None:
        """Take a brand's adapter off the network."""
        if name not in self.brands:
            raise SynthesisError(f"brand '{name}' is not loaded: {_listed(self.brands)}")
        del self._branded[name]

    @torch.no_grad()
    def __call__(self, prompt: str | list[str], *, seed: int = 0, **fields: Any) -> ImagePipelineOutput:
        """Draw one picture a prompt; ``fields`` are those of ``PictureRequest`` beside prompts and seeds."""
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        request = PictureRequest(prompts=prompts, seeds=tuple(range(seed, seed + len(prompts))), **fields)
        *_, last = self.stream(request)
        return ImagePipelineOutput(images=last.pictures())

    def stream(self, request: PictureRequest) -> Iterator[Progress]:
        """Yield the clean-picture estimate after each step. Checks happen before the first step."""
        self._check(request)
        return self._steps(self._settled(request))

    def _settled(self, request: PictureRequest) -> PictureRequest:
        """The request with the model's own steps and guidance where it names none."""
        steps, guidance = request.num_inference_steps, request.guidance_scale
        if steps is None:
            steps = self.own_steps or DEFAULT_STEPS
        if guidance is None:
            guidance = DEFAULT_GUIDANCE if self.own_guidance is None else self.own_guidance
        return replace(request, num_inference_steps=steps, guidance_scale=guidance)

    def _check(self, request: PictureRequest) -> None:
        if request.style is not None and request.style not in self.styles:
            raise SynthesisError(f"style '{request.style}' is unknown: {_listed(self.styles)}")
        if request.brand is not None and request.brand not in self.brands:
            raise SynthesisError(f"brand '{request.brand}' is not loaded: {_listed(self.brands)}")
        if request.task not in self.tasks:
            raise SynthesisError(f"this backbone did not learn the task {request.task}: {_listed(self.tasks)}")
        if request.side_px not in (None, *self.sizes):
            sizes = ", ".join(map(str, self.sizes))
            raise SynthesisError(f"this backbone does not draw {request.side_px} px a side: it draws {sizes}")

    @torch.no_grad()
    def _steps(self, request: PictureRequest) -> Iterator[Progress]:
        side_px = request.side_px or self.picture_px
        refining_steps = request.refining_steps(self.picture_px)
        drawing_steps, estimates = self._drawn(request, self.picture_px if refining_steps else side_px)
        num_steps = drawing_steps + refining_steps
        for step, small in enumerate(estimates, 1):
            yield Progress(step, num_steps, small, side_px)
        if refining_steps:
            for step, large in enumerate(self._refined(request, small, side_px), drawing_steps + 1):
                yield Progress(step, num_steps, large, side_px)

    def _drawn(self, request: PictureRequest, side_px: int) -> tuple[int, Iterator[Tensor]]:
        """Return how many steps a drawing from noise takes, and its estimates [B,3,side,side]."""
        assert request.num_inference_steps is not None and request.guidance_scale is not None
        condition, clean = self._condition(request, side_px)
        skip_steps = request.skipped_steps(request.num_inference_steps)
        estimate = guided(self._denoiser(request.brand), condition, request.guidance_scale)
        scheduler = self._scheduler(side_px, request.num_inference_steps)
        if request.task == Palette.name:
            estimate = held_to(estimate, colours_of(condition.source), noise_left_alone(scheduler.sigmas))
        noise = seeded_noise(request.seeds, (3, side_px, side_px)).to(self.device)
        estimates = follow_flow(estimate, scheduler, noise, clean=clean, skip_steps=skip_steps)
        if task_named(request.task).needs_mask and clean is not None:
            hole, kept = condition.mask, (1 - condition.mask) * clean
            estimates = (hole * drawn + kept for drawn in estimates)
        return request.num_inference_steps - skip_steps, estimates

    def _refined(self, request: PictureRequest, small: Tensor, side_px: int) -> Iterator[Tensor]:
        """Yield estimates [B,3,side,side] of pictures of which ``small`` is the first stage's.

        From noise, with the small picture as super-resolution's source. Where a mask keeps pixels, they are the
        person's own in the source and in every estimate, so that what is drawn meets them.
        """
        plain = replace(request, task=REFINING_TASK, images=tuple(to_pictures(small)), masks=())
        condition, _ = self._condition(plain, side_px)
        given = self._pictures(request, side_px) if request.masks else (None, None)
        own, hole = (None if part is None else part.to(self.device) for part in given)

        def kept(picture: Tensor) -> Tensor:
            return picture if own is None or hole is None else hole * picture + (1 - hole) * own

        # Shown as it is, whatever the ratio of the sides: the task by itself would halve a larger one first.
        shown = torch.stack([enlarged(image, side_px) for image in plain.images]).to(self.device)
        told = replace(condition, source=kept(shown))
        estimate = guided(self._denoiser(request.brand), told, REFINING_GUIDANCE)
        scheduler = self._scheduler(side_px, request.num_refinement_steps)
        noise = seeded_noise(request.seeds, (3, side_px, side_px)).to(self.device)
        return follow_flow(lambda x, t: kept(estimate(x, t)), scheduler, noise, clean=None, skip_steps=0)

    def _scheduler(self, side_px: int, num_steps: int) -> Any:
        """A scheduler of one's own, its levels of noise shifted by the ratio of the sides, as in training."""
        own = self.scheduler.config
        shift = own["shift"] * side_px / self.picture_px
        # Where the last step of a distilled model begins belongs to its own steps, which are of the native size; a
        # single step begins at noise.
        terminal = own.get("shift_terminal") if side_px == self.picture_px and num_steps > 1 else None
        scheduler = type(self.scheduler).from_config(own, shift=shift, shift_terminal=terminal)
        scheduler.set_timesteps(num_steps)
        return scheduler

    def _denoiser(self, brand: str | None) -> Any:
        network = self.transformer if brand is None else self._branded[brand]

        def denoise(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
            with arithmetic(self.device, fast_dtype(self.device)):
                estimate: Tensor = network(x, t, **condition.tensors())
            return estimate.float()

        return denoise

    def _condition(self, request: PictureRequest, side_px: int) -> tuple[Condition, Tensor | None]:
        count = len(request.prompts)
        if self._text is None:
            self._text = TextEncoder(self.config.text_encoder_name)
        text, text_mask = self._text.to(self.device).encode(request.prompts)
        clean, mask = self._pictures(request, side_px)
        empty = torch.zeros(count, 3, side_px, side_px)
        task = task_named(request.task)
        source, hole = task.condition(empty if clean is None else clean, mask=mask, generator=None)
        for place, image in enumerate(request.images if request.task == "super_resolution" else ()):
            if max(image.size) <= side_px // 2:  # small already: shown as it is, stretched as in training
                source[place] = enlarged(image, side_px, request.ground_rgb)
        appearance = plain_appearance(count, request.ground)
        if task.shows_ground:
            appearance = torch.zeros_like(appearance)
        reference, known = self._reference(request, clean)
        condition = Condition(
            source=source,
            mask=hole,
            task=torch.full((count,), task_row(request.task)),
            style=torch.full((count,), self._style_row(request)),
            appearance=appearance,
            text=text,
            text_mask=text_mask,
            reference=reference,
            reference_mask=known,
        )
        return condition.to(self.device), None if clean is None else clean.to(self.device)

    def _pictures(self, request: PictureRequest, side_px: int) -> tuple[Tensor | None, Tensor | None]:
        if not request.images:
            return None, None
        clean = read_as(request.task, request.images, side_px, request.ground_rgb)
        return clean, to_mask(request.masks, side_px) if request.masks else None

    def _reference(self, request: PictureRequest, clean: Tensor | None) -> tuple[Tensor, Tensor]:
        if clean is None or not task_named(request.task).refers:
            return no_reference(len(request.prompts))
        return resize(clean, REFERENCE_PX), torch.ones(len(clean), dtype=torch.bool)

    def _style_row(self, request: PictureRequest) -> int:
        if request.brand is not None:
            return int(self.transformer.brand_slot)
        return NO_STYLE if request.style is None else 1 + self.styles.index(request.style)


def _listed(names: tuple[str, ...]) -> str:
    return f"there are {', '.join(names)}" if names else "there are none"
