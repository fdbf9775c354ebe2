"""Judges where outgoing HTTP may go. Hosts by an optional list; addresses must be public."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from app.domain.units.frozen import frozen

NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that stand for IPv4 addresses where a network has only IPv6 (RFC 6052)."""

NOT_PUBLIC = tuple(
    ip_network(each)
    for each in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "3fff::/20",
        "5f00::/16",
        "64:ff9b:1::/48",
        "168.63.129.16/32",
    )
)
"""Special purposes (RFC 6890) that not every release of Python knows; the last one is Azure's metadata service. Oracle
Cloud has one at 192.0.0.192."""


def is_loopback(host: str) -> bool:
    """Whether a host names this machine without being resolved: `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is a single host's on the Internet. An address that holds an IPv4 address is judged by it.

    Private, shared, loopback, link-local (metadata services), multicast and reserved addresses are not public.
    """
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    if any(address in network for network in NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@frozen
class Egress:
    """The rule for outgoing HTTP. `hosts`: the only ones allowed, in lower case; empty: any.

    `anywhere` switches everything off (development). A URL that names loopback may lead there, and only there.
    """

    hosts: frozenset[str] = frozenset()
    anywhere: bool = False

    def problem(self, host: str, address: str | None = None) -> str | None:
        """Returns why no request may go to a host; None: it may. With `address`, to this address of the host. Without
        `address` the host's name is judged, or the host itself if it is an address."""
        if self.anywhere:
            return None
        host = host.lower().rstrip(".")
        if self.hosts and host not in self.hosts:
            return "must lead to a host in TAPWATT_EGRESS_HOSTS"
        try:
            judged = ip_address(address or host)
        except ValueError:  # a name, judged by its addresses when they are known
            return None if address is None else _NOT_PUBLIC
        if is_loopback(host):
            return None if judged.is_loopback else _NOT_PUBLIC
        return None if is_public(judged) else _NOT_PUBLIC


_NOT_PUBLIC = (
    "must lead to a public address (private ones only with TAPWATT_ALLOW_PLAIN_HTTP=1, for development)"
)
