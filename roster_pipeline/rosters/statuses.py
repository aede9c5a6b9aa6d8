"""How a sync may end, and the counts of the guides: for whoever reads the ledger without the rules."""

from __future__ import annotations

from typing import Final

SUCCESSFUL, PARTIAL, FAILED = "successful", "partial", "failed"

GUIDE_COUNTS: Final = (
    "unmatched_users", "matched_students", "matched_teachers", "imported_classes",
    "created_students", "created_teachers", "created_users",
)  # fmt: skip

MAKE_PARTIAL: Final = frozenset({
    "RS-PAGE-07", "RS-PAGE-08", "RS-ROW-01", "RS-ROW-06", "RS-PRV-02",
    "RS-SAFE-01", "RS-SAFE-02", "RS-SAFE-03", "RS-SAFE-04", "RS-SAFE-05",
    "RS-SES-02", "RS-SAFE-20",
})  # fmt: skip
"""Codes that make a sync partial whatever their severity: something is not proven complete, or waits."""
