"""A message as each kind of channel shows it: Slack's blocks, Teams' card, an e-mail, signed JSON. Pure.

Plain text wherever a channel would else read marks of its own: what a school is called may look like a link
or a call to everybody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

from roster_pipeline.alerts.messages import Message

SLACK_TEXT: Final = 3000
SLACK_HEADER: Final = 150
TEAMS_BYTES: Final = 28_000
"""Teams refuses larger cards; a message of ours is far below."""
_MARKS: Final = {"failed": "\N{LARGE RED CIRCLE}", "partial": "\N{LARGE YELLOW CIRCLE}",
                 "info": "\N{LARGE GREEN CIRCLE}"}  # fmt: skip
_WORDS: Final = {"failed": "failed", "partial": "attention", "info": "info"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with what is the same however often it is sent."""

    message_id: str
    made_at: datetime
    message: Message


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# --------------------------------------------------------------------------------------------- Slack


def slack(envelope: Envelope) -> bytes:
    """The body for an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks."""
    message = envelope.message
    title = f"{_MARKS[message.severity]} {message.title}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(title, SLACK_HEADER)},
    ]
    # A header is cut at 150 characters: then the whole title stands below it.
    lead = [message.title] if len(title) > SLACK_HEADER else []
    texts = ["\n".join([*lead, *message.lines])] if lead or message.lines else []
    texts += ["\n".join([section.title, *section.lines]) for section in message.sections]
    blocks += [{"type": "section", "text": _plain(text, SLACK_TEXT)} for text in texts]
    blocks.append({"type": "context", "elements": [_plain(_foot(envelope), SLACK_TEXT)]})
    # `text` is what notifications show, and the one place whose marks Slack reads.
    fallback = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _bytes({"text": _clipped(fallback, SLACK_TEXT), "blocks": blocks})


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": _clipped(text, longest), "emoji": False}


# --------------------------------------------------------------------------------------------- Teams


def teams(envelope: Envelope) -> bytes:
    """The body for a Teams workflow ("when a webhook request is received"): one adaptive card."""
    message = envelope.message
    body: list[dict[str, Any]] = [
        _rich(f"{_MARKS[message.severity]} {message.title}", weight="Bolder", size="Large"),
        *(_rich(line) for line in message.lines),
    ]
    for section in message.sections:
        body.append({**_rich(section.title, weight="Bolder"), "separator": True})
        body += [_rich(line) for line in section.lines]
    body.append(_rich(_foot(envelope), size="Small", isSubtle=True))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return _bytes({"type": "message", "attachments": [attachment]})


def _rich(text: str, **look: Any) -> dict[str, Any]:
    # A TextBlock would read Markdown; the runs of a RichTextBlock are plain.
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **look}]}


# -------------------------------------------------------------------------------------------- e-mail


def email(envelope: Envelope, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """A mail of plain text; its Message-ID is the message's own, so that a second copy is known as one."""
    message = envelope.message
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = f"[rosters, {_WORDS[message.severity]}] {message.title}"
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(envelope.made_at.astimezone(UTC))
    mail["Message-ID"] = f"<{envelope.message_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # nobody's holiday note answers it
    mail.set_content("\n".join(_lines(envelope)) + "\n")
    return mail


def _lines(envelope: Envelope) -> Iterator[str]:
    yield from (envelope.message.title, "", *envelope.message.lines)
    for section in envelope.message.sections:
        yield from ("", section.title, *(f"  {line}" for line in section.lines))
    yield from ("", "--", _foot(envelope))


def _foot(envelope: Envelope) -> str:
    return f"roster_pipeline · {envelope.made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC · {envelope.message_id}"


# ------------------------------------------------------------------------------------------- webhook


def webhook(envelope: Envelope) -> bytes:
    """The document that docs/alerts.md describes."""
    message = envelope.message.as_json()
    told = {"id": envelope.message_id, "made_at": f"{envelope.made_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    return _bytes({**told, **message})


def signed(message_id: str, body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """The headers that prove where a webhook's body comes from, after https://www.standardwebhooks.com.

    A secret that begins with `whsec_` is base64, as that page has it; any other is taken as it stands.
    """
    timestamp = str(int(now.timestamp()))
    what = b".".join([message_id.encode(), timestamp.encode(), body])
    signature = hmac.new(_key(secret), what, hashlib.sha256).digest()
    return {
        "Idempotency-Key": message_id,
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()


def _bytes(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
