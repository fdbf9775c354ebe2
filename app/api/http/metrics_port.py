"""Serves metrics on a port of their own, and a watcher's probes."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from socket import SHUT_RDWR
from socketserver import ThreadingMixIn
from threading import Lock, Thread, Timer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.registry import Collector

Answer = Callable[[Mapping[str, Any], Callable[..., Any]], Iterable[bytes]]
Check = Callable[[], bool]

CALL_S = 5.0
"""A call that takes longer, from connect to the end of its answer, is cut off."""
MOST_AT_ONCE = 32
MOST_OF_ONE_ADDRESS = 8
"""Connections at the same time; further ones are closed, so that slow callers keep no other address's probe waiting."""
TEXT = ("Content-Type", "text/plain")
NAME = "tapwatt"
"""In place of the server's software and version."""


def metrics_app(registry: Collector, checks: Mapping[str, Check]) -> Answer:
    """A WSGI application: each path of `checks` answers 200 or 503, all others are Prometheus' metrics."""
    metrics: Answer = make_wsgi_app(registry)

    def answer(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def begin(status: str, headers: Sequence[tuple[str, str]]) -> Any:
            return start_response(status, [*headers, ("Server", NAME)])

        if environ.get("REQUEST_METHOD") != "GET":
            begin("405 Method Not Allowed", [TEXT, ("Allow", "GET")])
            return [b"only GET is answered here\n"]
        check = checks.get(str(environ.get("PATH_INFO")))
        if check is None:
            return metrics(environ, begin)
        good = check()
        begin("200 OK" if good else "503 Service Unavailable", [TEXT])
        return [b"ok\n" if good else b"not ok\n"]

    return answer


class _Quiet(WSGIRequestHandler):
    """One call, within CALL_S, of which nothing is logged: probes come every few seconds."""

    timeout = CALL_S
    error_message_format = "%(code)d\n"
    error_content_type = "text/plain"

    def setup(self) -> None:
        self._deadline = Timer(CALL_S, self._cut)
        self._deadline.daemon = True
        self._deadline.start()
        super().setup()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _cut(self) -> None:
        with suppress(OSError):
            self.request.shutdown(SHUT_RDWR)

    def version_string(self) -> str:
        return NAME

    def log_message(self, *_: Any) -> None:
        """Writes nothing."""


class _Bounded(ThreadingMixIn, WSGIServer):
    """Answers each caller in a thread, within bounds."""

    daemon_threads = True
    request_queue_size = 2 * MOST_AT_ONCE

    def __init__(self, *given: Any, **named: Any) -> None:
        self._callers: dict[Any, str] = {}
        self._lock = Lock()
        super().__init__(*given, **named)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            self._callers[request] = str(client_address[0])
            of_one = Counter(self._callers.values())[str(client_address[0])]
            return len(self._callers) <= MOST_AT_ONCE and of_one <= MOST_OF_ONE_ADDRESS

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._callers.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Writes nothing: a caller that went away or was cut off is no error of ours."""


def probes(*, live: Check, ready: Check) -> Mapping[str, Check]:
    """The probes of a process without another port. By path, as the API has them."""
    return {"/health/live": live, "/health/ready": ready}


def serve_metrics(port: int, registry: Collector, checks: Mapping[str, Check]) -> WSGIServer:
    """Serves in threads until the process ends; `checks` by path are a process's probes."""
    app = metrics_app(registry, checks)
    server = make_server("", port, app, server_class=_Bounded, handler_class=_Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
