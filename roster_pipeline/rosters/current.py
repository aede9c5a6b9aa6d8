"""Which enrolments count on the day, and which users they keep (oneroster.md §7, product.md).

Every row gets a reason for being dropped, or ""; the counts add up by construction. Who is who
comes later, in `identities`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import columns, rows
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.sessions import CURRENT, FROZEN, GAP, Sessions
from roster_pipeline.rosters.source import Published, Source, Tonight

FIELDS = {
    "given_name": "givenName",
    "middle_name": "middleName",
    "family_name": "familyName",
    "preferred_given_name": "preferredFirstName",
    "preferred_family_name": "preferredLastName",
    "email": "email",
    "username": "username",
    "identifier": "identifier",
    "phone": "phone",
    "sms": "sms",
    "grades": "grades",
}
"""A person's fields → the user's columns that they come from."""

USER_COLUMNS = [
    "provider_id", "source_id", "reason", *FIELDS, "enabled", "roles", "schools", "family",
    "student", "left", "masked", "master", "user_ids", "agents",
]  # fmt: skip
ENROLMENT_COLUMNS = [
    "provider_id", "source_id", "reason", "class_id", "class_ref", "user_ref", "school_id", "role",
    "is_primary", "begin_date", "end_date", "dangling",
]  # fmt: skip

_REASONS = [
    "refers_to_nothing", "not_current", "class_of_weaker_source", "classroom_data_off", "class_dropped",
    "user_dropped",
]  # fmt: skip
"""Why an enrolment is dropped, beside what holds of the rows of every collection."""

DATED, VANISHED = "dates", "vanished"
"""Why a student has left: by the dates, or because the enrolments are no longer sent."""


@dataclass(slots=True)
class Current:
    """Users and enrolments of tonight, every row of every usable provider.

    Attributes:
        users: `USER_COLUMNS`. `roles` is a JSON array of [role, school_id]; `schools` one of the
            school_ids of orgs and enrolments; `family` "true" for those who are nothing but a
            parent, guardian or relative; `left` is `dates`, `vanished` or "".
        enrolments: `ENROLMENT_COLUMNS`, all but the first two coded (`rows.coded`). `dangling` "true" where
            user or class does not exist.
    """

    users: pd.DataFrame
    enrolments: pd.DataFrame
    issues: list[Issue] = field(default_factory=list)


def find_current(
    sources: Sequence[Source], schools: Schools, sessions: Sessions, published: Published, tonight: Tonight
) -> Current:
    """The enrolments and users that count on `tonight.as_of`, under each provider's options."""
    issues: list[Issue] = []
    users, enrolments = [], []
    in_session = {
        row.school_id: row.current == "true" for row in rows.each(sessions.calendars) if row.school_id
    }
    by_org = published.schools_by_org() | schools.by_org()
    for source in sources:
        if not source.usable:
            continue
        whose = _Whose.of(source)
        found = _enrolments(source, whose, schools, sessions, by_org, tonight, issues)
        judge = _Judge(source, schools, by_org, in_session, tonight)
        kinds = _kinds(source, whose, found, sessions, published, tonight)
        users.append(_users(source, judge, *kinds))
        issues.extend(judge.issues())
        kept = (users[-1]["reason"] == "").to_numpy(dtype=bool)
        dropped = (found["reason"] == "").to_numpy() & ~whose.enrolments_of(kept)
        found["reason"] = rows.mapped_where(found["reason"], dropped, "user_dropped")
        enrolments.append(found)
    return Current(rows.stacked(users, USER_COLUMNS), rows.stacked(enrolments, ENROLMENT_COLUMNS), issues)


@dataclass(frozen=True, slots=True)
class _Whose:
    """Whom a provider's enrolments are of: users and enrolments that belong together have one number.

    Attributes:
        enrolment: The number of each enrolment.
        user: The number of each row of users; -1 of those without any enrolment.
        count: How many numbers there are.
    """

    enrolment: np.ndarray
    user: np.ndarray
    count: int

    @classmethod
    def of(cls, source: Source) -> _Whose:
        codes, names = rows.coded(source.frames["enrollments"]["user"])
        return cls(codes, rows.places(pd.Series(names), source.frames["users"]["sourcedId"]), len(names))

    def enrolments_of(self, users: np.ndarray) -> np.ndarray:
        """Whether each enrolment is of one of these users."""
        marks = np.zeros(self.count + 1, dtype=bool)
        marks[self.user[users]] = True
        found: np.ndarray = marks[self.enrolment]
        return found

    def users_of(self, enrolments: np.ndarray) -> np.ndarray:
        """Whether each user has one of these enrolments."""
        marks = np.zeros(self.count + 1, dtype=bool)
        marks[self.enrolment[enrolments]] = True
        found: np.ndarray = marks[self.user]
        return found


def _enrolments(
    source: Source,
    whose: _Whose,
    schools: Schools,
    sessions: Sessions,
    by_org: dict[tuple[int, str], str],
    tonight: Tonight,
    issues: list[Issue],
) -> pd.DataFrame:
    """The provider's enrolments; also those of classes that are dropped, for the date rule.

    The extra columns: `counts`, whether the enrolment keeps its student (dates and class current);
    `active`, whether there is such a row at all.
    """
    frame = source.frames["enrollments"]
    options = source.options
    code, reasons = rows.reason_codes(frame)
    reasons += _REASONS
    begin, end, unread, turned = rows.span(frame["beginDate"], frame["endDate"])
    classes = _classes(source, sessions)
    has_user = whose.enrolments_of((source.frames["users"]["sourcedId"] != "").to_numpy(dtype=bool))
    active = code == 0
    # What a class is follows from its id: it is looked up once for each, and its place taken for each row.
    of_class, class_ids = rows.coded(frame["class"])
    at = classes.index.get_indexer(class_ids)
    known = (at >= 0)[of_class]
    fate, class_reason, class_id, school = (
        ["", *classes[name].tolist()] for name in ("fate", "reason", "class_id", "school_id")
    )
    at = (at + 1)[of_class]  # of one that is not there, the first: nothing
    dangling = active & (~known | ~has_user)
    in_time = np.ones(len(frame), dtype=bool)
    if options.respect_enrolment_date:
        in_time = rows.within(
            begin, end, tonight.as_of, exclusive=options.end_dates == "exclusive"
        ).to_numpy()
    lives = ~known | rows.taken(
        [
            one in (CURRENT, FROZEN, GAP) and why != rows.DELETED
            for one, why in zip(fate, class_reason, strict=True)
        ],
        at,
    )
    for why, rule in (
        ("refers_to_nothing", dangling),
        ("not_current", ~in_time),
        ("class_of_weaker_source", rows.taken([why == "class_of_weaker_source" for why in class_reason], at)),
        ("classroom_data_off", np.full(len(frame), not options.sync_classroom_data)),
        ("class_dropped", rows.taken([why != "" for why in class_reason], at)),
    ):
        code[(code == 0) & rule] = reasons.index(why)
    school_id = _schools_of_enrolments(frame["school"], source, by_org, at, school)
    excluded = {school for who, school in schools.excluded if who == source.provider_id}
    adrift = dangling
    if excluded:  # silently: nothing is told of their rows
        told = ~rows.among(school_id, excluded).to_numpy()
        adrift = dangling & told
        *_, unread, turned = rows.span(frame["beginDate"][told], frame["endDate"][told])
    for issue, count, what in (
        ("RS-ROW-03", unread, "dates of enrolments could not be read"),
        ("RS-ROW-04", turned, "enrolments begin after they end"),
        ("RS-REF-01", int(adrift.sum()), "enrolments refer to users or classes that are not there"),
    ):
        if count:
            issues.append(Issue(issue, f"{count} {what}.", provider=source.name, count=count))
    return pd.DataFrame(
        {
            "provider_id": source.provider_id,
            "source_id": frame["sourcedId"],
            "reason": rows.decoded(code, reasons, frame.index),
            "class_id": rows.decoded(at, class_id, frame.index),
            "class_ref": rows.as_coded(frame["class"]),
            "user_ref": rows.as_coded(frame["user"]),
            "school_id": school_id,
            "role": rows.as_coded(rows.mapped(frame["role"], vocabulary.role)),
            "is_primary": rows.as_coded(rows.mapped(frame["primary"], _truth)),
            "begin_date": rows.as_coded(begin),
            "end_date": rows.as_coded(end),
            "dangling": rows.decoded(dangling.astype("int8"), ["", "true"], frame.index),
            "counts": active & in_time & lives,
            "active": active,
        }
    )


def _schools_of_enrolments(
    orgs: pd.Series, source: Source, by_org: dict[tuple[int, str], str], at: np.ndarray, school: list[str]
) -> pd.Series:
    """The school_id of each enrolment: its class's, or where there is no such class its own.

    `at` are the places of the classes in `school`, 0 where there is none.
    """
    codes, different = rows.coded(orgs)
    own = [by_org.get((source.provider_id, org), "") for org in different.tolist()]
    return rows.decoded(np.where(at > 0, at, codes + len(school)), [*school, *own], orgs.index)


def _classes(source: Source, sessions: Sessions) -> pd.DataFrame:
    """The provider's usable rows of `sessions.classes`, by sourcedId."""
    mine = sessions.classes["provider_id"] == source.provider_id
    usable = ~sessions.classes["reason"].isin([rows.NO_ID, rows.DUPLICATE])
    return sessions.classes[mine & usable].set_index("source_id")


def _earlier(one: pd.Series, other: pd.Series) -> pd.Series:
    """The earlier of two ISO dates each; one that is missing does not limit."""
    return one.where((other == "") | ((one != "") & (one < other)), other)


def _truth(text: str) -> str:
    value = vocabulary.boolean(text)
    return "" if value is None else "true" if value else "false"


@dataclass(frozen=True, slots=True)
class _Kind:
    """All that decides about a user: few differ in it.

    Attributes:
        reason: Why the row cannot be used, or "".
        grades: Of usable rows, "" unless grades are limited.
        contact: Whether there is an e-mail address or a number.
        schools: Those of the enrolments that count; `all_schools` also those of past ones.
        current: Whether any enrolment counts.
        some: Whether there is any enrolment at all.
        ever: Whether one was ever sent; like `linked` looked up only of those without any and those who left.
        linked: Whether they stand behind somebody published.
        left: Whether they had left before, and do not.
        entered: Whether those who had left are entered for a later day.
    """

    reason: str
    roles: str
    grades: str
    contact: bool
    schools: frozenset[str]
    all_schools: frozenset[str]
    current: bool
    some: bool
    ever: bool
    linked: bool
    left: bool
    entered: bool


def _kinds(
    source: Source,
    whose: _Whose,
    enrolments: pd.DataFrame,
    sessions: Sessions,
    published: Published,
    tonight: Tonight,
) -> tuple[np.ndarray, list[_Kind]]:
    """The kinds of users that there are, and of each row of users which of them it is."""
    frame = source.frames["users"]
    reason, ids = rows.reasons(frame), frame["sourcedId"]
    counts, active = (enrolments[name].to_numpy() for name in ("counts", "active"))
    here, schools = _schools_of_users(whose, enrolments["school_id"], counts)
    anywhere, all_schools = _schools_of_users(whose, enrolments["school_id"], active)
    some = whose.users_of(active)
    usable = (reason == "").to_numpy(dtype=bool)
    left = usable & (rows.places(_of_provider(published.left, source)["source_id"], ids) >= 0)
    unsure = usable & (left | ~some)
    ever = unsure & whose.users_of(np.ones(len(enrolments), dtype=bool))
    linked, entered = np.zeros_like(left), np.zeros_like(left)
    if unsure.any():
        ever[unsure] |= _are_named(ids[unsure], _of_provider(published.enrolled, source))
        linked[unsure] = _are_named(ids[unsure], _of_provider(published.live_links, source))
        left &= ~linked
    if left.any():
        theirs = enrolments[active & whose.enrolments_of(left)]
        entered[left] = rows.among(ids[left], _entered(source, theirs, sessions, tonight))
    table = pd.DataFrame(
        {
            "reason": reason,
            "roles": frame["roles"],
            "grades": frame["grades"] if source.options.limit_to.grades else "",
            "contact": np.any([frame[name] != "" for name in ("email", "phone", "sms")], axis=0),
            "schools": here,
            "all_schools": anywhere,
            "current": whose.users_of(counts),
            "some": some,
            "ever": ever,
            "linked": linked,
            "left": left,
            "entered": entered,
        }
    )
    number, met = rows.kinds(table, *table.columns)
    return number, [
        _Kind(why, roles, grades, contact, schools[one], all_schools[other], *standing)
        for why, roles, grades, contact, one, other, *standing in rows.keys(met, *table.columns)
    ]


def _are_named(ids: pd.Series, others: pd.DataFrame) -> np.ndarray:
    """Whether each of a few different ids is the source_id of one of many other rows."""
    found = np.zeros(len(ids) + 1, dtype=bool)
    found[rows.places(ids, others["source_id"])] = True
    return found[:-1]


def _schools_of_users(
    whose: _Whose, school_ids: pd.Series, chosen: np.ndarray
) -> tuple[np.ndarray, list[frozenset[str]]]:
    """The sets of schools that users have by these enrolments, and which of them is each user's."""
    codes, names = rows.coded(school_ids)
    chosen = chosen & rows.holds(school_ids, bool)
    user, school = whose.enrolment[chosen], codes[chosen] + 1
    sets = [frozenset[str](), *(frozenset({name}) for name in names.tolist())]
    found = np.zeros(whose.count + 1, dtype="int64")
    found[user] = school  # one of them: most have no other
    is_other = school != found[user]
    held: dict[int, frozenset[str]] = {}
    others = np.unique(user[is_other].astype("int64") * len(sets) + school[is_other])
    for one, other in zip(*(part.tolist() for part in np.divmod(others, len(sets))), strict=True):
        held[one] = held.get(one, sets[found[one]]) | sets[other]
    known: dict[frozenset[str], int] = {}
    for one, several in held.items():
        found[one] = known.setdefault(several, len(sets) + len(known))
    return found[whose.user], [*sets, *known]


def _entered(source: Source, active: pd.DataFrame, sessions: Sessions, tonight: Tonight) -> set[str]:
    """The users whom one of these enrolments will keep from a later day on."""
    if active.empty:
        return set()
    active = active.astype("str")  # few: those who had left
    first, last = active["begin_date"], active["end_date"]
    classes = _classes(source, sessions)
    if source.options.respect_academic_sessions:
        start, end = (
            active["class_ref"].map(classes[name]).astype("str").fillna("")
            for name in ("start_date", "end_date")
        )
        first, last = first.where(first > start, start), _earlier(last, end)
    deleted = active["class_ref"].map(classes["reason"]) == rows.DELETED
    to_come = (first > tonight.day) & ((last == "") | (first <= last)) & ~deleted
    return set(active.loc[to_come, "user_ref"].tolist())


def _of_provider(frame: pd.DataFrame, source: Source) -> pd.DataFrame:
    return rows.where(frame, (frame["provider_id"] == source.provider_id).to_numpy(dtype=bool))


def _users(source: Source, judge: _Judge, number: np.ndarray, kinds: list[_Kind]) -> pd.DataFrame:
    frame = source.frames["users"]
    often = np.bincount(number, minlength=len(kinds)).tolist()
    verdict = pd.DataFrame(
        [judge.verdict(kind, count) for kind, count in zip(kinds, often, strict=True)],
        columns=["reason", "roles", "schools", "family", "student", "left"],
        dtype="str",
    ).iloc[number]
    verdict.index = frame.index
    fields = {ours: frame[theirs] for ours, theirs in FIELDS.items()}
    hidden = np.zeros(len(frame), dtype=bool)
    for name in ("given_name", "family_name", "email", "middle_name"):
        masked = _are_masked(fields[name])
        if masked.any():  # a masked value is no value
            hidden |= masked
            fields[name] = fields[name].mask(masked, "")
    return pd.DataFrame(
        {
            "provider_id": source.provider_id,
            "source_id": frame["sourcedId"],
            **fields,
            "enabled": rows.mapped(frame["enabledUser"], _truth),
            **{name: verdict[name] for name in verdict.columns},
            "masked": pd.array(["", "true"], dtype="str").take(hidden.astype("int64")),
            "master": frame["userMasterIdentifier"],
            "user_ids": frame["userIds"],
            "agents": frame["agents"] if source.options.sync_parent_data else "",
        }
    )


def _are_masked(values: pd.Series) -> np.ndarray:
    """Whether each value only says that something is hidden; what cannot is told by columns."""
    masked = np.array(pc.match_substring_regex(columns.as_text(values), vocabulary.MAY_BE_MASKED), dtype=bool)
    masked[masked] = rows.holds(values[masked], vocabulary.is_masked)
    return masked


def _some(ids: set[str], most: int = 3) -> str:
    """A few of these ids of schools, and how many more there are."""
    told = ", ".join(sorted(ids)[:most])
    return f"{told} and {len(ids) - most} more" if len(ids) > most else told


_Role = tuple[str, str, str, bool, bool]
"""role, school_id, org, whether its own dates admit it tonight, and whether they still do or will."""


_Verdict = tuple[str, str, str, str, str, str]
"""reason, roles, schools, family, student, left"""


class _Judge:
    """Decides one kind of users at a time; counts what must be told."""

    def __init__(
        self,
        source: Source,
        schools: Schools,
        by_org: dict[tuple[int, str], str],
        in_session: dict[str, bool],
        tonight: Tonight,
    ) -> None:
        self.source, self.options, self.tonight = source, source.options, tonight
        self.in_session, self.by_org = in_session, by_org
        self.excluded = {school for who, school in schools.excluded if who == source.provider_id}
        self.limited = schools.limited.get(source.provider_id)
        self.limit_roles = {vocabulary.role(role) for role in self.options.limit_to.roles}
        self.limit_grades = set(self.options.limit_to.grades)
        self.exclusive = self.options.end_dates == "exclusive"
        self.rows_prove_absence = source.states.get("enrollments") in ("ok", "stale")
        self.no_sessions = self.options.compatibility_mode and source.frames["academicSessions"].empty
        self.unscheduled = self.no_contact = self.unknown_org = self.left_out = 0
        self.unknown_orgs: set[str] = set()
        self.unknown_roles: set[str] = set()
        self._parsed: dict[str, list[_Role]] = {}

    def _roles(self, text: str) -> list[_Role]:
        """The entries of a user's roles; parsed once a text."""
        parsed = self._parsed.get(text)
        if parsed is None:
            parsed = self._parsed[text] = []
            for role, org, begin, end in rows.parse_list(text):
                school = self.by_org.get((self.source.provider_id, org))
                first, last = vocabulary.date(begin), vocabulary.date(end)
                if first and last and first > last:
                    first = last = ""
                dated, lasts = (
                    rows.day_within(begins, last, self.tonight.as_of, exclusive=self.exclusive)
                    for begins in (first, "")
                )
                name = vocabulary.role(role)
                if not vocabulary.is_known_role(name) and school not in self.excluded:
                    self.unknown_roles.add(name)
                parsed.append((name, school or "", "" if school is not None else org, dated, lasts))
        return parsed

    def verdict(self, kind: _Kind, count: int) -> _Verdict:
        """What becomes of the users of a kind, of whom there are so many."""
        if kind.reason == rows.FORGOTTEN:
            return self._forgotten(kind.roles, count)
        if kind.reason:
            return kind.reason, "", "", "", "", ""
        options = self.options
        entries = self._roles(kind.roles)
        nowhere = {entry[2] for entry in entries} - {""}
        self.unknown_org += count * bool(nowhere)
        self.unknown_orgs |= nowhere
        wanted = options.relationship_type if options.sync_parent_data else None
        held = [entry for entry in entries if vocabulary.family(entry[0]) in ("", wanted)]
        family = bool(held) and all(vocabulary.is_family(entry[0]) for entry in held)
        schools = kind.schools.union(entry[1] for entry in held if entry[1])
        # Else of those of past enrolments: a school that is outdated has no others.
        schools = schools or kind.all_schools
        why = left = ""
        student = any(entry[0] == "student" for entry in held)
        if entries and not held:
            why = "parent_data_off" if not options.sync_parent_data else "other_relationship"
        elif family and not kind.contact:
            why = "guardian_without_contact"
            self.no_contact += count * (not (schools and schools <= self.excluded))
        elif schools and schools <= self.excluded:
            why = "excluded_school"
        elif self.limit_roles and not any(entry[0] in self.limit_roles for entry in held):
            why = "role_not_admitted"
        elif self.limited is not None and not schools & self.limited:
            why = "school_not_admitted"
        elif student and self.limit_grades and not self.limit_grades & set(rows.parse_list(kind.grades)):
            why = "grade_not_admitted"
        elif student and options.respect_enrolment_date:
            left = self._left(kind, held, count)
            if left:
                held = [entry for entry in held if entry[0] != "student"]
                why = "" if held else "left"
        pairs = sorted({(entry[0], entry[1]) for entry in held if entry[1] not in self.excluded})
        return (
            why,
            rows.as_list([list(pair) for pair in pairs]),
            # A school that the provider is not to bring places nobody who has another one.
            rows.as_list(sorted(schools - self.excluded or schools)),
            "true" if family else "",
            "true" if student else "",
            left,
        )

    def _forgotten(self, roles: str, count: int) -> _Verdict:
        """Of blank rows: their roles alone, which say nothing of a person."""
        self.left_out += count
        held = sorted({(entry[0], entry[1]) for entry in self._roles(roles) if entry[1]})
        schools = sorted({school for _, school in held})
        return rows.FORGOTTEN, rows.as_list([list(pair) for pair in held]), rows.as_list(schools), "", "", ""

    def _left(self, kind: _Kind, held: list[_Role], count: int) -> str:
        """Whether a student has left, and by what: a session of their school is current, and no enrolment."""
        if kind.current and any(entry[3] for entry in held if entry[0] == "student"):
            return ""
        orgs = {entry[1] for entry in held if entry[0] == "student" and entry[1]}
        calendars = {
            self.in_session[school] for school in orgs or kind.all_schools if school in self.in_session
        }
        if not calendars and self.no_sessions:
            calendars = {True}  # the minimum implementation has no sessions: the dates alone decide
        if not calendars or not all(calendars):
            # Between sessions all people of the school stay. Who had left is none of them, until they are
            # entered for the next session; whose removal waits, or nothing proved to go, still is one.
            entered = kind.entered and any(entry[4] for entry in held if entry[0] == "student")
            if not kind.left or entered:
                return ""
            return DATED if kind.some else VANISHED
        if kind.some:
            return DATED
        if kind.ever and (self.rows_prove_absence or not kind.linked):
            return VANISHED  # without proof nobody goes; but who had left before does not come back
        if not self.rows_prove_absence:
            return ""
        self.unscheduled += count
        return ""

    def issues(self) -> list[Issue]:
        """What must be told of the users that were judged."""
        return [*self._misspelt_grades(), *self._counted()]

    def _misspelt_grades(self) -> Iterator[Issue]:
        """Grades that no student has: compared as text, 9 is not 09, and all of a grade would go."""
        if not self.limit_grades or not self.source.proven("users"):
            return
        texts = self.source.frames["users"]["grades"].unique()
        met = {grade for text in texts for grade in rows.parse_list(text)}
        name, told = self.source.name, ", ".join(sorted(met)) or "none"
        for grade in sorted(self.limit_grades - met):
            message = f"limit_to.grades names “{grade}”, which nobody of {name} has; grades met: {told}."
            yield Issue("RS-REF-07", message, provider=name)

    def _counted(self) -> list[Issue]:
        told = (
            ("RS-IDN-08", self.unscheduled, "students have no enrolment yet and were kept"),
            ("RS-GRD-01", self.no_contact, "guardians have neither e-mail nor phone and were left out"),
            (
                "RS-REF-04",
                self.unknown_org,
                f"users name an org that is not there: {_some(self.unknown_orgs)}",
            ),
            ("RS-ROW-02", len(self.unknown_roles), "roles are not OneRoster's and were kept as they came"),
            ("RS-IDN-11", self.left_out, "users were left out, because they are forgotten"),
        )
        return [
            Issue(code, f"{count} {what}.", provider=self.source.name, count=count)
            for code, count, what in told
            if count
        ]
