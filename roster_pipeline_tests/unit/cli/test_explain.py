"""`explain`: whole answers from real stores, in every state that a tenant can be in; who is not told what."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from roster_pipeline.cli import main
from roster_pipeline.codes import CATALOGUE
from roster_pipeline.syncs import Sync, World
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import STEPS, Deployment, csv_provider, deployment

FIRST, SECOND, THIRD = (date(2025, 10, day) for day in (15, 16, 17))
CANARY = "Zyxomantha"


@pytest.fixture
def school(tmp_path: Path) -> School:
    return School(tmp_path / "school", given_name=CANARY).write()


@pytest.fixture
def here(school: School) -> Iterator[Deployment]:
    with deployment(Path(os.environ["ROSTER_HOME"])) as found:
        found.apply("tiny", csv_provider(school.folder, name="files"))
        yield found


def _run(*words: str) -> Result:
    # The terminal's width is not the test's: whoever runs it may have a narrow one, or none.
    done = CliRunner(env={"COLUMNS": "110"}).invoke(main, ["explain", *words])
    assert CANARY not in done.stderr, "personal data on stderr"
    assert "@" not in done.stderr, "an address on stderr"
    return done


def _told(*words: str) -> str:
    done = _run(*words)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    return " ".join(done.stdout.split())


def _json(*words: str) -> dict[str, Any]:
    done = _run(*words, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    document: dict[str, Any] = json.loads(line)
    return document


def _person_id(here: Deployment, username: str) -> str:
    with here.stores.database.connect() as connection:
        found = connection.execute(
            text("SELECT person_id FROM people WHERE username = :who"), {"who": username}
        )
        return str(found.scalar_one())


# ---------------------------------------------------------------------------------- who and what


def test_a_person_is_found_by_everything_that_names_them(here: Deployment) -> None:
    here.sync("tiny", FIRST)
    person = _person_id(here, "s1")
    for who in ("s1", "files/s1", "s1@north.example", "id-s1", person, f" {person} "):
        (story,) = _json("tiny", "--person", who)["people"]
        assert (story["person_id"], story["name"], story["state"]) == (person, f"{CANARY} Ofs1", "active")


def test_a_class_is_found_by_everything_that_names_it(here: Deployment) -> None:
    here.sync("tiny", FIRST)
    (story,) = _json("tiny", "--class", "c1")["classes"]
    for which in ("files/c1", "Maths c1", story["class_id"]):
        assert _json("tiny", "--class", which)["classes"] == [story]
    assert story["members"]["teacher"] == [f"{CANARY} Oft1"]
    assert len(story["members"]["student"]) == 6


@pytest.mark.parametrize(
    "who", ["S1@north.example", "S1@NORTH.EXAMPLE", "s1@north.exmaple", f"{CANARY} ofs1"]
)
def test_what_differs_by_letter_case_or_a_typing_error_is_offered_on_stdout(
    here: Deployment, who: str
) -> None:
    here.sync("tiny", FIRST)
    done = _run("tiny", "--person", who)
    assert done.exit_code == 2
    assert done.stderr.startswith("RS-IDN-10: ")
    assert CATALOGUE["RS-IDN-10"].cure in done.stderr
    offered = [line.strip() for line in done.stdout.splitlines()[1:]]
    assert "files/s1" in offered or "s1@north.example" in offered
    for word in offered[:1]:
        assert _run("tiny", "--person", word).exit_code == 0
    near = _run("tiny", "--person", who, "--json")
    assert json.loads(near.stdout)["near"] == offered
    assert json.loads(near.stdout)["code"] == "RS-IDN-10"


def test_a_class_that_is_not_there_has_a_code_and_near_spellings(here: Deployment) -> None:
    here.sync("tiny", FIRST)
    done = _run("tiny", "--class", "maths C1")
    assert (done.exit_code, done.stderr[:9]) == (2, "RS-REF-06")
    assert "Maths c1" in done.stdout


def test_another_tenants_people_fit_nobody_here(here: Deployment, tmp_path: Path) -> None:
    other = School(tmp_path / "other", students=["x1"]).write()
    here.apply("other", csv_provider(other.folder, name="files"))
    for tenant in ("tiny", "other"):
        here.sync(tenant, FIRST)
    assert _run("tiny", "--person", "x1").exit_code == 2
    assert _run("other", "--person", "x1").exit_code == 0
    assert "x1" not in _run("tiny", "--person", "x1").stdout


def test_an_unknown_tenant_and_nothing_asked_are_refused(here: Deployment) -> None:
    done = _run("tinny", "--person", "s1")
    assert (done.exit_code, done.stderr[:9], done.stdout) == (2, "RS-CFG-08", "")
    done = _run("tiny")
    assert done.exit_code == 2
    assert "--person" in done.stderr


def test_a_tenant_that_was_never_synced_says_so(here: Deployment) -> None:
    done = _run("tiny", "--person", "s1")
    assert (done.exit_code, done.stderr[:9]) == (2, "RS-RUN-09")
    assert "never synced" in done.stderr


# ---------------------------------------------------------------------------------- answers


def test_why_is_this_pupil_not_in_my_class(here: Deployment, school: School) -> None:
    here.sync("tiny", FIRST)
    enrolments = school.folder / "enrollments.csv"
    lines = enrolments.read_text(encoding="utf-8").splitlines()
    ended = [line + "2025-10-15" if line.startswith("c1-s1,") else line for line in lines]
    enrolments.write_text("\n".join(ended) + "\n", encoding="utf-8")
    here.apply("tiny", csv_provider(school.folder, name="files", respect_enrolment_date=True))
    here.sync("tiny", SECOND)
    done = _run("tiny", "--person", "s1", "--class", "c1")
    assert done.stdout.splitlines() == [
        "tiny: the last sync, 2 for 2025-10-16, was successful.",
        "",
        f"{CANARY} Ofs1 is not in Maths c1 (North School) any more: sync 2 (2025-10-16) took them out.",
        "  The enrolment ended on 2025-10-15 (end dates are inclusive), and `respect_enrolment_date` is on "
        "for files.",
        "  → If that is wrong, correct the dates of the enrolment in the school's system.",
        "",
    ]
    assert f"{CANARY} Ofs2 is in Maths c1" in _told("tiny", "--person", "s2", "--class", "c1")
    (answer,) = _json("tiny", "--person", "s1", "--class", "c1")["answers"]
    assert (answer["is_member"], answer["because"][0]["reason"]) == (False, "not_current")


def test_who_is_gone_is_told_until_they_are_removed_and_after(here: Deployment, school: School) -> None:
    here.sync("tiny", FIRST)
    school.students.remove("s1")
    school.write()
    here.sync("tiny", SECOND)
    assert "inactive since 2025-10-16" in _told("tiny", "--person", "s1@north.example")
    here.sync("tiny", date(2025, 10, 24))
    told = _told("tiny", "--person", "s1")
    assert "Not published any more: removed by sync 3 (2025-10-24)." in told
    assert "files does not send this user any more." in told
    assert "gone, since sync 2 (2025-10-16)" in told


def test_one_human_of_two_providers_and_a_directory_is_one_story(
    here: Deployment, school: School, tmp_path: Path
) -> None:
    other = School(tmp_path / "other", students=["s1", "s9"]).write()
    logins = tmp_path / "logins.csv"
    logins.write_text("id,email\nd1,s1@north.example\n", encoding="utf-8")
    here.apply(
        "tiny",
        csv_provider(school.folder, name="files", merge={"priority": 100}),
        csv_provider(
            other.folder, name="extra", merge={"priority": 10, "attach_to_existing_users_only": True}
        ),
        directories=[{"name": "logins", "kind": "csv", "path": str(logins)}],
    )
    here.sync("tiny", FIRST)
    (story,) = _json("tiny", "--person", "d1")["people"]
    assert [user["provider"] for user in story["users"]] == ["files", "extra", "logins"]
    assert "It has the e-mail address of one known person." in _told("tiny", "--person", "s1")
    told = _told("tiny", "--person", "s9")
    assert "no person" in told
    assert "Nobody is known with the e-mail address s9@north.example, and extra only attaches" in told
    assert "RS-IDN-07" in told


def test_an_id_that_was_joined_into_another_one_leads_there(here: Deployment) -> None:
    here.sync("tiny", FIRST)
    one, other = _person_id(here, "s1"), _person_id(here, "s2")
    with here.stores.database.begin() as connection:
        query = (
            "UPDATE people SET merged_into = :into, removed_at = '2025-10-15', changed_sync = 1 "
            "WHERE person_id = :who"
        )
        connection.execute(text(query), {"who": one, "into": other})
    first, second = _json("tiny", "--person", one)["people"]
    assert first["published"][0].startswith("This id was joined into another one by sync 1 (2025-10-15)")
    assert second["person_id"] == other


# ---------------------------------------------------------------------------------- states of a tenant


def test_a_failed_sync_is_told_first_and_what_stays(here: Deployment, school: School) -> None:
    here.sync("tiny", FIRST)
    school.without("users")
    here.sync("tiny", date(2025, 12, 1))
    told = _told("tiny", "--person", "s1")
    assert "the last sync, 2 for 2025-12-01, failed (RS-PRV-01" in told
    assert "files could not be used in the last sync" in told
    assert "RS-FILE-02" in told
    assert "users could not be read" in told
    assert f"{CANARY} Ofs1 is in Maths c1" in _told("tiny", "--person", "s1", "--class", "c1")


def test_what_is_not_found_may_be_of_a_provider_that_could_not_be_used(
    here: Deployment, school: School
) -> None:
    school.without("users")
    here.sync("tiny", FIRST)
    for asked, code in ((("--person", "s1"), "RS-IDN-10"), (("--class", "c1"), "RS-REF-06")):
        done = _run("tiny", *asked)
        assert (done.exit_code, done.stderr[:9]) == (2, code)
        assert "Could not be used in the last sync: files (RS-FILE-02)." in done.stderr


def test_a_sync_that_ended_before_its_rules_tells_what_the_one_before_found(
    here: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.sync("tiny", FIRST)

    def mistaken(*_: object) -> None:
        raise ValueError(CANARY)

    monkeypatch.setitem(STEPS, "merged identities", mistaken)
    here.sync("tiny", SECOND)
    told = _told("tiny", "--person", "s1")
    assert "failed (RS-RUN-99): nothing new was published. It ended before its rules did" in told
    assert "what follows is what sync 1 found" in told


def test_a_sync_that_never_came_to_its_rules_has_the_extracts(
    here: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise ValueError(CANARY)

    monkeypatch.setitem(STEPS, "current sessions", mistaken)
    here.sync("tiny", FIRST)
    told = _told("tiny", "--person", "s1")
    assert "what follows is only what was extracted" in told
    assert "s1@north.example" in told
    assert "does not send" not in told


def test_a_partial_sync_and_a_school_that_is_kept_back_say_why(here: Deployment, school: School) -> None:
    here.sync("tiny", FIRST)
    users = school.folder / "users.csv"
    kept = [line for line in users.read_text(encoding="utf-8").splitlines() if ",teacher," not in line]
    users.write_text("\n".join(kept) + "\n", encoding="utf-8")
    enrolments = school.folder / "enrollments.csv"
    kept = [line for line in enrolments.read_text(encoding="utf-8").splitlines() if ",teacher," not in line]
    enrolments.write_text("\n".join(kept) + "\n", encoding="utf-8")
    document = here.sync("tiny", SECOND)
    assert document["schools"][0]["state"] == "kept"
    told = _told("tiny", "--person", "t1", "--class", "c1")
    assert f"{CANARY} Oft1 is in Maths c1" in told
    assert "Still published: North School keeps its last good roster." in told
    assert "RS-SAFE-08; who acts: school" in _told("tiny", "--person", "s1")


def test_a_dry_run_is_told_as_one(here: Deployment, school: School) -> None:
    here.sync("tiny", FIRST)
    school.students.append("s7")
    school.write()
    world = World(lambda: datetime.now(UTC), lambda _: None, random.Random(1), {}, lambda *_: None)
    sync = Sync.open(
        here.stores, "tiny", run_id="dry", trigger="manual", as_of=SECOND, dry_run=True, world=world
    )
    try:
        for step in STEPS.values():
            step(sync)
    finally:
        sync.close()
    told = _told("tiny", "--person", "s7", "--class", "c1")
    assert "was a dry run" in told
    assert f"{CANARY} Ofs7 is not in Maths c1 (North School). The last sync (2) was a dry run" in told


def test_a_document_that_was_changed_since_is_told_and_the_old_options_explain(
    here: Deployment, school: School
) -> None:
    here.apply("tiny", csv_provider(school.folder, name="files", limit_to={"roles": ["student"]}))
    here.sync("tiny", FIRST)
    assert "was changed since" not in _told("tiny", "--person", "t1")
    here.apply("tiny", csv_provider(school.folder, name="files", sync_classroom_data=False))
    with here.stores.database.begin() as connection:  # as if it had been applied some time later
        connection.execute(text("UPDATE tenants SET applied_at = '2099-01-01 00:00:00'"))
    told = _told("tiny", "--person", "t1")
    assert "The tenant's document was changed since (2099-01-01 00:00 UTC)" in told
    assert "`limit_to.roles` of files admits none of the roles" in told
    assert _json("tiny", "--person", "t1")["document_changed_since"].startswith("2099-01-01")


def test_nothing_that_is_told_of_people_is_logged(here: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    here.sync("tiny", FIRST)
    with caplog.at_level(logging.DEBUG):
        for words in (
            ("--person", "s1"),
            ("--class", "c1"),
            ("--person", CANARY),
            ("--person", "s1", "--json"),
        ):
            _run("tiny", *words)
    assert CANARY not in caplog.text
    assert "@" not in caplog.text


def test_a_fault_of_ours_shows_nobody(here: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    here.sync("tiny", FIRST)

    def mistaken(*_: object) -> None:
        raise KeyError(f"{CANARY} s1@north.example")

    monkeypatch.setattr("roster_pipeline.explanations.explanation.Explanation.person", mistaken)
    done = _run("tiny", "--person", "s1")
    assert done.exit_code == 1
    assert done.stderr.startswith("RS-RUN-99: KeyError in ")


@pytest.mark.postgres
def test_the_same_is_told_on_postgres(
    here: Deployment, school: School, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (("--person", "s1"), ("--class", "c1"), ("--person", "s1", "--class", "c1"))
    here.sync("tiny", FIRST)
    here.sync("tiny", SECOND)
    on_sqlite = [_told("tiny", *words) for words in asked]
    monkeypatch.setenv("ROSTER_HOME", str(tmp_path / "postgres"))
    monkeypatch.setenv("ROSTER_DATABASE_URL", postgres_url)
    with deployment(tmp_path / "postgres", postgres_url) as there:
        there.apply("tiny", csv_provider(school.folder, name="files"))
        there.sync("tiny", FIRST)
        there.sync("tiny", SECOND)
        assert [_told("tiny", *words) for words in asked] == on_sqlite
    assert _run("tiny", "--person", "S1@north.example").stdout.splitlines()[1:] == ["  s1@north.example"]


def test_of_several_classes_with_one_name_those_that_matter_are_answered(
    here: Deployment, school: School, tmp_path: Path
) -> None:
    other = School(tmp_path / "other", students=["s1", "s9"], given_name=CANARY).write()
    here.apply(
        "tiny",
        csv_provider(school.folder, name="files", merge={"priority": 100}),
        csv_provider(other.folder, name="extra", merge={"priority": 10}),
    )
    here.sync("tiny", FIRST)
    assert len(_json("tiny", "--class", "Maths c1")["classes"]) == 2
    (member,) = _json("tiny", "--person", "s1", "--class", "Maths c1")["answers"]
    assert member["is_member"]
    (enrolled,) = _json("tiny", "--person", "s9", "--class", "Maths c1")["answers"]
    assert [cause["reason"] for cause in enrolled["because"]] == ["class_of_weaker_source"]
    assert enrolled["because"][0]["text"].startswith("files brings classes to North School too")
    (neither,) = _json("tiny", "--person", "t2", "--class", "Maths c1")["answers"]
    assert (neither["class_is_published"], neither["because"][0]["reason"]) == (True, "not_sent")
