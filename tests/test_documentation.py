"""What the documents name is there: commands, targets, settings, files, modules, tests, licences, attributions."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from atelier import CONF_FOLDER, PROJECT_ROOT, VERBS, hydra_arguments

PAGES = [
    *(PROJECT_ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
]
GROUPS = "|".join(("training", "serving", "evaluation", "synthesis", "data", "registry", "conf", "tests"))
SAMPLES = ("base", "openmoji-learn", "openmoji-judge")
GIVEN_BY_RUNS = {"README.md", "ATTRIBUTION.md"}  # files of every model and dataset folder
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
FENCED = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(?P<text>[^`\n]+)`")
NAMED_FILE = re.compile(rf"(?:{GROUPS}|docs|assets)/[\w./-]*[\w/]|[\w-]+\.(?:py|toml|md)")
NAMED_TEST = re.compile(r"test_\w+")
URL = re.compile(r"\b(?:https?|wss?)://[^\s\"'`<>)\]}\\]+")
# The brackets keep this file from holding what it looks for.
MACHINE_PATH = re.compile(r"/home/\w|/[r]oot/|/Users/\w|/[w]ork/|[A-Z]:[\\]Users")
PACKAGE_INDEX = re.compile(
    r"index-[u]rl|trusted-[h]ost|npm_config[_]registry|GO[P]ROXY|pypi[.]org|pythonhosted[.]org|npmjs[.]org|yarnpkg[.]com"
)


@pytest.fixture(autouse=True)
def _files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose from the files, not from what a verb that was imported before keeps in memory."""
    for kept in ("registry", "codec", "widen.yaml"):
        monkeypatch.delitem(ConfigStore.instance().repo, kept, raising=False)


def text_of(name: str) -> str:
    """Return a file of the repository as text."""
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def relative(path: Path) -> str:
    """Return a path as the repository names it."""
    return path.relative_to(PROJECT_ROOT).as_posix()


def commands_in(block: str) -> list[str]:
    """Return the lines of a shell block, continued ones joined."""
    return block.replace("\\\n", " ").splitlines()


def documented_commands() -> Iterator[list[str]]:
    """Yield the arguments of every ``atelier …`` in the README, as a shell splits them."""
    readme = text_of("README.md")
    lines = [line for block in FENCED.finditer(readme) if block["kind"] == "sh" for line in commands_in(block["text"])]
    for line in [*lines, *(span["text"] for span in SPAN.finditer(FENCED.sub("", readme)))]:
        words = shlex.split(line, comments=True)
        if words[:1] == ["atelier"] and len(words) > 1:
            yield words[1:]
        elif "atelier.py" in words:
            yield words[words.index("atelier.py") + 1 :]


COMMANDS = [command for command in documented_commands() if not command[0].startswith("-")]


@cache
def repository_files() -> list[Path]:
    """Return the files that git knows or would take up; all that are no leftovers where there is no checkout."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=PROJECT_ROOT, capture_output=True, check=True)
        files = [PROJECT_ROOT / name for name in done.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        outside = {"var", "build", "dist", "__pycache__"}
        parts = {path: path.relative_to(PROJECT_ROOT).parts for path in PROJECT_ROOT.rglob("*")}
        files = [path for path, own in parts.items() if not any(p in outside or p.startswith(".") for p in own)]
    return [path for path in files if path.is_file()]


def repository_texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of every file that is text."""
    for path in repository_files():
        try:
            yield relative(path), path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue


# -- commands ----------------------------------------------------------------------------------------------------------


def test_the_readme_shows_every_verb_and_no_other() -> None:
    assert {command[0] for command in COMMANDS} - {"VERB"} == set(VERBS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] in VERBS], ids=" ".join)
def test_a_documented_command_composes(command: list[str]) -> None:
    name, *rest = command
    overrides = hydra_arguments(VERBS[name], [word for word in rest if word not in ("DIR", "MODEL")])
    if any(word.startswith("-") for word in rest) or not (CONF_FOLDER / f"{name}.yaml").is_file():
        pytest.skip(f"atelier {' '.join(command)} has no settings to compose")
    if name in ("generate", "widen"):
        # Their source=FILE is a value; in conf/, source is a group as well.
        settings = OmegaConf.load(CONF_FOLDER / f"{name}.yaml")
        assert {override.split("=")[0] for override in overrides} <= set(settings)
        return
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        compose(config_name=name, overrides=overrides)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_named_make_targets_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = [line.split("#")[0] for block in FENCED.finditer(text) for line in block["text"].splitlines()]
    commands += [span["text"] for span in SPAN.finditer(FENCED.sub("", text))]
    named = {target for command in commands for target in re.findall(r"(?:^|\s)make ([a-z]+)", command)}
    rules = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    assert named <= rules, f"the Makefile has no rule for {', '.join(sorted(named - rules))}"


# -- files, modules and tests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_and_pictures_exist(page: Path) -> None:
    links = [match["target"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    inside = [link.split("#")[0] for link in links if not urlsplit(link).scheme and not link.startswith("#")]
    missing = [link for link in inside if not (page.parent / link).exists()]
    assert not missing, f"{relative(page)} links to what is not there: {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pictures_say_what_they_show(page: Path) -> None:
    assert "![](" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=relative)
def test_named_files_exist(page: Path) -> None:
    spans = [span["text"] for span in SPAN.finditer(FENCED.sub("", page.read_text(encoding="utf-8")))]
    named = {span for span in spans if NAMED_FILE.fullmatch(span) and span not in GIVEN_BY_RUNS}
    missing = sorted(name for name in named if not re.search(r"[A-Z]{3,}\b", Path(name).stem) and not _exists(name))
    assert not missing, f"{relative(page)} names {', '.join(missing)}"


def _exists(name: str) -> bool:
    return (PROJECT_ROOT / name).exists()


def test_every_package_and_module_of_the_architecture_exists() -> None:
    modules = set(re.findall(rf"(?<![\w/])(?:{GROUPS})/\w+\.py\b", text_of("ARCHITECTURE.md")))
    assert len(modules) > 20
    assert not {name for name in modules if not _exists(name)}
    drawn = {"training", "serving", "evaluation", "synthesis", "data", "registry"}
    found = tomllib.loads(text_of("pyproject.toml"))["tool"]["setuptools"]["packages"]["find"]["include"]
    assert drawn == {name.removesuffix("*") for name in found}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_named_tests_exist(page: Path) -> None:
    named = {span["text"] for span in SPAN.finditer(page.read_text(encoding="utf-8"))}
    wanted = {name for name in named if NAMED_TEST.fullmatch(name)}
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "tests").rglob("test_*.py"))
    assert wanted <= set(re.findall(r"def (test_\w+)\(", sources))


# -- licence, version, attributions ------------------------------------------------------------------------------------


def test_the_licence_is_apache() -> None:
    licence = text_of("LICENSE")
    assert "Apache License" in licence and "Version 2.0, January 2004" in licence
    assert tomllib.loads(text_of("pyproject.toml"))["project"]["license"] == "Apache-2.0"


def test_the_changelog_has_the_version() -> None:
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", text_of("CHANGELOG.md"), re.MULTILINE)


def test_the_notice_names_every_drawing_that_ships_or_was_learnt() -> None:
    notice = text_of("NOTICE")
    cards = [json.loads(file.read_bytes()) for file in sorted((PROJECT_ROOT / "assets/sample").glob("*/dataset.json"))]
    corpus = json.loads(text_of("assets/corpus/base.json"))
    assert len(cards) >= 3
    for origin in [origin for card in [*cards, corpus] for origin in card["sources"]]:
        line = f"{origin['collection']}: {origin['title']} by {origin['creator']}, {origin['licence']}\n"
        assert line in notice
        assert origin["creator_url"] in notice and origin["uri"] in notice
    learnt = {str(name) for name in OmegaConf.load(CONF_FOLDER / "source" / "base.yaml").collections}
    assert not {name for name in learnt if f"\n{name}: " not in notice}


def test_the_readme_counts_what_the_cards_count() -> None:
    readme = text_of("README.md")
    for name in ("assets/corpus/base.json", *(f"assets/sample/{kind}/dataset.json" for kind in SAMPLES)):
        card = json.loads(text_of(name))
        counts = [f"{licence} {count:,}" for licence, count in card["licences"].items()]
        row = next(row for row in readme.splitlines() if f"{card['count']:,} | " in row and counts[0] in row)
        assert all(count in row for count in counts)


# -- what must not be there --------------------------------------------------------------------------------------------


def test_every_figure_of_the_readme_is_filled_in() -> None:
    """Fill each cell of the table of figures from the output of the command in its row."""
    place_holder = "TBD"
    left = [number for number, line in enumerate(text_of("README.md").splitlines(), 1) if place_holder in line]
    assert not left, f"README.md still has {place_holder} in the lines {', '.join(map(str, left))}"


def test_no_text_names_a_machine_or_a_package_index() -> None:
    found = [f"{name}: {match[0]}" for name, text in repository_texts() for match in MACHINE_PATH.finditer(text)]
    found += [f"{name}: {match[0]}" for name, text in repository_texts() for match in PACKAGE_INDEX.finditer(text)]
    found += [f"{name}: {url}" for name, text in repository_texts() for url in URL.findall(text) if _is_private(url)]
    assert not found


def _is_private(url: str) -> bool:
    """Whether a URL leads to a host of some private network; the reader's own machine is fine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.endswith((".internal", ".local", ".lan", ".corp"))
    return address.is_private and not (address.is_loopback or address.is_unspecified)
