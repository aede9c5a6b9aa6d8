"""What each reason means, in words for the people of a school. One table for all of them.

The rules decide with short words (`left`, `not_current`, …); here stands what each one says, with the
code of the catalogue that it belongs to and what can be done. Put a new reason's sentence here: a test
looks for reasons without one. Which reason holds is for the rules, how a story is told for `explanation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from roster_pipeline.codes import CATALOGUE


@dataclass(frozen=True, slots=True)
class Because:
    """One cause in plain words; `code` is the catalogue's, `cure` what can be done, each if there is one."""

    reason: str
    text: str
    code: str | None = None
    cure: str | None = None


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    cure: str | None = None
    code: str | None = None


Table = dict[str, _Sentence]

_SENT_TWICE: Final = _Sentence("The row came more than once; only the newest one counts.", code="RS-ROW-05")
_NO_ID: Final = _Sentence("The row has no sourcedId, so nobody can tell whose it is.", code="RS-ROW-01")
_DELETED: Final = _Sentence(
    "{provider} marks the {what} as deleted (`tobedeleted` or `inactive`).",
    "If that is wrong, restore it in the school's system.",
)
_CLASSROOM_OFF: Final = _Sentence(
    "`sync_classroom_data` is off for {provider}: its people are synced, but no classes and memberships.",
    "Turn `sync_classroom_data` on if its classes are wanted.",
)
_WEAKER: Final = _Sentence(
    "{stronger} brings classes to {school} too and is the stronger source; classes of two sources are not "
    "mixed in one school, so this one of {provider} is left out.",
    "None needed if {stronger} has the class too; else enter it there, or set `share_classes: true`.",
)
_FORGOTTEN: Final = _Sentence(
    "Whose row it is was erased on request, and {provider} may not bring them back.",
    "If they are to come back, `roster-pipeline forget --lift` lets them, by the number of the receipt.",
    "RS-IDN-11",
)
_KEPT_BACK: Final = _Sentence("{school} is kept back, so nothing new of it is published.")

DROPPED: Final[Table] = {
    "no_id": _NO_ID,
    "duplicate": _SENT_TWICE,
    "deleted": _DELETED,
    "forgotten": _FORGOTTEN,
    "left": _Sentence(
        "{name} has left: a session of their school is current, and none of their enrolments is.",
        "If they have not left, correct the dates of their enrolments in the school's system.",
    ),
    "left_before": _Sentence(
        "{name} left before: none of their enrolments was current when a session of their school last was. "
        "Between sessions nobody comes back but who is enrolled for the next one.",
        "If they have not left, enter their enrolments for the next session in the school's system.",
    ),
    "parent_data_off": _Sentence(
        "This is a family member, and `sync_parent_data` is off for {provider}.",
        "Turn `sync_parent_data` on if guardians are wanted.",
    ),
    "other_relationship": _Sentence(
        "This is a family member, but no {relationship_type}, and `relationship_type` of {provider} admits "
        "nobody else.",
        "Change `relationship_type` if these family members are wanted.",
    ),
    "guardian_without_contact": _Sentence(
        "This guardian has neither an e-mail address nor a phone number.", code="RS-GRD-01"
    ),
    "guardian_without_student": _Sentence(
        "None of the students whom {provider} links with this guardian is in the roster.",
        "Link the guardian with a student in the school's system, and share both with the app.",
    ),
    "excluded_school": _Sentence(
        "All schools of {name} are excluded by `exclude_schools` of {provider}.",
        "Take the school out of `exclude_schools` if it is wanted.",
    ),
    "role_not_admitted": _Sentence(
        "`limit_to.roles` of {provider} admits none of the roles of {name}.",
        "Add the role to `limit_to.roles` if it is wanted.",
    ),
    "school_not_admitted": _Sentence(
        "`limit_to.schools` of {provider} admits none of the schools of {name}.",
        "Add the school to `limit_to.schools` if it is wanted.",
    ),
    "grade_not_admitted": _Sentence(
        "`limit_to.grades` of {provider} does not admit the grade of {name}.",
        "Add the grade to `limit_to.grades` if it is wanted.",
    ),
    "school_kept_back": _Sentence(
        "All schools of {name} are kept back, and nothing was published of this user before."
    ),
}
"""Why a user is left out."""

UNMATCHED: Final[Table] = {
    "ambiguous": _Sentence(
        "More than one person has {key}, so nobody can tell which one this is.", code="RS-IDN-01"
    ),
    "student_and_adult": _Sentence(
        "A person with {key} is known, but one of the two is a student and the other an adult.",
        code="RS-IDN-01",
    ),
    "other_family_name": _Sentence(
        "A person with {key} is known, but the family names differ.",
        "Correct the family name or the e-mail address in the source that is wrong.",
        "RS-IDN-01",
    ),
    "nobody_matches": _Sentence(
        "Nobody is known with {key}, and {provider} only attaches to existing users.", code="RS-IDN-07"
    ),
    "shared_key": _Sentence(
        "Another user of {provider} has {key} too, so it joins nobody, and {provider} only attaches to "
        "existing users.",
        "Give each person an e-mail address of their own.",
        "RS-IDN-07",
    ),
    "no_key": _Sentence(
        "{no_key}, and {provider} only attaches to existing users.",
        "Enter the e-mail address in the school's system, and share it with the app unmasked.",
        "RS-IDN-07",
    ),
    "stronger_never_complete": _Sentence(
        "A stronger source has never been read completely, and until then {provider} creates nobody.",
        code="RS-IDN-06",
    ),
    "person_is_gone": _Sentence(
        "The person whom this user is linked with is not in any other source any more, and {provider} only "
        "attaches to existing users.",
        code="RS-IDN-07",
    ),
}
"""Why a user is nobody's."""

CREATED: Final[Table] = {
    "nobody_matches": _Sentence("A new person: nobody was known with {key}."),
    "no_key": _Sentence("A new person: {no_key}, so it joins nobody."),
    "shared_key": _Sentence(
        "A new person: another user of {provider} has {key} too, so it joins nobody.", code="RS-IDN-02"
    ),
    "key_taken": _Sentence(
        "A new person: who is known with {key} has a row of {provider} already, and two rows of one source "
        "are two people."
    ),
    "other_names": _Sentence("A new person: who was known with {key} is gone and had other names."),
    "several_gone": _Sentence(
        "A new person: several people who are gone were known with {key} and these names, and nobody can "
        "tell which of them returns."
    ),
    "id_reused": _Sentence(
        "A new person: names, identifier and e-mail under this sourcedId have all changed, so it was given "
        "to somebody else.",
        code="RS-IDN-04",
    ),
}
"""Why a new person was made."""

LINK: Final[Table] = {
    "created": _Sentence("Known by its sourcedId: the person was made from this row."),
    "key": _Sentence("Known by its sourcedId, which was matched by the merge key."),
    "returned": _Sentence("Known by its sourcedId: the person had gone and came back with it."),
    "joined": _Sentence(
        "Known by its sourcedId; it was a person of its own until two people turned out to be one."
    ),
    "directory": _Sentence("Known by its id in the directory."),
    "folded": _Sentence(
        "The same human as another row of {provider}, by its identifiers; that one was known already."
    ),
}
"""What a match by an earlier link rests on: by what the link was made."""

KEY: Final[Table] = {
    "email": _Sentence("It has the e-mail address of one known person."),
    "email_without_domain": _Sentence("Its e-mail address before the @ is that of one known person."),
}
RETURNED: Final[Table] = {
    "email": _Sentence(
        "Somebody who had gone had this e-mail address and both names: the same person returns."
    ),
    "email_without_domain": _Sentence(
        "Somebody who had gone had this e-mail address before the @, and both names: the same person returns."
    ),
    "identifier": _Sentence(
        "{provider} has given its users new sourcedIds; an old one had this identifier and both names.",
        code="RS-SAFE-19",
    ),
}

GONE: Final[Table] = {
    "not_sent": _Sentence(
        "{provider} does not send this user any more.",
        "If they still belong here, check in the school's system whether they are shared with the app.",
    ),
    "not_proven": _Sentence(
        "{provider} did not send this user, but nothing proves that its list was complete: nobody goes."
    ),
    "provider_retired": _Sentence("{provider} is retired: none of its users counts any more."),
}
"""Why a user of earlier syncs is none of tonight's."""

ENROLMENT: Final[Table] = {
    "no_id": _NO_ID,
    "duplicate": _SENT_TWICE,
    "deleted": _DELETED,
    "forgotten": _FORGOTTEN,
    "refers_to_nothing": _Sentence(
        "The enrolment names a {missing} that {provider} does not send.", code="RS-REF-01"
    ),
    "not_current": _Sentence(
        "{when}, and `respect_enrolment_date` is on for {provider}.",
        "If that is wrong, correct the dates of the enrolment in the school's system.",
    ),
    "class_of_weaker_source": _WEAKER,
    "classroom_data_off": _CLASSROOM_OFF,
    "class_dropped": _Sentence("The class is not published."),
    "user_dropped": _Sentence("{name} is left out of what {provider} sends."),
    "user_unmatched": _Sentence("{name} was not matched with any person."),
    "school_kept_back": _KEPT_BACK,
    "not_sent": _Sentence(
        "{provider} sends no enrolment of {name} in this class.",
        "Enter {name} in the class in the school's system. If they are there, share it with the app.",
    ),
    "no_user": _Sentence(
        "The class comes from {provider}, and no user of {provider} is linked with {name}.",
        "Share {name} with the app in {provider}. If they are there, their e-mail address may differ.",
    ),
    "other_school": _Sentence("The class is at {school}, and {name} is at {theirs}."),
    "family": _Sentence("{name} is a guardian, and guardians are in no class."),
    "not_published": _Sentence(
        "Nothing that the sync found speaks against it, but it is not published.", "Sync again.", "RS-RUN-99"
    ),
}
"""Why an enrolment is no membership, or there is none at all."""

CLASS: Final[Table] = {
    "no_id": _NO_ID,
    "duplicate": _SENT_TWICE,
    "deleted": _DELETED,
    "not_current": _Sentence(
        "{sessions}; `respect_academic_sessions` is on for {provider}, so only classes of a current session "
        "are published.",
        "If that is wrong, correct the terms of the class, or their dates, in the school's system.",
    ),
    "undated": _Sentence(
        "No session with dates could be found for the class, and `respect_academic_sessions` is on for "
        "{provider}.",
        code="RS-SES-03",
    ),
    "classroom_data_off": _CLASSROOM_OFF,
    "excluded_school": _Sentence(
        "{school} is excluded by `exclude_schools` of {provider}.",
        "Take the school out of `exclude_schools` if it is wanted.",
    ),
    "class_of_weaker_source": _WEAKER,
    "school_kept_back": _KEPT_BACK,
    "not_published": _Sentence(
        "Nothing that the sync found speaks against it, but it is not published.", "Sync again.", "RS-RUN-99"
    ),
    "not_sent": _Sentence(
        "{provider} does not send this class any more.",
        "If it still takes place, check in the school's system whether it is shared with the app.",
    ),
}
"""Why a class is not published."""

FATE: Final[Table] = {
    "current": _Sentence("It takes place now."),
    "ended": _Sentence("Its last session is over.", code="RS-SES-04"),
    "frozen": _Sentence("Its sessions vanished or were changed; it stays as published.", code="RS-SES-02"),
    "gap": _Sentence("It lies between two of its own sessions; it stays as published."),
    "out": _Sentence("None of its sessions is current."),
}
"""What has become of a class by its sessions."""

ORG: Final[Table] = {
    "no_id": _NO_ID,
    "duplicate": _SENT_TWICE,
    "deleted": _DELETED,
    "not_a_school": _Sentence("It is not a school, but a district or a department."),
    "excluded_school": CLASS["excluded_school"],
}
SESSION: Final[Table] = {
    "no_id": _NO_ID, "duplicate": _SENT_TWICE, "deleted": _DELETED, "classroom_data_off": _CLASSROOM_OFF,
}  # fmt: skip
"""Also of courses."""

SCHOOL: Final[Table] = {
    "published": _Sentence("{school} is published."),
    "kept": _Sentence("{school} is kept back ({cause}){last_good}."),
    "silent": _Sentence(
        "None of the sources of {school} could be used, so it stays as it is{last_good}.", code="RS-PRV-02"
    ),
    "excluded": _Sentence("{school} is excluded by the settings{last_good}."),
    "retired": _Sentence("All sources of {school} are retired, so it is not published any more."),
}
"""What became of a school."""

COLLECTION: Final[Table] = {
    "ok": _Sentence("read completely"),
    "delta": _Sentence(
        "read by what its source says has changed: what it does not say comes with the next full reading"
    ),
    "unproven": _Sentence(
        "read, but nothing proves that it is complete: it adds and changes, and removes nothing"
    ),
    "stale": _Sentence("could not be read; the last complete one is used, and removes nothing"),
    "failed": _Sentence("could not be read"),
}
"""The state of a collection of an extract."""

SOURCE: Final[Table] = {
    "not_usable": _Sentence(
        "{provider} could not be used in the last sync: {trouble}. All of it stays as published."
    ),
    "directory": _Sentence(
        "The directory {provider} knows them. It gives the identity and the login e-mail."
    ),
}
"""What is to be said of a source as a whole."""

SYNC: Final[Table] = {
    "never": _Sentence("Nothing was ever synced."),
    "failed": _Sentence("The last sync ({sync}) failed and published nothing new: {trouble}."),
    "dry_run": _Sentence(
        "The last sync ({sync}) was a dry run: it published nothing.", "Sync without `--dry-run`."
    ),
}
"""Why a sync published nothing."""

STAYS: Final[Table] = {
    "school": _Sentence("Still published: {school} keeps its last good roster."),
    "waits": _Sentence("Still published: its removal waits, because many would go at once."),
    "unproven": _Sentence(
        "Still published: {provider} was not read completely, so nothing of it is removed."
    ),
    "sync": _Sentence("Still published: the last sync published nothing new."),
    "session": _Sentence("Still published: the class stays as it was until its sessions are settled."),
}
"""Why something is published that tonight's rows do not bring."""

AREAS: Final[dict[str, Table]] = {
    "dropped": DROPPED, "unmatched": UNMATCHED, "created": CREATED, "link": LINK, "key": KEY,
    "returned": RETURNED, "gone": GONE, "enrolment": ENROLMENT, "class": CLASS, "fate": FATE, "org": ORG,
    "session": SESSION, "school": SCHOOL, "collection": COLLECTION, "stays": STAYS,
    "source": SOURCE, "sync": SYNC,
}  # fmt: skip


_BEGINS: Final = ("{no_key}", "{when}", "{sessions}")
"""Parts of a sentence that may begin one; a name keeps its own letters."""


def because(area: str, reason: str, code: str | None = None, **words: Any) -> Because:
    """The sentence for a reason, with `words` filled in; the catalogue's cure where it has none itself.

    A reason without a sentence is told as it is: an explanation must not fail for a missing one.
    """
    sentence = AREAS[area].get(reason)
    if sentence is None:
        return Because(reason, f"{reason.replace('_', ' ').capitalize()}.")
    code = code or sentence.code
    cure = sentence.cure or (CATALOGUE[code].cure if code else None)
    text = sentence.text.format_map(_Words(words))
    if sentence.text.startswith(_BEGINS):
        text = text[:1].upper() + text[1:]
    return Because(reason, text, code, cure and cure.format_map(_Words(words)))


class _Words(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return {"name": "this person", "provider": "the source", "school": "the school"}.get(name, "?")
