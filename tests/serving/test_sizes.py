"""Sizes as a customer meets them: one that the network draws is drawn, previews over both stages, any other refused."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai import BadRequestError
from PIL import Image

from registry.artifacts import digest_folder
from registry.mlflow import ModelStore
from serving.errors import RequestRefused
from serving.local import DrawSettings, choose_models, draw
from serving.marking import PictureRecord
from serving.server import pipeline_loader
from synthesis.testing import make_tiny_brand, make_tiny_pipeline

if TYPE_CHECKING:
    from tests.serving.conftest import Running, Serve

FEW = {"seed": 4, "num_inference_steps": 3, "num_refinement_steps": 2}


def decoded(content: str | None) -> Image.Image:
    assert content is not None
    return Image.open(io.BytesIO(base64.b64decode(content)))


def png(picture: Image.Image) -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "picture.png", buffer.getvalue(), "image/png"


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_pipeline(tmp_path_factory.mktemp("sized") / "backbone", larger=((128, 16), (256, 16)))


@pytest.fixture
def three_sizes(sized: Path, serve: Serve, tmp_path: Path) -> Iterator[Running]:
    brand = make_tiny_brand(tmp_path / "acme", sized, "acme", base_digest=digest_folder(sized))
    with serve(model=str(sized), brands={"acme": str(brand)}) as running:
        yield running


def test_each_size_is_drawn_and_counted(three_sizes: Running) -> None:
    generate = three_sizes.client.images.generate
    for size, side_px, refined in (("auto", 64, 0), ("64x64", 64, 0), ("128x128", 128, 2), ("256x256", 256, 2)):
        for model in ("atelier", "acme"):
            answer: Any = generate(prompt="a red star", model=model, size=size, n=2, extra_body=FEW)
            assert [decoded(data.b64_json).size for data in answer.data] == [(side_px, side_px)] * 2
            assert answer.size == f"{side_px}x{side_px}"
            assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 2 * (side_px // 8) ** 2)
            assert answer.atelier["num_refinement_steps"] == refined
            record = json.loads(decoded(answer.data[0].b64_json).info["atelier"])
            assert (record["num_inference_steps"], record["num_refinement_steps"]) == (3, refined)


def test_previews_come_from_both_stages_in_the_size_asked(three_sizes: Running) -> None:
    events: Any = three_sizes.client.images.generate(
        prompt="a star", size="256x256", stream=True, partial_images=3, extra_body=FEW | {"num_refinement_steps": 5}
    )
    *partials, last = events
    assert [(event.atelier["step"], event.atelier["num_steps"]) for event in partials] == [(2, 8), (4, 8), (6, 8)]
    for event in (*partials, last):
        assert (decoded(event.b64_json).size, event.size) == ((256, 256), "256x256")
    assert last.type == "image_generation.completed" and last.usage.output_tokens == 32**2


def test_an_edit_keeps_the_customers_pixels_at_its_size(three_sizes: Running) -> None:
    own = Image.effect_noise((256, 256), 80).convert("RGB")
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (128, 0, 256, 256))
    answer: Any = three_sizes.client.images.edit(
        image=png(own), mask=png(mask), prompt="a star", size="256x256", extra_body=FEW
    )
    made = decoded(answer.data[0].b64_json)
    assert made.crop((0, 0, 128, 256)).tobytes() == own.crop((0, 0, 128, 256)).tobytes()
    assert made.crop((128, 0, 256, 256)).tobytes() != own.crop((128, 0, 256, 256)).tobytes()
    assert answer.usage.input_tokens_details.image_tokens == 32**2


@pytest.mark.parametrize("size", ["512x512", "256x128", "256", "", "0128x128", "²56x256"])
def test_another_size_is_refused_with_those_there_are(three_sizes: Running, size: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        three_sizes.client.images.generate(prompt="a star", size=size)
    assert caught.value.param == "size"
    assert f"Invalid value for 'size': '{size}'. atelier draws 'auto', '64x64', '128x128' and '256x256'." in str(
        caught.value
    )


def test_more_steps_than_the_server_takes_are_refused(three_sizes: Running) -> None:
    with pytest.raises(BadRequestError, match="'num_refinement_steps' is 101: at most 100 are taken"):
        three_sizes.client.images.generate(
            prompt="a star", size="256x256", extra_body=FEW | {"num_refinement_steps": 101}
        )


def test_the_models_tell_their_sizes(three_sizes: Running, server: Running) -> None:
    listed: Any = three_sizes.client.models.list().data
    assert [model.atelier["sizes"] for model in listed] == [["64x64", "128x128", "256x256"]] * 2
    native: Any = server.client.models.retrieve("atelier")
    assert native.atelier["sizes"] == ["64x64"]


@pytest.mark.parametrize("size", [256, "256x256"])
def test_the_command_draws_what_the_server_draws(
    three_sizes: Running, sized: Path, tmp_path: Path, size: int | str
) -> None:
    record, steps = drawn_here(tmp_path, model=str(sized), size=size, **FEW)
    answer = three_sizes.client.images.generate(prompt="a star", size="256x256", extra_body=FEW)
    assert answer.data is not None and answer.data[0].b64_json is not None
    assert (tmp_path / "a.png").read_bytes() == base64.b64decode(answer.data[0].b64_json)
    assert record.num_refinement_steps == 2
    assert steps == [(step, 5) for step in range(1, 6)]


def test_the_command_refuses_a_size_that_the_model_does_not_draw(sized: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestRefused, match=r"'100x100'\. atelier draws 'auto', '64x64', '128x128' and '256x256'"):
        drawn_here(tmp_path, model=str(sized), size=100)
    assert not list(tmp_path.glob("*.png"))


def drawn_here(folder: Path, **fields: Any) -> tuple[PictureRecord, list[tuple[int, int]]]:
    settings = DrawSettings(prompt="a star", out=str(folder / "a.png"), **fields)
    steps: list[tuple[int, int]] = []
    models = choose_models(settings, ModelStore(f"sqlite:///{folder / 'none.db'}", folder / "artifacts"))
    record = draw(settings, models[:2], pipeline_loader("cpu"), lambda done, all_steps: steps.append((done, all_steps)))
    return record, steps
