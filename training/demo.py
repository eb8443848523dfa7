"""``atelier demo``: the whole way on the drawings that ship, each step the command that a person would type.

It starts commands and talks HTTP, as a user would; what is still valid from an earlier run is kept.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig
from PIL import Image

from atelier import CONF_FOLDER, PROJECT_ROOT
from training.customer import draw, edit, running_server, sheet
from training.stages import Course, Stage, digest_of, found

SAMPLES = ("base", "openmoji-learn", "openmoji-judge")


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="demo")
def main(config: DictConfig) -> None:
    """Hydra's entry point."""
    begin = time.monotonic()
    out = Path(config.out)
    course = Course(out / "state.json")
    samples = PROJECT_ROOT / "assets" / "sample"
    brand = str(config.brand)
    verify_samples(course, samples)
    registered = onboard(course, samples, brand, list(config.onboard))
    evaluate(course, samples, brand, list(config.evaluate))
    promote(course, brand, registered)
    serve(course, out, brand, list(config.prompts), samples)
    show(course, out, brand, time.monotonic() - begin)


def verify_samples(course: Course, samples: Path) -> None:
    """Check every digest of the drawings that ship."""
    for name in SAMPLES:
        folder = samples / name
        course.run(
            Stage(title=f"1 Verify {name}", arguments=["verify", str(folder)], reads=[folder], packages=["data"])
        )


def onboard(course: Course, samples: Path, brand: str, more: list[str]) -> str:
    """Train and register the brand's adapter; return what was printed."""
    learn, backbone = samples / "openmoji-learn", PROJECT_ROOT / "assets" / "backbone"
    return course.run(
        Stage(
            title=f"2 Onboard the brand {brand}",
            # The base is named: an earlier run's champion may be a backbone that shipped before.
            arguments=["onboard", f"brand={brand}", f"images={learn}", f"base={backbone}", "policy=share_alike", *more],
            reads=[learn, backbone],
            packages=["training", "synthesis", "data"],
            makes=[Path("var/brands") / brand / "adapter", Path("var/mlflow.db")],
        )
    )


def evaluate(course: Course, samples: Path, brand: str, more: list[str]) -> None:
    """Measure the adapter against unseen drawings of the brand, and the backbone against unseen drawings."""
    packages = ["evaluation", "synthesis", "data"]
    backbone = PROJECT_ROOT / "assets" / "backbone"
    for title, model, suite, judge, extra in (
        ("3 Evaluate the adapter", Path("var/brands") / brand / "adapter", "brand", "openmoji-judge", more),
        ("3 Evaluate the backbone", backbone, "backbone", "base", ["suite.pictures=80"]),
    ):
        out = Path("var/evaluation") / suite
        course.run(
            Stage(
                title=title,
                arguments=["evaluate", f"model={model}", f"suite={suite}", f"out={out}", *extra],
                reads=[model, samples / judge],
                packages=packages,
                makes=[out / "report.html", out / "figures.json"],
            )
        )


def promote(course: Course, brand: str, registered: str) -> None:
    """Run the gates and move both models to ``champion``."""
    pattern = rf"models:/brand-{brand}/(\d+) on models:/backbone/\d+"
    versions = {
        "backbone": found(r"on models:/backbone/(\d+)", registered),
        f"brand-{brand}": found(pattern, registered),
    }
    for name, version in versions.items():
        course.run(
            Stage(
                title=f"4 Promote {name}",
                arguments=["promote", f"model={name}", f"version={version}"],
                packages=["registry"],
                makes=[Path("var/journal.jsonl")],
            )
        )


def serve(course: Course, out: Path, brand: str, prompts: list[str], samples: Path) -> None:
    """Start the server and ask it for pictures in the brand, an inpainting and a super-resolution."""
    title = "5 Serve, and ask as a customer would"
    files = [out / "pictures.png", out / "pictures.json"]
    fingerprint = course.before + digest_of(PROJECT_ROOT / "serving").hex() + json.dumps(prompts)
    print(f"\n{title}", flush=True)
    if course.holds(title, fingerprint, files):
        print("  nothing changed since it was done: kept", flush=True)
        return
    begin = time.monotonic()
    with running_server() as address:
        ask(address, out, brand, prompts, samples)
    course.seconds[title] = time.monotonic() - begin
    course.remember(title, fingerprint, "")


def ask(address: str, out: Path, brand: str, prompts: list[str], samples: Path) -> None:
    """Ask the running server, say when each preview came, write the pictures."""
    rows, times = [], {}
    for seed, prompt in enumerate(prompts):
        answer = draw(address, prompt, brand=brand, seed=seed)
        rows.append((f"{prompt}: three previews, then the picture", answer.pictures))
        times[prompt] = [round(second, 2) for second in answer.seconds]
        came = ", ".join(f"{second:.1f} s" for second in answer.seconds[:-1])
        print(f"  '{prompt}': previews after {came}; the picture after {answer.seconds[-1]:.1f} s", flush=True)
    drawn = rows[0][1][-1]
    mask = Image.new("L", drawn.size, 0)
    mask.paste(255, (0, drawn.height // 2, drawn.width, drawn.height))
    filled = edit(address, drawn, prompts[0], mask, model=brand, seed="11")
    rows.append(
        ("inpainting: the picture, what is drawn anew, the result", [drawn, mask.convert("RGB"), filled.pictures[0]])
    )
    print(f"  inpainting of its lower half: {filled.seconds[0]:.1f} s", flush=True)
    small = drawn.resize((16, 16), Image.Resampling.BOX)
    larger = edit(address, small, prompts[0], task="super_resolution", model=brand, seed="12")
    rows.append(
        ("super-resolution: 16 px, bicubic, 64 px", [small, small.resize(drawn.size, Image.Resampling.BICUBIC)])
    )
    rows[-1][1].append(larger.pictures[0])
    print(f"  super-resolution from 16 to 64 px: {larger.seconds[0]:.1f} s", flush=True)
    sheet(rows, out / "pictures.png")
    (out / "pictures.json").write_text(json.dumps(times, indent=1))


def show(course: Course, out: Path, brand: str, seconds: float) -> None:
    """Say what was made, where to look, and what to try next."""
    figures = json.loads(Path("var/evaluation/brand/figures.json").read_text())["figures"]
    values = {figure["name"]: figure for figure in figures}
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    lines = [
        "",
        "Done.",
        "",
        f"The brand {brand}, learnt from 60 drawings. Distance to its unseen drawings, lower is nearer:",
    ]
    for name, label in (
        ("frechet_distance_brand", "with the adapter"),
        ("frechet_distance_unadapted", "without it"),
        ("frechet_distance_floor", "drawings of the brand among themselves"),
    ):
        figure = values[name]
        lines.append(
            f"  {figure['value']:7.1f}  ({figure['low']:.1f} to {figure['high']:.1f})  {label}, N={figure['count']}"
        )
    lines += ["", "Look at", f"  {out / 'pictures.png'}  what the server drew", "  var/evaluation/brand/report.html"]
    lines += ["  var/evaluation/backbone/report.html", "  make ui  both models in MLflow, with their figures"]
    lines += ["", "Try next", f'  .venv/bin/atelier generate prompt="a happy fox" brand={brand} out=fox.png']
    lines += ["  .venv/bin/atelier serve", f"  .venv/bin/atelier lineage models:/brand-{brand}@champion", ""]
    done = ", ".join(f"{title.split()[0]} {spent:.0f} s" for title, spent in course.seconds.items()) or "all kept"
    lines += [f"{seconds:.0f} s in all (stages: {done}); the largest process took {peak_bytes / 1e9:.1f} GB."]
    print("\n".join(lines), flush=True)
