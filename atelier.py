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
from dataclasses import dataclass
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent
CONF_FOLDER = PROJECT_ROOT / "conf"

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


class AtelierError(Exception):
    """Something a person can put right: says what was wrong, where, and what would be right, in one line."""


@dataclass(frozen=True)
class Verb:
    """One command: the module whose ``main()`` is a Hydra application, and what it is for."""

    module: str
    usage: str
    summary: str
    positional: str | None = None  # the key that a bare word stands for
    text_keys: tuple[str, ...] = ()  # free text, quoted before Hydra's grammar reads it


VERBS = {
    "ingest": Verb(
        "data.ingest",
        "source=iconify source.path=PATH policy=commercial out=DIR",
        "admit pictures by licence policy and write provenance-tagged shards",
        text_keys=("source.path", "out"),
    ),
    "verify": Verb(
        "data.verify", "DIR", "check every digest of a dataset and print its licences and counts", positional="dir"
    ),
    "train": Verb("training.train", "experiment=NAME [overrides]", "train the multi-task backbone"),
    "onboard": Verb(
        "training.onboard",
        "brand=NAME images=DIR [kit=FILE]",
        "turn 10-100 pictures of a brand into a LoRA adapter",
        text_keys=("images", "kit"),
    ),
    "evaluate": Verb(
        "evaluation.evaluate", "model=MODEL suite=NAME", "measure a model and write report.html", text_keys=("model",)
    ),
    "generate": Verb(
        "serving.generate",
        "prompt=TEXT [brand=NAME] [task=NAME source=FILE mask=FILE] out=FILE",
        "draw one picture",
        text_keys=("prompt", "source", "mask", "out", "model"),
    ),
    "promote": Verb("registry.promote", "model=NAME version=N", "run the gate and move the alias if it passes"),
    "rollback": Verb("registry.rollback", "model=NAME", "move the alias back to the version before"),
    "history": Verb("registry.history", "model=NAME", "list every move of a model's aliases"),
    "serve": Verb("serving.serve", "[port=8000]", "serve pictures over HTTP (OpenAI's Images API)"),
    "lineage": Verb(
        "registry.lineage",
        "MODEL",
        "what a model was made from: parents, datasets, licences",
        positional="model",
        text_keys=("model",),
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
    """Turn what a person typed into Hydra overrides: bare words get their key, free text its quotes."""
    multirun = any(argument in ("--multirun", "-m") for argument in arguments)
    overrides = []
    for argument in arguments:
        bare = "=" not in argument and not argument.startswith("-")
        if bare and verb.positional:
            argument = f"{verb.positional}={argument}"  # noqa: PLW2901
            overrides.append(_quoted(argument))
            continue
        key = argument.split("=", 1)[0]
        overrides.append(_quoted(argument) if key in verb.text_keys and not multirun else argument)
    return overrides


def _quoted(argument: str) -> str:
    key, value = argument.split("=", 1)
    if value in ("", "null") or value[:1] in "'\"":
        return argument
    escaped = re.sub(r"(\\*)'", lambda match: match.group(1) * 2 + "\\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"{key}='{escaped}{chr(92) * trailing}'"


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
        importlib.import_module(verb.module).main()
    except AtelierError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print(f"\natelier {name}: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        _fail(_one_line_of_os(error))
    except Exception as error:
        message = _configuration_mistake(error)
        if message is None:
            raise
        _fail(message)


def _fail(message: str) -> None:
    print(f"atelier: {message}", file=sys.stderr)
    sys.exit(EXIT_MISTAKE)


def _one_line_of_os(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _configuration_mistake(error: BaseException) -> str | None:
    """Return one line for an error of Hydra's or OmegaConf's, None for a bug of ours."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__module__.split(".")[0] in ("hydra", "omegaconf", "yaml"):
            text = " ".join(part.strip() for part in str(error).splitlines() if part.strip())
            return f"configuration: {text}"
        seen = seen.__cause__
    return None


if __name__ == "__main__":
    # As a script this file is __main__: errors must be those of the module that the packages import.
    importlib.import_module("atelier").main()
