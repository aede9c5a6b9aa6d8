"""Each misbehaviour does what it says, where and as often as it says, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import httpx
import orjson
import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.sandbox.misbehaviour import FAULTS, Misbehaviour, What, parse
from roster_pipeline.sandbox.mishaps import MISHAPS
from roster_pipeline_tests.unit.sandbox.conftest import KEY, SECRET, Client, Start, signed


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


def test_a_filter_can_be_refused_and_nothing_else(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("refuse-filter"))
    assert client.get("users", limit=5, sort="sourcedId").status_code == 200
    assert client.get("users", filter="role='teacher'").status_code == 400


def test_a_filter_by_date_can_be_taken_for_days_or_for_local_time(start: Start) -> None:
    """All rows are of 6:00 on one day."""

    def given(hour: int, *faults: Misbehaviour) -> int:
        client = misbehaving(start, *faults)
        answer = client.get("users", filter=f"dateLastModified>='2026-07-01T{hour:02}:00:00.000Z'", limit=1)
        return len(answer.json()["users"])

    assert [given(hour) for hour in (5, 6, 7)] == [1, 1, 0]
    assert given(7, Misbehaviour("filter-by-day")) == 1
    late, early = Misbehaviour("filter-in-local-time"), Misbehaviour("filter-in-local-time", -3)
    assert [given(hour, late) for hour in (0, 5)] == [0, 0]
    assert [given(hour, early) for hour in (9, 10)] == [1, 0]
    client = misbehaving(start, Misbehaviour("filter-by-day"))
    assert client.get("users", filter="role='teacher'", limit=1).status_code == 200


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


def test_a_rotated_secret_makes_the_old_one_and_its_tokens_void(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("rotate-credentials", after=1), flavour="powerschool")
    assert [client.get("orgs").status_code for _ in range(2)] == [200, 401]
    assert client.fetch_token().status_code == 401
    assert client.serving.token_url
    form = {"grant_type": "client_credentials"}
    answer = client.http.post(client.serving.token_url, data=form, auth=(KEY, f"{SECRET}-new"))
    client.token = answer.json()["access_token"]
    assert client.get("orgs").status_code == 200


def test_a_rotated_secret_is_what_signatures_need(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("rotate-credentials", "another"))
    assert client.get("orgs").status_code == 401
    url = f"{client.serving.base_url}/orgs"
    header = {"authorization": signed(url, secret="another")}
    assert client.http.get(url, headers=header).status_code == 200


def test_a_token_lapses_before_its_time(start: Start) -> None:
    now = [1_000_000.0]
    fault = Misbehaviour("token-lifetime", 2)
    client = start("powerschool", misbehaviour=fault, clock=lambda: now[0])
    assert client.fetch_token().json()["expires_in"] == 3600
    assert client.get("orgs").status_code == 200
    now[0] += 2
    assert client.get("orgs").status_code == 401


def test_patience_can_be_asked_for_as_a_date(start: Start) -> None:
    now = 1_790_000_000.0
    for seconds, year in ((90, "2026"), (999_999_999_999, "9999")):
        fault = Misbehaviour("too-many-requests", f"date:{seconds}")
        # The signature's time is the client's, so the clock only dates the answer.
        told = start("classlink", misbehaviour=fault, clock=lambda: now).get("orgs").headers["retry-after"]
        assert year in told
        assert told.endswith(" GMT")


@pytest.mark.parametrize(
    "value, wrong",
    [("latin-1", True), ("invalid", True), ("utf-16", True), ("surrogates", False), ("nul", False)],
)
def test_an_answer_can_be_in_a_wrong_encoding(start: Start, value: str, wrong: bool) -> None:
    content = misbehaving(start, Misbehaviour("encoding", value)).get("users", limit=3).content
    try:
        text = content.decode()
    except UnicodeDecodeError:
        assert wrong
    else:
        assert not wrong
        assert {"surrogates": "\\ud800", "nul": "\\u0000"}[value] in text


def test_an_answer_can_begin_with_a_byte_order_mark(start: Start) -> None:
    content = misbehaving(start, Misbehaviour("encoding", "utf-8-sig")).get("orgs").content
    assert content.startswith(b"\xef\xbb\xbf{")


def test_lists_can_be_nested_deeply(start: Start) -> None:
    content = misbehaving(start, Misbehaviour("deep-nesting", 500)).get("users", limit=2).content
    assert b"[" * 500 + b"]" * 500 in content
    assert len(orjson.loads(content)["users"]) == 2


def test_values_can_be_gigantic(start: Start) -> None:
    rows = misbehaving(start, Misbehaviour("huge-values", 2)).rows("users", limit=2)
    assert all(len(row["givenName"]) > 2048 for row in rows)


def ids(client: Client, limit: int, offset: int = 0) -> list[str]:
    rows = client.rows("users", sort="sourcedId", limit=limit, offset=offset)
    return [row["sourcedId"] for row in rows]


def test_pages_can_be_shifted_either_way(start: Start) -> None:
    every = ids(start("classlink"), limit=1000)
    for by in (3, -3):
        client = misbehaving(start, Misbehaviour("shift-pages", by))
        assert ids(client, limit=10) == every[:10]
        assert ids(client, limit=10, offset=10) == every[10 + by : 20 + by]


def test_a_page_can_be_repeated_in_the_place_of_the_next(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("repeat-pages", after=1, times=1))
    first, second, again = (ids(client, limit=10, offset=offset) for offset in (0, 10, 10))
    assert (first == second, first == again) == (True, False)


def test_pages_can_be_cut_from_another_order_each(start: Start) -> None:
    fault = Misbehaviour("shuffle-pages")
    client = start("classlink", misbehaviour=fault, seed=4)
    count = len(start("classlink").rows("users", limit=1000))
    read = [one for offset in range(0, count, 50) for one in ids(client, limit=50, offset=offset)]
    assert len(read) == count
    assert len(set(read)) < count
    assert read[:50] == ids(client, limit=50)
    assert read[:50] == ids(start("classlink", misbehaviour=fault, seed=4), limit=50)
    assert read[:50] != ids(start("classlink", misbehaviour=fault, seed=5), limit=50)


def test_pages_can_go_on_for_ever(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("endless-pages"))
    answer = client.get("users", limit=20, offset=100_000)
    found = [row["sourcedId"] for row in answer.json()["users"]]
    assert len(set(found)) == 20
    assert not set(found) & set(ids(client, limit=20, offset=200_000))
    assert "x-total-count" not in answer.headers


def test_a_total_can_change_from_page_to_page(start: Start) -> None:
    client = misbehaving(start, Misbehaviour("changing-total", -2))
    told = [
        int(client.get("users", limit=10, offset=offset).headers["x-total-count"]) for offset in (0, 10, 20)
    ]
    assert [told[0] - one for one in told] == [0, 2, 4]


# ---------------------------------------------------------------- as text


@pytest.mark.parametrize(
    "text, fault",
    [
        ("hang", Misbehaviour("hang")),
        ("clamp=7@users", Misbehaviour("clamp", 7, "users")),
        ("too-many-requests=", Misbehaviour("too-many-requests", "")),
        ("too-many-requests=date:9@token", Misbehaviour("too-many-requests", "date:9", "token")),
        ("shift-pages=-3,after=1", Misbehaviour("shift-pages", -3, after=1)),
        ("drip=0.5@orgs,after=2,times=3", Misbehaviour("drip", 0.5, "orgs", 2, 3)),
        ("redirect=https://a.example/x?a=1,2", Misbehaviour("redirect", "https://a.example/x?a=1,2")),
    ],
)  # fmt: skip
def test_a_fault_can_be_told_as_text(text: str, fault: Misbehaviour) -> None:
    assert parse(text) == fault
    assert str(fault) == text


@pytest.mark.parametrize(
    "text, told",
    [
        ("hangs", "There is no fault 'hangs'. There are: refuse-credentials, "),
        ("", "There is no fault ''"),
        ("hang@nowhere", "There is no endpoint 'nowhere'. There are: orgs, "),
        ("hang=5", "The fault hang has no value"),
        ("clamp=many", "'many' is no value of clamp, which means: at most VALUE rows a page."),
        ("encoding=ebcdic", "is latin-1"),
        ("hang,often=2", "Write WHAT[=VALUE][@ENDPOINT][,after=N][,times=N]"),
        ("hang,times=-1", "Write WHAT[=VALUE]"),
    ],
)
def test_a_text_that_names_no_fault_is_refused_with_what_there_is(text: str, told: str) -> None:
    with pytest.raises(CodedError) as refused:
        parse(text)
    assert refused.value.code == "RS-CFG-12"
    assert told in refused.value.message


def test_every_fault_is_told_in_words() -> None:
    assert tuple(FAULTS) == get_args(What)


def test_no_misbehaviour_is_left_untested() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    quoted = [what for what in get_args(What) if f'("{what}"' in source]
    assert set(get_args(What)) - set(quoted) - MISHAPS.keys() == set()
