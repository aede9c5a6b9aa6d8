"""Bad input gets a clear error with a code and loses nothing, whatever is bad about it.

Every test begins with a roster that a good sync has published, makes one thing go wrong, syncs
again, and looks at the code and at what is published; then the next good sync changes nothing.
"""

from __future__ import annotations

import copy
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.server import Serving
from roster_pipeline.sandbox.source import Tables, write_csv
from roster_pipeline_tests.syncing import (
    Deployment,
    Document,
    changed,
    codes,
    csv_provider,
    deployment,
    removed,
    rest_provider,
    serving,
)

BOTH: Final[dict[str, Any]] = {"respect_enrolment_date": True, "respect_academic_sessions": True}
TENANT: Final = "district"
CERTIFICATE: Final = Path(__file__).parents[1] / "certificate"
REST: Final = ("powerschool", "classlink")
NOT_READ: Final = ("partial", "failed")


@pytest.fixture(scope="module")
def tables() -> Tables:
    return generate(60, seed=3, guardians=False).tables


@dataclass(frozen=True)
class Origin:
    """A deployment with a good roster, to be copied, and the server that it was read from."""

    folder: Path
    server: Serving | None = None


@pytest.fixture(scope="module")
def origins(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Origin]]:
    made = {}
    with ExitStack() as stack:
        for flavour in REST:
            server = stack.enter_context(serving(tables, flavour))
            made[flavour] = Origin(tmp_path_factory.mktemp(flavour), server)
            with deployment(made[flavour].folder) as here:
                here.apply(TENANT, rest_provider(server, page_size=25, **BOTH))
                assert here.sync(TENANT, DAY)["status"] == "successful"
        made["csv"] = Origin(tmp_path_factory.mktemp("csv"))
        write_csv(tables, made["csv"].folder / "export")
        with deployment(made["csv"].folder) as here:
            here.apply(TENANT, csv_provider(made["csv"].folder / "export", **BOTH))
            assert here.sync(TENANT, DAY)["status"] == "successful"
        yield made


@contextmanager
def copied(origin: Origin, folder: Path) -> Iterator[Deployment]:
    """The deployment as it was after its good sync."""
    shutil.copytree(origin.folder, folder)
    try:
        with deployment(folder) as here:
            yield here
    finally:
        if origin.server is not None:
            origin.server.sandbox.misbehave()


def sync_and_lose_nothing(here: Deployment) -> Document:
    """A sync after which everything is published that was before."""
    before = here.roster(TENANT)
    told = here.sync(TENANT, DAY)
    after = here.roster(TENANT)
    assert removed(told) == {}
    for name in ("people", "classes", "memberships", "academic_sessions"):
        assert before[name]
        assert after[name] == before[name], name
    assert "RS-RUN-99" not in codes(told)
    return told


def sync_well_again(here: Deployment) -> None:
    """What a good sync finds afterwards is as published, but for the state of the schools."""
    told = here.sync(TENANT, DAY)
    assert (told["status"], changed(told).keys() - {"schools"}) == ("successful", set())


# ------------------------------------------------------------------------------- what a server does

_FAULTS: Final[list[tuple[str, str, str, Misbehaviour]]] = [
    # what it is, expected code, flavour, misbehaviour
    ("a token endpoint that answers HTML", "RS-AUTH-02", "powerschool", Misbehaviour("token-html")),
    ("credentials that are withdrawn", "RS-AUTH-01", "powerschool", Misbehaviour("refuse-credentials")),
    ("a signature that is not taken", "RS-AUTH-01", "classlink", Misbehaviour("refuse-credentials")),
    ("a token that expires while reading", "RS-AUTH-03", "powerschool",
     Misbehaviour("refuse-credentials", after=6)),
    ("a key that is revoked while reading", "RS-AUTH-03", "classlink",
     Misbehaviour("refuse-credentials", after=6)),
    ("a collection that is forbidden", "RS-AUTH-04", "powerschool",
     Misbehaviour("forbidden", endpoint="enrollments")),
    ("a server that asks to slow down for ever", "RS-NET-06", "classlink", Misbehaviour("too-many-requests")),
    ("a server with a fault of its own", "RS-NET-05", "classlink",
     Misbehaviour("server-error", endpoint="classes")),
    ("a fault on a later page", "RS-NET-05", "classlink",
     Misbehaviour("server-error", endpoint="users", after=2)),
    ("200 with HTML", "RS-PAGE-01", "powerschool", Misbehaviour("not-json", endpoint="orgs")),
    ("truncated JSON", "RS-PAGE-02", "powerschool", Misbehaviour("truncated", endpoint="users", after=1)),
    ("200 with an error envelope", "RS-PAGE-03", "powerschool",
     Misbehaviour("envelope-in-200", endpoint="enrollments", after=1)),
    ("200 with the older error envelope", "RS-PAGE-03", "classlink",
     Misbehaviour("envelope-in-200", "statusInfoSet", endpoint="users")),
    ("200 without the collection", "RS-PAGE-04", "powerschool",
     Misbehaviour("no-collection", endpoint="classes")),
    ("a page of another collection", "RS-PAGE-05", "classlink",
     Misbehaviour("other-collection", "classes", endpoint="enrollments", after=1)),
    ("a server that ignores offset", "RS-PAGE-06", "classlink",
     Misbehaviour("ignore-offset", endpoint="enrollments")),
    ("a total that is too large", "RS-PAGE-07", "classlink",
     Misbehaviour("wrong-total", 7, endpoint="users")),
    ("an endpoint that is gone", "RS-PAGE-09", "powerschool",
     Misbehaviour("not-found", endpoint="enrollments")),
    ("a collection that is suddenly empty", "RS-SAFE-04", "classlink",
     Misbehaviour("empty", endpoint="enrollments")),
    ("users that are suddenly gone", "RS-SAFE-04", "powerschool", Misbehaviour("empty", endpoint="users")),
]  # fmt: skip


@pytest.mark.parametrize("fault", _FAULTS, ids=lambda fault: fault[0])
def test_what_a_server_does_wrong_has_a_code_and_loses_nothing(
    origins: dict[str, Origin], tmp_path: Path, fault: tuple[str, str, str, Misbehaviour]
) -> None:
    _, code, flavour, misbehaviour = fault
    server = origins[flavour].server
    assert server is not None
    with copied(origins[flavour], tmp_path / "home") as here:
        server.sandbox.misbehave(misbehaviour)
        told = sync_and_lose_nothing(here)
        assert told["status"] in NOT_READ
        assert code in codes(told)


@pytest.mark.parametrize(
    "misbehaviour",
    [
        Misbehaviour("empty", endpoint="enrollments"),
        Misbehaviour("truncated", endpoint="users"),
        Misbehaviour("not-found", endpoint="classes"),
    ],
    ids=lambda misbehaviour: misbehaviour.what,
)
def test_once_a_server_is_mended_the_next_sync_is_as_if_nothing_had_been(
    origins: dict[str, Origin], tmp_path: Path, misbehaviour: Misbehaviour
) -> None:
    server = origins["classlink"].server
    assert server is not None
    with copied(origins["classlink"], tmp_path / "home") as here:
        server.sandbox.misbehave(misbehaviour)
        here.sync(TENANT, DAY)
        server.sandbox.misbehave()
        sync_well_again(here)


def test_a_server_that_clamps_and_counts_nothing_is_read_to_its_end(
    origins: dict[str, Origin], tmp_path: Path
) -> None:
    server = origins["classlink"].server
    assert server is not None
    with copied(origins["classlink"], tmp_path / "home") as here:
        server.sandbox.misbehave(Misbehaviour("clamp", 10), Misbehaviour("no-counts"))
        told = sync_and_lose_nothing(here)
        assert (told["status"], changed(told)) == ("successful", {})


def test_all_collections_at_once_empty_is_nobody_leaving(origins: dict[str, Origin], tmp_path: Path) -> None:
    server = origins["powerschool"].server
    assert server is not None
    with copied(origins["powerschool"], tmp_path / "home") as here:
        server.sandbox.misbehave(Misbehaviour("empty"))
        told = sync_and_lose_nothing(here)
        assert told["status"] == "failed"
        assert codes(told).count("RS-SAFE-04") == 6
        server.sandbox.misbehave()
        sync_well_again(here)


def test_a_redirect_to_another_host_is_not_followed(
    origins: dict[str, Origin], tables: Tables, tmp_path: Path
) -> None:
    server = origins["powerschool"].server
    assert server is not None
    with (
        serving(tables, "powerschool") as elsewhere,
        copied(origins["powerschool"], tmp_path / "home") as here,
    ):
        server.sandbox.misbehave(Misbehaviour("redirect", f"{elsewhere.base_url}/orgs"))
        told = sync_and_lose_nothing(here)
        assert told["status"] in NOT_READ
        assert "RS-NET-03" in codes(told)
        assert not elsewhere.sandbox.asked


@pytest.mark.parametrize("flavour", ["powerschool"])
def test_an_unreachable_host_has_a_code_and_loses_nothing(
    origins: dict[str, Origin], tables: Tables, tmp_path: Path, flavour: str
) -> None:
    with copied(origins[flavour], tmp_path / "home") as here:
        with serving(tables, flavour) as gone:
            here.apply(TENANT, rest_provider(gone, page_size=25, **BOTH))
        told = sync_and_lose_nothing(here)
        assert told["status"] in NOT_READ
        assert "RS-NET-01" in codes(told)


@pytest.mark.parametrize(
    "flavour, environ",
    [("powerschool", {"SANDBOX_SECRET": "another one"}), ("classlink", {"SANDBOX_SECRET": "another one"}),
     ("classlink", {"SANDBOX_ID": "somebody"})],
)  # fmt: skip
def test_refused_credentials_have_a_code_and_lose_nothing(
    origins: dict[str, Origin], tmp_path: Path, flavour: str, environ: dict[str, str]
) -> None:
    with copied(origins[flavour], tmp_path / "home") as here:
        here.environ.update(environ)
        told = sync_and_lose_nothing(here)
        assert told["status"] in NOT_READ
        assert "RS-AUTH-01" in codes(told)


def test_a_secret_that_is_not_set_has_a_code_and_loses_nothing(
    origins: dict[str, Origin], tmp_path: Path
) -> None:
    with copied(origins["powerschool"], tmp_path / "home") as here:
        del here.environ["SANDBOX_SECRET"]
        told = sync_and_lose_nothing(here)
        assert told["status"] in NOT_READ
        assert "RS-AUTH-05" in codes(told)


def test_a_certificate_that_nobody_vouches_for_has_a_code_and_loses_nothing(
    origins: dict[str, Origin], tables: Tables, tmp_path: Path
) -> None:
    pair = CERTIFICATE / "certificate.pem", CERTIFICATE / "key.pem"
    with copied(origins["powerschool"], tmp_path / "home") as here:
        with serving(tables, "powerschool", certificate=pair) as encrypted:
            here.apply(TENANT, rest_provider(encrypted, page_size=25, **BOTH))
            told = sync_and_lose_nothing(here)
        assert told["status"] in NOT_READ
        assert "RS-NET-02" in codes(told)
        assert not encrypted.sandbox.asked


@pytest.mark.parametrize("flavour", ["classlink"])
def test_a_first_sync_of_a_broken_server_publishes_nothing(
    origins: dict[str, Origin], tmp_path: Path, flavour: str
) -> None:
    server = origins[flavour].server
    assert server is not None
    server.sandbox.misbehave(Misbehaviour("truncated", endpoint="users"))
    try:
        with deployment(tmp_path) as here:
            here.apply(TENANT, rest_provider(server, **BOTH))
            told = here.sync(TENANT, DAY)
            assert told["status"] == "failed"
            assert "RS-PAGE-02" in codes(told)
            assert not any(here.roster(TENANT).values())
    finally:
        server.sandbox.misbehave()


# --------------------------------------------------------------------------------- what a file holds

Edit = Callable[[Path], Path]
"""Changes an export's folder; gives what is to be read instead: the folder, or a zip beside it."""


def _zipped(folder: Path, extra: dict[str, bytes] | None = None) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


def _without(name: str) -> Edit:
    def edit(folder: Path) -> Path:
        (folder / name).unlink()
        return _zipped(folder)

    return edit


def _replaced(name: str, old: str, new: str) -> Edit:
    def edit(folder: Path) -> Path:
        content = (folder / name).read_text(encoding="utf-8")
        assert old in content
        (folder / name).write_text(content.replace(old, new, 1), encoding="utf-8")
        return folder

    return edit


def _cut(name: str) -> Edit:
    def edit(folder: Path) -> Path:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3].rpartition(b",")[0])
        return folder

    return edit


def _leading_out(folder: Path) -> Path:
    return _zipped(folder, {"../../orgs.csv": b"sourcedId\r\n"})


def _bomb(folder: Path) -> Path:
    # A first member with 100 times the archive's size: nothing of the roster is in doubt but this.
    return _zipped(folder, {"lineItems.csv": bytes(40 << 20)})


def _cut_archive(folder: Path) -> Path:
    path = _zipped(folder)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def _damaged_archive(folder: Path) -> Path:
    path = _zipped(folder)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("enrollments.csv")
    content = bytearray(path.read_bytes())
    middle = member.header_offset + member.compress_size // 2
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    return path


def _latin(folder: Path) -> Path:
    file = folder / "users.csv"
    file.write_bytes(file.read_bytes().replace(b",student,", b",\xe9l\xe8ve,", 1))
    return folder


def _emptied(folder: Path) -> Path:
    (folder / "users.csv").write_bytes(b"")
    return folder


_FILE_FAULTS: Final[list[tuple[str, str, Edit]]] = [
    ("an export that is not there", "RS-FILE-01", lambda folder: folder / "elsewhere"),
    ("a zip that was cut off", "RS-FILE-01", _cut_archive),
    ("a zip that was damaged", "RS-FILE-06", _damaged_archive),
    ("a zip without its users", "RS-FILE-02", _without("users.csv")),
    ("a zip without its enrolments", "RS-FILE-02", _without("enrollments.csv")),
    ("a header of another version", "RS-FILE-03", _replaced("users.csv", "orgSourcedIds", "orgs")),
    ("a header that lacks a column", "RS-FILE-03",
     _replaced("enrollments.csv", "classSourcedId", "class")),
    ("a name that leads out of the zip", "RS-FILE-04", _leading_out),
    ("a zip of 100 times its size", "RS-FILE-05", _bomb),
    ("a file that was cut off", "RS-FILE-06", _cut("enrollments.csv")),
    ("a file that is not UTF-8", "RS-FILE-08", _latin),
    ("a delta", "RS-FILE-09", _replaced("manifest.csv", "file.users,bulk", "file.users,delta")),
    ("another version", "RS-FILE-09",
     _replaced("manifest.csv", "oneroster.version,1.1", "oneroster.version,3.0")),
    ("an empty file", "RS-FILE-06", _emptied),
]  # fmt: skip


@pytest.mark.parametrize("fault", _FILE_FAULTS, ids=lambda fault: fault[0])
def test_what_is_wrong_with_a_file_has_a_code_and_loses_nothing(
    origins: dict[str, Origin], tables: Tables, tmp_path: Path, fault: tuple[str, str, Edit]
) -> None:
    _, code, edit = fault
    with copied(origins["csv"], tmp_path / "home") as here:
        write_csv(tables, tmp_path / "tonight")
        here.apply(TENANT, csv_provider(edit(tmp_path / "tonight"), **BOTH))
        told = sync_and_lose_nothing(here)
        assert told["status"] in NOT_READ
        assert code in codes(told)


@pytest.mark.parametrize("fault", _FILE_FAULTS[3:6], ids=lambda fault: fault[0])
def test_a_first_sync_of_such_a_file_publishes_nothing(
    tables: Tables, tmp_path: Path, fault: tuple[str, str, Edit]
) -> None:
    _, code, edit = fault
    write_csv(tables, tmp_path / "tonight")
    with deployment(tmp_path / "home") as here:
        here.apply(TENANT, csv_provider(edit(tmp_path / "tonight"), **BOTH))
        told = here.sync(TENANT, DAY)
        assert told["status"] == "failed"
        assert code in codes(told)
        assert not any(here.roster(TENANT).values())


# ---------------------------------------------------------------------------------- what rows say

Rows = list[dict[str, Any]]


def _students(tables: Tables) -> Rows:
    return [row for row in tables["users"] if row["roles"][0][0] == "student"]


def _lose_ids(tables: Tables) -> None:
    for row in _students(tables)[::10]:
        row["sourcedId"] = ""


def _lose_enrolment_ids(tables: Tables) -> None:
    for row in tables["enrollments"][::50]:
        row["sourcedId"] = ""


def _odd_enrolment_roles(tables: Tables) -> None:
    extra = copy.deepcopy(tables["enrollments"][:2])
    for number, row in enumerate(extra):
        row.update(sourcedId=f"odd-{number}", role="dance coach")
    tables["enrollments"] += extra


def _odd_dates(tables: Tables) -> None:
    for row in tables["enrollments"][::40]:
        row.update(beginDate="Aug 17th", endDate="n/a")


def _odd_session_dates(tables: Tables) -> None:
    tables["academicSessions"].append(
        {**tables["academicSessions"][-1], "sourcedId": "odd", "startDate": "soon", "endDate": "31.06.2027"}
    )


def _turned_dates(tables: Tables) -> None:
    for row in tables["enrollments"][::40]:
        row.update(beginDate="2027-06-18", endDate="2026-08-17")


def _dangling(count: int) -> Callable[[Tables], None]:
    def edit(tables: Tables) -> None:
        like = tables["enrollments"][0]
        for number in range(count):
            missing = {"user": "nobody"} if number % 2 else {"class": "nothing"}
            tables["enrollments"].append({**like, **missing, "sourcedId": f"dangling-{number}"})

    return edit


def _unknown_school(tables: Tables) -> None:
    tables["classes"].append({**tables["classes"][0], "sourcedId": "astray", "school": "nowhere"})


_ROW_FAULTS: Final[list[tuple[str, str, tuple[str, ...], Callable[[Tables], None]]]] = [
    # what it is, expected code, the statuses that it may lead to, the edit
    ("users without a sourcedId", "RS-ROW-01", NOT_READ, _lose_ids),
    ("enrolments without a sourcedId", "RS-ROW-01", ("successful", *NOT_READ), _lose_enrolment_ids),
    ("dates that nobody can read", "RS-ROW-03", ("successful",), _odd_dates),
    ("sessions with dates that nobody can read", "RS-ROW-03", ("successful",), _odd_session_dates),
    ("dates that begin after they end", "RS-ROW-04", ("successful",), _turned_dates),
    ("some enrolments of nobody and in nothing", "RS-REF-01", ("successful",), _dangling(6)),
    ("too many enrolments of nobody", "RS-REF-05", NOT_READ, _dangling(200)),
    ("a class of a school that is not there", "RS-REF-04", ("successful",), _unknown_school),
]


@pytest.mark.parametrize("way", ["csv", "powerschool"])
@pytest.mark.parametrize("fault", _ROW_FAULTS, ids=lambda fault: fault[0])
def test_what_is_wrong_with_rows_has_a_code_and_loses_nothing(
    origins: dict[str, Origin],
    tables: Tables,
    tmp_path: Path,
    fault: tuple[str, str, tuple[str, ...], Callable[[Tables], None]],
    way: str,
) -> None:
    _, code, statuses, edit = fault
    tonight = copy.deepcopy(tables)
    edit(tonight)
    with (
        copied(origins[way], tmp_path / "home") as here,
        _sent(here, origins[way], tonight, tmp_path, tables),
    ):
        before = here.roster(TENANT)
        told = here.sync(TENANT, DAY)
        after = here.roster(TENANT)
        assert removed(told) == {}
        assert _keys(before) <= _keys(after)
        assert not any(dict(row)["inactive_since"] for row in after["people"])
        assert code in codes(told)
        assert told["status"] in statuses


@pytest.mark.parametrize("way, code", [("csv", "RS-ROW-05"), ("powerschool", "RS-PAGE-07")])
def test_rows_that_come_twice_are_told_and_change_nothing(
    origins: dict[str, Origin], tables: Tables, tmp_path: Path, way: str, code: str
) -> None:
    tonight = copy.deepcopy(tables)
    tonight["users"] += copy.deepcopy(tonight["users"][:3])
    tonight["enrollments"] += copy.deepcopy(tonight["enrollments"][:9])
    with (
        copied(origins[way], tmp_path / "home") as here,
        _sent(here, origins[way], tonight, tmp_path, tables),
    ):
        told = sync_and_lose_nothing(here)
        assert changed(told) == {}
        # A server counts its doubles, too: fewer different rows than it told are no proof.
        assert (told["status"], code in codes(told)) == ("successful" if way == "csv" else "partial", True)


@pytest.mark.parametrize("way", ["csv", "powerschool"])
def test_roles_that_nobody_knows_are_kept_as_they_came(
    origins: dict[str, Origin], tables: Tables, tmp_path: Path, way: str
) -> None:
    tonight = copy.deepcopy(tables)
    someone = next(row for row in tonight["users"] if row["roles"][0][0] not in ("student", "teacher"))
    someone["roles"] = [["Dance Coach", *entry[1:]] for entry in someone["roles"]]
    _odd_enrolment_roles(tonight)
    with (
        copied(origins[way], tmp_path / "home") as here,
        _sent(here, origins[way], tonight, tmp_path, tables),
    ):
        before = here.roster(TENANT)
        told = here.sync(TENANT, DAY)
        after = here.roster(TENANT)
        assert (told["status"], removed(told)) == ("successful", {})
        assert "RS-ROW-02" in codes(told)
        assert _keys(before) <= _keys(after)
        (coach,) = [
            row for row in map(dict, after["people"]) if row["person_id"] == f"sis/{someone['sourcedId']}"
        ]
        assert "dance coach" in coach["roles"]


@contextmanager
def _sent(here: Deployment, origin: Origin, tonight: Tables, folder: Path, usual: Tables) -> Iterator[None]:
    """The rows of `tonight` by the origin's own way: its server, or an export."""
    if origin.server is None:
        write_csv(tonight, folder / "tonight")
        here.apply(TENANT, csv_provider(folder / "tonight", **BOTH))
        yield
        return
    origin.server.sandbox.replace(tonight)
    try:
        yield
    finally:
        origin.server.sandbox.replace(usual)


def _keys(roster: dict[str, set[tuple[Any, ...]]]) -> set[tuple[Any, ...]]:
    """What must still be there, whatever becomes of its values."""
    return {
        *(("person", dict(row)["person_id"]) for row in roster["people"]),
        *(("class", dict(row)["class_id"]) for row in roster["classes"]),
        *(
            ("membership", *(dict(row)[name] for name in ("class_id", "person_id", "role")))
            for row in roster["memberships"]
        ),
    }
