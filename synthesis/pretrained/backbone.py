"""A widened pretrained model in the place of the project's own network: the same call, in latents.

Shapes: B batch, C latent channels, h w latents, H W pixels; t [B] in 0..1, 1 is clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from synthesis.backbone import NO_STYLE
from synthesis.condition import APPEARANCE_WIDTH, Condition, no_reference
from synthesis.errors import SynthesisError
from synthesis.latents import Autoencoder
from synthesis.objective import flow_point
from synthesis.pretrained.families import family_of_widened, open_pipeline
from synthesis.pretrained.parametrisation import parametrisation_of
from synthesis.pretrained.prompts import Prompts
from synthesis.pretrained.ways import WAYS, Given
from synthesis.tasks import task_named, task_row

FLUX_LATENTS = 128  # a side, as its pipelines have it: its network's settings name none


class PretrainedBackbone(nn.Module):
    """Called as ``MultiTaskTransformer`` is, latents for pictures: ``x̂ = backbone(x_t, t, **condition.tensors())``.

    The network, its scheduler and what it predicts stay the family's own. Style, appearance and reference tokens are
    not read: such a model is told a style in words, and ``condition`` shows a reference as the source.
    """

    unspoken: Tensor

    def __init__(self, pipeline: Any, *, embedded_guidance: float = 3.5) -> None:
        """``pipeline`` is a widened one; ``embedded_guidance`` is what FLUX is told as a number."""
        super().__init__()
        self.family = family_of_widened(pipeline)
        self.network: Any = getattr(pipeline, self.family.part)
        self.scheduler = pipeline.scheduler
        self.codec = Autoencoder(pipeline.vae)
        self.prompts = Prompts(pipeline)
        self.parametrisation = parametrisation_of(pipeline.scheduler)
        self.embedded_guidance = embedded_guidance
        self.register_buffer("unspoken", self.prompts.unspoken(), persistent=False)

    @classmethod
    def load(
        cls, folder: Path | str, *, dtype: torch.dtype = torch.float32, embedded_guidance: float = 3.5
    ) -> PretrainedBackbone:
        """Load what ``atelier widen`` wrote."""
        return cls(open_pipeline(str(folder), dtype=dtype), embedded_guidance=embedded_guidance)

    @property
    def native_px(self) -> int:
        """Side of the pictures that the family's own pipeline draws unless told another."""
        latents = self.network.config.get("sample_size") or FLUX_LATENTS
        return int(latents) * self.codec.factor_px

    @property
    def step_px(self) -> int:
        """Sides are multiples of this: pictures of four tiles too, and latents that are read two by two."""
        return 4 * self.codec.factor_px

    def accompany(self, device: torch.device | str) -> None:
        """Bring all that is frozen to a device: codec, text encoders and what stands for no text."""
        self.codec.model.to(device)
        self.prompts.to(device)
        self.unspoken = self.unspoken.to(device)

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        *,
        source: Tensor,
        mask: Tensor,
        task: Tensor,
        text: Tensor,
        text_mask: Tensor,
        **_: Tensor,
    ) -> Tensor:
        """Return the estimate of the clean latents [B,C,h,w] from a flow point and its time [B] in 0..1."""
        own = self.parametrisation.timestep(timestep)
        x = self.parametrisation.entered(noisy, timestep)
        given = self._given(source, mask, task, text, text_mask)
        return self.parametrisation.clean(x, own, WAYS[self.family.name](self.network, x, own, given))

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The sampler's ``Denoiser``."""
        estimate: Tensor = self(x, t, **condition.tensors())
        return estimate

    def predict(
        self, x: Tensor, timestep: Tensor, condition: Condition, *, embedded_guidance: float | None = None
    ) -> Tensor:
        """What the network says of latents in its own scale at its own timestep [B]: noise, v or velocity."""
        told = (condition.source, condition.mask, condition.task, condition.text, condition.text_mask)
        given = self._given(*told)
        if embedded_guidance is not None:
            given = replace(given, guidance=embedded_guidance)
        return WAYS[self.family.name](self.network, x, timestep, given)

    def loss(self, clean: Tensor, condition: Condition, generator: Generator | None = None) -> Tensor:
        """Squared error of what the family's network predicts, at the times that it was trained at [B]."""
        numbers = torch.rand(len(clean), device=clean.device, generator=generator)
        noise = torch.randn(clean.shape, device=clean.device, generator=generator)
        return self.loss_at(clean, condition, noise, self.parametrisation.sample_t(numbers))

    def loss_at(self, clean: Tensor, condition: Condition, noise: Tensor, t: Tensor) -> Tensor:
        """The same [B] for this noise and these times [B]."""
        own = self.parametrisation.timestep(t)
        prediction = self.predict(self.parametrisation.entered(flow_point(clean, noise, t), t), own, condition)
        target = self.parametrisation.target(clean, noise, own)
        return (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))

    def condition(
        self,
        tasks: Sequence[str],
        prompts: Sequence[str],
        pictures: Tensor | None = None,
        *,
        masks: Tensor | None = None,
        generator: Generator | None = None,
        side_px: int | None = None,
    ) -> Condition:
        """What the network is told, a row a task: made by the tasks' own classes, the source encoded.

        pictures [B,3,H,W] in -1..1 are clean ones with a generator, a person's without; masks [B,1,H,W]. Without
        pictures, ``side_px`` says how large the empty source is. In style_reference a picture is the reference.
        """
        seen, mask = self._shown(
            tasks,
            self._blank(len(tasks), side_px) if pictures is None else pictures,
            masks,
            generator,
            given=pictures is not None,
        )
        return self.told(tasks, prompts, seen, mask)

    def told(self, tasks: Sequence[str], prompts: Sequence[str], seen: Tensor, mask: Tensor) -> Condition:
        """The condition of sources [B,3,H,W] and masks [B,1,H,W] that are made already."""
        text, text_mask = self.prompts.encode(prompts, tasks)
        reference, known = no_reference(len(tasks), seen.device)
        return Condition(
            source=self.codec.encode(seen),
            mask=mask,
            task=torch.tensor([task_row(task) for task in tasks], device=seen.device),
            style=torch.full((len(tasks),), NO_STYLE, device=seen.device),
            appearance=torch.zeros(len(tasks), APPEARANCE_WIDTH, device=seen.device),
            text=text,
            text_mask=text_mask,
            reference=reference,
            reference_mask=known,
        )

    def _shown(
        self,
        tasks: Sequence[str],
        pictures: Tensor,
        masks: Tensor | None,
        generator: Generator | None,
        *,
        given: bool,
    ) -> tuple[Tensor, Tensor]:
        """Source pictures [B,3,H,W] and masks [B,1,H,W]."""
        rows = []
        for row, name in enumerate(tasks):
            task = task_named(name)
            if task.needs_picture and not given:
                raise SynthesisError(f"task {name} needs a picture: give one for each prompt")
            picture = pictures[row : row + 1]
            hole = masks[row : row + 1] if masks is not None and task.needs_mask else None
            source, mask = task.condition(picture, mask=hole, generator=generator)
            rows.append((picture if name == "style_reference" else source, mask))
        return torch.cat([source for source, _ in rows]), torch.cat([mask for _, mask in rows])

    def _blank(self, count: int, side_px: int | None) -> Tensor:
        if side_px is None:
            raise SynthesisError("neither pictures nor side_px are given: say how large the pictures are to be")
        return torch.zeros(count, 3, side_px, side_px, device=self.unspoken.device)

    def _given(self, source: Tensor, mask: Tensor, task: Tensor, text: Tensor, text_mask: Tensor) -> Given:
        spoken = text_mask.any(dim=1)[:, None, None]
        tokens, pooled = self.prompts.split(torch.where(spoken, text, self.unspoken[task]))
        return Given(source=source, mask=mask, tokens=tokens, pooled=pooled, guidance=self.embedded_guidance)
