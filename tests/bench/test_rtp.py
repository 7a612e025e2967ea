"""Clips as RTP, without any network: what FFmpeg cut must come out whole, numbered and timed."""

from __future__ import annotations

import random
import struct
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from streamqa.bench.rtp import TICKS_PER_S, Clip, ClipPicture, Showing, Viewer, read_clip
from streamqa.capture.encode import write_video
from tests.capture.conftest import numbered

FPS = 15
OPTIONS = {"x264-params": "bframes=3:b-adapt=0:scenecut=0", "g": "15", "crf": "5"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("rtp") / "clip.mp4"
    write_video(path, (numbered(i, 200) for i in range(30)), FPS, options=OPTIONS)
    return read_clip(path)


def viewer(seed: int = 1) -> Viewer:
    return Viewer(random.Random(seed))


def test_a_clip_is_cut_into_pictures_with_their_times(clip: Clip) -> None:
    assert len(clip.pictures) == 30
    assert clip.period_ticks == 30 * TICKS_PER_S // FPS
    assert [picture.due_s for picture in clip.pictures] == pytest.approx([i / FPS for i in range(30)])
    shown = sorted(picture.ticks for picture in clip.pictures)
    assert shown == [i * TICKS_PER_S // FPS for i in range(30)]
    assert shown != [picture.ticks for picture in clip.pictures], "no B-frames in the clip"
    assert [i for i, picture in enumerate(clip.pictures) if picture.is_key] == [0, 15]
    assert all(len(payload) <= 1400 for picture in clip.pictures for _, payload in picture.payloads)


def test_only_the_last_packet_of_a_picture_is_marked(clip: Clip) -> None:
    assert max(len(picture.payloads) for picture in clip.pictures) > 1
    for picture in clip.pictures:
        marks = [kind >> 7 for kind, _ in picture.payloads]
        assert marks == [0] * (len(marks) - 1) + [1]


def test_the_description_names_the_parameter_sets(clip: Clip) -> None:
    assert "H264/90000" in clip.sdp
    assert "sprop-parameter-sets=Z" in clip.sdp  # 0x67, a sequence set, in base 64
    assert ",aO" in clip.sdp  # 0x68, a picture set


def test_a_timeline_goes_round_without_a_gap(clip: Clip) -> None:
    ran = list(islice(clip.timeline(), 75))
    assert np.diff([due_s for due_s, _, _ in ran]) == pytest.approx(1 / FPS)
    assert sorted(ticks for _, ticks, _ in ran)[:60] == [i * TICKS_PER_S // FPS for i in range(60)]
    assert ran[60][2] is clip.pictures[0]


@pytest.mark.parametrize(
    ("from_s", "index"), [(0.0, 0), (1.0, 15), (1.01, 16), (2.0, 0), (7.0, 15), (1.99, 0)]
)
def test_a_timeline_can_be_joined_anywhere(clip: Clip, from_s: float, index: int) -> None:
    due_s, ticks, picture = next(clip.timeline(from_s))
    assert picture is clip.pictures[index]
    assert 0 <= due_s < 1 / FPS
    assert abs(ticks / TICKS_PER_S - due_s) < 4 / FPS


def test_two_viewers_share_payloads_and_nothing_else(clip: Clip) -> None:
    payloads = clip.pictures[0].payloads
    rng = random.Random(3)
    one, other = Viewer(rng), Viewer(rng)
    ones, others = one.packets(payloads, 100), other.packets(payloads, 100)
    assert [packet[12:] for packet in ones] == [packet[12:] for packet in others] == [p for _, p in payloads]
    assert one.identity != other.identity
    numbers = [struct.unpack_from(">H", packet, 2)[0] for packet in ones]
    assert numbers == [(numbers[0] + i) % 65536 for i in range(len(numbers))]
    stamps = {struct.unpack_from(">I", packet, 4)[0] for packet in ones}
    assert stamps == {(one.base + 100) % 2**32}


def test_a_lost_packet_is_missing_from_the_count_and_a_damaged_one_differs_by_a_bit(clip: Clip) -> None:
    payloads = clip.pictures[0].payloads * 40
    one = viewer()
    begin = one.sequence
    left = one.packets(payloads, 0, drop=0.3)
    assert 0.6 < len(left) / len(payloads) < 0.8
    assert (one.sequence - begin) % 65536 == len(payloads)
    assert one.packets(payloads, 0, drop=1.0) == []
    whole, wrong = viewer().packets(payloads, 0), viewer().packets(payloads, 0, corrupt=1.0)
    for a, b in zip(whole, wrong, strict=True):
        assert a[:12] == b[:12]
        assert sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True)) == 1


def test_a_sender_report_says_when_and_how_much(clip: Clip) -> None:
    one = viewer()
    sent = one.packets(clip.pictures[0].payloads, 0)
    report = one.report(1_500_000_000 * 10**9 + 250_000_000, 9000)
    first, kind, words, identity, seconds, part, stamp, packets, octets = struct.unpack(">BBHIIIIII", report)
    assert (first, kind, (words + 1) * 4) == (0x80, 200, len(report))
    assert identity == one.identity
    assert seconds - 2_208_988_800 == 1_500_000_000
    assert part / 2**32 == pytest.approx(0.25)
    assert stamp == (one.base + 9000) % 2**32
    assert (packets, octets) == (len(sent), sum(map(len, sent)))


def test_after_a_fault_the_next_picture_is_a_keyframe() -> None:
    def picture(number: int, is_key: bool = False) -> ClipPicture:
        return ClipPicture(0.0, 0, is_key, ((96, bytes([number])),))

    first = picture(0, True)
    showing = Showing(first.payloads)
    shown = [
        showing.of(first, False, False),
        showing.of(picture(1), False, False),
        showing.of(picture(2, True), False, True),  # frozen
        showing.of(picture(3), True, False),  # stalled
        showing.of(picture(4), False, False),
        showing.of(picture(5, True), False, False),
        showing.of(picture(6), False, False),
    ]
    assert [payloads[0][1][0] if payloads else None for payloads in shown] == [0, 1, 0, None, None, 5, 6]


def test_what_a_camera_cannot_play_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"H\.264 in mp4, not mpeg4"):
        read_clip(path)
