"""Servers on loopback: a web server with parts and listings, and a proxy that loses and delays requests."""

from __future__ import annotations

import hashlib
import html
import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Prints nothing."""

    def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def _serving(handler: type[_Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Web:
    """What a web server gives.

    Attributes:
        root: The folder that it shows.
        parts: Answers requests for ranges.
        listing: Shows the content of folders.
        refuse: Status by path below the root, instead of the file.
        sent: Bytes of the files that were sent, by path.
        asked: Number of requests by (method, path).
    """

    def __init__(self, root: Path, *, parts: bool = True, listing: bool = True) -> None:
        self.root, self.parts, self.listing = root, parts, listing
        self.refuse: dict[str, int] = {}
        self.sent, self.asked = Counter[str](), Counter[tuple[str, str]]()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yields the URL of the root."""
        web = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                name = unquote(urlsplit(self.path).path).strip("/")
                web.asked[self.command, name] += 1
                path = web.root / name
                if name in web.refuse:
                    self.answer(web.refuse[name])
                elif path.is_dir() and web.listing:
                    names = sorted(one.name + "/" * one.is_dir() for one in path.iterdir())
                    links = "".join(f'<a href="{quote(one)}">{html.escape(one)}</a>' for one in names)
                    page = f'<html><a href="?C=N;O=D">Name</a><a href="../">up</a>{links}</html>'.encode()
                    self.answer(200, page, {"Content-Type": "text/html"})
                elif not path.is_file():
                    self.answer(404)
                else:
                    self._file(name, path.read_bytes())

            do_HEAD = do_GET

            def _file(self, name: str, data: bytes) -> None:
                headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
                asked = self.headers.get("Range") if web.parts else None
                status = 200
                if asked is not None:
                    first, last = asked.removeprefix("bytes=").split("-")
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                    data, status = data[int(first) : int(last) + 1], 206
                if self.command == "GET":
                    web.sent[name] += len(data)
                self.answer(status, data, headers)

        with _serving(Handler) as url:
            yield url


class Faults:
    """A proxy that passes requests on, and drops, cuts or delays a fraction of them.

    Attributes:
        dropped: Number of requests without an answer, or with half of one.
        passed: Number of requests that were answered whole.
    """

    def __init__(self, upstream: str, *, drop: float = 0.05, delay: float = 0.05, seconds: float = 0.1) -> None:
        self._upstream, self._drop, self._delay, self._seconds = urlsplit(upstream).netloc, drop, delay, seconds
        self._chance, self._lock = np.random.default_rng(3), threading.Lock()
        self.dropped = self.passed = 0

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yields the URL of the proxy."""
        faults = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                body = self._body()
                with faults._lock:
                    lost, late, how = faults._chance.random(3)
                    faults.dropped += lost < faults._drop
                    faults.passed += lost >= faults._drop
                if late < faults._delay:
                    time.sleep(faults._seconds)
                if lost < faults._drop and how < 0.4:
                    self.close_connection = True  # no answer at all
                    return
                if lost < faults._drop and how < 0.7:
                    self.answer(503)
                    return
                upstream = http.client.HTTPConnection(faults._upstream, timeout=30)
                headers = {name: text for name, text in self.headers.items() if name.lower() != "transfer-encoding"}
                upstream.request(self.command, self.path, body, headers)
                found = upstream.getresponse()
                data = found.read()
                self.send_response(found.status)
                for name, text in found.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, text)
                if found.getheader("Content-Length") is None:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if lost < faults._drop:
                    data, self.close_connection = data[: len(data) // 2], True
                if self.command != "HEAD":
                    self.wfile.write(data)
                upstream.close()

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    parts = []
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        with _serving(Handler) as url:
            yield url


class Answers:
    """A server that gives the same answer to every request.

    Attributes:
        asked: Number of requests.
    """

    def __init__(self, status: int, body: bytes) -> None:
        self._status, self._body, self.asked = status, body, 0

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yields the URL of the server."""
        answers = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                answers.asked += 1
                self.answer(answers._status, answers._body, {"Content-Type": "application/xml"})

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        with _serving(Handler) as url:
            yield url
