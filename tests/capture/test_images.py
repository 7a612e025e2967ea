from pathlib import Path

import av
import numpy as np
import pytest

from streamqa.capture.encode import write_video
from streamqa.capture.video import FileSource


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_upright(tmp_path: Path, degrees: int) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48] = 255  # top left
    write_video(tmp_path / "a.mp4", [image] * 3, 10)
    with av.open(str(tmp_path / "a.mp4")) as given, av.open(str(tmp_path / "b.mp4"), "w") as written:
        copy = written.add_stream_from_template(given.streams.video[0])
        copy.set_display_rotation(degrees)
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                written.mux(packet)
    source = FileSource(str(tmp_path / "b.mp4"))
    source.open()
    shown = source.read().to_image()
    source.close()
    expected = np.rot90(image, degrees // 90)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 8
