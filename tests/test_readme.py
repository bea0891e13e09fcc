"""The README's example runs as it stands, but for its length and the width of the encoder."""

import os
import re
from pathlib import Path

import pytest
import torch

from tests.clips import make_clip

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
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
