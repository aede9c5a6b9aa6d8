"""Secrets by reference: `env:NAME` and `file:/path`, resolved at the moment of use.

Documents, databases and messages only ever hold the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from roster_pipeline.codes import CodedError

_LONGEST: Final = 65536  # bytes: whatever is longer is no secret, or has no end (/dev/zero)


def resolve(reference: str, environment: Mapping[str, str]) -> str:
    """The secret behind `reference`, without the blanks and line ends around it.

    Raises:
        CodedError: RS-AUTH-05 if it is not there, not readable, empty, or of several lines. The
            message names the variable or the file and never shows what was found there.
    """
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        if name not in environment:
            raise _unresolved(f"The environment variable {name} is not set.")
        what, found = f"The environment variable {name}", environment[name]
    elif scheme == "file":
        what, found = f"The file {name}", _contents(Path(name))
    else:
        # Not shown: it may be the secret itself.
        raise _unresolved("A reference is neither env:NAME nor file:/path.")
    secret = found.strip()
    if not secret:
        raise _unresolved(f"{what} is empty.")
    if not secret.isprintable():
        raise _unresolved(f"{what} holds several lines or control characters instead of one secret.")
    return secret


def _contents(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            found = stream.read(_LONGEST + 1)
        if len(found) > _LONGEST:
            raise _unresolved(f"The file {file} is too large for a secret.")
        return found.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Without a cause: that error carries the bytes.
        raise _unresolved(f"The file {file} is not UTF-8 text.") from None
    except OSError as error:
        raise _unresolved(
            f"The file {file} could not be read: {error.strerror or 'no reason is told'}."
        ) from error
    except ValueError:
        raise _unresolved("A file reference is not a path.") from None


def _unresolved(message: str) -> CodedError:
    return CodedError("RS-AUTH-05", message)
