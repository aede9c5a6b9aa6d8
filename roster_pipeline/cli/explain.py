"""`roster-pipeline explain`: the story of one person or class, and why one is not in the other.

What is told is made in `explanations`; here is how it looks. Stories hold personal data: they go to
stdout alone, and so do near spellings of what was asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from roster_pipeline.cli import REFUSED, tell
from roster_pipeline.codes import CATALOGUE

if TYPE_CHECKING:
    from roster_pipeline.explanations.explanation import Explanation
    from roster_pipeline.explanations.findings import Findings, Subject
    from roster_pipeline.explanations.sentences import Because
    from roster_pipeline.explanations.stories import (
        Answer,
        ClassStory,
        EnrolmentStory,
        PersonStory,
        UserStory,
    )

WIDTH: Final = 110
_SHOWN_NAMES: Final = 40
_FIELDS: Final = {"grades": "grade", "dateLastModified": "changed", "classCode": "code"}

Lines = Iterator[tuple[int, str]]
"""Indent, and a text that may be broken."""


@click.command()
@click.argument("tenant", metavar="T")
@click.option(
    "--person", "who", metavar="WHO",
    help="An e-mail address, a sourcedId (or PROVIDER/SOURCEDID), a username, an identifier or a person id.",
)  # fmt: skip
@click.option(
    "--class", "which", metavar="WHICH",
    help="A title, a class code, a sourcedId (or PROVIDER/SOURCEDID) or a class id.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document on one line.")
def explain(tenant: str, who: str | None, which: str | None, as_json: bool) -> None:
    """Tell the story of a person or class of the tenant T: what is published, and why not more.

    With both, it answers in one paragraph: why is this person not in this class?
    """
    from roster_pipeline.explanations.explanation import Explanation
    from roster_pipeline.explanations.findings import Findings, NobodyFitsError
    from roster_pipeline.store.home import Home

    if who is None and which is None:
        raise click.UsageError("Say of whom or what: --person WHO, --class WHICH, or both.")
    stores = Home.find(os.environ).stores()
    try:
        findings = Findings(stores, tenant)
        try:
            people = findings.people(who) if who is not None else []
            classes = findings.classes(which) if which is not None else []
        except NobodyFitsError as error:
            _nobody(error, tenant, as_json=as_json)
        explanation = Explanation(findings.known(people, classes))
        if as_json:
            click.echo(json.dumps(_document(findings, explanation, people, classes), ensure_ascii=False))
            return
        _print(_header(findings))
        if who is not None and which is not None:
            for answer in _answers(explanation, people, classes):
                _print(_answer(answer))
        else:
            for subject in people:
                _print(_person(explanation.person(subject.person_id, subject.users)))
            for class_id in classes:
                _print(_class(explanation.klass(class_id)))
    finally:
        stores.database.dispose()


def _nobody(error: Any, tenant: str, *, as_json: bool) -> None:
    """Says that nothing fits; near spellings may be addresses of people, so they go to stdout."""
    if as_json:
        told = {"tenant": tenant, "code": error.code, "message": error.message, "near": list(error.near)}
        click.echo(json.dumps(told, ensure_ascii=False))
    elif error.near:
        click.echo("Near spellings, letter case counts:")
        for spelling in error.near:
            click.echo(f"  {spelling}")
    tell(error.code, error.message)
    raise click.exceptions.Exit(REFUSED)


def _answers(explanation: Explanation, people: Sequence[Subject], classes: Sequence[str]) -> list[Answer]:
    """Of several classes with one name, those that have to do with the person."""
    every = [
        explanation.answer(subject.person_id, subject.users, class_id)
        for subject in people
        if subject.person_id or subject.users
        for class_id in classes
    ]
    fits: Sequence[Callable[[Answer], bool]] = (
        lambda told: told.is_member,
        lambda told: told.is_enrolled and told.class_is_published,
        lambda told: told.is_enrolled,
        lambda told: told.class_is_published,
    )
    for fit in fits:
        if some := [told for told in every if fit(told)]:
            return some
    return every


def _document(
    findings: Findings, explanation: Explanation, people: Sequence[Subject], classes: Sequence[str]
) -> dict[str, Any]:
    sync = findings.sync or {}
    return {
        "tenant": findings.tenant,
        "sync": {name: sync.get(name) for name in ("sync_id", "status", "as_of", "finished_at")}
        | {"dry_run": bool(sync.get("dry_run")), "rules_of": findings.rules_of},
        "document_changed_since": findings.changed_since.isoformat() if findings.changed_since else None,
        "answers": [asdict(told) for told in _answers(explanation, people, classes)]
        if people and classes
        else [],
        "people": [asdict(explanation.person(one.person_id, one.users)) for one in people],
        "classes": [asdict(explanation.klass(class_id)) for class_id in classes],
    }


# ------------------------------------------------------------------------------------ how it looks


def _print(lines: Lines) -> None:
    width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
    for indent, text in lines:
        room = " " * indent
        click.echo(
            textwrap.fill(
                text, width, initial_indent=room, subsequent_indent=room + "  ",
                break_long_words=False, break_on_hyphens=False,
            )
            if text
            else ""
        )  # fmt: skip


def _header(findings: Findings) -> Lines:
    sync = findings.sync or {}
    number, day = sync["sync_id"], sync["as_of"]
    worse = [issue["code"] for issue in sync["issues"] if issue["severity"] != "note"]
    codes = " ".join(dict.fromkeys(worse))
    if sync.get("dry_run"):
        how = "was a dry run: what follows is what it found, and nothing of it was published"
    elif sync["status"] == "failed":
        how = f"failed ({codes}): nothing new was published"
    else:
        how = f"was {sync['status']}" + (f" ({codes})" if sync["status"] == "partial" else "")
    yield 0, f"{findings.tenant}: the last sync, {number} for {day}, {how}."
    if findings.rules_of != number:
        of = f"what sync {findings.rules_of} found" if findings.rules_of else "only what was extracted"
        yield 0, f"It ended before its rules did: what follows is {of}."
    if findings.changed_since:
        yield (
            0,
            f"The tenant's document was changed since ({findings.changed_since:%Y-%m-%d %H:%M} UTC): "
            "the next sync may decide otherwise.",
        )
    yield 0, ""


def _because(causes: Iterable[Because], indent: int) -> Lines:
    for cause in causes:
        yield indent, cause.text
        yield from _cures([cause], indent)


def _cures(causes: Iterable[Because], indent: int) -> Lines:
    """What can be done, each thing once."""
    for cure, code in dict.fromkeys((cause.cure, cause.code) for cause in causes if cause.cure):
        owner = f" ({code}; who acts: {CATALOGUE[code].owner})" if code else ""
        yield indent, f"→ {cure}{owner}"


def _answer(told: Answer) -> Lines:
    yield 0, told.said
    first, rest = told.because[:1], told.because[1:]
    yield from _because(first, 2)
    if rest:
        yield 2, "Besides:"
        yield from _because(rest, 4)
    yield 0, ""


def _person(story: PersonStory) -> Lines:
    yield 0, story.name + (f"  ·  person {story.person_id}" if story.person_id else "  ·  no person")
    for text in story.published:
        yield 2, text
    for text in story.family:
        yield 2, f"Family: {text}."
    yield from _because(story.schools, 2)
    for text in story.breaks:
        yield 2, text
    for user in story.users:
        yield 0, ""
        yield from _user(user, story.schools)
    if story.nowhere and story.users:
        yield 0, ""
        yield 2, f"No user of {', '.join(story.nowhere)} is linked with this person."
    yield 0, ""


def _user(user: UserStory, known: Sequence[Because]) -> Lines:
    since = f", {'linked ' if user.outcome == 'matched' else ''}since {user.since}" if user.since else ""
    yield 2, f"{user.provider} · {user.source_id}" + (f" · {user.outcome}{since}" if user.outcome else "")
    yield from _because(user.because, 4)
    for one in user.could_be:
        yield 6, f"could be {one}"
    if user.row:
        yield 4, "row: " + ", ".join(_field(name, value) for name, value in user.row.items())
    if user.key:
        yield 4, f"merge key: {user.key}"
    if user.extract:
        yield 4, f"extract: {user.extract}"
    yield from _enrolments(user.enrolments, known)


def _field(name: str, value: str) -> str:
    if name in ("name", "title", "roles", "email", "status", "school", "classType"):
        return value
    if name == "enabledUser":
        return "enabled" if value == "true" else "not enabled" if value == "false" else f"enabled: {value}"
    return f"{_FIELDS.get(name, name)} {value}"


def _enrolments(several: Iterable[EnrolmentStory], known: Sequence[Because]) -> Lines:
    """A line for each class, the decisive cause below it; what can be done comes once, at the end.

    `known` has been told already.
    """
    together: dict[Because | None, list[EnrolmentStory]] = {}
    for one in several:
        together.setdefault(one.because[0] if one.because else None, []).append(one)
    for cause, alike in together.items():
        for one in alike:
            span = ", ".join(span for span in one.dates if span)
            said = [one.class_title, one.school, one.role, span]
            yield 4, f"{'in    ' if one.published else 'not in'}  {' · '.join(part for part in said if part)}"
        if cause is not None:
            yield 12, _of_all(alike) + cause.text
    yield from _cures([cause for cause in together if cause is not None and cause not in known], 4)


def _of_all(several: Sequence[object]) -> str:
    match len(several):
        case 1:
            return ""
        case 2:
            return "Both: "
        case count:
            return f"All {count}: "


def _class(story: ClassStory) -> Lines:
    where = f" · {story.school}" if story.school else ""
    yield 0, f"{story.title}{where}  ·  class {story.class_id}"
    yield 2, story.published
    yield from _because(story.because, 2)
    yield 0, ""
    yield 2, f"{story.provider} · {story.source_id}"
    if story.row:
        yield 4, "row: " + ", ".join(_field(name, value) for name, value in story.row.items())
    yield 4, f"extract: {story.extract}"
    for text in story.sessions:
        yield 4, f"session: {text}"
    if not story.sessions:
        yield 4, "session: none that could be found"
    for role, names in story.members.items():
        yield 4, f"in: {len(names)} {role}{'s' if len(names) != 1 else ''}: {_listed(names)}"
    if not story.members:
        yield 4, "in: nobody"
    together: dict[tuple[Because, ...], list[str]] = defaultdict(list)
    for told in story.left_out:
        own = tuple(cause for cause in told.because if cause not in story.because)
        together[own].append(f"{told.person} ({told.role})")
    for causes, people in together.items():
        yield 4, f"not in: {_listed(people)}"
        if causes:
            yield 12, causes[0].text
        elif not story.because:
            yield 12, "For no reason that is known."
    yield from _cures([causes[0] for causes in together if causes], 4)
    yield 0, ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more
