"""Evidence: the pictures that answers are about, as JPEG files beside the log, each under its record's number."""

from __future__ import annotations

import os
import re
import shutil
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamqa.jpeg import to_jpeg

if TYPE_CHECKING:
    from streamqa.types import Image

_ADDRESS = re.compile(r"/frames/(\d+)\.jpg")
_QUALITY = 85
_IN_A_FOLDER = 1000
_STEP = 100  # files deleted at once


def address_of(seq: int) -> str:
    """Where the server shows the picture of a record: what its field `evidence` says."""
    return f"/frames/{seq}.jpg"


def number_of(address: str | None) -> int | None:
    """The record whose picture such an address shows; None: it is none."""
    found = _ADDRESS.fullmatch(address or "")
    return None if found is None else int(found[1])


@dataclass(frozen=True, slots=True)
class _File:
    seq: int
    size_bytes: int
    written_ms: int  # wall clock


class EvidenceStore:
    """The pictures of one log. `put` and `trim` belong to the log's writer; `path` may be called by any thread.

    They lie in a folder of the log's own id, so that a log that took another's place never shows its pictures.
    Folders and files are for their owner only.
    """

    def __init__(self, folder: Path, log_id: str, last_seq: int) -> None:
        """Forgets pictures beyond `last_seq`, whose records were never written.

        Raises:
            OSError: the folder cannot be made or read.
        """
        self._folder = folder / log_id
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for other in folder.iterdir():  # of logs that stood at this path before
            if other != self._folder and other.is_dir():
                shutil.rmtree(other, ignore_errors=True)
        self._files = deque(sorted(self._found(last_seq), key=lambda file: file.seq))
        self.size_bytes = sum(file.size_bytes for file in self._files)

    def put(self, seq: int, image: Image, now_ms: int) -> None:
        """Write a picture, uint8 (H, W, 3) RGB, under a number. Raises OSError: it is not there then."""
        data = to_jpeg(image, _QUALITY)
        path = self._file(seq)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished = path.with_suffix(".part")
        try:
            # As whole files only, and readable by nobody else from the first byte on.
            with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(data)
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self._files.append(_File(seq, len(data), now_ms))
        self.size_bytes += len(data)

    def forget(self, seq: int) -> None:
        """Take back the newest pictures, from this number on: their records could not be written."""
        while self._files and self._files[-1].seq >= seq:
            self._delete(self._files.pop())

    def path(self, seq: int) -> Path | None:
        """Where the picture of a record is, if it is kept."""
        path = self._file(seq)
        return path if path.is_file() else None

    def trim(self, first_seq: int, before_ms: int | None, most_bytes: int | None) -> int:
        """Delete some of what is older than the log or than `before_ms`, or beyond `most_bytes`; how many."""
        deleted = 0
        while self._files and deleted < _STEP:
            file = self._files[0]
            if not (
                file.seq < first_seq
                or (before_ms is not None and file.written_ms < before_ms)
                or (most_bytes is not None and self.size_bytes > most_bytes)
            ):
                break
            self._delete(self._files.popleft())
            deleted += 1
        return deleted

    def _file(self, seq: int) -> Path:
        return self._folder / str(seq // _IN_A_FOLDER) / f"{seq}.jpg"

    def _delete(self, file: _File) -> None:
        path = self._file(file.seq)
        path.unlink(missing_ok=True)
        self.size_bytes -= file.size_bytes
        if not self._files or self._files[0].seq // _IN_A_FOLDER != file.seq // _IN_A_FOLDER:
            with suppress(OSError):  # it is not empty
                path.parent.rmdir()

    def _found(self, last_seq: int) -> list[_File]:
        found = []
        for path in self._folder.glob("*/*"):
            if path.suffix == ".jpg" and path.stem.isdecimal() and int(path.stem) <= last_seq:
                stat = path.stat()
                found.append(_File(int(path.stem), stat.st_size, round(stat.st_mtime * 1000)))
            else:
                path.unlink(missing_ok=True)
        return found
