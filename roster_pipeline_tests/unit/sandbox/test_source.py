"""CSV is read and written as published, and what a version cannot say is said as its servers do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.sandbox.flavours import Version
from roster_pipeline.sandbox.generator import District
from roster_pipeline.sandbox.source import (
    TABLES,
    Row,
    Tables,
    for_version,
    load,
    without_guardians,
    write_csv,
)


def plain(tables: Tables) -> Tables:
    """Without what CSV does not carry, and without empty values."""
    return {
        name: [
            {key: value for key, value in row.items() if key != "metadata" and value not in ("", [])}
            for row in rows
        ]
        for name, rows in tables.items()
    }


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_what_is_written_is_read_back(district: District, tmp_path: Path, version: Version) -> None:
    write_csv(district.tables, tmp_path, version)
    assert plain(load(tmp_path)) == plain(for_version(district.tables, version))


def test_a_zip_is_read_like_its_folder(district: District, tmp_path: Path) -> None:
    write_csv(district.tables, tmp_path / "csv")
    archive = shutil.make_archive(str(tmp_path / "district"), "zip", tmp_path / "csv")
    assert load(Path(archive)) == load(tmp_path / "csv")


def test_bulk_leaves_status_blank_but_for_rows_to_be_deleted(tmp_path: Path) -> None:
    org = {"name": "North", "type": "school", "dateLastModified": "2026-01-01T00:00:00.000Z"}
    rows = [{"sourcedId": "1", "status": "active", **org}, {"sourcedId": "2", "status": "tobedeleted", **org}]
    write_csv({"orgs": rows}, tmp_path)
    lines = (tmp_path / "orgs.csv").read_text().splitlines()
    assert lines == [
        "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId",
        "1,,,North,school,,",
        "2,tobedeleted,2026-01-01T00:00:00.000Z,North,school,,",
    ]


def test_what_is_no_folder_and_no_zip_is_told_with_a_code(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("hello")
    for path in (tmp_path / "nowhere.zip", tmp_path / "x.zip"):
        with pytest.raises(CodedError) as error:
            load(path)
        assert error.value.code == "RS-FILE-01"


def test_a_file_that_is_not_utf_8_is_told_with_a_code(tmp_path: Path) -> None:
    (tmp_path / "orgs.csv").write_bytes("sourcedId,name\n1,Sch\xf6n\n".encode("latin-1"))
    with pytest.raises(CodedError) as error:
        load(tmp_path)
    assert error.value.code == "RS-FILE-08"


def test_user_ids_come_in_braces_or_bare(tmp_path: Path) -> None:
    header = "sourcedId,userIds,role,orgSourcedIds,agentSourcedIds\n"
    (tmp_path / "users.csv").write_text(
        header + '1,"{LDAP:a,b},{LTI:9}",student,"n, s","g1, g2"\n2,42,parent,,\n', encoding="utf-8"
    )
    one, two = load(tmp_path)["users"]
    assert one["userIds"] == [["LDAP", "a,b"], ["LTI", "9"]]
    assert one["roles"] == [["student", "n", "", ""], ["student", "s", "", ""]]
    assert one["agents"] == ["g1", "g2"]
    assert two["userIds"] == [["", "42"]]
    assert two["roles"] == [["parent", "", "", ""]]


# ---------------------------------------------------------------- versions


def family() -> Tables:
    tables: Tables = {name: [] for name in TABLES}
    tables["users"] = [
        {
            "sourcedId": "t",
            "identifier": "7",
            "roles": [["teacher", "n", "", ""], ["guardian", "n", "", ""]],
            "agents": ["s"],
        },
        {"sourcedId": "s", "roles": [["student", "n", "", ""]], "agents": ["t"]},
        {"sourcedId": "a", "roles": [["administrator", "n", "", ""]]},
        {"sourcedId": "d", "roles": [["districtAdministrator", "o", "", ""]]},
        {"sourcedId": "g", "roles": [["parent", "n", "", ""]], "agents": ["s"]},
    ]
    tables["enrollments"] = [{"sourcedId": "e", "user": "t", "class": "c", "school": "n", "role": "teacher"}]
    return tables


def users(tables: Tables) -> dict[str, Row]:
    return {row["sourcedId"]: row for row in tables["users"]}


def test_in_1_1_somebody_with_two_roles_is_two_rows_and_references_follow() -> None:
    found = users(for_version(family(), "1.1"))
    assert found["t"]["roles"] == [["teacher", "n", "", ""]]
    assert "agents" not in found["t"]
    assert found["t-guardian"]["roles"] == [["guardian", "n", "", ""]]
    assert found["t-guardian"]["identifier"] == found["t"]["identifier"]
    assert found["s"]["agents"] == ["t-guardian"]
    assert for_version(family(), "1.1")["enrollments"][0]["user"] == "t"


def test_administrators_have_each_versions_name() -> None:
    in_11, in_12 = users(for_version(family(), "1.1")), users(for_version(family(), "1.2"))
    assert [in_11[key]["roles"][0][0] for key in "ad"] == ["administrator", "administrator"]
    assert [in_12[key]["roles"][0][0] for key in "ad"] == ["siteAdministrator", "districtAdministrator"]
    assert len(in_12) == 5


def test_without_guardians_no_family_and_no_link_is_left() -> None:
    found = users(without_guardians(family()))
    assert set(found) == {"t", "s", "a", "d"}
    assert found["t"]["roles"] == [["teacher", "n", "", ""]]
    assert not any("agents" in row for row in found.values())


def test_the_rows_given_are_never_changed() -> None:
    given = family()
    for_version(given, "1.1")
    for_version(given, "1.2")
    without_guardians(given)
    assert given == family()


# ---------------------------------------------------------------- other people's files


def test_the_merge_labs_district_is_read_whole(shared_data: Path) -> None:
    tables = load(shared_data / "merge-labs-district" / "district-large.zip")
    counts = {name: len(rows) for name, rows in tables.items()}
    assert counts == {
        "orgs": 21, "academicSessions": 2, "courses": 91, "classes": 1470, "users": 4441,
        "enrollments": 31_045, "demographics": 4225,
    }  # fmt: skip


def test_leading_zeros_of_grand_bend_are_kept(shared_data: Path) -> None:
    tables = load(shared_data / "edfi-grand-bend" / "v1p1")
    assert {row["sourcedId"] for row in tables["courses"]} == {"03100500", "ENG-1"}
    student = tables["users"][0]
    assert (student["grades"], student["userIds"]) == (["09"], [["Local", "863"]])
    assert len(tables["classes"][0]["terms"]) == 2


def test_header_only_files_are_empty_tables(shared_data: Path) -> None:
    tables = load(shared_data / "nicelion-mocker" / "header-only")
    assert set(map(len, tables.values())) == {0}
