"""Serves a watcher's metrics and probes on a port of its own."""

from collections.abc import Callable, Iterable, Mapping
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

Answer = Callable[[Mapping[str, Any], Callable[..., Any]], Iterable[bytes]]
Check = Callable[[], bool]

CALL_S = 5.0
"""A caller that sends nothing for so long is left; one is answered at a time."""


def watcher_app(registry: CollectorRegistry, checks: Mapping[str, Check]) -> Answer:
    """A WSGI application: each path of `checks` answers 200 or 503, all others are Prometheus' metrics."""
    metrics: Answer = make_wsgi_app(registry)

    def answer(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        check = checks.get(str(environ.get("PATH_INFO")))
        if check is None:
            return metrics(environ, start_response)
        good = check()
        start_response("200 OK" if good else "503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"ok\n" if good else b"not ok\n"]

    return answer


class _Quiet(WSGIRequestHandler):
    timeout = CALL_S

    def log_message(self, *_: Any) -> None:
        """Writes nothing: probes come every few seconds."""


def serve_watcher(port: int, registry: CollectorRegistry, *, lives: Check, is_ready: Check) -> WSGIServer:
    """Serves in a thread until the process ends. `lives`: its loop turns; `is_ready`: it has written its heartbeat."""
    checks = {"/health/live": lives, "/health/ready": is_ready}
    server = make_server("", port, watcher_app(registry, checks), handler_class=_Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
