"""Who reads while syncs are killed: processes that poll, and tell every answer that they got.

An answer is told by its digest. Whoever asked knows the old roster's and the new one's; a third is a
mixture of both.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from sqlalchemy import Engine, text

from roster_pipeline.store import database
from roster_pipeline_tests.graph.killing import PROCESSES

# From the memberships to what they name, from people and classes to memberships, and everything at once:
# one statement each.
_FROM_MEMBERSHIPS: Final = """
    SELECT p.family_name, c.title, s.name, m.role, m.end_date FROM current_memberships m
    LEFT JOIN current_people p ON p.tenant = m.tenant AND p.person_id = m.person_id
    LEFT JOIN current_classes c ON c.tenant = m.tenant AND c.class_id = m.class_id
    LEFT JOIN current_schools s ON s.tenant = c.tenant AND s.school_id = c.school_id
    WHERE m.tenant = :tenant"""
_FROM_PEOPLE: Final = """
    SELECT p.given_name, p.family_name, c.title FROM current_people p
    LEFT JOIN current_memberships m ON m.tenant = p.tenant AND m.person_id = p.person_id
    LEFT JOIN current_classes c ON c.tenant = m.tenant AND c.class_id = m.class_id
    WHERE p.tenant = :tenant"""
_FROM_CLASSES: Final = """
    SELECT c.title, p.given_name, p.family_name FROM current_classes c
    LEFT JOIN current_memberships m ON m.tenant = c.tenant AND m.class_id = c.class_id
    LEFT JOIN current_people p ON p.tenant = m.tenant AND p.person_id = m.person_id
    WHERE c.tenant = :tenant"""
_FROM_LINKS: Final = """
    SELECT g.family_name, s.family_name, l.relationship FROM current_guardian_links l
    LEFT JOIN current_people g ON g.tenant = l.tenant AND g.person_id = l.guardian_id
    LEFT JOIN current_people s ON s.tenant = l.tenant AND s.person_id = l.student_id
    WHERE l.tenant = :tenant"""
_NAMES: Final = """
    SELECT 'school', school_id, name FROM current_schools WHERE tenant = :tenant UNION ALL
    SELECT 'session', session_id, title FROM current_academic_sessions WHERE tenant = :tenant UNION ALL
    SELECT 'class', class_id, title FROM current_classes WHERE tenant = :tenant UNION ALL
    SELECT 'person', person_id, family_name FROM current_people WHERE tenant = :tenant"""
STATEMENTS: Final = (_FROM_MEMBERSHIPS, _FROM_PEOPLE, _FROM_CLASSES, _FROM_LINKS, _NAMES)

# Every column of every view, the rows in no order: byte for byte, ids and all.
VIEWS: Final = tuple(f"SELECT * FROM current_{table.name} WHERE tenant = :tenant" for table in (
    database.schools, database.academic_sessions, database.classes, database.people,
    database.memberships, database.guardian_links,
))  # fmt: skip

PAUSE: Final = 0.02
"""Seconds between two looks of a reader, and a tenth of them between two statements of a transaction."""

Answers = tuple[str, ...]


def _answer(connection: Any, query: str, tenant: str) -> str:
    rows = sorted(map(repr, map(tuple, connection.execute(text(query), {"tenant": tenant}))))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def by_statements(engine: Engine, tenant: str) -> Answers:
    """What each statement gives, asked one after the other: the answers need not be of one roster."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return tuple(_answer(connection, query, tenant) for query in STATEMENTS)


def by_transaction(engine: Engine, tenant: str) -> Answers:
    """What all views hold in one transaction, as the README tells readers to do it: one answer."""
    isolation = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**isolation) as connection, connection.begin():
        views = []
        for query in VIEWS:
            views.append(_answer(connection, query, tenant))
            time.sleep(PAUSE / 10)
        return ("+".join(views),)


LOOKS: Final[dict[str, Callable[[Engine, str], Answers]]] = {
    "statements": by_statements,
    "transactions": by_transaction,
}


def look(engine: Engine, tenant: str) -> dict[str, Answers]:
    """The answers of every kind of reader, now."""
    return {name: ask(engine, tenant) for name, ask in LOOKS.items()}


@dataclass
class Seen:
    """What one reader saw of a tenant: to each question its answers in their order, repetitions once."""

    reads: int = 0
    answers: list[list[str]] = field(default_factory=list)

    def add(self, answers: Answers) -> None:
        """Another look."""
        self.answers = self.answers or [[] for _ in answers]
        for told, answer in zip(self.answers, answers, strict=True):
            if told[-1:] != [answer]:
                told.append(answer)
        self.reads += len(answers)

    def mixed(self, old: Answers, new: Answers) -> list[str]:
        """What is neither the old roster nor the new one, nor the old one and then the new one."""
        return [
            f"question {place}: {told}, where {before} and then {after} is allowed"
            for place, (told, before, after) in enumerate(zip(self.answers, old, new, strict=True))
            if told not in ([before], [after], [before, after])
        ]


@contextmanager
def readers(url: str) -> Iterator[Readers]:
    """A reader of each kind, in processes of their own."""
    pipes: dict[str, Connection] = {}
    processes: list[BaseProcess] = []
    for name in LOOKS:
        ours, theirs = PROCESSES.Pipe()
        process = PROCESSES.Process(target=_poll, args=(url, name, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes[name] = ours
        processes.append(process)
    try:
        yield Readers(pipes)
    finally:
        for pipe in pipes.values():
            pipe.close()
        for ended in processes:
            ended.join()


@dataclass
class Readers:
    """Pipes to the processes that read."""

    _pipes: dict[str, Connection]

    def begin(self, tenant: str) -> None:
        """They read this tenant's roster from now on; each has done so once when this returns."""
        for pipe in self._pipes.values():
            pipe.send(tenant)
        for pipe in self._pipes.values():
            pipe.recv()

    def end(self) -> dict[str, Seen]:
        """They look once more and tell what they saw."""
        for pipe in self._pipes.values():
            pipe.send("")
        return {name: pipe.recv() for name, pipe in self._pipes.items()}


def _poll(url: str, kind: str, pipe: Connection) -> None:
    engine, ask = database.connect(url), LOOKS[kind]
    try:
        while tenant := pipe.recv():
            seen = Seen()
            seen.add(ask(engine, tenant))
            pipe.send("reading")
            while not pipe.poll(PAUSE):
                seen.add(ask(engine, tenant))
            pipe.recv()
            seen.add(ask(engine, tenant))
            pipe.send(seen)
    except EOFError:  # nobody asks any more
        pass
    finally:
        engine.dispose()
