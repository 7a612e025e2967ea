"""On machines without a device: that it is said, and that pictures come all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from av.codec.hwaccel import HWAccel, hwdevices_available

from streamqa.capture import hardware
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.hardware import Hardware, choose
from streamqa.capture.source import SourceSpec
from streamqa.capture.video import make

from .conftest import number_of


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any device, also where there is one."""
    monkeypatch.setattr(hardware, "missing", lambda device: f"there is no {device} device that can be used")


def test_off_asks_no_driver() -> None:
    assert choose("off") == Hardware()
    assert Hardware().decoder == "cpu"
    assert Hardware().note == ""


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("wish", ["cuda", "vaapi", "auto"])
def test_a_device_that_is_not_there_is_said_and_is_news_only_if_it_was_asked_for(wish: str) -> None:
    chosen = choose(wish)
    assert chosen.accel is None
    assert chosen.decoder.startswith("cpu, since there is no")
    assert chosen.fell_back == (wish != "auto")
    assert bool(chosen.note) == (wish != "auto")
    assert ("vaapi" in chosen.decoder) == (wish != "cuda")


@pytest.mark.parametrize("device", ["cuda", "vaapi"])
def test_this_machine_is_asked_without_harm(device: str) -> None:
    reason = hardware.missing(device)
    if device not in hwdevices_available():
        assert reason == f"the FFmpeg of PyAV has no {device}"
    chosen = choose(device)
    assert (chosen.accel is None) == bool(reason)
    assert reason in chosen.note
    assert chosen.decoder == (f"cpu, since {reason}" if reason else device)


def test_a_stream_that_the_device_cannot_decode_is_decoded_all_the_same(clip: Path) -> None:
    """`drm` is known to FFmpeg and decodes nothing: the real way of a stream that is not compatible."""
    chosen = Hardware(HWAccel("drm"), "drm")
    container, stream = open_input(f"file:{clip}", "clip", hwaccel=chosen.accel)
    after = chosen.after_open(stream.codec_context.name, stream.codec_context.is_hwaccel)
    stream.codec_context.skip_frame = "NONKEY"
    keys = [frame for packet in container.demux(stream) for frame in stream.codec_context.decode(packet)]
    container.close()
    assert 6 <= len(keys) <= 7, "skipping works as it does without a device"
    assert all(frame.key_frame for frame in keys)
    assert after.note == "decoded by the CPU: drm does not decode h264 here"


@pytest.mark.parametrize(("layout", "is_hardware"), [("nv12", True), ("p010le", True), ("yuv420p", False)])
def test_the_first_picture_shows_who_decoded_it(layout: str, is_hardware: bool) -> None:
    chosen = Hardware(HWAccel("cuda"), "cuda").after_open("h264", True)
    after = chosen.after_picture(layout)
    assert (after == chosen) == is_hardware
    assert after.note == ("" if is_hardware else "decoded by the CPU: cuda cannot decode this stream")
    assert after.decoder.startswith("cuda" if is_hardware else "cpu, since cuda")
    assert Hardware().after_picture(layout) == Hardware()


@pytest.mark.parametrize("wish", ["auto", "cuda", "vaapi"])
def test_hardware_that_is_not_there_changes_no_picture_and_is_told(clip: Path, wish: str) -> None:
    source = make(SourceSpec("a", str(clip), hwaccel=wish))
    source.open()
    if not source.facts.decoder.startswith("cpu"):
        pytest.skip("this machine has such a device")
    numbers = [number_of(source.read().to_image()) for _ in range(20)]
    assert numbers == list(range(20))
    assert source.facts.decoder.startswith("cpu, since ")
    assert (source.facts.note == "") == (wish == "auto")
    source.close()
