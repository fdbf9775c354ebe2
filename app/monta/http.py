"""The HTTP connections to Monta: made once a process, never following a redirect, bounded in number."""

from typing import TypeAlias

import httpx

Http: TypeAlias = httpx.AsyncClient
"""What the client speaks through."""

MAX_CONNECTIONS = 50
"""A few parallel connections are fair use; waiting for one of them is bounded by the pool time-out."""


def open_http(transport: httpx.AsyncBaseTransport | None = None) -> Http:
    """Connections for all operators; `transport` replaces the network (a Monta within this process).

    Proxies and other settings of the environment are ignored: a stop is a GET, and no cache may answer it.
    """
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    return httpx.AsyncClient(transport=transport, limits=limits, follow_redirects=False, trust_env=False)
