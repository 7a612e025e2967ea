from ipaddress import ip_address

import pytest

from streamqa.capture.reach import Reach, is_public, reach_of
from streamqa.service_settings import ReachConfig

PRIVATE = [
    "0.0.0.0", "10.0.0.7", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1",
    "fec0::1", "ff02::1", "2001:db8::1", "2001::1", "2001:10::1", "3fff::1", "100::1", "4000::1",
    # an IPv4 address inside of one of IPv6
    "::ffff:127.0.0.1", "::ffff:10.0.0.7", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::", "2002:a00:7::1",
    "64:ff9b::7f00:1", "64:ff9b::a00:7", "64:ff9b:1::808:808", "2600::5efe:a00:7", "fe80::5efe:808:808",
    "2600::200:5efe:c0a8:101",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "223.255.255.1",
    "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2600::5efe:808:808",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_that_strangers_may_not_reach(text: str) -> None:
    assert not is_public(ip_address(text))
    assert not Reach(frozenset()).allows(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_of_the_internet(text: str) -> None:
    assert is_public(ip_address(text))
    assert Reach(frozenset()).allows(ip_address(text))


def test_networks_and_names_that_are_configured() -> None:
    hosts = ["10.1.0.0/16", "192.168.1.7", "fd12::/64", "*.cam.lan", "Door.LAN."]
    reach = reach_of(ReachConfig(schemes=["rtsp", "http"], hosts=hosts))
    assert reach.schemes == {"rtsp", "http"}
    allowed = ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "192.168.1.7", "fd12::9", "8.8.8.8")
    refused = ("10.2.0.1", "::ffff:10.2.0.1", "192.168.1.8", "fd13::9", "127.0.0.1")
    assert [text for text in allowed if not reach.allows(ip_address(text))] == []
    assert [text for text in refused if reach.allows(ip_address(text))] == []
    assert [
        host for host in ("a.cam.lan", "a.b.CAM.lan.", "door.lan", "DOOR.lan.") if not reach.knows(host)
    ] == []
    others = (
        "cam.lan",
        ".cam.lan",
        "acam.lan",
        "a.cam.lan.evil.example",
        "door.lan.evil.example",
        "xdoor.lan",
        "",
    )
    assert [host for host in others if reach.knows(host)] == []
