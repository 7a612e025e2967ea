from dataclasses import replace
from pathlib import Path

import pytest

from streamqa.model.tiny.train import Recipe, Trainer, schedule, train
from tests.model.tiny.micro import SIZES

SMALL = Recipe(
    ranks=1, steps=4, pictures=2, fresh=2, keep=4, every=2, validation=20, validate_every=4, sizes=SIZES
)


def test_rates_rise_stay_and_fall() -> None:
    recipe = Recipe(steps=1000, warmup=10, decay=0.5)
    assert schedule(0, recipe) == pytest.approx(0.1)
    assert schedule(100, recipe) == 1.0
    assert schedule(750, recipe) == pytest.approx(0.5)
    assert schedule(999, recipe) == 0.05


def test_both_stages_run_and_leave_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(SMALL, tmp_path)
    assert (tmp_path / "vision.pt").exists()
    joint = replace(SMALL, stage="joint")
    train(joint, tmp_path, tmp_path / "vision.pt")
    assert "VALIDATION HELDOUT 4" in capsys.readouterr().out
    again = Trainer(joint, 0, tmp_path)
    again.restore(tmp_path / "joint.pt")
    assert again.step == 4
    fresh = Trainer(joint, 0, tmp_path)
    fresh.restore(tmp_path / "vision.pt")
    assert fresh.step == 0


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    train(replace(SMALL, ranks=2), tmp_path)
    assert (tmp_path / "vision.pt").exists()
