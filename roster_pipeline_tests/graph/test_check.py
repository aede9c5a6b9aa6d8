"""`roster-pipeline check` from the outside: what it says of servers and files, and how it ends."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from roster_pipeline.cli import main
from roster_pipeline.codes import CATALOGUE
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.sandbox.generator import DAY, as_second_provider, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.server import Serving
from roster_pipeline.sandbox.source import FAMILY
from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import (
    SECRETS,
    Deployment,
    csv_provider,
    rest_provider,
    serving,
)

DISTRICT = generate(60, seed=3)


@pytest.fixture
def server() -> Iterator[Serving]:
    with serving(copy.deepcopy(DISTRICT.tables), "classlink") as found:
        yield found


def checked(tenant: str, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON document, which is all that is on stdout."""
    told = CliRunner().invoke(main, ["check", tenant, "--json", *words])
    assert told.stderr == ""
    (line,) = told.stdout.splitlines()
    return told.exit_code, json.loads(line)


def codes(source: dict[str, Any]) -> list[str]:
    return [issue["code"] for issue in source["issues"]]


def test_a_sound_provider_before_the_first_sync(here: Deployment, server: Serving) -> None:
    here.apply("town", rest_provider(server, page_size=50))
    code, told = checked("town")
    (provider,) = told["providers"]
    assert (code, provider["state"], told["known_people"]) == (0, "usable", 0)
    assert list(provider["collections"]) == list(COLLECTIONS)
    users = provider["collections"]["users"]
    total = server.sandbox.totals["users"]
    assert (users["state"], users["rows"], users["total"]) == ("ok", 50, total)
    assert "OAuth 1.0a" in users["uses"]
    assert provider["users"]["new"] == provider["users"]["users"] > 0
    # A page of each collection, and one request more at most to find the version.
    assert len(server.sandbox.asked) <= len(COLLECTIONS) + 1


def test_after_a_sync_everybody_on_the_page_is_known_by_id_and_name(
    here: Deployment, server: Serving
) -> None:
    here.apply("town", rest_provider(server))
    here.sync("town", DAY)
    code, told = checked("town")
    users = told["providers"][0]["users"]
    assert code == 0
    assert (users["by_link"], users["by_key"], users["ambiguous"], users["new"]) == (users["users"], 0, 0, 0)
    assert users["same_names"] == users["by_link"]


def test_a_second_provider_s_matches_and_near_misses_are_counted(here: Deployment, server: Serving) -> None:
    second = as_second_provider(DISTRICT, other_domain=0, missing=0, own=0).tables
    adults = [row for row in second["users"] if row["roles"][0][0] == "teacher"]
    adults[0]["email"] = adults[0]["email"].upper()
    with serving(second, "oneroster-1.1") as other:
        here.apply("town", rest_provider(server))
        here.sync("town", DAY)
        merge = {"priority": 10, "attach_to_existing_users_only": True}
        weak = rest_provider(other, name="other", merge=merge)
        here.apply("town", rest_provider(server, merge={"priority": 20}), weak)
        code, told = checked("town")
        text = CliRunner().invoke(main, ["check", "town"]).stdout
    strong, weak = told["providers"]
    assert (code, strong["name"], weak["name"]) == (0, "sis", "other")
    users = weak["users"]
    without = sum(not row.get("email") for row in second["users"] if row["roles"][0][0] not in FAMILY)
    assert (users["near_misses"], users["without_key"]) == (1, without)
    assert (users["by_link"], users["new"]) == (0, 1 + without)
    assert users["by_key"] == users["users"] - users["new"] > 60
    assert "letter case" in text
    assert "would stay unmatched" in text
    assert adults[0]["email"].lower() not in text.lower()


def test_two_providers_matches_are_counted_before_the_first_sync(here: Deployment, server: Serving) -> None:
    second = as_second_provider(DISTRICT, other_domain=0, missing=0, own=0).tables
    with serving(second, "oneroster-1.1") as other:
        strong = rest_provider(server, merge={"priority": 20})
        here.apply("town", rest_provider(other, name="other", merge={"priority": 10}), strong)
        code, told = checked("town")
        text = CliRunner().invoke(main, ["check", "town"]).stdout
    first, then = (provider["users"] for provider in told["providers"])
    assert (code, first["new"], first["by_key"]) == (0, first["users"], 0)
    assert then["by_key"] == then["users"] - then["new"] > 60
    assert (told["known_people"], text.count("nobody is known yet")) == (0, 1)


def test_people_of_a_directory_can_be_matched_before_anything_is_published(
    here: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "logins.csv").write_text(
        "id,email\n1,s1@north.example\n2,S2@north.example\n", encoding="utf-8"
    )
    directory = {"name": "logins", "kind": "csv", "path": str(tmp_path / "logins.csv")}
    school = School(tmp_path / "school").write()
    here.apply("town", csv_provider(school.folder), directories=[directory])
    code, told = checked("town")
    users = told["providers"][0]["users"]
    assert (code, users["by_key"], users["near_misses"]) == (0, 1, 1)
    assert told["directories"][0]["collections"]["people"]["rows"] == 2


@pytest.mark.parametrize(
    "misbehaviour, exit_code, state, code",
    [
        (Misbehaviour("refuse-credentials"), 4, "unusable", "RS-AUTH-01"),
        (Misbehaviour("truncated", endpoint="users"), 4, "unusable", "RS-PAGE-02"),
        (Misbehaviour("forbidden", endpoint="academicSessions"), 3, "in part", "RS-AUTH-04"),
        (Misbehaviour("no-source-ids", 5, endpoint="users"), 0, "usable", "RS-ROW-01"),
        (Misbehaviour("empty"), 0, "usable", "RS-PRV-05"),
    ],
)
def test_what_is_wrong_is_told_with_its_code_and_its_cure(
    here: Deployment, server: Serving, misbehaviour: Misbehaviour, exit_code: int, state: str, code: str
) -> None:
    here.apply("town", rest_provider(server))
    server.sandbox.misbehave(misbehaviour)
    ended, told = checked("town")
    (provider,) = told["providers"]
    assert (ended, provider["state"]) == (exit_code, state)
    assert code in codes(provider)
    text = CliRunner().invoke(main, ["check", "town"]).stdout
    assert code in text
    assert CATALOGUE[code].cure in text


def test_one_unusable_provider_says_nothing_about_the_other(
    here: Deployment, server: Serving, tmp_path: Path
) -> None:
    school = School(tmp_path / "school").write()
    here.apply(
        "town",
        rest_provider(server, merge={"priority": 2}),
        csv_provider(school.folder, name="files", merge={"priority": 1}),
    )
    server.sandbox.misbehave(Misbehaviour("refuse-credentials"))
    code, told = checked("town")
    assert (code, [source["state"] for source in told["providers"]]) == (4, ["unusable", "usable"])


def test_a_document_can_be_checked_before_it_is_applied(
    here: Deployment, server: Serving, tmp_path: Path
) -> None:
    """As for a provider that has moved: are these the same ids, with the same names?"""
    here.apply("town", rest_provider(server))
    here.sync("town", DAY)
    with serving(DISTRICT.tables, "classlink") as moved:
        document = {"tenant": "town", "region": "US", "providers": [rest_provider(moved)]}
        (tmp_path / "town.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        code, told = checked("town", "--document", str(tmp_path / "town.yaml"))
    users = told["providers"][0]["users"]
    assert (code, users["same_names"]) == (0, users["users"])
    assert len(moved.sandbox.asked) == len(COLLECTIONS)
    assert (
        CliRunner().invoke(main, ["check", "city", "--document", str(tmp_path / "town.yaml")]).exit_code == 2
    )


def test_an_unknown_tenant_ends_with_2(here: Deployment) -> None:
    told = CliRunner().invoke(main, ["check", "nobody"])
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.startswith("RS-CFG-08")


def test_nothing_is_stored_and_nobody_is_named(here: Deployment, server: Serving) -> None:
    here.apply("town", rest_provider(server))
    told = CliRunner().invoke(main, ["check", "town"]).output + json.dumps(checked("town")[1])
    with here.stores.database.connect() as connection:
        assert ledger.past(connection, "town") == []
    assert not list(Path(here.home.lake_url).rglob("*"))
    people = DISTRICT.tables["users"]
    for word in {row["email"] for row in people if row.get("email")} | {SECRETS["SANDBOX_SECRET"]}:
        assert word not in told
    names = {row["familyName"] for row in people if len(row["familyName"]) > 4}
    assert not [name for name in names if name in told]
