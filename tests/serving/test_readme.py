"""What the README tells customers to run, run word for word against a server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from atelier import PROJECT_ROOT
from tests.serving.conftest import Running

ADDRESS = "http://127.0.0.1:8000"


def snippet(kind: str) -> str:
    """Return the README's only block of a kind that talks to the server."""
    readme = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if ADDRESS in block]
    return str(found)


def run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_python_client_does_what_the_readme_says(server: Running, tmp_path: Path) -> None:
    program = snippet("python").replace(ADDRESS, server.url)
    events = run([sys.executable, "-W", "error", "-c", program], tmp_path).split()
    assert events == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    with Image.open(tmp_path / "fox.png") as fox:
        assert fox.format == "PNG"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_does_what_the_readme_says(server: Running, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "orange").save(tmp_path / "fox.png")
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "mask.png")
    answers = run(["sh", "-ec", snippet("sh").replace(ADDRESS, server.url)], tmp_path)
    decoder, drawn = json.JSONDecoder(), []
    while answers := answers.lstrip():
        answer, end = decoder.raw_decode(answers)
        drawn.append(answer["data"])
        answers = answers[end:]
    assert [len(pictures) for pictures in drawn] == [1, 1]
    assert all(picture["b64_json"] for pictures in drawn for picture in pictures)
