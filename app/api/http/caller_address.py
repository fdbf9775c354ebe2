"""Names the caller's address in one spelling. It is the peer's, or the one that a trusted proxy names."""

from functools import lru_cache
from ipaddress import ip_address

from starlette.types import Scope

MOST_CHARS = 64
"""An IPv6 address with its zone has fewer."""


def name_caller(scope: Scope) -> str | None:
    """Writes the caller's address into a request's scope, each in one spelling, and returns it.

    What a proxy passed on and is no IP address is nobody's: None. It would be stored and logged as it came.
    """
    host, port = scope.get("client") or ("", 0)
    address = None if len(host) > MOST_CHARS else _canonical(host)
    scope["client"] = None if address is None else (address, port)
    return address


@lru_cache(maxsize=4096)
def _canonical(host: str) -> str | None:
    """One spelling of an address. IPv4 within IPv6, as servers on both see it, is IPv4."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
