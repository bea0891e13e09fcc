"""`vidssl store`: fill, list, verify and delete."""

from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl.cli import main
from vidssl.cli.store import parse_bytes, readable
from vidssl.store.frames import parse_size
from vidssl.types import VidsslError


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        make_clip(tmp_path / "videos" / f"{name}.mp4", frames=20)
    return tmp_path / "videos"


def test_fill_list_verify_and_delete(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    assert main(["store", "fill", str(videos), str(store), "--store-size", "24x32"]) == 0
    out = capsys.readouterr().out
    assert "2 videos, 40 frames of 24x32: 46.1 KB" in out
    assert "2 of 2 videos are kept, 40 frames now" in out
    assert main(["store", "fill", str(videos), str(store), "--store-size", "24x32"]) == 0
    assert "2 of 2 videos are kept, 0 frames now" in capsys.readouterr().out
    assert main(["store", "ls", str(store)]) == 0
    assert "1 shards, 2 videos" in capsys.readouterr().out
    assert main(["store", "verify", str(store)]) == 0
    (path,) = store.iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (store / "notes.txt").write_text("mine")
    assert main(["store", "verify", str(store)]) == 2
    assert "damaged" in capsys.readouterr().out
    assert main(["store", "rm", str(store), "--damaged"]) == 0
    assert [one.name for one in store.iterdir()] == ["notes.txt"]
    main(["store", "fill", str(videos), str(store), "--store-size", "native"])
    assert main(["store", "rm", str(store)]) == 0
    assert [one.name for one in store.iterdir()] == ["notes.txt"]


def test_a_limit(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(videos), str(tmp_path / "store"), "--store-size", "24x32", "--workers", "1"]
    assert main(["store", "fill", *arguments, "--store-limit", "30KB"]) == 0
    assert "1 of 2 videos are kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["fill", "VIDEOS", "STORE", "--store-size", "24"],
        ["fill", "VIDEOS", "STORE", "--store-size", "0x24"],
        ["fill", "VIDEOS", "STORE", "--store-size", "99999x99999"],
        ["fill", "VIDEOS", "STORE", "--store-size", "24x32", "--store-limit", "much"],
        ["ls", "STORE"],
        ["verify", "STORE"],
        ["rm", "STORE"],
        ["verify", "VIDEOS"],
    ],
)
def test_wrong_arguments(
    arguments: list[str], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"VIDEOS": str(videos), "STORE": str(tmp_path / "store")}
    assert main(["store", *(named.get(one, one) for one in arguments)]) == 2
    assert "store" in capsys.readouterr().err.lower()


def test_sizes_in_words() -> None:
    assert [parse_bytes(text) for text in ("200GB", "1.5 mb", "7", None)] == [200 * 10**9, 1_500_000, 7, None]
    assert [readable(count) for count in (12, 1500, 2 * 10**12)] == ["12 bytes", "1.5 KB", "2.0 TB"]
    assert (parse_size("128x171"), parse_size("native")) == ((128, 171), "native")
    for wrong in ("x", "1x", "1.5x2", "-1x2", "1x2x3", ""):
        with pytest.raises(VidsslError, match="store_size="):
            parse_size(wrong)
    for wrong in ("GB", "1XB", "inf"):
        with pytest.raises(VidsslError, match="store_limit="):
            parse_bytes(wrong)
