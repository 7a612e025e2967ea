"""What a CUDA graph does, on the CPU: the very operations of one run, done again on the very same memory.

So whatever recorded work takes from Python (a number, a list, a new tensor made of either) is as it was when it was
recorded, and most of what waits for the device is refused (a CPU's `item` and `tolist` cannot be seen; what they say
is then as it was).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

aten = torch.ops.aten
WAITING = {
    aten.nonzero.default,  # a shape that depends on numbers
    aten.masked_select.default,
    aten.lift_fresh.default,  # torch.tensor of Python's numbers, which a GPU would be sent
}


class Refused(RuntimeError):
    """What cannot be recorded, as torch says it of CUDA graphs: by a RuntimeError."""


class Tape(TorchDispatchMode):
    """Runs work and notes its operations."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        if by_mask or func in WAITING:
            raise Refused(f"{func} waits for the device")
        out = func(*args, **(kwargs or {}))
        self.notes.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        with torch.inference_mode():
            for func, args, kwargs, out in self.notes:
                again = func(*args, **kwargs)
                for old, new in zip(tree_flatten(out)[0], tree_flatten(again)[0], strict=True):
                    # A view of the same memory, and what was written in place, is there already.
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def capture(work: Callable[[], None]) -> Callable[[], None]:
    """As `graphs.CudaCapture`: warmed up, then recorded."""
    work()
    tape = Tape()
    with tape:
        work()
    return tape.replay
