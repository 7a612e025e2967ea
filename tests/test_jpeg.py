import io

import numpy as np
from PIL import Image

from streamqa.jpeg import to_jpeg


def test_a_picture_keeps_its_colours_and_is_made_smaller_only_beyond_a_bound() -> None:
    image = np.full((60, 120, 3), (200, 30, 30), np.uint8)
    for most, size in ((None, (120, 60)), (200, (120, 60)), (40, (40, 20))):
        picture = Image.open(io.BytesIO(to_jpeg(image, 90, most)))
        assert (picture.format, picture.size) == ("JPEG", size)
        red, green, blue = picture.getpixel((5, 5))
        assert red > 180
        assert max(green, blue) < 60


def test_a_better_quality_takes_more_room() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    assert len(to_jpeg(noise, 95)) > len(to_jpeg(noise, 50))
