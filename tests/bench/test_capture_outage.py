import json
from pathlib import Path

import pytest

from streamqa.bench import capture_outage, outage
from streamqa.bench.capture_clips import LIVE, make_clip
from streamqa.bench.capture_outage import as_json, figures, main, measure
from streamqa.bench.outage import Growth, Outage
from streamqa.errors import StreamQAError


def test_the_slowest_of_each_fault_counts() -> None:
    outages = [
        Outage("killed", 0.1, "reconnecting", "", 1, 2.6),
        Outage("killed", 1.1, "reconnecting", "", 2, 1.0),
        Outage("frozen", 3.3, "frozen", "", 0, 2.6),
    ]
    found = {figure.name: (figure.value, figure.reached) for figure in figures(outages, None)}
    assert found == {
        "camera killed: told after, at most": (1.1, False),
        "camera killed: a frame after the camera took the connection, at most": (2.6, False),
        "camera frozen: told after, at most": (3.3, None),
        "camera frozen: live again after it moves, at most": (2.6, None),
    }


@pytest.mark.parametrize(
    ("growth", "reached"),
    [
        (Growth(200, 60.0, 20_000_000, 0, 0), [True, True, True]),
        (Growth(200, 60.0, 20_000_001, 1, 1), [False, False, False]),
        (Growth(200, 60.0, -4096, -1, -1), [True, True, True]),
    ],
)
def test_growth_is_held_against_its_bounds(growth: Growth, reached: list[bool]) -> None:
    found = figures([], growth)
    assert [figure.reached for figure in found] == reached
    assert all(figure.name.startswith("200 reconnects") for figure in found)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips"), LIVE[1].scaled((160, 96)), 2.0)


def test_a_fault_and_reconnects_of_a_real_camera(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other faults take their time: they are in the tests of `outage`."""
    monkeypatch.setattr(capture_outage, "_WARM_UP", 1)
    for other in ("black_holed", "frozen"):
        monkeypatch.setattr(outage, other, lambda *_, name=other: Outage(name, 1.0, "stalled", "", 1, 1.0))
    main([str(clip), "1", "2"])
    told = json.loads(capsys.readouterr().out)
    killed, black_holed, frozen = (Outage(**one) for one in told["outages"])
    assert (killed.fault, killed.state) == ("killed", "reconnecting")
    assert (black_holed.fault, frozen.fault) == ("black_holed", "frozen")
    assert Growth(**told["growth"]).reconnects == 2
    assert as_json([killed, black_holed, frozen], Growth(**told["growth"])) == told


def test_it_is_measured_in_a_process_of_its_own(clip: Path) -> None:
    assert measure(clip, 0, 0) == ([], None)


def test_a_clip_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StreamQAError, match="ended with 1"):
        measure(tmp_path / "none.mp4", 0, 1)
