"""The Images API as a customer meets it: through the openai client, against a real server with tiny models."""

from __future__ import annotations

import base64
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from openai import BadRequestError, NotFoundError
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from tests.serving.conftest import Folders, Running


def decoded(content: str | None) -> Image.Image:
    assert content is not None
    return Image.open(io.BytesIO(base64.b64decode(content)))


def png(picture: Image.Image, name: str = "picture.png") -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return name, buffer.getvalue(), "image/png"


def drawing(side_px: int = 64) -> Image.Image:
    picture = Image.new("RGB", (side_px, side_px), "#ffe8a0")
    ImageDraw.Draw(picture).ellipse((4, 4, side_px - 5, side_px - 5), fill="#c02040")
    return picture


def extra(answer: Any, key: str = "atelier") -> Any:
    assert answer.model_extra is not None
    return answer.model_extra[key]


def test_a_picture_is_drawn(server: Running) -> None:
    answer = server.client.images.generate(prompt="a red apple", model="atelier", extra_body={"seed": 7})
    assert answer.data is not None and len(answer.data) == 1
    assert decoded(answer.data[0].b64_json).size == (64, 64)
    assert (answer.size, answer.quality, answer.output_format, answer.background) == (
        "64x64",
        "medium",
        "png",
        "opaque",
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert extra(answer)["seeds"] == ["7"]
    assert extra(answer)["licence"] == "Apache-2.0"


def test_equal_seeds_draw_equal_bytes_and_others_do_not(server: Running) -> None:
    client = server.client
    first, again, other = (
        client.images.generate(prompt="a red apple", extra_body={"seed": seed, "num_inference_steps": 4}).data
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_several_pictures_come_from_following_seeds(server: Running) -> None:
    client = server.client
    both = client.images.generate(prompt="a star", n=2, extra_body={"seed": "41", "num_inference_steps": 3})
    alone = client.images.generate(prompt="a star", extra_body={"seed": 42, "num_inference_steps": 3})
    assert both.data is not None and alone.data is not None and len(both.data) == 2
    assert extra(both)["seeds"] == ["41", "42"]
    pair = zip(decoded(both.data[1].b64_json).tobytes(), decoded(alone.data[0].b64_json).tobytes(), strict=True)
    assert max(abs(one - other) for one, other in pair) <= 1


def test_a_brand_draws_and_its_obligations_come_along(server: Running) -> None:
    client = server.client
    plain = client.images.generate(prompt="a star", extra_body={"seed": 5})
    by_model = client.images.generate(prompt="a star", model="openmoji", extra_body={"seed": 5})
    by_brand = client.images.generate(prompt="a star", extra_body={"seed": 5, "brand": "openmoji"})
    other = client.images.generate(prompt="a star", model="acme", extra_body={"seed": 5})
    assert by_model.data == by_brand.data
    assert len({str(answer.data) for answer in (plain, by_model, other)}) == 3
    assert extra(by_model)["licence"] == "CC-BY-SA-4.0"
    assert extra(by_model)["obligations"]
    assert extra(by_model)["adapter"]["name"] == "brand-openmoji"
    assert extra(plain)["obligations"] == []


def test_the_file_itself_says_what_made_it(server: Running) -> None:
    answer = server.client.images.generate(prompt="a star", model="openmoji", extra_body={"seed": 2**62})
    assert answer.data is not None
    picture = decoded(answer.data[0].b64_json)
    record = json.loads(picture.info["atelier"])
    assert record["seed"] == str(2**62)
    assert record["adapter"]["digest"] == extra(answer)["adapter"]["digest"]
    assert record["licence"] == picture.info["Copyright"] == "CC-BY-SA-4.0"


@pytest.mark.parametrize("output_format", ["png", "webp", "jpeg"])
def test_formats(server: Running, output_format: Any) -> None:
    answer = server.client.images.generate(
        prompt="a star", output_format=output_format, extra_body={"num_inference_steps": 2}
    )
    assert answer.data is not None and answer.output_format == output_format
    assert decoded(answer.data[0].b64_json).format == output_format.upper()


def test_previews_arrive_in_order_before_the_picture(server: Running) -> None:
    stream = server.client.images.generate(
        prompt="a star", stream=True, partial_images=2, extra_body={"seed": 3, "num_inference_steps": 8}
    )
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    partials = [event for event in events if event.type == "image_generation.partial_image"]
    assert [event.partial_image_index for event in partials] == [0, 1]
    assert [extra(event)["step"] for event in partials] == [3, 5]
    last = events[-1]
    assert last.type == "image_generation.completed" and last.usage.output_tokens == 64
    whole = server.client.images.generate(prompt="a star", extra_body={"seed": 3, "num_inference_steps": 8})
    assert whole.data is not None
    assert last.b64_json == whole.data[0].b64_json
    assert len({event.b64_json for event in events}) == 3
    assert decoded(partials[0].b64_json).size == (64, 64)


def test_answers_and_events_are_what_the_clients_own_types_demand(server: Running) -> None:
    """The client does not check what it is sent; its types do when asked."""
    steps = {"num_inference_steps": 4}
    whole = server.client.images.generate(prompt="a star", extra_body=steps)
    assert whole == type(whole).model_validate(whole.to_dict())
    edited = server.client.images.edit(
        image=png(drawing()), prompt="a", stream=True, partial_images=1, extra_body=steps
    )
    drawn = server.client.images.generate(prompt="a", stream=True, partial_images=1, extra_body=steps)
    for event in (*edited, *drawn):
        assert event == type(event).model_validate(event.to_dict())
    for model in server.client.models.list():
        assert model == type(model).model_validate(model.to_dict())


def test_streaming_without_previews_is_one_event(server: Running) -> None:
    events = list(server.client.images.generate(prompt="a star", stream=True, extra_body={"num_inference_steps": 3}))
    assert [event.type for event in events] == ["image_generation.completed"]


def test_streaming_several_pictures_says_which(server: Running) -> None:
    stream = server.client.images.generate(
        prompt="a star", stream=True, n=2, partial_images=1, extra_body={"num_inference_steps": 4, "seed": 1}
    )
    seen = [(event.type.rsplit(".", 1)[1], extra(event)["image_index"]) for event in stream]
    assert seen == [("partial_image", 0), ("partial_image", 1), ("completed", 0), ("completed", 1)]


@pytest.mark.parametrize("convention", ["transparent", "white"])
def test_a_mask_keeps_what_it_covers(server: Running, convention: str) -> None:
    source = drawing()
    if convention == "transparent":
        mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
        mask.paste((0, 0, 0, 0), (32, 0, 64, 64))
    else:
        mask = Image.new("L", (64, 64), 0)
        mask.paste(255, (32, 0, 64, 64))
    answer = server.client.images.edit(
        image=png(source), mask=png(mask), prompt="a face", extra_body={"seed": 1, "num_inference_steps": 4}
    )
    assert answer.data is not None
    drawn = decoded(answer.data[0].b64_json)
    assert extra(answer)["task"] == "inpainting"
    assert drawn.crop((0, 0, 32, 64)).tobytes() == source.crop((0, 0, 32, 64)).tobytes()
    assert drawn.crop((32, 0, 64, 64)).tobytes() != source.crop((32, 0, 64, 64)).tobytes()


@pytest.mark.parametrize("task", ["image_to_image", "super_resolution", "style_transfer"])
def test_edits_without_a_mask(server: Running, task: str) -> None:
    answer = server.client.images.edit(
        image=[png(drawing(16))],
        prompt="an apple",
        n=2,
        model="openmoji",
        extra_body={"task": task, "seed": 1, "num_inference_steps": 4},
    )
    assert answer.data is not None and len(answer.data) == 2
    assert extra(answer)["task"] == task
    assert answer.usage is not None and answer.usage.input_tokens_details.image_tokens == 64


def test_an_edit_streams_under_its_own_event_names(server: Running) -> None:
    stream = server.client.images.edit(
        image=png(drawing()), prompt="an apple", stream=True, partial_images=1, extra_body={"quality": "low"}
    )
    assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]


def test_models_are_listed_and_the_broken_one_is_explained(server: Running) -> None:
    client = server.client
    page = client.models.list()
    assert [model.id for model in page.data] == ["atelier", "openmoji", "acme"]
    refused = extra(page)["refused"]
    assert [entry["id"] for entry in refused] == ["broken"]
    assert "adapter_model.safetensors" in refused[0]["reason"]
    assert client.models.retrieve("openmoji").owned_by == "atelier"
    with pytest.raises(NotFoundError, match="does not exist: there are atelier, openmoji, acme"):
        client.models.retrieve("nobody")
    with pytest.raises(NotFoundError, match="could not be loaded"):
        client.images.generate(prompt="a star", model="broken")


def test_a_bad_request_is_the_clients_own_exception(server: Running) -> None:
    with pytest.raises(BadRequestError) as caught:
        server.client.images.generate(prompt="a star", size="1024x1024")
    assert caught.value.param == "size"
    assert "'64x64'" in caught.value.message


def test_requests_at_once_draw_what_they_draw_alone(server: Running, folders: Folders) -> None:
    """A brand's adapter worn for one request's step must not show in another's."""

    def ask(model: str) -> str | None:
        data = server.client.images.generate(prompt="a cat", model=model, extra_body={"seed": 9}).data
        return data[0].b64_json if data else None

    names = ["atelier", "openmoji", "acme"]
    alone = {name: ask(name) for name in names}
    together: dict[str, str | None] = {}
    threads = [threading.Thread(target=lambda name=name: together.update({name: ask(name)})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
