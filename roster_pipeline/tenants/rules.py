"""What a tenant document may say beyond the types of its keys: the rules of `product.md`.

Works on the values as written, so that every problem of a document is told at once, also beside
wrong types (which `document` finds and this module steps over).
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from roster_pipeline.oneroster.addresses import is_loopback
from roster_pipeline.tenants.lines import Written
from roster_pipeline.tenants.refusals import Place, Problem, near, or_list, shown

SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REST: Final = ("endpoint_url", "client_id", "client_secret")

REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "powerschool": ("endpoint_url", "token_url", "client_id", "client_secret"),
    "classlink": _REST,
    "oneroster": _REST,
    "oneroster_csv": ("path",),
}
NOT_OFFERED: Final[dict[str, dict[str, str]]] = {
    "powerschool": {
        "path": "powerschool is read over the network; leave it out, or use kind oneroster_csv",
        "signature_method": "powerschool authenticates by OAuth 2 and signs nothing; leave it out",
    },
    "classlink": {
        "path": "classlink is read over the network; leave it out, or use kind oneroster_csv",
        "token_url": "classlink authenticates by OAuth 1.0a and has no token address; leave it out",
        "scope": "classlink authenticates by OAuth 1.0a, where there is no scope; leave it out",
    },
    "oneroster": {"path": "oneroster is read over the network; leave it out, or use kind oneroster_csv"},
    "oneroster_csv": {
        **dict.fromkeys(
            (*_REST, "token_url", "scope", "signature_method", "page_size", "concurrency"),
            "files are read, without address and credentials; leave it out, or use kind oneroster",
        ),
        "version": "the files tell their version themselves (manifest.csv); leave it out",
        "full_every_days": "files are read whole every time; leave it out",
    },
}
INSTEAD: Final[dict[str, str]] = {
    "tenant": "write the tenant's name, for example tenant: riverbend",
    "region": "write US, AU, NZ or UK",
    "providers": "write at least one provider",
    "name": "give it a name of its own, for example name: sis",
    "kind": "write powerschool, classlink, oneroster or oneroster_csv",
    "endpoint_url": "write the server's address, for example https://sis.powerschool.com/api/",
    "token_url": (
        "write the OAuth 2 token address, for example https://sis.powerschool.com/api/ims/oneroster/v1p1/token"
    ),
    "client_id": "write where it is kept, env:NAME or file:/path",
    "client_secret": "write where it is kept, env:NAME or file:/path",
    "path": "write the zip or folder, relative to this document or absolute",
}
"""What to write for a required key."""


def problems(written: Written) -> Iterator[Problem]:
    """Everything that the rules find, in no particular order."""
    document = _mapping(written.values)
    yield from _tenant(document)
    entries = list(_entries(document))
    for place, entry in entries:
        if place[0] == "providers":
            yield from _provider(place, entry, written)
        if "://" in _text(entry.get("path")):
            yield Problem("RS-CFG-02", (*place, "path"), "is an address; write a local zip, folder or file")
    yield from _names(document, entries)
    yield from _priorities([pair for pair in entries if pair[0][0] == "providers"], written)


def _tenant(document: dict[str, Any]) -> Iterator[Problem]:
    slug = document.get("tenant")
    if isinstance(slug, str) and not SLUG.fullmatch(slug):
        better = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-")[:63] or "riverbend"
        yield Problem(
            "RS-CFG-02",
            ("tenant",),
            "is not 1 to 63 lower-case letters, digits and hyphens, a letter or digit first; "
            f"write for example {better}",
        )
    zone = document.get("time_zone")
    if isinstance(zone, str) and not _is_zone(zone):
        likely = near(zone, zoneinfo.available_timezones())
        advice = or_list(likely) if likely else "an IANA name such as America/Chicago"
        yield Problem("RS-CFG-02", ("time_zone",), f'"{shown(zone)}" is no time zone; write {advice}')


def _provider(place: Place, entry: dict[str, Any], written: Written) -> Iterator[Problem]:
    def given(key: str) -> bool:
        return entry.get(key) is not None or (*place, key) in written.unread

    kind = entry.get("kind")
    if isinstance(kind, str) and kind in REQUIRED:
        for key in REQUIRED[kind]:
            if not given(key):
                yield Problem("RS-CFG-05", (*place, key), f"is required for {kind}; {INSTEAD[key]}")
        for key, why in NOT_OFFERED[kind].items():
            if given(key):
                yield Problem("RS-CFG-11", (*place, key), f"is not an option of {kind}: {why}")
        if kind == "oneroster" and given("token_url") and given("signature_method"):
            text = "is for OAuth 1.0a, and token_url is for OAuth 2; leave one of them out"
            yield Problem("RS-CFG-11", (*place, "signature_method"), text)
        if kind == "oneroster" and given("scope") and not given("token_url"):
            text = "is for OAuth 2, which needs token_url; add that, or leave scope out"
            yield Problem("RS-CFG-11", (*place, "scope"), text)
    if entry.get("compatibility_mode") is True and entry.get("full_every_days") not in (None, 1):
        text = "needs filters, which compatibility_mode never sends; leave one of them out"
        yield Problem("RS-CFG-11", (*place, "full_every_days"), text)
    for key in ("client_id", "client_secret"):
        if entry.get(key) is not None:
            yield from _reference((*place, key), entry[key])
    for key in ("endpoint_url", "token_url"):
        if isinstance(entry.get(key), str):
            yield from _address((*place, key), entry[key])
    yield from _guardians(place, entry, given("relationship_type"))


def _guardians(place: Place, entry: dict[str, Any], told: bool) -> Iterator[Problem]:
    wanted = entry.get("sync_parent_data") is True
    if entry.get("kind") == "powerschool":
        text = (
            "PowerSchool has no guardians over OneRoster; leave it out, and sync them from another provider"
        )
        if wanted:
            yield Problem(
                "RS-CFG-11", (*place, "sync_parent_data"), f"is not possible for powerschool: {text}"
            )
        elif told:
            yield Problem(
                "RS-CFG-11", (*place, "relationship_type"), f"is not possible for powerschool: {text}"
            )
    elif wanted and not told:
        text = "is required with sync_parent_data; write parent, relative or guardian"
        yield Problem("RS-CFG-05", (*place, "relationship_type"), text)


def _reference(place: Place, value: object) -> Iterator[Problem]:
    """Refuses a secret, never showing it, whatever it is."""
    scheme, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if value == "":
        yield Problem("RS-CFG-03", place, "is empty; write env:NAME or file:/path")
    elif scheme == "env" and not _VARIABLE.fullmatch(rest):
        text = "names no variable after env: (letters, digits, _); write one like env:RIVERBEND_SIS_ID"
        yield Problem("RS-CFG-03", place, text)
    elif scheme == "file" and not rest.startswith("/"):
        yield Problem(
            "RS-CFG-03", place, "names no absolute path; write for example file:/run/secrets/riverbend"
        )
    elif scheme not in ("env", "file"):
        text = "is written out here; write env:NAME or file:/path, keep it there, and have it changed"
        yield Problem("RS-CFG-03", place, text)


def _address(place: Place, value: str) -> Iterator[Problem]:
    """Refuses what is not a plain, safe address; shows its scheme and host at most."""

    def unsafe(text: str) -> Problem:
        return Problem("RS-CFG-06", place, text)

    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        yield unsafe("is not an address; write one like https://sis.example.org/")
        return
    if not value.isprintable() or " " in value or "\\" in value:
        yield unsafe("holds blanks or signs that no address has; write one like https://sis.example.org/")
    elif "@" in parts.netloc:
        # Never shown: what stands before the @ is a password.
        yield Problem(
            "RS-CFG-03",
            place,
            "holds a user or password before the @; write the address without it, "
            "and the credentials as client_id and client_secret",
        )
    elif parts.scheme not in ("https", "http") or not host:
        yield unsafe("is not a complete address; write one like https://sis.example.org/")
    elif parts.query or parts.fragment:
        yield unsafe("holds a ? or # part; write the address up to there")
    elif parts.scheme == "http" and not is_loopback(host):
        yield unsafe(
            "is http://, which anybody on the way can read; write https:// (http:// is for loopback only)"
        )


def _names(document: dict[str, Any], entries: list[tuple[Place, dict[str, Any]]]) -> Iterator[Problem]:
    present: dict[str, Place] = {}
    renamed: set[str] = set()
    retired = document.get("retired")
    gone = {name for name in retired if isinstance(name, str)} if isinstance(retired, list) else set()
    for place, entry in entries:
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            continue
        if name in present:
            text = f'"{shown(name)}" is the name of two providers or directories; give each a name of its own'
            yield Problem("RS-CFG-04", (*place, "name"), text)
        elif name in gone:
            text = f'"{shown(name)}" is here and under retired, too; take it out of one of them'
            yield Problem("RS-CFG-11", (*place, "name"), text)
        present.setdefault(name, place)
    for place, entry in entries:
        was = entry.get("was")
        if not isinstance(was, str) or not was:
            continue
        at = (*place, "was")
        if was in present and was != entry.get("name"):
            text = (
                f'"{shown(was)}" is another one\'s present name; '
                "write this one's former name, or leave it out"
            )
            yield Problem("RS-CFG-11", at, text)
        elif was in gone:
            text = (
                f'"{shown(was)}" is under retired, too; a renamed provider is not retired: take it out there'
            )
            yield Problem("RS-CFG-11", at, text)
        elif was in renamed:
            yield Problem(
                "RS-CFG-11", at, f'"{shown(was)}" is said of two; only one can have been that before'
            )
        renamed.add(was)


def _priorities(entries: list[tuple[Place, dict[str, Any]]], written: Written) -> Iterator[Problem]:
    if len(entries) < 2:
        return
    seen: dict[int, str] = {}
    for place, entry in entries:
        at = (*place, "merge", "priority")
        merge = entry.get("merge")
        if (merge is not None and not isinstance(merge, dict)) or {at, at[:-1]} & written.unread:
            continue
        priority = (merge or {}).get("priority")
        name = _text(entry.get("name"))
        if priority is None:
            text = (
                "is required where there are several providers; write a number, larger for a stronger source"
            )
            yield Problem("RS-CFG-05", at, text)
        elif isinstance(priority, int) and not isinstance(priority, bool):
            if priority in seen:
                text = (
                    f'{priority} is the priority of "{shown(seen[priority])}", too; give each its own number'
                )
                yield Problem("RS-CFG-04", at, text)
            seen.setdefault(priority, name)


def _entries(document: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    for key in ("providers", "directories"):
        listed = document.get(key)
        for index, entry in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(entry, dict):
                yield (key, index), entry


def _is_zone(name: str) -> bool:
    if name in ("localtime", "Factory"):  # this machine's own zone, and none
        return False
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
