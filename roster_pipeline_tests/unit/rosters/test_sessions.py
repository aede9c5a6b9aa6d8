"""Which sessions and classes count on the day (oneroster.md §7.3), and what becomes of the others."""

from __future__ import annotations

import pytest

from roster_pipeline.rosters.schools import find_schools
from roster_pipeline.rosters.sessions import Sessions, find_sessions
from roster_pipeline_tests.rosters import Provider, Story, begun, provider, story

# The day is 2025-10-15.
YEAR = "2025-08-18..2026-06-12"


def find(told: Story, as_of: str = "") -> Sessions:
    given = told.given(as_of)
    schools = find_schools(given.sources, given.published, given.tonight)
    return find_sessions(given.sources, schools, given.published, given.tonight)


def reasons(found: Sessions) -> dict[str, str]:
    return dict(zip(found.classes["source_id"], found.classes["reason"], strict=True))


def fates(found: Sessions) -> dict[str, str]:
    return dict(zip(found.classes["source_id"], found.classes["fate"], strict=True))


# ------------------------------------------------------------------------------------------ resolution
# All classes of one provider, found once; each test looks at one of them.

CLASSES: dict[str, tuple[dict[str, object], str]] = {
    "of-the-year": ({"terms": ["year"]}, ""),
    "of-a-term-that-is-over": ({"terms": ["autumn-1"]}, "not_current"),
    "of-a-past-term-whose-parent-is-current": ({"terms": ["autumn-1"], "course": "this-year"}, "not_current"),
    "of-a-current-term": ({"terms": ["autumn-2"]}, ""),
    "of-a-term-to-come": ({"terms": ["spring"]}, "not_current"),
    "of-a-past-and-a-current-term": ({"terms": ["autumn-1", "autumn-2"]}, ""),
    "of-a-past-term-and-one-to-come": ({"terms": ["autumn-1", "spring"]}, "not_current"),
    "of-a-term-that-ends-today": ({"terms": ["ends-today"]}, ""),
    "of-a-term-that-begins-today": ({"terms": ["begins-today"]}, ""),
    "of-a-term-that-ended-yesterday": ({"terms": ["ended-yesterday"]}, "not_current"),
    "of-a-grading-period-that-is-over": ({"terms": ["period-1"]}, "not_current"),
    "of-a-current-grading-period": ({"terms": ["period-2"]}, ""),
    "of-a-current-semester": ({"terms": ["semester"]}, ""),
    "of-a-term-without-dates-in-a-current-year": ({"terms": ["undated-child"]}, ""),
    "of-a-term-without-dates-in-a-past-year": ({"terms": ["undated-child-of-old"]}, "not_current"),
    "of-a-term-whose-grandparent-has-the-dates": ({"terms": ["undated-grandchild"]}, ""),
    "of-a-term-without-dates-or-parent": ({"terms": ["undated"]}, "undated"),
    "of-a-circle-of-terms-without-dates": ({"terms": ["circle-1"]}, "undated"),
    "of-a-reversed-term-in-a-current-year": ({"terms": ["reversed"]}, ""),
    "of-a-deleted-term": ({"terms": ["deleted"]}, "undated"),
    "of-a-deleted-and-a-current-term": ({"terms": ["deleted", "autumn-2"]}, ""),
    "of-nowhere-and-a-current-term": ({"terms": ["nowhere", "autumn-2"]}, ""),
    "of-nowhere-and-a-past-term": ({"terms": ["nowhere", "autumn-1"]}, "not_current"),
    "of-nowhere-with-a-course-of-this-year": ({"terms": ["nowhere"], "course": "this-year"}, ""),
    "of-nowhere-with-a-course-of-last-year": ({"terms": ["nowhere"], "course": "last-year"}, "not_current"),
    "of-no-term-with-a-course-of-this-year": ({"terms": [], "course": "this-year"}, ""),
    "of-no-term-with-a-course-of-an-unknown-year": ({"terms": [], "course": "lost-year"}, "undated"),
    "of-no-term-with-current-enrolments": ({"terms": []}, ""),
    "of-no-term-with-past-enrolments": ({"terms": []}, "not_current"),
    "of-no-term-with-enrolments-from-past-to-future": ({"terms": []}, ""),
    "of-no-term-with-one-open-enrolment": ({"terms": []}, ""),
    "of-no-term-with-undated-enrolments": ({"terms": []}, "undated"),
    "of-no-term-without-enrolments": ({"terms": []}, "undated"),
    "of-nothing": ({"terms": [], "course": "nowhere"}, "undated"),
    "that-is-deleted": ({"terms": ["year"], "status": "tobedeleted"}, "deleted"),
}
ENROLLED = {
    "of-no-term-with-current-enrolments": "s1[2025-09-01..2025-12-01]",
    "of-no-term-with-past-enrolments": "s1[2025-01-01..2025-03-01] s2[2025-02-01..2025-04-01]",
    "of-no-term-with-enrolments-from-past-to-future": "s1[2025-01-01..2025-03-01] s2[2026-01-01..2026-02-01]",
    "of-no-term-with-one-open-enrolment": "s1[2025-01-01..2025-03-01] s2[2025-02-01..]",
    "of-no-term-with-undated-enrolments": "s1 s2",
}


def calendar(**options: object) -> Provider:
    made = provider("sis", "s1 s2", respect_academic_sessions=True, **options)
    made.session("autumn-1", "2025-08-18..2025-10-10", parent="year")
    made.session("autumn-2", "2025-10-13..2025-12-19", parent="year")
    made.session("spring", "2026-01-12..2026-06-12", parent="year")
    made.session("semester", "2025-08-18..2026-01-16", kind="semester", parent="year")
    made.session("ends-today", "2025-09-01..2025-10-15").session("begins-today", "2025-10-15..2025-11-01")
    made.session("ended-yesterday", "2025-09-01..2025-10-14")
    made.session("period-1", "2025-08-18..2025-10-10", kind="gradingPeriod", parent="year")
    made.session("period-2", "2025-10-13..2025-12-19", kind="gradingPeriod", parent="year")
    made.session("old", "2024-08-19..2025-06-13", kind="schoolYear")
    made.session("undated-child", "..", parent="year").session("undated-child-of-old", "..", parent="old")
    made.session("undated-grandchild", "..", parent="undated-child").session("undated", "..")
    made.session("circle-1", "..", parent="circle-2").session("circle-2", "..", parent="circle-1")
    made.session("reversed", "2025-12-01..2025-09-01", parent="year")
    made.session("deleted", YEAR, status="tobedeleted")
    made.course("this-year", school_year="year").course("last-year", school_year="old")
    made.course("lost-year", school_year="nowhere")
    for name, (fields, _) in CLASSES.items():
        made.teaches(name, ENROLLED.get(name), **fields)
    return made


@pytest.fixture(scope="module")
def strict() -> Sessions:
    return find(story(calendar()))


@pytest.fixture(scope="module")
def exclusive() -> Sessions:
    return find(story(calendar(end_dates="exclusive")))


@pytest.fixture(scope="module")
def compatible() -> Sessions:
    return find(story(calendar(compatibility_mode=True)))


@pytest.fixture(scope="module")
def lenient() -> Sessions:
    return find(story(calendar().option(respect_academic_sessions=False)))


@pytest.mark.parametrize("name", CLASSES)
def test_with_the_session_rule_a_class(name: str, strict: Sessions):
    assert reasons(strict)[name] == CLASSES[name][1]


@pytest.mark.parametrize("name", CLASSES)
def test_with_exclusive_end_dates_a_class(name: str, exclusive: Sessions):
    expected = "not_current" if name == "of-a-term-that-ends-today" else CLASSES[name][1]
    assert reasons(exclusive)[name] == expected


@pytest.mark.parametrize("name", CLASSES)
def test_in_compatibility_mode_undated_classes_are_kept_and_a_class(name: str, compatible: Sessions):
    expected = CLASSES[name][1]
    assert reasons(compatible)[name] == ("" if expected == "undated" else expected)


@pytest.mark.parametrize("name", CLASSES)
def test_without_the_session_rule_all_active_classes_count_and_a_class(name: str, lenient: Sessions):
    assert reasons(lenient)[name] == ("deleted" if name == "that-is-deleted" else "")


def test_undated_classes_and_bad_dates_are_counted(strict: Sessions):
    told = {issue.code: issue.count for issue in strict.issues}
    undated = sum(reason == "undated" for _, reason in CLASSES.values())
    assert told["RS-SES-03"] == undated
    assert told["RS-ROW-04"] == 1


def told(told: Sessions) -> list[str]:
    return [issue.code for issue in told.issues]


def test_compatibility_mode_is_advised_where_no_class_has_a_session_at_all(strict: Sessions):
    """Where some have one, the classes are to be mended, not the way of reading."""
    bare = {"respect_academic_sessions": True}
    sis = (
        provider("sis", "t1 s1", **bare).teaches("c1", "t1 s1", terms=[]).teaches("c2", "t1", terms=["none"])
    )
    assert told(find(story(sis))) == ["RS-SES-03", "RS-PRV-06"]
    assert "RS-PRV-06" not in told(strict)
    assert told(find(story(provider("sis", "t1 s1", **bare)))) == []  # no class, and so no trouble
    sis.option(respect_academic_sessions=False)
    assert told(find(story(sis))) == []


def test_compatibility_mode_is_not_advised_where_classes_had_their_sessions_before():
    sis = provider("sis", "t1 s1", respect_academic_sessions=True)
    sis.session("term", YEAR).teaches("c1", "t1 s1", terms=["term"])
    later = begun(sis)
    later.providers[0].gone("term")
    assert told(find(later)) == ["RS-SES-03"]


def test_in_compatibility_mode_it_is_told_that_the_rule_has_nothing_to_go_by():
    both = {"respect_academic_sessions": True, "compatibility_mode": True}
    sis = provider("sis", "t1 s1", **both).teaches("c1", "t1 s1", terms=[])
    assert told(find(story(sis.empty("academicSessions")))) == ["RS-SES-05"]
    assert told(find(story(calendar(compatibility_mode=True)))) == ["RS-ROW-04"]
    assert told(find(story(sis.option(respect_academic_sessions=False)))) == []


def test_in_compatibility_mode_classes_without_dates_are_no_matter(compatible: Sessions):
    assert "RS-SES-03" not in {issue.code for issue in compatible.issues}


@pytest.mark.parametrize(
    "name, start, end",
    [
        ("of-a-past-term-and-one-to-come", "2025-08-18", "2026-06-12"),
        ("of-a-past-and-a-current-term", "2025-08-18", "2025-12-19"),
        ("of-a-term-without-dates-in-a-current-year", "2025-08-18", "2026-06-12"),
        ("of-no-term-with-past-enrolments", "2025-01-01", "2025-04-01"),
        ("of-no-term-with-one-open-enrolment", "2025-01-01", ""),
        ("of-nothing", "", ""),
    ],
)
def test_a_classs_window_is_the_union_of_what_dates_it(name: str, start: str, end: str, strict: Sessions):
    row = strict.classes[strict.classes["source_id"] == name].iloc[0]
    assert (row["start_date"], row["end_date"]) == (start, end)


@pytest.mark.parametrize("compatible", [True, False])
@pytest.mark.parametrize("rule", [True, False])
def test_sessions_that_cannot_be_read_stop_a_provider_whose_classes_hang_on_them(
    rule: bool, compatible: bool
):
    sis = provider("sis", "t1", respect_academic_sessions=rule, compatibility_mode=compatible)
    (source,) = story(sis.state("failed", "academicSessions")).given().sources
    assert source.usable is (compatible or not rule)


# ------------------------------------------------------------------------------------------ fates


def fate_after(change: str, *, end: str = "2025-12-19", as_of: str = "2025-10-16", **later: object) -> str:
    """What becomes of a class of a term that ends on `end`, when the term changes on the second night."""
    sis = provider("sis", "t1 s1", respect_academic_sessions=True)
    sis.session("term", f"2025-08-18..{end}").teaches("c1", "t1 s1", terms=["term"]).teaches("c2", "t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    if change == "gone":
        sis.gone("term")
    elif change:
        sis.session("term", change)
    sis.option(**later)
    return fates(find(told, as_of))["c1"]


@pytest.mark.parametrize(
    "change, end, as_of, fate",
    [
        pytest.param("", "2025-12-19", "2025-10-16", "current", id="nothing changes"),
        pytest.param("", "2025-10-16", "2025-10-16", "current", id="the term ends today"),
        pytest.param("", "2025-10-15", "2025-10-16", "ended", id="the term ended yesterday"),
        pytest.param("gone", "2025-12-19", "2025-10-16", "frozen", id="the term vanished"),
        pytest.param("gone", "2025-10-15", "2025-10-16", "ended", id="it vanished after its end"),
        pytest.param(
            "2025-08-18..2025-10-10", "2025-12-19", "2025-10-16", "frozen", id="the term was shortened"
        ),
        pytest.param(
            "2026-01-01..2026-02-01", "2025-12-19", "2025-10-16", "frozen", id="the term was put off"
        ),
        pytest.param(
            "2025-08-18..2026-02-01", "2025-10-15", "2025-10-16", "current", id="the term was made longer"
        ),
        pytest.param("..", "2025-12-19", "2025-10-16", "frozen", id="the term lost its dates"),
        pytest.param("..", "2025-10-15", "2025-10-16", "ended", id="it lost them after its end"),
    ],
)
def test_what_becomes_of_a_class_when(change: str, end: str, as_of: str, fate: str):
    assert fate_after(change, end=end, as_of=as_of) == fate


def test_a_class_between_two_of_its_terms_waits_for_the_second():
    sis = provider("sis", "t1 s1", respect_academic_sessions=True)
    sis.session("one", "2025-08-18..2025-10-15").session("two", "2025-11-03..2025-12-19")
    sis.teaches("c1", "t1 s1", terms=["one", "two"]).teaches("c2", "t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    found = find(told, "2025-10-20")
    assert fates(found)["c1"] == "gap"
    assert reasons(found)["c1"] == ""


def test_a_class_that_was_never_published_is_out():
    sis = provider("sis", "t1 s1", respect_academic_sessions=True)
    sis.session("old", "2024-08-19..2025-06-13").teaches("c1", terms=["old"])
    assert fates(find(story(sis))) == {"c1": "out"}


@pytest.mark.parametrize("terms", [["later"], ["over"]])
def test_a_class_that_is_new_under_the_rule_and_does_not_take_place_is_out(terms: list[str]):
    sis = provider("sis", "t1 s1", respect_academic_sessions=True).session("later", "2026-01-12..2026-06-12")
    told = begun(sis.session("over", "2025-01-13..2025-06-13").teaches("c2", "t1 s1"))
    (sis,) = told.providers
    sis.teaches("c1", "t1 s1", terms=terms)
    found = find(told)
    assert (fates(found)["c1"], reasons(found)["c1"]) == ("out", "not_current")


@pytest.mark.parametrize(
    "before, after, fate",
    [
        pytest.param([], [], "out", id="never had dates"),
        pytest.param([], ["year"], "current", id="gets dates"),
        pytest.param(["open"], [], "frozen", id="had an open end"),
    ],
)
def test_a_class_that_was_published_in_compatibility_mode_and(before: list[str], after: list[str], fate: str):
    sis = provider("sis", "t1 s1", respect_academic_sessions=True, compatibility_mode=True)
    told = begun(
        sis.session("open", "2025-08-18..").teaches("c1", "t1 s1", terms=before).teaches("c2", "t1 s1")
    )
    (sis,) = told.providers
    sis.teaches("c1", terms=after)
    sis.option(compatibility_mode=fate == "frozen")
    assert fates(find(told))["c1"] == fate


def test_turning_compatibility_mode_off_does_not_end_a_class_whose_session_was_shortened():
    sis = provider("sis", "t1 s1", respect_academic_sessions=True, compatibility_mode=True)
    told = begun(sis.session("term", "2025-08-18..2025-12-19").teaches("c1", "t1 s1", terms=["term"]))
    (sis,) = told.providers
    sis.option(compatibility_mode=False).session("term", "2025-08-18..2025-10-10")
    assert fates(find(told))["c1"] == "frozen"


def test_the_option_itself_takes_a_class_out_when_it_is_turned_on():
    sis = provider("sis", "t1 s1").session("later", "2026-01-12..2026-06-12")
    sis.teaches("c1", "t1 s1", terms=["later"]).teaches("c2", "t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    sis.option(respect_academic_sessions=True)
    found = find(told)
    assert (fates(found)["c1"], reasons(found)["c1"]) == ("out", "not_current")


# ------------------------------------------------------------------------------------------ classes


def test_a_class_takes_from_its_course_what_it_lacks():
    sis = provider().course("art", title="Art", code="A1", grades=["07"], subjects=["Art"])
    sis.course("art", courseCode="A1", subjectCodes=["05"])
    sis.teaches("c1", course="art", title="", grades=[], kind="Homeroom").teaches(
        "c2", course="art", title="Clay", grades=["08"]
    )
    rows = {row["source_id"]: row for row in find(story(sis)).classes.to_dict("records")}
    assert (rows["c1"]["title"], rows["c1"]["grades"], rows["c1"]["class_kind"]) == (
        "Art",
        '["07"]',
        "homeroom",
    )
    assert (rows["c1"]["course_code"], rows["c1"]["subject_codes"]) == ("A1", '["05"]')
    assert (rows["c2"]["title"], rows["c2"]["grades"], rows["c2"]["course_title"]) == (
        "Clay",
        '["08"]',
        "Art",
    )


def test_classes_of_a_school_that_is_not_there_are_counted():
    found = find(story(provider().teaches("c1", school="nowhere").teaches("c2", school="")))
    assert [(issue.code, issue.count) for issue in found.issues] == [("RS-REF-04", 1)]


def test_a_session_names_its_parent_only_if_that_is_there():
    sis = (
        provider().session("t", "2025-08-18..2025-10-10", parent="year").session("u", "..", parent="nowhere")
    )
    rows = {row["source_id"]: row for row in find(story(sis)).sessions.to_dict("records")}
    assert rows["t"]["parent_id"] == rows["year"]["session_id"]
    assert rows["u"]["parent_id"] == ""


@pytest.mark.parametrize("sent, kind", [("schoolyear", "schoolYear"), ("GRADINGPERIOD", "gradingPeriod"),
                                        ("term", "term"), ("ext:quarter", "ext:quarter")])  # fmt: skip
def test_kinds_of_sessions_have_one_spelling(sent: str, kind: str):
    found = find(story(provider().session("t", "..", kind=sent))).sessions
    assert found.loc[found["source_id"] == "t", "kind"].tolist() == [kind]


def test_without_classroom_data_no_session_course_or_class_is_kept():
    found = find(story(provider("sis", "t1", sync_classroom_data=False).teaches("c1", "t1")))
    for frame in (found.sessions, found.courses, found.classes):
        assert set(frame["reason"]) == {"classroom_data_off"}


def test_classes_of_an_excluded_school_are_dropped():
    sis = provider("sis", "", exclude_schools=["South School"]).org("south")
    found = find(story(sis.teaches("c1").teaches("c2", school="south")))
    assert reasons(found) == {"c1": "", "c2": "excluded_school"}


# ------------------------------------------------------------------------------------------ weaker sources


def both(one: Provider, other: Provider) -> tuple[set[str], set[str]]:
    """The classes that are published of each."""
    found = find(story(one, other)).classes
    kept = found[found["reason"] == ""]
    return tuple(set(kept.loc[kept["provider_id"] == who, "source_id"]) for who in (1, 2))  # type: ignore[return-value]


def test_where_two_providers_bring_classes_to_one_school_the_stronger_ones_count():
    assert both(provider("sis").teaches("c1"), provider("cl").teaches("c9")) == ({"c1"}, set())


def test_the_larger_priority_is_the_stronger_one():
    sis, cl = provider("sis", merge={"priority": 1}), provider("cl", merge={"priority": 2})
    found = find(story(sis.teaches("c1"), cl.teaches("c9"))).classes
    assert dict(zip(found["source_id"], found["reason"], strict=True)) == {
        "c1": "class_of_weaker_source",
        "c9": "",
    }


@pytest.mark.parametrize("sharing", [{"sis"}, {"cl"}, {"sis", "cl"}])
def test_classes_are_shared_where_the_option_says_so(sharing: set[str]):
    sis = provider("sis", "", share_classes="sis" in sharing).teaches("c1")
    cl = provider("cl", "", share_classes="cl" in sharing).teaches("c9")
    assert both(sis, cl) == ({"c1"}, {"c9"})


def test_at_a_school_of_its_own_the_weaker_providers_classes_count():
    cl = provider("cl").org("south").teaches("c9", school="south").teaches("c8", school="north")
    assert both(provider("sis").teaches("c1"), cl) == ({"c1"}, {"c9"})


def test_the_weaker_providers_classes_count_where_the_stronger_one_has_none():
    assert both(provider("sis"), provider("cl").teaches("c9")) == (set(), {"c9"})


def test_a_stronger_provider_without_classroom_data_takes_no_place():
    sis = provider("sis", "", sync_classroom_data=False).teaches("c1")
    assert both(sis, provider("cl").teaches("c9")) == (set(), {"c9"})


@pytest.mark.parametrize("end", ["2026-06-12", "2025-10-15"], ids=["in its session", "after its session"])
def test_a_stronger_provider_that_cannot_speak_keeps_its_place(end: str):
    sis = provider("sis", "t1 s1").teaches("c1", "t1 s1").session("year", f"2025-08-18..{end}")
    told = begun(sis, provider("cl", "t1 s1").teaches("c9", "t1 s1"))
    told.providers[0].state("failed", "users")
    found = find(told).classes
    assert found.loc[found["source_id"] == "c9", "reason"].tolist() == ["class_of_weaker_source"]


@pytest.mark.parametrize(
    "year, change, gives_way",
    [
        pytest.param("2025-08-18..2026-06-12", lambda sis, told: sis.gone("c1"), True, id="vanished"),
        pytest.param("2025-08-18..", lambda sis, told: sis.gone("c1"), True, id="of no end vanished"),
        pytest.param("2025-08-18..2025-10-16", lambda sis, told: sis.gone("c1"), True, id="on its last day"),
        pytest.param("2025-08-18..2025-10-15", lambda sis, told: sis.gone("c1"), False, id="after its end"),
        pytest.param(
            "2025-08-18..2025-10-16",
            lambda sis, told: sis.gone("c1").option(end_dates="exclusive"),
            False,
            id="on an exclusive end date",
        ),
        pytest.param(
            "2025-08-18..2025-10-15",
            lambda sis, told: sis.option(respect_academic_sessions=True),
            False,
            id="ended, and is still sent",
        ),
        pytest.param(
            "2025-08-18..2026-06-12",
            lambda sis, told: sis.option(sync_classroom_data=False),
            False,
            id="is not wanted any more",
        ),
        pytest.param(
            "2025-08-18..2026-06-12", lambda sis, told: told.retire(sis), False, id="of a retired provider"
        ),
    ],
)
def test_the_weaker_providers_classes_where_the_stronger_ones_only_class(year: str, change, gives_way: bool):
    sis = provider("sis", "t1 s1").session("year", year).teaches("c1", "t1 s1")
    told = begun(sis, provider("cl", "t1 s1").teaches("c9", "t1 s1"))
    change(told.providers[0], told)
    found = find(told).classes
    assert found.loc[found["source_id"] == "c9", "reason"].tolist() == [
        "class_of_weaker_source" if gives_way else ""
    ]


def test_classes_of_no_school_give_way_to_nobody():
    one, other = provider("sis").teaches("c1", school=""), provider("cl").teaches("c9", school="")
    assert both(one, other) == ({"c1"}, {"c9"})


# ------------------------------------------------------------------------------------------ calendars


@pytest.mark.parametrize(
    "when, newest, current",
    [
        (["2025-08-18..2026-06-12"], "2026-06-12", "true"),
        (["2024-08-19..2025-06-13"], "2025-06-13", "false"),
        (["2024-08-19..2025-06-13", "2025-11-01..2026-06-12"], "2026-06-12", "false"),
        (["2025-08-18.."], "9999-12-31", "true"),
        (["..2025-10-15"], "2025-10-15", "true"),
        (["..2025-10-14"], "2025-10-14", "false"),
    ],
)
def test_a_schools_calendar_is_that_of_its_classes(when: list[str], newest: str, current: str):
    sis = provider("sis", "").session("elsewhere", YEAR)
    for place, span in enumerate(when):
        sis.session(f"t{place}", span).teaches(f"c{place}", terms=[f"t{place}"])
    found = find(story(sis)).calendars
    assert found[["newest_end", "current"]].to_numpy().tolist() == [[newest, current]]


def test_each_school_has_its_own_calendar():
    sis = provider("sis", "").org("south").session("past", "2025-02-03..2025-09-26")
    sis.teaches("c1").teaches("c2", school="south", terms=["past"])
    assert sorted(find(story(sis)).calendars["current"]) == ["false", "true"]
