"""The matrix written out: every combination on a line of its own, and the operator's table of faults.

`combinations.txt` and the tables in `docs/faults.md` are written by `python -m
roster_pipeline_tests.fault_matrix --write`; a test keeps them equal to the cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from roster_pipeline.sandbox.misbehaviour import FAULTS
from roster_pipeline_tests.fault_matrix import exports, servers
from roster_pipeline_tests.fault_matrix.cases import SYNCS, Case, Combination

CASES: Final = (*servers.CASES, *exports.CASES)
LIST: Final = Path(__file__).with_name("combinations.txt")
PAGE: Final = Path(__file__).parents[2] / "docs" / "faults.md"


def every() -> Iterator[tuple[Combination, Case]]:
    """All combinations, in the order of the cases."""
    for case in CASES:
        for kind, shape, store in case.pairs():
            for sync in SYNCS:
                yield Combination(case.name, kind, sync, shape, store), case


def listed() -> str:
    """The list: a combination a line, with what its sync must tell."""
    return "".join(f"{one}: {case.expected(one.sync, one.kind, one.shape)}\n" for one, case in every())


def table(cases: tuple[Case, ...]) -> str:
    """What a sync does with each fault, for an operator."""
    lines = ["| fault | what the sync does | a first sync tells | a later sync tells |", "|---|---|---|---|"]
    for case in cases:
        told = [" or ".join(dict.fromkeys(_told(case, sync))) for sync in SYNCS]
        lines.append(f"| `{case.name}` | {case.does} | {told[0]} | {told[1]} |")
    return "\n".join(lines) + "\n"


def _told(case: Case, sync: str) -> Iterator[str]:
    for kind, shape, _ in case.pairs():
        words = case.expected(sync, kind, shape).split()
        parts = [words[0]]
        codes = [f"`{word}`" for word in words[1:] if word.startswith("RS-")]
        if codes:
            parts.append(" ".join(codes))
        parts += [word.replace("=", ": ").replace("+", ", ") for word in words[1:] if "=" in word]
        yield "; ".join(parts)


def words() -> str:
    """The sandbox's faults, in words."""
    return "".join(
        ["| fault | what the server does |\n|---|---|\n"]
        + [f"| `{what}` | {fault.happens} |\n" for what, fault in FAULTS.items()]
    )


def page(text: str) -> str:
    """The operator's page with its tables as they are now."""
    tables = {"words": words(), "servers": table(servers.CASES), "exports": table(exports.CASES)}
    for name, content in tables.items():
        before, begin, rest = text.partition(f"<!-- {name}: generated -->\n")
        _, end, after = rest.partition(f"<!-- {name}: end -->")
        text = f"{before}{begin}{content}{end}{after}"
    return text
