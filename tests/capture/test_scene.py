from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest

from streamqa.capture.scene import SceneSource, make
from streamqa.capture.source import SourceSpec
from streamqa.errors import ConfigError, SourceUnavailable
from streamqa.scenes.script import GateScene

S = 10**9


def test_pictures_are_the_scene_at_their_time_and_come_in_real_time() -> None:
    source = SceneSource(7, Fraction(30))
    source.open()
    begin = time.monotonic()
    pictures = [source.read() for _ in range(6)]
    elapsed = time.monotonic() - begin
    last = pictures[-1]
    assert elapsed >= last.t_ns / S - 0.01
    assert all(p.t_ns % 1 == 0 and round(p.t_ns * 30 / S) * S // 30 == p.t_ns for p in pictures), (
        "on its grid"
    )
    image = last.to_image()
    assert image.flags.writeable
    assert np.array_equal(image, GateScene(7).image(last.t_ns / S))
    source.close()


def test_pictures_that_nobody_read_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    source = SceneSource(1, Fraction(10))
    source.open()
    assert [source.read().t_ns, source.read().t_ns] == [0, S // 10]
    now[0] = 5 * S + 1
    assert source.read().t_ns == 5 * S


def test_defaults_and_settings() -> None:
    default, chosen = make(SourceSpec("a", "scene:gate")), make(SourceSpec("a", "scene:gate?seed=7&fps=2.5"))
    assert isinstance(default, SceneSource)
    assert isinstance(chosen, SceneSource)
    assert (default._seed, default._fps) == (1, 15)
    assert (chosen._seed, chosen._fps) == (7, Fraction(5, 2))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("scene:beach", "unknown scene 'beach'"),
        ("scene:", "unknown scene ''"),
        ("scene:gate?sed=1", "unknown setting 'sed'"),
        ("scene:gate?seed=x", "numbers"),
        ("scene:gate?fps=", "numbers"),
        ("scene:gate?fps=1/0", "numbers"),
        ("scene:gate?fps=0", "from 1 to 60"),
        ("scene:gate?fps=1000", "from 1 to 60"),
    ],
)
def test_mistakes_are_told_with_the_grammar(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(SourceSpec("a", url))


def test_reading_a_closed_scene() -> None:
    with pytest.raises(SourceUnavailable, match="not open"):
        SceneSource(1).read()
