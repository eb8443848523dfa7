"""What every picture carries when it leaves: who drew it, from which seed, under which licence.

``Marking`` is the one place between a drawn picture and its bytes, so a watermark (before encoding) and Content
Credentials (after it) are another class behind the same call.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from PIL import Image
from PIL.PngImagePlugin import PngInfo

FORMATS = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
_EXIF_DESCRIPTION, _EXIF_SOFTWARE, _EXIF_COPYRIGHT = 0x010E, 0x0131, 0x8298


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The identity and the terms of a model that took part: enough to find it again years later."""

    name: str
    version: int | None
    digest: str
    licence: str
    obligations: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Return name, version, digest and licence as JSON carries them."""
        return {"name": self.name, "version": self.version, "digest": self.digest, "licence": self.licence}


@dataclass(frozen=True, kw_only=True)
class PictureRecord:
    """Where a picture comes from. The prompt itself stays with the customer; its digest does not."""

    seed: int
    task: str
    prompt_sha256: str
    num_inference_steps: int
    guidance_scale: float
    model: Artifact
    num_refinement_steps: int = 0
    adapter: Artifact | None = None
    preview: bool = False

    @property
    def licence(self) -> str:
        """The licence of the picture: the brand's where one was used, else the backbone's."""
        return (self.adapter or self.model).licence

    @property
    def obligations(self) -> tuple[str, ...]:
        """What whoever uses the picture must do, each once."""
        both = self.model.obligations + (self.adapter.obligations if self.adapter else ())
        return tuple(dict.fromkeys(both))

    def text(self) -> str:
        """Return the record as JSON of sorted keys, the seed as a string (it may exceed 2^53)."""
        record = asdict(self) | {
            "seed": str(self.seed),
            "model": self.model.identity(),
            "adapter": self.adapter.identity() if self.adapter else None,
            "licence": self.licence,
            "obligations": self.obligations,
        }
        return json.dumps(record, sort_keys=True)


def digest_prompt(prompt: str) -> str:
    """Return the hexadecimal SHA-256 of a prompt's UTF-8 bytes."""
    return hashlib.sha256(prompt.encode()).hexdigest()


class Marking(Protocol):
    """Turns a drawn picture into the bytes that leave the server."""

    def __call__(
        self, picture: Image.Image, record: PictureRecord, *, output_format: str, compression: int
    ) -> bytes: ...


class MetadataMarking:
    """Writes the record into the file: a text chunk in PNG, EXIF in WebP and JPEG. The pixels stay as drawn."""

    def __call__(self, picture: Image.Image, record: PictureRecord, *, output_format: str, compression: int) -> bytes:
        """Encode as ``png``, ``webp`` or ``jpeg``; ``compression`` 0–100 is the quality of the last two."""
        buffer = io.BytesIO()
        if output_format == "png":
            picture.save(buffer, "PNG", pnginfo=_png_text(record))
        elif output_format == "webp":
            picture.save(buffer, "WEBP", quality=compression, lossless=compression == 100, exif=_exif(record))
        else:
            picture.convert("RGB").save(buffer, "JPEG", quality=max(1, compression), exif=_exif(record))
        return buffer.getvalue()


def _png_text(record: PictureRecord) -> PngInfo:
    text = PngInfo()
    text.add_text("Software", "Atelier")
    text.add_text("Copyright", record.licence)
    text.add_itxt("atelier", record.text())
    return text


def _exif(record: PictureRecord) -> Image.Exif:
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION] = record.text()
    exif[_EXIF_SOFTWARE] = "Atelier"
    exif[_EXIF_COPYRIGHT] = record.licence
    return exif
