"""Every mistake of a customer is one error in OpenAI's shape that says what would be right, and never a traceback."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.serving.conftest import Running


def picture(size: tuple[int, int] = (32, 32), mode: str = "RGB", colour: Any = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def refused(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert "Traceback" not in response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and "\n" not in error["message"]
    return dict(error)


def generate(server: Running, **fields: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/images/generations", json=fields, timeout=60)


def edit(server: Running, files: dict[str, Any], **fields: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/images/edits", files=files, data={"prompt": "a", **fields}, timeout=60)


@pytest.mark.parametrize(
    ("fields", "param", "code", "says"),
    [
        ({}, "prompt", "missing_required_parameter", "'prompt'"),
        ({"prompts": "a cat"}, "prompts", "unknown_parameter", "Did you mean 'prompt'?"),
        ({"prompt": "a", "guidence_scale": 2}, "guidence_scale", "unknown_parameter", "'guidance_scale'"),
        ({"prompt": "a", "strength": 0.5}, "strength", "unknown_parameter", "/v1/images/edits"),
        ({"prompt": "a", "moderation": "low"}, "moderation", "unknown_parameter", "does not offer it"),
        ({"prompt": ""}, "prompt", "empty_prompt", "empty"),
        ({"prompt": " \n"}, "prompt", "empty_prompt", "empty"),
        ({"prompt": "x" * 1001}, "prompt", "string_above_max_length", "at most 1000"),
        ({"prompt": 5}, "prompt", "invalid_value", "valid string"),
        ({"prompt": "a", "n": 0}, "n", "invalid_value", "greater than or equal to 1"),
        ({"prompt": "a", "n": 11}, "n", "invalid_value", "less than or equal to 10"),
        ({"prompt": "a", "n": True}, "n", "invalid_value", "integer"),
        ({"prompt": "a", "size": "1024x1024"}, "size", "invalid_value", "'auto' and '64x64'"),
        ({"prompt": "a", "response_format": "url"}, "response_format", "invalid_value", "nothing is kept to link to"),
        ({"prompt": "a", "background": "transparent"}, "background", "invalid_value", "opaque ground"),
        ({"prompt": "a", "output_format": "gif"}, "output_format", "invalid_value", "'png', 'webp' or 'jpeg'"),
        ({"prompt": "a", "partial_images": 4}, "partial_images", "invalid_value", "less than or equal to 3"),
        ({"prompt": "a", "seed": -1}, "seed", "invalid_value", "greater than or equal to 0"),
        ({"prompt": "a", "seed": "nine"}, "seed", "invalid_value", "integer"),
        ({"prompt": "a", "seed": 2**63}, "seed", "invalid_value", "less than"),
        ({"prompt": "a", "num_inference_steps": 101}, "num_inference_steps", "invalid_value", "at most 100"),
        ({"prompt": "a", "guidance_scale": 1e9}, "guidance_scale", "invalid_value", "less than or equal to 30"),
        ({"prompt": "a", "style": "cubist"}, "style", "invalid_value", "noto, twemoji"),
        ({"prompt": "a", "style": "noto", "brand": "acme"}, "style", "invalid_value", "leave it out"),
        ({"prompt": "a", "model": "openmoji", "brand": "acme"}, "brand", "invalid_value", "differ"),
        ({"prompt": "a", "brand": "atelier"}, "brand", "invalid_value", "is the backbone"),
        ({"prompt": "a", "quality": "best"}, "quality", "invalid_value", "'low', 'medium' or 'high'"),
    ],
)
def test_fields(server: Running, fields: dict[str, Any], param: str, code: str, says: str) -> None:
    error = refused(generate(server, **fields))
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert says in error["message"]


@pytest.mark.parametrize("field", ["model", "brand"])
def test_an_unknown_model_lists_those_there_are(server: Running, field: str) -> None:
    error = refused(generate(server, prompt="a", **{field: "opnmoji"}), 404)
    assert error["param"] == field and error["code"] == "model_not_found"
    assert "atelier, openmoji, acme" in error["message"]


def test_a_null_is_the_default(server: Running) -> None:
    fields = {"prompt": "a", "n": None, "size": None, "seed": None, "num_inference_steps": 2}
    assert generate(server, **fields).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe", rb'{"prompt": "\ud800"}', rb'{"prompt":"a","\ud800":1}']
)
def test_bodies_that_are_no_json_object_of_text(server: Running, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused(httpx.post(f"{server.url}/v1/images/generations", content=body, headers=headers))


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "multipart/form-data; boundary=x", ""])
def test_edits_that_are_no_form(server: Running, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    refused(httpx.post(f"{server.url}/v1/images/edits", content=b"--nonsense", headers=headers))


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b"", "invalid_image", "empty"),
        (b"GIF89a", "invalid_image", "PNG, WebP or JPEG"),
        (picture()[:60], "invalid_image", "PNG, WebP or JPEG"),
        (bomb(), "image_too_large", "far too many pixels"),
        (picture((4097, 1)), "image_too_large", "at most 4096 px"),
    ],
)
def test_pictures(server: Running, content: bytes, code: str, says: str) -> None:
    error = refused(edit(server, {"image": ("a.png", content)}))
    assert (error["param"], error["code"]) == ("image", code)
    assert says in error["message"]


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (picture((16, 16), "L", 255), "make them equal"),
        (picture((32, 32), "L", 0), "nothing to draw anew"),
        (picture((32, 32), "RGBA", (0, 0, 0, 255)), "nothing to draw anew"),
        (b"broken", "'mask' is not a picture"),
    ],
)
def test_masks(server: Running, mask: bytes, says: str) -> None:
    error = refused(edit(server, {"image": ("a.png", picture()), "mask": ("m.png", mask)}))
    assert error["param"] == "mask"
    assert says in error["message"]


def test_edit_tasks(server: Running) -> None:
    files = {"image": ("a.png", picture())}
    assert "image_to_image, inpainting" in refused(edit(server, files, task="paint"))["message"]
    assert "'mask'" in refused(edit(server, files, task="inpainting"))["message"]
    with_mask = files | {"mask": ("m.png", picture((32, 32), "L", 255))}
    assert "takes no masks" in refused(edit(server, with_mask, task="super_resolution"))["message"]
    assert "image_to_image" in refused(edit(server, files, task="super_resolution", strength="0.5"))["message"]
    assert refused(edit(server, files, strengths="0.5"))["param"] == "strengths"
    assert refused(edit(server, {"picture": ("a.png", picture())}))["param"] == "picture"
    assert refused(httpx.post(f"{server.url}/v1/images/edits", data={"prompt": "a"}))["param"] == "image"
    assert refused(httpx.post(f"{server.url}/v1/images/edits", data={"prompt": "a", "image": "x"}))["param"] == "image"


def test_only_one_picture_is_edited(server: Running) -> None:
    files = [("image[]", ("a.png", picture())), ("image[]", ("b.png", picture()))]
    response = httpx.post(f"{server.url}/v1/images/edits", files=files, data={"prompt": "a"})
    assert "one picture is edited at a time" in refused(response)["message"]


def test_a_body_over_the_limit_is_not_read(server: Running) -> None:
    error = refused(edit(server, {"image": ("a.png", b"\0" * (21 * 1024 * 1024))}), 413)
    assert error["code"] == "request_too_large" and "20 MB" in error["message"]


def test_a_body_that_grows_past_the_limit_is_refused(server: Running) -> None:
    def chunks() -> Any:
        for _ in range(22):
            yield b"\0" * 1024 * 1024

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        response = httpx.post(f"{server.url}/v1/images/edits", content=chunks(), headers=headers, timeout=60)
    except (httpx.WriteError, httpx.ReadError):  # the server may close before the rest is sent
        return
    assert response.status_code in (400, 413)
    refused(response, response.status_code)


def test_unknown_paths_and_methods(server: Running) -> None:
    refused(httpx.get(f"{server.url}/v1/pictures"), 404)
    refused(httpx.get(f"{server.url}/v1/images/generations"), 405)
