"""Workers whose models die, hang and lie on demand (see `backends.py`)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from streamqa.model.base import ModelOptions
from streamqa.model.health import Health
from streamqa.model.link import Load
from streamqa.model.restarts import Limits
from streamqa.model.worker import Worker
from tests.model.backends import HERE, QUICK


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    with ExitStack() as stack:

        def make(
            function: str = "load",
            health: Health | None = None,
            limits: Limits = QUICK,
            folder: Path | None = None,
        ) -> Worker:
            worker = Worker(Load(f"{HERE}:{function}", "fake", folder, ModelOptions()), health, limits)
            stack.callback(worker.close)
            return worker

        yield make
