"""What a pool is: it calls one function for each video of a data set, and hands over what it gives as it comes.

The caller writes the results. So an index, its journal and a store have one writer, wherever the function runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from vidssl.types import VidsslError

Engine = Literal["local", "ray"]
T = TypeVar("T")
# What works on one item. It calls its second argument for each result, and raises VidsslError if the item is to blame.
Job = Callable[[T, Callable[[Any], None]], None]


class LostError(VidsslError):
    """A job died with its process, each time that it was tried.

    Attributes:
        reason: The message without the path.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Part(Generic[T]):
    """What a job gave since its last part.

    Attributes:
        item: What it works on.
        results: What it gave, in order.
        error: Why it failed, if it did.
        ended: False if more parts of it follow.
    """

    item: T
    results: list[Any] = field(default_factory=list)
    error: VidsslError | None = None
    ended: bool = True


class Run(Protocol[T]):
    """Jobs that a pool works on."""

    def parts(self, *, most: int = 1, seconds: float = 1.0) -> Iterator[list[Part[T]]]:
        """Yield parts as they come: those of the next `seconds`, but at most `most`, in one list.

        Raises whatever a job raised that is no VidsslError.
        """
        ...

    def rest(self) -> list[Part[T]]:
        """Return the parts that have come and that `parts` did not yield, without waiting. For use after Ctrl-C."""
        ...


class Pool(Protocol):
    """Runs jobs.

    Attributes:
        apart: True if its jobs share no memory with this process: what they take and give is pickled.
    """

    apart: bool

    def check_seen(self, folder: Path) -> None:
        """Raise VidsslError if a machine on which jobs may run does not see a folder of this one."""
        ...

    def start(
        self,
        job: Job[T],
        items: Iterable[T],
        *,
        name: str,
        file: Callable[[T], Path],
        workers: int | None = None,
        ordered: bool = False,
    ) -> AbstractContextManager[Run[T]]:
        """Start a job for each item. If the block raises, the jobs that run are given up.

        Args:
            job: The function.
            items: What it is called for.
            name: Of the work.
            file: Returns the file that the job of an item reads.
            workers: Jobs at a time. None takes as many as the pool has.
            ordered: Yield what jobs give as they give it, in the order of the items. Otherwise a job is handed over in
                one part, when it has ended. Threads always do the latter.
        """
        ...
