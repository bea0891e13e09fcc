"""Features come back from disk as they were, and only those; files from elsewhere are matched by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vidssl import VideoIndex, VidsslError
from vidssl.evaluate import cache
from vidssl.evaluate.cache import extract_cached, load_features, save_features
from vidssl.evaluate.features import Clips, Features, extract
from vidssl.kernels.augment import Augment
from vidssl.models import ENCODERS


def test_features_come_back_from_disk(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = Clips(count=2, length=8, augment=Augment(resize=(24, 32), crop=(16, 16)))
    first, second = ENCODERS["r3d_tiny"](), ENCODERS["r3d_tiny"]()
    (made,) = extract_cached(tmp_path, [first], index, clips, progress=False)
    real, asked = extract, []

    def spy(encoders: list[Any], *rest: Any, **options: Any) -> list[Features]:
        asked.append(list(encoders))
        return real(encoders, *rest, **options)

    monkeypatch.setattr(cache, "extract", spy)
    again, other = extract_cached(tmp_path, [first, second], index, clips, progress=False)
    assert asked == [[second]]
    assert torch.equal(again.feature, made.feature)
    assert (again.label, again.group) == (made.label, made.group)
    assert (again.row == made.row).all()
    assert not torch.equal(other.feature, made.feature)
    extract_cached(tmp_path, [first], index.select(range(6)), clips, progress=False)
    extract_cached(tmp_path, [first], index, Clips(count=3, length=8, augment=clips.augment), progress=False)
    extract_cached(
        tmp_path, [first], index, Clips(count=2, length=8, augment=clips.augment, crops="ten"), progress=False
    )
    assert len(asked) == 4  # other videos, other clips, other crops
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    extract_cached(tmp_path, [first], index, clips, progress=False)
    assert len(asked) == 5  # cut off: made anew
    with torch.no_grad():
        next(first.parameters()).mul_(2)
    extract_cached(tmp_path, [first], index, clips, progress=False)
    assert len(asked) == 6  # other weights


def test_features_from_elsewhere(index: VideoIndex, tmp_path: Path) -> None:
    paths = index.column("path").to_pylist()
    feature = torch.arange(20.0).view(10, 2)
    order = np.random.default_rng(0).permutation(10)
    for names in ([paths[at] for at in order], [Path(paths[at]).stem for at in order]):
        save_features(tmp_path / "b.safetensors", feature[order], names)
        found = load_features(tmp_path / "b.safetensors", index)
        assert torch.equal(found.feature, feature)
        assert found.label == index.column("label").to_pylist()
    save_features(tmp_path / "b.safetensors", feature[:3], paths[2:5])
    assert load_features(tmp_path / "b.safetensors", index).row.tolist() == [2, 3, 4]


def test_wrong_files_are_named(index: VideoIndex, tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    with pytest.raises(VidsslError, match="not a features file"):
        load_features(path, index)
    save_file({"feature": torch.zeros(3, 2)}, path)
    with pytest.raises(VidsslError, match=r"no paths in its metadata for a tensor \[3, 2\]"):
        load_features(path, index)
    save_features(path, torch.zeros(1, 2), ["other.mp4"])
    with pytest.raises(VidsslError, match="names none of the 10 videos"):
        load_features(path, index)
    save_features(path, torch.zeros(2, 2), ["x/0_g0.avi", "y/0_g0.avi"])
    with pytest.raises(VidsslError, match=r"could be x/0_g0.avi or y/0_g0.avi"):
        load_features(path, index)
