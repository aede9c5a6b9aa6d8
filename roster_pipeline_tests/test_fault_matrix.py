"""The fault matrix: its list, the operator's page, and a sample of it; `fault_matrix` runs all of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from roster_pipeline.codes import CATALOGUE
from roster_pipeline.sandbox.misbehaviour import FAULTS
from roster_pipeline_tests.fault_matrix import combinations, exports, servers
from roster_pipeline_tests.fault_matrix.cases import EXPORTS, PACKAGES, PAGES, SERVERS, STORES, SYNCS, Shape
from roster_pipeline_tests.fault_matrix.processes import Pair, chosen
from roster_pipeline_tests.fault_matrix.running import Ground, ground, run

BY_ISSUE = (
    "too-many-requests", "server-error", "hang", "drip", "reset", "truncated", "not-json", "token-expires",
    "rotate-credentials", "rows-added", "rows-removed", "rows-changed", "shift-pages", "repeat-pages",
    "shuffle-pages", "clamp", "wrong-total", "changing-total", "empty", "lose-school", "re-key", "mask",
    "huge-page", "endless-pages", "deep-nesting", "encoding",
)  # fmt: skip
NEEDS_MANY_PAGES = {
    "shift-pages", "repeat-pages", "shuffle-pages", "changing-total", "rows-added", "rows-removed",
    "rows-changed",
}  # fmt: skip
HAVE_NO_TOKENS = {"classlink"}


def test_the_list_of_combinations_is_what_the_cases_say() -> None:
    """`python -m roster_pipeline_tests.fault_matrix --write` writes it."""
    assert combinations.LIST.read_text(encoding="utf-8") == combinations.listed()


def test_there_are_hundreds_of_combinations_each_once_and_each_with_what_must_come_of_it() -> None:
    every = [str(one) for one, _ in combinations.every()]
    assert len(every) == len(set(every)) >= 500
    assert [
        str(one) for one, case in combinations.every() if "?" in case.expected(one.sync, one.kind, one.shape)
    ] == []
    assert len({case.name for case in combinations.CASES}) == len(combinations.CASES)


def test_each_fault_meets_every_kind_that_can_have_it_in_every_way() -> None:
    met = defaultdict(set)
    for one, case in combinations.every():
        for fault in case.faults:
            met[fault.what].add((one.kind, one.sync, one.shape, one.store))
    for what in BY_ISSUE:
        kinds = [kind for kind in SERVERS if what != "token-expires" or kind not in HAVE_NO_TOKENS]
        pages = ["many"] if what in NEEDS_MANY_PAGES else PAGES
        due = {(k, sync, page, store) for k in kinds for sync in SYNCS for page in pages for store in STORES}
        assert due - met[what] == set(), what  # type: ignore[index]


def test_exports_are_met_in_both_versions_packages_and_databases() -> None:
    met = {
        (one.kind, one.sync, one.shape, one.store)
        for one, case in combinations.every()
        if case in exports.CASES
    }
    assert met == {(k, s, p, d) for k in EXPORTS for s in SYNCS for p in PACKAGES for d in STORES}


def test_every_fault_of_the_sandbox_has_a_case() -> None:
    assert set(FAULTS) - {fault.what for case in servers.CASES for fault in case.faults} == set()


def test_the_page_for_operators_says_what_the_matrix_observes() -> None:
    """`python -m roster_pipeline_tests.fault_matrix --write` writes its tables."""
    page = combinations.PAGE.read_text(encoding="utf-8")
    assert page == combinations.page(page)
    for case in combinations.CASES:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{case.name}` | {case.does} |"))
        codes = {code for told in case.told.values() for code in re.findall(r"RS-[A-Z]+-\d+", told)}
        assert codes == set(re.findall(r"RS-[A-Z]+-\d+", row)) - set(re.findall(r"RS-[A-Z]+-\d+", case.does))
        assert codes <= CATALOGUE.keys()
        assert case.does


def test_a_part_of_the_matrix_can_be_chosen() -> None:
    only = "mask/classlink/later/one/sqlite"
    assert chosen([only]) == [Pair("mask", "classlink", "one", "sqlite", ("later",))]
    assert chosen([only])[0].only == only
    assert {pair.case for pair in chosen(["mask*"])} == {"mask", "mask=email", "masked"}
    assert chosen(["no such"]) == []


# ------------------------------------------------------------------------------------------ a sample


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("matrix")) as made:
        yield made


@pytest.mark.parametrize(
    "name, kind, shape",
    [
        ("hang@users", "powerschool", "one"),
        ("reset@enrollments", "classlink", "many"),
        ("rows-removed=2@enrollments,after=1", "oneroster-1.2", "many"),
        ("lose-school", "classlink", "one"),
        ("re-key", "oneroster-1.1", "one"),
        ("file-cut-off", "csv-1.1", "folder"),
        ("ids-new", "csv-1.2", "zip"),
    ],
)
def test_a_sample_of_the_matrix(here: Ground, name: str, kind: str, shape: Shape) -> None:
    """Seven pairs of syncs; one more on PostgreSQL below."""
    case = next(case for case in combinations.CASES if case.name == name)
    found = run(here, case, kind, shape, "sqlite")
    assert [(str(one.combination), one.wrong) for one in found if one.wrong] == []
    assert len(found) == 2


def test_a_sample_of_the_matrix_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    case = next(case for case in combinations.CASES if case.name == "truncated@enrollments")
    with ground(tmp_path, postgres_url) as there:
        found = run(there, case, "classlink", "one", "postgres")
    assert [one.wrong for one in found] == [(), ()]
