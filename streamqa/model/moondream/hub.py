"""Where the released files are, and fetching them: pinned revision, checked sha256, progress bar."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from streamqa.errors import ModelError
from streamqa.model.moondream.config import MoondreamConfig, read_config

REPO = "vikhyatk/moondream2"
REVISION_NAME = "2025-06-21"
ADVICE = "`--model tiny` runs the demo without them"


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One file of one commit."""

    repo: str
    commit: str
    name: str
    size: int  # bytes
    sha256: str


WEIGHTS = PinnedFile(
    REPO,
    "9a7d4024050840e001defacec2b00727e89149e6",
    "model.safetensors",
    3_854_538_968,
    "70a7d94c0c8349eb58ed2d9e636ef2d0916960f321ecabeac6354b8ba3d7403f",
)
# The tokenizer.json beside the weights is of an older model; these weights want this one.
TOKENIZER = PinnedFile(
    "moondream/starmie-v1",
    "35192e10a54e36eabe0a7cc57a2c1aab371cafc5",
    "tokenizer.json",
    3_694_206,
    "0512fdcac4a5f9e7746cbefce4a468dc93bf0f93f11e701b84f8b31bff199e9c",
)


def describe(file: PinnedFile) -> str:
    """What a user must get, in one phrase."""
    size = f"{file.size / 1e9:.1f} GB" if file.size > 1e9 else f"{file.size / 1e6:.1f} MB"
    return f"{file.name} ({size}, huggingface.co/{file.repo} at {file.commit[:8]})"


def check_sha256(path: Path, file: PinnedFile) -> None:
    """Raise ModelError unless `path` holds exactly the pinned bytes."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise ModelError(f"{path}: sha256 is {digest[:12]}…, expected {file.sha256[:12]}…; download it again")


def fetch(file: PinnedFile) -> Path:
    """The file in the Hugging Face cache, downloaded if it is not there.

    Raises:
        ModelError: not there and not to be had, or not the pinned bytes.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(file.repo, file.name, revision=file.commit)
    if isinstance(cached, str) and Path(cached).stat().st_size == file.size:
        return Path(cached)  # its hash was checked when it came
    try:
        _look_up_hub()
        path = Path(hf_hub_download(file.repo, file.name, revision=file.commit))
    except Exception as error:  # the hub's HTTP client raises classes of its own, which differ by version
        raise ModelError(
            f"moondream2: no {describe(file)} here, and it could not be downloaded ({type(error).__name__});"
            f" put {WEIGHTS.name} and the {TOKENIZER.name} of {TOKENIZER.repo} into a folder and give it with"
            f" --model-path; {ADVICE}"
        ) from error
    try:
        check_sha256(path, file)
    except ModelError:
        path.resolve().unlink(missing_ok=True)  # or the next start would trust it
        path.unlink(missing_ok=True)
        raise
    return path


def _look_up_hub() -> None:
    """Fail at once where there is no network; the hub's own client tries for twenty seconds."""
    from huggingface_hub.constants import ENDPOINT

    if not getproxies():
        socket.getaddrinfo(urlsplit(ENDPOINT).hostname, None)


def locate(source: str | Path) -> tuple[Path, Path, MoondreamConfig]:
    """Weights, tokenizer (may be absent) and config of a directory or of the pinned repository."""
    directory = Path(source)
    if directory.is_dir():
        weights = directory / WEIGHTS.name
        if not weights.is_file():
            raise ModelError(
                f"moondream2: no {weights}; put {describe(WEIGHTS)} there, and beside it"
                f" {describe(TOKENIZER)}; {ADVICE}"
            )
        return weights, directory / TOKENIZER.name, read_config(directory / "config.json")
    if str(source) == REPO:
        return fetch(WEIGHTS), fetch(TOKENIZER), MoondreamConfig()
    raise ModelError(f"{source}: neither a directory nor {REPO}, the one repository with pinned files")
