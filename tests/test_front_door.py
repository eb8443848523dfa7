"""The front door: it answers at once, knows its verbs, keeps free text whole, and tells a mistake in one line."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from atelier import CONF_FOLDER, PROJECT_ROOT, VERBS, AtelierError, hydra_arguments, main, usage

HEAVY = ("torch", "hydra", "lightning", "diffusers", "mlflow", "numpy", "PIL", "fastapi")
Tell = Callable[..., str]


def atelier(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    command = [sys.executable, "-c", "from atelier import main; main()", *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command in this process and returns the one line that it says."""

    def tell(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [])
        if arguments[0] != "generate":  # it keeps its settings where every other verb of this process would find them
            monkeypatch.delitem(ConfigStore.instance().repo, "registry", raising=False)
        with pytest.raises(SystemExit) as leaving:
            main(list(arguments))
        assert leaving.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith("atelier: ")
        return line

    return tell


def test_help_lists_every_verb_and_imports_nothing_heavy(tmp_path: Path) -> None:
    probe = "import sys; from atelier import main; main(['--help']); print([n for n in sys.modules if '.' not in n])"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    *page, modules = done.stdout.splitlines()
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary)}$", "\n".join(page), re.MULTILINE)
    assert not set(HEAVY) & set(re.findall(r"'(\w+)'", modules))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_no_words_or_a_cry_for_help_print_the_page(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments)
    assert capsys.readouterr().out.strip() == usage()


def test_every_verb_has_a_module_a_configuration_and_keys_that_are_in_it() -> None:
    for name, verb in VERBS.items():
        assert (PROJECT_ROOT / Path(*verb.module.split("."))).with_suffix(".py").is_file()
        text = (CONF_FOLDER / f"{name}.yaml").read_text()
        for key in {*verb.text_keys, *(verb.positional or "").split()}:
            assert re.search(rf"^(  - )?(\w+@)?{key.split('.')[0]}\b", text, re.MULTILINE), f"{name} has no {key}"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("trian", "did you mean 'train'?"), ("Generate", "did you mean 'generate'?"), ("x", "the verbs are ingest, ver")],
)
def test_an_unknown_verb_is_answered_with_the_nearest(mistake: Tell, word: str, hint: str) -> None:
    assert f"unknown verb '{word}': {hint}" in mistake(word)


def test_bare_words_get_their_key_where_a_verb_has_one() -> None:
    assert hydra_arguments(VERBS["verify"], ["a folder", "--cfg", "job"])[0] == "dir='a folder'"
    assert hydra_arguments(VERBS["lineage"], ["models:/brand-x@champion"]) == ["model='models:/brand-x@champion'"]
    assert hydra_arguments(VERBS["train"], ["seed=1", "oops"]) == ["seed=1", "oops"]


@pytest.mark.parametrize("words", [["--reason", "it's mine"], ["--reason=it's mine"], ["reason=it's mine"]])
def test_a_text_may_be_written_as_an_option(words: list[str]) -> None:
    override = r"reason='it\'s mine'"
    assert hydra_arguments(VERBS["revoke"], ["noto__dog", *words]) == ["what='noto__dog'", override]
    assert hydra_arguments(VERBS["revoke"], ["--reason"]) == ["reason="]
    assert hydra_arguments(VERBS["train"], ["--cfg", "job", "--reason", "x"]) == ["--cfg", "job", "--reason", "x"]


def read_back(override: str) -> Any:
    """What Hydra's grammar and OmegaConf make of an override."""
    parsed = OverridesParser.create().parse_override(override)
    return OmegaConf.create({parsed.key_or_group: parsed.value()})[parsed.key_or_group]


plain_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(
    lambda text: text[:1] not in ("'", '"') and text != "null" and "${" not in text
)


@given(
    plain_texts
    | st.from_regex(r"[\\' ,=\[\]{}()$:a-z\"#]{1,12}", fullmatch=True).filter(
        lambda t: t[0] not in "'\"" and "${" not in t
    )
)
@settings(deadline=None, max_examples=300)
def test_any_text_survives_as_a_prompt(text: str) -> None:
    (override,) = hydra_arguments(VERBS["generate"], [f"prompt={text}"])
    assert read_back(override) == text


@pytest.mark.parametrize("text", ["it's", "a, b = {c}", "say 'a'", "back\\slash\\", "#1", "null and void", "~"])
def test_texts_that_look_like_grammar_survive_too(text: str) -> None:
    (override,) = hydra_arguments(VERBS["generate"], [f"prompt={text}"])
    assert read_back(override) == text


@pytest.mark.parametrize("text", ["'tis the season", '"', "'a' and 'b'", "a ${b} c", "${oc.env:HOME}"])
def test_texts_with_leading_quotes_or_interpolations_survive_too(text: str) -> None:
    (override,) = hydra_arguments(VERBS["generate"], [f"prompt={text}"])
    assert read_back(override) == text


def test_keys_without_free_text_stay_as_they_are_and_sweeps_keep_their_commas() -> None:
    assert hydra_arguments(VERBS["generate"], ["seed=1,2", "style=noto"]) == ["seed=1,2", "style=noto"]
    assert hydra_arguments(VERBS["generate"], ["-m", "prompt=a,b"]) == ["-m", "prompt=a,b"]


def entry(monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]) -> None:
    """Let every verb's entry point do this."""
    monkeypatch.setattr(importlib, "import_module", lambda _name: SimpleNamespace(main=run))
    monkeypatch.setattr(sys, "argv", [])


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def test_an_interruption_leaves_with_130_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry(monkeypatch, raising(KeyboardInterrupt()))
    with pytest.raises(SystemExit) as leaving:
        main(["train"])
    assert leaving.value.code == 130
    assert capsys.readouterr().err == "\natelier train: interrupted; run the same command again to go on\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (AtelierError("no such thing"), "atelier: no such thing"),
        (OSError(28, "No space left on device", "var/x"), "atelier: No space left on device (var/x)"),
        (AtelierError("two\nlines"), "atelier: two lines"),
    ],
)
def test_what_a_person_can_put_right_is_one_line(
    mistake: Tell, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    entry(monkeypatch, raising(error))
    assert mistake("train") == line


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    entry(monkeypatch, raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["train"])


def test_a_misspelt_key_is_one_line_of_the_process(tmp_path: Path) -> None:
    done = atelier(tmp_path, "verify", "dri=x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "atelier: configuration: there is no setting 'dri'; did you mean 'dir'?\n"
    assert not list(tmp_path.iterdir())


SMOKE = ("train", "experiment=smoke", f"dataset.folder={PROJECT_ROOT / 'assets' / 'sample' / 'base'}")
MISTAKES = {
    ("train", "experiment=smoke", "sead=1"): "there is no setting 'sead'; did you mean 'seed'?",
    ("fit", "device=gpu"): "device gpu: cpu or cuda",
    ("fit", "device=cuda:99"): "the kind; pass cpu",
    (
        "train",
        "experiment=smoke",
        "backbone.widht=1",
    ): "there is no setting 'backbone.widht'; did you mean 'backbone.width'?",
    ("train", "experiment=nothing"): "nothing",
    ("train",): "experiment",
    (*SMOKE, "optimizer.learning_rate=7"): "learning_rate is 7: it must lie between 0 and 1",
    (*SMOKE, "augmentation.hue=9"): "augmentation.hue is 9: it must lie in 0 to 3.14",
    (*SMOKE, "max_steps=0"): "max_steps is 0: it must be a whole number of 1 or more",
    (*SMOKE, "average.decay=2"): "average.decay is 2: it must lie in 0 to 1",
    (*SMOKE, "backbone.width=100"): "width 100 is not a multiple of head_width 32",
    (*SMOKE, "trainer.precision=9"): "precision",
    ("train", "experiment=smoke", "dataset.folder=nowhere"): "nowhere is not a folder",
    ("train", "experiment=smoke", "seed"): "seed",
    ("evaluate", "model=x", "suite=nothing"): "nothing",
    ("evaluate", "suite=smoke"): "model",
    ("evaluate", "model=x", "suite.picturs=16"): "setting 'suite.picturs'; did you mean 'suite.pictures'?",
    ("evaluate", "model=x", "pictures=16"): "there is no setting 'pictures'; did you mean 'suite.pictures'?",
    ("evaluate", "model=x", "suite=tasks", "suite.othrs=y"): "did you mean 'suite.others'?",
    ("evaluate", "model=x", "sed=1"): "there is no setting 'sed'; did you mean 'suite.seed'?",
    ("evaluate", "model=x", "zzz=1"): "there is no setting 'zzz'; atelier evaluate --cfg job shows them all",
    ("evaluate", "model=nowhere", "suite=smoke"): "nowhere",
    ("onboard", "brand=x"): "images is missing: pass images=DIR",
    ("onboard", "brand=x", "images=x", "trainer=deepspeed"): "pass trainer=ddp for several",
    ("onboard", "brand=x", "images=x", "trainer=fsdp"): "an adapter is too small to be sharded",
    ("onboard", "brand=Bad_Name", "images=x"): "brand 'Bad_Name': use 1 to 63 of a-z, 0-9 and '-'",
    ("onboard", "brand=x", "images=nowhere"): "nowhere",
    ("generate", "out=x.png"): "prompt",
    ("promote", "model=x"): "version",
    ("history",): "model",
    ("verify",): "dir",
    ("verify", "nowhere"): "nowhere",
    ("captions",): "dir is not given",
    ("captions", "nowhere", "out=x.csv"): "nowhere",
    ("captions", "dir=x", "form=y.csv"): "there is no setting 'form'; did you mean 'from'?",
    ("ingest", "source=table", "source.path=x.csv", "source.colums.caption=y", "out=y"): "colums",
    ("ingest", "policy=nothing", "source.path=x", "out=y"): "nothing",
    ("serve", "port=high"): "port",
    ("revoke", "dots__dog"): "no reason is given: pass --reason TEXT",
}


@pytest.mark.parametrize(("arguments", "word"), MISTAKES.items(), ids=[" ".join(words[-2:]) for words in MISTAKES])
def test_a_mistake_in_any_command_is_one_clear_line(mistake: Tell, arguments: tuple[str, ...], word: str) -> None:
    assert word in mistake(*arguments)
