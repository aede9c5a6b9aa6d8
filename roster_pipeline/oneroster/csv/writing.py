"""A OneRoster 1.2 bulk package: the published columns in their order, and bytes that never vary.

Here is what the binding says of files; how a roster becomes rows is in `rosters.export`.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
import zipfile
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SYSTEM_NAME: Final = "Roster Pipeline"
SYSTEM_CODE: Final = "roster_pipeline"

NOTHING: Final = "—"
"""Written where the specification demands a value and the roster has none. Our own reader takes it out
again; it is no name, title or code that a school would use."""

PUBLISHED: Final[dict[str, tuple[str, ...]]] = {
    "orgs": ("sourcedId", "status", "dateLastModified", "name", "type", "identifier", "parentSourcedId"),
    "academicSessions": (
        "sourcedId", "status", "dateLastModified", "title", "type", "startDate", "endDate", "parentSourcedId",
        "schoolYear",
    ),
    "courses": (
        "sourcedId", "status", "dateLastModified", "schoolYearSourcedId", "title", "courseCode", "grades",
        "orgSourcedId", "subjects", "subjectCodes",
    ),
    "classes": (
        "sourcedId", "status", "dateLastModified", "title", "grades", "courseSourcedId", "classCode",
        "classType", "location", "schoolSourcedId", "termSourcedIds", "subjects", "subjectCodes", "periods",
    ),
    "users": (
        "sourcedId", "status", "dateLastModified", "enabledUser", "username", "userIds", "givenName",
        "familyName", "middleName", "identifier", "email", "sms", "phone", "agentSourcedIds", "grades",
        "password", "userMasterIdentifier", "preferredGivenName", "preferredMiddleName",
        "preferredFamilyName", "primaryOrgSourcedId", "pronouns",
    ),
    "roles": (
        "sourcedId", "status", "dateLastModified", "userSourcedId", "roleType", "role", "beginDate",
        "endDate", "orgSourcedId", "userProfileSourcedId",
    ),
    "enrollments": (
        "sourcedId", "status", "dateLastModified", "classSourcedId", "schoolSourcedId", "userSourcedId",
        "role", "primary", "beginDate", "endDate",
    ),
}  # fmt: skip
"""The columns of OneRoster 1.2.1, in the order of referential integrity: a file refers to earlier ones."""

_MANIFEST: Final = (
    "academicSessions", "categories", "classes", "classResources", "courseResources", "courses",
    "demographics", "enrollments", "lineItemLearningObjectiveIds", "lineItems", "lineItemScoreScales",
    "orgs", "resources", "resultLearningObjectiveIds", "results", "resultScoreScales", "roles",
    "scoreScales", "userProfiles", "userResources", "users",
)  # fmt: skip
"""Every file that a 1.2 manifest speaks of."""

# No cell may hold a line break; other control characters are nobody's name either.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def write_package(path: Path, tables: Mapping[str, Iterable[Sequence[str]]]) -> dict[str, int]:
    """Writes the zip at `path`, whole or not at all; gives the number of rows of each file.

    `tables` holds the rows of some of the files of `PUBLISHED`, each row with all columns of its file;
    they are consumed in that order, one file after the other. A file whose rows are not given is absent,
    one without rows is bulk and says that there is nothing. The same rows give the same bytes.

    Raises:
        ValueError: A table or a row that the specification does not have.
        OSError: The folder cannot be written.
    """
    unknown = tables.keys() - PUBLISHED.keys()
    if unknown:
        raise ValueError(f"no such file in a package: {sorted(unknown)}")
    # Beside the target, so that replacing it is one step; readable by its owner only.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                _write(archive, "manifest", ("propertyName", "value"), _manifest(tables.keys()))
                counts = {
                    name: _write(archive, name, columns, tables[name])
                    for name, columns in PUBLISHED.items()
                    if name in tables
                }
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise
    return counts


def _manifest(written: Iterable[str]) -> list[tuple[str, str]]:
    present = set(written)
    return [
        ("manifest.version", "1.0"),
        ("oneroster.version", "1.2"),
        *((f"file.{name}", "bulk" if name in present else "absent") for name in _MANIFEST),
        ("source.systemName", SYSTEM_NAME),
        ("source.systemCode", SYSTEM_CODE),
    ]


def _write(archive: zipfile.ZipFile, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    entry = zipfile.ZipInfo(f"{name}.csv")  # dated 1980, as the format's zero: bytes tell no time
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o100600 << 16
    count, width, waiting = 0, len(columns), iter(rows)
    with archive.open(entry, "w") as stream:
        batch: list[Sequence[str]] = [columns]
        while batch:
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\r\n").writerows(batch)
            stream.write(text.getvalue().encode())
            batch = [_clean(row) for row in islice(waiting, 10_000)]
            if any(len(row) != width for row in batch):
                raise ValueError(f"a row of {name} has not {width} columns")
            count += len(batch)
    return count


def _clean(row: Sequence[str]) -> Sequence[str]:
    if _CONTROL.search("".join(row)):
        return [_CONTROL.sub(" ", cell).strip() for cell in row]
    return row
