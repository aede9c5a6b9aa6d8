"""`python -m roster_pipeline_tests.browser FOLDER`: writes the pictures of the documentation into a folder.

It walks as the tests do, on a tenant that was synced for a week.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import expect

from roster_pipeline_tests.browser.site import TENANT, running
from roster_pipeline_tests.browser.walking import SIZE, Operator, operator

NIGHTS: Final = 7
PUBLISHED: Final = "published_rosters"


def take(somebody: Operator, folder: Path) -> None:
    """Goes from page to page, and saves a picture of each under its name."""

    def save(name: str, height: int = SIZE["height"]) -> None:
        somebody.save(folder / f"{name}.png", height)

    page = somebody.page
    somebody.groups()
    page.get_by_text("Hide navigation").click()  # more room for what matters; the browser remembers it
    somebody.materialise(TENANT)
    somebody.sees("RUN_SUCCESS")
    page.get_by_text("View", exact=True).wait_for(state="detached")  # the toast
    page.get_by_text("View full message").last.click()  # of the event that the roster is published
    somebody.sees("schools_published")
    save("run")
    somebody.partition(PUBLISHED, TENANT)
    page.get_by_role("cell", name="issues", exact=True).evaluate("cell => cell.scrollIntoView()")
    save("tenant")
    somebody.check(PUBLISHED, "schools_have_teachers")
    somebody.sees("Every school in session has teachers")
    save("check")
    somebody.automation()
    for name in ("nightly_au", "nightly_nz", "nightly_uk", "nightly_us"):
        expect(somebody.listed(name)).to_contain_text("Every 5 minutes")
        somebody.start(name)
    save("schedules", 670)
    somebody.schedule("nightly_uk")
    expect(somebody.row("Next tick")).to_have_count(1)
    save("schedule", 500)
    somebody.groups()
    somebody.open_groups()
    save("graph")


def main() -> None:
    """Writes them all."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as root,
        running(Path(root), nights=NIGHTS) as site,
        operator(str(site.ui.client.base_url), Path(root) / "profile") as somebody,
    ):
        take(somebody, folder)


if __name__ == "__main__":
    main()
