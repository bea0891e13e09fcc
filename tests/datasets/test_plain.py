"""A folder a class, or a list: checked, and parted without splitting a group."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidssl import VidsslError
from vidssl.datasets import plain


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for action in ("bend", "jump"):
        for person in ("ann", "bob", "cat", "dan"):
            path = tmp_path / "set" / action / f"{person}_{action}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    return tmp_path / "set"


def test_groups_are_never_split(videos: Path) -> None:
    for seed in range(4):
        found = plain(videos, group="[a-z]+(?=_)", fraction=0.25, seed=seed)
        assert found.whole
        train, test = ({entry.group for entry in found.parts[part]} for part in ("train", "test"))
        assert (len(found.parts["train"]), len(found.parts["test"])) == (6, 2)
        assert len(test) == 1
        assert not train & test
        assert {entry.label for entry in found.parts["test"]} == {"bend", "jump"}
    assert list(plain(videos).parts) == ["all"]


def test_what_is_wrong_is_said(videos: Path) -> None:
    (videos / "bare.avi").write_bytes(b"x")
    (videos / "bend" / "._ann_bend.avi").write_bytes(b"x")
    (videos / "bend" / "nothing.avi").write_bytes(b"")
    problems = "\n".join(plain(videos).problems)
    assert "1 videos have no class, such as bare.avi" in problems
    assert "1 files are not videos but macOS metadata" in problems
    assert "nothing.avi: empty file" in problems


def test_a_list(videos: Path) -> None:
    (videos / "list.csv").write_text("path,label,group\nbend/ann_bend.avi,bend,ann\ngone.avi,jump,bob\n")
    found = plain(videos / "list.csv")
    assert found.missing == {"all": ["gone.avi"]}
    assert [entry.group for entry in found.parts["all"]] == ["ann", "bob"]


def test_wrong_use_is_named(videos: Path) -> None:
    with pytest.raises(VidsslError, match=r"fraction=1\.5"):
        plain(videos, fraction=1.5)
    with pytest.raises(VidsslError, match="group='nobody': matches none"):
        plain(videos, group="nobody")
    with pytest.raises(VidsslError, match=r"group='\('"):
        plain(videos, group="(")
