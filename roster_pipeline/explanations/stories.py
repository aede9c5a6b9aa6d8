"""The shapes of what is told of a person, of a class, and of one in the other; plain data, as in `--json`.

How they come about is in `explanation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roster_pipeline.explanations.sentences import Because


@dataclass(frozen=True, slots=True)
class EnrolmentStory:
    """A user's rows in one class and role, or a membership without one (`source_id` ""): what became of them.

    `because` is empty where it is published as it should be; the decisive cause comes first.
    """

    provider: str
    source_id: str
    person: str
    class_title: str
    class_source_id: str
    class_id: str
    school: str
    role: str
    dates: tuple[str, ...]
    """Of each row, `2026-08-15 to 2027-06-10`; "" for one without dates."""
    published: bool
    because: tuple[Because, ...]


@dataclass(frozen=True, slots=True)
class UserStory:
    """One user of a provider or directory: the row as last extracted, and what became of it."""

    provider: str
    source_id: str
    outcome: str
    evidence: str
    since: str
    because: tuple[Because, ...]
    row: Mapping[str, str]
    key: str
    extract: str
    could_be: tuple[str, ...]
    enrolments: tuple[EnrolmentStory, ...]


@dataclass(frozen=True, slots=True)
class PersonStory:
    """One human: what is published of them, each source's part, and the schools that matter."""

    person_id: str
    name: str
    state: str
    """`active`, `inactive`, `removed` or `unpublished`."""
    published: tuple[str, ...]
    users: tuple[UserStory, ...]
    nowhere: tuple[str, ...]
    """The providers none of whose users is or was this person."""
    schools: tuple[Because, ...]
    breaks: tuple[str, ...]
    family: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassStory:
    """One class: whether it is published and why not, when it takes place, who is in it and who is not."""

    class_id: str
    provider: str
    source_id: str
    title: str
    school: str
    is_published: bool
    published: str
    because: tuple[Because, ...]
    row: Mapping[str, str]
    extract: str
    sessions: tuple[str, ...]
    members: Mapping[str, tuple[str, ...]]
    left_out: tuple[EnrolmentStory, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a person is in a class, and why not: the decisive cause first."""

    person: str
    class_title: str
    class_source_id: str
    school: str
    class_is_published: bool
    is_member: bool
    is_enrolled: bool
    """Whether a source has a row of it, whatever became of that."""
    said: str
    because: tuple[Because, ...]
