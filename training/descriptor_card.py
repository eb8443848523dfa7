"""What is said of a fitted style descriptor: its figures, its card and its attributions."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from data.dataset import Dataset
from evaluation.intervals import Interval
from evaluation.style.telling import Seen, Told, content_auc, summary, tell
from training.descriptor_pictures import Shown
from training.export import attribution, now
from training.run import code_commit

if TYPE_CHECKING:
    from training.descriptor import DescriptorFit

OWN = "descriptor"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How one descriptor tells sets apart at one size; ``content`` is its AUC where content speaks against look."""

    descriptor: str
    px: int
    rows: tuple[Told, ...]
    content: float

    @classmethod
    def of(cls, descriptor: str, px: int, seen: Seen, seed: int) -> Judged:
        """Judge on unseen drawings."""
        with Progress() as progress:
            task = progress.add_task(f"judging: {descriptor} at {px} px", total=len(set(seen.sets)))
            rows = tell(seen, seed=seed, advance=lambda count: progress.advance(task, count))
            progress.update(task, completed=len(set(seen.sets)))  # sets of too few drawings are passed over
        return cls(descriptor=descriptor, px=px, rows=tuple(rows), content=content_auc(seen))

    def to_json(self) -> dict[str, object]:
        """Return all sets with all intervals."""
        return {
            "descriptor": self.descriptor,
            "px": self.px,
            "same_look_over_same_subject": self.content,
            "sets": [asdict(row) for row in self.rows],
        }


def told(found: Sequence[Judged]) -> str:
    """Return two tables: means over sets by descriptor, and every set of the descriptor that was fitted."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=150)
    for px in sorted({each.px for each in found}):
        at_px = [each for each in found if each.px == px]
        console.print(_means(at_px, px))
        console.print(_sets(next(each for each in at_px if each.descriptor == OWN)))
    return buffer.getvalue()


def write_cards(
    folder: Path, fit: DescriptorFit, datasets: Sequence[Dataset], lesson: Shown, found: Sequence[Judged], digest: str
) -> None:
    """Write ``atelier.json``, ``figures.json``, ``README.md`` and ``ATTRIBUTION.md`` into a folder.

    ``datasets`` are the one that was learnt, then the brands that were not.
    """
    dataset, brands = datasets[0], datasets[1:]
    card = _card(fit, dataset, brands, lesson, digest)
    figures = {"weights_sha256": digest, "seed": fit.seed, "judged": [each.to_json() for each in found]}
    for name, content in (("atelier.json", card), ("figures.json", figures)):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    (folder / "README.md").write_text(_readme(card, found))
    (folder / "ATTRIBUTION.md").write_text(attribution(dataset))


def _card(
    fit: DescriptorFit, dataset: Dataset, brands: Sequence[Dataset], lesson: Shown, digest: str
) -> dict[str, Any]:
    return {
        "kind": "descriptor",
        "name": fit.name,
        "summary": "Tells whether two pictures are of one look, whatever they show.",
        "weights_sha256": digest,
        "datasets": [
            {
                "name": dataset.card.name,
                "version": dataset.card.version,
                "policy": dataset.card.policy,
                "licences": dict(dataset.card.licences),
                "pictures": len(lesson.records),
            }
        ],
        "never_learnt": [f"{brand.card.name}@{brand.card.version[:16]}" for brand in brands],
        "licence": "Apache-2.0",
        "obligations": ["Keep the attributions of the learnt drawings (ATTRIBUTION.md) with the weights."],
        "seed": fit.seed,
        "code_commit": code_commit(),
        "config": asdict(fit),
        "created": now(),
    }


def _readme(card: Mapping[str, Any], found: Sequence[Judged]) -> str:
    learnt = card["datasets"][0]
    lines = [
        f"---\nlicense: {card['licence'].lower()}\n---\n",
        f"# {card['name']}",
        "",
        f"{card['summary']} A head of two layers over EfficientNet-Lite0's statistics; weights"
        f" `{card['weights_sha256'][:12]}`.",
        "",
        "## Learnt from",
        "",
        f"{learnt['pictures']:,} drawings of {learnt['name']}, version `{learnt['version'][:16]}`; seed {card['seed']}."
        f" The creators are named in `ATTRIBUTION.md`.",
        f" Judged by, and never learnt: {', '.join(card['never_learnt']) or 'no brand'}.",
        "",
        "## Same set or not",
        "",
        "Areas under the ROC curve on drawings that were never learnt, mean over sets with its 95 % interval, and the"
        " worst set. Every set with its interval: `figures.json`.",
        "",
        *_means_in_markdown(found),
        "",
        "## Obligations",
        "",
        *(f"- {obligation}" for obligation in card["obligations"]),
        "",
        f"{card['created']}, code {card['code_commit'][:12]}. All settings: `atelier.json`.",
    ]
    return "\n".join(lines) + "\n"


def _means_in_markdown(found: Sequence[Judged]) -> list[str]:
    lines = ["| px | kind | descriptor | asked | mean (95 %) | worst set | N |", "|---:|---|---|---|---|---|---:|"]
    for each in found:
        for kind, questions in summary(each.rows).items():
            for question, (mean, worst) in questions.items():
                if each.descriptor == OWN or question == "pair":
                    cells = (kind, each.descriptor, question, _interval(mean), _worst(worst, question))
                    lines.append(f"| {each.px} | " + " | ".join(cells) + f" | {worst.count} |")
    return lines


def _means(found: Sequence[Judged], px: int) -> Table:
    names = [each.descriptor for each in found]
    table = Table("kind", "asked", *names, title=f"AUC, mean over sets, {px} px", box=None)
    summaries = [summary(each.rows) for each in found]
    for kind, questions in summaries[0].items():
        for question in questions:
            cells = [f"{each[kind][question][0].value:.3f}" for each in summaries]
            table.add_row(kind, question, *cells)
    table.add_row("all", "same look over same subject", *(f"{each.content:.3f}" for each in found))
    return table


def _sets(judged: Judged) -> Table:
    questions = list(judged.rows[0].areas)
    table = Table("set", "kind", "N", *questions, title=f"AUC of each set, {judged.px} px", box=None)
    for row in sorted(judged.rows, key=lambda row: (row.kind, row.areas["pair"].value)):
        table.add_row(row.name, row.kind, str(row.count), *(_interval(row.areas[question]) for question in questions))
    return table


def _worst(row: Told, question: str) -> str:
    return f"{row.name} {_interval(row.areas[question])}"


def _interval(interval: Interval) -> str:
    return f"{interval.value:.3f} ({max(0.0, interval.low):.3f} to {min(1.0, interval.high):.3f})"
