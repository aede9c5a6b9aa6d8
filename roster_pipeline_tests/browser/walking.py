"""What an operator does in the UI and reads there, by what is to be seen: names, buttons, tables.

Here belongs how a page is walked; what should stand on it, the tests know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import FloatRect, Locator, Page, ViewportSize, expect, sync_playwright

CHROMIUM: Final = Path("/usr/bin/chromium")
SIZE: Final[ViewportSize] = {"width": 1400, "height": 900}
PATIENCE: Final = 60_000
"""Milliseconds for what takes a laptop a second or two; a run of a sync takes it ten."""

_OPTIONS: Final = (
    "--no-sandbox",  # it will not run as root otherwise, and reads no page but ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # tests use loopback only, the browser too
)

# A table of metadata: what stands beside each name, and of a table in it the rows.
_METADATA: Final = """table => {
  const text = cell => cell.innerText.trim();
  const rows = inner => {
    const [head, ...body] = [...inner.rows];
    const names = [...head.cells].map(text);
    return body.map(row => Object.fromEntries([...row.cells].map((cell, n) => [names[n], text(cell)])));
  };
  return Object.fromEntries([...table.rows].filter(row => row.cells.length > 1).map(row => {
    const inner = row.cells[1].querySelector('table');
    return [text(row.cells[0]), inner ? rows(inner) : text(row.cells[1])];
  }));
}"""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody in front of the UI."""

    page: Page
    address: str

    def groups(self) -> list[str]:
        """The groups of the asset graph, as the list beside it has them."""
        self._go("/asset-groups", until="Global asset lineage")
        entries = self.page.get_by_role("button").filter(has=self.page.get_by_label("asset_group"))
        expect(entries.first).to_be_visible()
        return [entry.inner_text().split("\n")[0] for entry in entries.all()]

    def open_groups(self) -> list[str]:
        """Opens all groups of the graph; the names on the assets' cards."""
        cards = self.page.locator("[class*=AssetNode_assetName]")
        self.page.keyboard.press("Alt+E")
        expect(cards.first).to_be_visible()
        return [card.inner_text() for card in cards.all()]

    def asset(self, name: str) -> None:
        """Goes to the page of an asset."""
        self._go(f"/assets/{name}", until="Compute details")

    def sees(self, *texts: str) -> None:
        """All of this stands on the page, as soon as it has loaded what it shows."""
        for text in texts:
            expect(self.page.locator("body")).to_contain_text(text, use_inner_text=True)

    def materialise(self, tenant: str) -> str:
        """Materialises all of one tenant, from the graph; gives the run's id, once it was successful."""
        page = self.page
        self._go("/asset-groups", until="Global asset lineage")
        page.get_by_role("button", name="Materialize all").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Select a partition").click()
        page.get_by_role("menuitem", name=tenant).click()
        # It is named so only where exactly one is chosen. The open list covers it until a click beside it.
        launch = dialog.get_by_role("button", name="Launch 1 run")
        expect(launch).to_be_enabled()
        dialog.get_by_text("Launch runs to materialize").click()
        launch.click()
        page.get_by_text("View", exact=True).click()  # on the toast that says that a run was launched
        page.wait_for_url("**/runs/*")
        page.mouse.move(0, 0)  # away from the toast, which stays as long as somebody points at it
        expect(page.get_by_text("Success", exact=True)).to_be_visible()
        return page.url.rpartition("/")[2].partition("?")[0]

    def partition(self, asset: str, tenant: str) -> dict[str, Any]:
        """The metadata of an asset's newest materialisation of a tenant; of a table in it the rows."""
        self._go(f"/assets/{asset}?view=partitions&partition={tenant}", until="Latest materialization")
        return self._metadata("sync_details")

    def check(self, asset: str, name: str) -> dict[str, Any]:
        """The metadata of a check's latest execution."""
        self._go(f"/assets/{asset}?view=checks&checkDetail={name}", until="Latest execution")
        return self._metadata("count")

    def automation(self) -> None:
        """Goes to the list of all schedules and sensors."""
        self._go("/automation", until="Select all")

    def listed(self, name: str) -> Locator:
        """A schedule or sensor in that list."""
        return self.page.locator("[data-index]").filter(has=self.page.get_by_text(name, exact=True))

    def start(self, schedule: str) -> None:
        """Turns a schedule on, in that list."""
        row = self.listed(schedule)
        boxes = row.locator("input")
        expect(boxes).to_have_count(2)  # one to select the row; the switch comes once its state is known
        row.locator("label").last.click()
        expect(boxes.last).to_be_checked()
        self.page.mouse.move(0, 0)

    def schedule(self, name: str) -> None:
        """Goes to the page of a schedule."""
        self._go(f"/locations/roster_pipeline/schedules/{name}", until="Execution timezone")

    def row(self, name: str) -> Locator:
        """A row of that page."""
        return self.page.locator("tr").filter(has=self.page.get_by_text(name, exact=True))

    def save(self, file: Path, height: int) -> None:
        """A picture of the upper part of what is seen now, once nothing of it is still being loaded."""
        self.page.mouse.move(0, 0)
        self.page.wait_for_load_state("networkidle")
        clip: FloatRect = {"x": 0, "y": 0, "width": SIZE["width"], "height": height}
        self.page.screenshot(path=file, animations="disabled", clip=clip)

    def _go(self, path: str, *, until: str) -> None:
        self.page.goto(self.address + path)
        expect(self.page.get_by_text(until).first).to_be_visible()

    def _metadata(self, name: str) -> dict[str, Any]:
        """The table of metadata that has this name in it; it comes after the rest of a page."""
        of_it = self.page.get_by_role("cell", name=name, exact=True)
        table = self.page.locator("table").filter(has=of_it).first
        expect(table).to_be_visible()
        found: dict[str, Any] = table.evaluate(_METADATA)
        return found


@contextmanager
def operator(address: str, profile: Path) -> Iterator[Operator]:
    """A browser without a window, at a UI; `profile` is an empty folder of its own."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=_OPTIONS,
            viewport=SIZE,
            locale="en-GB",
            timezone_id="UTC",
            color_scheme="light",
            reduced_motion="reduce",
        )
        browser.set_default_timeout(PATIENCE)
        try:
            yield Operator(browser.pages[0], address)
        finally:
            browser.close()
