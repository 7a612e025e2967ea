"""The child as its parent sees it is in test_worker.py; here is what takes a GPU, or no parent, to see."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from streamqa.model import child
from streamqa.model.child import device_fault


def fake_torch(*, initialized: bool, error: str = "") -> SimpleNamespace:
    def synchronize() -> None:
        if error:
            raise RuntimeError(error)

    cuda = SimpleNamespace(
        is_initialized=lambda: initialized, synchronize=synchronize, device_count=lambda: 2
    )
    return SimpleNamespace(cuda=cuda)


@pytest.mark.parametrize(
    ("torch", "fault"),
    [
        (None, ""),
        (fake_torch(initialized=False, error="never asked"), ""),
        (fake_torch(initialized=True), ""),
        (
            fake_torch(initialized=True, error="CUDA error: an illegal memory access\nwas encountered"),
            "RuntimeError: CUDA error: an illegal memory access was encountered",
        ),
    ],
)
def test_a_lost_device_is_told_from_a_failed_batch(
    monkeypatch: pytest.MonkeyPatch, torch: SimpleNamespace | None, fault: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert device_fault() == fault
    assert child._visible_devices() == (0 if torch is None else 2)


def test_it_ends_at_once_where_its_parent_is_gone_already() -> None:
    read, write = os.pipe()
    done = subprocess.run(
        [sys.executable, "-m", "streamqa.model.child", str(read), "1"],
        pass_fds=[read], capture_output=True, timeout=30,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    os.close(read)
    os.close(write)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_child_itself_is_light() -> None:
    code = "import streamqa.model.child, streamqa.model.pool, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert not {"torch", "pydantic", "fastapi", "av"} & set(done.stdout.split())
