"""The command `vidssl`. Slow imports are made in the functions that use them, so that --help is quick.

| file | what it does |
|---|---|
| commands.py | demo, info, index, recipes |
| train.py, evaluate.py, audit.py | one command for each recipe or evaluation |
| evaluate_data.py | videos and kept frames, which the evaluations share |
| trained.py | use an encoder: features, export |
| check.py, estimate.py, prepare.py, bench.py, datasets.py | work on data |
| store.py | keeps decoded frames |
| store_data.py | `--store`: opens a store, and says what is in it |
| runs.py, report.py | look at runs |
| data.py | `--data`: opens a folder, a list or an index |
| arguments.py | how paths are read from the command line, and which options it gives |
"""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import tyro

from vidssl import __version__
from vidssl.cli.arguments import REGISTRY, as_given, check_once, giving, reading
from vidssl.paths import printable
from vidssl.types import VidsslError
from vidssl.workers import running

_STOPPED = tuple(128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))  # exit codes
_SPACE, _PERMISSION = "free some space there", "change its permissions, or name another folder"
_REMEDIES = {  # of errors of files and disks, which are none of programming
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit of the shell with `ulimit -f`",
    errno.EROFS: "its disk may only be read: name another folder",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EIO: "check the disk",
}


class Command(NamedTuple):
    """Where a command is implemented.

    Attributes:
        module: Name of its module in vidssl.cli.
        name: Name of the function in it: the command or, if `grouped`, a function that returns subcommands by name.
        help: The text in the list of commands.
        grouped: True if it has subcommands.
    """

    module: str
    name: str
    help: str
    grouped: bool = False


COMMANDS = {
    "demo": Command(
        "commands", "demo", "Render scenes, learn their order in time, and show what was learnt. It needs no data."
    ),
    "info": Command("commands", "info", "Show versions, how this vidssl was built, and what the machine has."),
    "index": Command("commands", "index", "Index videos: decode every file once, and record its properties."),
    "check": Command("check", "check", "Check every file of a data set: can it be used, and why not?"),
    "estimate": Command(
        "estimate",
        "estimate",
        "Estimate hours, bytes and what training will wait for: `vidssl estimate DATA --gpus 64`.",
    ),
    "recipes": Command("commands", "recipes", "List the recipes and the sources of their settings."),
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
        "Measure how well low-level cues alone solve a task: `vidssl audit RECIPE --data DATA`.",
        True,
    ),
    "features": Command(
        "trained",
        "features",
        "Compute a feature for each video: `vidssl features RUN --data DATA --out features.arrow`.",
    ),
    "export": Command(
        "trained", "export", "Write an encoder for other programs: `vidssl export RUN --out FOLDER --to onnx`."
    ),
    "prepare": Command(
        "prepare", "prepare", "Re-encode videos once, so that they decode quickly: `vidssl prepare DATA OUT`."
    ),
    "store": Command("store", "commands", "Decode frames once and keep them: `vidssl store fill DATA STORE`.", True),
    "bench": Command(
        "bench", "commands", "Measure how fast your videos load: `vidssl bench loader --data DATA`.", True
    ),
    "datasets": Command(
        "datasets", "commands", "Check a data set and list its splits: `vidssl datasets check ucf101 VIDEOS`.", True
    ),
    "runs": Command("runs", "runs", "Compare runs: one line for each run, the settings that differ, and the curves."),
    "report": Command("report", "report", "Write one HTML page about runs: `vidssl report RUN... --out report.html`."),
}


class _Shown(logging.Formatter):
    """Escapes control characters in what is logged: names of files may contain them."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code: 0 done, 2 invalid input, 130 stopped by Ctrl-C, 143 by SIGTERM,
    138 by SIGUSR1 (training), 141 closed pipe.

    Args:
        arguments: The arguments. None takes those of the program, which then also reads names of files as UTF-8 in
            every locale, and ends within two seconds of Ctrl-C.
    """
    if arguments is None:
        _read_names_as_utf8()
    _accept_all_characters()
    if arguments is not None:
        return _main(list(arguments))
    code = _main(sys.argv[1:])
    if code in _STOPPED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already
    if code in _STOPPED and running():
        # A thread may be inside FFmpeg for long, and Python cannot end it. The files are closed, so nothing is lost.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    return code


def _read_names_as_utf8() -> None:
    """Starts Python again in its UTF-8 mode if it reads names of files in another encoding, such as ASCII.

    Names with other characters could otherwise neither be written to an index nor compared with one.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)


def _accept_all_characters() -> None:
    """Escapes what a terminal or file cannot show, such as an umlaut in ASCII: no output may end a command."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _main(arguments: list[str]) -> int:
    handler = logging.StreamHandler()
    handler.setFormatter(_Shown("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("vidssl").setLevel(logging.INFO)
    try:
        try:
            if arguments and arguments[0] in COMMANDS:
                _run(arguments[0], arguments[1:])
            elif arguments == ["--version"]:
                print(f"vidssl {__version__}")
            else:
                text = (
                    "Self-supervised learning from video. `vidssl COMMAND --help` explains each command, and "
                    "`vidssl --version` prints the version."
                )
                _choose({name: _stub(command.help) for name, command in COMMANDS.items()}, "vidssl", text, arguments)
        finally:
            sys.stdout.flush()  # here, a closed pipe is handled
    except VidsslError as error:
        print(printable(f"error: {as_given(str(error), arguments)}", lines=True), file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        _drop_output()
        return 141
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        print(printable(f"error: {error}; {remedy}, and call it again", lines=True), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(printable(str(stopped) or "stopped; the same command starts again", lines=True), file=sys.stderr)
        return 128 + int(getattr(stopped, "signal", signal.SIGINT))
    return 0


def _drop_output() -> None:
    """Sends what is still to be printed nowhere, so that Python's last flush does not fail either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(name: str, arguments: Sequence[str]) -> None:
    """Imports a command and calls it. Raises VidsslError if torchrun started several processes, except to train."""
    processes = os.environ.get("WORLD_SIZE", "1") if "TORCHELASTIC_RUN_ID" in os.environ else "1"
    if processes != "1" and name != "train":
        raise VidsslError(
            f"{name}: torchrun started {processes} processes, each of which would do all of it; only `vidssl train` is "
            f"divided among processes: call `vidssl {name}` without torchrun, or with --nproc-per-node 1"
        )
    command = COMMANDS[name]
    found = getattr(import_module(f"vidssl.cli.{command.module}"), command.name)
    if command.grouped:
        with reading(arguments):
            commands = found()
        _choose(commands, f"vidssl {name}", command.help, arguments)
    else:
        _call(found, f"vidssl {name}", arguments)


def _call(function: Callable[..., Any], prog: str, arguments: Sequence[str]) -> None:
    check_once(function, arguments)
    with giving(arguments):
        tyro.cli(function, prog=prog, args=arguments, config=(tyro.conf.OmitArgPrefixes,), registry=REGISTRY)


def _choose(commands: Mapping[str, Callable[..., Any]], prog: str, description: str, arguments: Sequence[str]) -> None:
    if arguments and arguments[0] in commands:  # errors of its options then speak of this command alone
        _call(commands[arguments[0]], f"{prog} {arguments[0]}", arguments[1:])
        return
    if arguments and not arguments[0].startswith("-"):
        near = get_close_matches(arguments[0], commands, n=3)
        what = f"did you mean {' or '.join(near)}?" if near else f"take one of {', '.join(commands)};"
        raise VidsslError(f"{prog}: {arguments[0]!r}: {what} `{prog} --help` says more of each")
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
    tyro.extras.subcommand_cli_from_dict(
        dict(commands), prog=prog, description=description, args=arguments, config=config, registry=REGISTRY
    )


def _stub(text: str) -> Callable[[], None]:
    """Returns a function with this docstring, so that the list of commands needs no imports."""

    def stub() -> None: ...

    stub.__doc__ = text
    return stub
