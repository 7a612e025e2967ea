"""Several workers, one per device, as one `VisionModel`; and the one place that opens a model as a user chose it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamqa.errors import ConfigError
from streamqa.model.base import ModelOptions, VisionModel, find_backend, open_model
from streamqa.model.health import Health
from streamqa.model.link import Load
from streamqa.model.process import Generations
from streamqa.model.restarts import Limits
from streamqa.model.worker import Worker, answer_by
from streamqa.types import ModelInfo, Precision, Request


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model, from where, on what."""

    spec: str
    directory: Path | None = None
    devices: tuple[str, ...] = ()  # a worker each; empty: every CUDA device that there is, else the CPU
    isolate: bool = True  # in child processes
    precision: Precision = "exact"

    def __post_init__(self) -> None:
        if len(self.devices) > 1 and not self.isolate:
            raise ConfigError(
                "several devices are a process each; leave isolate: false out, or name one device"
            )
        if len(set(self.devices)) < len(self.devices):
            raise ConfigError(f"a device is named twice: {', '.join(self.devices)}")


def start_model(choice: ModelChoice, health: Health | None = None) -> VisionModel:
    """Open a model. In child processes it is still loading when this returns: `info` waits, and raises what failed.

    Raises:
        ConfigError, ModelError: as `open_model`; of a model in child processes only what is known at once.
    """
    if choice.isolate:
        return Pool(choice, health or Health())
    device = choice.devices[0] if choice.devices else ""
    return open_model(choice.spec, choice.directory, ModelOptions(device, choice.precision))


class Pool:
    """Workers that share the work: a batch goes to the least busy live one. Each dies, and comes back, by itself."""

    def __init__(self, choice: ModelChoice, health: Health, limits: Limits | None = None) -> None:
        self._choice, self._health, self._limits = choice, health, limits or Limits()
        self._target = find_backend(choice.spec)
        self._workers = [self._worker(device) for device in choice.devices or ("",)]
        self._info: ModelInfo | None = None

    @property
    def info(self) -> ModelInfo:
        """Of all workers together: the devices side by side, the calls in flight added up.

        Waits until all have loaded. To be read first by the thread that made the pool.

        Raises:
            ConfigError, ModelError: one of them cannot load the model, in the words of `open_model`.
        """
        if self._info is None:
            self._info = self._loaded()
        return self._info

    @property
    def pids(self) -> list[int | None]:
        """Of the processes, in the order of the devices; None where there is none just now."""
        return [worker.pid for worker in self._workers]

    def answer(self, requests: Sequence[Request]) -> Generations:
        """One generation for each prompt of each request; waits while no worker is there.

        Raises:
            ModelLost: its process died meanwhile, or none is back yet.
            ModelError: the model failed on the batch.
        """
        _ = self.info  # the first load is waited for, however long it takes
        return answer_by(self._workers, requests)

    def close(self) -> None:
        """End all processes, whatever they do. May be called twice."""
        for worker in self._workers:
            worker.end()  # tell all of them first: they stop side by side
        for worker in self._workers:
            worker.close()

    def _loaded(self) -> ModelInfo:
        first = self._workers[0].info
        if not self._choice.devices and self._workers[0].devices > 1 and first.device.startswith("cuda"):
            # The first took cuda:0 by itself and has counted: this process needs no torch to know.
            self._workers += [self._worker(f"cuda:{n}") for n in range(1, self._workers[0].devices)]
        infos = [worker.info for worker in self._workers]
        return replace(
            first,
            device=", ".join(info.device for info in infos),
            max_frames=min(info.max_frames for info in infos),
            in_flight=sum(info.in_flight for info in infos),
        )

    def _worker(self, device: str) -> Worker:
        choice = self._choice
        load = Load(self._target, choice.spec, choice.directory, ModelOptions(device, choice.precision))
        return Worker(load, self._health, self._limits)
