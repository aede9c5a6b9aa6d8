"""The flavour `minimum` does as little, and as loosely, as a server can and still be called OneRoster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from roster_pipeline.sandbox.generator import District
from roster_pipeline.sandbox.source import for_version
from roster_pipeline_tests.unit.sandbox.conftest import Client, Start, signed

OFFERED = {"orgs": "org", "courses": "course", "classes": "class", "users": "user",
           "enrollments": "enrollment"}  # fmt: skip


@pytest.fixture
def client(start: Start) -> Client:
    return start("minimum")


def pages(client: Client, path: str) -> Iterator[list[dict[str, Any]]]:
    offset = 0
    while page := client.rows(path, OFFERED[path], limit=1000, offset=offset):
        yield page
        offset += len(page)


def rows(client: Client, path: str) -> list[dict[str, Any]]:
    return [row for page in pages(client, path) for row in page]


def test_it_serves_every_row_in_pages_of_a_hundred_and_counts_none(
    client: Client, district: District
) -> None:
    tables = for_version(district.tables, "1.1")
    for path in OFFERED:
        sizes = [len(page) for page in pages(client, path)]
        assert sum(sizes) == len(tables[path])
        assert max(sizes) == min(100, len(tables[path]))
    headers = client.get("users", limit=5).headers
    assert not {"x-total-count", "link", "x-count", "x-perm-rev"} & set(headers)


@pytest.mark.parametrize(
    "query", [{"sort": "sourcedId"}, {"orderBy": "asc"}, {"filter": "role='student'"}, {"fields": "email"}]
)
def test_it_understands_limit_and_offset_alone(client: Client, query: dict[str, str]) -> None:
    assert client.get("users", limit=5, **query).status_code == 400


@pytest.mark.parametrize(
    "path", ["academicSessions", "terms", "gradingPeriods", "schools", "students", "teachers", "demographics"]
)
def test_it_offers_five_lists_and_nothing_else(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_it_offers_nothing_below_a_list(client: Client) -> None:
    class_id, user = (client.rows(path, OFFERED[path])[0]["sourcedId"] for path in ("classes", "users"))
    for path in (f"classes/{class_id}", f"classes/{class_id}/students", f"users/{user}", "users/x/classes"):
        assert client.get(path).status_code == 404


def test_its_rows_name_no_session(client: Client) -> None:
    assert not any("terms" in row for row in rows(client, "classes"))
    assert not any("schoolYear" in row for row in rows(client, "courses"))


def test_its_references_have_no_address_and_its_roles_are_words(client: Client) -> None:
    for row in rows(client, "enrollments"):
        assert set(row["user"]) == set(row["class"]) == {"sourcedId"}
        assert isinstance(row["school"], str)
    users = rows(client, "users")
    assert {row["roles"] for row in users} >= {"student", "teacher"}
    assert not any("role" in row for row in users)
    assert all(isinstance(org, str) for row in users for org in row["orgs"])


def test_its_truth_values_are_words_numbers_and_json_s_own(client: Client) -> None:
    kinds = {type(row["enabledUser"]) for row in rows(client, "users")}
    kinds |= {type(row["primary"]) for row in rows(client, "enrollments") if "primary" in row}
    assert kinds == {bool, int, str}


def test_rows_that_are_to_go_are_called_so_in_three_ways(start: Start, district: District) -> None:
    tables = {
        **district.tables,
        "users": [{**row, "status": "tobedeleted"} for row in district.tables["users"]],
    }
    found = {row["status"] for row in rows(start("minimum", tables), "users")}
    assert found == {"tobedeleted", "toBeDeleted", "inactive"}


def test_it_takes_tokens_and_signatures(client: Client) -> None:
    url = f"{client.serving.base_url}/orgs?limit=1"
    assert httpx.get(url, headers={"authorization": signed(url)}).status_code == 200
    assert client.fetch_token().status_code == 200
    assert client.get("orgs").status_code == 200
