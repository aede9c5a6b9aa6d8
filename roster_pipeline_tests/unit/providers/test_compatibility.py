"""Compatibility mode against servers that do less than most: each lack alone, with the mode on and off.

The servers are the sandbox's. Whole syncs of a minimum implementation are in `graph/test_compatibility.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster.client import Limits
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.providers import KINDS, probe, rest
from roster_pipeline.providers.oneroster import DIALECT
from roster_pipeline.providers.reading import CollectionRead, Reading
from roster_pipeline.sandbox.generator import generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.server import Serving
from roster_pipeline.sandbox.source import Tables
from roster_pipeline.tenants.document import Provider
from roster_pipeline_tests.syncing import CLIENT_ID, CLIENT_SECRET, serving
from roster_pipeline_tests.unit.oneroster.server import Pages, provider, reading

DISTRICT = generate(130, seed=5)  # more than a page of the minimum's
GOOD = ("powerschool", "classlink", "oneroster-1.1", "oneroster-1.2")
ADVICE = "RS-PRV-06"

Found = dict[str, CollectionRead]


def options(served: Serving, **given: Any) -> Provider:
    """A provider that reads this server, as the kind of its flavour."""
    flavour = served.sandbox.flavour.name
    secrets = {"client_id": "env:ID", "client_secret": "env:SECRET"}
    if served.token_url:
        secrets["token_url"] = served.token_url
    return provider(served.root_url, flavour if flavour in KINDS else "oneroster", **(secrets | given))


def read(served: Serving, **given: Any) -> tuple[Found, Pages]:
    pages = Pages()
    world = _reading()
    chosen = options(served, **given)
    found = KINDS[chosen.kind](chosen, pages, world)
    assert [one.name for one in found] == list(COLLECTIONS)
    return {one.name: one for one in found}, pages


def _reading() -> Reading:
    secrets = {"env:ID": CLIENT_ID, "env:SECRET": CLIENT_SECRET}
    # The sandbox compares a signature's time with the machine's.
    return replace(reading(), secret=secrets.__getitem__, clock=lambda: datetime.now(UTC))


def issues(found: Found) -> list[Issue]:
    return list(dict.fromkeys(issue for one in found.values() for issue in one.issues))


def codes(found: Found) -> list[str]:
    return [issue.code for issue in issues(found)]


def advice(found: Found) -> list[str]:
    return [issue.message for issue in issues(found) if issue.code == ADVICE]


def is_whole(found: Found, pages: Pages, tables: Tables, *missing: str) -> bool:
    return {one.state for one in found.values()} == {"ok"} and all(
        sorted(pages.ids(name))
        == sorted([] if name in missing else [row["sourcedId"] for row in tables[name]])
        for name in COLLECTIONS
    )


@contextmanager
def lacking(*misbehaviours: Misbehaviour, tables: Tables = DISTRICT.tables) -> Iterator[Serving]:
    """A good 1.1 server but for this."""
    with serving(tables, "oneroster-1.1", misbehaviour=misbehaviours) as served:
        yield served


# -------------------------------------------------------------------------------- the minimum as a whole


@pytest.mark.parametrize("signed", [False, True], ids=["tokens", "signatures"])
def test_with_the_mode_on_a_minimum_implementation_is_read_whole(signed: bool) -> None:
    with serving(DISTRICT.tables, "minimum") as served:
        given = {"token_url": None} if signed else {}
        found, pages = read(served, compatibility_mode=True, **given)
        asked = [one for one in served.sandbox.asked if one.endpoint != "token"]
    tables = served.sandbox._tables
    assert is_whole(found, pages, tables, "academicSessions")
    assert codes(found) == []
    assert {tuple(sorted(one.query)) for one in asked} == {("limit", "offset")}
    assert {one.endpoint for one in asked if one.status == 200} == set(COLLECTIONS) - {"academicSessions"}
    assert served.sandbox.most_at_once == 1


@pytest.mark.parametrize("version", [None, "1.1"], ids=["version-to-be-found", "version-known"])
@pytest.mark.parametrize("signed", [False, True], ids=["tokens", "signatures"])
def test_with_the_mode_off_it_fails_and_one_line_says_what_would_help(
    signed: bool, version: str | None
) -> None:
    with serving(DISTRICT.tables, "minimum") as served:
        given = {"token_url": None} if signed else {}
        found, pages = read(served, version=version, **given)
        checked = {one.name: one for one in probe(options(served, version=version, **given), _reading())}
        asked = len(served.sandbox.asked)
    for told in (found, checked):
        assert {one.state for one in told.values()} == {"failed"}
        assert codes(told) == ["RS-NET-07", ADVICE]
        assert advice(told) == ["`compatibility_mode: true` would help: the server refuses to sort."]
    assert pages.tables == {}
    assert asked < 20  # it is not asked six times for what it refuses


@pytest.mark.parametrize("compatible", [False, True])
@pytest.mark.parametrize("flavour", GOOD)
def test_nothing_is_advised_where_a_server_does_all_that_is_asked(flavour: str, compatible: bool) -> None:
    with serving(DISTRICT.tables, flavour) as served:
        found, pages = read(served, compatibility_mode=compatible)
        checked = {one.name: one for one in probe(options(served, compatibility_mode=compatible), _reading())}
    assert is_whole(found, pages, served.sandbox._tables)
    assert codes(found) == codes(checked) == []


# -------------------------------------------------------------------------------- each lack alone


def test_parameters_that_are_refused() -> None:
    with lacking(Misbehaviour("refuse-parameters")) as served:
        off, _ = read(served)
        on, pages = read(served, compatibility_mode=True)
    assert codes(off) == ["RS-NET-07", ADVICE]
    assert is_whole(on, pages, DISTRICT.tables)
    assert codes(on) == []


@pytest.mark.parametrize("status", [404, 400, 501])
def test_sessions_that_are_not_offered(status: int) -> None:
    missing = [
        Misbehaviour("not-found", status, endpoint=name)
        for name in ("academicSessions", "terms", "gradingPeriods")
    ]
    with lacking(*missing) as served:
        off, pages_off = read(served)
        checked = {one.name: one for one in probe(options(served), _reading())}
        on, pages = read(served, compatibility_mode=True)
    assert {name: one.state for name, one in off.items() if one.state != "ok"} == {
        "academicSessions": "failed"
    }
    for told in (off, checked):
        assert codes(told) == ["RS-NET-07" if status == 400 else "RS-PAGE-09", ADVICE]
        assert advice(told) == [
            "`compatibility_mode: true` would help: the server offers no academic sessions."
        ]
    assert len(pages_off.ids("users")) == len(DISTRICT.tables["users"])
    assert is_whole(on, pages, DISTRICT.tables, "academicSessions")
    assert codes(on) == []


def test_sessions_that_end_in_the_middle_are_not_sessions_that_are_missing() -> None:
    """A 404 behind the first page is a fault, in either mode: else half a calendar would pass for none."""
    tables = copy.deepcopy(DISTRICT.tables)
    session = tables["academicSessions"][0]
    tables["academicSessions"] += [{**session, "sourcedId": f"more-{n}"} for n in range(250)]
    for status in (404, 400):
        fault = Misbehaviour("not-found", status, endpoint="academicSessions", after=1)
        for compatible in (False, True):
            with lacking(fault, Misbehaviour("clamp", 100), tables=tables) as served:
                found, pages = read(served, compatibility_mode=compatible)
            assert found["academicSessions"].state == "failed"
            assert pages.ids("academicSessions") == []
            assert advice(found) == []


def test_sessions_that_are_an_empty_list() -> None:
    with lacking(Misbehaviour("empty", endpoint="academicSessions")) as served:
        for compatible in (False, True):
            found, pages = read(served, compatibility_mode=compatible)
            assert is_whole(found, pages, DISTRICT.tables, "academicSessions")
            assert codes(found) == []  # whether it matters is the options' to say, and the rules'


def test_courses_that_are_answered_with_400() -> None:
    with lacking(Misbehaviour("not-found", 400, endpoint="courses")) as served:
        off, _ = read(served)
        on, pages = read(served, compatibility_mode=True)
    assert codes(off) == ["RS-NET-07", ADVICE]
    assert advice(off) == ["`compatibility_mode: true` would help: the server offers no courses."]
    assert is_whole(on, pages, DISTRICT.tables, "courses")


def test_orgs_that_are_offered_as_schools_alone() -> None:
    with lacking(Misbehaviour("not-found", endpoint="orgs")) as served:
        off, _ = read(served, version="1.1")
        on, pages = read(served, compatibility_mode=True)
    assert codes(off) == ["RS-PAGE-09", ADVICE]
    assert {one.state for one in on.values()} == {"ok"}
    schools = {row["sourcedId"] for row in DISTRICT.tables["orgs"] if row["type"] == "school"}
    assert set(pages.ids("orgs")) == schools


def test_orgs_that_are_not_offered_at_all_are_nothing_that_the_mode_mends() -> None:
    missing = [Misbehaviour("not-found", endpoint=name) for name in ("orgs", "schools")]
    with lacking(*missing) as served:
        off, _ = read(served, version="1.1")
        on, _ = read(served, version="1.1", compatibility_mode=True)
    assert codes(off) == codes(on) == ["RS-PAGE-09"]


@pytest.mark.parametrize("compatible", [False, True])
def test_pages_of_a_hundred_without_counts(compatible: bool) -> None:
    with lacking(Misbehaviour("clamp", 100), Misbehaviour("no-counts")) as served:
        found, pages = read(served, compatibility_mode=compatible)
    assert is_whole(found, pages, DISTRICT.tables)
    assert all("read to an empty page" in one.proof for one in found.values())
    assert codes(found) == []  # the mode would not help: what it does without counts is done anyway


WRAPPERS = ("enrollment", "Enrollments", "ENROLLMENT", "enrollments")


@pytest.mark.parametrize("word", WRAPPERS)
@pytest.mark.parametrize("compatible", [False, True])
def test_a_wrapper_of_its_own_is_read_in_either_mode_while_it_holds_rows(word: str, compatible: bool) -> None:
    with lacking(Misbehaviour("own-wrapper", word, endpoint="enrollments")) as served:
        found, pages = read(served, compatibility_mode=compatible)
    assert is_whole(found, pages, DISTRICT.tables)
    assert codes(found) == []


@pytest.mark.parametrize("word", WRAPPERS[:3])
@pytest.mark.parametrize("other", ["empty", "other-arrays"])
def test_a_wrapper_of_its_own_that_needs_its_name_to_be_understood(word: str, other: Any) -> None:
    wrapper = Misbehaviour("own-wrapper", word, endpoint="enrollments")
    with lacking(wrapper, Misbehaviour(other, endpoint="enrollments")) as served:
        off, _ = read(served)
        on, pages = read(served, compatibility_mode=True)
    assert {name for name, one in off.items() if one.state == "failed"} == {"enrollments"}
    assert codes(off) == ["RS-PAGE-04", ADVICE]
    assert advice(off) == ["`compatibility_mode: true` would help: the server wraps its rows in its own way."]
    assert is_whole(on, pages, DISTRICT.tables, *(["enrollments"] if other == "empty" else []))


def test_an_empty_list_of_another_name_is_no_collection_in_either_mode() -> None:
    wrapper = Misbehaviour("own-wrapper", "warnings", endpoint="enrollments")
    with lacking(wrapper, Misbehaviour("empty", endpoint="enrollments")) as served:
        for compatible in (False, True):
            found, _ = read(served, compatibility_mode=compatible)
            assert codes(found) == ["RS-PAGE-04"]


# -------------------------------------------------------------------------------- what the mode cannot mend

HASTY = Limits(tries=1)


@pytest.mark.parametrize(
    "trouble",
    [
        Misbehaviour("server-error"),
        Misbehaviour("server-error", 503),
        Misbehaviour("server-error", endpoint="academicSessions"),
        Misbehaviour("too-many-requests"),
        Misbehaviour("forbidden", endpoint="academicSessions"),
        Misbehaviour("refuse-credentials"),
        Misbehaviour("redirect", "https://elsewhere.example/"),
        Misbehaviour("not-found"),
        Misbehaviour("not-found", 400),
        Misbehaviour("not-json"),
        Misbehaviour("truncated"),
        Misbehaviour("envelope-in-200"),
        Misbehaviour("no-collection"),
        Misbehaviour("not-found", endpoint="users"),
        Misbehaviour("not-found", endpoint="enrollments"),
        Misbehaviour("other-collection", endpoint="classes"),
    ],
    ids=lambda one: "-".join(str(part) for part in (one.what, one.value, one.endpoint) if part),
)
def test_a_server_in_trouble_or_at_another_address_is_not_told_to_use_the_mode(trouble: Misbehaviour) -> None:
    with lacking(trouble) as served:
        found = rest.read(options(served, version="1.1"), Pages(), _reading(), DIALECT, limits=HASTY)
        checked = rest.probe(options(served, version="1.1"), _reading(), DIALECT, limits=HASTY)
    for told in (found, checked):
        assert [issue.code for one in told for issue in one.issues]
        assert ADVICE not in {issue.code for one in told for issue in one.issues}


def test_a_server_that_is_not_there_is_not_told_to_use_the_mode() -> None:
    with lacking() as served:
        pass
    found = rest.read(options(served), Pages(), _reading(), DIALECT, limits=HASTY)
    assert {issue.code for one in found for issue in one.issues} == {"RS-NET-01"}


def test_a_refusal_that_passes_with_a_smaller_page_is_not_told_to_use_the_mode() -> None:
    """`check` asks for one page of the configured size; whether that is too large says nothing of sorting."""
    with lacking(Misbehaviour("not-found", 400, times=1)) as served:
        checked = rest.probe(options(served, version="1.1"), _reading(), DIALECT, limits=HASTY)
    assert [issue.code for one in checked for issue in one.issues] == ["RS-NET-07"]
