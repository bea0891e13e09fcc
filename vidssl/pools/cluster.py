"""ray: jobs run as tasks of a Ray cluster, one for each video.

A task that dies with its process or node is started again elsewhere. This process knows only the tasks that run or wait
to run next, so its memory does not grow with the number of videos.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Generic

from vidssl.deadline import FileTimeoutError
from vidssl.paths import printable
from vidssl.pools.base import Job, LostError, Part, Run, T
from vidssl.pools.node import compared, run, seen, unreadable
from vidssl.remote import RemotePath
from vidssl.types import VidsslError
from vidssl.versions import versions

log = logging.getLogger(__name__)

_ADDRESS = "RAY_ADDRESS"
_PORTS = 65535
_REACHED = 10.0  # seconds in which the head of a cluster must answer
_FREE, _TOLD = 60.0, 3.0  # seconds in which a core must become free, and after which this is said
_PREFACE, _SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"  # how HTTP/2 begins (RFC 9113, 3.4)
_TRIES = 5  # times that a task is started again after its process or node died
_AHEAD, _FEWEST = 2, 8  # tasks that are started for each core, and at least
_REFRESHED = 10.0  # seconds after which cores are counted again, as nodes come and go
_WAITED = 1.0  # seconds after which Ctrl-C is noticed
_SILENT = 60.0  # seconds without anything of the task that is read, after which it is started a second time
_UNSEEN = "does not see {}; mount its folder there under the same path"
_UNREAD = 2  # results of a task that wait for this process; then the task waits


class RayPool:
    """A Pool of the nodes of a Ray cluster: the one that RAY_ADDRESS names, or else the one of this machine.

    A context manager. If no Ray runs on this machine, one is started, and ends with the context.

    Args:
        where: What it works for; error messages begin with it.
        workers: Videos at a time in the whole cluster. None takes one for each core.
        cpus: Cores that a video takes.
        memory: Bytes that a video takes, for Ray to choose the node. None: any node.

    Raises:
        VidsslError: Ray is not installed, the cluster does not answer or runs other versions, or none of its cores
            becomes free within a minute.
    """

    apart = True

    def __init__(self, where: str, workers: int | None, *, cpus: float = 1, memory: int | None = None) -> None:
        self._where, self._workers, self._cpus, self._memory = f"{where}: engine='ray':", workers, cpus, memory

    def __enter__(self) -> RayPool:
        self._ray = _import(self._where)
        self._ours = not self._ray.is_initialized()
        if self._ours:
            _connect(self._ray, self._where)
        try:
            self._await_core()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self._ray.shutdown()  # also ends the tasks that still run

    def check_seen(self, folder: Path) -> None:
        """Implements `Pool.check_seen`: asks each node once, without a core."""
        on = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        places = [on(node["NodeID"], soft=False) for node in self._ray.nodes() if node["Alive"]]
        task = self._ray.remote(num_cpus=0)(seen)
        for asked in [task.options(scheduling_strategy=place).remote(folder) for place in places]:
            try:
                node, why = self._ray.get(asked)
            except self._ray.exceptions.RayError:  # it died meanwhile, or lacks vidssl, which the first job will say
                continue
            if why:
                raise VidsslError(f"{self._where} node {node} {_UNSEEN.format(printable(folder))}")

    def _await_core(self) -> None:
        """Waits until a core is free. Raises VidsslError after `_FREE` seconds."""
        began, told = time.monotonic(), False
        while self._ray.available_resources().get("CPU", 0) < self._cpus:
            address = self._ray.get_runtime_context().gcs_address
            count = f"{self._ray.cluster_resources().get('CPU', 0):g} cores of the cluster at {address}"
            if time.monotonic() - began > _FREE:
                raise VidsslError(
                    f"{self._where} none of the {count} is free; wait for what uses them (`ray status` shows it), or "
                    f"add a node (`ray start --address {address}`)"
                )
            if not told and time.monotonic() - began > _TOLD:
                log.info("%s waits up to %.0f seconds for one of the %s", self._where, _FREE, count)
                told = True
            time.sleep(_WAITED)

    @contextmanager
    def start(
        self,
        job: Job[T],
        items: Iterable[T],
        *,
        name: str,
        file: Callable[[T], Path],
        workers: int | None = None,
        ordered: bool = False,
    ) -> Iterator[Run[T]]:
        """Implements `Pool.start`."""
        task = partial(
            self._ray.remote(run).options,
            name=name,
            num_returns="streaming",
            memory=self._memory,
            max_retries=_TRIES,
            _generator_backpressure_num_objects=_UNREAD,
        )
        kinds = task(num_cpus=self._cpus), task(num_cpus=0)
        tasks = _Tasks(self._ray, self._where, kinds, job, iter(items), file, workers or self._workers, ordered)
        try:
            yield tasks
        finally:
            tasks.cancel()


def _import(where: str) -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise VidsslError(f"{where} Ray is not installed here; pip install 'vidssl[ray]'") from error
    module: ModuleType = ray
    return module


def _connect(ray: ModuleType, where: str) -> None:
    address = os.environ.get(_ADDRESS, "").strip() or None
    if address is not None:
        where = f"{where} {_ADDRESS}={address!r}:"
        _check_reached(address, where)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a Ray that is started here
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        fix = (
            "look whether the head of the cluster runs (`ray status`), and name it as HOST:PORT; if it wants a token, "
            "which Ray keeps in ~/.ray/auth_token, set RAY_AUTH_MODE=token"
        )
        if "ersion mismatch" in reason:
            mine = versions()
            fix = f"install Ray {ray.__version__} and Python {mine['python']} there, or here what the cluster has"
        raise VidsslError(f"{where} {reason}; {fix}") from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray takes it, and would end the process without a word


def _check_reached(address: str, where: str) -> None:
    """Raises VidsslError if no head of a cluster listens at an address: Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    if "://" in address:
        raise VidsslError(
            f"{where} take the head of the cluster itself, as HOST:PORT (`ray start --head` prints it), and call this "
            "on a machine of the cluster"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _PORTS:
        raise VidsslError(f"{where} name the head of the cluster as HOST:PORT, such as 10.0.0.1:6379")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _REACHED) as connection:
            other = not _encrypted() and not _greets(connection)
    except OSError as error:
        raise VidsslError(
            f"{where} it does not answer ({error}); start its head with `ray start --head`, or name the one that runs"
        ) from error
    if other:
        raise VidsslError(
            f"{where} another program listens there, not the head of a cluster; take the port that "
            "`ray start --head` prints, such as 6379"
        )


def _greets(connection: socket.socket) -> bool:
    """True if the other side speaks HTTP/2, as the head of a cluster does. Raises OSError if it says nothing."""
    connection.sendall(_PREFACE + _SETTINGS)
    with connection.makefile("rb") as answers:
        return answers.read(len(_SETTINGS))[3:4] == _SETTINGS[3:4]  # the kind of the first frame


def _encrypted() -> bool:
    """True if Ray uses TLS: then only Ray can ask."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


@dataclass
class _Second:
    """The second start of a task.

    Attributes:
        tasks: The task, if it was started.
        behind: How much it gives that has been read.
    """

    tasks: list[Any] = field(default_factory=list)
    behind: int = 0


class _Tasks(Generic[T]):
    """The tasks of one `RayPool.start`. A task is a generator of Ray: an iterator of references to what it yields."""

    def __init__(
        self,
        ray: ModuleType,
        where: str,
        kinds: tuple[Any, Any],
        job: Job[T],
        items: Iterator[T],
        file: Callable[[T], Path],
        workers: int | None,
        ordered: bool,
    ) -> None:
        self._ray, self._where, self._job, self._items = ray, where, job, items
        self._task, self._coreless = kinds
        self._file, self._workers, self._ordered = file, workers, ordered
        self._sent = ray.put(job)  # once, not with each task
        self._active: dict[Any, T] = {}  # by task, in the order of the items
        self._given: dict[Any, list[Any]] = {}  # by task: what it gave until now, if it is handed over in one part
        self._most, self._counted = 0, -_REFRESHED
        # In order, only the first task is read: how much of it, and when last; and its second start, if it has one.
        self._read, self._heard, self._second = 0, time.monotonic(), _Second()

    def parts(self, *, most: int = 1, seconds: float = 1.0) -> Iterator[list[Part[T]]]:
        found: list[Part[T]] = []
        until = 0.0
        while self._submit() or found:
            left = until - time.monotonic() if found else _WAITED
            if len(found) >= most or left <= 0 or not self._active:
                yield found
                found = []
                continue
            for part in self._ready(left):
                until = until if found else time.monotonic() + seconds
                found.append(part)

    def rest(self) -> list[Part[T]]:
        found: list[Part[T]] = []
        while self._active and (parts := self._ready(0)):
            found += parts
        return found

    def cancel(self) -> None:
        """Ends the tasks that run or wait."""
        for task in [*self._active, *self._second.tasks]:
            self._ray.cancel(task)
        self._active.clear()

    def _submit(self) -> bool:
        """Starts tasks, a few more than can run. Returns False if none is left."""
        if time.monotonic() - self._counted > _REFRESHED:
            self._counted = time.monotonic()
            self._most = self._workers or max(_FEWEST, _AHEAD * int(self._ray.cluster_resources().get("CPU", 0)))
        while len(self._active) < self._most:
            try:
                item = next(self._items)
            except StopIteration:
                break
            self._active[self._started(self._task, item)] = item
        return bool(self._active)

    def _started(self, kind: Any, item: T) -> Any:
        return kind.remote(compared(), self._sent, item, self._file(item))

    def _ready(self, seconds: float) -> list[Part[T]]:
        """The parts that one task has ready within some seconds."""
        tasks = [*self._first(), *self._second.tasks] if self._ordered else list(self._active)
        ready, _ = self._ray.wait(tasks, num_returns=1, timeout=seconds)
        if self._ordered:
            ready = self._chosen(ready)
        return [part for task in ready if (part := self._next(task)) is not None]

    def _first(self) -> list[Any]:
        return list(self._active)[:1]

    def _chosen(self, ready: list[Any]) -> list[Any]:
        """Which of the two starts of the first task is read from now on, if one is ready.

        A task that is started again after its node died needs a core. The tasks behind it may hold all cores, and wait
        until they are read, which is after it. So after some silence it is started a second time, without a core.
        """
        [first] = self._first()
        if not ready and not self._second.tasks and time.monotonic() - self._heard > _SILENT:
            self._second = _Second([self._started(self._coreless, self._active[first])], self._read)
        if ready and ready[0] in self._second.tasks:
            if self._second.behind:  # it gives once more what has been read
                self._second.behind -= 1
                try:
                    self._ray.get(next(ready[0]))
                except self._ray.exceptions.RayError:  # its node died too
                    self._second = _Second()
                return []
            self._ray.cancel(first)
            self._active = {ready[0] if task is first else task: item for task, item in self._active.items()}
        elif ready:
            for task in self._second.tasks:
                self._ray.cancel(task)
        if ready:
            self._read, self._heard, self._second = self._read + 1, time.monotonic(), _Second()
        return ready

    def _next(self, task: Any) -> Part[T] | None:
        """What a task gave next; None if it is handed over only when it ends."""
        try:
            kind, value = self._ray.get(next(task))
        except StopIteration:
            return self._end(task)
        except self._ray.exceptions.RayError as error:
            return self._end(task, self._why(task, error))
        if kind == "result":
            if self._ordered:
                return Part(self._active[task], [value], ended=False)
            self._given.setdefault(task, []).append(value)
            return None
        if kind == "differs":
            raise VidsslError(f"{self._where} {value}; install the same versions on all nodes")
        if kind == "unseen":
            return self._without_node(task, *value)
        return self._end(task, FileTimeoutError(*value) if kind == "late" else VidsslError(value))

    def _end(self, task: Any, error: VidsslError | None = None) -> Part[T]:
        given = self._given.pop(task, [])
        self._read = 0
        return Part(self._active.pop(task), [] if error is not None else given, error)

    def _without_node(self, task: Any, node: str, why: str) -> Part[T]:
        """Calls the job of a task here, for a file that a node cannot read: has it been deleted, or is it refused?"""
        file = self._file(self._active[task])
        if not unreadable(file):
            fix = f"cannot read {printable(file)}: {why}; it is the node that needs it, where `ray start` is called"
            if not isinstance(file, RemotePath):
                fix = _UNSEEN.format(printable(file))
            raise VidsslError(f"{self._where} node {node} {fix}")
        try:
            self._job(self._active[task], self._given.setdefault(task, []).append)
        except VidsslError as error:
            return self._end(task, error)
        return self._end(task)

    def _why(self, task: Any, error: Exception) -> VidsslError:
        """The error of a task that died. Raises what its job raised, and an error if a node cannot run it at all."""
        errors = self._ray.exceptions
        cause = getattr(error, "cause", None)
        if "failed to import" in str(error) or isinstance(cause, ImportError) or "No module named" in str(error):
            last = str(error).strip().splitlines()[-1]
            raise VidsslError(
                f"{self._where} a node cannot load vidssl ({last}); pip install 'vidssl[ray]=={versions()['vidssl']}' "
                "there"
            ) from error
        if isinstance(error, errors.RayTaskError):
            raise cause if isinstance(cause, Exception) else error
        file = self._file(self._active[task])
        what = "ran out of memory" if isinstance(error, errors.OutOfMemoryError) else "died"
        return LostError(printable(file), f"its process {what} on each of {_TRIES + 1} tries ({type(error).__name__})")
