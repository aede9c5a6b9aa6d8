"""The REST kinds: addresses, versions, ways of authenticating, the order of reading, stand-in endpoints."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa
import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.auth import SCOPES
from roster_pipeline.oneroster.client import Limits
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS
from roster_pipeline.providers import KINDS, probe, rest
from roster_pipeline.providers.classlink import DIALECT as CLASSLINK
from roster_pipeline.providers.reading import CollectionRead, Probed
from roster_pipeline.providers.rest import base_url, pasted_version
from roster_pipeline_tests.unit.oneroster.server import (
    KEY,
    SECRET,
    TOKEN,
    Clock,
    Loopback,
    Pages,
    Reply,
    Request,
    School,
    Signed,
    Tokens,
    district,
    provider,
    reading,
    ref,
    serving,
)

V1P2 = "/ims/oneroster/rostering/v1p2"


@contextmanager
def signed_school(**habits: Any) -> Iterator[tuple[School, Loopback]]:
    school = School(**{"access": Signed(), **habits})
    with serving(school) as server:
        yield school, server


def read(url: str, kind: str = "classlink", **options: Any) -> tuple[dict[str, CollectionRead], Pages]:
    pages = Pages()
    found = KINDS[kind](provider(url, kind, **options), pages, reading())
    assert [entry.name for entry in found] == list(COLLECTIONS)
    return {entry.name: entry for entry in found}, pages


def states(found: dict[str, CollectionRead]) -> set[str]:
    return {entry.state for entry in found.values()}


def codes(found: dict[str, CollectionRead]) -> dict[str, list[str]]:
    return {name: [issue.code for issue in entry.issues] for name, entry in found.items() if entry.issues}


def all_there(found: dict[str, CollectionRead], pages: Pages, rows: dict[str, list[Any]]) -> bool:
    return states(found) == {"ok"} and all(
        sorted(pages.ids(name)) == sorted(row["sourcedId"] for row in rows[name])
        and found[name].rows == len(rows[name])
        for name in COLLECTIONS
    )


# ------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "root, version, wanted",
    [
        ("https://sis.powerschool.com/api/", "1.1", "https://sis.powerschool.com/api/ims/oneroster/v1p1"),
        ("https://sis.powerschool.com/api", "1.1", "https://sis.powerschool.com/api/ims/oneroster/v1p1"),
        ("https://x.example.org", "1.2", "https://x.example.org/ims/oneroster/rostering/v1p2"),
        ("https://x.example.org/ims/oneroster/v1p1/", "1.1", "https://x.example.org/ims/oneroster/v1p1"),
        ("https://x.example.org/IMS/OneRoster/v1p1", "1.1", "https://x.example.org/IMS/OneRoster/v1p1"),
        ("https://x.example.org/ims/oneroster", "1.1", "https://x.example.org/ims/oneroster/v1p1"),
        ("https://x.example.org/ims/oneroster/", "1.2", "https://x.example.org/ims/oneroster/rostering/v1p2"),
        (
            "https://x.example.org/a/ims/oneroster/rostering/v1p2//",
            "1.2",
            "https://x.example.org/a/ims/oneroster/rostering/v1p2",
        ),
        (
            "https://x.example.org/ws/v1p1/ims/oneroster/v1p1",
            "1.1",
            "https://x.example.org/ws/v1p1/ims/oneroster/v1p1",
        ),
    ],
)
def test_the_base_path_is_appended_once_whatever_was_pasted(root: str, version: str, wanted: str) -> None:
    assert base_url(root, version) == wanted


def test_only_a_whole_base_path_tells_the_version() -> None:
    assert pasted_version("https://x.example.org/ims/oneroster/v1p1/") == "1.1"
    assert pasted_version("https://x.example.org/ims/oneroster/rostering/v1p2") == "1.2"
    assert pasted_version("https://x.example.org/campus/oneroster/v1p2/app") is None


@pytest.mark.parametrize(
    "url", ["http://sis.example.org/", "https://user:pw@sis.example.org/", "sis.example.org"]
)
def test_an_unsafe_address_fails_everything_before_anything_is_sent(url: str) -> None:
    found, _ = read(url)
    assert states(found) == {"failed"}
    assert {code for told in codes(found).values() for code in told} == {"RS-CFG-06"}


def test_an_unsafe_token_address_as_well() -> None:
    with serving(School()) as server:
        found, _ = read(server.url, "powerschool", token_url="http://sis.example.org/token")
    assert codes(found)["users"] == ["RS-CFG-06"]
    assert server.requests == []


# --------------------------------------------------------------------------------------------- kinds


def test_classlink_is_read_with_signed_requests_at_1_1() -> None:
    with signed_school() as (school, server):
        found, pages = read(server.url + "/")
    assert all_there(found, pages, school.rows)
    assert {request.path.rsplit("/", 1)[0] for request in server.requests} == {"/ims/oneroster/v1p1"}


def test_powerschool_is_read_with_a_token_at_1_1() -> None:
    tokens = Tokens(scope=SCOPES["1.1"])
    school = School(access=tokens, base="/api/ims/oneroster/v1p1")
    with serving(school) as server:
        token_url = f"{server.url}/api/ims/oneroster/v1p1/token"
        found, pages = read(f"{server.url}/api/", "powerschool", token_url=token_url)
    assert all_there(found, pages, school.rows)
    assert len(tokens.given) == 1


def test_powerschool_without_a_token_url_is_told_what_is_missing() -> None:
    found, _ = read("https://sis.example.org/", "powerschool")
    assert codes(found)["orgs"] == ["RS-CFG-05"]


def test_a_provider_at_1_2_is_found_and_asked_with_the_scope_of_1_2() -> None:
    tokens = Tokens(scope=SCOPES["1.2"])
    school = School(district(version="1.2"), access=tokens, base=V1P2)
    with serving(school) as server:
        found, pages = read(server.url, "oneroster", token_url=f"{server.url}/token?appName=x")
    assert all_there(found, pages, school.rows)
    users = pages.tables["users"][0].to_pylist()
    assert orjson.loads(users[1]["roles"]) == [["student", "org-1", "", ""]]


@pytest.mark.parametrize("refusal", [404, 400, 403, 302])
def test_a_provider_at_1_1_is_found_after_a_clear_no_to_1_2(refusal: int) -> None:
    tokens = Tokens(scope=SCOPES["1.1"])  # a scope of 1.2 is refused, and none as well
    school = School(access=tokens)

    def answer(request: Request) -> Reply:
        return Reply(status=refusal) if request.path.startswith(V1P2) else school(request)

    with serving(answer) as server:
        found, pages = read(server.url, "oneroster", token_url=f"{server.url}/token")
    assert all_there(found, pages, school.rows)


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
@pytest.mark.parametrize("refusal", [404, 401])
def test_a_server_without_tokens_is_found_with_either_hash(method: str, refusal: int) -> None:
    school = School(access=Signed(method))

    def answer(request: Request) -> Reply:
        return Reply(status=refusal) if request.path.startswith(V1P2) else school(request)

    with serving(answer) as server:
        found, pages = read(server.url, "oneroster")
    assert all_there(found, pages, school.rows)
    assert school.access.refusals == (method == "HMAC-SHA256")  # type: ignore[attr-defined]


@pytest.mark.parametrize("trouble, code", [(500, "RS-NET-05"), (503, "RS-NET-05"), (429, "RS-NET-06")])
def test_a_server_that_is_in_trouble_is_not_taken_for_one_of_another_version(trouble: int, code: str) -> None:
    school = School(access=Signed("HMAC-SHA1"))

    def answer(request: Request) -> Reply:
        return Reply(status=trouble) if request.path.startswith(V1P2) else school(request)

    with serving(answer) as server:
        found, _ = read(server.url, "oneroster")
    assert codes(found)["users"] == [code]
    assert all(request.path.startswith(V1P2) for request in server.requests)


def test_a_configured_version_is_not_asked_about() -> None:
    with signed_school(rows=district(version="1.2"), base=V1P2, access=Signed("HMAC-SHA1")) as (
        school,
        server,
    ):
        found, pages = read(server.url, "oneroster", version="1.2")
    assert all_there(found, pages, school.rows)
    assert server.requests[0].query["limit"] == "1000"


def test_a_pasted_base_decides_the_version() -> None:
    with signed_school(access=Signed("HMAC-SHA1")) as (school, server):
        found, pages = read(f"{server.url}/ims/oneroster/v1p1/", "oneroster", version="1.2")
    assert all_there(found, pages, school.rows)


def test_a_server_that_speaks_neither_version_is_told_as_such() -> None:
    with serving(lambda request: Reply(status=404)) as server:
        found, _ = read(server.url, "oneroster")
    assert codes(found) == {name: ["RS-PAGE-09"] for name in COLLECTIONS}
    assert len(server.requests) == 2


def test_credentials_that_fit_neither_version_are_told_as_that() -> None:
    with signed_school(access=lambda request: Reply(status=401)) as (_, server):
        found, _ = read(server.url, "oneroster")
    assert codes(found)["orgs"] == ["RS-AUTH-01"]
    assert len(server.requests) == 4


def test_a_configured_hash_is_the_only_one() -> None:
    with signed_school(access=Signed("HMAC-SHA1")) as (_, server):
        found, _ = read(server.url, signature_method="HMAC-SHA256")
    assert codes(found)["orgs"] == ["RS-AUTH-01"]
    assert len(server.requests) == 1


def test_a_configured_scope_is_sent_as_it_is_and_an_empty_one_as_none() -> None:
    for scope in ("roster-core.readonly", ""):
        tokens = Tokens(scope=scope)
        with serving(School(access=tokens)) as server:
            found, _ = read(server.url, "powerschool", token_url=f"{server.url}/token", scope=scope)
        assert states(found) == {"ok"}
        assert len([request for request in server.requests if request.endpoint == "token"]) == 1


# ------------------------------------------------------------------------------- what goes wrong, and where


def test_refused_credentials_fail_everything_and_are_not_tried_six_times() -> None:
    tokens = Tokens(replies=[Reply({"error": "invalid_client"}, 401)] * 20)
    with serving(School(access=tokens)) as server:
        found, pages = read(server.url, "powerschool", token_url=f"{server.url}/token")
    assert codes(found) == {name: ["RS-AUTH-01"] for name in COLLECTIONS}
    assert len(server.requests) == 2  # by header, by form
    assert pages.tables == {}


def test_a_server_that_is_not_there_is_not_tried_six_times() -> None:
    with serving(School()) as server:
        url = server.url
    clock = Clock()
    found = KINDS["classlink"](provider(url, "classlink"), Pages(), reading(clock))
    assert {issue.code for entry in found for issue in entry.issues} == {"RS-NET-01"}
    assert len(clock.slept) == 4


def test_access_that_ends_in_the_middle_fails_what_is_left_and_keeps_what_was_read() -> None:
    tokens = Tokens()
    school = School(access=tokens)

    def answer(request: Request) -> Reply:
        return Reply(status=401) if request.endpoint == "classes" else school(request)

    with serving(answer) as server:
        found, pages = read(server.url, "powerschool", token_url=f"{server.url}/token")
    assert [found[name].state for name in COLLECTIONS] == ["ok", "ok", "ok", "failed", "failed", "failed"]
    assert codes(found) == {name: ["RS-AUTH-03"] for name in ("classes", "users", "enrollments")}
    assert pages.ids("courses") == ["course-1"]


def test_a_missing_secret_fails_everything_before_anything_is_sent() -> None:
    with signed_school() as (_, server):
        source = provider(server.url, "classlink")
        seams = reading()

        def secret(reference: str) -> str:
            raise CodedError("RS-AUTH-05", "The environment variable ID is not set.")

        object.__setattr__(seams, "secret", secret)
        found = KINDS["classlink"](source, Pages(), seams)
    assert {issue.code for entry in found for issue in entry.issues} == {"RS-AUTH-05"}
    assert len(found) == 6
    assert server.requests == []


@pytest.mark.parametrize("name", COLLECTIONS)
@pytest.mark.parametrize(
    "fault, code",
    [
        (Reply(status=500), "RS-NET-05"),
        (Reply(status=403), "RS-AUTH-04"),
        (Reply(b"<html>"), "RS-PAGE-01"),
        (Reply(b'{"x": ['), "RS-PAGE-02"),
        (Reply({"imsx_codeMajor": "failure"}), "RS-PAGE-03"),
        (Reply({}), "RS-PAGE-04"),
        (Reply({"demographics": []}), "RS-PAGE-04"),
    ],
)
def test_a_collection_that_fails_fails_alone_and_leaves_no_rows(name: str, fault: Reply, code: str) -> None:
    with signed_school() as (school, server):
        school.faults[name] = [fault] * 99
        school.missing = frozenset({"students", "teachers"})
        found, pages = read(server.url)
    assert codes(found) == {name: [code]}
    assert found[name].state == "failed"
    assert found[name].rows == 0
    assert states(found) == {"ok", "failed"}
    assert pages.ids(name) == []
    assert found[name].issues[0].provider == "sis"


@pytest.mark.parametrize("name", COLLECTIONS)
@pytest.mark.parametrize("other", COLLECTIONS)
def test_a_page_of_another_collection_fails_the_collection(name: str, other: str) -> None:
    if name == other:
        return
    with signed_school() as (school, server):
        school.faults[name] = [Reply({other: school.rows[other]})] * 9
        found, _ = read(server.url)
    assert codes(found) == {name: ["RS-PAGE-05"]}


def test_a_failure_after_some_pages_leaves_no_rows_of_them() -> None:
    with signed_school(cap=20) as (school, server):
        school.faults["enrollments"] = [None, None, *[Reply(b'{"enrollments": [{"sour')] * 20]
        found, pages = read(server.url)
    assert codes(found) == {"enrollments": ["RS-PAGE-02"]}
    assert pages.ids("enrollments") == []


def test_an_error_of_the_sink_is_not_the_providers_fault() -> None:
    class Full(Pages):
        def append(
            self, collection: str, page: pa.Table, bookmark: Any = None, fingerprint: str = ""
        ) -> None:
            raise CodedError("RS-DB-03", "The disk is full.")

    with signed_school() as (_, server), pytest.raises(CodedError, match="RS-DB-03"):
        KINDS["classlink"](provider(server.url, "classlink"), Full(), reading())


def test_an_answer_larger_than_the_limit_is_refused() -> None:
    with signed_school() as (_, server):
        found = rest.read(
            provider(server.url, "classlink"), Pages(), reading(), CLASSLINK, limits=Limits(answer=10_000)
        )
    assert {issue.code for entry in found for issue in entry.issues} == {"RS-NET-08"}


def test_a_page_size_that_the_server_cannot_do_is_found_once_and_kept() -> None:
    with signed_school() as (school, server):

        def answer(request: Request) -> Reply:
            return Reply(status=400) if int(request.query["limit"]) > 100 else school(request)

        server.answer = answer
        found, pages = read(server.url)
    assert all_there(found, pages, school.rows)
    assert [request.query["limit"] for request in server.requests].count("1000") == 1


def test_pages_are_of_the_size_that_the_option_says() -> None:
    with signed_school() as (school, server):
        found, pages = read(server.url, page_size=7)
    assert all_there(found, pages, school.rows)
    assert {request.query["limit"] for request in server.requests} == {"7"}


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_is_asked_for_at_once_than_the_option_says(at_once: int) -> None:
    with signed_school(rows=district(60), counts=False) as (school, server):
        found, pages = read(server.url, page_size=5, concurrency=at_once)
    assert all_there(found, pages, school.rows)
    assert server.most_under_way <= at_once
    # Where no count tells the end, what is under way goes beyond it.
    end = len(school.rows["users"])
    assert len([offset for offset in server.asked("users") if offset >= end]) <= at_once


def test_a_server_that_ignores_offset_fails_what_it_cuts_off() -> None:
    with signed_school(ignores_offset=True, counts=False, cap=10) as (_, server):
        found, _ = read(server.url)
    assert codes(found)["users"] == ["RS-PAGE-06"]


def test_one_that_clamps_silently_and_sends_no_counts_is_read_whole() -> None:
    with signed_school(rows=district(200), counts=False, cap=7) as (school, server):
        found, pages = read(server.url)
    assert all_there(found, pages, school.rows)


def test_a_count_that_is_not_reached_makes_a_collection_unproven() -> None:
    with signed_school(total=lambda name, count, offset: count + (name == "users")) as (school, server):
        found, pages = read(server.url)
    assert codes(found) == {"users": ["RS-PAGE-07"]}
    assert found["users"].state == "unproven"
    assert len(pages.ids("users")) == len(school.rows["users"])


# ------------------------------------------------------------------------------------------- stand-ins


def test_courses_may_be_missing() -> None:
    with signed_school(missing=frozenset({"courses"})) as (_, server):
        found, pages = read(server.url)
    assert states(found) == {"ok"}
    assert found["courses"].rows == 0
    assert "does not offer courses" in found["courses"].proof
    assert pages.ids("courses") == []


@pytest.mark.parametrize("habit", ["missing", "forbidden"])
@pytest.mark.parametrize("compatible", [False, True])
def test_students_and_teachers_stand_in_for_users_and_prove_nothing_about_others(
    habit: str, compatible: bool
) -> None:
    rows = district(150)
    for row in rows["users"]:
        row["orgs"] = [ref("org", 1)]
    with signed_school(rows=rows, cap=20, **{habit: frozenset({"users"})}) as (_, server):
        found, pages = read(server.url, compatibility_mode=compatible)
    assert found["users"].state == "unproven"
    assert codes(found) == {"users": ["RS-PAGE-08"]}
    assert found["users"].rows == 151
    assert sorted(pages.ids("users")) == sorted(row["sourcedId"] for row in rows["users"])


def test_a_role_that_the_rows_do_not_tell_is_the_endpoints() -> None:
    def wrapper(endpoint: str, collection: str, rows: list[Any]) -> Any:
        return {
            collection: [
                {name: row[name] for name in row if name != "role" or endpoint == "enrollments"}
                for row in rows
            ]
        }

    with signed_school(missing=frozenset({"users"}), wrapper=wrapper) as (_, server):
        _, pages = read(server.url)
    roles = {orjson.loads(row["roles"])[0][0] for page in pages.tables["users"] for row in page.to_pylist()}
    assert roles == {"student", "teacher"}


def test_teachers_that_are_read_again_do_not_cost_the_students() -> None:
    totals = iter([40, 41])
    with signed_school(
        rows=district(50),
        missing=frozenset({"users"}),
        total=lambda name, count, offset: (
            count + 1 if name == "teachers" and next(totals, 0) == 40 else count
        ),
    ) as (school, server):
        found, pages = read(server.url)
    assert len(pages.ids("users")) == len(school.rows["users"])
    assert found["users"].rows == 51


def test_students_without_teachers_are_a_failure() -> None:
    with signed_school(missing=frozenset({"users", "teachers"})) as (_, server):
        found, pages = read(server.url)
    assert codes(found) == {"users": ["RS-PAGE-09"]}
    assert pages.ids("users") == []


@pytest.mark.parametrize("name", ["orgs", "academicSessions", "classes", "enrollments"])
def test_in_normal_mode_nothing_else_stands_in(name: str) -> None:
    with signed_school(missing=frozenset({name})) as (_, server):
        found, _ = read(server.url)
    advised = ["RS-PRV-06"] if name in ("orgs", "academicSessions") else []
    assert codes(found) == {name: ["RS-PAGE-09", *advised]}


# ------------------------------------------------------------------------------------ compatibility mode


def test_compatibility_mode_asks_for_little_and_for_one_thing_at_a_time() -> None:
    with signed_school(rows=district(300)) as (school, server):
        found, pages = read(server.url, compatibility_mode=True)
    assert all_there(found, pages, school.rows)
    assert {tuple(request.query) for request in server.requests} == {("limit", "offset")}
    assert {request.query["limit"] for request in server.requests} == {"100"}
    assert server.most_under_way == 1


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda endpoint, collection, rows: rows,
        lambda endpoint, collection, rows: {"data": rows, "total": len(rows)},
    ],
    ids=["bare", "data"],
)
def test_off_spec_wrappers_are_read_in_either_mode(wrapper: Any) -> None:
    for compatible in (False, True):
        with signed_school(wrapper=wrapper, counts=False) as (school, server):
            found, pages = read(server.url, compatibility_mode=compatible)
        assert all_there(found, pages, school.rows)


def test_an_off_spec_wrapper_without_rows_proves_nothing() -> None:
    rows = district()
    rows["courses"] = []
    with signed_school(rows=rows, wrapper=lambda endpoint, collection, rows: {"data": rows}) as (_, server):
        found, _ = read(server.url)
    assert codes(found) == {"courses": ["RS-PAGE-04"]}


def test_schools_stand_in_for_orgs() -> None:
    with signed_school(missing=frozenset({"orgs"})) as (_, server):
        found, pages = read(server.url, compatibility_mode=True)
    assert states(found) == {"ok"}
    assert pages.ids("orgs") == ["org-1"]


def test_schools_stand_in_while_the_version_is_found_too() -> None:
    with signed_school(missing=frozenset({"orgs"}), access=Signed("HMAC-SHA1")) as (_, server):
        found, _ = read(server.url, "oneroster", compatibility_mode=True)
    assert states(found) == {"ok"}


@pytest.mark.parametrize("own_key", [False, True])
@pytest.mark.parametrize("periods", [False, True])
def test_terms_and_grading_periods_stand_in_for_sessions(own_key: bool, periods: bool) -> None:
    rows = district()
    rows["academicSessions"].append(
        {**rows["academicSessions"][0], "sourcedId": "gp-1", "type": "gradingPeriod"}
    )
    missing = {"academicSessions"} | (set() if periods else {"gradingPeriods"})
    with signed_school(rows=rows, missing=frozenset(missing)) as (school, server):
        if own_key:
            school.wrapper = lambda endpoint, collection, found: {endpoint: found}
        found, pages = read(server.url, compatibility_mode=True)
    assert states(found) == {"ok"}
    assert pages.ids("academicSessions") == (["session-1", "gp-1"] if periods else ["session-1"])


def test_sessions_may_be_missing() -> None:
    with signed_school(missing=frozenset({"academicSessions", "terms"})) as (_, server):
        found, _ = read(server.url, compatibility_mode=True)
    assert states(found) == {"ok"}
    assert codes(found) == {}
    assert (found["academicSessions"].rows, found["academicSessions"].proof) == (
        0, "The server offers no academic sessions.",
    )  # fmt: skip


# ------------------------------------------------------------------------------- progress, memory, probing


def test_progress_is_told_page_by_page_with_the_total() -> None:
    told: list[tuple[str, int, int | None]] = []
    with signed_school(rows=district(59), cap=20) as (_, server):
        KINDS["classlink"](
            provider(server.url, "classlink"), Pages(), reading(progress=lambda *step: told.append(step))
        )
    assert [step for step in told if step[0] == "users"] == [
        ("users", 20, 60),
        ("users", 40, 60),
        ("users", 60, 60),
    ]


def test_pages_are_let_go_as_soon_as_they_are_handed_on() -> None:
    alive: list[weakref.ref[pa.Table]] = []
    most = 0

    class Forgetful(Pages):
        def append(
            self, collection: str, page: pa.Table, bookmark: Any = None, fingerprint: str = ""
        ) -> None:
            nonlocal most
            alive.append(weakref.ref(page))
            most = max(most, len([found for found in alive if found() is not None]))

    with signed_school(rows=district(600), cap=10) as (_, server):
        KINDS["classlink"](provider(server.url, "classlink"), Forgetful(), reading())
    assert len(alive) > 150
    assert most <= 2


def test_a_probe_reads_one_page_of_each_collection() -> None:
    with signed_school(rows=district(50), cap=20) as (_, server):
        found = probe(provider(server.url, "classlink"), reading())
    assert [entry.name for entry in found] == list(COLLECTIONS)
    users = found[4]
    assert isinstance(users, Probed)
    assert (users.state, users.rows, users.total) == ("ok", 20, 51)
    assert "OneRoster 1.1" in users.proof
    assert "HMAC-SHA256" in users.proof
    assert users.page is not None
    assert users.page.column_names == list(COLUMNS["users"])
    assert "Given" not in repr(users)
    assert len(server.requests) == 6


def test_a_probe_tells_what_stands_in_and_what_fails() -> None:
    with signed_school(missing=frozenset({"users", "courses"})) as (school, server):
        school.faults["classes"] = [Reply({})]
        found = {entry.name: entry for entry in probe(provider(server.url, "classlink"), reading())}
    assert found["users"].state == "unproven"
    assert found["users"].rows == 26
    assert found["courses"].state == "ok"
    assert found["classes"].state == "failed"
    assert codes(found) == {"classes": ["RS-PAGE-04"], "users": ["RS-PAGE-08"]}


def test_a_probe_of_a_server_that_refuses_asks_once() -> None:
    with signed_school(access=lambda request: Reply(status=401)) as (_, server):
        found = probe(provider(server.url, "classlink"), reading())
    assert {issue.code for entry in found for issue in entry.issues} == {"RS-AUTH-01"}
    assert len(server.requests) == 2


def test_no_result_holds_a_secret_or_a_person() -> None:
    told = ""
    for fault in (
        Reply(status=500),
        Reply({"error": "x"}),
        Reply(b"<p>"),
        Reply(status=401),
        Reply(status=403),
        None,
    ):
        tokens = Tokens()
        school = School(access=tokens)
        school.faults["users"] = [fault] * 20
        with serving(school) as server:
            found, _ = read(server.url, "powerschool", token_url=f"{server.url}/token")
            told += repr(found) + repr(
                probe(provider(server.url, "powerschool", token_url=f"{server.url}/token"), reading())
            )
    for canary in (KEY, SECRET, TOKEN, "Given", "Family", "@example.org", "user-"):
        assert canary not in told
