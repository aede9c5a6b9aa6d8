"""An operator's way through Dagster's UI, with the ledger and the rules as the truth of what it shows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from roster_pipeline import checks
from roster_pipeline.definitions import defs
from roster_pipeline.metadata import HEADINGS
from roster_pipeline.nights import windows
from roster_pipeline.nights.asking import INTERVAL
from roster_pipeline.tenants.document import Region
from roster_pipeline_tests.browser.site import TENANT, Site, running
from roster_pipeline_tests.browser.walking import CHROMIUM, Operator, operator

pytestmark = [pytest.mark.browser, pytest.mark.slow]

GUIDES = ("unmatched_users", "matched_students", "matched_teachers", "imported_classes")
PUBLISHED = "published_rosters"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not CHROMIUM.exists():
        reason = f"{CHROMIUM} is not installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def somebody(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with operator(str(site.ui.client.base_url), tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def run_id(somebody: Operator) -> str:
    """The run that the operator started by hand, once it is over; its page is open."""
    return somebody.materialise(TENANT)


@pytest.fixture(scope="module")
def told(site: Site, run_id: str) -> dict[str, Any]:
    """What the ledger says of it."""
    newest = site.ledger()[0]
    assert newest["run_id"] == run_id
    return newest


def _plain(markdown: str) -> str:
    """As the UI shows it."""
    return re.sub(r"\s+", " ", markdown.replace("`", "").replace("\n- ", "\n")).strip()


def test_the_graph_shows_the_groups_and_their_assets(somebody: Operator) -> None:
    specs = defs.resolve_all_asset_specs()
    assert sorted(somebody.groups()) == sorted({str(spec.group_name) for spec in specs})
    assert sorted(somebody.open_groups()) == sorted(spec.key.path[-1] for spec in specs)


@pytest.mark.parametrize("name", [PUBLISHED, "raw/powerschool"])
def test_an_asset_s_page_says_what_it_is_and_who_answers_for_it(somebody: Operator, name: str) -> None:
    (spec,) = (spec for spec in defs.resolve_all_asset_specs() if spec.key.to_user_string() == name)
    somebody.asset(name)
    somebody.sees(_plain(spec.description or ""), "Owners rosters", f"roster/layer: {spec.group_name}")


def test_the_page_of_a_run_follows_it_to_its_end(somebody: Operator, run_id: str) -> None:
    """It was opened as the run was queued, and nobody has loaded it anew since."""
    assert run_id in somebody.page.url
    somebody.sees("RUN_SUCCESS", "Succeeded (9)")


def test_a_tenant_s_partition_tells_the_counts_of_the_ledger(
    somebody: Operator, told: dict[str, Any]
) -> None:
    shown = somebody.partition(PUBLISHED, TENANT)
    assert shown["status"] == told["status"] == "partial"
    assert (shown["as_of"], shown["sync_id"]) == (told["as_of"], str(told["sync_id"]))
    assert {name: shown[name] for name in told["counts"]} == {
        name: str(count) for name, count in told["counts"].items()
    }
    assert all(told["counts"][name] for name in GUIDES), "a count of nothing would prove little"
    details = {row.pop("of"): row for row in shown["sync_details"]}
    wanted = {"the tenant": told["counts"]} | {entry["name"]: entry for entry in told["providers"]}
    assert {of: [row[HEADINGS[name]] for name in GUIDES] for of, row in details.items()} == {
        of: [str(counts[name]) for name in GUIDES] for of, counts in wanted.items()
    }


def test_a_failed_check_names_its_schools_and_what_helps(somebody: Operator, told: dict[str, Any]) -> None:
    (check,) = (check for check in checks.CHECKS if check.name == "schools_have_teachers")
    issues = [issue for issue in told["issues"] if issue["code"] == "RS-SAFE-08"]
    assert issues, "the world has a school without teachers"
    metadata = somebody.check(PUBLISHED, check.name)
    somebody.sees(_plain(check.description), "Evaluation result Failed", f"Partition {TENANT}")
    assert metadata["count"] == str(len(issues))
    ids = {school["name"]: school["school_id"] for school in told["schools"]}
    shown = [(row["name"], row["message"], row["cure"], row["school_id"]) for row in metadata["schools"]]
    assert shown == [
        (issue["school"], issue["message"], issue["cure"], ids[issue["school"]]) for issue in issues
    ]


def test_a_check_that_holds_has_no_schools(somebody: Operator, told: dict[str, Any]) -> None:
    assert not [issue for issue in told["issues"] if issue["code"] == "RS-SAFE-07"]
    assert somebody.check(PUBLISHED, "schools_have_students") == {"count": "0"}
    somebody.sees("Evaluation result Passed")


def _next_tick(region: Region, now: datetime) -> datetime:
    """The rule: every five minutes of the region's window."""
    tick = datetime.fromtimestamp(now.timestamp() // INTERVAL.total_seconds() * INTERVAL.total_seconds(), UTC)
    while tick <= now or windows.window(region, tick) is None:
        tick += INTERVAL
    return tick


def _as_shown(tick: datetime, region: Region) -> str:
    """A regular expression."""
    local = tick + windows.OFFSETS[region]
    # In a schedule's own time zone, en-GB has no zero before the hour: 0:25:00 GMT+12.
    month = f"{local:%b}".replace("Sep", "Sept?")  # newer browsers write four letters
    return f"{local.day} {month}, {local.hour}:{local:%M:%S} GMT"


def test_the_schedules_are_there_and_a_started_one_has_its_next_tick(somebody: Operator) -> None:
    name = "nightly_nz"  # of a region without a tenant: nothing is asked for
    somebody.schedule(name)
    expect(somebody.row("Next tick")).to_have_count(0)
    somebody.automation()
    for region in windows.OFFSETS:
        expect(somebody.listed(f"nightly_{region.lower()}")).to_contain_text("Every 5 minutes, at 00:00")
    somebody.start(name)
    before = datetime.now(UTC)
    somebody.schedule(name)
    possible = {_as_shown(_next_tick("NZ", at), "NZ") for at in (before, before + timedelta(minutes=2))}
    expect(somebody.row("Next tick")).to_contain_text(re.compile("|".join(possible)))
