import math
from typing import Any

import torch

from streamqa.model.moondream.region import fourier


def test_heads_of_the_reference(golden: Any) -> None:
    region = golden.model.network.region
    for i, image in enumerate(golden.data["images"]):
        for kind in ("detect", "point"):
            hidden = golden.arrays[f"img{i}.{kind}.step_hidden"]
            golden.close(region.coord_decoder(hidden[:2]), f"img{i}.{kind}.coord_logits")
            bins = image[kind]["coord_bins"]
            values = region.decode_coord(hidden[:2])[:, 0]
            assert [round(float(v) * 1024) for v in values] == bins[:2]
        logits = region.size_decoder(golden.arrays[f"img{i}.detect.step_hidden"][2:3]).unflatten(-1, (2, -1))
        golden.close(logits, f"img{i}.detect.size_logits")
        size = region.decode_size(golden.arrays[f"img{i}.detect.step_hidden"][2:3])[0]
        expected = [2 ** (b / 1023 * 10 - 10) for b in image["detect"]["size_bins"][0]]
        torch.testing.assert_close(size, torch.tensor(expected), atol=1e-6, rtol=1e-6)


def test_fourier_is_cosines_then_sines() -> None:
    got = fourier(torch.tensor([[0.25, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
    turn = 2 * math.pi
    expected = [math.cos(turn / 4), math.cos(turn / 4), math.sin(turn / 4), math.sin(turn / 4)]
    torch.testing.assert_close(got, torch.tensor([expected]))
