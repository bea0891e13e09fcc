"""What the commands say of the room and the frames of a store."""

from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex
from vidssl.cli import main
from vidssl.cli.store_data import parse_bytes, say_sizes
from vidssl.paths import readable
from vidssl.store.frames import parse_size
from vidssl.types import VidsslError


def test_sizes_are_said_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a", "b"):
        make_clip(videos / f"{name}.mp4", frames=20)
    arguments = ["--store", str(tmp_path / "store"), "--store-size", "24x32", "--store-limit", "30KB", "--workers", "1"]
    assert main(["index", str(videos), "--out", str(tmp_path / "index.arrow"), *arguments]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"store {tmp_path}/store: 30.0 KB are free, enough for 26 frames of 24x32 (1.2 KB each)\n")
    assert "1 of 2 videos are kept, 20 frames now" in out
    index = VideoIndex.load(tmp_path / "index.arrow")
    [shard] = (tmp_path / "store").iterdir()
    say_sizes(FrameStore(tmp_path / "store", (24, 32), limit=shard.stat().st_size + 11_520), index)
    assert "46.1 KB, of which 23.0 KB are kept; 11.5 KB are free, so 75% of it fits" in capsys.readouterr().out


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
