"""What a device can do: its number format, how many pictures it holds, how its memory is handed out."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from pathlib import Path
from typing import Literal

import torch

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.network import Network

LARGE = 100_000_000  # parameters from which on a model takes the whole machine; the test models have fewer than 1e6
MAX_FRAMES = 64  # of a batch on a GPU: more gain nothing, and make all wait for the last
CPU_FRAMES = 4  # of a batch of a large model on a CPU, which takes seconds for each
SMALL_FRAMES = 16  # of a batch of a small one
PROMPT_TOKENS = 256  # of all questions about one picture, answers included
_PROBE_ROWS = 8

_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MALLOC_BYTES = 1 << 30


def best_dtype(device: torch.device) -> torch.dtype:
    """The shortest float that the device computes with natively, bfloat16 before float16."""
    if device.type == "cuda":
        return gpu_dtype(torch.cuda.get_device_capability(device))
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return torch.float32
    return torch.bfloat16 if _CPU_FLAGS & set(flags) else torch.float32


def gpu_dtype(capability: tuple[int, int]) -> torch.dtype:
    """Of a compute capability: bfloat16 since Ampere; before it torch only emulates it, and Volta is fast at float16.

    What is still older is slow at float16, and has too little memory for float32.
    """
    return torch.bfloat16 if capability >= (8, 0) else torch.float16


@torch.inference_mode()
def float16_problem(network: Network) -> str:
    """Why a network in float16, whose numbers end at 65,504, cannot be trusted; "" if nothing speaks against it.

    Its weights are looked at, and what becomes of one picture of noise and a short prompt. Other pictures may still
    overflow: then their answers are errors.
    """
    wrong = [name for name, weight in network.named_parameters() if not bool(weight.isfinite().all())]
    if wrong:
        return f"{len(wrong)} of its tensors do not fit, {wrong[0]} first"
    size = network.config.vision.crop_size
    noise = torch.randint(0, 256, (1, size, size, 3), generator=torch.Generator().manual_seed(0))
    tokens_BPD = network.vision(noise.to(network.device, torch.uint8), [(1, 1)])
    if not bool(tokens_BPD.isfinite().all()):
        return "a picture of noise overflows it in the vision tower"
    ids = torch.arange(_PROBE_ROWS, device=network.device) % network.config.text.vocab_size
    _, hidden_RD = network.look(tokens_BPD, [0], (network.text.embed(ids), [len(ids)], []))
    if not bool(network.text.logits(hidden_RD).isfinite().all()):
        return "a picture of noise overflows it in the decoder"
    return ""


def frame_bytes(config: MoondreamConfig, width: int) -> int:
    """Memory that one more picture of a batch takes, at `width` bytes a number.

    Keys and values of its prefix and of what is asked about it, half as much again because they are views of a QKV
    output that holds the queries too, or are padded; the features of its crops; and of the rows that are in one
    layer: input, output, norm, QKV, attention, and the MLP before and after its activation. These twice, since
    recorded work has memory of its own.
    """
    text, vision = config.text, config.vision
    rows = config.prefix_len + PROMPT_TOKENS
    heads = text.n_heads + 2 * text.n_kv_heads
    kept = text.n_layers * rows * heads * text.head_dim
    crops = (1 + vision.max_crops) * vision.n_patches * vision.enc_dim
    layer = rows * (5 * text.dim + heads * text.head_dim + 2 * text.ff_dim)
    return width * (kept + crops + 2 * layer)


def fixed_bytes(config: MoondreamConfig, width: int, crops_per_pass: int) -> int:
    """Memory that a batch takes whatever its size: one pass of the tower, and logits in float32, each twice."""
    vision = config.vision
    tower = crops_per_pass * vision.n_patches * (7 * vision.enc_dim + 2 * vision.enc_ff_dim)
    return 2 * width * tower + 2 * 4 * 256 * config.text.vocab_size


def frames_that_fit(free: int, fixed: int, per_frame: int, most: int) -> int:
    """Pictures of a batch, from 1 to `most`: a tenth of the free bytes stays free for the allocator's waste."""
    return max(1, min(most, int(0.9 * free - fixed) // per_frame))


def max_frames(network: Network) -> int:
    """Pictures that fit into the device's memory at once, after the weights were loaded."""
    config, width = network.config, network.dtype.itemsize
    if network.device.type == "cuda":
        most, free = MAX_FRAMES, torch.cuda.mem_get_info(network.device)[0]
    else:
        most, free = CPU_FRAMES if is_large(network) else SMALL_FRAMES, available_ram()
    fixed = fixed_bytes(config, width, network.vision.crops_per_pass)
    return frames_that_fit(free, fixed, frame_bytes(config, width), most)


def is_large(network: Network) -> bool:
    """Whether this is a model of the released size."""
    text = network.config.text
    return text.n_layers * text.dim * (text.dim + text.ff_dim) >= LARGE


def available_ram(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that can be taken without swapping; where the system does not say, 4 GiB."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else 4 << 30


def keep_memory() -> Literal["kept", "not glibc", "refused"]:
    """Let glibc keep what is freed for the next layer.

    What is over 32 MB it maps and unmaps by itself, and the kernel clears its pages each time. Measured at full size
    on two cores: the text pass 1,343 -> 1,280 ms, a QKV multiplication of nine crops 27 -> 18 ms. For this process,
    for good.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "not glibc"
    mallopt = ctypes.CDLL(None).mallopt
    done = [bool(mallopt(option, _MALLOC_BYTES)) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return "kept" if all(done) else "refused"
