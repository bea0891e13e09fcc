"""Every script of examples/ runs as it stands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from tests.train.processes import finish, free_port, lines, wait_for_step
from vidssl.cli import main
from vidssl.models import resnet18
from vidssl.train.init import read_weights, transfer

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(8):
        make_clip(folder / f"{number}.mp4", frames=64 + number)
    return folder


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of each of two classes."""
    folder = tmp_path_factory.mktemp("classes")
    for number in range(8):
        path = folder / ("run", "sit")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        make_clip(path, frames=40)
    return folder


def run(*command: str | Path) -> str:
    about = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=about, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(script: str, *arguments: str | Path) -> str:
    return run(sys.executable, EXAMPLES / script, *arguments)


def test_train_resume_and_features(videos: Path, tmp_path: Path) -> None:
    out, features = tmp_path / "run", tmp_path / "features.npz"
    small = ("--batch-size", "4", "--workers", "1")
    assert "step 3;" in python("train.py", "--data", videos, "--out", out, "--epochs", "1", *small)
    assert "step 6;" in python("train.py", "--data", videos, "--out", out, "--epochs", "2", *small)
    assert "wrote" in python("features.py", "--run", out, "--data", videos, "--out", features, "--clips", "2")
    with np.load(features) as found:
        assert found["feature"].shape[0] == len(found["path"]) == 8
        assert np.isfinite(found["feature"]).all()


@pytest.mark.parametrize("recipe", ["pace_r3d_tiny", "arrow_r3d_tiny"])
def test_train_another_task(videos: Path, recipe: str, tmp_path: Path) -> None:
    how = ("--recipe", recipe, "--epochs", "1", "--batch-size", "4", "--workers", "1")
    assert "step 3; " in python("train.py", "--data", videos, "--out", tmp_path / "run", *how)


def losses(said: str) -> list[str]:
    return [line.partition(": ")[2] for line in said.splitlines() if ": loss " in line]


def test_own_loop_goes_on_where_it_was(videos: Path, tmp_path: Path) -> None:
    whole = python("own_loop.py", "--data", videos, "--state", tmp_path / "whole.pt", "--steps", "4")
    parts = [python("own_loop.py", "--data", videos, "--state", tmp_path / "s.pt", "--steps", "2") for _ in range(2)]
    assert [loss for part in parts for loss in losses(part)] == losses(whole)


def test_lightning_goes_on_where_it_was(videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    whole = losses(python("with_lightning.py", "--data", videos, "--out", tmp_path / "whole", "--steps", "5"))
    part = ("with_lightning.py", "--data", videos, "--out", tmp_path / "part", "--steps")
    assert len(set(whole)) == 5  # two epochs and a half
    assert losses(python(*part, "3")) + losses(python(*part, "5")) == whole


def test_accelerate_goes_on_where_it_was(videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    whole = losses(python("with_accelerate.py", "--data", videos, "--out", tmp_path / "whole", "--steps", "5", "--cpu"))
    part = ("with_accelerate.py", "--data", videos, "--out", tmp_path / "part", "--cpu", "--steps")
    assert len(set(whole)) == 5
    assert losses(python(*part, "3")) + losses(python(*part, "2")) == whole


def test_custom_pretext(videos: Path, tmp_path: Path) -> None:
    said = python("custom_pretext.py", "--data", videos, "--out", tmp_path / "run", "--steps", "3", "--batch-size", "4")
    assert "step_00000003" in said


def test_supervised(classes: Path) -> None:
    said = python("supervised.py", "--data", classes, "--epochs", "2", "--batch-size", "2").splitlines()
    assert [line.partition(":")[0] for line in said[:2]] == ["epoch 1", "epoch 2"]
    assert re.fullmatch(r"[0-2] of 2 held-out videos right, of 2 classes", said[2])


@pytest.mark.parametrize(
    "how", [(), ("--window", "40"), ("--count", "4", "--grid", "2", "2")], ids=["same", "moments", "four"]
)
def test_views(videos: Path, how: tuple[str, ...]) -> None:
    said = python("two_views.py", "--data", videos, "--steps", "2", "--batch-size", "4", *how)
    assert [line.partition(":")[0] for line in said.splitlines()] == ["step 1", "step 2"]


def test_masked_learns(videos: Path) -> None:
    said = python("masked.py", "--data", videos, "--steps", "40", "--batch-size", "4")
    losses = [float(line.rpartition(" ")[2]) for line in said.splitlines()]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])  # of a texture that is mostly noise


def test_torchrun(videos: Path, tmp_path: Path) -> None:
    options = ("--steps", "2", "--batch-size", "4", "--workers", "1", "--threads", "1", "--amp", "off")
    run("env", f"PYTHON={sys.executable}", EXAMPLES / "torchrun.sh", videos, tmp_path / "run", "2", *options)
    assert (tmp_path / "run" / "checkpoints" / "step_00000002").is_dir()


SRUN = """#!/bin/bash
# Starts a task for each node here. Like Slurm's, it hands USR1 to every process of the step, and ends what is left of a
# step when one of its tasks has failed.
shift
hand() {
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do hand "$child"; done
  kill -USR1 "$1"
}
for _ in $(seq "$SLURM_NNODES"); do "$@" & done
handed= code=0
trap 'handed=1; for task in $(jobs -rp); do hand "$task"; done' USR1
while [[ $(jobs -rp) ]]; do
  wait -n && continue
  failed=$?
  if [[ $handed ]]; then handed=; continue; fi
  code=$failed
  kill -TERM $(jobs -rp) 2>/dev/null
done
exit "$code"
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then echo 127.0.0.1; else echo "$@" >> "$TOLD"; fi
"""


def test_a_slurm_job_that_is_preempted_is_queued_again_and_goes_on(videos: Path, tmp_path: Path) -> None:
    """Slurm's two commands are stood in for. `NODES=2` tries it with two nodes; CI has one."""
    for name, body in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(body)
        (tmp_path / name).chmod(0o755)
    small = (
        "--steps",
        "30",
        "--batch-size",
        "4",
        "--workers",
        "1",
        "--threads",
        "1",
        "--amp",
        "off",
        "--log-every",
        "1",
    )
    nodes = os.environ.get("NODES", "1")
    about = {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "RECIPE": "vcop_r3d_tiny", "PROCESSES": "1"}
    about |= {"SLURM_JOB_ID": "7", "SLURM_NNODES": nodes, "SLURM_JOB_NODELIST": "one", "TOLD": str(tmp_path / "told")}
    about |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PORT": str(free_port()), "OMP_NUM_THREADS": "1"}

    def submit(out: Path) -> subprocess.Popen[str]:
        command = list(map(str, [EXAMPLES / "slurm.sh", videos, out, *small]))
        return subprocess.Popen(command, env=os.environ | about, stdout=-1, stderr=-1, text=True)

    out = tmp_path / "run"
    job = submit(out)
    wait_for_step(out, 3, job)
    job.send_signal(signal.SIGUSR1)
    _, error = finish(job, code=None)
    assert "checkpoint: " in error
    assert (tmp_path / "told").read_text() == "requeue 7\n"
    (stopped,) = (int(path.name[5:]) for path in (out / "checkpoints").glob("step_*"))
    assert 3 <= stopped < 30

    said, _ = finish(submit(out))  # the same command
    assert (tmp_path / "told").read_text() == "requeue 7\n"
    assert f"at step {stopped} of 30" in said
    assert [line["step"] for line in lines(out) if "train/loss" in line] == list(range(1, 31))
    whole = tmp_path / "whole"
    if nodes == "1":
        train = ["train", "vcop_r3d_tiny", "--data", str(videos), "--out", str(whole), "--norm", "group", *small]
        assert main([*train, "--device", "cpu"]) == 0
    else:
        finish(submit(whole))
    for name in ("encoder.safetensors", "head.safetensors"):
        assert len({(run / "checkpoints/step_00000030" / name).read_bytes() for run in (out, whole)}) == 1


def test_imagenet_weights_fit_resnet18(tmp_path: Path) -> None:
    """Of the names that torchvision gives its ResNet-18."""
    torch.manual_seed(0)
    state, channels = {}, 64

    def add(name: str, norm: str, *shape: int) -> None:
        state[f"{name}.weight"] = torch.randn(shape)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = torch.randn(shape[0])
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    add("conv1", "bn1", 64, 3, 7, 7)
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            place = f"layer{layer}.{block}"
            add(f"{place}.conv1", f"{place}.bn1", width, channels, 3, 3)
            add(f"{place}.conv2", f"{place}.bn2", width, width, 3, 3)
            if channels != width:
                add(f"{place}.downsample.0", f"{place}.downsample.1", width, channels, 1, 1)
            channels = width
    state |= {"fc.weight": torch.randn(1000, 512), "fc.bias": torch.randn(1000)}
    torch.save(state, tmp_path / "resnet18.pth")
    out = tmp_path / "ours.safetensors"
    assert "wrote 122 tensors" in python("imagenet.py", "--weights", tmp_path / "resnet18.pth", "--out", out)
    encoder = resnet18()
    found = transfer(encoder, read_weights(out))
    assert (found.fresh, found.ignored) == ((), ("fc.bias", "fc.weight"))
    assert torch.equal(encoder.state_dict()["stages.7.conv2.weight"], state["layer4.1.conv2.weight"])


def test_each_is_listed() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in EXAMPLES.iterdir() if path.name != "README.md" and f"({path.name})" not in text] == []
