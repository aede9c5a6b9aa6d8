"""The document about alerts is read, or refused whole: file, line, field, and what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roster_pipeline.alerts import settings
from roster_pipeline.tenants.refusals import DocumentRefused

DOCS = Path(__file__).resolve().parents[3] / "docs" / "alerts.md"

WHOLE = """\
channels:
- name: on-call
  kind: slack
  url: env:SLACK_URL
- name: mail
  kind: email
  host: smtp.example.org
  username: env:SMTP_USER
  password: file:/run/secrets/smtp
  sender: rosters@example.org
  to: [ops@example.org]
- name: desk
  kind: webhook
  url: env:DESK_URL
  secret: env:DESK_SECRET
routes:
- to: [on-call]
  severity: failed
  regions: [US, NZ]
- to: [mail, desk]
  tenants: [riverbend]
digests:
- to: [mail]
  regions: [UK]
remind_after_days: 5
collect_minutes: 10
"""


def read(text: str) -> settings.Settings:
    return settings.read(text, file=Path("alerts.yaml"))


def refused(text: str) -> list[str]:
    with pytest.raises(DocumentRefused) as error:
        read(text)
    assert {code for code, _ in error.value.lines} == {"RS-CFG-14"}
    return [line.removeprefix("alerts.yaml:") for _, line in error.value.lines]


def test_a_whole_document_is_read() -> None:
    found = read(WHOLE)
    assert found.names == ("on-call", "mail", "desk")
    assert (found.remind_after_days, found.collect_minutes) == (5, 10)
    mail = found.channel("mail")
    assert mail is not None
    assert (mail.port, mail.security) == (587, "starttls")


def test_who_hears_of_what() -> None:
    found = read(WHOLE)
    assert found.audience("US", "elm", "failed") == {"on-call"}
    assert found.audience("US", "elm", "partial") == frozenset()
    assert found.audience("UK", "elm", "failed") == frozenset()
    assert found.audience("NZ", "riverbend", "failed") == {"on-call", "mail", "desk"}
    assert found.audience("UK", "riverbend", "partial") == {"mail", "desk"}
    assert found.readers("UK") == {"mail"}
    assert found.readers("US") == set()


def test_the_page_s_example_is_a_document() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        assert read(example).routes


@pytest.mark.parametrize(
    "before, after, told",
    [
        ("channels:", "chanels:", ["1: chanels: is not a key here; did you mean channels?"]),
        ("kind: slack", "kind: slak", ['3: channels[on-call].kind: "slak" is not offered; write slack']),
        ("  url: env:SLACK_URL\n", "", ["2: channels[on-call].url: is required for slack; write where"]),
        ("env:SLACK_URL", "https://hooks.slack.com/T0", [
            "4: channels[on-call].url: is not a reference; keep it outside of this document and",
        ]),
        ("  secret: env:DESK_SECRET\n", "", ["12: channels[desk].secret: is required for webhook; write"]),
        ("  url: env:SLACK_URL", "  url: env:SLACK_URL\n  port: 25",
         ["5: channels[on-call].port: is not a key of slack; leave it out"]),
        ("host: smtp", "security: none\n  host: smtp",
         ["7: channels[mail].security: is for a mail server on this machine alone; write starttls or tls"]),
        ("  username: env:SMTP_USER\n", "", ["5: channels[mail].username: is required beside the other one"]),
        ("rosters@example.org", "Rosters <r@example.org>", ["10: channels[mail].sender: is no e-mail"]),
        ("ops@example.org", "ops", ["11: channels[mail].to[1]: is no e-mail address"]),
        ("name: mail", "name: on-call", [
            "5: channels[on-call].name: on-call is another channel already",
            "20: routes[2].to[1]: there is no such channel; write on-call or desk",
            "23: digests[1].to[1]: there is no such channel; write on-call or desk",
        ]),
        ("to: [on-call]", "to: [oncall]", ["17: routes[1].to[1]: there is no such channel; write on-call"]),
        ("to: [on-call]", "to: []", ["17: routes[1].to: a list is not valid here; write a list"]),
        ("severity: failed", "severity: all", ['18: routes[1].severity: "all" is not offered; write']),
        ("[US, NZ]", "[US, EU]", ['19: routes[1].regions[2]: "EU" is not offered; write US, AU, NZ or UK']),
        ("collect_minutes: 10", "collect_minutes: 0", ["26: collect_minutes: 0 is not valid here; write a"]),
        ("remind_after_days: 5", "remind_after_days: soon", ["25: remind_after_days: "]),
        ("secret: env:DESK_SECRET", "secret: 12345", ["15: channels[desk].secret: is not a reference"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line_and_what_to_write(
    before: str, after: str, told: list[str]
) -> None:
    assert before in WHOLE
    lines = refused(WHOLE.replace(before, after, 1))
    for line in told:
        assert any(found.startswith(line) for found in lines), lines


def test_everything_that_is_wrong_comes_at_once() -> None:
    lines = refused(WHOLE.replace("env:SLACK_URL", "pasted").replace("[US, NZ]", "[XX]").replace("10", "x"))
    assert [int(line.partition(":")[0]) for line in lines] == [4, 19, 26]


def test_a_secret_that_was_pasted_in_is_never_shown() -> None:
    for key in ("url: env:SLACK_URL", "secret: env:DESK_SECRET", "password: file:/run/secrets/smtp"):
        name = key.partition(":")[0]
        assert "hush-canary" not in str(refused(WHOLE.replace(key, f"{name}: hush-canary")))
        assert "hush-canary" not in str(refused(WHOLE.replace(key, f"{name}s: hush-canary")))


@pytest.mark.parametrize("text", ["", "[", "- a", "channels: []", "channels: 3", "routes: []", "{}"])
def test_what_is_no_document_is_refused(text: str) -> None:
    assert refused(text)


def test_where_the_document_is(tmp_path: Path) -> None:
    assert settings.load({}, tmp_path) is None
    (tmp_path / "alerts.yaml").write_text(WHOLE, encoding="utf-8")
    assert settings.load({}, tmp_path) is not None
    named = tmp_path / "elsewhere.yaml"
    with pytest.raises(DocumentRefused) as error:
        settings.load({"ROSTER_ALERTS": str(named)}, tmp_path)
    assert error.value.code == "RS-CFG-14"
    named.write_text(WHOLE.replace("desk", "other"), encoding="utf-8")
    found = settings.load({"ROSTER_ALERTS": str(named)}, tmp_path)
    assert found is not None
    assert "other" in found.names
