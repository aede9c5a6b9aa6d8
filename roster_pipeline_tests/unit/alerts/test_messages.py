"""Messages are bounded, say counts first and what to do, and every channel's shape of them is valid."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from roster_pipeline.alerts import shapes
from roster_pipeline.alerts.conditions import OK, Condition, Kind, Problem
from roster_pipeline.alerts.messages import (
    Change,
    Digest,
    Message,
    of_broken_channel,
    of_changes,
    of_night,
    of_test,
)
from roster_pipeline.codes import CATALOGUE

NOW = datetime(2025, 10, 16, 6, 10, tzinfo=UTC)


def change(
    tenant: str, kind: Kind = "bad", code: str = "RS-NET-01", *, state: Any = "failed", provider: str = "sis",
    school: str = "", host: str = "", region: str = "US",
) -> Change:  # fmt: skip
    condition = OK if kind == "recovered" else Condition(state, (Problem(code, provider, "", school),))
    hosts = frozenset([host] if host else [])
    return Change(tenant, region, kind, condition, OK, NOW - timedelta(days=3), hosts)


def words(message: Message) -> str:
    sections = [line for section in message.sections for line in (section.title, *section.lines)]
    return "\n".join([message.title, *message.lines, *sections])


def test_a_thousand_failures_are_a_count_ten_names_and_what_to_do() -> None:
    message = of_changes([change(f"t{number:04}") for number in range(1000)])
    assert message.title == "1,000 tenants failed"
    (section,) = message.sections
    assert section.title == "1,000 tenants: failed. RS-NET-01: The server could not be reached."
    assert section.count == 1000
    assert section.tenants == tuple(f"t{number:04}" for number in range(10))
    assert section.lines[0].endswith("t0009 (sis) and 990 more")
    assert section.lines[-1] == f"To do (school): {CATALOGUE['RS-NET-01'].cure}"


def test_one_tenant_is_named_in_the_title() -> None:
    assert of_changes([change("oak")]).title == "oak failed: RS-NET-01"
    assert of_changes([change("oak", "recovered")]).title == "oak is well again"
    missed = change("oak", code="RS-RUN-01", state="missed")
    assert of_changes([missed]).title == "oak was not started in the night: RS-RUN-01"


def test_kinds_and_codes_are_told_apart_and_the_worst_comes_first() -> None:
    message = of_changes([
        change("a", "recovered"),
        change("b", code="RS-SAFE-07", state="partial", school="Elm"),
        change("c", code="RS-AUTH-01"),
        change("d", "reminder"),
        change("e"),
        change("f"),
        change("g", "unsteady"),
    ])  # fmt: skip
    assert message.severity == "failed"
    assert message.title == (
        "3 tenants failed; 1 was synced in part; 1 keeps changing; 1 is still not well; 1 is well again"
    )
    assert [(section.code, section.count) for section in message.sections] == [
        ("RS-NET-01", 2), ("RS-AUTH-01", 1), ("RS-SAFE-07", 1), ("", 1), ("RS-NET-01", 1), ("", 1),
    ]  # fmt: skip
    assert "b (sis: Elm)" in message.sections[2].lines[0]


def test_a_host_that_most_have_in_common_is_named() -> None:
    shared = [change(f"t{number}", host="big.example") for number in range(9)]
    told = words(of_changes([*shared, change("x", host="own.example")]))
    assert "9 of them are read from big.example: look there first." in told
    assert "All of them are read from big.example" in words(of_changes(shared))
    split = [change(f"t{number}", host=f"h{number % 3}.example") for number in range(9)]
    assert "look there" not in words(of_changes(split))
    mixed = [
        change(f"t{number}", code=code, host="big.example")
        for number, code in enumerate(["RS-NET-01", "RS-NET-04", "RS-NET-05", "RS-NET-06"])
    ]
    assert "Most of these (4 of 4) are read from big.example." in words(of_changes(mixed))


def worst() -> Message:
    """Everything that can go wrong at once, with names as long as names may be."""
    codes = sorted(CATALOGUE, key=lambda code: -len(CATALOGUE[code].cure))[:60]
    kinds: list[Kind] = ["bad", "worse", "other", "unsteady", "reminder", "steady", "recovered"]
    changes = []
    for number in range(1400):
        kind = kinds[number % 7]
        condition = OK
        if kind != "recovered":
            problems = tuple(
                Problem(codes[number % 60], "p" * 100, "", f"<!channel> & [a](http://b) {place}" + "ß" * 200)
                for place in range(20)
            )
            condition = Condition("failed", problems)
        name = f"{number:04}" + "t" * 59
        changes.append(Change(name, "US", kind, condition, OK, NOW, frozenset(["h" * 250])))
    return of_changes(changes)


def night() -> Message:
    bad = tuple(change(f"t{number}", code=code) for number, code in enumerate(sorted(CATALOGUE)))
    start = datetime(2025, 10, 15, 23, tzinfo=UTC)
    return of_night(
        Digest("US", start, start + timedelta(hours=12), 5000, 4880, 100, 20, NOW, bad, ("u", "v"))
    )


WORST = worst()
MESSAGES = [
    WORST, night(), of_changes([change("oak")]), of_test("desk"),
    of_broken_channel("desk", "RS-NET-01: ...", NOW, 3),
]  # fmt: skip


def envelope(message: Message) -> shapes.Envelope:
    return shapes.Envelope("0f3a.1", NOW, message)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.title[:20])
def test_a_message_keeps_its_meaning_through_the_outbox(message: Message) -> None:
    assert Message.from_json(json.loads(json.dumps(message.as_json()))) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.title[:20])
def test_slack_takes_it(message: Message) -> None:
    """The limits of https://docs.slack.dev/reference/block-kit/blocks."""
    told = json.loads(shapes.slack(envelope(message)))
    assert set(told) == {"text", "blocks"}
    assert 0 < len(told["blocks"]) <= 50
    assert "<" not in told["text"].replace("&lt;", "")
    for block in told["blocks"]:
        texts = block["elements"] if block["type"] == "context" else [block["text"]]
        longest = 150 if block["type"] == "header" else 3000
        for text in texts:
            assert text["type"] == "plain_text"
            assert 0 < len(text["text"]) <= longest


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.title[:20])
def test_teams_takes_it(message: Message) -> None:
    """The schema of adaptive cards 1.4, as far as it is used, and Teams' limit of 28 KB."""
    body = shapes.teams(envelope(message))
    assert len(body) < shapes.TEAMS_BYTES
    told = json.loads(body)
    assert told["type"] == "message"
    (attachment,) = told["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    for element in card["body"]:
        assert element["type"] == "RichTextBlock"
        for run in element["inlines"]:
            assert run["type"] == "TextRun"
            assert run["text"]
            assert run.get("weight", "Default") in ("Default", "Lighter", "Bolder")
            assert run.get("size", "Default") in ("Default", "Small", "Medium", "Large", "ExtraLarge")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.title[:20])
def test_a_mail_of_it_can_be_sent(message: Message) -> None:
    mail = shapes.email(envelope(message), "rosters@example.org", ("a@example.org", "b@example.org"))
    raw = mail.as_bytes()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert mail["Message-ID"] == "<0f3a.1@example.org>"
    assert message.title in mail.get_content()


def test_the_worst_message_is_still_short() -> None:
    message = WORST
    assert len(message.sections) <= 9
    assert sum(section.count for section in message.sections) == 1400
    assert len(words(message)) < 13_000


def test_a_name_cannot_begin_a_new_line_or_call_everybody() -> None:
    message = of_changes([change("oak", school="Elm\n\nSubject: pay @here <!channel>")])
    told = json.loads(shapes.slack(envelope(message)))
    assert "Elm  Subject: pay" in told["blocks"][2]["text"]["text"]
    assert told["blocks"][2]["text"]["type"] == "plain_text"


def test_a_digest_says_how_the_night_was_and_when_it_was_over() -> None:
    message = night()
    assert message.title.startswith(
        "US night of 2025-10-15: 4,880 of 5,000 tenants published, 100 failed, 20 missed"
    )
    assert "2025-10-15 23:00 to 2025-10-16 11:00 UTC" in message.lines[0]
    assert "Last sync over: 2025-10-16 06:10 UTC" in message.lines[0]
    assert "2 tenants unsteady" in message.sections[-1].title
    assert len(message.sections) <= 10
