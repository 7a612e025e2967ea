import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streamqa.errors import ConfigError, ModelError
from streamqa.model import base
from streamqa.model.base import BACKENDS, ModelOptions, open_model

Asked = tuple[str, Path | None, ModelOptions]


def backend(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    """A backend named `probe` that is loaded by `load`."""
    module = ModuleType("probe_backend")
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe_backend", module)
    monkeypatch.setitem(BACKENDS, "probe", "probe_backend:load")


def test_backend_gets_the_whole_spec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Asked] = []
    backend(monkeypatch, lambda *given: asked.append(given))
    options = ModelOptions(device="cuda:1")
    open_model("probe")
    open_model("probe:some/thing:else", tmp_path, options)
    assert asked == [("probe", None, ModelOptions()), ("probe:some/thing:else", tmp_path, options)]


def test_what_a_backend_raises_is_one_line_for_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(*_: object) -> None:
        raise RuntimeError("CUDA error:\n  invalid device ordinal")

    backend(monkeypatch, no_device)
    with pytest.raises(ModelError) as found:
        open_model("probe", None, ModelOptions(device="cuda:7"))
    said = "model 'probe' cannot be loaded on cuda:7: RuntimeError: CUDA error: invalid device ordinal"
    assert str(found.value) == said


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "CPU"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=r"write cpu, cuda, cuda:1 or mps"):
        ModelOptions(device=device)


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
