"""Which addresses may be connected to on behalf of somebody on the network: no private ones, unless configured.

A server that fetches what it is told reaches what the teller cannot: itself, the router, other cameras, the metadata
service of a cloud. This file decides, without socket; `resolve` looks up names and asks it about *all* their
addresses, and `relay` does so again for each connection, redirections and playlists included.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

from streamqa.service_settings import ReachConfig

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_NOT_PUBLIC = tuple(map(ip_network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "3fff::/20",
)))  # fmt: skip
_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet, and so is the IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv6Address):
        inner = embedded(address)
        if inner is not None and not is_public(inner):
            return False
        if address.ipv4_mapped is not None or address in _NAT64:
            return True
        if address not in _GLOBAL_V6:
            return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which packets for this one go in the end: mapped, 6to4, NAT64 or ISATAP; None: none."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    bits = int(address)
    if address in _NAT64 or (bits >> 32) & 0xFFFF_FFFF in _ISATAP:
        return IPv4Address(bits & 0xFFFF_FFFF)
    return None


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be added over the network, and where it may lead."""

    schemes: frozenset[str]
    names: tuple[str, ...] = ()  # hosts that may have any address: a name, or *.domain
    networks: tuple[Network, ...] = ()  # addresses that are allowed though they are not public

    def knows(self, host: str) -> bool:
        """Whether this name is allowed, whatever its addresses are."""
        host = host.lower().rstrip(".")
        return any(
            host.endswith(name[1:]) and len(host) > len(name) - 1 if name.startswith("*.") else host == name
            for name in self.names
        )

    def allows(self, address: Address) -> bool:
        """Whether this address may be connected to."""
        inner = embedded(address) if isinstance(address, IPv6Address) else None
        listed = any(
            one in network
            for one in (address, inner)
            if one is not None
            for network in self.networks
            if network.version == one.version
        )
        return listed or is_public(address)


def reach_of(config: ReachConfig) -> Reach:
    """The reach that a configuration gives."""
    names, networks = [], []
    for entry in config.hosts:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            names.append(entry.lower().rstrip("."))
    return Reach(frozenset(config.schemes), tuple(names), tuple(networks))
