"""What a run's record says of it: recipe, settings and videos. A command that goes on with a run takes them from it.

What the command gives itself is compared with them: only the settings of CHANGEABLE may differ.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from vidssl.kernels.augment import Augment
from vidssl.pretext import JOINED_BY, import_pretexts
from vidssl.remote import as_path
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig, flat, recipe_from
from vidssl.train.data_sets import DataSet, describe_sets
from vidssl.types import VidsslError

# Settings of TrainConfig that may change when a run is resumed. Only `threads` can change bits: the order of sums.
CHANGEABLE = (
    *("epochs", "steps", "workers", "threads", "max_corrupt", "timeout", "file_timeout", "nonfinite"),
    *("log", "log_every", "show_every", "val_every", "watch", "save_every", "keep"),
)
_LENGTH = ("epochs", "steps")  # not free under a cosine schedule: the learning rate depends on the last step
# Settings that were added later: their defaults train as the versions without them did.
_DEFAULTS = flat({"train": asdict(TrainConfig()), "pretext": {"augment": asdict(Augment())}})
# Options of the command line that are no setting of their own, and the settings that they decide.
_DECIDES = {"pretext": "method", "task_weights": "pretext.weights"}


class CommandText(NamedTuple):
    """How errors speak of a command: its name, what precedes the path of the run's folder, and how to get another."""

    name: str
    folder: str
    hint: str


TRAIN = CommandText("train", "out=", "take another out")


def free_settings(schedule: str | None) -> list[str]:
    """Returns the settings that may change under a schedule of the learning rate, such as "train.steps"."""
    fixed = _LENGTH if schedule == "cosine" else ()
    return [f"train.{name}" for name in CHANGEABLE if name not in fixed]


def _why_fixed(differ: Collection[str]) -> str:
    """Why a run cannot go on with another length, if that differs; only under a cosine schedule is it among them."""
    if not any(f"train.{name}" in differ for name in _LENGTH):
        return ""
    return (
        ". The run's schedule=cosine lowers the learning rate to its end at the last step, so every step depends on "
        "that number and it stays as it was; a run with schedule=constant or step may go on to another step"
    )


def check_resumable(start: Path, meta: Mapping[str, Any], out: Path, command: CommandText = TRAIN) -> None:
    """Refuses to resume a run with other settings, other videos or another precision.

    Args:
        start: The checkpoint to resume from.
        meta: What the resumed run would write: fixed, data, videos and amp are compared.
        out: The run's folder.
        command: How errors speak of it.

    Raises:
        VidsslError: Something differs; the message names each difference.
    """
    old = checkpoint.load_meta(start, "fixed", "videos", "data", "amp")
    videos, videos_now = map(describe_sets, (old, meta))
    if len(videos) == len(videos_now):
        videos_now = dict(zip(videos, videos_now.values(), strict=True))  # sets that moved may have other names
    before = {**_DEFAULTS, **old["fixed"], **videos, "amp": old["amp"]}  # defaults: settings that it did not have yet
    now = {**meta["fixed"], **videos_now, "amp": meta["amp"]}
    keys = [key for key in sorted(old["fixed"] | videos | now) if before.get(key) != now.get(key)]
    if keys:
        differ = [f"{key}: {before.get(key)!r} then, {now.get(key)!r} now" for key in keys]
        hint = f"restore them, or {command.hint}"
        if videos != videos_now and (out / "index.arrow").is_file():
            hint += f" (--data {out / 'index.arrow'} lists the videos as they were)"
        raise VidsslError(
            f"{command.name}: resume: {start} was made with other settings; {hint}: "
            + "; ".join(differ)
            + _why_fixed(keys)
        )


def read_record(out: Path) -> dict[str, Any]:
    """Reads what a run says of itself: run.json, or the latest checkpoint's meta.json if that cannot be read.

    Raises:
        VidsslError: Neither can be read.
    """
    try:
        return checkpoint.read_description(out / "run.json", "recipe")
    except (OSError, ValueError):
        return checkpoint.load_meta(checkpoint.find(out), "recipe")


def about(name: str, data: Sequence[DataSet]) -> dict[str, Any]:
    """Returns what a run records beside its recipe: the recipe's name, and where its videos are."""
    if len(data) == 1:
        return {"recipe_name": name, "source": str(data[0].path.absolute())}
    return {"recipe_name": name, "sources": {str(one.path.absolute()): one.weight for one in data}}


def settings_of(
    record: Mapping[str, Any],
    asked: Recipe,
    name: str,
    given: Collection[str],
    *,
    where: str,
    fix: str,
    trust_code: bool = False,
) -> Recipe:
    """Returns the recipe of a run, with those of the given settings that may change (CHANGEABLE).

    Args:
        record: The run's record.
        asked: The recipe that the command line gives.
        name: The name of its recipe.
        given: Names of the options that are given. All other settings are the run's.
        where: Beginning of an error: the command, the argument and its value.
        fix: What to do instead of leaving an option out.
        trust_code: Import the code that the run names. Code that is given is trusted.

    Raises:
        VidsslError: A given setting contradicts the run's, or the run names code that is not trusted.
    """
    _check_recipe(record, asked, name, given, where, fix)
    decided = {_DECIDES[option] for option in given if option in _DECIDES}
    free = free_settings(record["recipe"]["train"].get("schedule"))
    changed = changes(record["recipe"], asked.as_dict(), given, free=free, decided=decided, where=where, fix=fix)
    recipe = {
        **record["recipe"],
        "train": {**record["recipe"]["train"], **{_last(key): value for key, value in changed.items()}},
    }
    import_pretexts(recipe.get("code", {}), trust_code=trust_code)  # those that are given are known already
    trusted = trust_code or "encoder" in given
    return recipe_from(recipe, where=where, versions=record.get("versions"), trust_code=trusted)


def changes(
    then: dict[str, Any],
    now: dict[str, Any],
    given: Collection[str],
    *,
    free: Collection[str],
    where: str,
    fix: str,
    decided: Collection[str] = (),
) -> dict[str, Any]:
    """Returns those of the given settings that may change, such as {"train.steps": 40}.

    Args:
        then: All settings of the run, as JSON holds them; they may be nested.
        now: All settings as the command line gives them, in the same form.
        given: Names of the options that are given.
        free: Settings that may change.
        where: Beginning of an error: the command, the argument and its value.
        fix: What to do instead of leaving an option out.
        decided: Settings beside those of these names that the options decide.

    Raises:
        VidsslError: A given setting contradicts the run's, and may not change.
    """
    then, now = (flat(json.loads(json.dumps(one))) for one in (then, now))
    keys = [key for key in now if key in decided or _last(key) in given]
    differ = [
        f"{key}: {' or '.join(map(repr, values)) or 'none'} in the run, {now[key]!r} here"
        for key in keys
        if key not in free and now[key] not in (values := _values(then, key))
    ]
    if differ:
        them = "it" if len(differ) == 1 else "them"
        may = ", ".join(map(_last, free))
        why = _why_fixed([line.partition(":")[0] for line in differ])
        raise VidsslError(f"{where}: {'; '.join(differ)}{why}; leave {them} out, or {fix} (only {may} may change)")
    changed = {key: now[key] for key in keys if key in free}
    if "train.epochs" in changed:
        changed.setdefault("train.steps", None)  # which would hold instead of the epochs
    return changed


def videos_of(record: Mapping[str, Any], run: Path, *, where: str) -> tuple[DataSet, ...]:
    """Returns the folder, list or index of the videos that a run was trained on; several if it mixed data sets.

    Args:
        record: The run's record.
        run: The run's folder, whose index is taken if the record does not name the videos.
        where: Beginning of an error: the command.

    Raises:
        VidsslError: It is not there any more, or not known.
    """
    index, source = run / "index.arrow", record.get("source")
    sources = record.get("sources") or ({} if source is None else {source: 1.0})
    if not sources and index.is_file():
        return (DataSet(index),)
    if not sources:
        raise VidsslError(f"{where}: data: {str(run)!r} does not say where its videos are; name them with --data")
    for one in sources:
        if not as_path(one).exists():
            raise VidsslError(
                f"{where}: data: {one!r}, the run's videos, is not there any more; name them with --data where they are"
            )
    return tuple(DataSet(as_path(one), weight) for one, weight in sources.items())


def _check_recipe(
    record: Mapping[str, Any], asked: Recipe, name: str, given: Collection[str], where: str, fix: str
) -> None:
    """Raises VidsslError if the run is of another recipe or, if it does not name its recipe, of another task."""
    then = record.get("recipe_name")
    if then is not None and then != name:
        raise VidsslError(f"{where}: recipe={name!r}: the run is one of {then}; name that recipe, or {fix}")
    tasks = str(record["recipe"].get("method"))
    if then is None and "pretext" not in given and asked.pretext.name not in tasks.split(JOINED_BY):
        raise VidsslError(f"{where}: recipe={name!r}: the run's task is {tasks}; name a recipe of this task, or {fix}")
    if not isinstance(record["recipe"].get("train"), dict):
        raise VidsslError(f"{where}: its record has no settings of the training; {fix}")


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _values(then: Mapping[str, Any], key: str) -> list[Any]:
    """The values of a setting in a run: several if its tasks differ in it; none if they have no such setting."""
    if key in then:
        return [then[key]]
    ending = f".{_last(key)}"
    found = [value for other, value in then.items() if other.startswith("pretext.") and other.endswith(ending)]
    return found or [_DEFAULTS[key]] * (key in _DEFAULTS)
