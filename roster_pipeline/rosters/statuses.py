"""How a sync may end, and the counts of the guides: for whoever reads the ledger without the rules."""

from __future__ import annotations

from typing import Final

SUCCESSFUL, PARTIAL, FAILED = "successful", "partial", "failed"

GUIDE_COUNTS: Final = (
    "unmatched_users", "matched_students", "matched_teachers", "imported_classes",
    "created_students", "created_teachers", "created_users",
)  # fmt: skip
