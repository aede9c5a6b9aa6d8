"""What values mean: roles, statuses, truth values, dates, and values that only stand for one.

Pure functions from text to text, for both versions and for what servers make of them; they are called
once for each distinct value, or are cached. What follows from a value is a rule and belongs in `rosters`.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import Final

ROLES: Final[dict[str, str]] = {
    "student": "student",
    "teacher": "teacher",
    "aide": "aide",
    "proctor": "proctor",
    "counselor": "counselor",
    "principal": "principal",
    "administrator": "site_administrator",
    "siteadministrator": "site_administrator",
    "districtadministrator": "district_administrator",
    "systemadministrator": "system_administrator",
    "parent": "parent",
    "guardian": "guardian",
    "relative": "relative",
}
"""OneRoster's roles of both versions, lower-case and without separators, with the name that is published."""

KNOWN_ROLES: Final = frozenset(ROLES.values())

_SEPARATORS: Final = re.compile(r"[\s_-]+")
_FAMILY: Final = re.compile(r"(parent|guardian|relative)\d*\Z")
_DATE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?!\d)", re.ASCII)


@lru_cache(maxsize=4096)
def role(text: str) -> str:
    """The role's name in the one vocabulary of both versions; unknown roles as they came, lower-case.

    `ext:` before a role that OneRoster knows says nothing more (1.2 admits few roles in enrolments, so
    that an aide has to be written `ext:aide`).
    """
    lowered = text.strip().lower()
    return ROLES.get(_SEPARATORS.sub("", lowered.removeprefix("ext:")), lowered)


def is_known_role(name: str) -> bool:
    """Whether `name`, as `role` gives it, is one of OneRoster's roles."""
    return name in KNOWN_ROLES


@lru_cache(maxsize=4096)
def family(name: str) -> str:
    """`parent`, `guardian` or `relative` where the role is a family role, else "".

    Vendors' own roles count by their last word (`ext:primaryguardian` is a guardian,
    `ext:parentliaison` is staff).
    """
    if name in ("parent", "guardian", "relative"):
        return name
    found = _FAMILY.search(name.lower()) if name.lower().startswith("ext:") else None
    return found[1] if found else ""


def is_family(name: str) -> bool:
    """Whether `name`, as `role` gives it, is an adult's role in a student's family."""
    return family(name) != ""


def is_deleted(status: str) -> bool:
    """Whether a row's status takes it away (1.0's `inactive` means the same); letter case varies."""
    return status.strip().lower() in ("tobedeleted", "inactive")


def boolean(text: str) -> bool | None:
    """True or False as servers write it, None for anything else; "" is None, too."""
    lowered = text.strip().lower()
    if lowered in ("true", "1", "yes"):
        return True
    return False if lowered in ("false", "0", "no") else None


@lru_cache(maxsize=65536)
def date(text: str) -> str:
    """The date as YYYY-MM-DD; "" if it is missing or unreadable (`is_unreadable_date` tells which).

    A dateTime counts by its first ten characters.
    """
    found = _DATE.match(text.strip())
    if found is None:
        return ""
    try:
        dt.date.fromisoformat(found[1])
    except ValueError:
        return ""
    return found[1]


def is_unreadable_date(text: str) -> bool:
    """Whether something stands there that is no date."""
    return text.strip() != "" and date(text) == ""


# ------------------------------------------------------------------------------------------ masked values

_SIGNS: Final = frozenset("*#•●■█▮")
_SIGN: Final = re.compile(f"[{''.join(sorted(_SIGNS))}]")
_BETWEEN_SIGNS: Final = frozenset(" .-_…")
_ONLY_X: Final = re.compile(r"[xX](?:[\s.\-_]?[xX]){2,}")
_WORDS: Final = frozenset(
    (
        "redacted",
        "masked",
        "dataguard",
        "withheld",
        "suppressed",
        "anonymized",
        "anonymised",
        "emailprotected",
    )
)
_BRACKETS: Final = "[](){}<>*#_-. "

MAY_BE_MASKED: Final = (
    r"[^ -~\p{L}\p{M}]|[*#]|(?i:x[ ._-]?x[ ._-]?x|"
    + "|".join("[ _-]*".join(word) for word in sorted({*_WORDS, "hidden"}))
    + ")"
)
"""An expression, as Arrow has them, that is found in whatever `is_masked` and in few other values: a sign, x
and x and x, one of the words, or what is neither a letter nor of ASCII, where the others would be longer."""


@lru_cache(maxsize=65536)
def is_masked(value: str) -> bool:
    """Whether a name or address only says that something is hidden (DataGuard and the like).

    Signs (`*****`, `###`), three or more x and nothing else, a run of three asterisks inside a value
    (`j***n`), or a word for it. Careful with people: `Xi`, `Xxavier` and the surname `Hidden` are
    names; `hidden`, `HIDDEN` and `[Hidden]` are not.
    """
    text = value.strip()
    local, at, _domain = text.rpartition("@")
    if at and _is_mask(local):
        return True
    return _is_mask(text)


def _is_mask(text: str) -> bool:
    if not text:
        return False
    if _SIGN.search(text) and ("***" in text or set(text) <= _SIGNS | _BETWEEN_SIGNS):
        return True
    if _ONLY_X.fullmatch(text):
        return True
    bare = text.strip(_BRACKETS)
    last = bare[-1:]
    if last.isalnum() and last not in "dDnN":
        return False  # every word ends in one of these: most values need no more than a look at their end
    word = _SEPARATORS.sub("", bare.lower())
    return word in _WORDS or (word == "hidden" and (bare != text or not bare.istitle()))
