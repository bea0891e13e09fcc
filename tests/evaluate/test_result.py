"""What an evaluation writes: into the run's folder, or into the file that the user named and nowhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.train.config import Recipe
from vidssl.train.train import train


@pytest.fixture(scope="module")
def trained(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "run"
    train(recipe, index, out, steps=2, device="cpu", quiet=True)
    return out


def _files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


@pytest.mark.parametrize(
    "command",
    [
        ["retrieval", "--train"],
        ["probe", "--train"],
        ["attentive", "--epochs", "1", "--train"],
        ["pretext", "--train"],
        ["time", "--data"],
    ],
    ids=lambda command: command[0],
)
def test_with_out_that_file_is_all_that_is_written(
    trained: Path, index: VideoIndex, tmp_path: Path, command: list[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "new" / "o.json"
    shutil.copytree(trained, run)
    kind, *options = command
    videos = shutil.copytree(index.root, tmp_path / "videos")
    first = min(path for path in videos.rglob("*") if path.is_file())
    for number in range(2):  # as many groups as `time` needs
        shutil.copy(first, first.with_stem(f"{first.stem}_{number}"))
    (run / "retrieval.png").write_bytes(b"the picture of an earlier evaluation")
    before = _files(run)
    asked = ["evaluate", kind, str(run), *options, str(videos), "--device", "cpu"]
    asked += [] if kind == "pretext" else ["--clips", "1"]
    assert main([*asked, "--out", str(out)]) == 0
    assert _files(run) == before
    assert [path.name for path in out.parent.iterdir()] == ["o.json"]
    assert json.loads(out.read_text())["images"] == {}
    assert main(asked) == 0
    written = {name for name, found in _files(run).items() if before.get(name) != found}
    assert f"{kind}.json" in written
    assert any("tfevents" in name for name in written)
