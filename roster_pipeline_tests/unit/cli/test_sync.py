"""What `sync` prints for people."""

from __future__ import annotations

import pytest

from roster_pipeline.cli.sync import as_text
from roster_pipeline.codes import Issue


def printed(code: str, schools: int) -> list[str]:
    """The lines about this code, of a sync that had it at so many schools."""
    issues = [Issue(code, "It is so.", school=f"School {n}").as_json() for n in range(1, schools + 1)]
    text = as_text({
        "tenant": "oak", "status": "partial", "as_of": "2025-10-15", "counts": {}, "providers": [],
        "changes": {}, "issues": issues,
    })  # fmt: skip
    return [line.strip() for line in text.splitlines() if code in line]


@pytest.mark.parametrize("schools", [1, 4])
def test_a_note_at_a_few_schools_is_a_line_each(schools: int) -> None:
    lines = printed("RS-IDN-09", schools)
    assert lines == [f"RS-IDN-09 (note) It is so. [School {n}]" for n in range(1, schools + 1)]


def test_a_note_at_many_schools_is_told_for_three() -> None:
    assert printed("RS-IDN-09", 1234)[3:] == ["RS-IDN-09 … and 1,231 more like these (--json has them all)"]


def test_every_school_that_is_kept_back_is_named() -> None:
    assert len(printed("RS-SAFE-08", 40)) == 40
