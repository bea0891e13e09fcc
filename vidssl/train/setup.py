"""The set-up that training and fine-tuning share: one definition of each of its parts.

    hold_run ─► open_run ─► Task ─► fit: seed ─► model ─► first weights ─► split ─► precision ─► check_resumable
                             ─► decoder ─► loaders ─► Trainer

| part | where |
|---|---|
| one writer in a run's folder | hold_run (hold.py) |
| a run's folder, and the checkpoint to resume from | open_run |
| what a resumed run must share with its checkpoint | fixed_settings; CHANGEABLE, check_resumable (recorded.py) |
| the settings of the loaders, and the decoder that "auto" chose, kept on resume | _loaders |
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vidssl.cpus import cpus
from vidssl.encoders import notes
from vidssl.index.table import VideoIndex
from vidssl.kernels.joint import Spec
from vidssl.loader import Loader
from vidssl.lock import LOCK
from vidssl.models import Encoder
from vidssl.paths import atomic_write, output_path, printable
from vidssl.pretext import Objective, SlotModel, chances
from vidssl.train import checkpoint, loggers
from vidssl.train.alike import need_alike
from vidssl.train.bf16 import trains_in_bf16
from vidssl.train.compute import count, loads_on, pick_amp, torch_threads
from vidssl.train.config import Recipe, flat
from vidssl.train.data_sets import describe, shares
from vidssl.train.distributed import ProcessGroup
from vidssl.train.heldout import HeldOut
from vidssl.train.init import Transfer
from vidssl.train.log import POINTS, PROJECTOR, TIMED, Log, events_folder, logdir
from vidssl.train.optimizer import rates
from vidssl.train.recorded import TRAIN, CommandText, check_resumable, free_settings
from vidssl.train.schedule import Schedule
from vidssl.train.step import Stepper
from vidssl.train.trainer import Trainer, TrainResult
from vidssl.types import VidsslError
from vidssl.versions import versions

log = logging.getLogger(__name__)

# What a run may have in its folder before its first checkpoint: indexes, of one data set or each of several, and parts
# of them; its description, its lock, and its logs, also those of services. A new run may begin over these.
_BEFORE_CHECKPOINT = re.compile(
    r"index(_[0-9a-f]{16})?\.arrow|\.index(_[0-9a-f]{16})?\.arrow\.partial|run\.json|metrics\.jsonl|"
    r"(nonfinite|quarantine)(_rank\d+)?\.jsonl|events\.out\.tfevents\..*|"
    rf"{re.escape(PROJECTOR)}|{loggers.FILES}|{re.escape(LOCK)}"
)
# Folders likewise, with what may be in them: of a checkpoint that was being written, the projector's, and of a service.
_FOLDERS = {"checkpoints": r"\.step_.*", r"\d{5,}": POINTS, loggers.FOLDER: ".*"}
_ANOTHER = ("nonfinite.jsonl", "quarantine.jsonl", PROJECTOR, loggers.IDS)  # a run that begins anew keeps none of these


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a run learns, and by which recipe.

    Args:
        recipe: Its settings; a resumed run must share them, except those in CHANGEABLE.
        plan: What the loader shows.
        build: Makes the model; torch's random numbers have been seeded.
        init: Gives the encoder of a new model its first weights; None leaves it as it is.
        objectives: What the model tells apart, in each of its tasks.
        fixed: Settings beside the recipe that a resumed run must share.
        meta: What run.json and meta.json hold beside the recipe.
        loader: Makes a loader, with the arguments of Loader.
        command: How errors speak of it.
        head_alone: The head may be trained on an encoder without a weight to train. If not, that is an error.
    """

    recipe: Recipe
    plan: Spec
    build: Callable[[], SlotModel]
    objectives: Sequence[Objective]
    init: Callable[[Encoder], Transfer] | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    loader: Callable[..., Loader] = Loader
    command: CommandText = TRAIN
    head_alone: bool = False


def open_run(
    out: Path,
    *,
    resume: bool,
    process_group: ProcessGroup | None = None,
    quiet: bool = False,
    command: CommandText = TRAIN,
) -> Path | None:
    """Opens a run's folder. Every process gets what rank 0 finds.

    Args:
        out: The folder. Without `resume` it must be new or empty, or have a run that made no checkpoint, over which the
            new one begins.
        resume: Continue the run in it. A run that torchrun restarts is always continued.
        process_group: The processes that train; None is this one alone.
        quiet: Do not warn of damaged checkpoints.
        command: How errors speak of it.

    Returns:
        The checkpoint to start from; None if the run starts at step 0.

    Raises:
        VidsslError: The folder is in use, cannot be written, or has no run to resume.
    """
    process_group = process_group or ProcessGroup(device=torch.device("cpu"))
    restarted = process_group.restarts > 0 and (out / "run.json").is_file()
    found, damaged = process_group.run_on_first(lambda: _open_run(out, resume=resume or restarted, command=command))
    if not quiet and process_group.is_first:
        instead = (
            f"the run continues from {found.name}" if found else "no other checkpoint is there, so the run begins anew"
        )
        for path in damaged:
            log.warning("%s is damaged and not used; %s", path, instead)
    return found


def _open_run(out: Path, *, resume: bool, command: CommandText) -> tuple[Path | None, list[Path]]:
    name, folder, hint = command
    output_path(out, "checkpoints")  # raises before videos are read, and not only at the first checkpoint
    events_folder(out)
    if resume:
        found, damaged = checkpoint.latest(out)
        if found is None and not (out / "run.json").is_file():  # else it ended before its first checkpoint
            raise VidsslError(
                f"{name}: resume: {folder}{str(out)!r} has no run in it; "
                "leave --resume out, or name the folder of a run"
            )
        return found, damaged
    try:
        if out.is_dir() and (others := [path.name for path in out.iterdir() if not _begins_over(path)]):
            has = checkpoint.latest(out)[0] is not None
            what = (
                "--resume continues the run in it"
                if has
                else f"{sorted(others)[0]!r} is in it, and no whole checkpoint"
            )
            raise VidsslError(f"{name}: {folder}{str(out)!r}: not empty; {what}{', or' if has else ';'} {hint}")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VidsslError(
            f"{name}: {folder}{str(out)!r}: {error.strerror or error}; name a folder that can be written"
        ) from error
    return None, []


def _begins_over(path: Path) -> bool:
    """Whether a new run may begin in a folder that has this in it."""
    if path.is_dir() and not path.is_symlink():
        inside = next((within for name, within in _FOLDERS.items() if re.fullmatch(name, path.name)), None)
        return inside is not None and all(re.fullmatch(inside, one.name) for one in path.iterdir())
    return bool(_BEFORE_CHECKPOINT.fullmatch(path.name))


def fit(
    task: Task, index: VideoIndex, out: Path, *, start: Path | None, process_group: ProcessGroup, quiet: bool = False
) -> TrainResult:
    """Sets a run up, and trains it to its end.

    Args:
        task: What to learn.
        index: All videos; some of them are held out, as the recipe says.
        out: The run's folder.
        start: The checkpoint to resume from, as open_run returns it.
        process_group: The processes that train.
        quiet: Print nothing.

    Returns:
        Where the run ended.

    Raises:
        VidsslError: Something cannot be trained, or not be resumed with these settings.
        Stopped: Ctrl-C, SIGTERM or SIGUSR1; a checkpoint has been written.
    """
    try:
        return _fit(task, index, out, start, process_group, quiet)
    except OSError as error:
        name, folder, _ = task.command
        raise VidsslError(
            f"{name}: {folder}{str(out)!r}: {error}; repair this, and the same command with --resume continues "
            "from the latest checkpoint"
        ) from error


def _fit(
    task: Task, index: VideoIndex, out: Path, start: Path | None, process_group: ProcessGroup, quiet: bool
) -> TrainResult:
    with ExitStack() as stack:
        trainer, lines = _set_up(task, index, out, start, process_group, stack)
        book = stack.enter_context(
            Log(
                out,
                step=trainer.step,
                total=trainer.total,
                classes=[title for one in task.objectives for title in one.titles()],
                chance=chances(task.objectives),
                quiet=quiet,
                mute=not process_group.is_first,
                services=task.recipe.train.log,
            )
        )
        for line in lines:
            book.say(line)
        book.text("run", "\n".join(lines))
        try:
            result = trainer.fit(book)
        except BaseException:
            with suppress(OSError):  # the disk, which the error names, may be full
                _log_settings(book, task, trainer)
            raise
        _log_settings(book, task, trainer)
        return result


def _log_settings(book: Log, task: Task, trainer: Trainer) -> None:
    settings = flat({**task.recipe.as_dict(), **task.fixed})
    book.settings(settings, {name: value for name, value in trainer.metrics.items() if name not in TIMED})


def _set_up(
    task: Task, index: VideoIndex, out: Path, start: Path | None, process_group: ProcessGroup, stack: ExitStack
) -> tuple[Trainer, list[str]]:
    """Returns the trainer, at the step where it starts, and what to print about it."""
    config = task.recipe.train
    config.local_batch_size(process_group.world_size)  # raises before anything is loaded
    torch.manual_seed(config.seed)
    need_alike({**task.recipe.as_dict(), **task.fixed}, index, process_group)
    model = task.build()
    frozen = _frozen(task, model)
    begun = _begin(task, model, process_group) if start is None else None
    train_part, held_out = config.split(index, task.plan.frames)
    amp = _trains_in_bf16(task, model, process_group)
    meta = {**_meta(task, index, amp=amp), "init": begun._asdict() if begun else None}
    if start is not None:
        process_group.run_on_first(partial(check_resumable, start, meta, out, task.command))
        meta["init"] = process_group.run_on_first(partial(checkpoint.load_meta, start)).get("init")
    else:
        for name in _ANOTHER:
            process_group.own_file(out / name).unlink(missing_ok=True)
    threads = stack.enter_context(torch_threads(config.threads, processes=process_group.local_world_size))
    loader, val_loader = _loaders(task, train_part, held_out, out, start, process_group, meta, stack)
    if process_group.is_first:  # a resumed run may end at another step
        with atomic_write(out / "run.json") as aside:
            aside.write_text(json.dumps(meta, indent=1) + "\n")
    total = config.steps if config.steps is not None else config.epochs * len(loader)
    schedule = Schedule(config, total=total, epoch=len(loader))
    stepper = Stepper(model.to(process_group.device), config, process_group, amp=amp, schedule=schedule)
    augment = task.recipe.pretext.augment
    watched = HeldOut(stepper, val_loader, held_out, augment, objectives=task.objectives)
    trainer = Trainer(stepper, loader, watched, train_part, out, meta, objectives=task.objectives, augment=augment)
    if start is not None:
        trainer.load(start)
    others = f" x {process_group.world_size} processes" if process_group.world_size > 1 else ""
    where = (
        f"device {process_group.device}{others}, amp {meta['amp']}, {threads} CPU thread(s), loader on {loader.device}"
        + (f", frames kept in {loader.stored_in}" if loader.stored_in else "")
    )
    return trainer, [
        where,
        *(begun.lines() if begun else ()),
        *frozen,
        *notes(model.encoder, augment.mean, augment.std),
        *rates(stepper.optimizer, config),
        *_summary(trainer, index, held_out, task.plan.frames),
    ]


def _frozen(task: Task, model: SlotModel) -> list[str]:
    """What to print about weights of the encoder that are not trained.

    Raises:
        VidsslError: None is trained, and the task is to train the encoder.
    """
    total, trained = count(model.encoder), count(model.encoder, trained=True)
    if trained == total > 0:
        return []
    if trained:
        return [f"{trained:,} of the encoder's {total:,} parameters are trained; the others are frozen"]
    what = f"all {total:,} parameters of the encoder are frozen" if total else "the encoder has no parameters"
    if not task.head_alone:
        raise VidsslError(
            f"{task.command.name}: encoder={task.recipe.encoder!r}: {what}, so it would learn nothing; give it "
            "parameters whose requires_grad is True"
        )
    return [f"warning: {what}: only the head is trained"]


def _begin(task: Task, model: SlotModel, process_group: ProcessGroup) -> Transfer | None:
    """Gives the encoder of a new run its first weights, and returns which.

    Only rank 0 reads them. The other processes get them with all that its model has, when the stepper joins them.
    """
    if task.init is None:
        return None
    return process_group.run_on_first(partial(task.init, model.encoder))


def _trains_in_bf16(task: Task, model: SlotModel, process_group: ProcessGroup) -> bool:
    """Whether the run computes in bfloat16: if the config asks for it, and rank 0 finds its convolutions right."""
    config = task.recipe.train
    if not pick_amp(config.amp, process_group.device, count(model)):
        return False
    slots = 1 if config.slotwise_bn and config.norm == "batch" else task.plan.slots  # that the encoder sees in one call
    clips = config.local_batch_size(process_group.world_size) // config.accumulate * slots
    size, device = task.recipe.pretext.input, process_group.device
    must = config.amp == "bf16"
    return process_group.run_on_first(partial(trains_in_bf16, model.encoder, size, device, clips=clips, must=must))


def _loaders(
    task: Task,
    train_part: VideoIndex,
    held_out: VideoIndex,
    out: Path,
    start: Path | None,
    process_group: ProcessGroup,
    meta: dict[str, Any],
    stack: ExitStack,
) -> tuple[Loader, Loader | None]:
    """Returns the loaders of the training and the held-out videos, and adds the decoder to `meta`.

    The last processes may have no held-out videos. What decode="auto" chose in rank 0 holds for all processes, and for
    every resumption: the colours of the decoders differ a little.
    """
    config, rank, world_size = task.recipe.train, process_group.rank, process_group.world_size
    batch_size = config.local_batch_size(world_size)
    make = partial(
        task.loader,
        rank=rank,
        world_size=world_size,
        device=loads_on(process_group.device),
        seed=config.seed,
        workers=config.workers or max(1, cpus() // process_group.local_world_size),
        dtype="bfloat16" if meta["amp"] == "bf16" else "float32",
        channels_last=True,
        max_corrupt=config.max_corrupt,
        file_timeout=config.file_timeout,
        quarantine=process_group.own_file(out / "quarantine.jsonl"),
    )
    make_train = partial(make, train_part, task.plan, batch_size=batch_size, tuples_per_window=config.tuples_per_window)
    decode: Any = checkpoint.load_meta(start, "decode")["decode"] if start and process_group.is_first else config.decode
    loader = stack.enter_context(make_train(decode=decode)) if process_group.is_first else None
    meta["decode"] = decode = process_group.broadcast(loader.decode if loader is not None else decode)
    if loader is None:
        loader = stack.enter_context(make_train(decode=decode))
    val_batch = min(batch_size, -(-len(held_out) // world_size))
    if len(held_out) <= rank * val_batch:
        return loader, None
    return loader, stack.enter_context(make(held_out, task.plan, batch_size=val_batch, train=False, decode=decode))


def _meta(task: Task, index: VideoIndex, *, amp: bool) -> dict[str, Any]:
    return {
        "recipe": task.recipe.as_dict(),
        "fixed": fixed_settings(task),
        **describe(index),
        "amp": "bf16" if amp else "off",
        "seed": task.recipe.train.seed,
        "chance": chances(task.objectives),
        "versions": versions(),
        **task.meta,
    }


def fixed_settings(task: Task) -> dict[str, Any]:
    """Returns the settings that a resumed run must share with its checkpoint, flat: "train.lr" -> 0.001."""
    free = free_settings(task.recipe.train.schedule)
    settings = {**task.recipe.as_dict(), "code": None, **task.fixed}  # files with code may move
    return {name: value for name, value in flat(settings).items() if name not in free}


def _summary(trainer: Trainer, index: VideoIndex, held_out: VideoIndex, frames: int) -> list[str]:
    skipped = index.skipped(frames)
    at = f"at step {trainer.step} of {trainer.total}"
    if trainer.step > trainer.total:
        at = f"at step {trainer.step}, past the end of the run at step {trainer.total}"
    return [
        f"{count(trainer.model):,} parameters, seed {trainer.config.seed}",
        f"{len(trainer.index.usable(frames))} videos to train on, {len(held_out)} held out, {len(skipped)} skipped",
        *map(printable, shares(trainer.loader)),
        *(f"  skipped: {printable(path)}: {printable(reason)}" for path, reason in skipped[:10]),
        *([f"  and {len(skipped) - 10} more"] if len(skipped) > 10 else []),
        f"{at}; {len(trainer.loader)} steps in an epoch; tensorboard --logdir {logdir(trainer.out)}",
    ]
