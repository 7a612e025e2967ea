import sys
from pathlib import Path
from types import ModuleType

import pytest

from streamqa.errors import ConfigError
from streamqa.model import base
from streamqa.model.base import BACKENDS, open_model


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path | None]]:
    """What a backend named `probe` is asked to open."""
    asked: list[tuple[str, Path | None]] = []
    module = ModuleType("probe_backend")
    module.load = lambda spec, directory: asked.append((spec, directory))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe_backend", module)
    monkeypatch.setitem(BACKENDS, "probe", "probe_backend:load")
    return asked


def test_backend_gets_the_whole_spec(opened: list[tuple[str, Path | None]], tmp_path: Path) -> None:
    open_model("probe")
    open_model("probe:some/thing:else", tmp_path)
    assert opened == [("probe", None), ("probe:some/thing:else", tmp_path)]


@pytest.mark.parametrize("spec", ["", "moondream3", ":tiny", "Tiny"])
def test_unknown_backend_names_the_known_ones(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"moondream2, tiny"):
        open_model(spec)


def test_table_points_at_modules_that_exist() -> None:
    root = Path(base.__file__).parents[2]
    for target in BACKENDS.values():
        module, _, function = target.partition(":")
        path = root / Path(*module.split(".")).with_suffix(".py")
        assert f"def {function}(" in path.read_text()
