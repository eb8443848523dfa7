"""All tasks in one table, and what they mean for somebody who reads no tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluation.changes import holm
from evaluation.measurement import Curve, Finding, Section, Table, Tone, Verdict
from evaluation.tasks.paired import Comparison, Outcome
from evaluation.tasks.protocol import TaskResult
from evaluation.wording import interval_text, value_text

HEADINGS = ("Task", "Figure", "Model", "Against", "Its figure", "Difference", "95 % interval", "N", "")
SAID: Mapping[Outcome, str] = {"better": "clearly better", "unsure": "no proof", "worse": "clearly worse"}
NOTE = (
    "The difference is taken picture by picture, with an interval over subjects, each for itself. Clearly better or"
    " worse is said where it holds for all comparisons of this table together (Holm)."
)


def overview(results: Sequence[TaskResult], told: Sequence[str], curves: Sequence[Curve] = ()) -> Section:
    """Return the table over all tasks; ``told`` says what was not measured, and why."""
    proven = _proven(results)
    rows = tuple(_row(result.section.title, each, proven) for result in results for each in result.comparisons)
    return Section(
        name="tasks",
        title="All tasks",
        note=NOTE,
        findings=tuple(Finding(tone="unsure", sentence=sentence) for sentence in told),
        tables=(Table(title="Each task against going without the model", note="", headings=HEADINGS, rows=rows),),
        curves=tuple(curves),
    )


def tasks_verdict(results: Sequence[TaskResult]) -> Verdict:
    """Return in how many tasks the model is clearly better than every baseline, by the task's first score."""
    proven = _proven(results)
    outcomes = {result.section.title: _outcome(result.comparisons, proven) for result in results if result.comparisons}
    better, worse = (_those(outcomes, outcome) for outcome in ("better", "worse"))
    headline = f"Clearly better than every baseline in {len(better)} of {len(outcomes)} tasks"
    headline += f", clearly worse than one in {len(worse)}." if worse else "."
    sentences = [
        f"{SAID[outcome].capitalize()}: {', '.join(_those(outcomes, outcome))}."
        for outcome in SAID
        if _those(outcomes, outcome)
    ]
    return Verdict(tone=_tone(outcomes), headline=headline, sentences=tuple(sentences))


def _proven(results: Sequence[TaskResult]) -> Mapping[Comparison, Outcome]:
    """Return what each comparison says once it is corrected for all of them; a floor is no contest."""
    contests = [each for result in results for each in result.comparisons if each.role != "floor"]
    adjusted = holm([each.p for each in contests])
    return {each: each.outcome(p) for each, p in zip(contests, adjusted, strict=True)}


def _row(title: str, each: Comparison, proven: Mapping[Comparison, Outcome]) -> tuple[str, ...]:
    said = SAID[proven[each]] if each.role != "floor" else "the floor: no contest"
    return (
        title,
        each.score.replace("_", " "),
        value_text(each.model),
        each.rival[0].lower() + each.rival[1:],
        value_text(each.other),
        value_text(each.difference),
        interval_text(each.difference),
        str(each.model.count),
        said,
    )


def _outcome(comparisons: Sequence[Comparison], proven: Mapping[Comparison, Outcome]) -> Outcome:
    baselines = [each for each in comparisons if each.role == "baseline"]
    outcomes = {proven[each] for each in baselines if each.score == baselines[0].score}
    if "worse" in outcomes:
        return "worse"
    return "better" if outcomes == {"better"} else "unsure"


def _those(outcomes: Mapping[str, Outcome], outcome: str) -> list[str]:
    return [title for title, each in outcomes.items() if each == outcome]


def _tone(outcomes: Mapping[str, Outcome]) -> Tone:
    if all(each == "better" for each in outcomes.values()):
        return "good"
    return "bad" if 2 * len(_those(outcomes, "worse")) > len(outcomes) else "unsure"
