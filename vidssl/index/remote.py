"""Lists the videos of a remote folder, and what a list names by URLs."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from urllib.parse import unquote

from vidssl.index.found import Ignored, VideoFile, hidden
from vidssl.index.kinds import EXTENSIONS, PICTURES
from vidssl.index.lines import clean_label
from vidssl.index.tars import find_in_tar, is_tar
from vidssl.paths import printable
from vidssl.remote import RemotePath, fetch
from vidssl.remote.path import is_url
from vidssl.types import VidsslError

_PICTURE = "a picture; folders of frames are only read from a disk: copy them, or pack each as a video"
_NO_PATH = "a name that is no path, such as one with // or /./ in it; rename it"
_WEB = ("http", "https")


def in_remote_folder(root: RemotePath, where: str) -> tuple[list[VideoFile], list[str]]:
    """The videos below a remote folder in any order, and notes. Files and folders are told apart as in a local one.

    Args:
        root: The folder.
        where: Beginning of error messages.

    Raises:
        VidsslError: A web server gives no listing.
        OSError: The server cannot be reached, or refuses.
    """
    if root.suffix.lower() in EXTENSIONS:
        raise VidsslError(f"{where} a video; name the folder that it is in, or a list with a URL on each line (.txt)")
    web = str(root).partition("://")[0] in _WEB
    try:
        urls = list(fetch.find(str(root)))
        reason = "its page has no links to files below it"
    except (FileNotFoundError, PermissionError) as error:
        if not web:
            raise
        urls, reason = [], str(error.strerror)
    if web and not urls:
        raise VidsslError(
            f"{where} its server gives no listing of this folder ({printable(reason)}); name a list instead: a .txt "
            "with a URL on each line, here or on that server; or a shard (.tar)"
        )
    ignored, files = Ignored(), list[str]()
    for url in urls:
        name = url.removeprefix(f"{root}/")
        *folders, last = name.split("/")
        kind = posixpath.splitext(last)[1].lower()
        if not last:  # an object that stands for a folder
            continue
        if str(root / name) != url or ".." in folders:
            ignored.add(_NO_PATH, name)
        elif shut := next((folder for folder in folders if hidden(folder)), None):
            ignored.add("hidden folder", shut)
        elif kind in EXTENSIONS or is_tar(last):
            files.append(name)
        elif kind in PICTURES:
            ignored.add(_PICTURE, name)
        elif not last.startswith("."):
            ignored.add(kind or "no ending", name)
    fetch.look_up(str(root / name) for name in files)
    videos = list[VideoFile]()
    for name in files:
        if is_tar(name):
            videos += find_in_tar(root / name, name, ignored)
        else:
            folder = posixpath.basename(posixpath.dirname(name))
            videos.append(VideoFile(path=name, label=clean_label(unquote(folder) if web else folder)))
    return videos, ignored.notes()


def remote_names(names: Sequence[str], folder: RemotePath | None) -> list[str]:
    """The URLs of the files that a list names.

    Args:
        names: URLs, or paths relative to the list.
        folder: The remote folder of the list; None for a list on a disk.
    """
    urls = []
    for name in names:
        whole = name if is_url(name) or folder is None else f"{folder}/{name}"
        scheme, mark, rest = whole.partition("://")
        urls.append(scheme + mark + posixpath.normpath(rest) if mark else whole)
    fetch.look_up(url for url in urls if is_url(url))
    return urls
