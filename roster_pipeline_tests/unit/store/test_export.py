"""The export, from a real database into a package that a strict reader takes and that we read back."""

import datetime as dt
import json

import pytest
from sqlalchemy import event, insert

from roster_pipeline.oneroster import vocabulary
from roster_pipeline.oneroster.csv.reading import read_tables
from roster_pipeline.store import database
from roster_pipeline.store.export import export
from roster_pipeline_tests.validator import load, problems

NORTH, SOUTH, KEPT, NEVER = "school-north", "school-south", "school-kept", "school-never"
LIVE = {"tenant": "riverbend", "created_sync": 1, "changed_sync": 1}


def school(school_id, name, **values):
    return {
        "school_id": school_id, "name": name, "identifier": None, "state": "published",
        "state_as_of": dt.date(2026, 11, 21), **values,
    }  # fmt: skip


def session(session_id, **values):
    return {
        "session_id": session_id, "title": session_id, "kind": "term", "start_date": dt.date(2026, 8, 15),
        "end_date": dt.date(2026, 12, 18), "school_year": "2026-2027", "parent_id": None, **values,
    }  # fmt: skip


def class_(class_id, school_id=NORTH, **values):
    return {
        "class_id": class_id, "school_id": school_id, "title": f"Title of {class_id}", "class_code": "A",
        "class_kind": "scheduled", "course_title": "Algebra", "course_code": "0191", "grades": '["09","10"]',
        "subjects": '["Maths","Logic"]', "subject_codes": '["02052"]', "periods": '["1"]', "location": "120",
        "session_ids": '["term"]', "start_date": dt.date(2026, 8, 15), "end_date": dt.date(2026, 12, 18),
        **values,
    }  # fmt: skip


def person(person_id, *roles, **values):
    return {
        "person_id": person_id, "given_name": f"Given {person_id}", "middle_name": None,
        "family_name": "Null",
        "preferred_given_name": None, "preferred_family_name": None, "email": f"{person_id}@x.example",
        "username": f"name-{person_id}", "identifier": "0042", "phone": None, "sms": None, "grades": "",
        "roles": json.dumps([{"role": role, "school_id": school_id} for role, school_id in roles]),
        "enabled": True, "inactive_since": None, "merged_into": None, **values,
    }  # fmt: skip


def membership(class_id, person_id, role, **values):
    return {
        "class_id": class_id, "person_id": person_id, "role": role, "is_primary": None, "begin_date": None,
        "end_date": None, **values,
    }  # fmt: skip


ROSTER = {
    database.schools: [
        school(NORTH, 'The "North", School', identifier="N1"),
        school(SOUTH, "South School"),
        school(KEPT, "Kept School", state="kept", state_as_of=dt.date(2026, 11, 1), state_code="RS-SES-01"),
        school(NEVER, "Never School", state="kept", state_as_of=None),
    ],
    database.academic_sessions: [
        session("year", kind="schoolYear", end_date=dt.date(2027, 6, 10)),
        session("term", parent_id="year"),
        session("half", end_date=None, school_year=None, kind="quarter", title=None),
        session("nothing", start_date=None, end_date=None, school_year=None),
    ],
    database.classes: [
        class_("c1", session_ids='["term","year","gone"]'),
        class_("c2", SOUTH, title="", course_title=None, course_code=None, subjects='["Art, Design"]',
               subject_codes="", grades="", periods="", location=None, class_code=None,
               class_kind="homeroom"),
        class_("c3", KEPT, session_ids="[]"),
        class_("c4", KEPT, session_ids='["nothing"]', start_date=None, end_date=None, class_kind=None),
        class_("c5", NEVER),
    ],
    database.people: [
        person("s1", ("student", NORTH), grades='["09"]', given_name="Ann\r\nMary", phone="555", sms="556",
               middle_name="M", preferred_given_name="Annie", preferred_family_name="Nil"),
        person("s2", ("student", NORTH), ("student", SOUTH), email=None, username=None, family_name="",
               enabled=False),
        person("t1", ("teacher", NORTH), ("aide", NORTH), ("parent", NORTH), ("principal", SOUTH)),
        person("g1", ("guardian", None), identifier=None),
        person("a1", ("district_administrator", None), ("site_administrator", NORTH), ("volunteer", SOUTH)),
        person("x1"),
        person("i1", ("student", NORTH), inactive_since=dt.date(2026, 11, 20)),
        person("m1", ("student", NORTH), merged_into="s1"),
        person("id with blanks", ("relative", NEVER)),
    ],
    database.memberships: [
        membership("c1", "s1", "student", begin_date=dt.date(2026, 8, 15), end_date=dt.date(2026, 12, 18)),
        membership("c1", "t1", "teacher", is_primary=True),
        membership("c1", "a1", "site_administrator", is_primary=True),
        membership("c2", "t1", "aide"),
        membership("c2", "t1", "teacher", is_primary=False),
        membership("c3", "s2", "student"),
        membership("c4", "s2", "student", end_date=dt.date(2026, 12, 18)),
        membership("c5", "s2", "student"),
        membership("c1", "i1", "student"),
    ],
    database.guardian_links: [
        {"student_id": "s1", "guardian_id": "g1", "relationship": "guardian"},
        {"student_id": "s1", "guardian_id": "t1", "relationship": "parent"},
        {"student_id": "s2", "guardian_id": "id with blanks", "relationship": "relative"},
        {"student_id": "i1", "guardian_id": "g1", "relationship": "guardian"},
    ],
}  # fmt: skip


def fill(url, roster=ROSTER):
    """The engine of a database with the roster, and with what must not get into an export of it."""
    engine = database.open_database(url)
    with engine.begin() as connection:
        for table, rows in roster.items():
            connection.execute(insert(table), [LIVE | row for row in rows])
        connection.execute(insert(database.schools), LIVE | school("other", "Other") | {"tenant": "other"})
        connection.execute(
            insert(database.people),
            LIVE
            | person("gone", ("student", NORTH))
            | {"removed_at": dt.datetime(2026, 11, 1, tzinfo=dt.UTC)},
        )
    return engine


@pytest.fixture
def engine(tmp_path):
    engine = fill(f"sqlite:///{tmp_path / 'roster.db'}")
    yield engine
    engine.dispose()


def exported(engine, tmp_path, tenant="riverbend"):
    path = tmp_path / "out.zip"
    with engine.connect() as connection:
        return path, export(connection, tenant, path)


def read_back(path):
    tables = read_tables(path)
    return {name: {row["sourcedId"]: row for row in table.to_pylist()} for name, table in tables.items()}


def test_an_export_stands_before_a_strict_reader(engine, tmp_path):
    path, _ = exported(engine, tmp_path)
    assert problems(path) == []


def test_what_was_written_and_left_out_is_counted(engine, tmp_path):
    _, counts = exported(engine, tmp_path)
    assert counts == {
        "orgs": 4, "academicSessions": 5, "courses": 3, "classes": 4, "users": 7, "roles": 13,
        "enrollments": 7,
        "left_out_academicSessions": 1, "left_out_agents": 1, "left_out_classes": 1,
        "left_out_enrollments": 2,
    }  # fmt: skip


def test_schools_come_back_as_they_were(engine, tmp_path):
    orgs = read_back(exported(engine, tmp_path)[0])["orgs"]
    schools = {key: (row["name"], row["identifier"]) for key, row in orgs.items() if row["type"] == "school"}
    assert schools == {
        NORTH: ('The "North", School', "N1"), SOUTH: ("South School", ""), KEPT: ("Kept School", ""),
    }  # fmt: skip
    (district,) = (row for row in orgs.values() if row["type"] == "district")
    assert district["name"] == "riverbend"
    assert {row["parent"] for row in orgs.values()} == {"", district["sourcedId"]}


def test_people_come_back_as_they_were(engine, tmp_path):
    users = read_back(exported(engine, tmp_path)[0])["users"]
    assert {"s1", "s2", "t1", "g1", "a1", "x1"} < users.keys()
    assert not {"i1", "m1", "gone", "id with blanks"} & users.keys()
    ann = users["s1"]
    assert (ann["givenName"], ann["middleName"], ann["familyName"]) == ("Ann Mary", "M", "Null")
    assert (ann["preferredFirstName"], ann["preferredLastName"]) == ("Annie", "Nil")
    assert (ann["email"], ann["username"], ann["identifier"]) == ("s1@x.example", "name-s1", "0042")
    assert (ann["phone"], ann["sms"], ann["grades"], ann["enabledUser"]) == ("555", "556", '["09"]', "true")
    assert (users["s2"]["username"], users["s2"]["familyName"], users["s2"]["email"]) == ("", "", "")
    assert users["s2"]["enabledUser"] == "false"


def test_roles_come_back_at_their_schools(engine, tmp_path):
    back = read_back(exported(engine, tmp_path)[0])
    types = {key: row["type"] for key, row in back["orgs"].items()}

    def roles(user):
        entries = json.loads(back["users"][user]["roles"])
        return {(vocabulary.role(role), org if types[org] == "school" else "") for role, org, _, _ in entries}

    assert roles("s2") == {("student", NORTH), ("student", SOUTH)}
    assert roles("t1") == {("teacher", NORTH), ("aide", NORTH), ("parent", NORTH), ("principal", SOUTH)}
    assert roles("g1") == {("guardian", "")}
    assert roles("a1") == {
        ("district_administrator", ""), ("site_administrator", NORTH), ("ext:volunteer", SOUTH),
    }  # fmt: skip
    assert roles("x1") == {("ext:unknown", "")}


def test_guardian_links_come_back(engine, tmp_path):
    users = read_back(exported(engine, tmp_path)[0])["users"]
    assert json.loads(users["s1"]["agents"]) == ["g1", "t1"]
    (guardian,) = json.loads(users["s2"]["agents"])
    assert users[guardian]["email"] == "id with blanks@x.example"


def test_classes_come_back_as_they_were(engine, tmp_path):
    back = read_back(exported(engine, tmp_path)[0])
    one, two = back["classes"]["c1"], back["classes"]["c2"]
    assert (one["school"], one["title"], one["classCode"], one["classType"]) == (
        NORTH, "Title of c1", "A", "scheduled",
    )  # fmt: skip
    assert (one["location"], one["grades"], one["periods"]) == ("120", '["09","10"]', '["1"]')
    assert (one["subjects"], one["subjectCodes"]) == ('["Maths","Logic"]', '["02052"]')
    assert json.loads(one["terms"]) == ["term", "year"]
    course = back["courses"][one["course"]]
    assert (course["title"], course["courseCode"], course["org"]) == ("Algebra", "0191", NORTH)
    assert (two["title"], two["classType"], two["grades"]) == ("", "homeroom", "")
    assert (two["subjects"], two["subjectCodes"]) == ('["Art; Design"]', "")
    assert back["courses"][two["course"]]["title"] == ""


def test_a_class_without_a_session_gets_a_term_of_its_dates_or_of_its_school_year(engine, tmp_path):
    back = read_back(exported(engine, tmp_path)[0])
    spans = {}
    for name in ("c3", "c4"):
        (term,) = json.loads(back["classes"][name]["terms"])
        spans[name] = (back["academicSessions"][term]["startDate"], back["academicSessions"][term]["endDate"])
    assert spans == {"c3": ("2026-08-15", "2026-12-18"), "c4": ("2026-08-01", "2027-07-31")}


def test_sessions_come_back_with_a_year_and_both_dates(engine, tmp_path):
    sessions = read_back(exported(engine, tmp_path)[0])["academicSessions"]
    term, half = sessions["term"], sessions["half"]
    assert (term["startDate"], term["endDate"], term["schoolYear"], term["parent"]) == (
        "2026-08-15", "2026-12-18", "2027", "year",
    )  # fmt: skip
    assert (half["startDate"], half["endDate"], half["type"], half["title"]) == (
        "2026-08-15", "2027-07-31", "ext:quarter", "",
    )  # fmt: skip


def test_memberships_come_back_as_they_were(engine, tmp_path):
    back = read_back(exported(engine, tmp_path)[0])
    found = {
        (row["class"], row["user"], vocabulary.role(row["role"])): (
            row["primary"],
            row["beginDate"],
            row["endDate"],
        )
        for row in back["enrollments"].values()
    }
    assert found == {
        ("c1", "s1", "student"): ("", "2026-08-15", "2026-12-18"),
        ("c1", "t1", "teacher"): ("true", "", ""),
        ("c1", "a1", "site_administrator"): ("", "", ""),
        ("c2", "t1", "aide"): ("", "", ""),
        ("c2", "t1", "teacher"): ("false", "", ""),
        ("c3", "s2", "student"): ("", "", ""),
        ("c4", "s2", "student"): ("", "", "2026-12-18"),
    }


def test_roles_that_the_specification_lacks_are_written_as_extensions(engine, tmp_path):
    tables = load(exported(engine, tmp_path)[0]).tables
    assert {row["role"] for row in tables["enrollments"]} == {
        "student",
        "teacher",
        "administrator",
        "ext:aide",
    }
    assert {row["role"] for row in tables["roles"] if row["role"].startswith("ext:")} == {
        "ext:volunteer", "ext:unknown",
    }  # fmt: skip


def test_the_same_roster_gives_the_same_bytes(engine, tmp_path):
    path, _ = exported(engine, tmp_path)
    first = path.read_bytes()
    assert exported(engine, tmp_path)[0].read_bytes() == first


def test_an_export_sees_one_state_of_the_roster(engine, tmp_path):
    asked: list[str] = []

    def publish_meanwhile(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)
        if len(asked) == 3:  # two queries of the export are over, the others are to come
            with engine.connect().execution_options(immediate=True) as other, other.begin():
                other.execute(insert(database.people), LIVE | person("new", ("student", NORTH)))
                other.execute(insert(database.memberships), LIVE | membership("c1", "new", "student"))

    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", publish_meanwhile)
        export(connection, "riverbend", tmp_path / "out.zip")
    assert len(asked) > 3
    assert "new" not in read_back(tmp_path / "out.zip")["users"]
    assert "new" in read_back(exported(engine, tmp_path)[0])["users"]


def test_a_tenant_without_a_roster_exports_none(engine, tmp_path):
    path, counts = exported(engine, tmp_path, "nobody")
    assert counts == {
        "orgs": 1, "academicSessions": 0, "courses": 0, "classes": 0, "users": 0, "roles": 0,
        "enrollments": 0,
    }  # fmt: skip
    assert problems(path) == []


def test_postgres_exports_the_same_bytes(postgres_url, engine, tmp_path):
    upgrading = database.connect(postgres_url)
    database.upgrade(upgrading)
    upgrading.dispose()
    other = fill(postgres_url)
    try:
        mine = exported(engine, tmp_path)[0].read_bytes()
        assert exported(other, tmp_path)[0].read_bytes() == mine
    finally:
        other.dispose()
