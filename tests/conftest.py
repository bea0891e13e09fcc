"""A small folder of videos and a recipe that fits it; and tests that need a GPU, where there is none."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.clips import make_clip
from vidssl.cpus import cpus
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.native import build_info
from vidssl.pretext import Vcop
from vidssl.recipes import RECIPES
from vidssl.train.config import Recipe, TrainConfig

# Property tests try the same examples in every run, and keep none on disk.
settings.register_profile("vidssl", deadline=None, derandomize=True, database=None)
settings.load_profile("vidssl")


MOST = 8  # processes; each takes about 1 GB of memory


def reason_without_gpu() -> str | None:
    """Why tests that need a GPU cannot run here; None if they can."""
    if torch.cuda.is_available() and build_info()["cuda"]:
        return None
    return "no CUDA device that PyTorch sees" if build_info()["cuda"] else "this build has no CUDA twins"


@pytest.hookimpl(optionalhook=True)  # a node with a GPU may have no pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """The processes of `-n auto`. On a GPU it is this one alone: some tests there measure the device's free memory."""
    return min(cpus(), MOST) if reason_without_gpu() else 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests marked gpu where they cannot run; VIDSSL_REQUIRE_GPU=1 makes that a failure."""
    if item.get_closest_marker("gpu") is None or (reason := reason_without_gpu()) is None:
        return
    if os.environ.get("VIDSSL_REQUIRE_GPU") == "1":
        pytest.fail(f"VIDSSL_REQUIRE_GPU=1: {reason}")
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def make_videos(root: Path) -> VideoIndex:
    """Nine videos of 36 frames in three classes, and one that is too short."""
    for number in range(9):
        path = root / "abc"[number % 3] / f"{number}_g{number // 3}.avi"
        path.parent.mkdir(exist_ok=True, parents=True)
        make_clip(path, "mpeg4", frames=36, size=(48 + 4 * number, 64))  # each shows more of the texture
    make_clip(root / "a" / "short.avi", "mpeg4", frames=9, size=(48, 64))
    return VideoIndex.build(root, progress=False)


def tiny_recipe(name: str) -> Recipe:
    """A tiny recipe for `make_videos`: VCOP's clips lie closer, as its own window is longer than these videos."""
    recipe = RECIPES[name]()
    if not isinstance(recipe.pretext, Vcop):
        return recipe
    return replace(recipe, pretext=replace(recipe.pretext, interval=4))


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    return make_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return Recipe(
        pretext=Vcop(clip_length=8, interval=2, augment=Augment(resize=(24, 32), crop=(16, 16))),
        encoder="r3d_tiny",
        train=TrainConfig(
            batch_size=2,
            lr=1e-2,
            amp="off",
            holdout=0.2,
            workers=1,
            log_every=2,
            val_every=4,
            save_every=3,
            keep=2,
            seed=5,
        ),
    )
