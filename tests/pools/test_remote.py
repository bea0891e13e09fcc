"""ray: videos in a bucket are indexed and prepared on the nodes as on one machine; nodes without access are named.

Skipped where ray is not installed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clips import make_clip
from tests.pools.nodes import Nodes
from tests.remote.conftest import _of_its_own as _of_its_own
from tests.remote.conftest import s3 as s3
from tests.remote.conftest import upload
from vidssl.cli import main
from vidssl.remote import RemotePath, fetch

pytest.importorskip("ray")


@pytest.fixture
def bucket(s3: str, tmp_path: Path) -> str:
    """The server; s3://bucket/videos has three videos."""
    for number in range(3):
        (tmp_path / "videos/a").mkdir(parents=True, exist_ok=True)
        make_clip(tmp_path / f"videos/a/{number}.mp4", frames=20 + number)
    (tmp_path / "videos/a/damaged.mp4").write_bytes(b"no video" * 99)
    upload(tmp_path / "videos", "bucket/videos")
    return s3


def test_a_bucket_is_indexed_and_prepared_as_on_one_machine(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, made = [], []
    with Nodes(FSSPEC_S3_ENDPOINT_URL=bucket) as nodes:
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        for engine in ("local", "ray"):
            index, out = str(tmp_path / f"{engine}.arrow"), f"s3://bucket/{engine}"
            assert main(["index", "s3://bucket/videos", "--out", index, "--engine", engine, "--workers", "1"]) == 0
            found.append(Path(index).read_bytes())
            assert main(["prepare", index, out, "--engine", engine, "--workers", "1"]) == 0
            urls = [url for url in fetch.find(out) if not url.endswith(".arrow")]
            made.append({url.removeprefix(out): RemotePath(url).open("rb").read() for url in urls})
    assert found[0] == found[1]
    assert made[0] == made[1]
    assert len(made[0]) == 4  # and their list


def test_nodes_without_credentials_are_named(
    bucket: str, joined: Nodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "s3://bucket/videos", "--out", str(tmp_path / "i.arrow"), "--engine", "ray"]) == 2
    said = capsys.readouterr().err
    assert re.search(
        r"error: VideoIndex\.build: engine='ray': node \S+ cannot read s3://bucket/videos/a/\S+: no credentials \(.*"
        r"set AWS_PROFILE .*; it is the node that needs it, where `ray start` is called",
        said,
    )
    assert not (tmp_path / "i.arrow").exists()
