"""Teaches a widened model of diffusers every task, in latents and in the terms that it was trained in.

Shapes: B batch, C latent channels, h w latents, H W pixels; t [B] in 0..1, 1 is clean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Generator, Tensor, nn

from data.dataset import Dataset
from registry.artifacts import CARD_FILE, digest_folder, read_card
from synthesis.condition import Condition, no_reference
from synthesis.pretrained.backbone import PretrainedBackbone
from synthesis.pretrained.families import open_pipeline
from synthesis.pretrained.prompts import UNTOLD, Prompts
from synthesis.tasks import TASKS, resize, task_row
from training.corpus import Corpus, captioned
from training.errors import TrainingError
from training.export import dtype_named, export_pretrained
from training.learner import example_maker, style_rows, styles_of
from training.steps import Example, ExampleMaker, Examples

ENCODED_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class OwnParametrisation:
    """What a pretrained network predicts is its own; ``embedded_guidance`` is the number that FLUX is told."""

    embedded_guidance: float = 3.5

    def __post_init__(self) -> None:
        if not 0 <= self.embedded_guidance <= 30:
            raise TrainingError(f"objective.embedded_guidance is {self.embedded_guidance}: it must lie in 0 to 30")


class OwnTerms:
    """The loss that a family's network was trained by, at the times that it was trained at."""

    def __init__(self, backbone: PretrainedBackbone) -> None:
        self._backbone = backbone

    def times(self, uniform: Tensor, ratio: float) -> Tensor:
        """As the family draws them: it has seen pictures of many sizes, so the ratio changes nothing."""
        return self._backbone.parametrisation.sample_t(uniform)

    def loss(self, network: Any, clean: Tensor, condition: Condition, noise: Tensor, t: Tensor) -> Tensor:
        """Squared error of noise, v or velocity [B]; ``network`` is the backbone's own."""
        return self._backbone.loss_at(clean, condition, noise, t)


class PromptCaptions:
    """Captions that the model's own frozen encoders read as they are drawn, with the task's words in front.

    They are not kept encoded: each of the eleven prefixes would need features of its own, 100 KB and more a caption.
    """

    def __init__(self, captions: Sequence[str], prompts: Prompts) -> None:
        self._captions = list(captions)
        self._prompts = prompts

    def text(self, captions: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,1+T,W] and mask [B,1+T]."""
        names = list(TASKS)
        said = [self._captions[place] for place in captions.tolist()]
        return self._prompts.encode(said, [names[row] for row in task.tolist()])

    def to(self, device: torch.device | str) -> PromptCaptions:
        """The same: text is on no device."""
        return self


class LatentExamples:
    """Examples of a maker, brought into the latents of a model by its codec; a reference is shown as the source."""

    def __init__(self, maker: ExampleMaker, backbone: PretrainedBackbone) -> None:
        self._maker = maker
        self._backbone = backbone

    @property
    def corpus(self) -> Corpus:
        """The corpus of the maker."""
        return self._maker.corpus

    @property
    def side_px(self) -> int:
        """The usual side of a picture."""
        return self._maker.side_px

    def make(self, rows: Tensor, generator: Generator, side_px: int | None = None) -> Example:
        """rows [B] -> clean latents [B,C,h,w]; source latents and a mask of pixels in the condition."""
        example = self._maker.make(rows, generator, side_px)
        told = example.condition
        with torch.autocast(rows.device.type, enabled=False):
            refers_alone = told.task == task_row("style_reference")  # other tasks' references are their sources
            worn = (told.reference_mask & refers_alone)[:, None, None, None]
            shown = torch.where(worn, resize(told.reference, told.source.shape[-1]), told.source)
            clean, source = self._encoded(example.clean), self._encoded(shown)
        reference, known = no_reference(len(rows), rows.device)
        told = replace(told, source=source, reference=reference, reference_mask=known)
        return Example(clean, told, example.slices)

    def _encoded(self, pictures: Tensor) -> Tensor:
        return torch.cat([self._backbone.codec.encode(part) for part in pictures.split(ENCODED_AT_ONCE)])


class PretrainedLearner:
    """A folder of ``atelier widen``, or one that was trained from it; ``training.learner.Learner`` says what for."""

    def __init__(self, config: DictConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset
        self._start = _start_folder(config)
        self._card = _start_card(self._start)
        self._dtype = dtype_named("backbone.precision", str(config.backbone.precision))
        guidance = _own_objective(config).embedded_guidance
        self._backbone = PretrainedBackbone.load(self._start, embedded_guidance=guidance)
        self.side_px = _side_px(config, self._card, self._backbone)
        self.network: nn.Module = self._backbone.network.train()
        self.objective = OwnTerms(self._backbone)
        self.earlier = {
            "digest": digest_folder(self._start),
            "source": str(self._start),
            "images_seen": int(self._card["run"]["images_seen"]),
        }

    def examples(self, rows: list[int], device: torch.device, *, augmented: bool) -> Examples:
        """Bring pictures, codec and text encoders to a device."""
        self._backbone.accompany(device)
        config, dataset = self._config, self._dataset

        def spoken(captions: Sequence[str]) -> PromptCaptions:
            return PromptCaptions(captions, self._backbone.prompts)

        numbers = style_rows(dataset, rows, styles_of(dataset))
        corpus = captioned(dataset, rows, numbers, spoken, resident=config.dataset.resident).to(device)
        sides = {"side_px": self.side_px, "reference_px": self.side_px}
        return LatentExamples(example_maker(config, dataset, corpus, augmented=augmented, **sides), self._backbone)

    def export(self, weights: Mapping[str, Tensor], folder: Path, card: Mapping[str, Any], attribution: str) -> None:
        """Write the stock inpainting pipeline that it started as, with what the network learnt."""
        pipeline = open_pipeline(str(self._start), dtype=self._dtype)
        network = getattr(pipeline, self._backbone.family.part)
        unlike = network.load_state_dict(weights, strict=False)  # buffers do not learn: they are the start's
        unlearnt = {name for name, _ in network.named_parameters()} & set(unlike.missing_keys)
        if strays := sorted({*unlike.unexpected_keys, *unlearnt}):
            raise TrainingError(f"what was learnt does not fit {self._start}: {len(strays)} weights, first {strays[0]}")
        export_pretrained(pipeline, folder, self._described(card), self._attributed(attribution))

    def _described(self, card: Mapping[str, Any]) -> dict[str, Any]:
        """The run's card with the licence and the obligations of what it started from."""
        start, told = self._card, self._card["pretrained"]
        shares, before = self._config.tasks.shares, told.get("tasks", (UNTOLD,))
        tasks = [name for name in TASKS if name in before or shares.get(name, 0) > 0]
        (entry,) = card["datasets"]
        own = [one for one in card["obligations"] if one not in start["obligations"]]
        entry = entry | {"exposure_pictures": entry["exposure_pictures"] - self.earlier["images_seen"]}
        return dict(card) | {
            "summary": f"{told['name']} ({told['family']}), trained to draw: {', '.join(tasks)}. The task is"
            f' told by a prefix of the prompt ("edges: a dog"); pictures of {self.side_px} px.',
            "licence": start["licence"],
            "obligations": [*start["obligations"], *own],
            "datasets": [*start["datasets"], entry],
            "pretrained": dict(told) | {"tasks": tasks, "side_px": self.side_px},
        }

    def _attributed(self, attribution: str) -> str:
        """The attributions of the start, if any, before those of this run."""
        file = self._start / "ATTRIBUTION.md"
        before = file.read_text() if file.is_file() else ""
        return attribution if attribution in before or not before else f"{before.rstrip()}\n\n{attribution}"


def _start_folder(config: DictConfig) -> Path:
    if not config.backbone.folder:
        raise TrainingError("backbone.folder is missing: pass backbone.folder=FOLDER, one that atelier widen wrote")
    if config.initial:
        raise TrainingError(
            f"initial={config.initial} is for the project's own network: a pretrained one starts from backbone.folder"
        )
    if config.measured and config.measured.every_steps:
        raise TrainingError(
            f"measured.every_steps is {config.measured.every_steps}: a pretrained network is not drawn with on the way;"
            " pass measured.every_steps=0"
        )
    return Path(config.backbone.folder)


def _start_card(folder: Path) -> dict[str, Any]:
    if not (folder / CARD_FILE).is_file() or "pretrained" not in (card := read_card(folder)):
        raise TrainingError(
            f"backbone.folder={folder} is no widened model: run atelier widen source={folder} out=DIR first"
            if (folder / "model_index.json").is_file() and not (folder / CARD_FILE).is_file()
            else f"backbone.folder={folder} is no widened model: name a folder that atelier widen wrote"
        )
    return card


def _own_objective(config: DictConfig) -> OwnParametrisation:
    objective = instantiate(config.objective)
    if not isinstance(objective, OwnParametrisation):
        raise TrainingError("a pretrained network learns in its own terms: pass objective=own, or leave objective out")
    return objective


def _side_px(config: DictConfig, card: Mapping[str, Any], backbone: PretrainedBackbone) -> int:
    """The setting, else what the start learnt at, else the model's own."""
    side_px = config.backbone.side_px or card["pretrained"].get("side_px") or backbone.native_px
    step_px = backbone.step_px
    shares = config.sizes.shares or {}
    for name, value in [("backbone.side_px", side_px), *(("sizes.shares", px) for px in shares)]:
        if not isinstance(value, int) or value < step_px or value % step_px:
            raise TrainingError(f"{name} is {value}: it must be a multiple of {step_px}, as this model's latents ask")
    return int(side_px)
