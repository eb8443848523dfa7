"""The front door: ``atelier VERB …`` starts the verb's entry point.

It imports nothing heavy, so that ``atelier --help`` answers at once, and it is the one place where a mistake becomes
one clear line instead of a traceback. Every package raises its user-facing errors as ``AtelierError``.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parent
CONF_FOLDER = PROJECT_ROOT / "conf"

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


def revocations_path() -> Path:
    """Return where the list of revoked works lies: every loader reads it, and ``atelier revoke`` writes it."""
    return Path(os.environ.get("ATELIER_REVOCATIONS") or "var/revocations.jsonl")


class AtelierError(Exception):
    """Something a person can put right: says what was wrong, where, and what would be right, in one line."""


@dataclass(frozen=True)
class Verb:
    """One command: the module whose ``main()`` is a Hydra application, and what it is for."""

    module: str
    usage: str
    summary: str
    positional: str | None = None  # the key that a bare word stands for; several, apart by a space, take one each
    text_keys: tuple[str, ...] = ()  # free text, quoted before Hydra's grammar reads it


VERBS = {
    "ingest": Verb(
        "data.ingest",
        "source=iconify source.path=PATH policy=commercial out=DIR",
        "admit pictures by licence policy and write provenance-tagged shards",
        text_keys=("source.path", "source.pictures", "source.licence", "out"),
    ),
    "verify": Verb(
        "data.verify",
        "DIR",
        "check every digest of a dataset and print its licences and counts",
        positional="dir",
        text_keys=("dir",),
    ),
    "captions": Verb(
        "data.recaption",
        "dir=DIR out=captions.csv | dir=DIR from=captions.csv out=NEW",
        "export a dataset's captions as a table to edit, and import it again",
        positional="dir",
        text_keys=("dir", "out", "from", "sheet"),
    ),
    "train": Verb("training.train", "experiment=NAME [overrides]", "train the multi-task backbone"),
    "widen": Verb(
        "training.widen",
        "source=FOLDER_OR_HUB_NAME out=DIR [licence=SPDX codec=kl|dc|tiny]",
        "make a pretrained diffusers model the start of a multi-task backbone",
        text_keys=("source", "out", "name", "revision", "licence", "codec.source"),
    ),
    "distil": Verb(
        "training.distil",
        "teacher=FOLDER [num_inference_steps=4] [overrides]",
        "teach a backbone's copy to draw in a few steps without guidance",
        text_keys=("teacher",),
    ),
    "onboard": Verb(
        "training.onboard",
        "brand=NAME images=DIR [kit=FILE]",
        "turn 10-100 pictures of a brand into a LoRA adapter",
        text_keys=("brand", "images", "kit", "licence", "base"),
    ),
    "evaluate": Verb(
        "evaluation.evaluate",
        "model=MODEL suite=NAME",
        "measure a model and write report.html",
        text_keys=(
            *("model", "out", "extractor.path"),
            *("suite.judge", "suite.learn", "suite.marks", "suite.probes", "suite.others", "suite.run", "suite.golden"),
            "suite.descriptor",
        ),
    ),
    "fit": Verb(
        "training.fit",
        "fitted=aligner|descriptor [corpus=DIR]",
        "fit a small network that evaluation looks with",
        text_keys=("corpus", "out"),
    ),
    "compare": Verb(
        "evaluation.compare",
        "BEFORE AFTER [suite=NAME]",
        "say what changed between two evaluations, models or folders of pictures",
        positional="before after",
        text_keys=(
            *("before", "after", "out", "extractor.path", "drift.descriptor"),
            *("folders.judge", "folders.learn"),
        ),
    ),
    "generate": Verb(
        "serving.generate",
        "prompt=TEXT [brand=NAME] [task=NAME source=FILE mask=FILE] out=FILE",
        "draw one picture",
        text_keys=("prompt", "source", "mask", "out", "model"),
    ),
    "promote": Verb(
        "registry.promote",
        "model=NAME version=N",
        "run the gate and move the alias if it passes",
        text_keys=("why", "who"),
    ),
    "rollback": Verb(
        "registry.rollback", "model=NAME", "move the alias back to the version before", text_keys=("why", "who")
    ),
    "history": Verb("registry.history", "model=NAME", "list every move of a model's aliases"),
    "serve": Verb(
        "serving.serve", "[port=8000]", "serve pictures over HTTP (OpenAI's Images API)", text_keys=("model",)
    ),
    "lineage": Verb(
        "registry.lineage",
        "MODEL",
        "what a model was made from: parents, datasets, licences",
        positional="model",
        text_keys=("model",),
    ),
    "revoke": Verb(
        "training.revoke",
        "ID|SOURCE --reason TEXT [undo=true]",
        "keep a work out of all training from now on, and list what saw it",
        positional="what",
        text_keys=("what", "reason", "who"),
    ),
    "demo": Verb("training.demo", "", "the whole way on the shipped drawings, as make demo runs it"),
}


def usage() -> str:
    """Return the help page: one line of purpose and one of arguments for each verb."""
    width = max(map(len, VERBS))
    lines = ["usage: atelier VERB [key=value …] [--cfg job] [--multirun]", ""]
    lines += [f"  {name:<{width}}  {verb.summary}\n  {'':<{width}}    {verb.usage}" for name, verb in VERBS.items()]
    lines += [
        "",
        "MODEL is a folder, models:/NAME@ALIAS or models:/NAME/VERSION. atelier VERB --help lists its settings.",
    ]
    return "\n".join(lines)


def hydra_arguments(verb: Verb, arguments: list[str]) -> list[str]:
    """Turn what a person typed into Hydra overrides: bare words get their key, free text its quotes.

    A text may be written ``--key TEXT`` as well.
    """
    multirun = any(argument in ("--multirun", "-m") for argument in arguments)
    overrides = []
    keys = (verb.positional or "").split()
    for argument in _without_dashes(verb, arguments):
        bare = "=" not in argument and not argument.startswith("-")
        if bare and keys:
            argument = f"{keys[0]}={argument}"  # noqa: PLW2901
            keys = keys[1:] or keys
            overrides.append(_quoted(argument))
            continue
        key = argument.split("=", 1)[0]
        overrides.append(_quoted(argument) if key in verb.text_keys and not multirun else argument)
    return overrides


def _without_dashes(verb: Verb, arguments: list[str]) -> list[str]:
    """Write ``--key TEXT`` and ``--key=TEXT`` as ``key=TEXT`` where the verb takes such a text."""
    waiting, plain = list(arguments), []
    while waiting:
        argument = waiting.pop(0)
        name, equals, _ = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in verb.text_keys:
            plain.append(argument)
        elif equals or not waiting:
            plain.append(argument[2:] if equals else f"{name}=")
        else:
            plain.append(f"{name}={waiting.pop(0)}")
    return plain


def _quoted(argument: str) -> str:
    key, value = argument.split("=", 1)
    unset = value == "null" and key not in ("prompt", "why")
    if value == "" or unset or re.fullmatch(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", value):
        return argument
    escaped = re.sub(r"(\\*)'", lambda match: match.group(1) * 2 + "\\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    # A person's text is never an interpolation.
    literal = escaped.replace("${", "\\${")
    return f"{key}='{literal}{chr(92) * trailing}'"


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and exit: 0 when done, 2 for a mistake, 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(usage())
        return
    name, rest = arguments[0], arguments[1:]
    if name not in VERBS:
        close = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"the verbs are {', '.join(VERBS)}"
        _fail(f"unknown verb '{name}': {hint}")
    verb = VERBS[name]
    # Hydra hides tracebacks behind several lines of its own; errors are told here instead, in one.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.argv = [f"atelier {name}", *hydra_arguments(verb, rest)]
    try:
        entry_point = importlib.import_module(verb.module).main
        _tell_failures_once()
        entry_point()
    except KeyboardInterrupt as stop:
        kept = f" ({stop})" if str(stop) else ""
        print(f"\natelier {name}: interrupted{kept}; run the same command again to go on", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        message = _mistake(error, name)
        if message is None:
            raise
        _fail(message)


def _fail(message: str) -> None:
    print(f"atelier: {message}", file=sys.stderr)
    sys.exit(EXIT_MISTAKE)


def _tell_failures_once() -> None:
    """Keep Hydra from writing a line of its own before it raises what a job raised."""
    utils = sys.modules.get("hydra.core.utils")
    if utils is None:
        return
    told = utils.JobReturn.return_value

    def value(job: Any) -> Any:
        if isinstance(job._return_value, Exception):
            raise job._return_value
        return told.fget(job)

    utils.JobReturn.return_value = property(value, told.fset)


def _mistake(error: Exception, verb: str) -> str | None:
    """Return one line for what a person can put right, None for a bug of ours."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    for one in chain:
        if isinstance(one, AtelierError):
            return " ".join(str(one).split())
    if any(type(one).__module__.split(".")[0] in ("hydra", "omegaconf", "yaml") for one in chain):
        told = " ".join(str(error).split()).split(" Config search path")[0]
        return f"configuration: {_with_hint(told, verb)}"
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}"
    return None


def _with_hint(message: str, verb: str) -> str:
    """Add the nearest key of the verb's own settings to Hydra's word on a key that does not exist."""
    found = re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", message)
    if not found:
        return message
    wrong = next(filter(None, found.groups()))
    own = re.findall(r"^(?:  - )?([a-z_]+):", (CONF_FOLDER / f"{verb}.yaml").read_text(), re.MULTILINE)
    known = [key for key in dict.fromkeys((*own, *_settings(verb))) if not wrong.startswith(f"{key}.")]
    ends = {key.rpartition(".")[2]: key for key in sorted(known, key=lambda key: -key.count("."))}
    end = wrong.rpartition(".")[2]
    close = [ends[end]] if end in ends else difflib.get_close_matches(wrong, known, n=1)
    close = close or [ends[near] for near in difflib.get_close_matches(end, ends, n=1)]
    hint = f"did you mean '{close[0]}'?" if close else f"atelier {verb} --cfg job shows them all"
    return f"there is no setting '{wrong}'; {hint}"


def _settings(verb: str) -> list[str]:
    """Return every setting of a verb with the groups that were chosen, ``suite.pictures`` for one."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    chosen = [
        argument
        for argument in sys.argv[1:]
        if re.fullmatch(r"[\w@]+=[\w/]+", argument) and (CONF_FOLDER / re.split("[@=]", argument)[0]).is_dir()
    ]
    try:
        with warnings.catch_warnings(), initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
            warnings.simplefilter("ignore")  # Hydra told its own already, when it composed these the first time
            return list(_keys(OmegaConf.to_container(compose(verb, overrides=chosen))))
    except (HydraException, OmegaConfBaseException):
        return []


def _keys(settings: Any, before: str = "") -> Iterator[str]:
    """Return the dotted keys of nested settings, without those of lists and ``_target_``."""
    for name, value in settings.items():
        if not str(name).startswith("_"):
            yield f"{before}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{before}{name}.")


if __name__ == "__main__":
    # As a script this file is __main__: errors must be those of the module that the packages import.
    importlib.import_module("atelier").main()
