"""Sends a message through a channel: HTTP for Slack, Teams and webhooks, SMTP for e-mail.

A plain POST of what Slack and Teams document is all that is needed of them; their Dagster packages would
bring Dagster below the line, and two clients for one request. The rules of connections to providers are
these too: no address of a private network that is not admitted, no redirect, no answer that is waited for
without end. Of what the other side says only its status is told: the rest may hold anything.
"""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from roster_pipeline.alerts import shapes
from roster_pipeline.alerts.settings import Channel
from roster_pipeline.alerts.shapes import Envelope
from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.addresses import admitted, is_loopback
from roster_pipeline.oneroster.connecting import RedirectError, connect, is_tls
from roster_pipeline.tenants.secrets import resolve

LIMIT: Final = 12.0
"""Seconds that sending one message may take in all, looking up names included."""
STEP: Final = 5.0
"""Seconds for each step of it."""
LONGEST_ANSWER: Final = 4096

Result = TypeVar("Result")


class ChannelError(CodedError):
    """A message that was not taken.

    Attributes:
        refuses: The channel works and does not want this very message; others may be sent.
        wait: Seconds that the other side wants to be left alone, if it said so.
    """

    def __init__(self, code: str, message: str, *, refuses: bool = False, wait: float | None = None) -> None:
        super().__init__(code, message)
        self.refuses = refuses
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends for a deployment, whose environment has the secrets."""

    environ: Mapping[str, str]
    clock: Callable[[], datetime]

    def __call__(self, channel: Channel, envelope: Envelope) -> None:
        """Sends, or raises.

        Raises:
            CodedError: a ChannelError if it was not taken; RS-AUTH-05 or RS-CFG-13 for what is not set up.
        """

        def send() -> None:
            if channel.kind == "email":
                self._mail(channel, envelope)
            else:
                self._post(channel, envelope)

        within(LIMIT, send, f"The channel {channel.name} took too long.")

    def _post(self, channel: Channel, envelope: Envelope) -> None:
        url = _checked(resolve(channel.url or "", self.environ), channel.name)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        match channel.kind:
            case "slack":
                body = shapes.slack(envelope)
            case "teams":
                body = shapes.teams(envelope)
            case _:
                body = shapes.webhook(envelope)
                secret = resolve(channel.secret or "", self.environ)
                headers |= shapes.signed(envelope.message_id, body, secret, self.clock())
        timeout = httpx.Timeout(STEP)
        with (
            _told(channel.name),
            connect(url, connections=1, timeout=timeout, networks=admitted(self.environ)) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            _raise_for(response, channel.name)
            # Its end is waited for: the request may count only then. What it says is not looked at.
            read = 0
            for piece in response.iter_raw():
                read += len(piece)
                if read > LONGEST_ANSWER:
                    break

    def _mail(self, channel: Channel, envelope: Envelope) -> None:
        mail = shapes.email(envelope, channel.sender or "", channel.to)
        login = None
        if channel.username and channel.password:
            login = (resolve(channel.username, self.environ), resolve(channel.password, self.environ))
        # Without a name of its own smtplib asks the resolver for one, for as long as that takes.
        own = (channel.sender or "").rpartition("@")[2]
        with _told(channel.name):
            if channel.security == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    channel.host or "", channel.port, own, timeout=STEP, context=ssl.create_default_context()
                )
            else:
                server = smtplib.SMTP(channel.host or "", channel.port, own, timeout=STEP)
            try:
                if channel.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if login:
                    server.login(*login)
                # Some of several may be refused; who remains has it, and would have it twice.
                server.send_message(mail, channel.sender, channel.to)
            finally:
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    server.quit()


def within(seconds: float, work: Callable[[], Result], late: str) -> Result:
    """What `work` gives, if it is done in time; a lookup of a name cannot be given a limit otherwise.

    Raises:
        ChannelError: RS-NET-04 if it is not done by then. It is left to end by itself.
    """
    done: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="alert")
    thread.start()
    thread.join(seconds)
    if done:
        return done[0]
    if failed:
        raise failed[0]
    raise ChannelError("RS-NET-04", late)


def _checked(url: str, name: str) -> str:
    """The address, if it is safe to send to; it is not shown, because whoever has it can write there."""
    try:
        where = urlsplit(url)
        host, _ = where.hostname, where.port
    except ValueError:
        host = None
    if host and (where.scheme == "https" or (where.scheme == "http" and is_loopback(host))):
        return url
    raise ChannelError("RS-CFG-06", f"The address of the channel {name} is no https:// address.")


def _raise_for(response: httpx.Response, name: str) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    told = f"The channel {name} answered with HTTP {status}."
    match status:
        case 401 | 403:
            raise ChannelError("RS-AUTH-01", told)
        case 429:
            raise ChannelError("RS-NET-06", told, wait=_wait(response.headers.get("Retry-After", "")))
        case 400 | 413 | 422:
            raise ChannelError("RS-NET-07", told, refuses=True)
        case _ if status >= 500:
            raise ChannelError("RS-NET-05", told, wait=_wait(response.headers.get("Retry-After", "")))
        case _:
            raise ChannelError("RS-NET-07", told)


def _wait(text: str) -> float | None:
    # A date is allowed too; whoever sends one is asked again as usual.
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


@contextlib.contextmanager
def _told(name: str):  # type: ignore[no-untyped-def]
    """Errors of the two libraries as ours, without their texts."""
    try:
        yield
    except RedirectError as error:
        raise ChannelError(
            "RS-NET-03", f"The channel {name} answered with a redirect (HTTP {error})."
        ) from None
    except smtplib.SMTPAuthenticationError as error:
        told = f"The mail server of {name} refused the login (SMTP {error.smtp_code})."
        raise ChannelError("RS-AUTH-01", told) from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        told = f"The mail server of {name} refused every recipient (SMTP {codes[0] if codes else '?'})."
        raise ChannelError("RS-NET-07", told) from None
    except smtplib.SMTPDataError as error:
        told = f"The mail server of {name} refused the message (SMTP {error.smtp_code})."
        raise ChannelError("RS-NET-07", told, refuses=error.smtp_code >= 500) from None
    except smtplib.SMTPResponseException as error:
        told = f"The mail server of {name} answered with SMTP {error.smtp_code}."
        raise ChannelError("RS-NET-05" if error.smtp_code < 500 else "RS-NET-07", told) from None
    except smtplib.SMTPServerDisconnected:
        raise ChannelError("RS-NET-01", f"The mail server of {name} ended the connection.") from None
    except smtplib.SMTPException:
        raise ChannelError("RS-NET-07", f"The mail server of {name} does not offer what is needed.") from None
    except (httpx.TimeoutException, TimeoutError):
        raise ChannelError("RS-NET-04", f"The channel {name} did not answer in time.") from None
    except ssl.SSLError:
        raise ChannelError("RS-NET-02", f"The TLS connection of the channel {name} failed.") from None
    except httpx.HTTPError as error:
        if is_tls(error):
            raise ChannelError("RS-NET-02", f"The TLS connection of the channel {name} failed.") from None
        raise ChannelError("RS-NET-01", f"The channel {name} could not be reached.") from None
    except (OSError, UnicodeError):
        raise ChannelError("RS-NET-01", f"The channel {name} could not be reached.") from None
