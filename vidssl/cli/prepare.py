"""The subcommand `prepare`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vidssl.cli.arguments import DataPath, OutPath
from vidssl.cli.data import open_data
from vidssl.paths import printable
from vidssl.prepare import Encoding
from vidssl.prepare import prepare as prepare_index
from vidssl.prepare.journal import Journal
from vidssl.prepare.names import ENDING
from vidssl.prepare.publish import local_folder, publish
from vidssl.prepare.run import TAKEN, plan
from vidssl.prepare.stale import find_stale, stale_lines
from vidssl.recipes import RECIPES
from vidssl.remote import RemotePath
from vidssl.types import VidsslError

_ENCODING = Encoding()


def prepare(
    data: DataPath,
    out: OutPath,
    settings: Encoding = _ENCODING,
    *,
    recipe: str = "vcop_r3d",
    workers: int | None = None,
    dry_run: bool = False,
    remove_stale: bool = False,
    allow_outside: bool = False,
    engine: Literal["local", "ray"] = "local",
) -> None:
    """Re-encode videos once, so that training decodes them quickly. A second call continues where the first one ended.

    Args:
        data: Folder or list of videos, or an index.
        out: Folder for the new videos, with the same subfolders, labels, groups and lists of files. For a URL of a
            bucket, such as s3://BUCKET/FOLDER, they are made in the folder of the cache (VIDSSL_REMOTE_CACHE), where
            they stay, and then uploaded.
        recipe: Recipe whose windows are used to measure the speed-up.
        workers: Number of videos encoded in parallel; None takes one for each core.
        dry_run: Only print what would be made.
        remove_stale: Delete the files in OUT that earlier calls made and that belong to no source now, such as the copy
            of a video that was deleted since, if they are unchanged. Others are named and kept. A video that cannot be
            read now is still a source.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
        engine: Where the videos are encoded. local: on this machine. ray: on the nodes of a Ray cluster, which
            RAY_ADDRESS=HOST:PORT names and which see the videos and OUT under the same paths.
    """
    if recipe not in RECIPES:
        raise VidsslError(f"recipe={recipe!r}: take one of {', '.join(RECIPES)}")
    index = open_data(data, None, allow_outside=allow_outside, engine=engine)
    named = out
    if isinstance(out, RemotePath):
        out = local_folder(out, index)
    if dry_run:
        journal = Journal(out, settings)
        names, _ = plan(index, out, journal)
        for row in index.usable().tolist():
            video = index.video(row)
            height, width = settings.size(*video.size)
            old, new = printable(index.column("path")[row]), printable(named / names[row])
            print(f"{old}  {video.size[1]}x{video.size[0]} {video.codec}  ->  {new}  {width}x{height} h264")
        stale = [name for name in find_stale(index, names, journal, TAKEN) if name.endswith(ENDING)]
        changed = [name for name in stale if not journal.unchanged(name)]
        print("\n".join(map(printable, stale_lines(stale, changed, removed=False))), end="\n" if stale else "")
        print(index.summary())
        return
    task = RECIPES[recipe]().pretext
    result = prepare_index(index, out, settings, task, workers=workers, remove_stale=remove_stale, engine=engine)
    if isinstance(named, RemotePath):
        count = publish(out, named, list(result.lists))
        print(f"{count} files uploaded to {printable(named)}; what they were made in is kept: {printable(out)}")
    print(replace(result, out=named).text())
