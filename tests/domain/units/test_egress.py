"""Where outgoing HTTP may go."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.units.egress import Egress, is_public

FORBIDDEN = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.2.0/24 192.168.0.0/16"
    " 198.18.0.0/15 224.0.0.0/4 240.0.0.0/4 ::/128 ::1/128 fc00::/7 fe80::/10 fec0::/10 ff00::/8 2001:db8::/32"
    " 192.0.0.0/24 192.88.99.0/24 168.63.129.16/32 3fff::/20 5f00::/16 64:ff9b:1::/48"
)
Network: TypeAlias = IPv4Network | IPv6Network
NETWORKS = [ip_network(each) for each in FORBIDDEN.split()]
V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
WRAPPED = [0xFFFF << 32, 0x64FF9B << 96]
"""IPv6 addresses that end with an IPv4 address: mapped and NAT64."""


@given(st.data(), st.sampled_from(NETWORKS))
def test_no_address_of_a_network_that_is_not_public_is_public(data: st.DataObject, network: Network) -> None:
    address = network[data.draw(st.integers(0, network.num_addresses - 1))]
    assert not is_public(address)
    assert Egress().problem("monta.example", str(address)) is not None


@given(V4)
def test_an_address_that_wraps_an_ipv4_address_is_judged_by_it(inner: IPv4Address) -> None:
    for prefix in WRAPPED:
        assert is_public(IPv6Address(prefix | int(inner))) == is_public(inner)
    assert is_public(IPv6Address(0x2002 << 112 | int(inner) << 80)) == is_public(inner)
    assert is_public(inner) <= inner.is_global


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(ip_address(address))
    assert Egress().problem("monta.example", address) is None
    assert Egress().problem(address) is None


@pytest.mark.parametrize(
    "host", ["10.0.0.5", "169.254.169.254", "fd00:ec2::254", "::ffff:10.0.0.1", "0.0.0.0"]
)
def test_a_url_that_names_a_private_address_is_refused_outside_development(host: str) -> None:
    assert "public address" in (Egress().problem(host) or "")
    assert Egress(anywhere=True).problem(host) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_only_a_url_that_names_loopback_leads_there_and_nowhere_else(host: str) -> None:
    assert Egress().problem(host, "127.0.0.1") is None
    assert Egress().problem("localhost.example", "127.0.0.1") is not None
    assert Egress().problem(host, "10.0.0.1") is not None


def test_with_a_list_only_its_hosts_are_allowed_and_their_addresses_are_judged_too() -> None:
    listed = Egress(frozenset({"monta.example"}))
    assert listed.problem("Monta.Example.") is None
    assert listed.problem("monta.example", "1.1.1.1") is None
    assert listed.problem("monta.example", "10.0.0.1") is not None
    for host in ("other.example", "a.monta.example", "monta.example.other", "localhost", "1.1.1.1"):
        assert "TAPWATT_EGRESS_HOSTS" in (listed.problem(host) or "")
