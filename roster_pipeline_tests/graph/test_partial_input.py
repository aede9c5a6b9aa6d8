"""Packages that are not whole, and packages of an old version: the right codes, and nothing is lost."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from roster_pipeline.cli import main
from roster_pipeline.codes import CATALOGUE
from roster_pipeline_tests.csv_packages import V1P1, write_folder
from roster_pipeline_tests.syncing import (
    Deployment,
    Document,
    Roster,
    changed,
    codes,
    csv_provider,
    deployment,
    removed,
)

DAY: Final = date(2021, 2, 1)  # in the second semester of Grand Bend
PARENTS: Final[dict[str, Any]] = {"sync_parent_data": True, "relationship_type": "parent"}
KEPT: Final = ("classes", "people", "memberships", "guardian_links")
MISSING: Final = (
    "There is no manifest.csv in the folder {}; then it must hold all six files of OneRoster 1.1."
    " 4 of the six files are missing: academicSessions.csv, courses.csv, classes.csv, enrollments.csv."
)
OLD: Final = (
    "The files in the folder {} are of OneRoster 1.0, which is not read: courses.csv has grade in place of"
    " grades and schoolYearId in place of schoolYearSourcedId; classes.csv has grade in place of grades;"
    " users.csv has userId in place of userIds and agents in place of agentSourcedIds."
)
FOLDERS: Final = [
    pytest.param("nicelion-mocker/partial", "RS-FILE-02", MISSING, id="partial"),
    pytest.param("edfi-grand-bend/v1p0", "RS-FILE-03", OLD, id="1.0"),
]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path) as found:
        yield found


def told(document: Document, code: str) -> dict[str, Any]:
    """The one issue of this code."""
    (issue,) = [issue for issue in document["issues"] if issue["code"] == code]
    found: dict[str, Any] = issue
    return found


def kept(roster: Roster) -> Roster:
    """What must not be lost; a school's row also has the day that it was last published for."""
    return {name: roster[name] for name in KEPT}


def export(folder: Path, target: Path) -> Path:
    """A link that tonight's export moves on, as a school's would."""
    link = folder / "export"
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    return link


# ------------------------------------------------------------------------------------- as they stand


@pytest.mark.parametrize("folder, code, message", FOLDERS)
def test_it_is_refused_in_one_line_that_names_the_files_and_what_to_export_instead(
    here: Deployment, shared_data: Path, folder: str, code: str, message: str
) -> None:
    path = shared_data / folder
    here.apply("town", csv_provider(path))
    document = here.sync("town", DAY)
    assert document["status"] == "failed"
    assert codes(document) == ["RS-PRV-01", code, "RS-PRV-02"]
    issue = told(document, code)
    assert (issue["message"], issue["cure"]) == (message.format(path.name), CATALOGUE[code].cure)
    assert "Export" in issue["cure"]
    assert not any(here.roster("town").values())


@pytest.mark.parametrize("folder, code, message", FOLDERS)
def test_check_says_the_same_before_anything_is_synced(
    here: Deployment,
    shared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    code: str,
    message: str,
) -> None:
    here.apply("town", csv_provider(shared_data / folder))
    monkeypatch.setenv("ROSTER_HOME", str(here.home.folder))
    found = CliRunner().invoke(main, ["check", "town"])
    assert found.exit_code == 4
    assert f"{code} (sync failed) {message.format(Path(folder).name)}" in found.stdout
    assert CATALOGUE[code].cure in found.stdout


@pytest.mark.parametrize("folder, code, message", FOLDERS)
def test_a_night_with_it_after_a_good_one_loses_nothing(
    here: Deployment, shared_data: Path, tmp_path: Path, folder: str, code: str, message: str
) -> None:
    link = export(tmp_path, shared_data / "edfi-grand-bend" / "v1p1")
    here.apply("town", csv_provider(link, respect_enrolment_date=True, respect_academic_sessions=True))
    assert here.sync("town", DAY)["status"] == "successful"
    before = here.roster("town")
    export(tmp_path, shared_data / folder)
    for days in (1, 7):  # the last good extract still serves
        document = here.sync("town", DAY + timedelta(days))
        assert codes(document) == ["RS-PRV-01", code, "RS-SAFE-05"]
        assert told(document, code)["message"] == message.format("export")
        stale = told(document, "RS-SAFE-05")
        assert (stale["message"], stale["count"]) == (
            "Everything is used as it was on 2021-02-01, until 2021-02-08; after that, what is published "
            "stays as it is then.",
            6,
        )
        assert (document["status"], changed(document)) == ("failed", {})
        assert here.roster("town") == before
    document = here.sync("town", DAY + timedelta(8))  # it is too old by now
    assert codes(document) == ["RS-PRV-01", code, "RS-PRV-02"]
    assert (changed(document), here.roster("town")) == ({}, before)
    export(tmp_path, shared_data / "edfi-grand-bend" / "v1p1")
    document = here.sync("town", DAY + timedelta(9))
    assert (document["status"], set(changed(document))) == ("successful", {"schools"})  # as of today
    assert kept(here.roster("town")) == kept(before)


def test_the_other_provider_of_the_tenant_is_published_all_the_same(
    here: Deployment, shared_data: Path, tmp_path: Path
) -> None:
    link = export(tmp_path, shared_data / "edfi-grand-bend" / "v1p1")
    good = write_folder(tmp_path / "good", V1P1)
    here.apply(
        "town",
        csv_provider(good, merge={"priority": 2}),
        csv_provider(link, name="bend", merge={"priority": 1}),
    )
    here.sync("town", DAY)
    before = here.roster("town")
    export(tmp_path, shared_data / "edfi-grand-bend" / "v1p0")
    document = here.sync("town", DAY + timedelta(1))
    assert (document["status"], removed(document)) == ("partial", {})
    assert told(document, "RS-FILE-03")["provider"] == "bend"
    assert kept(here.roster("town")) == kept(before)
    assert document["counts"]["schools_published"] == 2


# ------------------------------------------------------------------------------------- partial, completed


def completed(folder: Path, shared_data: Path, *, prefix: str = "") -> list[dict[str, str]]:
    """A package of the 1,999 users; what is missing of it has no rows. Gives back the rows of users.csv."""
    folder.mkdir()
    headers = shared_data / "nicelion-mocker" / "header-only"
    for name in ("academicSessions", "courses", "classes", "enrollments"):
        shutil.copy(headers / f"{name}.csv", folder)
    shutil.copy(shared_data / "nicelion-mocker" / "partial" / "orgs.csv", folder)
    source = shared_data / "nicelion-mocker" / "partial" / "test-csv.csv"
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["sourcedId"] = prefix + row["sourcedId"]
        agents = [agent.strip() for agent in row["agentSourcedIds"].split(",") if agent.strip()]
        row["agentSourcedIds"] = ",".join(prefix + agent for agent in agents)
    with (folder / "users.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return rows


def by_role(rows: list[dict[str, str]], role: str) -> set[str]:
    return {row["sourcedId"] for row in rows if row["role"] == role}


def published(here: Deployment, tenant: str) -> dict[str, dict[str, Any]]:
    """The people by their id at the provider `sis`: each has exactly one."""
    people = [dict(row) for row in here.roster(tenant)["people"]]
    return {person["person_id"].removeprefix("sis/"): person for person in people}


def test_without_guardians_all_students_are_published_and_all_parents_dropped_with_a_reason(
    here: Deployment, shared_data: Path, tmp_path: Path
) -> None:
    rows = completed(tmp_path / "whole", shared_data)
    here.apply("town", csv_provider(tmp_path / "whole"))
    first, second = here.sync("town", DAY), here.sync("town", DAY)
    users = first["providers"][0]["collections"]["users"]
    assert (users["read"], users["kept"], users["dropped"]) == (1999, 1187, {"parent_data_off": 812})
    assert published(here, "town").keys() == by_role(rows, "student")
    assert first["providers"][0]["outcomes"] == {"matched": 0, "created": 1187, "unmatched": {}}
    assert codes(first) == ["RS-FILE-07", "RS-REF-04", "RS-SAFE-12", "RS-IDN-02"]
    assert told(first, "RS-REF-04")["message"] == (
        "1999 users name an org that is not there: slksldkmlsk49303."
    )
    assert "orgs.csv" in told(first, "RS-REF-04")["cure"]
    assert told(first, "RS-IDN-02")["count"] == 2
    assert (first["status"], second["status"], changed(second)) == ("successful", "successful", {})
    assert second["counts"]["matched_students"] == 1187


def test_with_parents_everybody_is_published_with_every_link(
    here: Deployment, shared_data: Path, tmp_path: Path
) -> None:
    rows = completed(tmp_path / "whole", shared_data)
    here.apply("town", csv_provider(tmp_path / "whole", **PARENTS))
    first, second = here.sync("town", DAY), here.sync("town", DAY)
    users = first["providers"][0]["collections"]["users"]
    assert (users["read"], users["kept"], users["dropped"]) == (1999, 1999, {})
    people = published(here, "town")
    # Nobody was folded: identifiers repeat the e-mails, two of which are shared.
    assert people.keys() == {row["sourcedId"] for row in rows}
    assert {json.loads(person["roles"].replace("'", '"').replace("(", "[").replace(")", "]"))[0][0]
            for person in people.values()} == {"student", "parent"}  # fmt: skip
    students, parents = by_role(rows, "student"), by_role(rows, "parent")
    agents = {
        (row["sourcedId"], agent) for row in rows for agent in row["agentSourcedIds"].split(",") if agent
    }
    wanted = {
        (one, other) if one in students else (other, one)
        for one, other in agents
        if len({one, other} & students) == len({one, other} & parents) == 1
    }
    links = [dict(row) for row in here.roster("town")["guardian_links"]]
    found = {
        (row["student_id"].removeprefix("sis/"), row["guardian_id"].removeprefix("sis/")) for row in links
    }
    assert found == wanted
    assert len(found) == len(links) > 1187
    assert {row["relationship"] for row in links} == {"parent"}
    assert (first["status"], second["status"], changed(second)) == ("successful", "successful", {})


def test_a_relationship_that_nobody_has_leaves_all_parents_out_with_that_reason(
    here: Deployment, shared_data: Path, tmp_path: Path
) -> None:
    completed(tmp_path / "whole", shared_data)
    here.apply("town", csv_provider(tmp_path / "whole", **{**PARENTS, "relationship_type": "guardian"}))
    document = here.sync("town", DAY)
    users = document["providers"][0]["collections"]["users"]
    assert (users["kept"], users["dropped"]) == (1187, {"other_relationship": 812})
    assert document["counts"]["guardian_links"] == 0


def test_shared_addresses_are_no_key_for_a_second_provider(
    here: Deployment, shared_data: Path, tmp_path: Path
) -> None:
    rows = completed(tmp_path / "whole", shared_data)
    completed(tmp_path / "again", shared_data, prefix="x-")
    shared = {email for email, count in Counter(row["email"] for row in rows).items() if count > 1}
    several = {row["sourcedId"] for row in rows if row["email"] in shared}
    assert (len(shared), len(several)) == (2, 4)
    here.apply(
        "town",
        csv_provider(tmp_path / "whole", merge={"priority": 2}, **PARENTS),
        csv_provider(
            tmp_path / "again",
            name="again",
            merge={"priority": 1, "attach_to_existing_users_only": True},
            **PARENTS,
        ),
    )
    document = here.sync("town", DAY)
    strong, weak = (provider["outcomes"] for provider in document["providers"])
    assert strong == {"matched": 0, "created": 1999, "unmatched": {}}
    assert (weak["matched"], weak["created"], sum(weak["unmatched"].values())) == (1995, 0, 4)
    labels = {person["person_id"] for person in map(dict, here.roster("town")["people"])}
    assert len(labels) == 1999
    alone = {label.removeprefix("sis/") for label in labels if " " not in label}
    assert alone == several


def test_a_package_of_users_alone_after_a_whole_one_takes_nothing_away(
    here: Deployment, shared_data: Path, tmp_path: Path
) -> None:
    """All rows of the school vanish and five collections are empty: nothing of that is believed."""
    completed(tmp_path / "whole", shared_data)
    link = export(tmp_path, shared_data / "edfi-grand-bend" / "v1p1")
    here.apply("town", csv_provider(link))
    here.sync("town", DAY)
    before = here.roster("town")
    export(tmp_path, tmp_path / "whole")
    document = here.sync("town", DAY + timedelta(1))
    assert document["status"] == "failed"
    assert changed(document).keys() <= {"schools"}
    assert {"RS-PRV-04", "RS-SAFE-04", "RS-SAFE-11"} <= set(codes(document))
    assert kept(here.roster("town")) == kept(before)
    users = document["providers"][0]["collections"]["users"]
    assert users["read"] == users["kept"] + sum(users["dropped"].values()) == 1999
