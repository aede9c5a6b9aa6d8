"""A tenant document: its keys with types and defaults, read from YAML and written back.

Every refusal names file, line and field, says what is wrong and what to write instead, and all of
a document's problems come at once. Rules between keys are in `rules`; what the registry knows of
the tenant, and refuses because of it, is in `registry`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from roster_pipeline.oneroster.addresses import host_of
from roster_pipeline.tenants.explaining import Keys, contents, refused, validated
from roster_pipeline.tenants.lines import Written, read_yaml
from roster_pipeline.tenants.refusals import DocumentRefused, Place, Problem
from roster_pipeline.tenants.rules import INSTEAD, problems

Region = Literal["US", "AU", "NZ", "UK"]
Kind = Literal["powerschool", "classlink", "oneroster", "oneroster_csv"]
Role = Literal[
    "student", "teacher", "aide", "proctor", "counselor", "principal",
    "site_administrator", "district_administrator", "system_administrator",
    "parent", "guardian", "relative",
]  # fmt: skip
KeepsBack = Literal[
    "no_students", "no_teachers", "masked", "dangling", "grade_vanished", "sessions_outdated",
    "no_classes", "classes_without_teachers", "classes_without_students", "students_in_no_class",
    "no_merge_key", "no_current_session", "some_dangling", "values_vanished",
]  # fmt: skip
"""The flaws that a school can have: `rosters.completeness` finds them."""
KEEPS_BACK: Final[tuple[KeepsBack, ...]] = (
    "no_students", "no_teachers", "masked", "dangling", "grade_vanished", "sessions_outdated",
)  # fmt: skip
"""Those that keep a school back unless the tenant says otherwise; all others warn."""

# No control characters and no line ends: names go into messages of one line.
_Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$")
]
_Name = Annotated[_Text, StringConstraints(max_length=100)]
_Days = Annotated[int, Field(ge=0, le=36500)]
_Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)


class Merge(_Part):
    """How a provider's people are joined with those of the others."""

    priority: _Count | None = None
    key: Literal["email", "email_without_domain"] = "email"
    attach_to_existing_users_only: bool = False
    check_names: bool | None = None

    @property
    def checks_names(self) -> bool:
        """`check_names` as it holds: on for `email_without_domain` unless said otherwise."""
        return self.key == "email_without_domain" if self.check_names is None else self.check_names


class LimitTo(_Part):
    """What is synced of a provider's users; an empty list is no limit."""

    roles: tuple[Role, ...] = ()
    schools: tuple[_Text, ...] = ()
    grades: tuple[_Text, ...] = ()


class Provider(_Part):
    """One OneRoster source; `client_id` and `client_secret` are references, `path` is absolute."""

    name: _Name
    kind: Kind
    was: _Name | None = None
    endpoint_url: _Text | None = None
    token_url: _Text | None = None
    client_id: _Text | None = None
    client_secret: _Text | None = None
    path: _Text | None = None
    version: Literal["1.1", "1.2"] | None = None
    signature_method: Literal["HMAC-SHA256", "HMAC-SHA1"] | None = None
    scope: str | None = None  # an empty one is sent as none
    page_size: Annotated[int, Field(ge=1, le=10000)] = 1000
    concurrency: Annotated[int, Field(ge=1, le=16)] = 4
    full_every_days: Annotated[int, Field(ge=1, le=30)] = 1
    respect_enrolment_date: bool = False
    respect_academic_sessions: bool = False
    sync_classroom_data: bool = True
    sync_parent_data: bool = False
    relationship_type: Literal["parent", "relative", "guardian"] | None = None
    merge: Merge = Merge()
    compatibility_mode: bool = False
    exclude_schools: tuple[_Text, ...] = ()
    excluded_rosters: Literal["keep", "remove"] = "keep"
    limit_to: LimitTo = LimitTo()
    share_classes: bool = False
    end_dates: Literal["inclusive", "exclusive"] = "inclusive"

    @property
    def host(self) -> str | None:
        """The host of `endpoint_url`, lower-case; None for files."""
        return host_of(self.endpoint_url)


class Directory(_Part):
    """People whom the platform already knows; `path` is absolute."""

    name: _Name
    kind: Literal["csv"]
    path: _Text
    was: _Name | None = None


class Safeguards(_Part):
    """When removals wait: at least max(`small`, min(`rows`, half)) rows of a school's kind, and at
    least `share` of them or `many`; in a class, at least `class_share` of it and `class_rows`.
    """

    rows: _Count = 25
    small: _Count = 5
    share: _Share = 0.2
    many: _Count = 500
    class_share: _Share = 0.5
    class_rows: _Count = 5


class Tenant(_Part):
    """A tenant document. Rules between keys are `parse`'s: a model made otherwise is not checked."""

    tenant: _Text
    region: Region
    time_zone: _Text | None = None
    between_sessions_days: _Days = 120
    grace_days: _Days = 7
    retired: tuple[_Name, ...] = ()
    keeps_back: tuple[KeepsBack, ...] = KEEPS_BACK
    safeguards: Safeguards = Safeguards()
    providers: Annotated[tuple[Provider, ...], Field(min_length=1)]
    directories: tuple[Directory, ...] = ()

    @property
    def sources(self) -> tuple[Provider | Directory, ...]:
        """The providers and then the directories, in document order."""
        return (*self.providers, *self.directories)

    @property
    def strongest_first(self) -> tuple[Provider, ...]:
        """The providers by priority, the strongest first."""
        return tuple(sorted(self.providers, key=lambda provider: -(provider.merge.priority or 0)))

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of the providers; none for files."""
        return frozenset(provider.host for provider in self.providers if provider.host)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as read: the tenant, and where in which file each field stands."""

    tenant: Tenant
    file: Path
    written: Written

    def refused(self, found: Iterable[Problem]) -> DocumentRefused:
        """The refusal of this document for problems that were found later, at least one."""
        return refused(self.file, self.written, found)


def parse(text: str, *, file: Path) -> Tenant:
    """The tenant that `text` describes; paths become absolute against the folder of `file`.

    Raises:
        DocumentRefused: with every problem of the document.
    """
    return read(text, file=file).tenant


def read(text: str, *, file: Path) -> Document:
    """Like `parse`, and keeps the lines for refusals that come later."""
    written = read_yaml(text)
    if written.values is None:
        found = written.problems or [
            Problem("RS-CFG-09", (), "it is empty; write tenant, region and providers")
        ]
        raise refused(file, written, found)
    _complete(written.values, file)
    tenant, wrong = validated(written, Tenant, _KEYS)
    ruled = list(problems(written))
    spoken_of = {problem.place for problem in ruled}
    found = [*written.problems, *ruled, *(problem for problem in wrong if problem.place not in spoken_of)]
    if tenant is None or found:
        raise refused(file, written, found)
    return Document(tenant, file, written)


def read_file(file: Path) -> Document:
    """Like `read`, from the file itself.

    Raises:
        DocumentRefused: also where it is missing, too large for a tenant document, or not UTF-8.
    """
    text = contents(file, "tenant document")
    if isinstance(text, Problem):
        raise refused(file, Written(), [text])
    return read(text, file=file)


def as_document(tenant: Tenant) -> str:
    """YAML that `parse` reads back into an equal tenant; what is as by default is left out."""
    values = tenant.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)
    return text


def _complete(values: Any, file: Path) -> None:
    """Makes paths absolute and OneRoster 1.1's `administrator` the word of the vocabulary."""
    if not isinstance(values, dict):
        return
    for key in ("providers", "directories"):
        for entry in values[key] if isinstance(values.get(key), list) else ():
            if not isinstance(entry, dict):
                continue
            path, limits = entry.get("path"), entry.get("limit_to")
            if isinstance(path, str) and path and "://" not in path:
                # Not resolved: a link that the nightly export moves on must stay a link.
                entry["path"] = os.path.abspath(file.parent / path)  # noqa: PTH100
            if isinstance(limits, dict) and isinstance(limits.get("roles"), list):
                limits["roles"] = [
                    "site_administrator" if role == "administrator" else role for role in limits["roles"]
                ]


# ---------------------------------------------------------------------------------- its keys

_SECRET: Final = frozenset({"client_id", "client_secret"})
_ADDRESS: Final = frozenset({"endpoint_url", "token_url"})
_MODELS: Final[tuple[tuple[str, type[_Part]], ...]] = (
    ("", Tenant),
    ("providers[…]", Provider),
    ("providers[…].merge", Merge),
    ("providers[…].limit_to", LimitTo),
    ("directories[…]", Directory),
    ("safeguards", Safeguards),
)


def _model_at(place: Place) -> type[_Part]:
    match place:
        case ("providers", int(), "merge"):
            return Merge
        case ("providers", int(), "limit_to"):
            return LimitTo
        case ("providers", int()):
            return Provider
        case ("directories", int()):
            return Directory
        case ("safeguards",):
            return Safeguards
        case _:
            return Tenant


_KEYS: Final = Keys(_MODELS, _model_at, INSTEAD, _SECRET, _ADDRESS)
