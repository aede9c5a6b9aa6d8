"""Each misbehaviour does what it says, where and as often as it says, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import httpx
import orjson
import pytest

from roster_pipeline.sandbox.misbehaviour import Misbehaviour, What
from roster_pipeline_tests.unit.sandbox.conftest import SECRET, Client, Start, signed


def misbehaving(start: Start, *faults: Misbehaviour, flavour: str = "classlink") -> Client:
    return start(flavour, misbehaviour=faults)


def test_refused_credentials_are_refused_from_then_on(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("refuse-credentials", after=2), flavour="powerschool")
    assert [client.get("orgs").status_code for _ in range(3)] == [200, 200, 401]
    assert client.fetch_token().status_code == 401


def test_credentials_can_be_refused_at_once(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("refuse-credentials"), flavour="powerschool")
    assert client.fetch_token().json() == {"error": "invalid_client"}
    assert misbehaving(start, Misbehaviour("refuse-credentials")).get("orgs").status_code == 401


def test_a_token_expires_after_its_requests_and_a_new_one_helps(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("token-expires", 2), flavour="powerschool")
    assert [client.get("orgs").status_code for _ in range(3)] == [200, 200, 401]
    client.fetch_token()
    assert client.get("orgs").status_code == 200


def test_the_token_endpoint_can_answer_a_page_for_people(start: Start) -> None:
    answer = misbehaving(start, Misbehaviour("token-html"), flavour="powerschool").fetch_token()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_faults_at_the_token_endpoint_leave_the_data_alone(start: Start) -> None:
    faults = [
        Misbehaviour("too-many-requests", endpoint="token", times=1),
        Misbehaviour("server-error", endpoint="token", after=1, times=1),
        Misbehaviour("redirect", "https://elsewhere.example/", endpoint="token", after=2, times=1),
    ]
    client = misbehaving(start, *faults, flavour="powerschool")
    assert [client.fetch_token().status_code for _ in range(4)] == [429, 500, 302, 200]
    assert client.get("orgs").status_code == 200


def test_a_redirect_names_the_other_host(start: Start) -> None:
    answer = misbehaving(start, Misbehaviour("redirect", "https://elsewhere.example/login")).get("orgs")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://elsewhere.example/login")


def test_a_hanging_server_does_not_answer_and_still_stops(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("hang", endpoint="users"))
    url = f"{client.serving.base_url}/users"
    with pytest.raises(httpx.ReadTimeout):
        client.http.get(url, headers={"authorization": signed(url)}, timeout=0.2)
    assert client.get("orgs").status_code == 200


def test_too_many_requests_end_after_their_number(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("too-many-requests", 7, times=2))
    answers = [client.get("orgs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert "server_busy" in answers[0].text
    silent = misbehaving(start, Misbehaviour("too-many-requests", ""))
    assert "retry-after" not in silent.get("orgs").headers


def test_server_errors_end_after_their_number(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("server-error", 503, endpoint="users", after=1, times=1))
    assert [client.get("users").status_code for _ in range(3)] == [200, 503, 200]
    assert client.get("orgs").status_code == 200


@pytest.mark.parametrize("what, status", [("forbidden", 403), ("not-found", 404)])
def test_an_endpoint_can_be_closed_or_absent(start: Start, what: What, status: int) -> None:
    client = misbehaving(start, Misbehaviour(what, endpoint="courses"))
    assert client.get("courses").status_code == status
    assert client.get("classes").status_code == 200


def test_a_minimal_server_refuses_all_but_limit_and_offset(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("refuse-parameters"))
    assert client.get("users", limit=5, offset=5).status_code == 200
    for name, value in (("filter", "status='active'"), ("sort", "sourcedId"), ("fields", "sourcedId")):
        assert client.get("users", **{name: value}).status_code == 400


def test_a_filter_can_be_ignored(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("ignore-filter"))
    answer = client.get("users", filter="role='teacher'", limit=1)
    assert answer.headers["x-total-count"] == client.get("users", limit=1).headers["x-total-count"]


def test_ignoring_offset_repeats_the_first_page(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("ignore-offset"))
    assert client.rows("users", limit=5, offset=5) == client.rows("users", limit=5)


def test_ignoring_limit_sends_everything(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("ignore-limit"))
    answer = client.get("users", limit=5)
    assert str(len(answer.json()["users"])) == answer.headers["x-total-count"]


def test_a_silent_clamp_without_counts_tells_nothing(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("clamp", 7), Misbehaviour("no-counts"), flavour="oneroster-1.1")
    answer = client.get("users", limit=100)
    assert len(answer.json()["users"]) == 7
    assert not {"x-total-count", "link", "x-count"} & set(answer.headers)


def test_a_total_can_be_wrong_either_way(start: Start) -> None:
    true = int(start("classlink").get("users").headers["x-total-count"])
    for off, told in ((None, true + 1), (-3, true - 3)):
        client = misbehaving(start, Misbehaviour("wrong-total", off))
        assert client.get("users").headers["x-total-count"] == str(told)


def test_a_collection_can_come_empty_with_a_total_of_none(start: Start) -> None:
    answer = misbehaving(start, Misbehaviour("empty", endpoint="users")).get("users")
    assert (answer.json(), answer.headers["x-total-count"]) == ({"users": []}, "0")


def test_an_answer_can_be_a_page_for_people(start: Start) -> None:
    answer = misbehaving(start, Misbehaviour("not-json")).get("users")
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")


def test_a_truncated_answer_is_complete_for_http_and_broken_for_json(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("truncated", after=1, times=1))
    assert client.rows("users", limit=3)
    answer = client.get("users", limit=3)
    assert answer.status_code == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.content)
    assert client.rows("users", limit=3)


@pytest.mark.parametrize("shape", [None, "statusInfoSet"])
def test_success_can_carry_an_error_in_either_shape(start: Start, shape: str | None) -> None:
    answer = misbehaving(start, Misbehaviour("envelope-in-200", shape)).get("users")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["statusInfoSet"][0] if shape else body)["imsx_codeMajor"] == "failure"
    assert "users" not in body


def test_the_collection_can_be_missing_from_the_answer(start: Start) -> None:
    answer = misbehaving(start, Misbehaviour("no-collection")).get("users", limit=5, offset=10)
    assert (answer.status_code, answer.json()) == (200, {"offset": 10, "limit": 5})


def test_a_page_can_be_of_another_collection(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("other-collection", "classes", endpoint="users"))
    for query in ({}, {"sort": "familyName", "filter": "role='student'"}):
        assert "classType" in client.rows("users", limit=2, **query)[0]


def test_rows_can_be_wrapped_in_the_endpoints_own_name_or_not_at_all(start: Start) -> None:
    own = misbehaving(start, Misbehaviour("own-wrapper"))
    assert list(own.get("schools").json()) == ["schools"]
    assert list(own.get("students").json()) == ["students"]
    assert isinstance(misbehaving(start, Misbehaviour("bare-array")).get("users").json(), list)


def test_rows_can_be_wrapped_in_any_word_and_beside_other_lists(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("own-wrapper", "User", endpoint="users"))
    assert list(client.get("users").json()) == ["User"]
    assert list(client.get("orgs").json()) == ["orgs"]
    client.sandbox.misbehave(Misbehaviour("other-arrays"))
    assert list(client.get("users").json()) == ["users", "warnings"]


def test_what_is_not_offered_can_be_refused_with_another_status(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("not-found", 400, endpoint="terms"))
    assert (client.get("terms").status_code, client.get("orgs").status_code) == (400, 200)


def test_rows_can_lack_their_ids(start: Start) -> None:
    rows = misbehaving(start, Misbehaviour("no-source-ids", 3)).rows("users", limit=9)
    assert ["sourcedId" in row for row in rows] == [False, True, True] * 3
    assert not any(
        "sourcedId" in row for row in misbehaving(start, Misbehaviour("no-source-ids")).rows("users")
    )


def test_a_server_can_mend_its_ways(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("server-error"))
    assert client.get("orgs").status_code == 500
    client.sandbox.misbehave()
    assert client.get("orgs").status_code == 200
    assert SECRET not in repr(client.sandbox.asked)


def test_no_misbehaviour_is_left_untested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [what for what in get_args(What) if f'"{what}"' not in source] == []
