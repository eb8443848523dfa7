"""What an aligner's folder says to a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def aligner_readme(card: Mapping[str, Any]) -> str:
    """Return the model card, after Mitchell et al. 2019, from what the fit recorded."""
    entry, run = card["datasets"][0], card["run"]
    licences = ", ".join(f"{name} ({count:,})" for name, count in entry["licences"].items())
    lines = [
        f"---\nlicense: {card['licence'].lower()}\n---\n",
        f"# {card['name']}",
        "",
        card["summary"],
        "",
        "For measuring whether a made drawing shows what its caption says, between two marks that are measured with it:"
        " real drawings, and other captions. Not for photographs, not for text in pictures, not for counting.",
        "",
        "## Learnt from",
        "",
        f"- {entry['name']}, version `{entry['version'][:16]}`, {entry['pictures']:,} drawings of split train, at most"
        f" {card['config']['most_per_set'] or 'all'} of each set. Licences of the dataset: {licences}",
        "",
        "The creators are named in `ATTRIBUTION.md`.",
        "",
        "## On subjects that it never learnt",
        "",
        *_table(card["retrieval"]),
        "",
        "N drawings of as many held-out subjects, one caption each; 95 % intervals in brackets. *nearest neighbour*"
        " answers with what belongs to the most alike of all learnt drawings (or captions).",
        "",
        "## Obligations",
        "",
        *(f"- {obligation}" for obligation in card["obligations"]),
        "",
        "## Made by",
        "",
        f"`atelier fit fitted=aligner`, {run['seconds']:.0f} s, seed {card['seed']}, code {card['code_commit'][:12]},"
        f" {card['created']}. All settings and figures: `aligner.json`.",
    ]
    return "\n".join(lines) + "\n"


def _table(measured: Mapping[str, Any]) -> list[str]:
    lines = ["| drawings | query | by | N | recall@1 | recall@5 | recall@10 | median rank |"]
    lines += ["|---|---|---|---:|---:|---:|---:|---:|"]
    for kind, directions in measured.items():
        for direction, results in directions.items():
            for name, result in results.items():
                recalls = " | ".join(_share(result[f"recall@{cut}"]) for cut in (1, 5, 10))
                rank = result["median_rank"]
                span = f" ({rank['low']:g}–{rank['high']:g})" if rank["low"] != rank["high"] else ""
                lines.append(
                    f"| {kind} | {direction} | {name} | {result['count']:,} | {recalls} | {rank['value']:g}{span} |"
                )
    return lines


def _share(interval: Mapping[str, float]) -> str:
    value, low, high = interval["value"], interval["low"], interval["high"]
    return f"{value:.3f}" if low == high else f"{value:.3f} ({low:.3f}–{high:.3f})"
