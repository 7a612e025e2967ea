import pytest

from streamqa.errors import ConfigError
from streamqa.sinks.broker import Broker, parse_broker


@pytest.mark.parametrize(
    ("url", "broker", "target"),
    [
        ("mqtt://broker", Broker("broker", 1883, False), "mqtt://broker:1883"),
        ("mqtts://broker", Broker("broker", 8883, True), "mqtts://broker:8883"),
        ("mqtt://10.0.0.7:2000/", Broker("10.0.0.7", 2000, False), "mqtt://10.0.0.7:2000"),
        ("mqtt://[::1]:2000", Broker("::1", 2000, False), "mqtt://[::1]:2000"),
        ("mqtt://me:s%2Fcret@broker", Broker("broker", 1883, False, "me", "s/cret"), "mqtt://broker:1883"),
        ("mqtt://me@broker", Broker("broker", 1883, False, "me"), "mqtt://broker:1883"),
    ],
)
def test_a_url_names_a_broker(url: str, broker: Broker, target: str) -> None:
    assert parse_broker(url) == broker
    assert parse_broker(url).target == target


@pytest.mark.parametrize(
    "url",
    ["mqtt://", "http://broker", "mqtt://me:secret@", "mqtt://me:secret@broker:99999", "mqtt://me:secret@broker:port",
     "mqtt://me:secret@broker/topic", "mqtt://me:secret@broker?x=1", "mqtt://me:secret@broker:0", "broker:1883",
     "mqtt://me:secret@[broker", "mqtt://me:secret/more@broker"],
)  # fmt: skip
def test_other_urls_are_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match="sinks: mqtt") as raised:
        parse_broker(url)
    assert "secret" not in str(raised.value)


def test_nobody_sees_who_we_are() -> None:
    assert "secret" not in repr(parse_broker("mqtt://me:secret@broker"))
