"""Draws SVG with resvg: plain documents at once, others in a child process with a bound on memory and time.

A pattern of a huge tile makes resvg ask for more memory than there is and abort, and some filters run for minutes: no
count of elements foresees all of it. A child that dies takes one drawing with it, not the run. Both draw equal bytes.
"""

from __future__ import annotations

import atexit
import os
import select
import struct
import subprocess
import sys
import threading
import time
from xml.etree.ElementTree import Element

from data.checks import Unusable
from data.svg_weight import local, weight

CHILD_MEMORY_BYTES = 2 << 30
CHILD_CPU_SECONDS = 20
CHILD_WALL_SECONDS = 300.0  # only a stopped machine takes so much longer than its processor
PLAIN_ELEMENTS = 3_000
PLAIN_BYTES = 300_000
_PLAIN_TAGS = {
    *("svg", "g", "defs", "use", "symbol", "title", "desc", "metadata", "clippath", "mask", "stop"),
    *("path", "circle", "ellipse", "rect", "line", "polyline", "polygon", "lineargradient", "radialgradient"),
    *("animate", "animatetransform", "animatemotion", "set"),
}
_REQUEST, _ANSWER = struct.Struct(">II"), struct.Struct(">?I")


def draw_svg(document: str, root: Element, side_px: int) -> bytes | Unusable:
    """Return the drawing as PNG, its longer side ``side_px``; ``root`` is the document's tree, already found safe."""
    answer = _draw(document, side_px) if _is_plain(document, root) else _CHILD.draw(document, side_px)
    return answer if isinstance(answer, bytes) else Unusable("unsafe or broken SVG", answer)


def _is_plain(document: str, root: Element) -> bool:
    if len(document) > PLAIN_BYTES or "filter" in document:
        return False
    return all(local(element.tag) in _PLAIN_TAGS for element in root.iter()) and weight(root) <= PLAIN_ELEMENTS


def _draw(document: str, side_px: int) -> bytes | str:
    """Return PNG bytes, or what resvg has against the document."""
    import resvg_py

    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=document, skip_system_fonts=True, width=side_px, height=side_px))
    except BaseException as error:
        # A panic in Rust arrives as pyo3's PanicException, which is no Exception and cannot be imported.
        if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
            raise
        return " ".join(str(error).split())[:200]


class _Child:
    """One child process, started at the first need and again after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def draw(self, document: str, side_px: int) -> bytes | str:
        """Return PNG bytes, or why there are none."""
        content = document.encode()
        with self._lock:
            process = self._started()
            try:
                _send(process, _REQUEST.pack(len(content), side_px) + content)
                drawn, length = _ANSWER.unpack(_receive(process, _ANSWER.size))
                answer = _receive(process, length)
            except (BrokenPipeError, EOFError, TimeoutError):
                self.stop()
                return f"SVG takes over {CHILD_CPU_SECONDS} s or {CHILD_MEMORY_BYTES >> 30} GB to draw"
        return answer if drawn else answer.decode()

    def stop(self) -> None:
        """End the child, if this process started one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.communicate()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # a fork must not share its parent's child
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "data.svg_draw"],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interruption is its parent's affair
            )
            self._owner = os.getpid()
        return self._process


_CHILD = _Child()
atexit.register(_CHILD.stop)


def _send(process: subprocess.Popen[bytes], content: bytes) -> None:
    rest = memoryview(content)
    while rest and process.stdin is not None:
        rest = rest[os.write(process.stdin.fileno(), rest) :]


def _receive(process: subprocess.Popen[bytes], length: int) -> bytes:
    """Return exactly so many bytes of the child's answer.

    Raises:
        EOFError: it died.  TimeoutError: it does not come back.
    """
    deadline, parts = time.monotonic() + CHILD_WALL_SECONDS, bytearray()
    stream = process.stdout.fileno() if process.stdout is not None else -1
    while len(parts) < length:
        if not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        piece = os.read(stream, length - len(parts))
        if not piece:
            raise EOFError
        parts += piece
    return bytes(parts)


def _serve() -> None:
    """Draw what comes in on standard input until it ends, each drawing with its own bound on processor time."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while header := requests.read(_REQUEST.size):
        length, side_px = _REQUEST.unpack(header)
        document = requests.read(length).decode()
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + CHILD_CPU_SECONDS, most))
        answer = _draw(document, side_px)
        content = answer if isinstance(answer, bytes) else answer.encode()
        answers.write(_ANSWER.pack(isinstance(answer, bytes), len(content)) + content)
        answers.flush()


if __name__ == "__main__":
    _serve()
