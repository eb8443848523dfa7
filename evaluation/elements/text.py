"""Words in pictures: read by RapidOCR, held against what was asked for.

RapidOCR 3.10 brings PP-OCRv6's small networks (Apache-2.0) inside its package, so nothing is fetched.
Shapes: pictures uint8 [3,H,W].
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

READ_PX = 256
SURE = 0.8
LEAST_CHARACTERS = 2
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»")
_SETTINGS = {
    "Global.log_level": "critical",
    "Global.use_cls": False,  # turned words are not what a sign or a logo shows
    "Det.limit_type": "max",  # the default enlarges to 736 px and takes five times as long, for no better reading
    "Det.limit_side_len": 2000,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


@dataclass(frozen=True)
class Reading:
    """What is written in a picture, lines from top to bottom, and how sure the reader is of its least sure line."""

    text: str
    sureness: float


class Reader:
    """Reads words of two or more letters or digits, of which it is at least 0.8 sure.

    A picture under 256 px is enlarged to that first (bicubic).
    """

    @cached_property
    def identity(self) -> str:
        """The reader with the digest of its networks, and how a picture reaches it."""
        import rapidocr

        networks = sorted((Path(str(rapidocr.__file__)).parent / "models").glob("PP-OCR*.onnx"))
        digest = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in networks)).hexdigest()
        return f"rapidocr@{digest[:12]}/{READ_PX}px-bicubic"

    def __call__(self, picture_3HW: Tensor) -> Reading:
        """Return what is written in a picture; an empty text where nothing is."""
        picture = Image.fromarray(picture_3HW.permute(1, 2, 0).contiguous().numpy())
        longer = max(picture.size)
        if longer < READ_PX:
            size = tuple(round(side * READ_PX / longer) for side in picture.size)
            picture = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        result = self._engine(np.asarray(picture)[..., ::-1])
        lines = [
            (text.strip(), float(score))
            for text, score in zip(result.txts or (), result.scores or (), strict=True)
            if score >= SURE and _telling(text)
        ]
        return Reading(" ".join(text for text, _ in lines), min((score for _, score in lines), default=0.0))

    @cached_property
    def _engine(self) -> Any:
        from rapidocr import RapidOCR

        return RapidOCR(params=_SETTINGS)


def wanted_text(caption: str) -> str | None:
    """Return what a caption asks to be written: the words that it puts in double quotation marks, None without any."""
    words = [part for groups in _QUOTED.findall(caption) for part in groups if part.strip()]
    return " ".join(word.strip() for word in words) or None


def normal(text: str) -> str:
    """Return a text as it is compared: in small letters, with single spaces."""
    return " ".join(text.casefold().split())


def character_error_rate(read: str, wanted: str) -> float:
    """Return the edits that turn what is read into what is wanted, per wanted character (Levenshtein; torchmetrics)."""
    from torchmetrics.functional.text import char_error_rate

    return float(char_error_rate(normal(read), normal(wanted)))


def _telling(text: str) -> bool:
    """Whether a line is words: one letter alone is too often an eye, a wheel or a stroke."""
    return sum(character.isalnum() for character in text) >= LEAST_CHARACTERS
