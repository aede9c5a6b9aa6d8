import csv
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.oneroster.csv.reading import read_tables
from roster_pipeline.oneroster.csv.writing import NOTHING, PUBLISHED, write_package
from roster_pipeline_tests.validator import MANIFEST_NAMES, problems

TABLES = {
    "orgs": [["d", "", "", "District", "district", "", ""], ["n", "", "", "North", "school", "N1", "d"]],
    "academicSessions": [["y", "", "", "Year", "schoolYear", "2026-08-15", "2027-06-10", "", "2027"]],
    "courses": [["k", "", "", "", "Algebra", "0191", "09", "n", "Maths,Logic", "1,2"]],
    "classes": [["c", "", "", "A", "09", "k", "", "scheduled", "", "n", "y", "Maths", "2", "1"]],
    "users": [["u", "", "", "true", "ann", "", "Ann", "Null", *[""] * 14]],
    "roles": [["r", "", "", "u", "primary", "student", "", "", "n", ""]],
    "enrollments": [["e", "", "", "c", "n", "u", "student", "", "", ""]],
}


def files_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_a_package_stands_before_a_strict_reader(tmp_path):
    path = tmp_path / "out.zip"
    assert write_package(path, TABLES) == {name: len(rows) for name, rows in TABLES.items()}
    assert problems(path) == []


def test_the_manifest_comes_first_and_names_every_file(tmp_path):
    write_package(tmp_path / "out.zip", {"orgs": TABLES["orgs"], "users": []})
    files = files_of(tmp_path / "out.zip")
    assert list(files) == ["manifest.csv", "orgs.csv", "users.csv"]
    lines = files["manifest.csv"].split("\r\n")
    assert lines[:3] == ["propertyName,value", "manifest.version,1.0", "oneroster.version,1.2"]
    modes = dict(line.removeprefix("file.").split(",") for line in lines if line.startswith("file."))
    assert modes == dict.fromkeys(MANIFEST_NAMES, "absent") | {"orgs": "bulk", "users": "bulk"}


def test_the_columns_of_users_are_the_22_of_1_2_1(tmp_path):
    write_package(tmp_path / "out.zip", TABLES)
    assert files_of(tmp_path / "out.zip")["users.csv"].split("\r\n")[0] == (
        "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,identifier,"
        "email,sms,phone,agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,"
        "preferredMiddleName,preferredFamilyName,primaryOrgSourcedId,pronouns"
    )


def test_cells_are_quoted_by_rfc_4180_and_hold_no_line_break(tmp_path):
    row = ["n", "", "", 'The "North"\r\nSchool,\x00Inc\u2028.', "school", "", ""]
    write_package(tmp_path / "out.zip", {"orgs": [row]})
    assert files_of(tmp_path / "out.zip")["orgs.csv"].split("\r\n")[1:] == [
        'n,,,"The ""North"" School, Inc .",school,,', "",
    ]  # fmt: skip


def test_the_same_rows_give_the_same_bytes(tmp_path):
    write_package(tmp_path / "one.zip", TABLES)
    write_package(tmp_path / "two.zip", {name: iter(TABLES[name]) for name in reversed(TABLES)})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_package_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.zip"
    write_package(path, TABLES)
    before = path.read_bytes()

    def broken():
        yield TABLES["users"][0]
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError):
        write_package(path, TABLES | {"users": broken()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_only_its_owner_can_read_a_package(tmp_path):
    write_package(tmp_path / "out.zip", TABLES)
    assert (tmp_path / "out.zip").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("tables", [{"people": []}, {"orgs": [["n", "", "", "North"]]}])
def test_what_is_no_table_of_the_specification_is_a_fault_of_ours(tmp_path, tables):
    with pytest.raises(ValueError, match=r"no such file|has not 7 columns"):
        write_package(tmp_path / "out.zip", tables)
    assert list(tmp_path.iterdir()) == []


def test_what_was_filled_in_for_the_specification_is_taken_out_again(tmp_path):
    user = ["u", "", "", "true", "u", "", NOTHING, "Null", *[""] * 14]
    lists = ["k", "", "", "", NOTHING, "", "", "n", "Maths,Logic", f"1,{NOTHING}"]
    write_package(tmp_path / "out.zip", TABLES | {"users": [user], "courses": [lists]})
    tables = read_tables(tmp_path / "out.zip")
    (found,), (course,) = tables["users"].to_pylist(), tables["courses"].to_pylist()
    assert (found["sourcedId"], found["username"], found["givenName"], found["familyName"]) == (
        "u",
        "",
        "",
        "Null",
    )
    assert (course["title"], course["subjects"], course["subjectCodes"]) == ("", '["Maths","Logic"]', '["1"]')


def test_of_other_people_s_packages_nothing_is_taken_out(tmp_path):
    user = ["u", "", "", "true", "u", "", NOTHING, "Null", *[""] * 14]
    write_package(tmp_path / "out.zip", TABLES | {"users": [user]})
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for name, text in files_of(tmp_path / "out.zip").items():
            archive.writestr(name, text.replace("roster_pipeline", "somebody_else"))
    (found,) = read_tables(tmp_path / "other.zip")["users"].to_pylist()
    assert (found["username"], found["givenName"]) == ("u", NOTHING)


printable = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters=NOTHING))


@given(st.lists(st.tuples(printable, printable, printable), max_size=6))
def test_whatever_is_written_is_read_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("p") / "out.zip"
    users = [
        [f"u{place}", "", "", "true", "name", "", given, family, middle, *[""] * 13]
        for place, (given, family, middle) in enumerate(names)
    ]
    write_package(path, TABLES | {"users": users})
    back = read_tables(path)
    assert [
        (user["givenName"], user["familyName"], user["middleName"]) for user in back["users"].to_pylist()
    ] == [tuple(value.strip() for value in row) for row in names]
    assert back["enrollments"].num_rows == 1


def test_the_strict_reader_of_the_tests_does_find_what_is_wrong(tmp_path):
    def spoilt(name: str, place: int, value: str) -> dict[str, list[list[str]]]:
        rows = [list(row) for row in TABLES[name]]
        rows[0][place] = value
        return {name: rows}

    changes: tuple[dict[str, list[list[str]]], ...] = (
        spoilt("orgs", 1, "active"), spoilt("orgs", 3, ""), spoilt("orgs", 4, "college"),
        spoilt("orgs", 0, "a b"),
        spoilt("academicSessions", 6, "10/06/2027"), spoilt("academicSessions", 8, "2026-2027"),
        spoilt("courses", 9, "1"), spoilt("classes", 9, "d"), spoilt("classes", 10, "t2"),
        spoilt("classes", 11, "A,"), spoilt("users", 3, "TRUE"), spoilt("users", 4, ""),
        spoilt("users", 13, "nobody"), spoilt("roles", 4, "first"), spoilt("roles", 5, "administrator"),
        spoilt("enrollments", 6, "aide"), spoilt("enrollments", 7, "true"),
        {"roles": []}, {"roles": TABLES["roles"] * 2},
    )  # fmt: skip
    for change in changes:
        write_package(tmp_path / "out.zip", TABLES | change)
        assert problems(tmp_path / "out.zip") != [], change


def test_every_published_column_is_what_the_strict_reader_expects(tmp_path):
    write_package(tmp_path / "out.zip", dict.fromkeys(PUBLISHED, ()))
    assert problems(tmp_path / "out.zip") == []
    for name, text in files_of(tmp_path / "out.zip").items():
        assert next(iter(csv.reader(io.StringIO(text))))[0] == (
            "propertyName" if name == "manifest.csv" else "sourcedId"
        )
