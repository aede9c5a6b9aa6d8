"""When removals wait: the limits of product.md, "Removals that wait", and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Safeguards


def waits_in_school(going: int, total: int, settled: int, limits: Safeguards) -> str | None:
    """The code with which removals of one school and kind of row wait; None if they may go.

    Args:
        going: Rows that would be removed and are not explained by dates or settings.
        total: The school's published rows of that kind; of those that wait, as many as there were
            when they began to.
        settled: Rows of it that go for explained reasons; they are not counted.
        limits: The tenant's limits.
    """
    if not going:
        return None
    if going >= total - settled:
        return "RS-SAFE-03"
    many = going >= max(limits.small, min(limits.rows, total / 2))
    if many and (going >= limits.share * total or going >= limits.many):
        return "RS-SAFE-01"
    return None


def waits_in_class(going: int, total: int, limits: Safeguards) -> str | None:
    """The code with which removals of one class's members wait; None if they may go."""
    if going >= limits.class_rows and going >= limits.class_share * total:
        return "RS-SAFE-02"
    return None


def have_vanished(lost: int, had: int) -> bool:
    """Whether values of a field that turned empty at once are too many to be believed (RS-SAFE-06):

    all, if they are at least two, or more than five and at least 5 %.
    """
    return (lost == had and lost >= 2) or (lost > 5 and lost * 20 >= had)
