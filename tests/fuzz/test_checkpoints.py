"""Damaged and forged run folders: the same run, or an error that names the run and the fix; nothing else.

More of them: python -m tests.fuzz.harness tests.fuzz.test_checkpoints:run_folder 0 2000
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.harness import faults
from tests.fuzz.mutate import mutate
from vidssl import VidsslError
from vidssl.evaluate.run import load_run, trained_model
from vidssl.kernels.augment import Augment
from vidssl.pretext import Vcop, build_model
from vidssl.report.page import write_report
from vidssl.report.table import find_runs, text
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.recorded import check_resumable
from vidssl.train.setup import open_run

_RECIPE = Recipe(
    pretext=Vcop(clip_length=8, interval=2, augment=Augment(resize=(24, 32), crop=(16, 16))),
    encoder="r3d_tiny",
    train=TrainConfig(batch_size=2, workers=1),
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**31,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../etc",
    "r3d",
    "\ud800",
    [],
    [[]],
    [1, 2, 3],
    {},
    {"a": {}},
)


def make_run(out: Path) -> None:
    """What a run of a few steps leaves, without the training."""
    torch.manual_seed(0)
    model = build_model(_RECIPE.pretext, _RECIPE.encoder, norm="batch")
    meta = {
        "recipe": _RECIPE.as_dict(),
        "step": 4,
        "amp": "off",
        "fixed": {"method": "vcop", "train.lr": 0.001},
        "videos": 9,
        "data": "abcd",
        "versions": {"vidssl": "0.1.0", "commit": "0" * 40},
        "metrics": {"val/loss": 1.0},
    }
    for step in (2, 4):
        state = {"optimizer": {"momentum": [torch.ones(3)]}, "step": step, "rng": torch.get_rng_state()}
        encoder, head = model.encoder.state_dict(), model.head.state_dict()
        checkpoint.save(out, step, encoder=encoder, head=head, state=state, meta=meta | {"step": step}, keep=2)
    (out / "run.json").write_text(json.dumps(meta, indent=1) + "\n")
    lines = [{"step": step, "train/loss": 1 / (step + 1), "val/loss": 1.0} for step in range(5)]
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = {
        "kind": "retrieval",
        "protocol": "retrieval",
        "numbers": {"trained": {"R@1": {"value": 0.5, "low": 0.4, "high": 0.6}}},
        "split": "held out",
        "counts": {"videos": 9},
        "data": {"train": "abcd", "test": "abcd", "test_videos": 2, "test_root": "videos"},
        "notes": ["one note"],
        "step": 4,
        "seed": 0,
    }
    (out / "retrieval.json").write_text(json.dumps(result))


def forged(data: bytes, rng: random.Random) -> bytes:
    """JSON with one to three values replaced, removed or renamed."""
    whole = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at: Any = whole
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.8:
                at = at[key]
                continue
            if isinstance(at, dict) and rng.random() < 0.2:
                at["x" if rng.random() < 0.5 else "y"] = at.pop(key)
            else:
                at[key] = rng.choice(_VALUES)
            break
    return json.dumps(whole).encode()


def sums(path: Path) -> str:
    """A checksum of the weights of a checkpoint."""
    digest = hashlib.sha256()
    for part in ("encoder", "head"):
        for name, tensor in sorted(checkpoint.load_weights(path, part).items()):
            digest.update(f"{name} {tensor.shape} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def resume(out: Path, settings: dict[str, Any]) -> None:
    start = open_run(out, resume=True, quiet=True)
    if start is not None:
        check_resumable(start, settings, out)


def run_folder(folder: Path) -> Callable[[int], str]:
    whole, out = folder / "whole", folder / "input"
    make_run(whole)
    right = {path.name: sums(path) for path in checkpoint.complete(whole)}
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())

    def read(honest: bool) -> str:
        run = load_run(out)
        if honest and sums(run.path) != right[run.path.name]:
            return f"{run.path.name}: other weights than were written"
        trained_model(run.path)
        checkpoint.load_state(run.path)
        return ""

    texts = [name for name in files if name.suffix == ".json"]
    settings = json.loads((whole / "run.json").read_text())

    reads: tuple[Callable[[bool], object], ...] = (
        read,
        lambda _: write_report([out], folder / "report.html"),
        lambda _: text(find_runs(out)),
        lambda _: resume(out, settings),
    )

    shutil.copytree(whole, out, symlinks=True)
    for call in reads:
        assert call(True) == "" or call is not read  # the undamaged run is read

    def run(seed: int) -> str:
        rng = random.Random(seed)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out, symlinks=True)
        name = rng.choice(files if rng.random() < 0.6 else texts)
        path, data = out / name, (whole / name).read_bytes()
        plain = path.suffix == ".json" and rng.random() < 0.6
        path.write_bytes(forged(data, rng) if plain else mutate(data, seed))
        # Half of the damage is signed: who can write a file can write its digest too.
        signed = path.name in checkpoint.FILES[:3] and rng.random() < 0.7
        if signed:
            about = json.loads((path.parent / "meta.json").read_text())
            new = path.read_bytes()
            about["files"][path.name] = {"bytes": len(new), "sha256": hashlib.sha256(new).hexdigest()}
            (path.parent / "meta.json").write_text(json.dumps(about))
        for call in reads:
            try:
                wrong = call(not signed)
            except VidsslError as error:
                if str(out) not in str(error) and "=" not in str(error):
                    return f"{name}: the error names no file and no argument: {error}"
                continue
            if isinstance(wrong, str) and call is read and wrong:
                return wrong
        return ""

    return run


def test_damaged_runs_are_right_or_refused(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_checkpoints:run_folder", range(50), tmp_path) == []
