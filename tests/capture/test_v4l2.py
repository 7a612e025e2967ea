"""No machine here has a webcam: a fake kernel answers, from the layouts of `linux/videodev2.h`."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streamqa.capture import v4l2
from streamqa.capture.v4l2 import Camera, Mode, list_cameras, suggest

CAPTURE, META, OWN = 0x1, 0x0080_0000, 0x8000_0000
Size = tuple[int, int]
# fourcc -> size -> rates as (numerator, denominator) of the interval
Formats = dict[str, dict[Size, list[tuple[int, int]]]]


@dataclass
class FakeDevice:
    """One node as the kernel would describe it."""

    name: bytes = b"HD Webcam"
    capabilities: int = OWN | CAPTURE | META
    own: int = CAPTURE
    formats: Formats = field(default_factory=dict)
    ranges: dict[str, Size] = field(default_factory=dict)  # fourcc -> largest size of a range
    broken: int = 0  # an errno that everything ends in
    endless: bool = False  # its lists never end


def fourcc(number: int) -> str:
    return number.to_bytes(4, "little").decode()


class FakeKernel:
    """Answers for the files in a folder that stands for /dev."""

    def __init__(self, folder: Path, devices: dict[str, FakeDevice]) -> None:
        self.devices: dict[int, FakeDevice] = {}
        self.open: set[int] = set()
        for name, device in devices.items():
            (folder / name).write_bytes(b"")
            self.devices[(folder / name).stat().st_ino] = device

    def __call__(self, node: int, request: int, data: bytearray) -> None:
        self.open.add(node)
        device = self.devices[os.fstat(node).st_ino]
        if device.broken:
            raise OSError(device.broken, os.strerror(device.broken))
        answer = {
            v4l2.QUERYCAP: self.capability,
            v4l2.ENUM_FMT: self.format,
            v4l2.ENUM_FRAMESIZES: self.size,
            v4l2.ENUM_FRAMEINTERVALS: self.interval,
        }[request]
        try:
            answer(device, data)
        except IndexError:
            raise OSError(errno.EINVAL, "Invalid argument") from None

    def capability(self, device: FakeDevice, data: bytearray) -> None:
        assert len(data) == 104
        struct.pack_into("=16s32s32s", data, 0, b"uvcvideo", device.name, b"usb-0")
        struct.pack_into("=III", data, 80, 0x60000, device.capabilities, device.own)

    def format(self, device: FakeDevice, data: bytearray) -> None:
        index, kind = struct.unpack_from("=II", data)
        assert (len(data), kind) == (64, 1)
        names = [*device.formats, *device.ranges]
        name = names[0 if device.endless else index]
        struct.pack_into("=I", data, 44, int.from_bytes(name.encode(), "little"))

    def size(self, device: FakeDevice, data: bytearray) -> None:
        assert len(data) == 44
        index, pixels = struct.unpack_from("=II", data)
        if fourcc(pixels) in device.ranges:
            width, height = device.ranges[fourcc(pixels)]
            if index:
                raise IndexError
            struct.pack_into("=I6I", data, 8, 3, 32, width, 2, 24, height, 2)  # 3: stepwise
        else:
            size = list(device.formats[fourcc(pixels)])[0 if device.endless else index]
            struct.pack_into("=III", data, 8, 1, *size)

    def interval(self, device: FakeDevice, data: bytearray) -> None:
        assert len(data) == 52
        index, pixels, width, height = struct.unpack_from("=IIII", data)
        if fourcc(pixels) in device.ranges:
            struct.pack_into("=I6I", data, 16, 2, 1, 60, 1, 1, 1, 60)  # 2: continuous, 1/60 to 1 s
            return
        rates = device.formats[fourcc(pixels)][(width, height)]
        struct.pack_into("=III", data, 16, 1, *rates[0 if device.endless else index])


WEBCAM = FakeDevice(
    formats={
        "MJPG": {(1920, 1080): [(1, 30), (1, 25)], (1280, 720): [(1, 60), (1001, 30000)]},
        "YUYV": {(640, 480): [(1, 15), (1, 30)], (1280, 720): [(1, 10)]},
    }
)


def listed(folder: Path, **devices: FakeDevice) -> list[Camera]:
    return list_cameras(FakeKernel(folder, devices), str(folder))


def test_a_webcam_is_listed_with_its_modes_fastest_rate_first(tmp_path: Path) -> None:
    assert listed(tmp_path, video0=WEBCAM) == [
        Camera(
            0,
            "HD Webcam",
            (
                Mode("MJPG", 1920, 1080, (30.0, 25.0)),
                Mode("MJPG", 1280, 720, (60.0, 29.97)),
                Mode("YUYV", 640, 480, (30.0, 15.0)),
                Mode("YUYV", 1280, 720, (10.0,)),
            ),
        )
    ]


def test_webcams_are_in_the_order_of_their_numbers_and_other_nodes_are_none(tmp_path: Path) -> None:
    meta = FakeDevice(own=META)  # what each USB webcam has beside its pictures
    output = FakeDevice(capabilities=0x2)
    old = FakeDevice(name=b"old", capabilities=CAPTURE, own=0)  # of before a node had its own capabilities
    (tmp_path / "video").write_bytes(b"")
    (tmp_path / "videotape").write_bytes(b"")
    cameras = listed(tmp_path, video10=WEBCAM, video1=meta, video2=old, video3=output)
    assert [(camera.index, camera.name) for camera in cameras] == [(2, "old"), (10, "HD Webcam")]
    assert cameras[0].modes == ()


def test_a_camera_that_scales_is_listed_with_its_largest_size(tmp_path: Path) -> None:
    (camera,) = listed(tmp_path, video0=FakeDevice(ranges={"NV12": (3280, 2464)}))
    assert camera.modes == (Mode("NV12", 3280, 2464, (60.0,), any_smaller=True),)
    assert suggest(camera) is None


def test_a_driver_whose_lists_never_end_is_left_after_a_while(tmp_path: Path) -> None:
    endless = FakeDevice(formats={"MJPG": {(640, 480): [(1, 30)]}}, endless=True)
    kernel = FakeKernel(tmp_path, {"video0": endless})
    real, v4l2._MOST = v4l2._MOST, 5
    try:
        (camera,) = list_cameras(kernel, str(tmp_path))
    finally:
        v4l2._MOST = real
    assert set(camera.modes) == {Mode("MJPG", 640, 480, (30.0,))}


def test_an_unplugged_or_forbidden_camera_is_told_and_the_others_are_listed(tmp_path: Path) -> None:
    cameras = listed(tmp_path, video0=FakeDevice(broken=errno.ENODEV), video1=WEBCAM)
    assert "No such device; plug it in anew" in cameras[0].problem
    assert cameras[1].problem == ""


def test_a_camera_that_may_not_be_opened_is_told_with_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = FakeKernel(tmp_path, {"video0": WEBCAM})

    def forbidden(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(v4l2.os, "open", forbidden)
    (camera,) = list_cameras(kernel, str(tmp_path))
    assert camera.problem == 'permission denied; run: sudo usermod -aG video "$USER"'


def test_names_of_devices_cannot_steer_a_terminal(tmp_path: Path) -> None:
    (camera,) = listed(tmp_path, video0=FakeDevice(name=b"\x1b[31mred\xff\0left over"))
    assert camera.name == "�[31mred�"


def test_every_node_is_closed(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path, {"video0": WEBCAM, "video1": FakeDevice(broken=errno.EIO)})
    list_cameras(kernel, str(tmp_path))
    for node in kernel.open:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(node)


def test_the_real_kernel_says_that_a_file_is_no_webcam(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    (tmp_path / "video0").write_bytes(b"")
    assert list_cameras(folder=str(tmp_path)) == []
    assert list_cameras(folder=str(tmp_path / "none")) == []


def test_requests_carry_the_sizes_of_their_structures() -> None:
    sizes = {
        v4l2.QUERYCAP: v4l2._CAPABILITY,
        v4l2.ENUM_FMT: v4l2._FMTDESC,
        v4l2.ENUM_FRAMESIZES: v4l2._FRMSIZE,
        v4l2.ENUM_FRAMEINTERVALS: v4l2._FRMIVAL,
    }
    for request, structure in sizes.items():
        assert request >> 16 & 0x3FFF == structure.size
        assert request >> 8 & 0xFF == ord("V")


@pytest.mark.parametrize(
    ("modes", "best"),
    [
        ([Mode("YUYV", 1280, 720, (10.0,)), Mode("MJPG", 1280, 720, (30.0,))], 1),
        ([Mode("MJPG", 1920, 1080, (60.0,)), Mode("MJPG", 640, 480, (30.0,))], 1),
        ([Mode("MJPG", 2560, 1440, (60.0,)), Mode("MJPG", 1920, 1080, (30.0,))], 1),
        ([Mode("YUYV", 640, 480, ())], 0),
    ],
)
def test_what_is_suggested(modes: list[Mode], best: int) -> None:
    assert suggest(Camera(0, modes=tuple(modes))) == modes[best]


def test_nothing_is_suggested_of_a_camera_without_modes() -> None:
    assert suggest(Camera(0)) is None
