"""How figures are written for people."""

from __future__ import annotations

import math

from evaluation.figures import Figure, Unit

TITLES = {
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "Kernel distance",
    "frechet_ratio": "Fréchet distance, times the floor",
    "gap_closed": "Gap closed, from unadapted to floor",
    "memorisation_excess": "Copying: excess over unseen drawings",
    "copies_pixel": "Copies of learnt drawings, by edges",
    "copies_feature": "Copies of learnt drawings, by features",
    "copies_asked": "Copies when asked for learnt captions",
    "nearest_ratio": "Nearest learnt drawing, of the mean distance",
    "first_step_excess": "Remembered captions: excess at the first step",
    "unsafe_share": "Pictures that look indecent",
    "marks_share": "Pictures near a protected mark",
    "text_share": "Pictures with text",
    "mind": "Sliced distance",
    "aligner": "Likeness to the caption, by the aligner",
    "aligner_share": "Prompt fidelity, from other captions to real drawings",
    "clipscore_share": "Prompt fidelity, from other captions to real drawings",
    "style_on_brand": "Pictures whose style is the brand's",
    "style_separation": "Style: the brand's own drawings told from others (AUC)",
    "serving_drift": "Serving drift of the style",
    "prompt_drift_worst": "Prompt drift, worst tenth of prompts",
    "leakage_tail": "Leakage: 95th percentile of likeness to learnt drawings",
    "leakage_above": "Leakage: pictures above the threshold",
    "palette_set_distance": "Palette distance of all pictures together",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "frechet": "Fréchet distance",
    "likeness_to_real": "Likeness to the real drawing of each caption",
}
ASPECTS = {
    "brand": "with the adapter",
    "unadapted": "without the adapter",
    "heldout": "held-out subjects",
    "pictures": "the pictures",
    "floor": "floor (real against real)",
    "real": "the real drawings",
    "gain": "gain by the adapter",
    "shuffled": "other captions",
}


def figure_label(name: str) -> str:
    """Return what a figure is called: ``precision_floor`` becomes "Precision, floor (real against real)"."""
    if name in TITLES:
        return TITLES[name]
    stem, _, suffix = name.rpartition("_")
    if stem and suffix in ASPECTS:
        return f"{TITLES.get(stem) or _spoken(stem)}, {ASPECTS[suffix]}"
    return _spoken(name)


def value_text(figure: Figure) -> str:
    """Return a figure's value for people: shares in percent, other values with three telling digits."""
    return number_text(figure.value, figure.unit)


def interval_text(figure: Figure) -> str:
    """Return a figure's bounds for people, as ``value_text`` writes them."""
    return range_text(figure.low, figure.high, figure.unit)


def number_text(value: float, unit: Unit = "number") -> str:
    """Return a number in its unit: 41 %, 24.3 dB, 93.6, 1,204."""
    if unit == "share":
        return f"{_percent(value)} %"
    return _three_digits(value) + (" dB" if unit == "dB" else "")


def range_text(low: float, high: float, unit: Unit = "number") -> str:
    """Return two bounds with their unit once: 36 to 46 %."""
    if unit == "share":
        return f"{_percent(low)} to {_percent(high)} %"
    return f"{_three_digits(low)} to {_three_digits(high)}" + (" dB" if unit == "dB" else "")


def p_text(p: float) -> str:
    """Return a probability as it is usually written: 0.032, < 0.001."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _spoken(name: str) -> str:
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _percent(share: float) -> str:
    """41, 0.4, −3: whole percents, and a tenth beneath one."""
    percent = 100 * share
    text = f"{percent:.{1 if 0.05 <= abs(percent) < 1 else 0}f}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def _three_digits(value: float) -> str:
    """93.6, 0.056, 1,204."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}".replace("-", "−")
