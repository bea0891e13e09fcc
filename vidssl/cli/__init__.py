"""The command `vidssl`: what can be done, as subcommands. Everything heavy is imported where it is used, so that help is quick."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tyro

from vidssl.cli.commands import demo, index, info, recipes
from vidssl.cli.runs import runs
from vidssl.paths import shown
from vidssl.types import VidsslError


def train() -> None:
    """Train an encoder on a pretext task, by a recipe: `vidssl train RECIPE --data DATA --out RUN`."""


def prepare() -> None:
    """Re-encode videos once, so that training decodes them quickly: `vidssl prepare DATA OUT`."""


def evaluate() -> None:
    """Measure what a trained encoder has learnt: `vidssl evaluate retrieval RUN --train DATA`."""


def datasets() -> None:
    """Check data sets that you have, and make lists of their splits: `vidssl datasets check ucf101 VIDEOS`. Downloads nothing."""


def report() -> None:
    """Write one HTML page about runs, and what was found of them: `vidssl report RUN... --out report.html`."""


def audit() -> None:
    """Find out how much of a task low-level cues give away: `vidssl audit RECIPE --data DATA`."""


def _train() -> dict[str, Callable[..., None]]:
    from vidssl.cli.train import commands

    return commands()


def _evaluate() -> dict[str, Callable[..., None]]:
    from vidssl.cli.evaluate import commands

    return commands()


def _datasets() -> dict[str, Callable[..., None]]:
    from vidssl.cli.datasets import commands

    return commands()


def _report() -> Callable[..., None]:
    from vidssl.cli.report import report

    return report


def bench() -> None:
    """Measure on this machine: `vidssl bench loader --data DATA` says how fast videos load, and what holds them up."""


def _bench() -> dict[str, Callable[..., None]]:
    from vidssl.cli.bench import loader

    return {"loader": loader}


def _prepare() -> Callable[..., None]:
    from vidssl.cli.prepare import prepare

    return prepare


def _audit() -> dict[str, Callable[..., None]]:
    from vidssl.cli.audit import commands

    return commands()


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo, "info": info, "index": index, "recipes": recipes, "train": train, "evaluate": evaluate, "audit": audit,
    "prepare": prepare, "bench": bench, "datasets": datasets, "runs": runs, "report": report,
}  # fmt: skip
# What these take is imported only when they are called: (help text, subcommands or the command itself).
GROUPS: dict[str, tuple[Callable[..., None], Callable[[], dict[str, Callable[..., None]] | Callable[..., None]]]] = {
    "train": (train, _train),
    "evaluate": (evaluate, _evaluate),
    "audit": (audit, _audit),
    "prepare": (prepare, _prepare),
    "bench": (bench, _bench),
    "datasets": (datasets, _datasets),
    "report": (report, _report),
}


class _Shown(logging.Formatter):
    """What is logged names files, whose names a terminal is not to obey."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record), lines=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C, 141 nobody reads."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(_Shown("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("vidssl").setLevel(logging.INFO)
    try:
        if arguments and arguments[0] in GROUPS:
            doc, commands = GROUPS[arguments[0]]
            _choose(commands(), f"vidssl {arguments[0]}", doc.__doc__, arguments[1:])
        else:
            text = "Self-supervised learning from video: a pretext task is a table, and frames stay in device memory."
            _choose(COMMANDS, "vidssl", text, arguments)
    except VidsslError as error:
        print(shown(f"error: {error}", lines=True), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read what is printed wanted no more, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush does not fail either
        return 141
    except KeyboardInterrupt as stopped:
        print(shown(str(stopped) or "stopped", lines=True), file=sys.stderr)
        return 130
    return 0


def _choose(
    commands: Mapping[str, Callable[..., Any]] | Callable[..., Any], prog: str, description: str | None, arguments: Sequence[str]
) -> None:
    if not isinstance(commands, Mapping):
        tyro.cli(commands, prog=prog, args=arguments, config=(tyro.conf.OmitArgPrefixes,))
        return
    tyro.extras.subcommand_cli_from_dict(
        dict(commands), prog=prog, description=description, args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )  # fmt: skip
