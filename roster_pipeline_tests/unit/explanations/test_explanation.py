"""Why somebody is not in a class, what became of each user, and what is told of a class, in words.

Every situation is told by the builder; what is looked at is the decisive cause, its code and its words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from roster_pipeline.explanations.explanation import Explanation
from roster_pipeline.explanations.known import Key, Known
from roster_pipeline.explanations.stories import Answer, ClassStory, PersonStory, UserStory
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.tenants.document import Directory as DirectoryOptions
from roster_pipeline_tests.rosters import Directory, Night, Story, begun, provider, school_of, story


def known_of(tenant: Story, /, **changes: Any) -> Known:
    """What both stores would hold after the tenant's last night."""
    night = tenant.nights[-1]
    number = len(tenant.nights)

    def table(name: str) -> list[dict[str, str]]:
        now, then = (
            one.to_dict("records") for one in (getattr(night.published, name), getattr(night.before, name))
        )
        known = {tuple(row[column] for column in KEYS[name]) for row in now}
        gone = [row for row in then if tuple(row[column] for column in KEYS[name]) not in known]
        rows = [*now, *({**row, "removed": "true"} for row in gone)]
        about = {"created_sync": "1", "changed_sync": str(number)}
        return [{**about, **row, "removed_at": row.get("removed", "")} for row in rows]

    names = (
        "people",
        "person_sources",
        "memberships",
        "guardian_links",
        "classes",
        "schools",
        "academic_sessions",
    )
    given: dict[str, Any] = {
        "tenant": tenant.tenant(),
        "names": {who: name for name, who in night.provider_ids.items()},
        "as_of": night.as_of.isoformat(),
        "sync": {
            "sync_id": number,
            "status": night.status,
            "as_of": night.as_of.isoformat(),
            "issues": [issue.as_json() for issue in night.issues],
        },
        "sources": night.found.sources,
        "schools": night.found.schools,
        "sessions": night.found.sessions,
        "current": night.found.current,
        "states": night.found.completeness.schools,
        "identities": night.found.identities,
        "published": {name: table(name) for name in names},
        "remembered": [],
        "trouble": {},
        "days": {place: one.as_of.isoformat() for place, one in enumerate(tenant.nights, start=1)},
    }
    return Known(**(given | changes))


@dataclass
class Told:
    """The stories of a tenant's last night, asked for by the builder's labels."""

    tenant: Story
    changes: dict[str, Any]

    @property
    def night(self) -> Night:
        return self.tenant.nights[-1]

    @property
    def explanation(self) -> Explanation:
        return Explanation(known_of(self.tenant, **self.changes))

    def _subject(self, label: str) -> tuple[str, list[Key]]:
        key = self.night.key(label)
        person = self.explanation.known.owner(key)
        links = self.explanation.known.owners
        return person, [
            key,
            *(other for other, owner in links.items() if owner == person and other != key and person),
        ]

    def class_id(self, label: str) -> str:
        who, source_id = self.night.key(label)
        frame = self.night.found.sessions.classes
        every = [frame, self.night.published.classes, self.night.before.classes]
        found = [
            row["class_id"]
            for one in every
            for row in one.to_dict("records")
            if (row["provider_id"], row["source_id"]) == (who, source_id)
        ]
        return str(found[0])

    def why(self, who: str, class_: str = "c1") -> Answer:
        return self.explanation.answer(*self._subject(who), self.class_id(class_))

    def person(self, who: str) -> PersonStory:
        return self.explanation.person(*self._subject(who))

    def user(self, who: str) -> UserStory:
        name, _, source_id = who.rpartition("/")
        name = name or next(iter(self.night.provider_ids))
        (found,) = [
            user for user in self.person(who).users if (user.provider, user.source_id) == (name, source_id)
        ]
        return found

    def class_(self, label: str = "c1") -> ClassStory:
        return self.explanation.klass(self.class_id(label))


def told(one: Story, /, **changes: Any) -> Told:
    """One more night of the tenant, with everything that must hold, and its stories."""
    one.night().check()
    return Told(one, changes)


def big(**options: Any) -> Any:
    """A school whose class takes a change without a hold."""
    return school_of("t1 s1..s9", **options)


# ------------------------------------------------------------------------ why not in my class?

Change = Callable[[Story], Any]


def sis(tenant: Story) -> Any:
    return tenant.providers[0]


CASES: dict[str, tuple[dict[str, Any], Change, str, str | None, str]] = {
    # options, what happens on the second night, reason, code, words of the decisive cause
    "it ended": (
        {"respect_enrolment_date": True},
        lambda t: sis(t).teaches("c1", "t1 s1[2025-08-18..2025-10-14] s2..s9").teaches("c2", "t1 s1"),
        "not_current", None,
        "The enrolment ended on 2025-10-14 (end dates are inclusive), and `respect_enrolment_date` is on",
    ),
    "it has not begun": (
        {"respect_enrolment_date": True},
        lambda t: sis(t).teaches("c1", "t1 s1[2025-12-01..] s2..s9").teaches("c2", "t1 s1"),
        "not_current", None, "The enrolment begins only on 2025-12-01, and",
    ),
    "its last day, exclusive": (
        {"respect_enrolment_date": True, "end_dates": "exclusive"},
        lambda t: sis(t).teaches("c1", "t1 s1[..2025-10-16] s2..s9").teaches("c2", "t1 s1"),
        "not_current", None, "ended on 2025-10-16 (end dates are exclusive)",
    ),
    "the enrolment is deleted": (
        {}, lambda t: sis(t).rows["enrollments"]["c1-s1"].update(status="tobedeleted"),
        "deleted", None, "sis marks the enrolment as deleted",
    ),
    "the enrolment is not sent": (
        {}, lambda t: sis(t).teaches("c1", "t1 s2..s9"),
        "not_sent", None, "sis sends no enrolment of Given-s1 Family-s1 in this class.",
    ),
    "the user is not sent": (
        {}, lambda t: sis(t).gone("s1"), "not_sent", None, "sis does not send this user any more.",
    ),
    "the user is deleted": (
        {}, lambda t: sis(t).users("s1", status="tobedeleted"),
        "deleted", None, "sis marks the user as deleted",
    ),
    "classroom data are off": (
        {}, lambda t: sis(t).option(sync_classroom_data=False),
        "classroom_data_off", None, "`sync_classroom_data` is off for sis",
    ),
    "the role is not admitted": (
        {}, lambda t: sis(t).option(limit_to={"roles": ["teacher"]}),
        "role_not_admitted", None, "`limit_to.roles` of sis admits none of the roles of Given-s1 Family-s1.",
    ),
    "the grade is not admitted": (
        {}, lambda t: sis(t).option(limit_to={"grades": ["12"]}),
        "grade_not_admitted", None, "`limit_to.grades` of sis does not admit the grade of Given-s1",
    ),
    "the school is not admitted": (
        {}, lambda t: sis(t).org("south").option(limit_to={"schools": ["south"]}),
        "school_not_admitted", None, "`limit_to.schools` of sis admits none",
    ),
    "the class is deleted": (
        {}, lambda t: sis(t).teaches("c1", status="tobedeleted").teaches("c2", "t1 s1..s9"),
        "deleted", None, "sis marks the class as deleted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_decisive_cause_comes_first(case: str):
    options, change, reason, code, words = CASES[case]
    tenant = begun(big(**options), safeguards={"small": 999, "class_rows": 999, "share": 1.0})
    change(tenant)
    answer = told(tenant).why("s1")
    # A user who is taken out of everything at once waits in the class; all the same the cause is told.
    causes = [cause for cause in answer.because if not cause.text.startswith("Still published")]
    assert (causes[0].reason, causes[0].code) == (reason, code)
    assert causes[0].text.startswith(words) or words in causes[0].text


def first(told_: Answer | UserStory | ClassStory) -> tuple[str, str | None, str]:
    cause = told_.because[0]
    return cause.reason, cause.code, cause.text


def test_whoever_is_in_the_class_is_told_so_without_a_cause():
    answer = told(begun(big())).why("s1")
    assert answer.is_member
    assert answer.because == ()
    assert answer.said == (
        "Given-s1 Family-s1 is in Class c1 (North School) as student, first by sync 1 (2025-10-15)."
    )


def test_a_second_enrolment_that_is_over_does_not_matter():
    tenant = begun(big(respect_enrolment_date=True))
    tenant.providers[0].enrol("c1", "s1[2025-08-18..2025-09-01]")
    here = told(tenant)
    assert (here.why("s1").is_member, here.why("s1").because) == (True, ())
    (one,) = here.user("s1").enrolments
    assert (one.published, one.because) == (True, ())
    assert one.dates == ("2025-08-18 to 2025-09-01", "")


def test_a_class_whose_sessions_are_over_says_which_and_when():
    school = big(respect_academic_sessions=True).session("fall", "2025-08-18..2025-10-15")
    school.session("summer", "2025-07-01..2025-08-01").teaches("c2", "t1 s1..s9", terms=["fall"])
    school.teaches("c3", "t1 s1", terms=["summer", "fall"])
    school.session("later", "2026-01-05..2026-02-01").teaches("c4", "t1 s1", terms=["later"])
    school.teaches("c5", "t1 s1", terms=["nowhere"])
    tenant = story(school)
    tenant.night("2025-10-15").check()
    here = told(tenant)
    rule = "`respect_academic_sessions` is on for sis, so only classes of a current session are published."
    assert first(here.why("s1", "c2")) == ("not_current", None, f"Its term fall ended on 2025-10-15; {rule}")
    assert first(here.why("s1", "c3"))[2].startswith("Its last session, term fall, ended on 2025-10-15;")
    assert first(here.why("s1", "c4"))[2].startswith("Its term later begins only on 2026-01-05;")
    assert first(here.why("s1", "c5"))[:2] == ("undated", "RS-SES-03")
    assert here.class_("c2").sessions == ("term fall, 2025-08-18 to 2025-10-15: it ended on 2025-10-15",)
    assert not here.class_("c2").is_published
    assert here.class_("c1").sessions == ("school year year, 2025-08-18 to 2026-06-12: current",)


def test_a_class_of_a_weaker_source_names_the_stronger_one():
    tenant = story(big(), school_of("t1 s1..s9", name="cl").teaches("c7", "t1 s1..s9"))
    here = told(tenant)
    reason, code, text = first(here.why("s1", "cl/c7"))
    assert (reason, code) == ("class_of_weaker_source", None)
    assert text.startswith("sis brings classes to North School too and is the stronger source")
    assert first(here.class_("cl/c7"))[0] == "class_of_weaker_source"


def test_who_has_no_user_in_the_class_source_is_told_where_they_are_missing():
    tenant = story(big(), provider("cl", "t1 s77", share_classes=True).teaches("c7", "t1 s77"))
    tenant.providers[0].option(share_classes=True)
    here = told(tenant)
    assert first(here.why("s1", "cl/c7")) == (
        "no_user", None, "The class comes from cl, and no user of cl is linked with Given-s1 Family-s1.",
    )  # fmt: skip


def test_who_is_at_another_school_is_told_where_they_are_and_where_the_class_is():
    school = big().org("south").users("s20 t20", orgs="south").users("s1..s9 t1", orgs="north")
    answer = told(story(school.teaches("c20", "t20 s20", school="south"))).why("s1", "c20")
    assert [cause.reason for cause in answer.because] == ["other_school", "not_sent"]
    assert answer.because[0].text == (
        "The class is at South School, and Given-s1 Family-s1 is at North School."
    )


def test_a_guardian_is_told_to_be_in_no_class():
    school = big(sync_parent_data=True, relationship_type="guardian").users("g1").users("s1", agents=["g1"])
    answer = told(story(school)).why("g1")
    assert [cause.text for cause in answer.because] == [
        "Given-g1 Family-g1 is a guardian, and guardians are in no class."
    ]


def test_an_excluded_school_is_named():
    tenant = story(big(exclude_schools=["North School"]).org("south").users("s20", orgs="south"))
    answer = told(tenant).why("s1")
    assert first(answer)[2] == "North School is excluded by `exclude_schools` of sis."


def test_a_school_that_is_kept_back_is_told_with_its_code_and_cure():
    tenant = begun(big())
    tenant.providers[0].users("s10").enrol("c1", "s10").gone("t1").users("t9", orgs="")
    here = told(tenant)
    assert here.night.schools == {"North School": "kept"}
    (cause,) = here.person("s1").schools
    assert (cause.reason, cause.code) == ("kept", "RS-SAFE-08")
    assert cause.text == (
        "North School is kept back (the school has no teachers); its roster of 2025-10-15 stays."
    )
    assert cause.cure == "Complete the data, or exclude the school."
    reasons = [one.reason for one in here.why("s10").because]
    assert reasons[0] == "kept"
    assert here.user("s10").because[0].reason == "school_kept_back"


def test_a_provider_that_could_not_be_read_is_the_cause():
    tenant = begun(big())
    tenant.providers[0].state("failed", "users").users("s10").enrol("c1", "s10")
    trouble = {1: [{"code": "RS-NET-01", "message": "The server could not be reached."}]}
    tenant.night()
    here = Told(tenant, {"trouble": trouble})
    answer = here.why("s10")
    assert first(answer) == (
        "not_usable", "RS-NET-01",
        "sis could not be used in the last sync: the server could not be reached. "
        "All of it stays as published.",
    )  # fmt: skip
    assert here.why("s1").is_member
    assert here.user("s1").extract == "users could not be read; enrollments read completely"


def test_a_collection_that_is_not_proven_removes_nothing_and_says_so():
    tenant = begun(big())
    tenant.providers[0].teaches("c1", "t1 s2..s9").state("unproven", "enrollments")
    answer = told(tenant).why("s1")
    assert answer.is_member
    assert first(answer) == (
        "unproven", None, "Still published: sis was not read completely, so nothing of it is removed.",
    )  # fmt: skip


def test_a_removal_that_waits_names_its_code():
    tenant = begun(big())
    tenant.providers[0].teaches("c1", "t1 s9")
    answer = told(tenant).why("s1")
    assert answer.is_member
    assert first(answer)[:2] in {("waits", "RS-SAFE-01"), ("waits", "RS-SAFE-02")}


@pytest.mark.parametrize(
    "sync, reason, code",
    [
        ({"sync_id": 2, "status": "failed", "issues": [{"code": "RS-RUN-99", "message": "It ended."}]},
         "failed", "RS-RUN-99"),
        ({"sync_id": 2, "status": "successful", "dry_run": True, "issues": []}, "dry_run", None),
        (None, "never", None),
    ],
)  # fmt: skip
def test_a_sync_that_published_nothing_is_the_cause_where_nothing_else_is(
    sync: dict[str, Any] | None, reason: str, code: str | None
):
    tenant = begun(big())
    before = known_of(tenant).published
    tenant.providers[0].users("s10").enrol("c1", "s10")
    tenant.night()
    here = Told(tenant, {"sync": sync, "published": before})
    assert first(here.why("s10"))[:2] == (reason, code)


def test_who_has_left_is_told_by_what():
    school = big(respect_enrolment_date=True)
    tenant = begun(school)
    tenant.providers[0].teaches("c1", "t1 s1[..2025-10-15] s2..s9")
    here = told(tenant)
    assert here.user("s1").outcome == "dropped"
    assert first(here.user("s1"))[2] == (
        "Given-s1 Family-s1 has left: a session of their school is current, and none of their enrolments is."
    )
    assert here.person("s1").state == "removed"
    assert here.person("s1").published == (
        "Not published any more: removed by sync 2 (2025-10-16).", first(here.user("s1"))[2],
    )  # fmt: skip


def test_who_has_left_by_rows_that_are_not_sent_any_more_is_told_that():
    tenant = begun(big(respect_enrolment_date=True))
    tenant.providers[0].teaches("c1", "t1 s2..s9")
    text = first(told(tenant).user("s1"))[2]
    assert text.endswith("sis sent enrolments of theirs before, and sends none any more.")


def test_in_the_holidays_who_had_left_is_not_told_of_a_current_session():
    tenant = begun(big(respect_enrolment_date=True))
    sis = tenant.providers[0].teaches("c1", "t1 s1[..2025-10-15] s2..s9")
    tenant.night().check()
    tenant.night("2026-06-13").check()
    here = Told(tenant, {})
    assert here.user("s1").outcome == "dropped"
    assert here.user("s1").because[0].text == (
        "Given-s1 Family-s1 left before: none of their enrolments was current when a session of their school "
        "last was. Between sessions nobody comes back but who is enrolled for the next one."
    )
    sis.session("next", "2026-06-15..2027-06-11").teaches("c1", terms=["next"])
    tenant.night("2026-06-15").check()
    assert "a session of their school is current" in Told(tenant, {}).user("s1").because[0].text


def test_who_is_inactive_is_told_until_when():
    tenant = begun(big())
    tenant.providers[0].gone("s1")
    here = told(tenant)
    assert here.person("s1").state == "inactive"
    assert here.person("s1").published[0] == (
        "Published, but inactive since 2025-10-16: no source that keeps them brings them any more. Removed "
        "by the first complete sync for a day after 2025-10-23 (grace_days is 7)."
    )
    assert here.user("s1").because[0].text == "sis does not send this user any more."


# ------------------------------------------------------------------------ who is who


def test_why_a_user_is_nobodys():
    weaker = provider("cl").option(merge={"attach_to_existing_users_only": True})
    weaker.users("s50").users("s51", email="").users("s52 s53", email="two@north.example")
    weaker.users("s54", email="****").users("s1")
    here = told(story(big(), weaker))
    said = {one: here.user(f"cl/{one}") for one in ("s50", "s51", "s52", "s54", "s1")}
    assert first(said["s50"])[:2] == ("nobody_matches", "RS-IDN-07")
    assert "the e-mail address s50@north.example" in first(said["s50"])[2]
    assert first(said["s51"])[2].startswith("The row has no e-mail address, and cl only attaches")
    assert first(said["s52"])[2].startswith("Another user of cl has the e-mail address two@north.example too")
    assert first(said["s54"])[2].startswith("The e-mail address is masked, and cl only attaches")
    assert first(said["s1"]) == ("email", None, "It has the e-mail address of one known person.")
    assert said["s54"].key == "none: the e-mail address is masked"
    assert said["s52"].key == "two@north.example (email), shared with another user of cl: no key"
    assert said["s1"].key == "s1@north.example (email)"


def test_an_ambiguous_user_is_told_who_it_could_be():
    stronger = provider("sis", "s1 s2").users("s1", email="ann@a.example").users("s2", email="ann@b.example")
    weaker = provider("cl").option(merge={"key": "email_without_domain"}).users("s9", email="ann@c.example")
    here = told(story(stronger, weaker))
    user = here.user("cl/s9")
    assert (user.outcome, *first(user)[:2]) == ("unmatched", "ambiguous", "RS-IDN-01")
    assert "“ann” before the @" in first(user)[2]
    named = {here.night.person("s1"), here.night.person("s2")}
    assert {one.rpartition(" ")[2].rstrip(")") for one in user.could_be} == named
    assert any(one.startswith("Given-s1 Family-s1") for one in user.could_be)


@pytest.mark.parametrize(
    "other, reason",
    [({"role": "teacher"}, "student_and_adult"), ({"family": "Elsewhere"}, "other_family_name")],
)
def test_a_contradiction_is_told_with_the_person_who_would_fit(other: dict[str, str], reason: str):
    weaker = provider("cl").option(merge={"key": "email_without_domain"})
    weaker.users("s9", email="s1@other.example", family="Family-s1")
    weaker.users("s9", **other)
    here = told(story(big(), weaker))
    assert first(here.user("cl/s9"))[:2] == (reason, "RS-IDN-01")
    assert len(here.user("cl/s9").could_be) == 1


def test_why_a_new_person_was_made():
    stronger = provider("sis", "s1").users("s2", email="").users("s3 s4", email="two@north.example")
    here = told(story(stronger))
    assert first(here.user("s1"))[2] == (
        "A new person: nobody was known with the e-mail address s1@north.example."
    )
    assert first(here.user("s2"))[2] == "A new person: the row has no e-mail address, so it joins nobody."
    assert first(here.user("s3"))[:2] == ("shared_key", "RS-IDN-02")


def test_a_sourced_id_that_was_given_to_somebody_else_is_told():
    tenant = begun(big())
    tenant.providers[0].users("s1", identifier="77")
    tenant.night()
    tenant.providers[0].users("s1", given="Other", family="Human", email="new@north.example", identifier="78")
    here = told(tenant)
    assert first(here.user("s1"))[:2] == ("id_reused", "RS-IDN-04")


def test_a_known_user_is_told_by_what_the_link_was_made():
    tenant = begun(big(), school_of("s1", name="cl", share_classes=True))
    here = told(tenant)
    assert (here.user("s1").outcome, here.user("s1").evidence) == ("matched", "link")
    assert first(here.user("s1"))[2] == "Known by its sourcedId: the person was made from this row."
    assert first(here.user("cl/s1"))[2] == "Known by its sourcedId, which was matched by the merge key."
    assert {user.provider for user in here.person("s1").users} == {"sis", "cl"}
    assert here.person("t1").nowhere == ("cl",)


def test_a_directory_is_no_source_of_rows_and_says_what_it_gives():
    tenant = story(big(), directories=[Directory("logins", {"d1": {"email": "s1@north.example"}})])
    logins = DirectoryOptions(name="logins", kind="csv", path="/logins.csv")
    here = told(tenant, tenant=tenant.tenant().model_copy(update={"directories": (logins,)}))
    (user,) = [one for one in here.person("s1").users if one.provider == "logins"]
    assert user.because[0].reason == "directory"


# ------------------------------------------------------------------------ families


def test_a_guardian_is_told_with_the_students_and_why_not_without():
    school = big(sync_parent_data=True, relationship_type="guardian")
    school.users("g1", agents=["s1"]).users("g2").users("g3", email="").users("p1", agents=["s1"])
    here = told(story(school))
    assert here.person("s1").family == ("guardian is Given-g1 Family-g1 (from sis)",)
    assert here.person("g1").family == ("guardian of Given-s1 Family-s1 (from sis)",)
    reasons = {who: first(here.user(who))[0] for who in ("g2", "g3", "p1")}
    assert reasons == {
        "g2": "guardian_without_student", "g3": "guardian_without_contact", "p1": "other_relationship",
    }  # fmt: skip
    assert "no guardian, and `relationship_type` of sis admits nobody else" in first(here.user("p1"))[2]


def test_parent_data_that_are_off_are_told():
    here = told(story(big().users("g1", agents=["s1"])))
    assert first(here.user("g1"))[2] == "This is a family member, and `sync_parent_data` is off for sis."


# ------------------------------------------------------------------------ classes and schools


def test_a_class_names_who_is_in_it_and_who_is_not():
    school = big(respect_enrolment_date=True).teaches("c2", "t1 s1..s9")
    school.teaches("c1", "t1 s1..s7 s8[..2025-10-14] s9[2025-12-01..]")
    told_ = told(story(school)).class_()
    assert told_.is_published
    assert told_.because == ()
    assert {role: len(names) for role, names in told_.members.items()} == {"teacher": 1, "student": 7}
    assert {one.person: one.because[0].text.split(",")[0] for one in told_.left_out} == {
        "Given-s8 Family-s8": "The enrolment ended on 2025-10-14 (end dates are inclusive)",
        "Given-s9 Family-s9": "The enrolment begins only on 2025-12-01",
    }


def test_a_class_that_is_not_sent_any_more_is_told_as_removed():
    tenant = begun(big().teaches("c2", "t1 s1").teaches("c3", "t1 s1"))
    tenant.providers[0].gone("c2")
    here = told(tenant)
    assert not here.class_("c2").is_published
    assert here.class_("c2").published == "Not published any more: removed by sync 2 (2025-10-16)."
    assert first(here.class_("c2"))[0] == "not_sent"


def test_a_class_whose_sessions_vanished_stays_and_says_so():
    tenant = begun(big(respect_academic_sessions=True))
    tenant.providers[0].session("year", "2025-08-18..2025-10-15")
    here = told(tenant)
    assert here.class_().is_published
    assert first(here.class_())[:2] == ("frozen", "RS-SES-02")


def test_a_school_between_sessions_says_that_its_people_stay():
    tenant = begun(big(respect_academic_sessions=True))
    tenant.night("2026-06-20")
    (text,) = Told(tenant, {}).person("s1").breaks
    assert text == (
        "North School is between sessions: none is current on 2026-06-20, and the last one known ended on "
        "2026-06-12. All its people stay meanwhile."
    )


def test_who_was_in_the_class_is_told_since_when_they_are_not():
    tenant = begun(big())
    tenant.providers[0].teaches("c1", "t1 s2..s9")
    assert told(tenant).why("s1").said == (
        "Given-s1 Family-s1 is not in Class c1 (North School) any more: sync 2 (2025-10-16) took them out."
    )


def test_rows_of_an_earlier_night_are_told_with_their_day():
    tenant = begun(big())
    tenant.providers[0].state("stale", "users")
    here = told(tenant, extracted={(1, "users"): 1, (1, "enrollments"): 2})
    assert here.user("s1").extract == (
        "users could not be read; the last complete one is used, and removes nothing (what is shown was read "
        "by sync 1 (2025-10-15)); enrollments read completely"
    )


def test_since_when_a_user_is_linked_is_told():
    tenant = begun(big())
    tenant.night()
    assert told(tenant).user("s1").since == "sync 1 (2025-10-15)"


def test_a_retired_provider_is_told_as_one():
    tenant = begun(big(), school_of("s1 s77", name="cl", share_classes=True))
    tenant.retire(tenant.providers[1])
    names = {1: "sis", 2: "cl"}
    here = told(tenant, names=names)
    links = here.night.published.person_sources.set_index("source_id")["person_id"]
    story_ = here.explanation.person(links["s77"], [(2, "s77")])
    assert story_.users[0].because[0].text == "cl is retired: none of its users counts any more."
    assert story_.state == "inactive"


def test_nothing_of_a_class_that_is_over_is_asked_of_whom_it_has():
    """A person is told of once, whatever number of rows, and a class that is over tells its own cause."""
    school = big(respect_academic_sessions=True).session("fall", "2025-08-18..2025-10-14")
    school.teaches("c2", "t1 s1..s3", terms=["fall"]).enrol("c2", "s1")
    story_ = told(story(school)).class_("c2")
    assert sorted(one.person for one in story_.left_out) == [
        "Given-s1 Family-s1", "Given-s2 Family-s2", "Given-s3 Family-s3", "Given-t1 Family-t1",
    ]  # fmt: skip
    assert {one.because for one in story_.left_out} == {story_.because}


def test_every_user_and_class_of_a_messy_tenant_can_be_told_of_whatever_happened():
    """Nothing that the rules let through may make a story fail, or leave it without words."""
    one = big(sync_parent_data=True, relationship_type="guardian", respect_enrolment_date=True)
    one.users("g1", agents=["s1", "s99"]).users("s10", email="****").users("s11 s12", email="x@north.example")
    one.users("s13", roles=[["student", "nowhere", "", ""]]).users("s14", status="inactive").users(
        "s15", roles=[]
    )
    one.again("users", "s2", given="Newer", modified="2025-10-01").users("s16", given="", family="", email="")
    one.enrol("c1", "s13 s14 s77").enrol("c9", "s1").teaches("c3", "s3[2026-01-01..2025-01-01]", terms=["no"])
    one.teaches("c4", "t1 s4", school="nowhere", course="nothing", title="")
    two = school_of("t1 s1 s2 s30", name="cl").option(merge={"key": "email_without_domain"})
    tenant = story(one, two, keeps_back=())
    tenant.night().check()
    one.gone("s4", "c3").users("s1", status="tobedeleted").option(exclude_schools=["south"]).org("south")
    two.state("failed", "enrollments")
    here = told(tenant)
    known = here.explanation.known
    explanation = Explanation(known)
    users = {*known.users, *known.owners}
    classes = {*known.class_rows, *(row["class_id"] for row in known.published["classes"])}
    assert len(users) > 20
    assert len(classes) == 3
    for key in users:
        person = explanation.person(known.owner(key), [key])
        assert person.name
        assert all(user.because for user in person.users), key
        for class_id in classes:
            answer = explanation.answer(known.owner(key), [key], class_id)
            assert answer.is_member or answer.because, (key, class_id)
    for class_id in classes:
        assert explanation.klass(class_id).published


def test_a_source_that_only_attaches_is_told_to_keep_nobody():
    weaker = provider("cl", "s1", merge={"attach_to_existing_users_only": True})
    tenant = begun(big(), weaker)
    tenant.providers[0].gone("s1")
    assert told(tenant).person("s1").published[-1] == (
        "cl still has them, but only attaches to existing users: it keeps nobody."
    )


def test_a_reason_whose_ground_is_not_to_be_found_is_told_alone():
    tenant = begun(big())
    tenant.night()
    night = tenant.nights[-1]
    frame = night.found.current.enrolments
    frame.loc[frame["user_ref"] == "s1", "reason"] = "class_dropped"
    (cause,) = Told(tenant, {}).user("s1").enrolments[0].because[-1:]
    assert (cause.reason, cause.text) == ("class_dropped", "The class is not published.")


def test_dates_do_not_matter_where_no_rule_asks_for_them():
    school = big().session("fall", "2025-08-18..2025-10-01").teaches("c2", "t1 s1", terms=["fall"])
    here = told(story(school.enrol("c1", "s10[..2025-09-01]").users("s10")))
    assert (here.why("s10").is_member, here.why("s10").because) == (True, ())
    assert (here.why("s1", "c2").is_member, here.why("s1", "c2").because) == (True, ())


def test_who_is_missing_from_a_list_that_is_not_proven_is_not_called_gone_for_good():
    tenant = begun(big())
    tenant.providers[0].gone("s1").state("unproven", "users")
    here = told(tenant)
    assert here.person("s1").state == "active"
    assert here.user("s1").because[0].text == (
        "sis did not send this user, but nothing proves that its list was complete: nobody goes."
    )
