"""A source's rows as the JSON that each version of OneRoster puts on the wire.

A `Writer` belongs to one server address, because references carry absolute addresses. Values that
are not what the canonical form says (a number for a string, None, a ready-made reference) are
written as they stand: that is how a test gets a server that is off the specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from roster_pipeline.sandbox.flavours import Version
from roster_pipeline.sandbox.source import Row

MODIFIED: Final = "2026-07-01T06:00:00.000Z"
"""The `dateLastModified` of rows that have none (bulk CSV leaves it blank, REST requires it)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The members of one collection's rows: required ones, optional ones, lists, references."""

    needed: tuple[str, ...]
    texts: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    refs: tuple[tuple[str, str], ...] = ()
    ref_lists: tuple[tuple[str, str], ...] = ()
    own: tuple[str, ...] = ()

    @property
    def canonical(self) -> frozenset[str]:
        """Names that this shape takes from a row; all others are served as they stand."""
        referring = [name for name, _ in (*self.refs, *self.ref_lists)]
        return frozenset(
            (
                *("sourcedId", "status", "dateLastModified", "roles", "userIds"),
                *self.needed,
                *self.texts,
                *self.lists,
                *referring,
            )
        )

    @property
    def members(self) -> frozenset[str]:
        """Names that may stand in `fields`, `sort` and `filter`."""
        return (self.canonical - {"roles", "userIds"}) | {"metadata"} | frozenset(self.own)


_DEMOGRAPHICS = Shape(
    (),
    (
        "birthDate", "sex", "americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican",
        "nativeHawaiianOrOtherPacificIslander", "white", "demographicRaceTwoOrMoreRaces",
        "hispanicOrLatinoEthnicity", "countryOfBirthCode", "stateOfBirthAbbreviation", "cityOfBirth",
        "publicSchoolResidenceStatus",
    ),
)  # fmt: skip
_BOTH: Final[dict[str, Shape]] = {
    "orgs": Shape(("name", "type"), ("identifier",), refs=(("parent", "org"),)),
    "academicSessions": Shape(
        ("title", "type", "startDate", "endDate", "schoolYear"), refs=(("parent", "academicSession"),)
    ),
    "courses": Shape(
        ("title", "courseCode"),
        lists=("grades", "subjects", "subjectCodes"),
        refs=(("schoolYear", "academicSession"), ("org", "org")),
    ),
    "classes": Shape(
        ("title",),
        ("classCode", "classType", "location"),
        ("grades", "subjects", "subjectCodes", "periods"),
        (("course", "course"), ("school", "org")),
        (("terms", "academicSession"),),
    ),
    "enrollments": Shape(
        ("role",),
        ("primary", "beginDate", "endDate"),
        refs=(("user", "user"), ("class", "class"), ("school", "org")),
    ),
    "demographics": _DEMOGRAPHICS,
}
SHAPES: Final[dict[Version, dict[str, Shape]]] = {
    "1.1": {
        **_BOTH,
        "users": Shape(
            ("username", "enabledUser", "givenName", "familyName"),
            ("middleName", "identifier", "email", "sms", "phone", "password"),
            ("grades",),
            ref_lists=(("agents", "user"),),
            own=("role", "orgs", "userIds"),
        ),
    },
    "1.2": {
        **_BOTH,
        "orgs": Shape(("name", "type", "identifier"), refs=(("parent", "org"),)),
        "users": Shape(
            ("enabledUser", "givenName", "familyName"),
            (
                "username", "middleName", "preferredFirstName", "preferredMiddleName", "preferredLastName",
                "pronouns", "userMasterIdentifier", "identifier", "email", "sms", "phone", "password",
            ),
            ("grades",),
            ref_lists=(("agents", "user"),),
            own=("roles", "userIds", "primaryOrg"),
        ),
    },
}  # fmt: skip

# 1.1 does not know these names of 1.2, so its rows do not have them.
_ONLY_12: Final = frozenset(
    {
        "preferredFirstName",
        "preferredMiddleName",
        "preferredLastName",
        "pronouns",
        "userMasterIdentifier",
        "userProfiles",
    }
)

ENDPOINT_OF: Final = {
    "org": "orgs",
    "academicSession": "academicSessions",
    "course": "courses",
    "class": "classes",
    "user": "users",
}


class Writer:
    """Rows to JSON, for one version and one address (`base_url`, without a trailing slash).

    `loose` rows hold what they must in whatever form was at hand: references without `href`, or as bare
    ids; truth values as words, numbers and JSON's own; a user's role as one word under `roles`; rows that
    are to go with 1.0's `inactive`, or with capitals.
    """

    def __init__(
        self, version: Version, base_url: str, *, padded_ids: bool = False, loose: bool = False
    ) -> None:
        self.version = version
        self._base_url = base_url
        self._padded = padded_ids
        self._loose = loose
        self._shapes = SHAPES[version]
        self._canonical = {
            name: shape.canonical | (_ONLY_12 if version == "1.1" else frozenset())
            for name, shape in self._shapes.items()
        }
        # A class is referred to some 25 times and a user 8 times: each reference is written once.
        self._refs: dict[tuple[str, str], orjson.Fragment] = {}

    def bytes_of(self, collection: str, row: Row) -> bytes:
        """One row as JSON."""
        # The copy gives back what orjson reserved: half a gigabyte for a large district.
        return bytes(memoryview(orjson.dumps(self.row(collection, row))))

    def bytes_of_fields(self, collection: str, row: Row, fields: tuple[str, ...]) -> bytes:
        """One row as JSON, with these members only."""
        full = self.row(collection, row)
        return orjson.dumps({name: full[name] for name in fields if name in full})

    def row(self, collection: str, row: Row) -> dict[str, Any]:
        """One row as it goes on the wire; references are ready-made JSON fragments."""
        shape = self._shapes[collection]
        get = row.get
        out: dict[str, Any] = {}
        source_id = get("sourcedId", "")
        if source_id != "":
            out["sourcedId"] = f" {source_id} " if self._padded else source_id
        out["status"] = get("status") or "active"
        out["dateLastModified"] = get("dateLastModified") or MODIFIED
        for name in shape.needed:
            out[name] = get(name, "")
        for name in shape.texts:
            if (value := get(name, "")) != "":
                out[name] = value
        for name in shape.lists:
            if (value := get(name, "")) != "" and value != []:
                out[name] = value
        for name, kind in shape.refs:
            if (value := get(name, "")) != "":
                out[name] = self._ref(kind, value)
        for name, kind in shape.ref_lists:
            if (value := get(name, "")) != "" and value != []:
                out[name] = [self._ref(kind, one) for one in value] if isinstance(value, list) else value
        if collection == "users":
            self._user(row, out)
        if self._loose:
            _loosen(collection, out)
        for name in row.keys() - self._canonical[collection]:
            out[name] = row[name]
        return out

    def _user(self, row: Row, out: dict[str, Any]) -> None:
        if out["enabledUser"] == "":
            out["enabledUser"] = "true"
        if ids := row.get("userIds"):
            out["userIds"] = (
                [{"type": kind, "identifier": value} for kind, value in ids] if isinstance(ids, list) else ids
            )
        roles = row.get("roles") or []
        if self.version == "1.1":
            # A row may bring `role` or `orgs` of its own, which then win: they are not canonical names.
            out["role"] = roles[0][0] if roles else ""
            out["orgs"] = [self._ref("org", entry[1]) for entry in roles if entry[1]]
            return
        seen: set[str] = set()
        out["roles"] = []
        for role, org, begin, end in roles:
            entry: dict[str, Any] = {"roleType": "secondary" if org in seen else "primary", "role": role}
            seen.add(org)
            if org:
                entry["org"] = self._ref("org", org)
            if begin:
                entry["beginDate"] = begin
            if end:
                entry["endDate"] = end
            out["roles"].append(entry)
        if roles and roles[0][1]:
            out["primaryOrg"] = self._ref("org", roles[0][1])

    def _ref(self, kind: str, source_id: Any) -> Any:
        if not isinstance(source_id, str):
            return source_id
        known = self._refs.get((kind, source_id))
        if known is None:
            sent = f" {source_id} " if self._padded else source_id
            href = f"{self._base_url}/{ENDPOINT_OF[kind]}/{quote(source_id, safe='')}"
            reference: object = {"href": href, "sourcedId": sent, "type": kind}
            if self._loose:
                reference = sent if kind == "org" else {"sourcedId": sent}
            known = orjson.Fragment(orjson.dumps(reference))
            self._refs[kind, source_id] = known
        return known


_YES: Final = (True, 1, "1", "yes", "True")
_NO: Final = (False, 0, "0", "no", "False")
_GOING: Final = ("inactive", "toBeDeleted", "tobedeleted")


def _loosen(collection: str, out: dict[str, Any]) -> None:
    # By the id and not by chance, so that two readings see the same.
    place = sum(map(ord, str(out.get("sourcedId", ""))))
    for name in ("enabledUser", "primary"):
        if out.get(name) in ("true", "false"):
            words = _YES if out[name] == "true" else _NO
            out[name] = words[place % len(words)]
    if out["status"] == "tobedeleted":
        out["status"] = _GOING[place % len(_GOING)]
    if collection == "users":
        out["roles"] = out.pop("role")
