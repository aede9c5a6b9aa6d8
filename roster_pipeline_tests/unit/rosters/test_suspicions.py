"""Why a hold looks as it does: each pattern, and that nothing is said where there is none."""

from __future__ import annotations

from typing import Any

from roster_pipeline_tests.rosters import Provider, Story, begun, names, school_of, story

CLASSES = names("c1..c6")


def school(**options: Any) -> Provider:
    sis = school_of("t1 t2 s1..s20", **options)
    for number, name in enumerate(CLASSES, 1):
        sis.teaches(name, "t1 s1..s9", title=f"Maths {number}", code=f"M{number}")
    return sis


def whys(tenant: Story) -> dict[str, str]:
    """Kind of row → the pattern of the last night's hold."""
    return {one.kind: one.why for one in tenant.nights[-1].found.roster.held if not one.class_id}


def test_classes_called_alike_under_new_ids_at_another_time_of_the_year():
    tenant = begun(school())
    sis = tenant.providers[0].session("next", "2025-09-01..2026-06-12")
    sis.gone(*CLASSES)
    for number in range(1, 7):
        sis.teaches(f"n{number}", "t1 s1..s9", title=f"MATHS {number}", code=f"M{number}", terms=["next"])
    tenant.night().check()
    assert whys(tenant)["classes"].startswith("6 of them are called like classes that came under other ids")


def test_what_was_said_first_is_said_again():
    tenant = begun(school_of("t1 t2 s1..s9"))
    tenant.providers[0].gone("s1..s9").users("s31..s39").enrol("c1", "s31..s39")
    tenant.night().check()
    first = whys(tenant)
    assert first["people"].startswith("They are all that have the role student")
    tenant.night().check()
    assert whys(tenant) == first


def test_classes_that_end_soon():
    tenant = begun(school())
    sis = tenant.providers[0].session("year", "2025-08-18..2025-11-10")
    tenant.night().check()
    sis.gone(*CLASSES[:5])
    tenant.night().check()
    assert whys(tenant)["classes"] == (
        "5 of them end by 2025-11-10: the system may have closed its term early."
    )


def test_the_same_at_most_schools():
    sis = school_of("t1 s1..s9").org("south").users("t2 s11..s19", orgs="south")
    for n in range(1, 7):
        sis.teaches(f"n{n}", "t1 s1..s9").teaches(f"s{n}0", "t2 s11..s19", school="south")
    tenant = story(sis)
    tenant.night().check()
    sis.gone(*(f"n{n}" for n in range(1, 7)), *(f"s{n}0" for n in range(1, 6)))
    tenant.night().check()
    assert whys(tenant)["classes"].startswith("The same waits at 2 of 2 schools")


def test_others_came_in_their_place():
    tenant = begun(school())
    tenant.providers[0].gone("s1..s12").users("s31..s42").enrol("c1", "s31..s42")
    tenant.night().check()
    assert whys(tenant)["people"] == "12 others came at the same time."


def test_whole_pages_of_a_server():
    sis = school(
        kind="classlink", endpoint_url="https://sis.example/", client_id="env:A",
        client_secret="env:B", page_size=10,
    )  # fmt: skip
    tenant = story(sis)
    tenant.night().check()
    sis.gone("s9..s20")  # two teachers and eight students are one page
    tenant.night().check()
    assert whys(tenant)["people"].startswith("sis sent exactly 10 users, which is whole pages of 10")


def test_ids_that_are_written_in_another_way():
    tenant = begun(school())
    sis = tenant.providers[0].gone(*CLASSES)
    for number in range(1, 7):
        sis.teaches(f"00C-{number}", "t1 s1..s9", title="Maths")
    tenant.night().check()
    assert whys(tenant)["classes"].startswith("6 of them came under ids that differ only in letter case")


def test_a_column_that_no_row_has_any_more():
    sis = school(sync_parent_data=True, relationship_type="parent")
    sis.users("p1..p6", agents="")
    for number in range(1, 7):
        sis.users(f"s{number}", agents=[f"p{number}"])
    tenant = begun(sis)
    for number in range(1, 7):
        tenant.providers[0].users(f"s{number}", agents=[])
    tenant.night().check()
    assert whys(tenant)["guardian_links"].startswith("No row of sis's users has a value of agents")


def test_where_there_is_no_pattern_nothing_is_said():
    tenant = begun(school())
    tenant.providers[0].gone("s1..s12")
    night = tenant.night().check()
    assert whys(tenant)["people"] == ""
    assert any(one.message.endswith("would go at once; they wait.") for one in night.issues)
