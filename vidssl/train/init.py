"""First weights of an encoder from a run, a checkpoint or a file, instead of random ones.

    read_weights ─► transfer: strict names and shapes, except in parts that stay fresh ─► Transfer: what went where

Transfer of convolutions alone is `fresh=("dense",)` for CaffeNets, whose fully connected layers have this name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vidssl.files import stat_regular
from vidssl.models import Encoder
from vidssl.paths import printable
from vidssl.train import checkpoint
from vidssl.types import VidsslError

_COUNTED = "num_batches_tracked"  # not a weight: files from elsewhere may lack it
EXPORTED = ("encoder.json", "encoder.safetensors")  # files of a folder that `vidssl export` wrote
_NESTED = ("state_dict", "model_state_dict", "model", "module")  # where files of others keep their state dict
_PARTS = 4  # if more parts do not fit, the weights are of another encoder


class Weights(NamedTuple):
    """An encoder's weights.

    Attributes:
        source: Where they come from: a path, or a word.
        step: Training step of the checkpoint; None if they come from a file.
        sha256: Digest of the file.
        tensors: State dict, on the CPU.
    """

    source: str
    step: int | None
    sha256: str
    tensors: dict[str, torch.Tensor]


class Transfer(NamedTuple):
    """Which weights an encoder has begun with.

    Attributes:
        source: Where the transferred ones come from: a path, or "scratch".
        step: Training step of the checkpoint; None if they come from a file, or from scratch.
        sha256: Digest of the file; None from scratch.
        transferred: Names of the tensors that were copied.
        fresh: Names of the encoder's tensors that were left as they are initialised.
        ignored: Names of the source's tensors that the encoder does not have, or that stay fresh in it.
        renamed: How names of the source were changed; "" if they are the encoder's.
    """

    source: str
    step: int | None = None
    sha256: str | None = None
    transferred: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    renamed: str = ""

    def lines(self) -> list[str]:
        """Returns lines for people. A part stands for all tensors in it where they had the same fate."""
        step = "" if self.step is None else f", step {self.step}"
        own = (*self.transferred, *self.fresh)
        return [
            f"first weights of the encoder: {printable(self.source)}{step}",
            *([f"  names: {printable(self.renamed)}"] if self.renamed else ()),
            *(
                f"  {fate}: {printable(', '.join(parts(names, known)) or 'the whole encoder')} ({len(names)} tensors)"
                for fate, names, known in (
                    ("transferred", self.transferred, own),
                    ("fresh", self.fresh, own),
                    ("ignored", self.ignored, (*self.ignored, *self.transferred)),
                )
                if names
            ),
        ]


def parts(names: Collection[str], known: Iterable[str]) -> list[str]:
    """Returns the shortest names of parts that hold all of `names`, and no others of `known`.

    Args:
        names: Names of tensors, such as "convs.conv1.weight".
        known: Names of all tensors; `names` is among them.

    Returns:
        Names such as "convs"; an empty list if `names` is all there is.
    """
    among, total = (Counter(part for name in set(them) for part in _above(name)) for them in (names, known))
    if among[""] == total[""]:
        return []
    found = (next(part for part in _above(name) if among[part] == total[part]) for name in names)
    return list(dict.fromkeys(found))


def _above(name: str) -> list[str]:
    """The parts that hold a tensor, the largest first, and the tensor: "", "convs", "convs.conv1" ..."""
    pieces = name.split(".")
    return [".".join(pieces[:count]) for count in range(len(pieces) + 1)]


def read_weights(path: Path, *, command: str = "train") -> Weights:
    """Reads the weights of an encoder.

    Args:
        path: Folder of a run, whose latest checkpoint is taken; one of its checkpoints; a folder that `vidssl export`
            wrote; a .safetensors file; or a state dict that torch.save wrote. Of a checkpoint with a moving average,
            this is taken; name its encoder.safetensors for the weights that were trained.
        command: How errors speak of the command.

    Raises:
        VidsslError: It is none of these, or damaged.
    """
    say = f"{command}: init={str(path)!r}"
    given = path
    if path.is_dir() and all((path / name).is_file() for name in EXPORTED):
        path = path / EXPORTED[1]
    if path.is_dir():
        try:
            _, found = checkpoint.locate(path)
            return of_checkpoint(found)
        except VidsslError as error:
            raise VidsslError(f"{say}: {error}") from error
    if not path.exists():
        raise VidsslError(
            f"{say}: no such file or folder; name a run, a checkpoint, a folder that `vidssl export` wrote, a "
            ".safetensors file or a state dict of torch"
        )
    try:
        stat_regular(path)
        tensors = dict(load_file(path)) if path.suffix == ".safetensors" else _load_torch(path, say)
        return Weights(str(given), None, checkpoint.digest(path), tensors)
    except (SafetensorError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise VidsslError(f"{say}: it cannot be read ({why}); name a .safetensors file that is whole") from error


def of_checkpoint(path: Path, weights: checkpoint.Which = "auto") -> Weights:
    """Reads the weights of a checkpoint's encoder.

    Args:
        path: The checkpoint.
        weights: "raw", those that were trained; "ema", their moving average; "auto" takes the average if there is one.

    Raises:
        VidsslError: It is damaged, or has no moving average.
    """
    meta = checkpoint.load_meta(path, "step")
    averaged = checkpoint.pick_weights(path, weights) == "ema"
    name = checkpoint.AVERAGES["encoder"] if averaged else "encoder.safetensors"
    source = path / name if averaged else path
    tensors = checkpoint.load_weights(path, "encoder", weights)
    return Weights(str(source), int(meta["step"]), str(meta["files"][name]["sha256"]), tensors)


def _load_torch(path: Path, say: str) -> dict[str, torch.Tensor]:
    """Reads a state dict that torch.save wrote. No code of the file is run."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError ... for other files
        raise VidsslError(
            f"{say}: it is not a .safetensors file, and torch cannot read it as a state dict "
            f"({str(error).splitlines()[0][:200]}); write it with torch.save(encoder.state_dict(), FILE) or "
            "safetensors.torch.save_file(encoder.state_dict(), 'FILE.safetensors')"
        ) from error
    while isinstance(found, Mapping) and (inside := [key for key in _NESTED if isinstance(found.get(key), Mapping)]):
        found = found[inside[0]]
    others = [key for key, value in found.items() if not isinstance(value, torch.Tensor)] if found else ["nothing"]
    if not isinstance(found, Mapping) or others:
        raise VidsslError(
            f"{say}: it holds {_few(list(map(str, others)))}, and a state dict holds tensors alone; take the "
            f"tensors out, or keep them under one of the keys {', '.join(_NESTED)}"
        )
    return dict(found)


def _renamed(own: Collection[str], given: Mapping[str, torch.Tensor]) -> tuple[Mapping[str, torch.Tensor], str]:
    """Weights under the encoder's names, if theirs have one other beginning, and what was done.

    Such as "vit.embeddings.x" for "module.model.embeddings.x". They stay as they are if one name is the encoder's, or
    if not all of its names are found in exactly one way.
    """
    if any(name in own for name in given):
        return given, ""
    first = next(iter(own)).split(".")
    begins = set()
    for name in given:
        parts = name.split(".")
        shared = 0
        while shared < min(len(first), len(parts)) and first[-1 - shared] == parts[-1 - shared]:
            shared += 1
        if shared:
            begins.add(tuple("".join(f"{part}." for part in one[: len(one) - shared]) for one in (parts, first)))
    fits = []
    for theirs, ours in begins:
        names = {
            (ours + name.removeprefix(theirs) if name.startswith(theirs) else name): tensor
            for name, tensor in given.items()
        }
        if all(name in names for name in own if not name.endswith(_COUNTED)):
            fits.append((names, f"{theirs}* there is {ours}* here"))
    return fits[0] if len(fits) == 1 else (given, "")


def transfer(encoder: Encoder, weights: Weights, *, fresh: Sequence[str] = (), command: str = "train") -> Transfer:
    """Copies weights into an encoder, in place. Names are matched as they are, or all with one other beginning.

    Args:
        encoder: The encoder, newly initialised.
        weights: The weights. Tensors that the encoder does not have are ignored.
        fresh: Names of parts of the encoder that are left as they are, such as "dense" or "convs.conv1".
        command: How errors speak of the command.

    Raises:
        VidsslError: The encoder has no such part; a tensor is missing, has another shape, is of integers, or is not
            finite; or nothing is left to transfer. The encoder is then not changed.
    """
    say = f"{command}: init={weights.source!r}"
    own = encoder.state_dict()
    given, renamed = _renamed(own, weights.tensors)
    modules = [name for name, _ in encoder.named_modules() if name]
    if unknown := [part for part in fresh if part not in modules]:
        known = ", ".join(name for name in modules if name.count(".") < 2)
        raise VidsslError(f"{command}: fresh={unknown!r}: take some of {known}")
    wanted = [name for name in own if not any(name.startswith(f"{part}.") for part in fresh)]
    missing = [name for name in wanted if name not in given and not name.endswith(_COUNTED)]
    wanted = [name for name in wanted if name in given]
    shapes = [name for name in wanted if given[name].shape != own[name].shape]
    if missing or shapes:
        raise VidsslError(f"{say}: {_misfit(own, given, missing, shapes, fresh)}")
    if bad := [name for name in wanted if given[name].is_floating_point() != own[name].is_floating_point()]:
        raise VidsslError(
            f"{say}: {bad[0]} is of {given[bad[0]].dtype}, and the encoder's of {own[bad[0]].dtype}; take weights that "
            "are not quantised"
        )
    if bad := [name for name in wanted if not bool(torch.isfinite(given[name].float()).all())]:
        raise VidsslError(f"{say}: {len(bad)} tensors, such as {bad[0]}, are not finite; take another checkpoint")
    if not wanted:
        raise VidsslError(
            f"{say}: fresh={list(fresh)!r} leaves nothing to transfer; name fewer parts, or leave init out"
        )
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(given[name])  # a state dict shares its memory with the encoder
    taken = set(wanted)
    return Transfer(
        weights.source,
        weights.step,
        weights.sha256,
        transferred=tuple(wanted),
        fresh=tuple(name for name in own if name not in taken),
        ignored=tuple(name for name in given if name not in taken),
        renamed=renamed,
    )


def _misfit(
    own: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
    missing: Sequence[str],
    shapes: Sequence[str],
    fresh: Sequence[str],
) -> str:
    """Says which tensors do not fit, and how to go on without them."""
    said = []
    if missing:
        strange = [name for name in given if name not in own]
        instead = f", and has {_few(strange)}, which the encoder lacks" if strange else ""
        said.append(f"it lacks {len(missing)} of the encoder's tensors: {_few(missing)}{instead}")
    if shapes:
        differ = [f"{name} is {list(given[name].shape)} there and {list(own[name].shape)} here" for name in shapes]
        said.append(f"{len(shapes)} shapes differ: {_few(differ)}")
    modules = {name.rpartition(".")[0] for name in own}
    wrong = {name.rpartition(".")[0] for name in (*missing, *shapes)}
    left = parts([name for name in modules if name in wrong], modules)
    if 0 < len(left) <= _PARTS:
        hint = f"--fresh {' '.join(sorted({*fresh, *left}))} leaves these parts as they are initialised"
    else:
        hint = "these are weights of another encoder; take some of this one, under its names"
    return "; ".join([*said, hint])


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
