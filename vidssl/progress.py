"""Shows how far a long work is: a bar on a terminal, and elsewhere a line when it begins and every ten seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import IO, Any

from tqdm import tqdm

_SECONDS = 10.0


class _Lines(tqdm):  # type: ignore[misc]  # tqdm has no types
    """Plain lines, for a pipe or a file."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        form = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} elapsed"
        super().__init__(*arguments, **settings, mininterval=_SECONDS, maxinterval=_SECONDS, bar_format=form)

    @staticmethod
    def status_printer(file: IO[str]) -> Callable[[str], None]:
        def say(text: str) -> None:
            if text:
                print(text, file=file, flush=True)

        return say

    def moveto(self, n: int) -> None:
        """Lines follow each other: nothing is overwritten."""

    def close(self) -> None:
        """Prints nothing: tqdm would end the line of its bar."""
        self.sp = None  # what tqdm prints with
        super().close()


def progress_bar(*arguments: Any, show: bool, **settings: Any) -> Any:
    """Returns a bar of tqdm, or lines on stderr if that is no terminal.

    Args:
        arguments: As of tqdm.
        show: Show anything.
        settings: As of tqdm.
    """
    kind = tqdm if not show or sys.stderr.isatty() else _Lines
    return kind(*arguments, **settings, disable=not show)
