"""The error catalogue is complete, and its page and its command show what it holds."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

import roster_pipeline.codes
from roster_pipeline.cli.codes import AREAS, as_markdown, codes
from roster_pipeline.codes import CATALOGUE, Code, CodedError, Issue, Owner, Severity

ENTRIES = list(CATALOGUE.values())
PAGE = Path(__file__).parents[2] / "docs" / "codes.md"

# Named by product.md, so other systems and people know them already.
PROMISED = {
    "RS-SES-01", "RS-SES-04", "RS-IDN-03", "RS-IDN-04", "RS-SAFE-06", "RS-RUN-01", "RS-RUN-06", "RS-RUN-99",
}  # fmt: skip

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.code for entry in ENTRIES])


def test_no_row_of_the_table_hides_another() -> None:
    """The catalogue is a dict: a code written twice would silently lose its first meaning."""
    tree = ast.parse(Path(roster_pipeline.codes.__file__).read_text(encoding="utf-8"))
    table = next(
        node for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_table"
    )  # fmt: skip
    written = [
        row.elts[0].value
        for row in table.args
        if isinstance(row, ast.Tuple) and isinstance(row.elts[0], ast.Constant)
    ]
    assert len(written) == len(table.args)
    assert [code for code, times in Counter(written).items() if times > 1] == []
    assert set(written) == set(CATALOGUE)


def test_every_promised_code_is_there() -> None:
    assert set(CATALOGUE) >= PROMISED


@each_entry
def test_a_code_is_of_a_known_area(entry: Code) -> None:
    found = re.fullmatch(r"RS-([A-Z]+)-\d\d", entry.code)
    assert found
    assert found[1] in AREAS


@each_entry
def test_a_code_has_an_owner_and_a_severity_of_the_product(entry: Code) -> None:
    assert entry.owner in get_args(Owner)
    assert entry.severity in get_args(Severity)
    assert isinstance(entry.retry, bool)


@each_entry
def test_what_a_code_says_are_whole_sentences(entry: Code) -> None:
    for sentence in (entry.happened, entry.cause, entry.cure):
        assert sentence == " ".join(sentence.split())
        assert sentence.endswith(".")
        assert sentence[0].isupper()


def test_the_codes_of_one_area_stand_together() -> None:
    """Whoever adds one sees the numbers that are taken."""
    order = [code.split("-")[1] for code in CATALOGUE]
    changes = [area for place, area in enumerate(order) if place == 0 or order[place - 1] != area]
    assert len(changes) == len(set(changes))
    for area in changes:
        numbers = [int(code.split("-")[2]) for code in CATALOGUE if code.split("-")[1] == area]
        assert numbers == sorted(numbers)


def test_an_error_with_a_code_that_is_not_in_the_catalogue_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        CodedError("RS-NET-98", "never to be seen")


def test_an_issue_tells_what_the_contract_promises() -> None:
    issue = Issue("RS-REF-01", "3 enrolments refer to nothing.", provider="sis", school="north", count=3)
    assert issue.as_json() == {
        "code": "RS-REF-01",
        "severity": "warning",
        "provider": "sis",
        "school": "north",
        "count": 3,
        "message": "3 enrolments refer to nothing.",
        "cure": CATALOGUE["RS-REF-01"].cure,
        "owner": "school",
    }


def test_the_page_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == as_markdown(), "run `make docs`"


def test_the_page_holds_every_code_once() -> None:
    rows = [line.split("|")[1].strip() for line in as_markdown().splitlines() if line.startswith("| RS-")]
    assert sorted(rows) == sorted(CATALOGUE)


def test_the_command_lists_a_code_a_line_where_nobody_watches() -> None:
    done = CliRunner().invoke(codes)
    assert done.exit_code == 0
    assert [line.split("\t")[0] for line in done.output.splitlines()] == list(CATALOGUE)


@pytest.mark.parametrize("written", ["RS-SAFE-06", "rs-safe-06"])
def test_the_command_explains_a_code(written: str) -> None:
    entry = CATALOGUE["RS-SAFE-06"]
    done = CliRunner().invoke(codes, [written])
    assert done.exit_code == 0
    for text in (entry.code, entry.happened, entry.cause, entry.cure, entry.owner, entry.severity):
        assert text in done.output


def test_the_command_offers_near_codes_for_one_that_is_not_there() -> None:
    done = CliRunner().invoke(codes, ["RS-SAFE-6"])
    assert done.exit_code == 2
    assert "RS-SAFE-06" in done.output


def test_the_command_prints_the_page() -> None:
    done = CliRunner().invoke(codes, ["--markdown"])
    assert done.exit_code == 0
    assert done.output == as_markdown()


def test_the_page_is_the_whole_catalogue_or_nothing() -> None:
    done = CliRunner().invoke(codes, ["RS-NET-01", "--markdown"])
    assert done.exit_code == 2
