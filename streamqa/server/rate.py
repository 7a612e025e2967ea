"""How often somebody may do something: token buckets, without clock."""

from __future__ import annotations

import math
from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, ip_address

_MOST = 4096  # addresses that are remembered


class Buckets:
    """A bucket for each key: `burst` at once, `per_s` in the long run.

    Bounded: of `most` keys the one that was seen least recently is forgotten, that is, it may start anew.
    `now_s` is monotonic.
    """

    def __init__(self, per_s: float, burst: float, most: int = _MOST) -> None:
        self._per_s, self._burst, self._most = per_s, burst, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key → what was left, when

    def __len__(self) -> int:
        return len(self._left)

    def wait_s(self, key: str, now_s: float) -> int:
        """Whole seconds until `key` may do it; 0: now. Takes nothing."""
        left = self._now(key, now_s)
        return 0 if left >= 1 else max(1, math.ceil((1 - left) / self._per_s))

    def take(self, key: str, now_s: float) -> int:
        """Do it now, if that may be: 0. Else the whole seconds to wait, and nothing is taken."""
        wait_s = self.wait_s(key, now_s)
        if not wait_s:
            self._left[key] = (self._now(key, now_s) - 1, now_s)
            self._left.move_to_end(key)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
        return wait_s

    def _now(self, key: str, now_s: float) -> float:
        left, at_s = self._left.get(key, (self._burst, now_s))
        return min(self._burst, left + max(0.0, now_s - at_s) * self._per_s)


def client_key(peer: str | None, forwarded_for: str | None) -> str:
    """Whom to count a request for: its address, for IPv6 its network of 64 bits, which is one household's.

    What a proxy on this machine says of its client counts; what others say is theirs to invent, and does not.
    "" stands for a program on this machine, or a peer without an address.
    """
    address = _parsed(peer)
    if address is not None and address.is_loopback:
        address = _parsed(forwarded_for.rpartition(",")[2].strip()) if forwarded_for else None
    if address is None or address.is_loopback:
        return ""
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


def is_here(peer: str | None) -> bool:
    """Whether whoever has this address is a program on this machine."""
    address = _parsed(peer)
    return address is not None and address.is_loopback


def _parsed(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
