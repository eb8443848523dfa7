"""A network overtrained on eight drawings is said to copy; one that learnt nothing, and real drawings, are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from rich.console import Console
from scipy import stats
from torch import Tensor

from data.dataset import Dataset, open_dataset
from evaluation.drawing import DrawingSettings, Order
from evaluation.drawings import in_drawn_order, real_pictures, two_halves
from evaluation.errors import EvaluationError
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.figures import Figure
from evaluation.measurement import Column, Section
from evaluation.memorisation.first_step import first_step
from evaluation.memorisation.neighbours import nearest_neighbours
from evaluation.memorisation.structure import structure_vectors
from evaluation.panels.memorisation import MemorisationPanel
from evaluation.scene import Scene
from evaluation.studio import Studio
from registry.resolve import ResolvedModel, resolve_model
from synthesis.backbone import MultiTaskTransformer
from synthesis.condition import plain_appearance
from synthesis.objective import flow_point
from synthesis.pipeline import MultiTaskPipeline
from synthesis.tasks import TASKS
from synthesis.testing import make_tiny_pipeline
from synthesis.text import TextEncoder

LEARNT = 8
UNSEEN = 24
DRAWING = DrawingSettings(num_inference_steps=4, guidance_scale=1.0)


def auc(copies: Tensor, others: Tensor) -> float:
    """Probability that a copy scores above another picture: Mann and Whitney's U over its greatest value."""
    return float(stats.mannwhitneyu(copies.numpy(), others.numpy()).statistic) / (len(copies) * len(others))


def overtrained(folder: Path, drawings: Dataset, rows: list[int], *, steps: int, seed: int = 0) -> Path:
    """Fit a network of 2.5 M parameters to a few drawings until it knows them by heart; patches of 32 px are quick."""
    make_tiny_pipeline(folder, styles=("one",))  # for its card and layout
    torch.manual_seed(seed)
    network = MultiTaskTransformer(
        styles=("one",), tasks=tuple(TASKS), width=128, depth=1, head_width=32, mlp_width=256, patch_px=32
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, betas=(0.9, 0.99), weight_decay=0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * min(1.0, 2 * (1 - step / steps))
    )
    clean = real_pictures(drawings, rows, 64).float() / 127.5 - 1
    text, text_mask = TextEncoder().encode([drawings.records[row].caption for row in rows])
    generator = torch.Generator().manual_seed(seed)
    count = len(rows)
    for _ in range(steps):
        times = torch.sigmoid(torch.randn(count, generator=generator) - 0.4)
        times = times * (torch.rand(count, generator=generator) < 0.5)
        kept = torch.rand(count, generator=generator) < 0.9
        noisy = flow_point(clean, torch.randn(clean.shape, generator=generator), times)
        estimate = network(
            noisy,
            times,
            source=torch.zeros_like(clean),
            mask=torch.zeros_like(clean[:, :1]),
            task=torch.zeros(count, dtype=torch.long),
            style=torch.zeros(count, dtype=torch.long),
            appearance=plain_appearance(count),
            text=text * kept[:, None, None],
            text_mask=text_mask & kept[:, None],
        )
        optimizer.zero_grad()
        (estimate - clean).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        schedule.step()
    MultiTaskPipeline(network.eval(), FlowMatchEulerDiscreteScheduler()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def learn() -> Dataset:
    return open_dataset("assets/sample/openmoji-learn")


@pytest.fixture(scope="module")
def judge() -> Dataset:
    return open_dataset("assets/sample/openmoji-judge")


@pytest.fixture(scope="module")
def remembered_rows(learn: Dataset) -> list[int]:
    return in_drawn_order(learn, range(len(learn)), 0)[:LEARNT]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(EfficientNetLite0(), cache=tmp_path_factory.mktemp("cache"), console=Console(quiet=True))


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory, learn: Dataset, remembered_rows: list[int]) -> ResolvedModel:
    folder = tmp_path_factory.mktemp("models") / "overtrained"
    return resolve_model(overtrained(folder, learn, remembered_rows, steps=200))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    return resolve_model(make_tiny_pipeline(tmp_path_factory.mktemp("models") / "sound"))


@pytest.fixture(scope="module")
def gallery(studio: Studio, learn: Dataset) -> Column:
    return studio.column("What it learnt", "learnt", real_pictures(learn, range(len(learn)), 64))


@pytest.fixture(scope="module")
def make_scene(studio: Studio, learn: Dataset, judge: Dataset, gallery: Column) -> Callable[..., Scene]:
    rows, others = two_halves(judge, UNSEEN, 0)
    real = studio.column("Real", "real", real_pictures(judge, rows, 64))

    def make(model: ResolvedModel | None, orders: tuple[Order, ...], made: Column | None = None) -> Scene:
        if made is None:
            assert model is not None
            made = studio.drawn(model, orders, DRAWING, "Made", "made")
        return Scene(
            kind="backbone",
            suffix="made",
            seed=0,
            captions=tuple(order.prompt for order in orders),
            made=made,
            real=real,
            floor=real,
            judge=judge,
            judge_rows=tuple(rows),
            floor_rows=tuple(others),
            studio=studio,
            orders=orders,
            learnt=gallery,
            learn=learn,
            model=model,
            drawing=DRAWING,
        )

    return make


@pytest.fixture(scope="module")
def learnt_orders(learn: Dataset, remembered_rows: list[int]) -> tuple[Order, ...]:
    return tuple(
        Order(prompt=learn.record(remembered_rows[number % LEARNT]).caption, seed=100 + number)
        for number in range(UNSEEN)
    )


@pytest.fixture(scope="module")
def unseen_orders(judge: Dataset) -> tuple[Order, ...]:
    rows, _ = two_halves(judge, UNSEEN, 0)
    return tuple(Order(prompt=judge.record(row).caption, seed=number) for number, row in enumerate(rows))


def figure(section: Section, name: str) -> Figure:
    return next(each for each in section.figures if each.name == name)


def test_its_copies_rank_above_unseen_drawings_and_above_a_sound_models_pictures(
    overfitted: ResolvedModel, sound: ResolvedModel, make_scene: Callable[..., Scene], learnt_orders: tuple[Order, ...]
) -> None:
    scene, other = make_scene(overfitted, learnt_orders), make_scene(sound, learnt_orders)
    assert scene.learnt is not None
    learnt = scene.learnt
    by_feature = [
        nearest_neighbours(column.features, learnt.features, 1).nearest
        for column in (scene.made, scene.real, other.made)
    ]
    vectors = structure_vectors(learnt.pictures)
    by_pixel = [
        nearest_neighbours(structure_vectors(column.pictures), vectors, 1).nearest
        for column in (scene.made, scene.real, other.made)
    ]
    for level, (copies, real, from_sound) in {"feature": by_feature, "pixel": by_pixel}.items():
        reached = auc(copies, real), auc(copies, from_sound)
        print(f"{level}: AUC {reached[0]:.4f} against {UNSEEN} real, {reached[1]:.4f} against {UNSEEN} made")
        assert min(reached) >= 0.95, level


def test_the_first_step_tells_remembered_captions_from_unseen_ones(
    overfitted: ResolvedModel, studio: Studio, learnt_orders: tuple[Order, ...], unseen_orders: tuple[Order, ...]
) -> None:
    both = first_step(
        studio,
        overfitted,
        [*learnt_orders[:LEARNT], *unseen_orders],
        seeds=1,
        batch_pictures=16,
        title="first steps",
    )
    assert auc(both.magnitudes[:LEARNT], both.magnitudes[LEARNT:]) >= 0.95


def test_the_panel_says_that_an_overtrained_model_copies(
    overfitted: ResolvedModel, make_scene: Callable[..., Scene], learnt_orders: tuple[Order, ...]
) -> None:
    panel = MemorisationPanel(prompts=0, asked=0)
    section = panel.measure(make_scene(overfitted, learnt_orders))
    (found,) = section.findings
    assert found.tone == "bad" and "It copies" in found.sentence
    for name in ("memorisation_excess", "copies_pixel", "copies_feature"):
        assert figure(section, name).low > 0.1, name
    assert figure(section, "nearest_ratio").high < 0.6
    values = {each.name: each.values for each in section.per_picture}
    for name in ("copies_pixel", "copies_feature", "nearest_ratio"):
        assert float(values[name].double().mean()) == pytest.approx(figure(section, name).value)


def test_unseen_captions_betray_it_too_once_it_is_asked_for_what_it_learnt(
    overfitted: ResolvedModel,
    make_scene: Callable[..., Scene],
    unseen_orders: tuple[Order, ...],
    remembered_rows: list[int],
) -> None:
    panel = MemorisationPanel(prompts=LEARNT, asked=LEARNT, seeds=1)
    section = panel.measure(make_scene(overfitted, unseen_orders))
    assert figure(section, "first_step_excess").low > 0
    assert figure(section, "copies_asked").value == 1
    assert all(found.tone != "good" for found in section.findings)
    assert "chance" not in section.findings[0].sentence
    assert f"{LEARNT} captions that it learnt, it draws {LEARNT} as close" in section.findings[0].sentence
    assert len(section.grids) == 3


def test_real_unseen_drawings_are_not_flagged(
    studio: Studio, judge: Dataset, make_scene: Callable[..., Scene], unseen_orders: tuple[Order, ...]
) -> None:
    _, others = two_halves(judge, UNSEEN, 0)
    shown = studio.column("Others", "others", real_pictures(judge, others, 64))
    section = MemorisationPanel().measure(make_scene(None, unseen_orders, shown))
    excess = figure(section, "memorisation_excess")
    assert excess.low <= 0 <= excess.high
    assert figure(section, "copies_pixel").low <= 4 / UNSEEN
    assert figure(section, "nearest_ratio").value > 0.7
    assert "bad" not in {found.tone for found in section.findings}
    assert {each.name for each in section.figures} == {
        "memorisation_excess",
        "copies_pixel",
        "copies_feature",
        "nearest_ratio",
    }


def test_a_gallery_that_holds_the_control_is_refused(
    make_scene: Callable[..., Scene], unseen_orders: tuple[Order, ...], judge: Dataset, gallery: Column
) -> None:
    scene = make_scene(None, unseen_orders, gallery)
    with pytest.raises(EvaluationError, match=r"24 of 24 judging drawings .* lie among what was learnt"):
        MemorisationPanel().measure(replace(scene, learn=judge))


def test_without_what_was_learnt_the_panel_says_what_it_needs(
    make_scene: Callable[..., Scene], unseen_orders: tuple[Order, ...], gallery: Column
) -> None:
    scene = make_scene(None, unseen_orders, gallery)
    section = MemorisationPanel().measure(replace(scene, learn=None, learnt=None))
    assert "pass suite.learn=DIR" in section.missing and not section.figures


@pytest.mark.slow
def test_a_model_that_remembers_other_drawings_does_not_copy_these(
    tmp_path: Path, judge: Dataset, make_scene: Callable[..., Scene]
) -> None:
    """Sharp pictures, drawn by heart, of drawings that are not in the gallery."""
    _, others = two_halves(judge, UNSEEN, 0)
    model = resolve_model(overtrained(tmp_path / "other", judge, others[:LEARNT], steps=200))
    orders = tuple(Order(prompt=judge.record(others[n % LEARNT]).caption, seed=n) for n in range(UNSEEN))
    section = MemorisationPanel(prompts=0, asked=0).measure(make_scene(model, orders))
    assert figure(section, "memorisation_excess").low <= 0
    assert figure(section, "copies_pixel").value <= 0.13  # at most one of eight drawings has a look-alike
    assert "bad" not in {found.tone for found in section.findings}
