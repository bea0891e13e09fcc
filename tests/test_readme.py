"""The README's example runs as it stands, but for its length and the width of the encoder."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clips import make_clip
from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.train.config import Recipe
from vidssl.train.train import train

README = Path(__file__).parents[1] / "README.md"


def examples() -> list[str]:
    found: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    return found


def test_a_trained_encoder_is_used_as_the_text_says(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=1, quiet=True)
    (tmp_path / "VIDEO.mp4").symlink_to(index.video(0).path)
    (tmp_path / "VIDEOS").symlink_to(index.root)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(examples()[0], names)
    assert names["feature"].shape == (64,)
    assert names["clips"].shape == (4, 3, 8, 16, 16)
    lines = re.findall(r"^\.venv/bin/vidssl ((?:features|export) .*?)(?: +#.*)?$", README.read_text(), re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        if "onnx" not in line or find_spec("onnxruntime"):
            assert main(line.split()) == 0


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use, code = examples()
    assert "vidssl.load" in use
    assert len(code.splitlines()) <= 15
    short = code.replace("range(300)", "range(1)").replace("models.r3d()", "models.r3d_tiny()")
    assert short != code
    (tmp_path / "videos").mkdir()
    for number in range(8):
        make_clip(tmp_path / "videos" / f"{number}.mp4", frames=64 + number)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    names: dict[str, object] = {}
    exec(short, names)
    loss = names["loss"]
    assert isinstance(loss, torch.Tensor)
    assert torch.isfinite(loss)


def test_files_it_names_exist() -> None:
    text = README.read_text()
    named = set(re.findall(r"`((?:csrc|vidssl|tests|benchmarks)/[\w/.]+)`", text)) | set(
        re.findall(r"\]\(([\w/.]+)\)", text)
    )
    assert len(named) >= 6
    assert [name for name in named if not (README.parent / name).exists()] == []
    assert os.access(README.parent / "Makefile", os.R_OK)
