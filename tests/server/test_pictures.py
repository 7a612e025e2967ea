"""Pictures by HTTP, against a real server."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
from PIL import Image

Get = Callable[..., httpx2.Response]


def test_latest_pictures(site: Any, get: Get) -> None:
    assert get("/sources/gate/latest.jpg").status_code == 404  # none yet
    assert get("/sources/elsewhere/latest.jpg").status_code == 404
    assert get("/sources/..%2f..%2fetc%2fpasswd/latest.jpg").status_code == 404
    site.images["gate"] = np.full((90, 160, 3), (200, 30, 30), np.uint8)
    response = get("/sources/gate/latest.jpg")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "no-store"
    picture = Image.open(io.BytesIO(response.content))
    assert picture.size == (160, 90)
    red, green, blue = picture.getpixel((80, 45))
    assert red > 180
    assert max(green, blue) < 60
    assert get("/sources/gate/latest.jpg").content == response.content
    site.images["gate"] = np.zeros((1080, 1920, 3), np.uint8)
    assert Image.open(io.BytesIO(get("/sources/gate/latest.jpg").content)).size == (1280, 720)
