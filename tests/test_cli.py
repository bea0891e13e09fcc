"""The command line as a user meets it: exit codes, messages, and a small whole run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from vidssl.cli import main


def _vidssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vidssl", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=Path(__file__).parents[1],
        check=False,
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for name in ("left/a.mp4", "left/b.mp4", "right/c.mp4", "right/d.mp4"):
        (root / name).parent.mkdir(exist_ok=True)
        with av.open(root / name, "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(40):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * number, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return root


def test_help_is_quick_to_make() -> None:
    """Neither torch nor DALI is imported to show it."""
    code = "import sys, vidssl.cli; sys.exit(bool({'torch', 'nvidia.dali', 'av', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0
    done = _vidssl("--help")
    assert done.returncode == 0
    assert "`vidssl --version` prints the version" in " ".join(done.stdout.split())
    assert all(
        name in done.stdout for name in ("demo", "info", "index", "recipes", "train", "evaluate", "datasets", "report")
    )


def test_the_version_is_printed_and_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    stated = re.search(r'^version = "(.+)"$', (Path(__file__).parents[1] / "pyproject.toml").read_text(), re.MULTILINE)
    assert stated is not None
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vidssl {stated[1]}\n"


def test_info_and_recipes() -> None:
    done = _vidssl("info")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("torch", "build cuda", "cores", "gpu"))
    done = _vidssl("recipes")
    assert done.returncode == 0
    assert "vcop_r3d_tiny" in done.stdout
    assert "CVPR 2019" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "nope", "--data", "x", "--out", "y"), "vcop_r3d_tiny"),
        (("train", "vcop_r3d_tiny", "--data", "x", "--out", "/tmp/unused", "--lrr", "1"), "--lr "),
        (("train", "vcop_r3d_tiny", "--data", "/no/such/folder", "--out", "{tmp}/run"), "no such folder"),
        (("train", "vcop_r3d_tiny", "--data", "x", "--out", "{tmp}/run", "--lr", "-1"), "lr=-1"),
        (("train", "vcop_r3d_tiny", "--data", "x", "--out", "{tmp}/run", "--encoder", "resnet"), "'resnet': not known"),
        (("train", "vcop_r3d_tiny", "--data", "x", "--out", "{tmp}/run", "--resume"), "has no run in it"),
        (("train", "vcop_r3d_tiny", "--data", "/no/such.arrow", "--out", "{tmp}/run"), "no such file"),
        (("index", "{tmp}", "--out", "{tmp}/index.arrow"), "no video in it"),
        (("evaluate", "retrieval", "{tmp}", "--train", "x"), "no checkpoint in it"),
        (("evaluate", "probe", "{tmp}", "--train", "x"), "no checkpoint in it"),
        (("evaluate", "finetune", "{tmp}", "--train", "x"), "no checkpoint in it"),
        (("evaluate", "complement", "{tmp}", "--train", "x", "--other", "y"), "no checkpoint in it"),
        (("evaluate", "pretext", "{tmp}", "--test", "x"), "no checkpoint in it"),
        (("evaluate", "probe", "{tmp}", "--train", "x", "--splits", "1"), "splits=(1,): they belong to a data set"),
        (
            ("evaluate", "probe", "{tmp}", "--train", "x", "--dataset", "ucf101", "--test", "y"),
            "leave out test, labels",
        ),
        (("report", "{tmp}"), "no checkpoint in it"),
        (("datasets", "check", "ucf101", "{tmp}"), "no trainlist0*.txt"),
        ((), "train"),
        (("evaluate", "attentive", "x", "--train", "x", "--step", "3"), "run vidssl evaluate attentive --help"),
        (
            ("train", "vcop_r3d_tiny", "--data", "x", "--out", "x", "--stp", "3"),
            "run vidssl train vcop_r3d_tiny --help",
        ),
        (("store", "rm", "x", "--kep", "y"), "run vidssl store rm --help"),
    ],
)
def test_bad_input_ends_with_two_and_one_message(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    done = _vidssl(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_only_training_is_divided_among_the_processes_of_torchrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for command in (["evaluate", "finetune", "RUN", "--train", "x"], ["features", "RUN"], ["audit", "opn_tiny"]):
        assert main(command) == 2
        assert f"{command[0]}: torchrun started 2 processes" in (said := capsys.readouterr().err)
        assert f"call `vidssl {command[0]}` without torchrun" in said
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["recipes"]) == 0


def test_from_folder_to_table(videos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ("--batch-size", "2", "--interval", "4", "--resize", "24", "32", "--crop", "16", "16")
    rest = ("--holdout", "0.5", "--amp", "off", "--device", "cpu")
    train = ("train", "vcop_r3d_tiny", "--data", videos, "--out", run, *small, *rest)
    done = _vidssl(*train, "--steps", "2")
    assert done.returncode == 0, done.stderr
    assert (run / "index.arrow").is_file()
    done = _vidssl(*train, "--steps", "3", "--resume")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()][-1] == 3
    done = _vidssl(*train, "--steps", "3")
    assert done.returncode == 2
    assert "--resume" in done.stderr
    few = ("--clips", "2", "--ks", "1", "--device", "cpu")
    done = _vidssl("evaluate", "retrieval", run, "--train", videos, *few)
    assert done.returncode == 2
    assert "retrieval: the videos to find have 1 class(es); give two or more" in done.stderr
    done = _vidssl("evaluate", "retrieval", run, "--train", videos, "--leave-group-out", *few)
    assert done.returncode == 0, done.stderr
    assert "R@1" in done.stdout
