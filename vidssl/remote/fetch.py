"""Requests to remote files, through fsspec.

A request that fails for a passing reason (the network, a busy server) is tried again, and counted. Other errors say
what is wrong and what to do. fsspec's own options, such as `endpoint_url`, `anon` or `profile` of s3, come from its
configuration (FSSPEC_S3_ENDPOINT_URL=..., or ~/.config/fsspec/*.json) and the usual variables (AWS_PROFILE, ...).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import random
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

ATTEMPTS = 6
WAIT = 0.25  # seconds before the second attempt, at most; each further one waits twice as long
CONNECT, READ = 5.0, 30.0  # seconds: to reach a server, and to get the next bytes
FRESH = 600.0  # seconds for which the size and version of a file are not asked again
_MOST = 2**18  # files whose size and version are kept
_TOGETHER = 32  # requests at once, where many files are asked about
_HTTP = ("http", "https")
# What tells versions of a file apart, the most certain first, as the file systems of fsspec name it.
_TAGS = ("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "generation", "Last-Modified", "LastModified", "mtime")
_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError", "SSOTokenLoadError"}
)
_REGION = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "TemporaryRedirect"}
)
_MALFORMED = frozenset({"ParamValidationError", "InvalidUrlClientError", "InvalidURL"})
_EXPIRED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
_BUSY = (408, 425, 429)  # of the 4xx, those that pass; all of 5xx may
_LIBRARIES = frozenset({"aiohttp", "botocore", "aiobotocore", "fsspec", "s3fs"})
log = logging.getLogger(__name__)


class Info(NamedTuple):
    """What a server says of a file.

    Attributes:
        size: Bytes.
        version: A number that stands for its ETag, or else the next best that the server tells (a checksum, the time of
            its last change), and for its size. It takes the place of a local file's modification time.
    """

    size: int
    version: int


_known: dict[str, tuple[float, Info]] = {}
_lock = threading.Lock()
_retries = 0


def retries() -> int:
    """Number of requests of this process that were tried again."""
    return _retries


def forget() -> None:
    """Ask every server again about the files that are used from now on."""
    with _lock:
        _known.clear()


def info(url: str) -> Info:
    """The size and version of a file.

    Raises:
        OSError: It is not there (ENOENT), may not be read (EACCES), or its server does not answer (ETIMEDOUT), or a
            package is missing (ENOPKG).
    """
    found = _known.get(url)
    if found is not None and time.monotonic() - found[0] < FRESH:
        return found[1]
    return _remember(url, call(url, "info", url))


def look_up(urls: Iterable[str]) -> None:
    """Ask about many files at once, so that `info` of each is known. Errors are left to `info`."""

    def ask(url: str) -> None:
        with suppress(OSError):
            info(url)

    with ThreadPoolExecutor(_TOGETHER) as pool:
        list(pool.map(ask, urls))


def read(url: str, begin: int, end: int) -> bytes:
    """The bytes begin..end - 1 of a file, or the whole file if its server sends no parts.

    Raises:
        OSError: As `info`, or the file has become shorter.
    """
    data = bytes(call(url, "cat_file", url, start=begin, end=end))
    if len(data) < end - begin:
        with _lock:
            _known.pop(url, None)
        raise OSError(errno.ESTALE, f"it ends after {begin + len(data)} bytes: it has changed; index it again", url)
    return data


def find(url: str) -> Iterator[str]:
    """The URLs of all files below a folder.

    Raises:
        OSError: As `info`, or the server gives no listing.
    """
    if url.partition("://")[0] in _HTTP:
        yield from _crawl(url.rstrip("/") + "/", set())
        return
    scheme = url.partition("://")[0]
    for name, about in sorted(call(url, "find", url, detail=True).items()):
        one = f"{scheme}://{name.partition('://')[2] or name}"
        if about.get("size") is not None:
            _remember(one, about)
        yield one


def _crawl(folder: str, seen: set[str]) -> Iterator[str]:
    """The files that the listing pages of a web server link to, below a folder."""
    seen.add(folder)
    for url in sorted(call(folder, "ls", folder, detail=False)):
        if "?" in url or "#" in url or not url.startswith(folder) or url == folder:
            continue  # links that sort the page, and those to elsewhere
        if not url.endswith("/"):
            yield url
        elif url not in seen:
            yield from _crawl(url, seen)


def call(url: str, method: str, *arguments: Any, **named: Any) -> Any:
    """Call a method of fsspec's file system for a URL, and call it again if it fails for a passing reason.

    Raises:
        OSError: As `info`.
    """
    error: Exception | None = None
    for attempt in range(ATTEMPTS):
        if error is not None:
            _count(url, error)
            time.sleep(random.uniform(0.5, 1.0) * WAIT * 2 ** (attempt - 1))
        try:
            return getattr(_filesystem(url), method)(*arguments, **named)
        except Exception as failed:
            refused = _permanent(failed, url)
            if refused is not None:
                raise refused from failed
            error = failed
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    raise OSError(
        errno.ETIMEDOUT, f"no answer in {ATTEMPTS} attempts ({text}); check its address and the network", url
    ) from error


def _count(url: str, error: Exception) -> None:
    global _retries
    with _lock:
        _retries += 1
        count = _retries
    if count & (count - 1) == 0:  # each time that the number has doubled
        log.warning("%s: %s: %s; tried again (%d times so far)", url, type(error).__name__, error, count)


def _remember(url: str, about: dict[str, Any]) -> Info:
    if about.get("type") == "directory":
        raise OSError(errno.EISDIR, "a folder, not a file", url)
    if about.get("size") is None:
        raise OSError(errno.EINVAL, "its server does not say how long it is; copy it to a disk", url)
    size = int(about["size"])
    tag = next((str(about[name]) for name in _TAGS if about.get(name)), "")
    digest = hashlib.sha256(f"{size} {tag}".encode()).digest()
    found = Info(size, int.from_bytes(digest[:8], "big") >> 2)
    with _lock:
        if len(_known) >= _MOST:
            _known.clear()
        _known[url] = time.monotonic(), found
    return found


def _filesystem(url: str) -> Any:
    scheme = url.partition("://")[0]
    try:
        import fsspec
        from fsspec.config import conf

        ours: dict[str, Any] = {}
        if scheme in _HTTP:
            from aiohttp import ClientTimeout

            ours["client_kwargs"] = {"timeout": ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ)}
        elif scheme in ("s3", "s3a"):
            again = {"total_max_attempts": 1}  # `call` tries again, and counts
            ours["config_kwargs"] = {"connect_timeout": CONNECT, "read_timeout": READ, "retries": again}
        theirs = conf.get(scheme, {})
        ours = {name: value | theirs.get(name, {}) for name, value in ours.items()}
        # one object for the same options: fsspec keeps it, also after a fork
        system = fsspec.filesystem(scheme, use_listings_cache=False, **ours)
    except ImportError as error:
        what = f"{error}; install what reads remote files: pip install 'vidssl[remote]'"
        raise OSError(errno.ENOPKG, what, url) from error
    except ValueError as error:
        raise OSError(errno.EINVAL, f"{error}; use s3://, https:// or another scheme of fsspec", url) from error
    system.retries = 1
    return system


def _permanent(error: Exception, url: str) -> Exception | None:
    """The error to raise if trying again does not help; None if it may."""
    if isinstance(error, OSError) and error.filename == url and error.errno in (errno.ENOPKG, errno.EINVAL):
        return error
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None and chain[-1].__cause__ not in chain:
        chain.append(chain[-1].__cause__)
    kinds = {type(one).__name__ for one in chain}
    status, code = next(filter(None, map(_answer, chain)), (0, ""))
    if code in _REGION or status in (301, 307, 308):
        region = "the bucket is in another region; set AWS_REGION to it (or endpoint_url for another service)"
        return OSError(errno.EACCES, region, url)
    if status in (401, 403) or code in _EXPIRED:
        what = f"access denied ({code or status}); check the credentials, and what they may read and write"
        return PermissionError(errno.EACCES, what, url)
    if status in (404, 410):
        return FileNotFoundError(errno.ENOENT, f"not found ({code or status}); check the URL", url)
    if 400 <= status < 500 and status not in _BUSY:
        return OSError(errno.EINVAL, f"its server refuses the request ({status} {code}): {error}", url)
    if isinstance(error, ValueError) or kinds & _MALFORMED:
        return OSError(errno.EINVAL, f"no such place can be asked for ({error}); check the URL", url)
    if kinds & _CREDENTIALS:
        what = f"no credentials ({error}); set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        return PermissionError(errno.EACCES, f"{what}FSSPEC_S3_ANON=true for a public bucket", url)
    if status or any(type(one).__module__.partition(".")[0] in _LIBRARIES for one in chain):
        return None
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "not found; check the URL", url)
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, f"access denied ({error}); check the credentials", url)
    return None if isinstance(error, OSError | asyncio.TimeoutError) else error


def _answer(error: BaseException) -> tuple[int, str] | None:
    """(status, code of S3) that a server answered; None if it did not."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return int(status), str(answer.get("Error", {}).get("Code", ""))
    status = getattr(error, "status", None)
    return (status, "") if isinstance(status, int) else None
