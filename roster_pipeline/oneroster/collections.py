"""The six collections, and the columns of each that may be kept.

An extract is one Parquet file a collection. Every column is a string, trimmed, never null: a
missing value is "". Column names are OneRoster's names on the wire; a reference holds the
`sourcedId` that it names. Columns in `LISTS` hold a JSON array of strings, or "" for none;
two hold arrays of arrays:

- `users.roles`: `[role, org, beginDate, endDate]`, as sent (1.1's `role` with each of `orgs`
  becomes one entry an org; a user of no org has one entry with org "").
- `users.userIds`: `[type, identifier]`; type "" where the server gave a bare value.

What is not listed here (passwords, credentials, demographics, metadata, …) is dropped at the
boundary, before anything is written (product.md, "Extract ... allow-listed fields only").
"""

from __future__ import annotations

from typing import Final, Literal

Collection = Literal["orgs", "academicSessions", "courses", "classes", "users", "enrollments"]

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "orgs": ("sourcedId", "status", "dateLastModified", "name", "type", "identifier", "parent"),
    "academicSessions": (
        "sourcedId", "status", "dateLastModified",
        "title", "type", "startDate", "endDate", "parent", "schoolYear",
    ),
    "courses": (
        "sourcedId", "status", "dateLastModified",
        "title", "courseCode", "schoolYear", "org", "grades", "subjects", "subjectCodes",
    ),
    "classes": (
        "sourcedId", "status", "dateLastModified",
        "title", "classCode", "classType", "location", "course", "school", "terms",
        "grades", "subjects", "subjectCodes", "periods",
    ),
    "users": (
        "sourcedId", "status", "dateLastModified", "enabledUser", "username", "userIds",
        "givenName", "middleName", "familyName", "preferredFirstName", "preferredLastName",
        "identifier", "email", "sms", "phone", "agents", "grades", "roles", "userMasterIdentifier",
    ),
    "enrollments": (
        "sourcedId", "status", "dateLastModified",
        "user", "class", "school", "role", "primary", "beginDate", "endDate",
    ),
}  # fmt: skip

COLLECTIONS: Final[tuple[str, ...]] = tuple(COLUMNS)

LISTS: Final[dict[str, frozenset[str]]] = {
    "courses": frozenset({"grades", "subjects", "subjectCodes"}),
    "classes": frozenset({"terms", "grades", "subjects", "subjectCodes", "periods"}),
    "users": frozenset({"agents", "grades", "roles", "userIds"}),
}

DIRECTORY_COLUMNS: Final = ("id", "email", "given_name", "family_name", "role")
"""A directory's only collection, `people`: the same conventions, all strings."""

MOST_ROWS: Final[dict[str, int]] = {
    "orgs": 100_000,
    "academicSessions": 100_000,
    "courses": 1_000_000,
    "classes": 1_000_000,
    "users": 5_000_000,
    "enrollments": 25_000_000,
    "people": 5_000_000,
}
"""What no real collection of one provider has: the largest district of the USA has a million students, each
in eight classes."""

MOST_BYTES: Final = 8 << 30
"""What the values of one collection may come to; 25 million enrolments, with GUIDs, are less."""
