"""Asks a running server for pictures, over HTTP and as a customer would; keeps what comes back."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw

from training.errors import TrainingError

ANSWER_SECONDS = 120


@dataclass(frozen=True)
class Answer:
    """Pictures in the order in which they arrived, with the seconds after the question; the last one is the answer."""

    pictures: list[Image.Image]
    seconds: list[float]


@contextmanager
def running_server() -> Iterator[str]:
    """Start ``atelier serve`` on a free port, yield its address, stop it."""
    command = [sys.executable, "-m", "atelier", "serve", "port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        print(f"  {line}", end="", flush=True)
        if found := re.search(r"http://[0-9.]+:[0-9]+", line):
            return found.group()
    raise TrainingError("atelier serve ended before it served; its own message is above")


def draw(address: str, prompt: str, *, brand: str, seed: int) -> Answer:
    """Text-to-image with three previews, by server-sent events."""
    fields = {"prompt": prompt, "model": brand, "stream": True, "partial_images": 3, "seed": seed}
    begin, pictures, seconds = time.monotonic(), [], []
    with httpx.stream("POST", f"{address}/v1/images/generations", json=fields, timeout=ANSWER_SECONDS) as response:
        _refuse_failure(response)
        for line in response.iter_lines():
            if line.startswith("data: "):
                pictures.append(_picture(json.loads(line[6:])))
                seconds.append(time.monotonic() - begin)
    if len(pictures) < 2:
        raise TrainingError(f"{address} sent no preview of '{prompt}' before the picture")
    return Answer(pictures, seconds)


def edit(address: str, picture: Image.Image, prompt: str, mask: Image.Image | None = None, **fields: str) -> Answer:
    """Inpainting with a mask (white is drawn anew), or the task that ``fields`` names."""
    files = {"image": ("image.png", _png(picture), "image/png")}
    if mask is not None:
        files["mask"] = ("mask.png", _png(mask), "image/png")
    begin = time.monotonic()
    url = f"{address}/v1/images/edits"
    response = httpx.post(url, files=files, data={"prompt": prompt, **fields}, timeout=ANSWER_SECONDS)
    _refuse_failure(response)
    return Answer([_picture(response.json()["data"][0])], [time.monotonic() - begin])


def _refuse_failure(response: httpx.Response) -> None:
    if response.is_error:
        response.read()
        raise TrainingError(f"{response.url} answered {response.status_code}: {response.json()['error']['message']}")


def _picture(event: dict[str, Any]) -> Image.Image:
    if "error" in event:
        raise TrainingError(f"the server stopped drawing: {event['error']['message']}")
    return Image.open(io.BytesIO(base64.b64decode(event["b64_json"]))).convert("RGB")


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def sheet(rows: list[tuple[str, list[Image.Image]]], file: Path, side_px: int = 128) -> None:
    """Write rows of pictures with a title each as one PNG, enlarged without smoothing."""
    columns = max(len(pictures) for _, pictures in rows)
    board = Image.new("RGB", (columns * (side_px + 8) + 8, len(rows) * (side_px + 30) + 8), "white")
    pen = ImageDraw.Draw(board)
    for row, (title, pictures) in enumerate(rows):
        top = 8 + row * (side_px + 30)
        pen.text((8, top), title, fill="black")
        for column, picture in enumerate(pictures):
            enlarged = picture.resize((side_px, side_px), Image.Resampling.NEAREST)
            board.paste(enlarged, (8 + column * (side_px + 8), top + 16))
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp.png")
    board.save(temporary)
    temporary.replace(file)
