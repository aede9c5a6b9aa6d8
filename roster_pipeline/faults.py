"""Where a mistake of ours arose: what may be told of an error whose text may hold anything.

A place in the code holds no values. What an error means is in `codes`.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Final

_PACKAGE: Final = f"{Path(__file__).parent}{os.sep}"


def place_of(error: BaseException) -> str:
    """The innermost place in this package that an error came through, as `rosters/plan.py:120`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)] or frames
    if not ours:
        return "an unknown place"
    return f"{ours[-1].filename.removeprefix(_PACKAGE)}:{ours[-1].lineno}"
