"""The operator's document about alerts: channels, who hears of what, digests. Read from YAML, refused whole.

`ROSTER_ALERTS` names the file; without it, `alerts.yaml` in the home. Where there is none, nobody is alerted.
Secrets are references, as in tenant documents, and the address of a webhook is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from roster_pipeline.alerts.conditions import Severity
from roster_pipeline.oneroster.addresses import is_loopback
from roster_pipeline.tenants.document import Region
from roster_pipeline.tenants.explaining import Keys, contents, refused, validated
from roster_pipeline.tenants.lines import Written, read_yaml
from roster_pipeline.tenants.refusals import Place, Problem, near, or_list

VARIABLE: Final = "ROSTER_ALERTS"
FILE: Final = "alerts.yaml"
CODE: Final = "RS-CFG-14"

Kind = Literal["slack", "teams", "email", "webhook"]

_Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$")
]
_Name = Annotated[_Text, StringConstraints(max_length=60)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)


class Channel(_Part):
    """One way out; `url`, `secret`, `username` and `password` are references."""

    name: _Name
    kind: Kind
    url: _Text | None = None
    secret: _Text | None = None
    host: _Text | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: _Text | None = None
    password: _Text | None = None
    sender: _Text | None = None
    to: tuple[_Text, ...] = ()


class Route(_Part):
    """Who hears of which tenants; an empty list of regions or tenants means all of them."""

    to: Annotated[tuple[_Text, ...], Field(min_length=1)]
    severity: Severity = "partial"
    regions: tuple[Region, ...] = ()
    tenants: tuple[_Text, ...] = ()

    def takes(self, region: str, tenant: str, severity: Severity) -> bool:
        """Whether it is for this change of this tenant."""
        return (
            (not self.regions or region in self.regions)
            and (not self.tenants or tenant in self.tenants)
            and (self.severity == "partial" or severity == "failed")
        )


class Digests(_Part):
    """Who gets the message at the end of each night of these regions; none named: of all."""

    to: Annotated[tuple[_Text, ...], Field(min_length=1)]
    regions: tuple[Region, ...] = ()


class Settings(_Part):
    """The document. Rules between keys are `read`'s: a model made otherwise is not checked."""

    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    routes: tuple[Route, ...] = ()
    digests: tuple[Digests, ...] = ()
    remind_after_days: Annotated[int, Field(ge=1, le=365)] = 3
    collect_minutes: Annotated[int, Field(ge=1, le=1440)] = 30

    @property
    def names(self) -> tuple[str, ...]:
        """The channels' names, in the document's order."""
        return tuple(channel.name for channel in self.channels)

    def channel(self, name: str) -> Channel | None:
        """The channel of that name."""
        return next((channel for channel in self.channels if channel.name == name), None)

    def audience(self, region: str, tenant: str, severity: Severity) -> frozenset[str]:
        """The channels that hear of a change of this severity of a tenant."""
        return frozenset(
            name for route in self.routes if route.takes(region, tenant, severity) for name in route.to
        )

    def readers(self, region: str) -> frozenset[str]:
        """The channels that get the digest of a region."""
        return frozenset(
            name for one in self.digests if not one.regions or region in one.regions for name in one.to
        )


def find(environ: Mapping[str, str], home: Path) -> Path | None:
    """The document of this deployment; None where nobody wants to be alerted."""
    named = environ.get(VARIABLE)
    if named:
        return Path(named)
    usual = home / FILE
    return usual if usual.exists() else None


def load(environ: Mapping[str, str], home: Path) -> Settings | None:
    """The settings of this deployment; None where there are none.

    Raises:
        DocumentRefused: RS-CFG-14, with every problem of the document; also where `ROSTER_ALERTS` names a
            file that is not there.
    """
    file = find(environ, home)
    if file is None:
        return None
    text = contents(file, "document about alerts")
    if isinstance(text, Problem):
        raise refused(file, Written(), [_ours(text)])
    return read(text, file=file)


def read(text: str, *, file: Path) -> Settings:
    """The settings that `text` holds.

    Raises:
        DocumentRefused: RS-CFG-14, with every problem of the document.
    """
    written = read_yaml(text)
    if written.values is None:
        raise refused(file, written, [_ours(one) for one in written.problems] or [_EMPTY])
    settings, wrong = validated(written, Settings, _KEYS)
    ruled = list(_rules(written.values))
    spoken_of = {problem.place for problem in ruled}
    found = [*written.problems, *ruled, *(one for one in wrong if one.place not in spoken_of)]
    if settings is None or found:
        raise refused(file, written, [_ours(one) for one in found])
    return settings


def _ours(problem: Problem) -> Problem:
    return replace(problem, code=CODE)


_EMPTY: Final = Problem(CODE, (), "it is empty; write channels and routes")

# -------------------------------------------------------------------------------------------- its keys

_REFERENCES: Final = ("url", "secret", "username", "password")
_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "slack": ("url",),
    "teams": ("url",),
    "email": ("host", "sender", "to"),
    "webhook": ("url", "secret"),
}
_OFFERED: Final[dict[str, frozenset[str]]] = {
    "slack": frozenset({"name", "kind", "url"}),
    "teams": frozenset({"name", "kind", "url"}),
    "email": frozenset({"name", "kind", "host", "port", "security", "username", "password", "sender", "to"}),
    "webhook": frozenset({"name", "kind", "url", "secret"}),
}
_INSTEAD: Final = {
    "channels": "write at least one channel, with name and kind",
    "name": "give it a name of its own, for example name: on-call",
    "kind": "write slack, teams, email or webhook",
    "url": "write where the address is kept, env:NAME or file:/path",
    "secret": "write where the key of the signatures is kept, env:NAME or file:/path",
    "username": "write where it is kept, env:NAME or file:/path",
    "password": "write where it is kept, env:NAME or file:/path",
    "host": "write the mail server's name, for example smtp.example.org",
    "sender": "write an e-mail address, for example rosters@example.org",
    "to": "write a list, for example to: [on-call]",
    "regions": "write a list of US, AU, NZ and UK, or leave the key out for all",
    "tenants": "write a list of tenants' names, or leave the key out for all",
}
_MODELS: Final[tuple[tuple[str, type[_Part]], ...]] = (
    ("", Settings),
    ("channels[…]", Channel),
    ("routes[…]", Route),
    ("digests[…]", Digests),
)


def _model_at(place: Place) -> type[_Part]:
    match place:
        case ("channels", int()):
            return Channel
        case ("routes", int()):
            return Route
        case ("digests", int()):
            return Digests
        case _:
            return Settings


_KEYS: Final = Keys(_MODELS, _model_at, _INSTEAD, frozenset(_REFERENCES), frozenset())

# ------------------------------------------------------------------------------------- rules of keys

_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def _rules(values: Any) -> Iterator[Problem]:
    """What is wrong beyond the types, in no particular order."""
    document = values if isinstance(values, dict) else {}
    names: list[str] = []
    for index, entry in _entries(document, "channels"):
        place: Place = ("channels", index)
        name = entry.get("name")
        if isinstance(name, str) and name in names:
            yield Problem(CODE, (*place, "name"), f"{name} is another channel already; give it its own name")
        elif isinstance(name, str):
            names.append(name)
        yield from _channel(place, entry)
    for part in ("routes", "digests"):
        for index, entry in _entries(document, part):
            to = entry.get("to")
            for number, name in enumerate(to if isinstance(to, list) else ()):
                if isinstance(name, str) and name not in names:
                    likely = near(name, names) or names
                    told = f"write {or_list(likely)}" if likely else "name it under channels"
                    yield Problem(CODE, (part, index, "to", number), f"there is no such channel; {told}")


def _channel(place: Place, entry: dict[str, Any]) -> Iterator[Problem]:
    kind = entry.get("kind")
    for key in _REFERENCES:
        value = entry.get(key)
        if isinstance(value, str) and not _REFERENCE.fullmatch(value):
            told = "is not a reference; keep it outside of this document and write env:NAME or file:/path"
            yield Problem(CODE, (*place, key), told)
    if not isinstance(kind, str) or kind not in _REQUIRED:
        return
    for key in _REQUIRED[kind]:
        if entry.get(key) in (None, []):
            yield Problem(CODE, (*place, key), f"is required for {kind}; {_instead(kind, key)}")
    for key in entry.keys() & (Channel.model_fields.keys() - _OFFERED[kind]):
        yield Problem(CODE, (*place, key), f"is not a key of {kind}; leave it out")
    if kind == "email":
        yield from _email(place, entry)


def _email(place: Place, entry: dict[str, Any]) -> Iterator[Problem]:
    to = entry.get("to")
    addresses = [((*place, "sender"), entry.get("sender"))]
    addresses += [
        ((*place, "to", number), one) for number, one in enumerate(to if isinstance(to, list) else ())
    ]
    for where, address in addresses:
        if isinstance(address, str) and not (_ADDRESS.fullmatch(address) and address.isascii()):
            yield Problem(CODE, where, "is no e-mail address; write one like ops@example.org, without a name")
    host = entry.get("host")
    if entry.get("security") == "none" and isinstance(host, str) and not is_loopback(host):
        told = "is for a mail server on this machine alone; write starttls or tls"
        yield Problem(CODE, (*place, "security"), told)
    if (entry.get("username") is None) != (entry.get("password") is None):
        missing = "username" if entry.get("username") is None else "password"
        yield Problem(CODE, (*place, missing), "is required beside the other one; write both, or neither")


def _instead(kind: str, key: str) -> str:
    if key == "to" and kind == "email":
        return "write a list of e-mail addresses, for example to: [ops@example.org]"
    return _INSTEAD[key]


def _entries(document: dict[str, Any], part: str) -> Iterator[tuple[int, dict[str, Any]]]:
    entries = document.get(part)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield index, entry
