"""Messages arrive at real receivers as their services document them, and failures are told apart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roster_pipeline.alerts import channels
from roster_pipeline.alerts.channels import ChannelError, Sender, within
from roster_pipeline.alerts.messages import of_test
from roster_pipeline.alerts.settings import Channel
from roster_pipeline.alerts.shapes import Envelope
from roster_pipeline.codes import CodedError
from roster_pipeline_tests.unit.alerts.receivers import Desk, desk, mailbox

NOW = datetime(2025, 10, 16, 6, 10, tzinfo=UTC)
ENVELOPE = Envelope("0f3a.1", NOW, of_test("on-call"))
SECRET = "hush & canary"
CERTIFICATE = Path(__file__).resolve().parents[2] / "certificate"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Desk]:
    with desk() as here:
        yield here


@pytest.fixture
def here(receiver: Desk) -> Desk:
    receiver.status, receiver.headers, receiver.pause = 200, {}, 0.0
    receiver.tried.clear()
    return receiver


def send(channel: Channel, **environ: str) -> None:
    Sender(environ, lambda: NOW)(channel, ENVELOPE)


def post(kind: Any, url: str, secret: str = SECRET) -> None:
    send(Channel(name="on-call", kind=kind, url="env:URL", secret="env:SECRET"), URL=url, SECRET=secret)


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_slack_and_teams_get_their_json(here: Desk, kind: str) -> None:
    post(kind, here.url("/services/T0/B0/x"))
    (got,) = here.tried
    assert got.path == "/services/T0/B0/x"
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert set(got.json) == ({"text", "blocks"} if kind == "slack" else {"type", "attachments"})
    assert "webhook-signature" not in got.headers


@pytest.mark.parametrize(
    "secret, key",
    [(SECRET, SECRET.encode()), ("whsec_" + base64.b64encode(b"\0binary key").decode(), b"\0binary key")],
)
def test_a_webhook_is_signed_so_that_the_receiver_can_tell(here: Desk, secret: str, key: bytes) -> None:
    """Verified as docs/alerts.md says, without a line of ours."""
    post("webhook", here.url(), secret)
    (got,) = here.tried
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    assert int(got.headers["webhook-timestamp"]) == NOW.timestamp()
    assert got.headers["idempotency-key"] == got.headers["webhook-id"] == got.json["id"] == "0f3a.1"
    assert set(got.json) == {"id", "made_at", "kind", "severity", "title", "lines", "sections"}


@pytest.mark.parametrize(
    "status, code, refuses",
    [
        (400, "RS-NET-07", True), (413, "RS-NET-07", True), (401, "RS-AUTH-01", False),
        (403, "RS-AUTH-01", False), (404, "RS-NET-07", False), (410, "RS-NET-07", False),
        (429, "RS-NET-06", False), (500, "RS-NET-05", False), (503, "RS-NET-05", False),
    ],
)  # fmt: skip
def test_an_answer_says_whether_the_channel_or_the_message_is_at_fault(
    here: Desk, status: int, code: str, refuses: bool
) -> None:
    here.status, here.headers = status, {"Retry-After": "120"}
    with pytest.raises(ChannelError) as told:
        post("slack", here.url())
    assert (told.value.code, told.value.refuses) == (code, refuses)
    assert told.value.wait == (120 if status in (429, 500, 503) else None)
    assert str(status) in told.value.message


def test_a_redirect_is_not_followed(here: Desk) -> None:
    here.status, here.headers = 302, {"Location": here.url("/elsewhere")}
    with pytest.raises(ChannelError) as told:
        post("webhook", here.url())
    assert told.value.code == "RS-NET-03"
    assert len(here.tried) == 1


def test_nobody_there_is_told_without_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/secret-path"
        with pytest.raises(ChannelError) as told:
            post("slack", url)
    assert told.value.code == "RS-NET-01"
    assert "secret-path" not in str(told.value)


def test_an_address_of_a_private_network_is_not_written_to() -> None:
    with pytest.raises(CodedError) as told:
        post("slack", "https://10.0.0.7/hook")
    assert told.value.code == "RS-NET-09"


@pytest.mark.parametrize("url", ["http://hooks.example/x", "ftp://hooks.example/x", "nonsense", "https://["])
def test_an_address_that_is_not_safe_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ChannelError) as told:
        post("slack", url)
    assert told.value.code == "RS-CFG-06"
    assert "hooks" not in str(told.value)


def test_a_receiver_that_hangs_is_given_up(here: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "STEP", 0.2)
    here.pause = 2.0
    with pytest.raises(ChannelError) as told:
        post("slack", here.url())
    assert told.value.code == "RS-NET-04"


def test_what_no_step_ends_is_ended_as_a_whole() -> None:
    """Looking up a name has no time limit of its own."""
    began, over = time.monotonic(), threading.Event()
    with pytest.raises(ChannelError) as told:
        within(0.1, lambda: over.wait(60), "late")
    over.set()
    assert (told.value.code, time.monotonic() - began < 5) == ("RS-NET-04", True)


def test_a_secret_that_is_not_there_is_told_by_its_reference() -> None:
    with pytest.raises(CodedError) as told:
        send(Channel(name="on-call", kind="slack", url="env:NOWHERE"))
    assert (told.value.code, "NOWHERE" in told.value.message) == ("RS-AUTH-05", True)


# --------------------------------------------------------------------------------------------- e-mail


def mail_channel(port: int, **more: Any) -> Channel:
    given: dict[str, Any] = {
        "name": "mail", "kind": "email", "host": "127.0.0.1", "port": port, "security": "none",
        "sender": "rosters@example.org", "to": ("a@example.org", "b@example.org"),
    }  # fmt: skip
    return Channel(**given | more)


def test_a_mail_arrives_once_for_all_recipients() -> None:
    with mailbox() as box:
        send(mail_channel(box.port))
        (mail,) = box.mails
    assert box.recipients == [["a@example.org", "b@example.org"]]
    assert mail["From"] == "rosters@example.org"
    assert mail["Subject"] == "[rosters, info] A test of the alert channel on-call"
    assert mail["Message-ID"] == "<0f3a.1@example.org>"
    assert "Nothing is to be done." in mail.get_content()


def encrypted() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(CERTIFICATE / "certificate.pem", CERTIFICATE / "key.pem")
    return made


def test_a_mail_server_may_want_encryption_and_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE / "certificate.pem"))
    channel = {"security": "starttls", "username": "env:USER", "password": "env:PASSWORD"}
    with mailbox(login=True, starttls=encrypted()) as box:
        send(mail_channel(box.port, **channel), USER="us", PASSWORD="mail-secret")
        with pytest.raises(ChannelError) as told:
            send(mail_channel(box.port, **channel), USER="us", PASSWORD="wrong-secret")
        assert len(box.mails) == 1
    assert told.value.code == "RS-AUTH-01"
    assert "wrong-secret" not in str(told.value)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_server_with_a_certificate_that_nobody_vouches_for_gets_nothing(security: str) -> None:
    is_later = security == "starttls"
    with mailbox(starttls=encrypted() if is_later else None, tls=None if is_later else encrypted()) as box:
        with pytest.raises(ChannelError) as told:
            send(mail_channel(box.port, security=security))
        assert box.mails == []
    assert told.value.code == "RS-NET-02"


@pytest.mark.parametrize(
    "answer, code, refuses",
    [
        ("451 try later: Jane Doe", "RS-NET-07", False),
        ("554 no such message: Jane Doe", "RS-NET-07", True),
    ],
)
def test_what_a_mail_server_says_is_not_passed_on(answer: str, code: str, refuses: bool) -> None:
    with mailbox() as box:
        box.answer = answer
        with pytest.raises(ChannelError) as told:
            send(mail_channel(box.port))
    assert (told.value.code, told.value.refuses) == (code, refuses)
    assert "Jane" not in str(told.value)


def test_a_mail_server_without_encryption_gets_nothing_where_it_is_wanted() -> None:
    with mailbox() as box:
        with pytest.raises(ChannelError) as told:
            send(mail_channel(box.port, security="starttls"))
        assert box.mails == []
    assert told.value.code == "RS-NET-07"


def test_nobody_at_the_mail_server_s_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ChannelError) as told:
            send(mail_channel(taken.getsockname()[1]))
    assert told.value.code == "RS-NET-01"
