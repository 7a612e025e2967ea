"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from streamqa.errors import ConfigError, StreamQAError


@contextmanager
def reading_kept(path: Path, what: str, without: str) -> Iterator[bytes | None]:
    """What is in a file of ours, for a block that checks it; None: there is no such file.

    Raises:
        ConfigError: it cannot be read, or the block found it wrong (`ValidationError`): `what` cannot be read, and
            without the file one could `without`.
    """
    try:
        yield _content(path)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{path}: {what} cannot be read ({where or 'the file'}: {first['msg']}); "
            f"mend the file, or move it away to {without}"
        ) from None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def replacing(path: Path, data: bytes | None, mode: int = 0o600) -> Iterator[None]:
    """Put `data` in the place of `path` when the block ends well; after an exception `path` is as it was.

    All that may fail for want of space or of rights is done before the block: `data` is written beside `path`, and
    forced to the disk. A process that dies at any moment leaves the old file or the new one. `data` None: the file
    goes. A file that is there keeps its owner, as far as that may be set, and its rights; a new one gets `mode`.

    Raises:
        StreamQAError: it cannot be written.
    """
    path = path.resolve()  # what a link points at is replaced, not the link
    beside = path.with_name(
        f".{path.name}.new"
    )  # one name, so that processes that die leave no litter behind
    try:
        with _told(path):
            if data is not None:
                _write(beside, data, path, mode)
            elif not os.access(path.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        yield
        with _told(path):
            if data is None:
                path.unlink(missing_ok=True)
            else:
                os.replace(beside, path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StreamQAError(f"{path} cannot be written ({reason}), so nothing has been changed") from None


def _write(beside: Path, data: bytes, path: Path, mode: int) -> None:
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        with suppress(FileNotFoundError):
            old = path.stat()
            with suppress(PermissionError):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
