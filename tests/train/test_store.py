"""Training from a store: the same losses as without one, and the size is part of the recipe."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vidssl import FrameStore, VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.cli import train as command
from vidssl.train.config import Recipe, flat, recipe_from
from vidssl.train.train import open_store, train


def losses(out: Path) -> list[float]:
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [line["train/loss"] for line in lines if "train/loss" in line]


def test_losses_do_not_depend_on_what_is_kept(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    small = replace(recipe, store_size="24x32")
    FrameStore(tmp_path / "store", (24, 32)).fill(index, progress=False)
    kept = FrameStore(tmp_path / "store", (24, 32))
    train(small, index, tmp_path / "kept", steps=4, device="cpu", quiet=True, store=kept)
    train(small, index, tmp_path / "decoded", steps=4, device="cpu", quiet=True)
    assert losses(tmp_path / "kept") == losses(tmp_path / "decoded") != []
    assert kept.stats["hits"] > 0
    assert kept.stats["misses"] == 0
    with pytest.raises(VidsslError, match="store_size: '24x32' then, 'native' now"):
        train(replace(recipe, store_size="native"), index, tmp_path / "kept", steps=6, resume=True, device="cpu")


def test_the_size_is_part_of_the_recipe(recipe: Recipe, tmp_path: Path) -> None:
    for size in ("none", "native", "24x32"):
        sized = replace(recipe, store_size=size)
        assert recipe_from(json.loads(json.dumps(sized.as_dict()))) == sized
        assert flat(sized.as_dict())["store_size"] == size
    assert open_store(recipe, None) is None
    nothing = open_store(replace(recipe, store_size="24x32"), None)
    assert nothing is not None
    assert (nothing.folder, nothing.size) == (None, (24, 32))
    with pytest.raises(VidsslError, match="make both the same"):
        open_store(recipe, FrameStore(tmp_path, "native"))
    for wrong in ("small", "15x32", "24", "024x032"):
        with pytest.raises(VidsslError, match="store_size="):
            replace(recipe, store_size=wrong)


def test_a_recipe_without_a_size_names_the_bytes(
    index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.save(tmp_path / "index.arrow")
    arguments = ["train", "vcop_r3d", "--data", str(tmp_path / "index.arrow"), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--store", str(tmp_path / "store")]) == 2
    error = capsys.readouterr().err
    assert "--store-size native takes" in error
    assert "--store-size 128x171 takes" in error
    assert not (tmp_path / "store").exists()


def test_the_backend_changes_no_loss(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = replace(recipe, store_size="24x32")
    FrameStore(tmp_path / "store", (24, 32)).fill(index, progress=False)
    train(small, index, tmp_path / "decoded", steps=4, device="cpu", quiet=True)
    for backend in ("file", "device"):
        store = FrameStore(tmp_path / "store", (24, 32), backend=backend)
        train(small, index, tmp_path / backend, steps=4, device="cpu", store=store)
        assert losses(tmp_path / backend) == losses(tmp_path / "decoded") != []
        assert f"loader on cpu, frames kept in {backend}" in capsys.readouterr().out


def test_the_command_names_the_backend(
    index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.save(tmp_path / "index.arrow")
    run = ["train", "vcop_r3d", "--data", str(tmp_path / "index.arrow"), "--out", str(tmp_path / "run")]
    device, limit = ("--store-backend", "device"), ("--store-limit", "1GB")
    for options, message in {
        device: "store_backend='device': add --store FOLDER, or leave it out",
        limit: "store_limit='1GB': add --store FOLDER, or leave it out",
        (*device, *limit): "store_limit='1GB', store_backend='device': add --store FOLDER, or leave them out",
    }.items():
        assert main([*run, *options]) == 2
        assert f"error: {message}\n" in capsys.readouterr().err
    seen: list[FrameStore] = []
    monkeypatch.setattr(command, "train", lambda *_, store, **__: seen.append(store))
    for backend in ("auto", "device"):
        how = ["--store", str(tmp_path / "store"), "--store-size", "128x171", "--store-backend", backend]
        assert main([*run, *how]) == 0
    assert [store.backend for store in seen] == ["auto", "device"]
