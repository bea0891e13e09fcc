"""Lists the videos of a source: a folder, the WebDataset shards (tar files) in it, or a list of files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PosixPath

from vidssl.index.found import NOT_UTF8, Found, Ignored, VideoFile, as_utf8, hidden
from vidssl.index.frames import SERIES, Frames, find_frames
from vidssl.index.kinds import EXTENSIONS, PICTURES
from vidssl.index.lines import ListEntry, clean_label, refuse
from vidssl.index.lists import LISTS, is_list, read_list
from vidssl.index.remote import in_remote_folder, remote_names
from vidssl.index.tars import ENDINGS, find_in_tar, is_tar
from vidssl.paths import leads_outside
from vidssl.remote import RemotePath, fetch
from vidssl.remote.path import common_folder, is_url
from vidssl.types import VidsslError

# A name that pathlib would not change, and that stays in its folder.
_PLAIN = re.compile(r"(?!\.{1,2}(?:/|$))[^/]+(?:/(?!\.{1,2}(?:/|$))[^/]+)*")
_SHOWN = 10  # notes about single lines of a list
UNREADABLE = "a folder that cannot be read"
_TAR_IN_LIST = "a tar file; a list names videos, so name the tar, or its folder, instead of the list"
_NO_FRAMES = "a folder without numbered pictures; a list names videos, or folders of frames (img_00001.jpg, ...)"
_REMOTE_FRAMES = "a folder of frames, which is only read from a disk: copy it, or pack it as a video"


_COMMON = (".avi", ".mkv", ".mov", ".mp4", ".webm")
_ENDINGS = f"{' '.join(_COMMON)} or one of {len(EXTENSIONS) - len(_COMMON)} others"


def find_videos(source: Path, frames: str = "*") -> Found:
    """List the videos of a source.

    Args:
        source: A folder, a list in one of the layouts of vidssl.index.lists, or a shard (.tar).
        frames: Pattern of the names of frames (as in a shell), for folders that hold pictures of several numberings.

    Returns:
        The root, the videos and notes. The root of a list, a shard or a single folder of frames is the folder it is in.
        If a list names videos elsewhere, the root is the deepest folder that holds all of its videos.

    Raises:
        VidsslError: The source does not exist, is of another kind, holds no video, or is a list with refused lines.
    """
    where = f"root={str(source)!r}:"
    if isinstance(source, RemotePath):
        fetch.forget()
        try:
            return _find(source, frames, where)
        except OSError as error:
            raise VidsslError(f"{where} {error.strerror or error}") from error
    return _find(source, frames, where)


def _find(source: Path, frames: str, where: str) -> Found:
    if not source.exists():
        raise VidsslError(
            f"{where} no such folder or list; name a folder of videos, or a list of them ({', '.join(LISTS)})"
        )
    if source.is_dir():
        if isinstance(source, RemotePath):
            videos, notes = in_remote_folder(source, where)
            found = Found(source, _distinct(videos), notes)
        else:
            found = _in_folder(source.resolve(), frames)
        rule = (
            f"video files end in {_ENDINGS}, shards in {' '.join(ENDINGS)}; frames are at least "
            f"{SERIES} pictures that are numbered, such as img_00001.jpg"
        )
    elif is_list(source):
        found, rule = _in_list(source, frames), "the list is empty"
    elif is_tar(source.name):
        ignored, tar = Ignored(), source.resolve()
        if isinstance(tar, RemotePath):
            tar.stat()  # a missing one is an error of the argument, and no row
        found = Found(tar.parent, _distinct(find_in_tar(tar, tar.name, ignored)), ignored.notes())
        rule = f"video files end in {_ENDINGS}"
    else:
        raise VidsslError(
            f"{where} not a folder; name a folder of videos, a list of them ({', '.join(LISTS)}) or a shard (.tar); "
            "`vidssl datasets lists` makes lists of a data set's own files"
        )
    if not found.videos:
        raise VidsslError(f"{where} no video in it; {'; '.join([rule, *found.notes])}")
    return found


def _in_folder(root: Path, frames: str) -> Found:
    """The videos of a folder. Links to folders are followed once. Hidden folders are ignored; a hidden file that is no
    video is not counted. A folder is a video itself if it has numbered pictures and no other videos.
    """
    videos: list[VideoFile] = []
    ignored, shut, seen, top = Ignored(), Ignored(), set[str](), str(root)

    def unreadable(error: OSError) -> None:
        shut.add(f"{UNREADABLE}: {error.strerror}", as_utf8(os.path.relpath(error.filename, top)))

    for base, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        prefix = "" if base == top else f"{os.path.relpath(base, top)}/"
        label = clean_label(as_utf8(os.path.basename(base))) if prefix else None
        for name in sorted(folders):
            if hidden(name):
                ignored.add("hidden folder", as_utf8(prefix + name))
        folders[:] = sorted(name for name in folders if not hidden(name))
        before, pictures = len(videos), list[str]()
        for name in sorted(files):
            kind = os.path.splitext(name)[1].lower()
            path = prefix + name
            plain = as_utf8(path)
            if kind in EXTENSIONS:
                videos.append(VideoFile(path=plain, label=label, refused=NOT_UTF8 if plain != path else ""))
            elif is_tar(name):
                videos += find_in_tar(Path(base, name), path, ignored)
            elif kind in PICTURES:
                pictures.append(name)
            elif not name.startswith("."):
                ignored.add(kind or "no ending", plain)
        alone = len(videos) == before and not (base == top and folders)
        found = find_frames(Path(base), pictures, frames) if alone else None
        if found is not None:
            root = root.parent if base == top else root  # it is then the only video
            videos.append(_frames_in(PosixPath(os.path.relpath(base, root)), found))
        for name in pictures:
            if found is None or name not in found.names:
                ignored.add(os.path.splitext(name)[1].lower(), as_utf8(prefix + name))
        if not (folders or files) and prefix:
            ignored.add("empty folder", as_utf8(prefix))
    return Found(root, _distinct(videos), [*shut.notes(), *ignored.notes()])


def _frames_in(folder: PosixPath, found: Frames) -> VideoFile:
    """The video that the pictures of a folder are.

    folder: Its path, relative to the root.
    """
    path, first = as_utf8(str(folder)), str(folder / found.first)
    refused = NOT_UTF8 if as_utf8(first) != first else found.refused
    return VideoFile(
        path=path,
        label=clean_label(as_utf8(folder.parent.name)),
        archive=None if refused else first,
        refused=refused,
    )


def _distinct(videos: Sequence[VideoFile]) -> list[VideoFile]:
    """The videos ordered by path. If an escaped name is also the name of another file, it gets a number."""
    taken, found = set[str](), []
    for one in sorted(videos, key=lambda one: (one.path, one.refused)):
        path, number = one.path, 1
        while path in taken:
            number += 1
            path = f"{one.path} ({number})"
        taken.add(path)
        found.append(one if number == 1 else replace(one, path=path))
    return found


def _in_list(source: Path, frames: str) -> Found:
    """The videos of a list."""
    where = f"list={str(source)!r}"
    listed = read_list(source, where)
    root = source.resolve().parent
    given = [entry.path for entry in listed.entries]
    if isinstance(root, RemotePath) or any(map(is_url, given)):
        paths = remote_names(given, root if isinstance(root, RemotePath) else None)
    else:
        paths = _resolve_names(given, root)
    wide = list[str]()
    if not all(path.startswith(f"{str(root).rstrip('/')}/") for path in paths):
        root = common_folder([os.path.dirname(path) for path in paths], where)
        wide = _widened(root, paths, listed.entries)
    start = len(str(root).rstrip("/")) + 1
    first: dict[str, ListEntry] = {}
    grouped: dict[str, ListEntry] = {}  # the first line of each file that has segments, which share a group
    segmented = {path[start:] for entry, path in zip(listed.entries, paths, strict=True) if entry.excerpt is not None}
    videos, refused, again, counts = [], [], [], []
    for entry, path in zip(listed.entries, paths, strict=True):
        file = path[start:]
        name, group = f"{file}{entry.excerpt or ''}", entry.group
        if file in segmented:
            group, one_file = entry.group or file, grouped.setdefault(file, entry)
            if one_file.group != entry.group:
                why = f"a segment of {entry.path} has another group in line {one_file.line}; give all of them the same"
                refused.append((entry.line, why))
                continue
        earlier = first.setdefault(name, entry)
        if earlier is entry:
            label = entry.label if listed.labelled else clean_label(PosixPath(entry.path).parent.name)
            if os.path.isdir(path):
                pictures, note = _listed_frames(PosixPath(file), root, entry, frames)
                one = replace(pictures, label=label, group=group)
                counts += [note] if note else []
                if entry.excerpt is not None:
                    refused.append(
                        (entry.line, f"{entry.path} is a folder of frames, which has no segments; leave them out")
                    )
            else:
                archive = None if entry.excerpt is None else file
                why = _TAR_IN_LIST if is_tar(file) else ""
                if entry.frames is not None and isinstance(root, RemotePath):
                    why = _REMOTE_FRAMES
                one = VideoFile(
                    path=name, label=label, group=group, archive=archive, refused=why, excerpt=entry.excerpt
                )
            videos.append(one)
        elif (earlier.label, earlier.group) == (entry.label, entry.group):
            again.append(f"line {entry.line}: {_shown(entry)} is named in line {earlier.line} already")
        else:
            why = f"{_shown(entry)} has another label or group in line {earlier.line}; keep one of the lines"
            refused.append((entry.line, why))
    refuse(f"{where}:", refused)
    notes = [*wide, *_first(again, "lines name a video again"), *_first(counts, "folders have other numbers of frames")]
    videos.sort(key=lambda one: one.path)
    return Found(root, videos, notes)


def _widened(root: Path, paths: Sequence[str], entries: Sequence[ListEntry]) -> list[str]:
    """A note if only files that are not there make the root of a list as wide as it is."""
    if isinstance(root, RemotePath):
        return []
    named: dict[str, list[str]] = {}  # by folder
    for path in paths:
        named.setdefault(os.path.dirname(path), []).append(path)
    # A folder that has one of its files counts: a long list is asked about its folders, not about each video.
    there = {folder for folder, files in named.items() if any(map(os.path.exists, files))}
    if not there or (narrow := os.path.commonpath(there)) == str(root):
        return []
    lost = next(one for one, path in zip(entries, paths, strict=True) if os.path.dirname(path) not in there)
    return [
        f"line {lost.line}: {lost.path} is not there, and widens the root from {narrow} to {root}, which changes the "
        "path of every video; correct or remove such lines"
    ]


def _first(notes: list[str], what: str) -> list[str]:
    more = [f"{len(notes) - _SHOWN} more {what}"] if len(notes) > _SHOWN else []
    return [*notes[:_SHOWN], *more]


def _listed_frames(name: PosixPath, root: Path, entry: ListEntry, frames: str) -> tuple[VideoFile, str]:
    """The folder of frames that a list names, and a note about it."""
    folder, note = root / name, ""
    try:
        found = find_frames(folder, os.listdir(folder), frames, least=1)
    except OSError as error:
        return VideoFile(path=str(name), label=None, refused=f"{UNREADABLE}: {error.strerror}"), ""
    if found is None:
        return VideoFile(path=str(name), label=None, refused=_NO_FRAMES), ""
    one, count = _frames_in(name, found), len(found.names)
    if entry.frames is not None and not one.refused and entry.frames != count:
        said = f"the list says {entry.frames} frames, but its folder has {count} pictures"
        if entry.frames > count:
            one = replace(one, archive=None, refused=f"{said}; extract them again, or correct line {entry.line}")
        else:
            note = f"line {entry.line}: {entry.path}: {said}; all are used"
    return one, note


def _shown(entry: ListEntry) -> str:
    return f"{entry.path}{entry.excerpt or ''}"


def _resolve_names(names: Sequence[str], folder: Path) -> list[str]:
    """The paths of the files that a list in `folder` names.

    If a name is absolute or contains "..", links to folders are resolved first, as the system does before it goes up. A
    name that stays below the folder is kept as written.
    """
    real: dict[Path, Path] = {}
    paths, base = [], str(folder).rstrip("/")
    for name in names:
        if _PLAIN.fullmatch(name):  # nearly all; a million paths of pathlib take ten seconds
            paths.append(f"{base}/{name}")
            continue
        path = folder / name
        if leads_outside(PosixPath(name)):
            if path.parent not in real:
                real[path.parent] = path.parent.resolve()
            path = real[path.parent] / path.name
        paths.append(str(path))
    return paths
