import pytest

from streamqa.server.rate import Buckets, client_key


def test_a_burst_then_the_rate() -> None:
    buckets = Buckets(per_s=2, burst=3)
    assert [buckets.take("a", 10.0) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert buckets.take("b", 10.0) == 0
    assert [buckets.take("a", 10.5), buckets.take("a", 10.5)] == [0, 1]
    assert [buckets.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, 1]  # no more than a burst is saved up


def test_in_the_long_run_nobody_gets_more_than_the_rate() -> None:
    buckets = Buckets(per_s=5, burst=10)
    allowed = sum(buckets.take("a", now / 100) == 0 for now in range(10_000))  # 100 a second for 100 s
    assert 509 <= allowed <= 510


def test_how_long_to_wait() -> None:
    buckets = Buckets(per_s=0.1, burst=1)
    assert buckets.wait_s("a", 0) == 0
    assert buckets.take("a", 0) == 0
    assert buckets.wait_s("a", 0) == 10
    assert buckets.wait_s("a", 9.5) == 1
    assert buckets.wait_s("a", 10) == 0


def test_only_so_many_are_remembered_the_latest_ones() -> None:
    buckets = Buckets(per_s=1, burst=1, most=3)
    for name in "abcde":
        assert buckets.take(name, 0) == 0
    assert len(buckets) == 3
    assert buckets.take("e", 0) == 1
    assert buckets.take("a", 0) == 0


@pytest.mark.parametrize(("peer", "forwarded", "expected"), [
    ("203.0.113.7", None, "203.0.113.7"),
    ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # anybody can say that
    ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
    ("::ffff:203.0.113.7", None, "203.0.113.7"),
    ("fe80::1%eth0", None, "fe80::/64"),
    ("127.0.0.1", None, ""),
    ("::1", None, ""),
    ("::ffff:127.0.0.1", None, ""),
    ("127.0.0.1", "198.51.100.1", "198.51.100.1"),  # a proxy on this machine
    ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # what it appended, not what it was told
    ("127.0.0.1", "6.6.6.6, nonsense", ""),
    (None, "198.51.100.1", ""),
    ("", None, ""),
])  # fmt: skip
def test_whom_a_request_is_counted_for(peer: str | None, forwarded: str | None, expected: str) -> None:
    assert client_key(peer, forwarded) == expected
