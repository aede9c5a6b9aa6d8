"""Every reason that the rules can give has a sentence, and every sentence can be said whole."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import roster_pipeline.rosters
from roster_pipeline.codes import CATALOGUE
from roster_pipeline.explanations.sentences import AREAS, because
from roster_pipeline.rosters import outcome

FOLDER = Path(roster_pipeline.rosters.__file__).parent
RULES = ("rows", "schools", "sessions", "current", "identities", "plan", "outcome")
SENTENCES = [(area, reason) for area, table in AREAS.items() for reason in table]
WORDS = {
    "provider": "sis", "stronger": "cl", "school": "North School", "name": "Ann Lee", "what": "user",
    "key": "the e-mail address a@b.example", "no_key": "the row has no e-mail address", "when": "It ended",
    "relationship_type": "guardian", "missing": "class", "sessions": "Its term is over",
    "last_good": "; its roster of 2025-10-15 stays", "cause": "it has no students", "sync": "7",
    "trouble": "the server could not be reached", "theirs": "South School",
}  # fmt: skip

NO_REASONS = {
    # what else stands where reasons do: fates of links and people, and what a plan does with a row
    "frozen", "gone", "left", "out_of_scope", "retired", "guardian", "standing", "matched", "created",
    "unmatched", "key", "returned", "link", "new", "provider_not_usable", "dropped", "joined",
    "dates", "vanished",
}  # fmt: skip

NAMES = re.compile(r"\b(why|reason|reasons|problem)\b")


def _words(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _targets(node: ast.AST) -> str:
    return ast.unparse(node)


def _given(tree: ast.AST) -> Iterator[str]:
    """Every text that the code gives as a reason, in any of the ways in which it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is not None and any(
                NAMES.search(_targets(one)) or "dropped" in _targets(one) for one in targets
            ):
                yield from _values(node.value)
        elif isinstance(node, ast.For) and NAMES.search(_targets(node.target)):
            yield from _values(node.iter)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            gives = called.endswith(("_refuse", "_set", "_assign", "setdefault", "_state_without_row"))
            marks = called.endswith("mapped_where") and "reason" in ast.unparse(node.args[0])
            if gives or marks or (called.endswith(".mask") and "reason" in called):
                yield from (word for one in node.args[1:] for word in _values(one))
        elif isinstance(node, ast.FunctionDef) and node.name == "_contradiction":
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and part.value is not None:
                    yield from _values(part.value)


def _values(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may give; not those that it compares with or looks up."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _values(node.body)
        yield from _values(node.orelse)
    elif isinstance(node, ast.BoolOp | ast.Tuple | ast.List):
        for one in node.values if isinstance(node, ast.BoolOp) else node.elts:
            yield from _values(one)
    elif isinstance(node, ast.Dict):
        for one in node.values:
            yield from _values(one)


def given() -> set[str]:
    found: set[str] = set()
    for name in RULES:
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        found |= {word for word in _given(tree) if re.fullmatch(r"[a-z_]+", word)}
    return found | {outcome.NOT_SENT, outcome.NOT_PROVEN, outcome.PROVIDER_RETIRED}


def test_the_search_finds_the_reasons_that_everybody_knows() -> None:
    """It would be no test if it found nothing."""
    known = {
        "left", "excluded_school", "school_kept_back", "guardian_without_student", "ambiguous", "no_key",
        "student_and_adult", "nobody_matches", "not_current", "class_of_weaker_source", "refers_to_nothing",
        "user_dropped", "not_a_school", "undated", "stronger_never_complete", "person_is_gone", "id_reused",
    }  # fmt: skip
    assert known - given() == set()


def test_every_reason_in_the_code_has_a_sentence() -> None:
    """A new reason: write its sentence in `explanations.sentences`."""
    said = {reason for _, reason in SENTENCES}
    assert given() - said - NO_REASONS == set()


@pytest.mark.parametrize("area, reason", SENTENCES, ids=[f"{area}-{reason}" for area, reason in SENTENCES])
def test_a_sentence_can_be_said_whole(area: str, reason: str) -> None:
    sentence = AREAS[area][reason]
    fields = {
        name
        for text in (sentence.text, sentence.cure or "")
        for _, name, _, _ in Formatter().parse(text)
        if name
    }
    assert fields <= set(WORDS)
    told = because(area, reason, **WORDS)
    for text in (told.text, told.cure or "."):
        assert "?" not in text
        assert "{" not in text
        assert text == " ".join(text.split())
        assert area == "collection" or text.endswith(".")


@pytest.mark.parametrize("area, reason", SENTENCES, ids=[f"{area}-{reason}" for area, reason in SENTENCES])
def test_a_code_is_in_the_catalogue_and_gives_the_cure_where_the_sentence_has_none(
    area: str, reason: str
) -> None:
    sentence, told = AREAS[area][reason], because(area, reason, **WORDS)
    if sentence.code is not None:
        assert told.code == CATALOGUE[sentence.code].code
        assert told.cure == (sentence.cure.format(**WORDS) if sentence.cure else CATALOGUE[told.code].cure)


def test_a_reason_without_a_sentence_is_told_as_it_is() -> None:
    assert because("dropped", "of_another_release").text == "Of another release."


def test_a_name_keeps_its_own_letters_at_the_beginning() -> None:
    assert because("gone", "not_sent", provider="sis").text.startswith("sis ")
    assert because("unmatched", "no_key", no_key="the row is empty", provider="sis").text.startswith(
        "The row"
    )
