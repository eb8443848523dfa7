"""What figures mean, said to somebody who reads no tables.

A verdict claims only what the intervals carry: "clearly" where they lie apart, "no proof" where they do not.
"""

from __future__ import annotations

from collections.abc import Mapping

from evaluation.figures import Figure, clearly_better
from evaluation.measurement import Tone, Verdict
from evaluation.wording import interval_text, value_text

Figures = Mapping[str, Figure]
CLOSE_RATIO = 2.0
DISTANCES = ("frechet_distance", "kernel_distance")


def brand_verdict(brand: str, figures: Figures) -> Verdict:
    """Return the verdict on an adapter: does it draw in the brand's style?"""
    if "gap_closed" not in figures:
        return _unjudged(figures, "distance from the brand")
    tone, headline = _style_of(brand, figures)
    return Verdict(tone=tone, headline=headline, sentences=(_reach(figures), _closeness(brand, figures)))


def backbone_verdict(figures: Figures) -> Verdict:
    """Return the verdict on a backbone: how far what it never learnt is from real drawings."""
    if "frechet_ratio_heldout" not in figures:
        return _unjudged(figures, "distance from the real drawings")
    made, floor = figures["frechet_distance_heldout"], figures["frechet_distance_floor"]
    ratio = figures["frechet_ratio_heldout"]
    sentence = (
        f"Its pictures of {made.count} held-out subjects lie at a Fréchet distance of {_with_interval(made)} from the"
        f" real drawings of them; as many other drawings of the same sets lie at {_with_interval(floor)}."
    )
    if not _told_apart(figures, "heldout"):
        headline = f"At {made.count} pictures, no figure tells its held-out subjects from real drawings."
        return Verdict(tone="unsure", headline=headline, sentences=(sentence,))
    tone: Tone = "good" if ratio.high < CLOSE_RATIO else "unsure"
    headline = f"Subjects it never learnt come out at {ratio.value:.1f} times the distance of real drawings."
    return Verdict(tone=tone, headline=headline, sentences=(sentence,))


def pictures_verdict(figures: Figures) -> Verdict:
    """Return the verdict on a folder of pictures: can they be told from the brand's own drawings, or not yet?"""
    if "frechet_distance_pictures" not in figures:
        return _unjudged(figures, "distance from the brand")
    made, floor = figures["frechet_distance_pictures"], figures["frechet_distance_floor"]
    sentence = (
        f"The {made.count} pictures lie at a Fréchet distance of {_with_interval(made)} from the brand's own drawings,"
        f" which lie {_with_interval(floor)} from each other."
    )
    if _told_apart(figures, "pictures"):
        headline = "The pictures can be told from the brand's own drawings."
    else:
        headline = f"At {made.count} pictures, no figure tells them from the brand's own drawings."
    return Verdict(tone="unsure", headline=headline, sentences=(sentence,))


def _told_apart(figures: Figures, suffix: str) -> bool:
    """Return whether the Fréchet distance or the kernel distance clearly exceeds that of real drawings."""
    pairs = ((figures.get(f"{name}_floor"), figures.get(f"{name}_{suffix}")) for name in DISTANCES)
    return any(clearly_better(floor, made) for floor, made in pairs if floor and made)


def _unjudged(figures: Figures, what: str) -> Verdict:
    headline = f"No verdict: the {what} was not measured."
    return Verdict(tone="unsure", headline=headline, sentences=(f"{len(figures)} other figures are below.",))


def _style_of(brand: str, figures: Figures) -> tuple[Tone, str]:
    adapted, unadapted = figures["frechet_distance_brand"], figures["frechet_distance_unadapted"]
    if clearly_better(adapted, unadapted):
        return "good", f"The adapter clearly brings the pictures closer to {brand}."
    if clearly_better(unadapted, adapted):
        return "bad", f"The adapter takes the pictures further away from {brand}."
    if figures["gap_closed"].low > 0:
        return "unsure", f"The adapter brings the pictures a little closer to {brand}."
    return "unsure", f"No proof that the adapter brings the pictures closer to {brand}."


def _reach(figures: Figures) -> str:
    gap = figures["gap_closed"]
    return (
        f"On a scale from 0 %, the model without the adapter, to 100 %, as close as other drawings of the brand are,"
        f" its pictures stand at {value_text(gap)} (95 % interval {interval_text(gap)})."
    )


def _closeness(brand: str, figures: Figures) -> str:
    adapted, unadapted, floor = (
        _with_interval(figures[f"frechet_distance_{suffix}"]) for suffix in ("brand", "unadapted", "floor")
    )
    return (
        f"Fréchet distance from drawings of {brand} that it never saw: {adapted} with the adapter, {unadapted} for the"
        f" same captions without it, {floor} for other drawings of the brand itself."
    )


def _with_interval(figure: Figure) -> str:
    return f"{value_text(figure)} ({interval_text(figure)})"
