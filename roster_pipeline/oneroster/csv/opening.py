"""Opening a file of an export: a regular one, that must not change until it was read to its end.

An export or an upload that is still being written may end at a whole line: it would look complete, and
everything after that line would look removed. What the file holds is for `package` and `rows`.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE: Final = 4 << 20


class ExportFile(io.FileIO):
    """The bytes of a file; the end of a file that changed meanwhile is an error.

    Args:
        path: Of a regular file; anything else is refused, and a pipe not waited for.
        title: What messages call it.

    Raises:
        CodedError: RS-FILE-01 if it is no file, RS-FILE-10 at its end if it changed; OSError as `open`.
    """

    def __init__(self, path: Path, title: str) -> None:
        self._title = title
        super().__init__(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
        if not stat.S_ISREG(os.fstat(self.fileno()).st_mode):
            self.close()
            raise CodedError("RS-FILE-01", f"{title} is not a file.")
        self._was = self._state()

    def _state(self) -> tuple[int, int]:
        found = os.fstat(self.fileno())
        return found.st_size, found.st_mtime_ns

    def check_unchanged(self) -> None:
        """Raises RS-FILE-10 if the file is not as it was when it was opened."""
        if self._state() != self._was:
            raise CodedError("RS-FILE-10", f"{self._title} changed while it was read.")

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """As of any file; raises RS-FILE-10 at the end of one that changed."""
        count = super().readinto(buffer)
        if not count:
            self.check_unchanged()
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file, but not much at once: a zip may say that its list of files is gigabytes long."""
        if size is not None and size > _PIECE:
            raise CodedError(
                "RS-FILE-05", f"{self._title} says that it lists more files than any roster has."
            )
        return super().read(size) or b""
