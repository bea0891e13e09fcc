"""Runs and exports of another version: an error names the file, the version that wrote it, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vidssl
from vidssl import VideoIndex, VidsslError
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.trained import export

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def step(run: Path, tmp_path: Path) -> Path:
    """The checkpoint of a copy of the run, as vidssl 9.0.0 would have written it."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy, symlinks=True)
    found = checkpoint.find(copy)
    rewrite(found, lambda meta: meta["versions"].update(vidssl="9.0.0", commit="0123456789abcdef"))
    return found


def rewrite(step: Path, edit: Edit) -> None:
    """Changes what run.json and meta.json say, and makes the digests right again."""
    for path in (step / "meta.json", step.parents[1] / "run.json"):
        about = json.loads(path.read_text())
        edit(about)
        for name, file in about.get("files", {}).items():
            file.update(bytes=(step / name).stat().st_size, sha256=checkpoint.digest(step / name))
        path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda meta: meta["recipe"]["train"].update(warp=3), r"cannot read it \(.*'warp'\), as it is"),
        (lambda meta: meta["recipe"]["pretext"]["augment"].update(warp=3), r"cannot read it \(.*'warp'\), as it is"),
        (lambda meta: meta["recipe"].update(encoder="r9d"), r"cannot read it \(.*r9d.*\), as it is"),
        (lambda meta: meta["recipe"].update(method="whirl"), r"pretext='whirl': no task of this name is known here"),
        (lambda meta: meta["recipe"]["train"].update(lr=-1), r"lr=-1"),
    ],
)
def test_settings_of_another_version(edit: Edit, why: str, step: Path) -> None:
    rewrite(step, edit)
    with pytest.raises(VidsslError, match=rf"checkpoint='{step}'.*{why}.* vidssl 9\.0\.0 \(commit 0123456789ab\)"):
        vidssl.load(step)


def test_a_setting_that_an_older_version_lacked_has_its_default(step: Path) -> None:
    rewrite(step, lambda meta: meta["recipe"]["train"].pop("ema"))
    assert vidssl.load(step).recipe.train.ema is None


@pytest.mark.parametrize("part", ["encoder", "head"])
def test_weights_of_another_encoder_or_head(part: str, step: Path, index: VideoIndex, recipe: Recipe) -> None:
    """An encoder of this name has other layers in the other version."""
    path = step / f"{part}.safetensors"
    save_file({f"more.{name}": one for name, one in load_file(path).items()}, path)
    rewrite(step, lambda _: None)
    said = rf"checkpoint='{step}': its {part} has other weights than this version of vidssl.*wrote it, vidssl 9\.0\.0"
    if part == "encoder":
        with pytest.raises(VidsslError, match=said):
            vidssl.load(step)
    with pytest.raises(VidsslError, match=said):
        train(recipe, index, step.parents[1], resume=True, device="cpu", steps=3, quiet=True)


def test_another_state_of_the_training(step: Path, index: VideoIndex, recipe: Recipe) -> None:
    state = checkpoint.load_state(step)
    torch.save({name: one for name, one in state.items() if name != "pending"}, step / "state.pt")
    rewrite(step, lambda _: None)
    with pytest.raises(VidsslError, match=r"its state\.pt holds another state .*'pending'.*wrote it, vidssl 9\.0\.0"):
        train(recipe, index, step.parents[1], resume=True, device="cpu", steps=3, quiet=True)


def test_an_export_says_who_wrote_it(run: Path, tmp_path: Path) -> None:
    export(vidssl.load(run), tmp_path)
    path = tmp_path / "encoder.safetensors"
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["vidssl"])
    assert about["versions"]["vidssl"] == vidssl.__version__
    about["recipe"]["train"]["warp"] = 3
    about["versions"] = {"vidssl": "9.0.0"}
    save_file(load_file(path), path, metadata={"vidssl": json.dumps(about)})
    with pytest.raises(VidsslError, match=rf"path='{path}'.*'warp'.*use the version that wrote it, vidssl 9\.0\.0"):
        vidssl.load(tmp_path)
