"""The README's example runs as it stands, but for its length and the width of the encoder."""

import os
import re
import shlex
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vidssl
from tests.clips import make_clip
from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.train.config import Recipe
from vidssl.train.train import train

README = Path(__file__).parents[1] / "README.md"


def example(having: str) -> str:
    """The text's only piece of Python that has these words."""
    found: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (one,) = (code for code in found if having in code)
    return one


def lines_of(pattern: str) -> list[str]:
    """The text's command lines of vidssl that begin with a pattern, without a comment."""
    text = re.sub(r" *\\\n *", " ", README.read_text())  # a command may go on in the next line
    return re.findall(rf"^\.venv/bin/vidssl ({pattern}.*?)(?: +#.*)?$", text, re.MULTILINE)


def script(having: str) -> list[list[str]]:
    """The words of each line of the text's only shell script that has these words."""
    found: list[str] = re.findall(r"```sh\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (one,) = (text for text in found if having in text)
    return [shlex.split(line, comments=True) for line in one.splitlines()]


def run_script(lines: list[list[str]], *short: str) -> None:
    """Runs a script's lines but the first two, which install vidssl, by this Python. short: Options that train gets."""
    assert len(lines) <= 6
    assert lines[0] == ["python", "-m", "venv", ".venv"]
    assert lines[1][:2] == [".venv/bin/pip", "install"]
    assert lines[1][2:] in (["."], [".[transformers]"])
    for program, *words in lines[2:]:
        if program == ".venv/bin/python":
            assert words[0] == "-c"
            exec(words[1], {})
        else:
            assert program == ".venv/bin/vidssl"
            assert main([*words, *(short if words[0] == "train" else ())]) == 0


def test_the_scripts_run_from_the_installation_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, but for the number and size of the steps, and the width of the transformer."""
    (tmp_path / "VIDEOS").mkdir()
    for number in range(6):
        make_clip(tmp_path / "VIDEOS" / f"{number}.mp4", frames=64 + number)
    monkeypatch.chdir(tmp_path)
    short = ("--steps", "1", "--batch-size", "2", "--holdout", "0", "--device", "cpu", "--amp", "off")
    run_script(script("vidssl features"), *short)
    feature = np.load("features.npy")
    assert feature.shape[0] == 6
    assert np.isfinite(feature).all()
    if find_spec("transformers"):
        import transformers

        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        monkeypatch.setattr(transformers, "VideoMAEConfig", partial(transformers.VideoMAEConfig, **small))
        run_script(script("hf:VIDEOMAE"), *short)
        assert vidssl.load("RUN_VIDEOMAE").features("VIDEOS/0.mp4", device="cpu").shape == (16,)


def test_a_trained_encoder_is_used_as_the_text_says(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=1, quiet=True)
    (tmp_path / "VIDEO.mp4").symlink_to(index.video(0).path)
    (tmp_path / "VIDEOS").symlink_to(index.root)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example("vidssl.load"), names)
    assert names["feature"].shape == (64,)
    assert names["clips"].shape == (4, 3, 8, 16, 16)
    lines = [line for line in lines_of("(?:features|export) ") if "features.npy" not in line]
    assert len(lines) == 2
    for line in lines:
        if "onnx" not in line or find_spec("onnxruntime"):
            assert main(line.split()) == 0


def test_encoders_of_ones_own_train_as_the_text_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "VIDEOS").mkdir()
    for number in range(6):
        make_clip(tmp_path / "VIDEOS" / f"{number}.mp4", frames=64 + number)
    (tmp_path / "my_encoder.py").write_text(example("def small(channels=3)"))
    monkeypatch.chdir(tmp_path)
    others = [line for line in lines_of("train ") if "--encoder" in line and "hf:VIDEOMAE" not in line]
    file, folder, named, settings = others
    short = ["--steps", "1", "--batch-size", "2", "--holdout", "0", "--device", "cpu", "--amp", "off"]
    assert main([*file.split(), *short]) == 0
    if find_spec("timm"):
        assert main([*named.split(), *short]) == 0
    if find_spec("transformers"):
        from transformers import VideoMAEConfig

        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        VideoMAEConfig(patch_size=56, **small).save_pretrained("FOLDER")
        assert main([*folder.split(), *short]) == 0
        one_step = settings.replace("--warmup-epochs 5", "--warmup-epochs 0")
        assert one_step != settings
        assert main([*one_step.split(), *short]) == 0


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = example("range(300)")
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
