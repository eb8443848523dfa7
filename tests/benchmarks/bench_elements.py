"""How well words are read and logos found: by the size of the picture, on made-up positives and real negatives.

    python tests/benchmarks/bench_elements.py [words|logos] [PICTURES]

Words are black on white, in Pillow's own typeface.  Logos are pasted at 0.15 to 0.5 of the picture's side, anywhere in
real drawings of assets/sample/base: with a quarter of their height left clear, or straight on top.  The search's
constants were chosen with the badge, the ring and the wordmark on the first 100 drawings in the order of seed 0; so the
drawings here are those after them, the places are of another seed, and three further logos were never looked at.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score
from torch import Tensor

from atelier import PROJECT_ROOT
from data.dataset import open_dataset
from evaluation.drawing import to_image, to_tensor
from evaluation.drawings import colour_rows, in_drawn_order, real_pictures
from evaluation.elements.logo import trimmed
from evaluation.elements.logo_search import find_logo
from evaluation.elements.text import Reader, character_error_rate, normal

# fmt: off
WORDS = (
    "OPEN", "SALE", "Coffee", "Bakery", "Atelier", "2026", "STOP", "HELLO", "Market", "Pizza", "Taxi", "Hotel",
    "Museum", "Fresh", "Garden", "Studio", "Music", "Library", "Bridge", "Summer", "Winter", "Orange", "Violet",
    "Copper", "Silver", "River", "Harbour", "Engine", "Planet", "Window", "Kitchen", "Doctor",
)
# fmt: on
ORDER_SEED, PLACE_SEED = 0, 1
USED_FOR_CHOOSING = 100


def with_word(word: str, side_px: int, share: float) -> Tensor:
    """Return a picture [3,H,W] with a word that is ``share`` of it wide."""
    large = Image.new("RGB", (1024, 1024), "white")
    pen = ImageDraw.Draw(large)
    wide = pen.textlength(word, font=ImageFont.load_default(size=100))
    pen.text((512, 512), word, fill="black", font=ImageFont.load_default(size=102_400 * share / wide), anchor="mm")
    return to_tensor([large.resize((side_px, side_px), Image.Resampling.BICUBIC)])[0]


def marks() -> dict[str, Image.Image]:
    """Return three logos: two-coloured and solid, one-coloured and open, one-coloured with letters."""
    badge, ring, words = (Image.new("RGBA", size) for size in ((300, 300), (300, 300), (600, 180)))
    pen = ImageDraw.Draw(badge)
    pen.rounded_rectangle((10, 10, 290, 290), 60, fill="#e2001a")
    pen.polygon([(150, 50), (240, 240), (60, 240)], fill="white")
    pen = ImageDraw.Draw(ring)
    pen.arc((20, 20, 280, 280), 30, 330, fill="#111111", width=50)
    pen.rectangle((140, 125, 280, 175), fill="#111111")
    pen = ImageDraw.Draw(words)
    pen.ellipse((10, 20, 150, 160), fill="#1e50a0")
    pen.text((180, 90), "ACME", font=ImageFont.load_default(size=140), fill="#1e50a0", anchor="lm")
    return {"badge": trimmed(badge), "ring": trimmed(ring), "wordmark": trimmed(words)} | fresh_marks()


def fresh_marks() -> dict[str, Image.Image]:
    """Return three logos that no constant was chosen with: a leaf, three bars, a name in a frame."""
    leaf, bars, frame = (Image.new("RGBA", size) for size in ((300, 300), (300, 240), (500, 200)))
    pen = ImageDraw.Draw(leaf)
    pen.chord((20, 20, 280, 280), 200, 20, fill="#2e8b57")
    pen.chord((20, 20, 280, 280), 20, 200, fill="#f4a300")
    pen = ImageDraw.Draw(bars)
    for place, high in enumerate((100, 170, 230)):
        pen.rectangle((10 + 100 * place, 235 - high, 70 + 100 * place, 235), fill="#6a1b9a")
    pen = ImageDraw.Draw(frame)
    pen.rectangle((5, 5, 495, 195), outline="#00796b", width=14)
    pen.text((250, 100), "NOVA", font=ImageFont.load_default(size=120), fill="#00796b", anchor="mm")
    return {"leaf, unseen": trimmed(leaf), "bars, unseen": trimmed(bars), "frame, unseen": trimmed(frame)}


def stamped(picture: Tensor, logo: Image.Image, generator: np.random.Generator, clear: bool) -> Tensor:
    """Return a picture with the logo somewhere in it."""
    image = to_image(picture).convert("RGBA")
    factor = generator.uniform(0.15, 0.5) * image.width / max(logo.size)
    width, height = (max(1, round(side * factor)) for side in logo.size)
    left, top = (int(generator.integers(0, image.width - side + 1)) for side in (width, height))
    if clear:
        room = round(0.25 * height) + 1
        image.paste((255, 255, 255, 255), (left - room, top - room, left + width + room, top + height + room))
    image.alpha_composite(logo.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return to_tensor([image.convert("RGB")])[0]


def read_words(side_px: int, share: float) -> None:
    """Print how many words are read exactly, and the character error rate."""
    reader = Reader()
    begin = time.monotonic()
    read = [reader(with_word(word, side_px, share)).text for word in WORDS]
    exact = sum(normal(text) == normal(word) for text, word in zip(read, WORDS, strict=True))
    errors = np.mean([character_error_rate(text, word) for text, word in zip(read, WORDS, strict=True)])
    pace = 1000 * (time.monotonic() - begin) / len(WORDS)
    print(
        f"words {share:.2f} wide in {side_px} px: {exact} of {len(WORDS)} exact, CER {errors:.3f}, {pace:.0f} ms each"
    )


def find_logos(side_px: int, drawings: Tensor) -> None:
    """Print the AUC of each logo against drawings without it."""
    for name, logo in marks().items():
        begin = time.monotonic()
        without = [place.score for place in find_logo(drawings, logo)]
        pace = 1000 * (time.monotonic() - begin) / len(drawings)
        for clear in (True, False):
            generator = np.random.default_rng(PLACE_SEED)
            pictures = torch.stack([stamped(picture, logo, generator, clear) for picture in drawings])
            scores = [place.score for place in find_logo(pictures, logo)]
            auc = roc_auc_score([0] * len(without) + [1] * len(scores), [*without, *scores])
            where = "with clear space" if clear else "on top of the drawing"
            print(f"{name} {where}, {side_px} px: AUC {auc:.4f}, N={len(scores)} a side, {pace:.0f} ms a picture")


def words() -> None:
    """Print what is read at 64, 128 and 256 px."""
    for side_px in (64, 128, 256):
        for share in (0.25, 0.5, 0.8):
            read_words(side_px, share)


def logos(count: int) -> None:
    """Print what is found, and what is read in the same drawings without a logo, at 64 and 128 px."""
    dataset = open_dataset(PROJECT_ROOT / "assets" / "sample" / "base")
    rows = in_drawn_order(dataset, colour_rows(dataset), ORDER_SEED)[USED_FOR_CHOOSING : USED_FOR_CHOOSING + count]
    reader = Reader()
    for side_px in (64, 128):
        drawings = real_pictures(dataset, rows, side_px)
        texts = [text for picture in drawings if (text := reader(picture).text)]
        print(f"real drawings, {side_px} px: in {len(texts)} of {len(drawings)} words are read: {', '.join(texts)}")
        find_logos(side_px, drawings)


def main() -> None:
    """Print both parts, or the one that is named."""
    told = sys.argv[1:]
    numbers = [int(each) for each in told if each.isdigit()]
    torch.set_num_threads(1)
    if "logos" not in told:
        words()
    if "words" not in told:
        logos(numbers[0] if numbers else 100)


if __name__ == "__main__":
    main()
