"""Work whose shapes and addresses never change, recorded once and replayed: CUDA graphs, where there are any.

A forward launches several hundred kernels, which a fast GPU finishes sooner than Python can launch them. Recorded,
they are one launch. What is recorded must neither wait for the device nor make anything of Python's numbers: it reads
and writes `Memory`, which is filled before and read afterwards.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from math import prod
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
Work = Callable[[], None]
Capture = Callable[[Work], Work]  # work -> what does it again

MAX_GRAPHS = 32  # of which the least recently used is dropped
# A bucket is recorded when it comes for the third time: recording takes three forwards, and rare ones never pay that.
PATIENCE = 2

_cuda: Any = torch.cuda  # its streams and events come without types
_logger = logging.getLogger(__name__)


class Programs:
    """Recorded work by its key.

    Args:
        capture: how work is recorded; None: it never is, and runs as it stands.
        limit: records kept.
        patience: how often work runs as it stands before it is recorded.
    """

    def __init__(self, capture: Capture | None, limit: int = MAX_GRAPHS, patience: int = PATIENCE) -> None:
        self._capture, self._limit, self._patience = capture, limit, patience
        self._recorded: OrderedDict[Hashable, Work] = OrderedDict()
        self._seen: OrderedDict[Hashable, int] = OrderedDict()  # of what is not recorded; at most 8 * limit

    @property
    def recorded(self) -> list[Hashable]:
        """Keys, least recently used first."""
        return list(self._recorded)

    def run(self, key: Hashable, work: Work) -> None:
        """Do the work, which is the same for the same key until `forget`."""
        known = self._recorded.get(key)
        if known is not None:
            self._recorded.move_to_end(key)
            known()
            return
        if self._capture is None or not self._due(key):
            work()
            return
        try:
            replay = self._capture(work)
        except RuntimeError as error:  # torch's word for whatever device or driver cannot do
            problem = " ".join(str(error).split())[:200]
            _logger.warning(
                "CUDA graphs are off, batches are slower without: recording one failed (%s)", problem
            )
            self.forget()
            self._capture = None
            work()
            return
        self._recorded[key] = replay
        while len(self._recorded) > self._limit:
            self._recorded.popitem(last=False)
        replay()

    def forget(self) -> None:
        """Drop all records: their memory has moved."""
        self._recorded.clear()
        self._seen.clear()

    def _due(self, key: Hashable) -> bool:
        seen = self._seen.pop(key, 0)
        if seen >= self._patience:
            return True
        self._seen[key] = seen + 1
        while len(self._seen) > 8 * self._limit:
            self._seen.popitem(last=False)
        return False


class Memory:
    """Tensors that stay where they are; when one must grow, whatever was recorded with it is forgotten."""

    def __init__(self, device: torch.device, programs: Programs) -> None:
        self.device = device
        self._programs = programs
        self._flat: dict[str, Tensor] = {}
        self._staging = Staging(device)

    def view(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, *, keep: bool = False) -> Tensor:
        """The beginning of a named tensor, in some shape; what it holds is not defined.

        Args:
            name: always with the same `dtype`.
            shape: of any size.
            dtype: of the elements.
            keep: what it held stays there when it grows.
        """
        size, flat = prod(shape), self._flat.get(name)
        if flat is None or len(flat) < size:
            self._programs.forget()
            if not keep:
                flat = None
                self._flat.pop(name, None)  # freed before the larger one is made
            larger = torch.empty(size, dtype=dtype, device=self.device)
            if flat is not None:
                larger[: len(flat)] = flat
            self._flat[name] = flat = larger
        return flat[:size].view(shape)

    def free(self) -> None:
        """Let go of everything."""
        self._programs.forget()
        self._flat.clear()

    def fill(self, name: str, host: Array, dtype: torch.dtype) -> Tensor:
        """A named tensor that holds what lies on the host, which has that `dtype`, too."""
        return self._staging.copy([host], self.view(name, host.shape, dtype))


class Staging:
    """Copies to a device from memory that it reads by itself, while Python goes on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned = torch.empty(0, dtype=torch.uint8)
        self._read: Any = None  # when the last copy has left the buffer

    def copy(self, parts: Sequence[Array], out: Tensor | None = None) -> Tensor:
        """What lies on the host, one after the other, in `out` or in new memory of the device."""
        if self._device.type != "cuda":
            whole = torch.from_numpy(np.concatenate(parts))
            return whole.to(self._device) if out is None else out.copy_(whole)
        shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
        size = prod(shape) * parts[0].itemsize
        if self._read is not None:
            self._read.synchronize()
        if len(self._pinned) < size:
            self._pinned = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        staged = self._pinned.numpy()[:size].view(parts[0].dtype).reshape(shape)
        np.concatenate(parts, out=staged)
        if out is None:
            out = torch.empty(shape, dtype=torch.from_numpy(staged).dtype, device=self._device)
        out.copy_(torch.from_numpy(staged), non_blocking=True)
        self._read = _cuda.Event()
        self._read.record(torch.cuda.current_stream(self._device))
        return out


class CudaCapture:
    """Records CUDA graphs that share one pool of memory: no two run at once, and nothing outside reads it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None
        self._graphs: WeakSet[Any] = (
            WeakSet()
        )  # those that still use the pool: it does not outlive the last of them

    def __call__(self, work: Work) -> Work:
        """As `Capture`; the work is done three times on the way, which must not matter."""
        if not self._graphs:
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.device(self._device):
            side = _cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries set themselves up in the first runs
                work()
                work()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may call CUDA meanwhile: their calls are not part of it.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                work()
        self._graphs.add(graph)
        replay: Work = graph.replay
        return replay
