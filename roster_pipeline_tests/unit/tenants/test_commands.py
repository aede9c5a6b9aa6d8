"""`roster-pipeline tenants`, from files to the database and back."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import insert

from roster_pipeline.cli import main
from roster_pipeline.cli.tenants import apply_documents, read_documents
from roster_pipeline.codes import CATALOGUE, Issue
from roster_pipeline.store.database import schools
from roster_pipeline.store.home import Home
from roster_pipeline.syncs import Scope
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.refusals import DocumentRefused

NOW = datetime(2025, 10, 15, tzinfo=UTC)
CSV = {"name": "sis", "kind": "oneroster_csv", "path": "exports"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ROSTER_DATABASE_URL", raising=False)
    monkeypatch.delenv("ROSTER_LAKE_URL", raising=False)
    return tmp_path


def write(folder, slug, *providers, file=None, **settings):
    path = folder / (file or f"{slug}.yaml")
    document = {"tenant": slug, "region": "US", **settings, "providers": list(providers or [CSV])}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def run(*words):
    return CliRunner().invoke(main, ["tenants", *map(str, words)], catch_exceptions=False)


def stores():
    return Home.find(os.environ).stores()


def test_documents_go_in_and_come_out_again(home):
    file = write(home, "riverbend", CSV | {"exclude_schools": ["Annexe"]}, time_zone="America/Chicago")
    applied = run("apply", file)
    assert (applied.exit_code, applied.stderr) == (0, "")
    assert applied.stdout == "riverbend: stored as a new tenant; added sis\n"
    assert run("apply", file).stdout == "riverbend: unchanged\n"

    listed = run("list").stdout.splitlines()
    assert len(listed) == 2
    assert "riverbend" in listed[1]
    assert "sis (oneroster_csv)" in listed[1]

    shown = run("show", "riverbend")
    assert "time_zone: America/Chicago" in shown.stdout
    assert str(home / "exports") in shown.stdout
    assert "Excluded  Annexe" in shown.stdout

    (line,) = run("list", "--json").stdout.splitlines()
    assert json.loads(line)["document"]["providers"][0]["exclude_schools"] == ["Annexe"]
    (line,) = run("show", "riverbend", "--json").stdout.splitlines()
    assert [school["listed"] for school in json.loads(line)["schools"]] == ["Excluded"]


def test_one_bad_document_keeps_all_of_them_out(home):
    good, bad = write(home, "good"), write(home, "bad", CSV | {"respect_enrollment_date": True})
    broken = home / "broken.yaml"
    result = run("apply", good, bad, broken, "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"{bad}:7: providers[sis].respect_enrollment_date: ")
    assert lines[1].startswith(f"{broken}:1: ")
    assert lines[2:] == [f"  {code}: {CATALOGUE[code].cure}" for code in ("RS-CFG-01", "RS-CFG-09")]
    assert not (home / "home").exists()
    assert run("list").stdout == ""


def test_two_files_of_one_tenant_are_refused(home):
    result = run("apply", write(home, "riverbend"), write(home, "riverbend", file="again.yaml"))
    assert result.exit_code == 2
    assert "again.yaml:1: tenant: " in result.stderr
    assert "riverbend.yaml" in result.stderr


def test_a_file_given_twice_is_one_document(home):
    file = write(home, "riverbend")
    assert run("apply", file, file).stdout.count("stored as a new tenant") == 1


def test_a_missing_provider_is_refused_with_file_and_line_and_the_others_stay_out_too(home):
    annexe = CSV | {"name": "annexe", "merge": {"priority": 1}}
    assert run("apply", write(home, "riverbend", CSV | {"merge": {"priority": 2}}, annexe)).exit_code == 0
    result = run("apply", write(home, "riverbend"), write(home, "other"), "--yes")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{home / 'riverbend.yaml'}:3: providers: ")
    assert "annexe" in result.stderr
    assert "retired" in result.stderr
    assert "other" not in run("list").stdout


def test_another_host_is_refused_at_the_line_of_the_address(home):
    server = {"name": "sis", "kind": "classlink", "client_id": "env:A", "client_secret": "env:B"}
    run("apply", write(home, "riverbend", server | {"endpoint_url": "https://a.example/"}))
    result = run("apply", write(home, "riverbend", server | {"endpoint_url": "https://b.example/"}))
    assert result.exit_code == 2
    assert "riverbend.yaml:8: providers[sis].endpoint_url: " in result.stderr
    assert "RS-PRV-03" in result.stderr


def test_what_goes_out_of_scope_is_told_and_wants_yes(home):
    run("apply", write(home, "riverbend"))
    documents = read_documents([write(home, "riverbend", CSV | {"limit_to": {"grades": ["09"]}})])
    asked = []

    def scoping(_stores, old, new):
        asked.append((old.providers[0].limit_to.grades, new.providers[0].limit_to.grades))
        misspelt = Issue("RS-REF-07", "limit_to.grades names “09”, which nobody of sis has.")
        return Scope({"people": 12, "classes": 0, "guardian_links": 4000}, {"classes": 3}, (misspelt,))

    with stores().database.connect() as connection:
        before = registry.get(connection, "riverbend")
    with pytest.raises(DocumentRefused, match=r"--yes\. limit_to\.grades names .* \[RS-CFG-10\]") as caught:
        apply_documents(stores(), documents, NOW, confirmed=False, scoping=scoping)
    assert caught.value.message.startswith(f"{home / 'riverbend.yaml'}:1: ")
    assert (
        "12 people, 4,000 guardian links out of scope (sis.limit_to); it brings 3 classes"
        in caught.value.message
    )
    with stores().database.connect() as connection:
        assert registry.get(connection, "riverbend") == before

    told = apply_documents(stores(), documents, NOW, confirmed=True, scoping=scoping)
    assert told == [
        "riverbend: takes 12 people, 4,000 guardian links out of scope (sis.limit_to); it brings 3 classes, "
        "at the next complete sync",
        "riverbend: limit_to.grades names “09”, which nobody of sis has. (RS-REF-07, warning)",
        "riverbend: changed",
    ]
    assert asked == [((), ("09",))] * 2
    apply_documents(stores(), documents, NOW, confirmed=False, scoping=scoping)
    assert len(asked) == 2  # an unchanged document takes nothing out


def test_that_an_excluded_school_stays_published_is_told(home):
    run("apply", write(home, "riverbend"))
    documents = read_documents([write(home, "riverbend", CSV | {"exclude_schools": ["Annexe"]})])
    told = apply_documents(stores(), documents, NOW, confirmed=False, scoping=lambda *_: Scope({}))
    assert told == [
        "riverbend: what is published of schools that sis excludes stays as it is; "
        "`excluded_rosters: remove` takes it out",
        "riverbend: changed",
    ]


def test_a_change_that_takes_nothing_out_of_scope_needs_no_yes(home):
    run("apply", write(home, "riverbend"))
    documents = read_documents([write(home, "riverbend", region="NZ")])
    told = apply_documents(
        stores(), documents, NOW, confirmed=False, scoping=lambda *_: Scope({"people": 0, "classes": 0})
    )
    assert told == ["riverbend: changed; region US becomes NZ, from its next window on"]


def test_a_tenant_without_rosters_is_removed_at_once(home):
    run("apply", write(home, "riverbend"))
    result = run("remove", "riverbend")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert run("list").stdout == ""
    assert run("show", "riverbend").exit_code == 2


def test_a_tenant_with_rosters_is_removed_with_yes_and_its_rosters_stay(home):
    run("apply", write(home, "riverbend"))
    row = {"tenant": "riverbend", "school_id": "n", "name": "North School", "state": "published"}
    with stores().database.begin() as connection:
        connection.execute(insert(schools).values(**row, created_sync=1, changed_sync=1))
    result = run("remove", "riverbend")
    assert result.exit_code == 2
    assert "1 schools" in result.stderr
    assert "--yes" in result.stderr
    assert "riverbend" in run("list").stdout

    result = run("remove", "riverbend", "--yes")
    assert result.exit_code == 0
    assert "stays as it is: 1 schools" in result.stdout
    with stores().database.connect() as connection:
        assert registry.published(connection, "riverbend") == {"schools": 1}


def test_an_unknown_tenant_is_told_with_near_spellings(home):
    run("apply", write(home, "riverbend"))
    for command in ("show", "remove"):
        result = run(command, "riverbed")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "RS-CFG-08" in result.stderr
        assert "did you mean riverbend" in result.stderr
        assert CATALOGUE["RS-CFG-08"].cure in result.stderr
