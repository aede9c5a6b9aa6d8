"""`docs/options.md` says what the code does: each option, its default, tests that exist, the guides whole."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from typing import get_args

import pytest

from roster_pipeline.tenants.document import KeepsBack
from roster_pipeline_tests.conftest import SHARED
from roster_pipeline_tests.options_page import (
    MODELS,
    PAGE,
    TESTS,
    Option,
    flaws,
    is_required,
    options,
    promises,
    spoken,
)

TEXT = PAGE.read_text(encoding="utf-8")
OPTIONS = options(TEXT)
PROMISES = promises(TEXT)
GUIDES = SHARED / "reference" / "guides"


@cache
def _tests_of(path: str) -> frozenset[str]:
    """The tests in a file, found by reading it."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def _exists(proof: str) -> bool:
    path, _, name = proof.partition("::")
    return (TESTS / path).is_file() and name.startswith("test_") and name in _tests_of(path)


def _containers() -> set[tuple[type, str]]:
    """Fields that hold a mapping of options: those options have the rows."""
    return {(models[""], name) for models in MODELS.values() for name in models if name}


def test_every_field_of_a_document_has_one_row_and_no_row_is_without_a_field() -> None:
    fields = {
        (model, name)
        for models in MODELS.values()
        for model in models.values()
        for name in model.model_fields
        if (model, name) not in _containers()
    }
    assert Counter((one.model, one.field) for one in OPTIONS) == dict.fromkeys(fields, 1)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.label)
def test_the_default_on_the_page_is_the_one_in_the_code(option: Option) -> None:
    value, _, remark = option.default.partition(" (")
    assert value == spoken(option.info)
    assert not remark or remark.endswith(")")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.label)
def test_every_option_has_proofs_that_exist_and_says_what_it_does(option: Option) -> None:
    assert option.proofs
    assert [proof for proof in option.proofs if not _exists(proof)] == []
    assert len(set(option.proofs)) == len(option.proofs)


def test_what_is_required_is_what_the_code_cannot_do_without() -> None:
    needed = {one.label for one in OPTIONS if is_required(one)}
    assert needed == {
        "Provider.name", "Provider.kind", "Provider.endpoint_url", "Provider.client_id",
        "Provider.client_secret", "Provider.path", "Tenant.tenant", "Tenant.region", "Tenant.providers",
        "Directory.name", "Directory.kind", "Directory.path",
    }  # fmt: skip


def test_every_flaw_that_may_keep_a_school_back_is_explained() -> None:
    assert Counter(flaws(TEXT)) == dict.fromkeys(get_args(KeepsBack), 1)


def test_every_promise_is_proved_by_tests_that_exist() -> None:
    assert [one.quotes for one in PROMISES if not one.quotes] == []
    assert [one.quotes for one in PROMISES if one.applies and not one.proofs] == []
    assert [proof for one in PROMISES for proof in one.proofs if not _exists(proof)] == []


def test_no_sentence_of_the_guides_is_listed_twice() -> None:
    quotes = Counter(quote for one in PROMISES for quote in one.quotes)
    assert [quote for quote, count in quotes.items() if count > 1] == []


@pytest.fixture(scope="module")
def guides() -> dict[str, str]:
    if not GUIDES.is_dir():
        pytest.skip("the guides (../shared/reference/guides) are not beside this checkout")
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(GUIDES.glob("*.txt"))}


def test_what_the_page_quotes_stands_in_the_guides(guides: dict[str, str]) -> None:
    every = "\n".join(guides.values())
    assert [quote for one in PROMISES for quote in one.quotes if quote not in every] == []


def test_every_sentence_of_the_guides_is_on_the_page(guides: dict[str, str]) -> None:
    quotes = [quote for one in PROMISES for quote in one.quotes]
    sentences = {
        sentence
        for text in guides.values()
        for line in text.splitlines()
        for sentence in re.split(r"(?<=[.:])\s+", line.strip("- "))
        if sentence
    }
    missing = [
        one for one in sentences if not any(quote in one or one.rstrip(".:") in quote for quote in quotes)
    ]
    assert sorted(missing) == []
