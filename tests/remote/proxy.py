"""A proxy before an S3-compatible server: it drops connections and answers 503, by a seed."""

import http.client
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ERROR = b"<Error><Code>%s</Code><Message>Not now.</Message></Error>"


class Proxy:
    """A proxy on loopback, in threads of this process.

    Parameters
    ----------
    port : int
        Port of the server behind it.
    seed : int
        Seed of the faults.
    share : float
        Share of the requests that get a fault.
    latency_s : float
        Seconds that each request waits.
    """

    def __init__(self, port: int, *, seed: int = 0, share: float = 0.0, latency_s: float = 0.0):
        self.share, self.latency_s = share, latency_s
        self.kinds, self.n_faults = ["503", "drop", "cut", "lost"], 10**9
        self.seen: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.paths: list[tuple[str, str]] = []
        self.seed, self._lock = seed, threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                proxy.answer(self, port)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def choose(self, method: str, path: str) -> str:
        """Choose what happens to a request: nothing, or one of the faults."""
        with self._lock:
            self.seen[method] += 1
            self.paths.append((method, path))
            chance = random.Random(f"{self.seed} {self.seen.total()}")
            if chance.random() >= self.share or self.faults.total() >= self.n_faults:
                return ""
            fault = chance.choice(self.kinds)
            self.faults[fault] += 1
            return fault

    def answer(self, handler: Any, port: int) -> None:
        """Answer one request."""
        fault = self.choose(handler.command, handler.path)
        time.sleep(self.latency_s)
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length // 2 if fault == "drop" else length)
        handler.close_connection = bool(fault)
        if fault == "drop":  # the server never sees the request
            return
        if fault.isdecimal():
            body = ERROR % {"503": b"SlowDown", "403": b"AccessDenied"}[fault]
            self._send(handler, int(fault), [("Content-Type", "application/xml")], body)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            upstream.request(handler.command, handler.path, body, dict(handler.headers))
            response = upstream.getresponse()
            data = response.read()
        finally:
            upstream.close()
        if fault == "lost":  # the server did it, and nobody hears of it
            return
        kept = [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in ("transfer-encoding", "connection", "server", "date")
        ]
        self._send(handler, response.status, kept, data, is_cut=fault == "cut")

    @staticmethod
    def _send(
        handler: Any, status: int, headers: Any, data: bytes, *, is_cut: bool = False
    ) -> None:
        is_head = handler.command == "HEAD"
        handler.send_response(status)
        for name, value in headers:
            if is_head or name.lower() != "content-length":
                handler.send_header(name, value)
        if not is_head:
            handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if not is_head:
            handler.wfile.write(data[: len(data) // 2] if is_cut else data)
