"""What the README and the guides show runs as it stands, but for its length and the width of the encoder."""

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

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDES = ROOT / "docs/guides"


def example(page: Path, having: str) -> str:
    """The page's only piece of Python that has these words."""
    blocks = r"```(?:python|\{run\}\n:language: python|\{run\}\n:file: \w+\.py)\n(.*?)```"
    found: list[str] = re.findall(blocks, page.read_text(), flags=re.DOTALL)
    (one,) = (code for code in found if having in code)
    return one


def lines_of(page: Path, pattern: str) -> list[str]:
    """The page's command lines of vidssl that begin with a pattern, without a comment."""
    text = re.sub(r" *\\\n *", " ", page.read_text())  # a command may go on in the next line
    return re.findall(rf"^vidssl ({pattern}.*?)(?: +#.*)?$", text, re.MULTILINE)


def script(having: str) -> list[list[str]]:
    """The words of each line of the README's only shell script that has these words."""
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


def test_a_trained_encoder_is_used_as_the_guide_says(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = tmp_path / "demo/scenes/ink"
    scenes.mkdir(parents=True)
    for number in range(2):
        (scenes / f"ink_{number:02}.mp4").symlink_to(index.video(number).path)
    train(recipe, index, tmp_path / "demo/run", device="cpu", steps=1, quiet=True)
    monkeypatch.chdir(tmp_path)
    page = GUIDES / "export.md"
    names: dict[str, Any] = {}
    exec(example(page, "vidssl.load"), names)
    assert names["feature"].shape == (64,)
    assert names["clips"].shape == (4, 3, 8, 16, 16)
    lines = lines_of(page, "(?:features|export) ")
    assert len(lines) == 3
    for line in lines:
        if "onnx" not in line or find_spec("onnxruntime"):
            assert main(line.split()) == 0
    exec(example(page, "features.arrow"), {})


def test_encoders_of_ones_own_train_as_the_guides_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "VIDEOS").mkdir()
    for number in range(6):
        make_clip(tmp_path / "VIDEOS" / f"{number}.mp4", frames=64 + number)
    (tmp_path / "demo").mkdir()
    VideoIndex.build(tmp_path / "VIDEOS").save(tmp_path / "demo/index.arrow")
    (tmp_path / "my_encoder.py").write_text(example(GUIDES / "encoder.md", "def small(channels=3)"))
    monkeypatch.chdir(tmp_path)
    file, folder, named = lines_of(GUIDES / "encoder.md", "train .*--encoder ")
    (settings,) = lines_of(GUIDES / "training.md", "train .*--encoder ")
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
    code = example(README, "range(300)")
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


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_files_it_names_exist(page: str) -> None:
    """Links, from the page's folder, and names of files in the text, from the repository's."""
    path = ROOT / page
    text = path.read_text()
    named = {ROOT / name for name in re.findall(r"`((?:csrc|vidssl|tests|benchmarks)/[\w/.]+)`", text)}
    named |= {path.parent / name for name in re.findall(r"\]\(([\w/.]+)\)", text)}
    assert len(named) >= 6
    assert [name for name in named if not name.exists()] == []


def test_the_makefile_has_what_the_readme_calls() -> None:
    makefile = (ROOT / "Makefile").read_text()
    called = set(re.findall(r"(?:^|`)make ([a-z]+)", README.read_text(), flags=re.MULTILINE))
    assert {"demo", "test", "docs", "bench"} <= called
    assert [name for name in called if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []
