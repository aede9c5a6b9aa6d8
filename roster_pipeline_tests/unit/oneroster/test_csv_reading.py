import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS
from roster_pipeline.oneroster.csv.package import open_package
from roster_pipeline.oneroster.csv.reading import open_export, read_tables, split_list, user_ids
from roster_pipeline_tests.csv_packages import V1P1, V1P2, write_folder, write_zip


def rows(tables, collection):
    return {row["sourcedId"]: row for row in tables[collection].to_pylist()}


def refusals(tmp_path, files, **options):
    """Code and message of each collection that is refused, before or while it is read."""
    found = {}
    with open_package(write_folder(tmp_path / "f", files)) as package:
        export = open_export(package, **options)
        for collection in COLLECTIONS:
            try:
                for _ in export.batches(collection):
                    pass
            except CodedError as error:
                found[collection] = (error.code, error.message)
    return found


# ---------------------------------------------------------------------------------------------- both versions


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_1_1_becomes_the_canonical_columns(tmp_path, write):
    tables = read_tables(write(tmp_path / "p", V1P1))
    for collection in COLLECTIONS:
        assert tuple(tables[collection].column_names) == COLUMNS[collection]
        assert all(str(kind) == "string" for kind in tables[collection].schema.types)
        assert all(column.null_count == 0 for column in tables[collection].columns)
    assert rows(tables, "orgs")["north"] == {
        "sourcedId": "north", "status": "", "dateLastModified": "", "name": "North School", "type": "school",
        "identifier": "N1", "parent": "d",
    }  # fmt: skip
    assert rows(tables, "academicSessions")["t"]["parent"] == "y"
    course = rows(tables, "courses")["03100500"]
    assert (course["org"], course["schoolYear"], course["courseCode"]) == ("d", "y", "0191")
    assert (course["grades"], course["subjectCodes"]) == ('["09","10"]', '["02052"]')
    section = rows(tables, "classes")["c"]
    assert (section["course"], section["school"], section["terms"]) == ("03100500", "north", '["y","t"]')
    assert (section["grades"], section["periods"]) == ('["09"]', '["1","2"]')
    assert rows(tables, "enrollments")["e1"]["class"] == "c"
    assert rows(tables, "enrollments")["e2"]["status"] == "tobedeleted"


def test_users_of_1_1_have_a_role_at_each_org(tmp_path):
    users = rows(read_tables(write_folder(tmp_path / "f", V1P1)), "users")
    assert users["s1"]["roles"] == '[["student","north","",""]]'
    assert users["g1"]["roles"] == '[["guardian","north","",""],["guardian","d","",""]]'
    assert users["t1"]["roles"] == '[["teacher","","",""]]'
    assert users["s1"]["agents"] == '["g1","g2"]'
    assert users["s1"]["userIds"] == '[["Local","015"],["LDAP","Users,Students"]]'
    assert users["g1"]["userIds"] == '[["","74727075"]]'
    assert (users["s1"]["familyName"], users["g1"]["familyName"]) == ("Null", "NA")
    assert (users["s1"]["grades"], users["s1"]["identifier"]) == ('["09"]', "0042")
    assert users["t1"]["agents"] == users["t1"]["userIds"] == users["t1"]["grades"] == ""


def test_users_of_1_2_have_the_roles_of_the_roles_file(tmp_path):
    users = rows(read_tables(write_folder(tmp_path / "f", V1P2)), "users")
    assert users["s1"]["roles"] == '[["student","north","2026-08-15",""]]'
    assert users["g1"]["roles"] == '[["guardian","north","",""],["aide","d","",""]]'
    assert users["s1"]["userMasterIdentifier"] == "M1"
    assert (users["s1"]["preferredFirstName"], users["s1"]["preferredLastName"]) == ("Annie", "Nil")


def test_passwords_and_pronouns_are_not_read(tmp_path):
    for files in (V1P1, V1P2):
        text = str(read_tables(write_folder(tmp_path / "f", files))["users"].to_pylist())
        assert "pw" not in text
        assert "she" not in text


def test_a_manifest_that_only_says_1_2_does_not_hide_the_roles_of_users(tmp_path):
    files = V1P1 | {"manifest": V1P1["manifest"].replace("version,1.1", "version,1.2")}
    assert rows(read_tables(write_folder(tmp_path / "f", files)), "users")["s1"]["roles"] == (
        '[["student","north","",""]]'
    )


def test_the_version_is_found_by_the_header_where_the_manifest_is_silent(tmp_path):
    for files, version in ((V1P1, "1.1"), (V1P2, "1.2")):
        silent = files | {"manifest": files["manifest"].replace(f"oneroster.version,{version}\r\n", "")}
        with open_package(write_folder(tmp_path / version, silent)) as package:
            assert open_export(package).version == version
        assert "student" in read_tables(tmp_path / version)["users"]["roles"].to_pylist()[0]


def test_columns_in_any_order_with_the_vendor_s_own_are_found_by_name(tmp_path):
    plain = read_tables(write_folder(tmp_path / "plain", V1P1))
    turned = {}
    for name, text in V1P1.items():
        header, *lines = text.split("\r\n")
        if name != "manifest":
            turned[name] = "\ufeff" + "\n".join(
                [
                    f'metadata.x,{header},"metadata.note"',
                    *(f'1,{line},"no, ""thanks"""' for line in lines if line),
                ]
            )
    assert read_tables(write_folder(tmp_path / "turned", V1P1 | turned)) == plain


def test_optional_columns_may_be_missing(tmp_path):
    files = V1P1 | {
        "orgs": "sourcedId,name,type\r\nnorth,North School,school\r\n",
        "courses": "sourcedId,title,orgSourcedId\r\nk,Algebra,north\r\n",
    }
    tables = read_tables(write_folder(tmp_path / "f", files))
    assert rows(tables, "orgs")["north"]["identifier"] == ""
    assert rows(tables, "courses")["k"]["grades"] == ""


def test_spellings_of_the_first_1_1_exports_are_read(tmp_path):
    files = V1P1 | {
        "classes": V1P1["classes"].replace("termSourcedIds", "termSourcedId").replace("subjectC", "SubjectC")
    }
    section = rows(read_tables(write_folder(tmp_path / "f", files)), "classes")["c"]
    assert (section["terms"], section["subjectCodes"]) == ('["y","t"]', '["02052"]')


# -------------------------------------------------------------------------------------------------- refusals


def test_a_missing_file_fails_its_collection_alone(tmp_path):
    found = refusals(tmp_path, V1P1 | {"users": None})
    assert {name: code for name, (code, _) in found.items()} == {"users": "RS-FILE-02"}


def test_a_file_whose_name_differs_in_letter_case_is_missing_with_a_hint(tmp_path):
    found = refusals(tmp_path, V1P1 | {"users": None, "Users": V1P1["users"]})
    assert found["users"][0] == "RS-FILE-02"
    assert "letter case" in found["users"][1]


def test_missing_columns_are_named(tmp_path):
    files = V1P1 | {
        "users": V1P1["users"].replace("givenName,familyName", "first,last").replace("email", "mail")
    }
    assert refusals(tmp_path, files) == {
        "users": ("RS-FILE-03", "users.csv, line 1: the header lacks givenName, familyName, email.")
    }


@pytest.mark.parametrize(
    "column, written", [("sourcedId", "SourcedID"), ("grades", "Grades"), ("phone", "PHONE")]
)
def test_letter_case_counts_in_a_header(tmp_path, column, written):
    header, _, lines = V1P1["users"].partition("\r\n")
    names = [written if name == column else name for name in header.split(",")]
    found = refusals(tmp_path, V1P1 | {"users": ",".join(names) + "\r\n" + lines})
    assert found["users"][0] == "RS-FILE-03"
    assert f"letter case counts in a header; it must be written {column}" in found["users"][1]


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    found = refusals(tmp_path, V1P1 | {"orgs": "sourcedId,name,type,name\r\nnorth,North,school,South\r\n"})
    assert found["orgs"][0] == "RS-FILE-03"
    assert "name more than once" in found["orgs"][1]


def test_a_first_line_of_data_is_not_repeated_in_the_refusal(tmp_path):
    found = refusals(tmp_path, V1P1 | {"users": V1P1["users"].partition("\r\n")[2]})
    assert found["users"][0] == "RS-FILE-03"
    assert "Ann" not in found["users"][1]


def test_the_columns_of_1_0_are_called_by_that_name(tmp_path):
    files = V1P1 | {
        "users": "sourcedId,status,dateLastModified,orgSourcedIds,role,username,userId,givenName,familyName,"
        "identifier,email,sms,phone,agents\r\n",
        "classes": V1P1["classes"].replace("grades", "grade").replace("termSourcedIds", "termSourcedId"),
    }
    found = refusals(tmp_path, files)
    assert found.keys() == {"users", "classes"}
    for code, message in found.values():
        assert code == "RS-FILE-03"
        assert "OneRoster 1.0" in message


def test_columns_of_1_2_under_a_manifest_of_1_1_are_refused_with_a_hint(tmp_path):
    found = refusals(tmp_path, V1P2 | {"manifest": V1P1["manifest"]})
    assert found.keys() == {"users"}
    assert "1.2" in found["users"][1]


@pytest.mark.parametrize("broken", [None, "sourcedId,status\r\n", 'sourcedId,"\r\n', b"\xff"])
def test_users_of_1_2_fail_with_their_roles(tmp_path, broken):
    found = refusals(tmp_path, V1P2 | {"roles": broken})
    assert found.keys() == {"users"}
    assert "roles.csv" in found["users"][1]


def test_roles_that_are_cut_off_fail_the_users(tmp_path):
    found = refusals(tmp_path, V1P2 | {"roles": V1P2["roles"][:-20]})
    assert found.keys() == {"users"}
    assert found["users"][0] == "RS-FILE-06"


def test_delta_files_are_refused_one_by_one(tmp_path):
    files = V1P1 | {"manifest": V1P1["manifest"].replace("file.users,bulk", "file.users,delta")}
    found = refusals(tmp_path, files)
    assert found.keys() == {"users"}
    assert found["users"][0] == "RS-FILE-09"


def test_a_mode_that_is_none_is_refused(tmp_path):
    files = V1P1 | {"manifest": V1P1["manifest"].replace("file.users,bulk", "file.users,some")}
    assert refusals(tmp_path, files)["users"][0] == "RS-FILE-09"


def test_a_file_that_the_manifest_calls_absent_but_is_there_is_refused(tmp_path):
    files = V1P1 | {"manifest": V1P1["manifest"].replace("file.users,bulk", "file.users,absent")}
    assert refusals(tmp_path, files)["users"][0] == "RS-FILE-09"


def test_sessions_and_courses_may_be_absent_in_compatibility_mode_alone(tmp_path):
    text = (
        V1P1["manifest"].replace("Sessions,bulk", "Sessions,absent").replace("courses,bulk", "courses,absent")
    )
    files = V1P1 | {"manifest": text, "academicSessions": None, "courses": None}
    assert {code for code, _ in refusals(tmp_path, files).values()} == {"RS-FILE-02"}
    assert refusals(tmp_path, files, compatibility_mode=True) == {}


def test_a_file_that_the_manifest_promises_is_missed_in_compatibility_mode_too(tmp_path):
    found = refusals(tmp_path, V1P1 | {"courses": None}, compatibility_mode=True)
    assert {name: code for name, (code, _) in found.items()} == {"courses": "RS-FILE-02"}


NO_MANIFEST = "There is no manifest.csv in the folder f; then it must hold all six files of OneRoster 1.1."


@pytest.mark.parametrize(
    "files, code, told",
    [
        (V1P1 | {"users": None}, "RS-FILE-02", "One of the six files is missing: users.csv."),
        (
            V1P1 | {"users": None, "orgs": None},
            "RS-FILE-02",
            "2 of the six files are missing: orgs.csv, users.csv.",
        ),
        (
            V1P2,
            "RS-FILE-03",
            "users.csv, line 1: the header lacks orgSourcedIds, role; they are in roles.csv only in OneRoster"
            " 1.2, which the manifest must name.",
        ),
        (
            V1P1 | {"orgs": "id,name\r\n", "users": None},
            "RS-FILE-03",
            "orgs.csv, line 1: the header lacks sourcedId, type. One of the six files is missing: users.csv.",
        ),
        (V1P1 | {"users": b"\xff\r\n"}, "RS-FILE-08", "users.csv"),
        (
            V1P1 | {"users": None, "Users": V1P1["users"]},
            "RS-FILE-02",
            "One of the six files is missing: users.csv. There is a Users.csv, but letter case counts in a"
            " file's name.",
        ),
    ],
    ids=["one-missing", "two-missing", "1.2", "header-and-missing", "not-utf-8", "letter-case"],
)
def test_without_a_manifest_nothing_but_1_1_is_read(tmp_path, files, code, told):
    folder = write_folder(tmp_path / "f", files | {"manifest": None})
    with open_package(folder) as package, pytest.raises(CodedError) as raised:
        open_export(package)
    assert raised.value.code == code
    assert raised.value.message.startswith(f"{NO_MANIFEST} {told}")


def test_without_a_manifest_files_of_1_0_are_told_as_that_and_by_their_columns(tmp_path):
    files = V1P1 | {
        "users": V1P1["users"].replace("userIds", "userId").replace("agentSourcedIds", "agents"),
        "courses": V1P1["courses"].replace("grades", "grade"),
        "enrollments": V1P1["enrollments"].replace("beginDate", "begin"),
    }
    folder = write_folder(tmp_path / "f", files | {"manifest": None})
    with open_package(folder) as package, pytest.raises(CodedError) as raised:
        open_export(package)
    assert str(raised.value) == (
        "RS-FILE-03: The files in the folder f are of OneRoster 1.0, which is not read: courses.csv has grade"
        " in place of grades; users.csv has userId in place of userIds and agents in place of"
        " agentSourcedIds."
    )


def test_a_truncated_file_fails_wherever_its_last_line_is_cut(tmp_path):
    whole = V1P1["users"]
    last = whole.rindex("\r\n", 0, -2) + 2
    for cut in range(last + 1, len(whole) - 4):  # after that the row looks complete
        found = refusals(tmp_path, V1P1 | {"users": whole[:cut]})
        assert found.get("users", ("", ""))[0] == "RS-FILE-06", cut
        assert "users.csv" in found["users"][1]


# ---------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    "cell, items",
    [
        ("", []), ("09", ["09"]), (" 09 , 10 ,,", ["09", "10"]), ("'a','b'", ["a", "b"]),
        ("'a,b'", ["a", "b"]),
        ("'09", ["'09"]), ("O'Neil,D'Arcy", ["O'Neil", "D'Arcy"]), (",", []),
    ],
)  # fmt: skip
def test_lists_are_split_at_commas_and_trimmed(cell, items):
    assert split_list(cell) == items


@pytest.mark.parametrize(
    "cell, pairs",
    [
        ("", []),
        ("{Local:015}", [["Local", "015"]]),
        ("{LDAP:Users,Students},{LTI:Id123}", [["LDAP", "Users,Students"], ["LTI", "Id123"]]),
        ("{ SIS : 1 } , {State:2}", [["SIS", "1"], ["State", "2"]]),
        ("{Url:https://x.example/1}", [["Url", "https://x.example/1"]]),
        ("74727075", [["", "74727075"]]),
        ("1,2", [["", "1"], ["", "2"]]),
        ("{noColon}", [["", "noColon"]]),
        ("{Type:}", []),
        ("{Type:1},,{", [["Type", "1"]]),
    ],
)
def test_user_ids_are_pairs_of_type_and_id(cell, pairs):
    assert json.loads(user_ids(cell) or "[]") == pairs


@given(st.text())
def test_any_cell_gives_a_list(cell):
    assert all(item and item == item.strip() for item in split_list(cell) if "'" not in item)
    assert all(len(pair) == 2 and pair[1] for pair in json.loads(user_ids(cell) or "[]"))


# --------------------------------------------------------------------------------------- other people's files


def test_the_large_district_is_read_whole(shared_data):
    tables = read_tables(shared_data / "merge-labs-district" / "district-large.zip")
    assert {name: table.num_rows for name, table in tables.items()} == {
        "orgs": 21, "academicSessions": 2, "courses": 91, "classes": 1470, "users": 4441,
        "enrollments": 31045,
    }  # fmt: skip
    roles = [json.loads(text)[0][0] for text in tables["users"]["roles"].to_pylist()]
    assert {role: roles.count(role) for role in set(roles)} == {
        "student": 4225, "teacher": 195, "administrator": 21,
    }  # fmt: skip


def test_leading_zeros_and_trailing_commas_of_grand_bend_do_no_harm(shared_data):
    tables = read_tables(shared_data / "edfi-grand-bend" / "v1p1")
    assert {name: table.num_rows for name, table in tables.items()} == {
        "orgs": 2, "academicSessions": 3, "courses": 2, "classes": 2, "users": 10, "enrollments": 24,
    }  # fmt: skip
    course = rows(tables, "courses")["03100500"]
    assert (course["subjectCodes"], course["grades"]) == ('["01001"]', '["09"]')
    assert rows(tables, "users")["605015"]["userIds"] == '[["Local","015"]]'
    assert {section["course"] for section in rows(tables, "classes").values()} == {"ENG-1", "03100500"}
    assert all(len(json.loads(text)) == 2 for text in tables["classes"]["terms"].to_pylist())


def test_grand_bend_s_1_0_is_refused_by_name(shared_data):
    with pytest.raises(CodedError, match=r"RS-FILE-03.*OneRoster 1\.0"):
        read_tables(shared_data / "edfi-grand-bend" / "v1p0")


def test_a_package_of_headers_alone_has_six_empty_collections(shared_data):
    tables = read_tables(shared_data / "nicelion-mocker" / "header-only")
    assert [table.num_rows for table in tables.values()] == [0] * 6
    assert [tuple(table.column_names) for table in tables.values()] == list(COLUMNS.values())


def test_bare_user_ids_and_several_agents_in_a_cell_are_read(shared_data, tmp_path):
    source = shared_data / "nicelion-mocker" / "partial"
    files = V1P1 | {
        "users": (source / "test-csv.csv").read_bytes(),
        "orgs": (source / "orgs.csv").read_bytes(),
    }
    users = rows(read_tables(write_folder(tmp_path / "f", files)), "users")
    assert len(users) == 1999
    agents = [json.loads(user["agents"]) for user in users.values() if user["agents"]]
    assert (len(agents), sum(len(found) > 1 for found in agents)) == (1187, 786)
    assert all(agent in users for found in agents for agent in found)
    assert all(json.loads(user["userIds"])[0][0] == "" for user in users.values() if user["userIds"])
