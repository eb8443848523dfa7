"""What a person can ask the pipeline for, checked before any work is done."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from PIL import Image

from synthesis.errors import SynthesisError

LARGEST_SEED = 2**63 - 1
DEFAULT_STEPS = 16
DEFAULT_GUIDANCE = 3.0
DEFAULT_REFINEMENT_STEPS = 8
REFINING_TASK = "super_resolution"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, kw_only=True)
class PictureRequest:
    """One picture for each prompt, each from its own seed.

    ``images`` and ``masks`` hold one picture a prompt for the tasks that need them; masks are drawn anew where white.
    ``strength`` (0..1) says how far image-to-image and style transfer may move from their source. ``background`` is the
    ground's colour.
    ``num_inference_steps`` and ``guidance_scale`` are the model's own where they are None: a distilled one draws in few
    steps without guidance, any other in 16 steps with 3.  ``height`` and ``width`` are in px and equal; None is the
    network's native size. A larger picture is drawn at the native one first, then refined to its own in
    ``num_refinement_steps`` more steps; with 0 of them it is drawn at its own size at once.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    task: str = "text_to_image"
    style: str | None = None
    brand: str | None = None
    images: tuple[Image.Image, ...] = ()
    masks: tuple[Image.Image, ...] = ()
    strength: float = 0.8
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    background: str = "#ffffff"
    height: int | None = None
    width: int | None = None
    num_refinement_steps: int = DEFAULT_REFINEMENT_STEPS

    def __post_init__(self) -> None:
        from synthesis.tasks import task_named

        task = task_named(self.task)
        if not self.prompts or len(self.prompts) != len(self.seeds):
            raise SynthesisError(
                f"{len(self.prompts)} prompts and {len(self.seeds)} seeds: give as many of each, one or more"
            )
        if not all(0 <= seed <= LARGEST_SEED for seed in self.seeds):
            raise SynthesisError(f"seeds {self.seeds} must be whole numbers from 0 to {LARGEST_SEED}")
        self._check_pictures("images", self.images, needed=task.needs_picture)
        self._check_pictures("masks", self.masks, needed=task.needs_mask)
        self._check_range("strength", self.strength, 0.0, 1.0)
        self._check_range("num_inference_steps", self.num_inference_steps, 1, 200)
        self._check_range("guidance_scale", self.guidance_scale, 0.0, 30.0)
        self._check_range("num_refinement_steps", self.num_refinement_steps, 0, 200)
        if None not in (self.height, self.width) and self.height != self.width:
            raise SynthesisError(f"height {self.height} and width {self.width} px differ: pictures are square")
        if not _COLOUR.fullmatch(self.background):
            raise SynthesisError(f"background '{self.background}' must be a colour like #ffffff")

    def _check_pictures(self, field: str, pictures: tuple[Image.Image, ...], *, needed: bool) -> None:
        if needed and len(pictures) != len(self.prompts):
            raise SynthesisError(
                f"task {self.task} needs one of {field} for each prompt: {len(pictures)} for {len(self.prompts)}"
            )
        if pictures and not needed:
            raise SynthesisError(f"task {self.task} takes no {field}: leave them out or choose another task")

    @staticmethod
    def _check_range(field: str, value: float | None, lowest: float, highest: float) -> None:
        if value is not None and not lowest <= value <= highest:
            raise SynthesisError(f"{field} {value} must lie in {lowest} to {highest}")

    @property
    def side_px(self) -> int | None:
        """Side of the picture in px; None is the network's native one."""
        return self.width if self.height is None else self.height

    def refining_steps(self, native_px: int) -> int:
        """Steps of the second stage: none at the native size, nor where the source is the small picture already."""
        if self.side_px in (None, native_px) or self.task == REFINING_TASK:
            return 0
        return self.num_refinement_steps

    @property
    def ground(self) -> tuple[float, float, float]:
        """The background's channels in 0..1."""
        red, green, blue = (int(self.background[begin : begin + 2], 16) / 255 for begin in (1, 3, 5))
        return red, green, blue

    @property
    def ground_rgb(self) -> tuple[int, int, int]:
        """The background's channels in 0..255."""
        red, green, blue = (round(255 * channel) for channel in self.ground)
        return red, green, blue

    def skipped_steps(self, num_steps: int) -> int:
        """How many of the first steps are left out, because drawing starts from its picture, noised."""
        from synthesis.tasks import task_named

        return num_steps - max(1, round(self.strength * num_steps)) if task_named(self.task).starts else 0

    def part(self, begin: int, end: int) -> PictureRequest:
        """The same request for pictures ``begin`` to ``end``."""
        return replace(
            self,
            prompts=self.prompts[begin:end],
            seeds=self.seeds[begin:end],
            images=self.images[begin:end],
            masks=self.masks[begin:end],
        )
