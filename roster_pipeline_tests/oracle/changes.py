"""What happens in a made-up tenant from night to night."""

from __future__ import annotations

import datetime as dt
from typing import Final

from roster_pipeline_tests.oracle.tenants import Human, Made, domain_of, leave, people_of, take_role
from roster_pipeline_tests.rosters import Provider

CHANGES: Final = (
    "leave", "return", "email", "surname", "reuse", "join", "new-id", "drop-enrolment", "many-leave",
    "class-gone", "class-new", "session-gone", "jump-term", "jump-grace", "unproven", "stale", "failed",
    "no-teachers", "values-gone", "exclude", "swap", "phone", "other-email", "delete", "school-gone",
    "empty", "limit-grades", "limit-roles", "classroom-data", "enrolment-date", "parent-data",
    "holidays", "session-gone",
)  # fmt: skip


def change(made: Made) -> None:
    """What is different on the next night."""
    made.as_of += dt.timedelta(days=1)
    made.told.append("--")
    for one in made.providers:
        one.states.clear()
        for collection, rows in made.hidden.pop(one.name, {}).items():
            one.rows[collection] |= rows
        made.told.append(one.name)
        most = len(one.rows["orgs"])
        for _ in range(made.rng.choice((0, 1, most, most, most + 1))):
            kind = made.rng.choice(CHANGES)
            made.told.append(kind)
            _happen(made, one, kind)
            if kind in ("unproven", "stale", "failed", "empty"):
                break


def _happen(made: Made, one: Provider, kind: str) -> None:
    rng, users = made.rng, one.rows["users"]
    schools = [name for name, row in one.rows["orgs"].items() if row["type"] == "school"]
    if not schools:
        return
    school = rng.choice(schools)
    students = people_of(made, one, school, "s")
    if not students:
        return
    some = rng.choice(students)
    human = next(human for human in made.humans if human.sids.get(one.name) == some)
    repeated = {row["sourcedId"] for _, row in one.repeated}
    if some in repeated and kind not in ("leave", "many-leave"):
        return
    if kind == "leave":
        leave(made, one, some)
    elif kind == "return":
        for name, who in [key for key in made.away if key[0] == one.name]:
            row, mine = made.away.pop((name, who))
            if who not in users:
                users[who] = row
                one.rows["enrollments"] |= {
                    k: e for k, e in mine.items() if e["class"] in one.rows["classes"]
                }
    elif kind == "email":
        users[some]["email"] = f"new{human.number}.{made.as_of.day}@{domain_of(one)}"
    elif kind == "other-email":
        users[some]["email"] = users[rng.choice(students)]["email"]
    elif kind == "swap":
        other = rng.choice(students)
        users[some]["email"], users[other]["email"] = users[other]["email"], users[some]["email"]
    elif kind == "surname":
        users[some]["familyName"] = f"Married{human.number}"
    elif kind == "phone":
        users[some]["phone"] = rng.choice(("", f"556 {human.number}"))
    elif kind == "reuse" and users[some].get("identifier"):
        n = 500 + human.number + made.as_of.day
        users[some] |= {
            "givenName": f"Given{n}",
            "familyName": f"Family{n}",
            "identifier": f"{n}",
            "email": f"h{n}@{domain_of(one)}",
        }
    elif kind == "join":
        new = Human(len(made.humans), "s", school, {one.name: f"s{len(made.humans)}"})
        made.humans.append(new)
        one.users(new.sids[one.name], orgs=school, email=f"{new.local}@{domain_of(one)}")
        one.enrol(f"{school}-all", new.sids[one.name])
    elif kind == "new-id":
        row, old = users[some], [e for e in one.rows["enrollments"].values() if e["user"] == some]
        one.gone(some)
        new_id = f"{some}n"
        users[new_id] = {**row, "sourcedId": new_id}
        for enrolment in old:
            one.enrol(enrolment["class"], new_id)
        human.sids[one.name] = new_id
    elif kind == "drop-enrolment":
        mine_ = [key for key, row in one.rows["enrollments"].items() if row["user"] == some]
        if len(mine_) > 1:
            del one.rows["enrollments"][rng.choice(mine_)]
    elif kind == "many-leave":
        for who in rng.sample(students, min(len(students) - 1, rng.choice((4, 5, 7)))):
            leave(made, one, who)
    elif kind == "delete":
        users[some]["status"] = "tobedeleted"
        for key in [key for key, row in one.rows["enrollments"].items() if row["user"] == some]:
            del one.rows["enrollments"][key]
    elif kind == "class-gone":
        mine_ = [
            name for name in one.rows["classes"] if name.startswith(school) and not name.endswith("-all")
        ]
        if mine_ and not repeated:
            one.gone(rng.choice(mine_))
    elif kind == "class-new":
        name = f"{school}-new{made.as_of.day}"
        one.teaches(name, " ".join(students[:3]), school=school, terms=[f"{school}-year"])
    elif kind == "session-gone":
        mine_ = [n for n in one.rows["academicSessions"] if n.startswith(school) and not n.endswith("-year")]
        named = [row["terms"][0] for row in one.rows["classes"].values() if len(row["terms"]) == 1]
        if mine_:
            gone = rng.choice([n for n in mine_ if n in named] or mine_)
            if made.maybe(0.5):
                one.rows["academicSessions"][gone]["endDate"] = "2025-10-14"
            else:
                del one.rows["academicSessions"][gone]
    elif kind == "jump-term":
        made.as_of = (
            max(made.as_of, dt.date(2025, 11, 8))
            if made.maybe(0.5)
            else max(made.as_of, dt.date(2025, 12, 20))
        )
    elif kind == "holidays":
        made.as_of = max(made.as_of, dt.date(2026, 6, 20))
        for who in students:  # some are entered for the year after, whether they had left or not
            if made.maybe(0.3):
                one.enrol(f"{school}-all", f"{who}[2026-08-17..]")
    elif kind == "jump-grace":
        made.as_of += dt.timedelta(days=rng.choice((6, 7, 8)))
    elif kind == "unproven":
        one.state("unproven", "users", "enrollments", *(("classes",) if made.maybe(0.4) else ()))
    elif kind == "empty" and not one.repeated:  # "a collection that had rows and is empty now": unproven
        made.hidden[one.name] = {name: dict(one.rows[name]) for name in ("users", "enrollments")}
        one.empty("users", "enrollments").state("unproven", "users", "enrollments")
    elif kind == "limit-grades":
        one.option(limit_to={} if one.options.get("limit_to") else {"grades": ["09"]})
    elif kind == "limit-roles" and not made.flaws & {"two-rows", "teacher-guardian", "odd-role"}:
        one.option(limit_to={"roles": ["student", "teacher"]})
    elif kind == "classroom-data":
        one.option(sync_classroom_data=not one.options["sync_classroom_data"])
    elif kind == "enrolment-date":
        one.option(respect_enrolment_date=not one.options["respect_enrolment_date"])
    elif kind == "parent-data" and one.options.get("sync_parent_data"):
        one.option(sync_parent_data=False, relationship_type=None)
    elif kind == "stale" and "dangling-many" not in made.flaws:  # the page does not say what refers past
        one.state("stale", "users", "enrollments")
    elif kind == "failed":
        one.state("failed")
    elif kind == "no-teachers":
        take_role(made, one, school, "t")
    elif kind == "values-gone":
        for who in users:
            users[who]["phone"] = ""
    elif kind == "exclude":
        shared = sum(school in other.rows["orgs"] for other in made.providers) > 1
        if not shared:
            now = one.options.get("exclude_schools")
            one.option(
                exclude_schools=[] if now else [school],
                excluded_rosters=rng.choice(("keep", "keep", "remove")),
            )
    elif kind == "school-gone" and len(schools) > 1:
        for who in [*students, *people_of(made, one, school, "t"), *people_of(made, one, school, "g")]:
            leave(made, one, who)
        for name in [name for name in one.rows["classes"] if name.startswith(school)]:
            one.gone(name)
