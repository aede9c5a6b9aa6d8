"""Which release of the package this is: what another one found is not taken for what this one would find."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import roster_pipeline

_COMPUTES: Final = ("pandas", "pyarrow", "numpy", "msgspec", "orjson")


@cache
def release() -> str:
    """A digest of the package's own sources and of what they compute with; read once in a process.

    Of the sources themselves: not every change of them has a version of its own.
    """
    root = Path(roster_pipeline.__file__).parent
    versions = [metadata.version(name) for name in _COMPUTES]
    found = hashlib.sha256("\0".join([sys.version, *versions]).encode())
    for path in sorted(root.rglob("*.py")):
        found.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:32]
