"""The web page: self-contained everywhere, and drawing in a real browser where one is installed."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from serving.page import page_headers, page_html
from synthesis.testing import make_tiny_pipeline

if TYPE_CHECKING:
    from tests.serving.conftest import CuedPipeline, Running, Serve

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)")


class Browser:
    """A headless Chromium driven through its debugging pipe: JSON messages that end in NUL."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._writer = os.fdopen(to_browser, "wb")
        self._reader = os.fdopen(from_browser, "rb")
        self._sent = 0
        self._session: str | None = None
        self.told: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        while (answer := self._read()).get("id") != self._sent:
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.told.append(json.dumps(answer["params"]))
        assert "error" not in answer, answer["error"]
        return dict(answer["result"])

    def evaluate(self, script: str) -> Any:
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, width: int = 1100, height: int = 1000, scheme: str = "light") -> Image.Image:
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        return Image.open(io.BytesIO(base64.b64decode(self.ask("Page.captureScreenshot")["data"])))

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def _read(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self._reader.read(1)) not in (b"\0", b""):
            content += byte
        return dict(json.loads(content))


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    to_browser, from_browser = os.pipe(), os.pipe()
    # Chromium reads its commands from descriptor 3 and writes to 4.
    command = (
        f'exec "{CHROMIUM}" --headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir="{folder}"'
        f" --no-first-run --disable-extensions 3<&{to_browser[0]} 4>&{from_browser[1]}"
    )
    process = subprocess.Popen(
        ["bash", "-c", command],
        pass_fds=(to_browser[0], from_browser[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    browser = Browser(to_browser[1], from_browser[0])
    try:
        yield browser
    finally:
        browser.close()
        process.terminate()
        process.wait(20)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with open_browser(tmp_path / "profile") as opened:
        yield opened


def draw(browser: Browser, prompt: str, **choices: str) -> None:
    values = json.dumps({"prompt": prompt, **choices})
    browser.evaluate(
        f"for (const [id, value] of Object.entries({values})) {{ document.getElementById(id).value = value;"
        " document.getElementById(id).dispatchEvent(new Event('change')); }"
        " document.getElementById('order').requestSubmit();"
    )


def text(browser: Browser, element: str) -> str:
    return str(browser.evaluate(f"document.getElementById('{element}').textContent"))


def open_page(browser: Browser, server: Running, wait_until: Callable[..., bool]) -> None:
    browser.ask("Page.navigate", url=f"{server.url}/")
    assert wait_until(lambda: browser.evaluate("document.querySelectorAll('#model option').length") > 0)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    html = page_html()
    outside = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//[^\"')\s]+", html)
    assert outside == []
    policy = page_headers()["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert html.count("<script>") == html.count("<style>") == 1


def test_the_page_is_served_with_its_policy(server: Running) -> None:
    answer = httpx.get(f"{server.url}/")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"] == page_headers()["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@needs_browser
def test_a_picture_is_drawn_and_can_be_kept(browser: Browser, server: Running, wait_until: Callable[..., bool]) -> None:
    open_page(browser, server, wait_until)
    options = browser.evaluate("[...document.querySelectorAll('#model option')].map((option) => option.value)")
    assert options == ["atelier", "openmoji", "acme"]
    assert "not loaded: broken" in text(browser, "served")
    draw(browser, "a red apple", model="openmoji", seed="12")
    assert wait_until(lambda: text(browser, "state") == "Finished")
    assert "CC-BY-SA-4.0" in text(browser, "about") and "share adaptations alike" in text(browser, "about")
    download = browser.evaluate("(({href, download}) => ({href, download}))(document.getElementById('download'))")
    assert download["download"] == "a-red-apple-12.png"
    picture = Image.open(io.BytesIO(base64.b64decode(download["href"].split(",", 1)[1])))
    assert json.loads(picture.info["atelier"])["seed"] == "12"
    draw(browser, "a pear", model="atelier", style="noto", seed="")
    assert wait_until(lambda: browser.evaluate("document.querySelectorAll('#shelf li').length") == 2)
    assert browser.told == [], "no error, no blocked resource"


@needs_browser
def test_a_size_is_chosen_where_the_model_draws_several(
    browser: Browser, server: Running, serve: Serve, tmp_path: Path, wait_until: Callable[..., bool]
) -> None:
    sizes = "[...document.querySelectorAll('#size option')].map((option) => option.value)"
    open_page(browser, server, wait_until)
    assert browser.evaluate(sizes) == ["64x64"] and browser.evaluate("document.getElementById('size').disabled")
    with serve(model=str(make_tiny_pipeline(tmp_path / "sized", larger=((128, 16),)))) as sized:
        open_page(browser, sized, wait_until)
        assert browser.evaluate(sizes) == ["64x64", "128x128"]
        draw(browser, "a house", size="128x128", quality="low")
        assert wait_until(lambda: text(browser, "state") == "Finished")
        assert browser.evaluate("document.querySelector('#stage img').naturalWidth") == 128
        assert browser.told == []


@needs_browser
def test_previews_appear_and_stopping_frees_the_network(
    browser: Browser, serve: Serve, cued: CuedPipeline, wait_until: Callable[..., bool]
) -> None:
    with serve(cued) as server:
        open_page(browser, server, wait_until)
        draw(browser, "a house")
        cued.give(9)
        assert wait_until(lambda: text(browser, "state") == "Preview 2, step 8 of 16")
        assert browser.evaluate("document.querySelector('#stage img').naturalWidth") == 64
        browser.evaluate("document.getElementById('stop').click()")
        assert wait_until(lambda: text(browser, "state") == "Stopped")
        for _ in range(6):  # one by one: a loaded machine is told of the hanging up a moment later
            cued.give(1)
            time.sleep(0.2)
        assert wait_until(lambda: cued.ended == ["a house"])
        assert len(cued.steps) < 16


@needs_browser
def test_a_refusal_is_shown_in_words(browser: Browser, server: Running, wait_until: Callable[..., bool]) -> None:
    open_page(browser, server, wait_until)
    browser.evaluate("document.getElementById('prompt').removeAttribute('maxlength')")
    draw(browser, "x" * 1001)
    assert wait_until(lambda: "at most 1000 are read" in text(browser, "fault"))
    assert browser.evaluate("document.getElementById('draw').disabled") is False


@needs_browser
@pytest.mark.parametrize("width", [360, 1100])
def test_the_page_fits_and_follows_the_colour_scheme(
    browser: Browser, server: Running, wait_until: Callable[..., bool], width: int
) -> None:
    open_page(browser, server, wait_until)
    light, dark = (browser.look(width=width, scheme=scheme).convert("L") for scheme in ("light", "dark"))
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    corner = (1, 1)
    assert light.getpixel(corner) > 200 and dark.getpixel(corner) < 60  # type: ignore[operator]
