"""Checkpoints: one folder for each step, which is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vidssl import __version__
from vidssl.files import parse_json, read_text
from vidssl.paths import fsync, input_path, output_path
from vidssl.types import VidsslError

FILES = ("encoder.safetensors", "head.safetensors", "state.pt", "meta.json")
AVERAGES = {"encoder": "encoder_ema.safetensors", "head": "head_ema.safetensors"}  # of a run with a moving average
Which = Literal["auto", "ema", "raw"]  # weights of a checkpoint: the moving average, or those that were trained
_NAME = re.compile(r"step_\d{8,}")

# What run.json and meta.json say of a run, as far as vidssl reads it again.
DESCRIPTION: Mapping[str, type] = {
    "recipe": dict,
    "recipe_name": str,
    "source": str,
    "sources": dict,
    "fixed": dict,
    "versions": dict,
    "videos": int,
    "data": str,
    "data_sets": dict,
    "amp": str,
    "step": int,
    "metrics": dict,
    "skipped": int,
    "decode": str,
    "chance": dict,
    "finetune": dict,
    "finetune_videos": dict,
}

Tensors = dict[str, torch.Tensor]


def save(
    out: Path,
    step: int,
    *,
    encoder: Tensors,
    head: Tensors,
    state: Mapping[str, Any],
    meta: Mapping[str, Any],
    keep: int,
    best: int | None = None,
    average: Mapping[str, Tensors] | None = None,
) -> Path:
    """Writes OUT/checkpoints/step_NNNNNNNN, then removes all but this one, the `keep` - 1 before it, and the best one.

    Checkpoints of later steps are removed too: the run was resumed from an earlier one because they were damaged, and
    makes these steps again. Of a folder, only files that vidssl wrote are removed.

    Args:
        out: The run's folder.
        step: The step after which it is written.
        encoder: State dict of the encoder.
        head: State dict of the head.
        state: What resuming needs beside them; only types that torch.load(weights_only=True) reads.
        meta: What meta.json holds, beside the sizes and digests of the files.
        keep: Number of checkpoints to keep: this one and those before it.
        best: Step of the best checkpoint so far; checkpoints/best becomes a link to it.
        average: Moving averages of "encoder" and "head"; None if the run keeps none.

    Returns:
        The folder of the checkpoint.

    Raises:
        VidsslError: It cannot be written. Earlier checkpoints are left as they are.
    """
    folder = output_path(out, "checkpoints")
    target = path_of(out, step)
    aside = folder / f".{target.name}.{os.getpid()}"
    try:
        for left in folder.glob(".step_*"):  # written by a process that was killed meanwhile
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)
        save_file(_plain(encoder), aside / FILES[0])
        save_file(_plain(head), aside / FILES[1])
        for part, tensors in (average or {}).items():
            save_file(_plain(tensors), aside / AVERAGES[part])
        torch.save(dict(state), aside / FILES[2])
        names = sorted(path.name for path in aside.iterdir())
        about = {name: {"bytes": (aside / name).stat().st_size, "sha256": digest(aside / name)} for name in names}
        (aside / FILES[3]).write_text(json.dumps({**meta, "files": about}, indent=1) + "\n")
        for name in names:  # safetensors lets only the owner read its files
            (aside / name).chmod((aside / FILES[3]).stat().st_mode)
        for path in (*(aside / name for name in (*names, FILES[3])), aside):
            fsync(path)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        fsync(folder)
        if best is not None:
            _link(folder, f"step_{best:08d}")
    except (OSError, SafetensorError, RuntimeError) as error:  # safetensors and torch raise these on a full disk
        shutil.rmtree(aside, ignore_errors=True)
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise VidsslError(
            f"train: out={str(out)!r}: checkpoint {target.name} cannot be written: {why}; free some space there; "
            "earlier checkpoints are whole, and --resume continues from the latest"
        ) from error
    before = [path for path in complete(out) if _step(path) <= step]
    after = [path for path in _all(out) if _step(path) > step]
    for old in (*before[:-keep], *after):
        if best is None or old.name != f"step_{best:08d}":
            _remove(old)
    return target


def _remove(folder: Path) -> None:
    """Removes a checkpoint, or what can be removed of it; its folder stays if other files are in it."""
    with suppress(OSError):
        for name in (*FILES, *AVERAGES.values()):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def path_of(out: Path, step: int) -> Path:
    """Returns the folder of the checkpoint of a step, whether it exists or not."""
    return out / "checkpoints" / f"step_{step:08d}"


def _link(folder: Path, name: str) -> None:
    """Makes `best` in `folder` a link to checkpoint `name`, in one atomic step."""
    if (folder / name).is_dir():
        aside = folder / f".best.{os.getpid()}"
        aside.unlink(missing_ok=True)
        aside.symlink_to(name)
        os.replace(aside, folder / "best")


def complete(out: Path) -> list[Path]:
    """Returns the checkpoints of a run that have all files, each of the size in meta.json, oldest first."""
    return list(filter(_whole, _all(out)))


def latest(out: Path) -> tuple[Path | None, list[Path]]:
    """Returns the latest checkpoint whose files match their digests, or None, and the damaged ones after it."""
    damaged: list[Path] = []
    for path in reversed(_all(out)):
        if _whole(path, digests=True):
            return path, damaged
        damaged.append(path)
    return None, damaged


def _all(out: Path) -> list[Path]:
    found = [path for path in (out / "checkpoints").glob("step_*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step_"))


def _whole(path: Path, *, digests: bool = False) -> bool:
    """Whether every file exists and has the size, and with `digests` the SHA-256, that meta.json holds."""
    try:
        about = parse_json(read_text(path / FILES[3]))["files"]
        names = (*FILES[:3], *(name for name in AVERAGES.values() if name in about))
        if not all((path / name).stat().st_size == about[name]["bytes"] for name in names):
            return False
        return not digests or all(digest(path / name) == about[name]["sha256"] for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


def find(run: Path) -> Path:
    """Returns the checkpoint that a path means.

    Args:
        run: A checkpoint, or the folder of a run, whose latest whole checkpoint is returned.

    Raises:
        VidsslError: There is no whole checkpoint.
    """
    if (run / FILES[3]).is_file() and not _all(run):
        if not _whole(run, digests=True):
            raise VidsslError(f"run={str(run)!r}: this checkpoint is damaged; take another one of the run")
        return run
    found, damaged = latest(run)
    if found is None:
        what = (
            "all its checkpoints are damaged"
            if damaged
            else "no checkpoint in it"
            if run.is_dir()
            else "it is a file, and no run"
            if run.exists()
            else "no such folder"
        )
        raise VidsslError(
            f"run={str(run)!r}: {what}; name the folder that `vidssl train ... --out` wrote, or one of its checkpoints"
        )
    return found


def locate(run: Path, *, allow_outside: bool = False) -> tuple[Path, Path]:
    """Returns the folder of a run and one of its checkpoints.

    Args:
        run: A checkpoint, or the folder of a run, as for `find`.
        allow_outside: Accept links that lead out of the run's folder.

    Raises:
        VidsslError: There is no whole checkpoint, or a link leads out of the run's folder.
    """
    found = find(run)
    real = run.resolve()
    folder, place = (
        (real.parents[1], real.relative_to(real.parents[1])) if found == run else (real, found.relative_to(run))
    )
    for name in (*FILES, *(name for name in AVERAGES.values() if os.path.lexists(found / name))):
        input_path(folder, str(place / name), allow_outside=allow_outside)
    return folder, found


def read_description(path: Path, *needed: str) -> dict[str, Any]:
    """Reads what run.json or meta.json says of a run.

    Args:
        path: The file.
        needed: Keys that it must have.

    Raises:
        OSError: It is not a regular file.
        ValueError: It is not JSON, lacks a key, or a value is of another kind than vidssl writes.
    """
    about = parse_json(read_text(path))
    if not isinstance(about, dict):
        raise ValueError("it is not the description of a run")
    for key in needed:
        if key not in about:
            raise ValueError(f"it has no {key!r}")
    for key, kind in DESCRIPTION.items():
        if key in about and (not isinstance(about[key], kind) or isinstance(about[key], bool)):
            raise ValueError(f"its {key!r} is {about[key]!r}, not of type {kind.__name__}")
    for name, version in about.get("versions", {}).items():
        if not isinstance(version, str):
            raise ValueError(f"its version of {name!r} is {version!r}, not a text")
    return about


def load_meta(checkpoint: Path, *needed: str) -> dict[str, Any]:
    """Reads meta.json. needed: Keys that the caller reads.

    Raises:
        VidsslError: It is damaged, or lacks a key.
    """
    try:
        meta = read_description(checkpoint / FILES[3], *needed)
    except (OSError, ValueError) as error:
        raise VidsslError(
            f"checkpoint={str(checkpoint)!r}: meta.json cannot be read ({error}); take another checkpoint"
        ) from error
    return meta


def pick_weights(checkpoint: Path, weights: Which) -> Literal["ema", "raw"]:
    """Returns which weights of a checkpoint are taken: of "auto", the moving average if it has one.

    Raises:
        VidsslError: "ema" is asked for, and the checkpoint has no moving average.
    """
    has = (checkpoint / AVERAGES["encoder"]).is_file()
    if weights == "ema" and not has:
        raise VidsslError(
            f"checkpoint={str(checkpoint)!r}: weights='ema': the run was trained without ema, so it has no average; "
            "take weights=raw, or leave it out"
        )
    if weights not in ("auto", "ema", "raw"):
        raise VidsslError(f"weights={weights!r}: take auto, ema or raw")
    return "ema" if has and weights != "raw" else "raw"


def load_weights(checkpoint: Path, part: str, weights: Which = "raw") -> Tensors:
    """Reads the state dict of a part, "encoder" or "head", to the CPU.

    Args:
        checkpoint: The checkpoint.
        part: "encoder" or "head".
        weights: "raw" for those that were trained, "ema" for their moving average, "auto" for it if there is one.

    Raises:
        VidsslError: It is damaged, or has no moving average.
    """
    name = AVERAGES[part] if pick_weights(checkpoint, weights) == "ema" else f"{part}.safetensors"
    try:
        return dict(load_file(checkpoint / name))
    except (SafetensorError, OSError) as error:
        raise VidsslError(
            f"checkpoint={str(checkpoint)!r}: {name} cannot be read ({error}); take another checkpoint"
        ) from error


def load_into(module: nn.Module, checkpoint: Path, part: str, weights: Which = "raw") -> Tensors:
    """Puts the weights of a part into the module of this part, and returns them.

    The arguments are those of `load_weights`.

    Raises:
        VidsslError: They are damaged, or those of another module, as where another version builds another encoder.
    """
    tensors = load_weights(checkpoint, part, weights)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise not_of_this_version(checkpoint, f"its {part} has other weights", error) from error
    return tensors


def not_of_this_version(checkpoint: Path, what: str, error: Exception) -> VidsslError:
    """Returns the error for a checkpoint that is whole, but not as this version of vidssl reads it."""
    why = f"{type(error).__name__}: {str(error).splitlines()[-1].strip()}"
    return VidsslError(
        f"checkpoint={str(checkpoint)!r}: {what} than this version of vidssl, {__version__} ({why}); use the version "
        f"that wrote it{written_by(load_meta(checkpoint).get('versions'), ', ')}"
    )


def written_by(versions: object, before: str) -> str:
    """Names the vidssl that wrote a file, after `before`; "" if it is not known.

    Args:
        versions: What the file says of it, as `vidssl.versions.versions` returns it.
        before: The text before it.
    """
    found = versions if isinstance(versions, dict) else {}
    commit = f" (commit {str(found['commit'])[:12]})" if found.get("commit") else ""
    return f"{before}vidssl {found['vidssl']}{commit}" if found.get("vidssl") else ""


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Reads what resuming needs beside the weights. Raises VidsslError if it is damaged."""
    try:
        state: dict[str, Any] = torch.load(checkpoint / FILES[2], map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError ... for a damaged file
        raise VidsslError(
            f"checkpoint={str(checkpoint)!r}: state.pt cannot be read ({error}); remove this checkpoint"
        ) from error
    return state


def _plain(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
