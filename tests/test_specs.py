from ipaddress import ip_address

import pytest

from streamqa.capture.reach import reach_of
from streamqa.capture.source import SourceSpec
from streamqa.errors import ConfigError
from streamqa.hours import parse_hours
from streamqa.service_settings import ReachConfig
from streamqa.settings import SourceConfig
from streamqa.specs import source_spec, source_specs
from streamqa.types import Box


def test_every_setting_of_a_source_reaches_capture() -> None:
    a, b = source_specs(
        {
            "a": SourceConfig(url="a.mp4"),
            "b": SourceConfig(url="b.mp4", pace="realtime", loop=True, priority=3, detail="fast"),
        }
    )
    assert a == SourceSpec("a", "a.mp4", frozen_after_s=None, recent_s=60)
    assert (b.pace, b.loop, b.priority, b.detail) == ("realtime", True, 3, "fast")


def test_durations_sizes_and_hours_reach_capture_in_its_units() -> None:
    given = {
        "url": "webcam:0", "size": "1280x720", "mask": [[0, 0, 0.5, 1]], "when": "22:00-06:00 UTC",
        "stall_after": "2500ms", "frozen_after": "off", "interval": "2s",
    }  # fmt: skip
    spec = source_spec("desk", SourceConfig.model_validate(given))
    assert (spec.size, spec.masks, spec.when) == (
        (1280, 720),
        (Box(0, 0, 0.5, 1),),
        parse_hours(given["when"]),
    )
    assert (spec.stall_after_s, spec.frozen_after_s, spec.interval_ns) == (2.5, 0, 2 * 10**9)


def test_an_address_of_no_known_kind_names_its_source_and_hides_its_password() -> None:
    with pytest.raises(ConfigError, match=r"sources\.gate: .*gopher://\*\*\*@h") as caught:
        source_spec("gate", SourceConfig(url="gopher://viewer:hunter2@h/1"))
    assert "hunter2" not in str(caught.value)


def test_a_guarded_source_reaches_public_addresses_and_what_is_configured() -> None:
    url = "http://127.0.0.1/x"
    assert source_spec("a", SourceConfig(url=url)).reach is None
    usual = source_spec("a", SourceConfig(url=url, guarded=True)).reach
    assert usual is not None
    assert not usual.allows(ip_address("127.0.0.1"))
    here = reach_of(ReachConfig(hosts=["127.0.0.1"]))
    assert source_specs({"a": SourceConfig(url=url, guarded=True)}, here)[0].reach is here
