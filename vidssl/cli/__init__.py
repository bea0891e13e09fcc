"""The command `vidssl`. Everything heavy is imported where it is used, so that help is quick.

| file | what it does |
|---|---|
| commands.py | demo, info, index, recipes |
| train.py, evaluate.py, audit.py | a command a recipe, or an evaluation |
| prepare.py, bench.py, datasets.py | work on data |
| runs.py, report.py | look at runs |
| data.py | `--data`: opens a folder, a list or an index |
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import tyro

from vidssl.paths import printable
from vidssl.types import VidsslError


class Command(NamedTuple):
    """module: of vidssl.cli. name: its function that is the command or, with `grouped`, that returns subcommands by
    name.
    """

    module: str
    name: str
    help: str
    grouped: bool = False


COMMANDS = {
    "demo": Command(
        "commands", "demo", "Render scenes, learn their order in time, and show what was learnt. Needs no data."
    ),
    "info": Command("commands", "info", "Show versions, how this vidssl was built, and what the machine has."),
    "index": Command("commands", "index", "Index videos: decode every file once, and write down what each of them is."),
    "recipes": Command("commands", "recipes", "List the recipes and where their settings come from."),
    "train": Command(
        "train", "commands", "Train an encoder by a recipe: `vidssl train RECIPE --data DATA --out RUN`.", True
    ),
    "evaluate": Command(
        "evaluate",
        "commands",
        "Measure what an encoder has learnt: `vidssl evaluate retrieval RUN --train DATA`.",
        True,
    ),
    "audit": Command(
        "audit",
        "commands",
        "Find out how much of a task low-level cues give away: `vidssl audit RECIPE --data DATA`.",
        True,
    ),
    "prepare": Command(
        "prepare", "prepare", "Re-encode videos once, so that they decode quickly: `vidssl prepare DATA OUT`."
    ),
    "bench": Command(
        "bench", "commands", "Measure how fast your videos load: `vidssl bench loader --data DATA`.", True
    ),
    "datasets": Command(
        "datasets", "commands", "Check a data set and list its splits: `vidssl datasets check ucf101 VIDEOS`.", True
    ),
    "runs": Command("runs", "runs", "Compare runs: a line each, what their recipes differ in, and their curves."),
    "report": Command("report", "report", "Write one HTML page about runs: `vidssl report RUN... --out report.html`."),
}


class _Shown(logging.Formatter):
    """What is logged names files, whose names a terminal is not to obey."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C, 141 nobody reads."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(_Shown("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("vidssl").setLevel(logging.INFO)
    try:
        if arguments and arguments[0] in COMMANDS:
            _run(arguments[0], arguments[1:])
        else:
            text = "Self-supervised learning from video: a pretext task is a table, and frames stay in device memory."
            _choose({name: _stub(command.help) for name, command in COMMANDS.items()}, "vidssl", text, arguments)
    except VidsslError as error:
        print(printable(f"error: {error}", lines=True), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read what is printed wanted no more, such as `head`
        # so that Python's last flush does not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as stopped:
        print(printable(str(stopped) or "stopped", lines=True), file=sys.stderr)
        return 130
    return 0


def _run(name: str, arguments: Sequence[str]) -> None:
    """Imports a command and calls it."""
    command = COMMANDS[name]
    found = getattr(import_module(f"vidssl.cli.{command.module}"), command.name)
    if command.grouped:
        _choose(found(), f"vidssl {name}", command.help, arguments)
    else:
        tyro.cli(found, prog=f"vidssl {name}", args=arguments, config=(tyro.conf.OmitArgPrefixes,))


def _choose(commands: Mapping[str, Callable[..., Any]], prog: str, description: str, arguments: Sequence[str]) -> None:
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
    tyro.extras.subcommand_cli_from_dict(
        dict(commands), prog=prog, description=description, args=arguments, config=config
    )


def _stub(text: str) -> Callable[[], None]:
    """What the list of commands shows of a command that is not imported for it."""

    def stub() -> None: ...

    stub.__doc__ = text
    return stub
