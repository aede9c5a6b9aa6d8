"""Answers that come slowly, in part or far too large: what a real client sees of them."""

from __future__ import annotations

import time

import httpx
import pytest

from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline_tests.unit.sandbox.conftest import Client, Start, signed


def asked(
    client: Client, path: str = "orgs", *, length: int | None = None
) -> tuple[bytes, httpx.HTTPError | None]:
    """What came of an answer's body before it ended, or `length` bytes were there."""
    url = f"{client.serving.base_url}/{path}"
    came = b""
    try:
        with client.http.stream("GET", url, headers={"authorization": signed(url)}) as answer:
            for piece in answer.iter_raw():
                came += piece
                if length is not None and len(came) >= length:
                    break
    except httpx.HTTPError as error:
        return came, error
    return came, None


def test_a_reset_comes_in_the_middle_of_the_body(start: Start) -> None:
    whole = start("classlink").get("users").content
    client = start("classlink", misbehaviour=Misbehaviour("reset", times=1))
    came, error = asked(client, "users")
    assert isinstance(error, httpx.ReadError)
    assert "reset" in str(error).lower()
    assert len(came) == len(whole) // 2
    assert client.get("users").status_code == 200


def test_a_reset_can_come_at_once_or_after_some_bytes(start: Start) -> None:
    for bytes_, length in ((0, 0), (10, 10)):
        came, error = asked(start("classlink", misbehaviour=Misbehaviour("reset", bytes_)))
        assert isinstance(error, httpx.ReadError)
        assert len(came) == length


def test_a_connection_can_be_closed_before_all_that_was_promised_is_there(start: Start) -> None:
    whole = start("classlink").get("orgs").content
    came, error = asked(start("classlink", misbehaviour=Misbehaviour("cut-off")))
    assert isinstance(error, httpx.RemoteProtocolError)
    assert whole.startswith(came[:20])
    assert len(came) == len(whole) // 2


def test_an_answer_can_drip(start: Start) -> None:
    client = start("classlink", misbehaviour=Misbehaviour("drip", 0.05, endpoint="orgs"))
    begun = time.monotonic()
    came, error = asked(client, length=10)
    assert error is None
    assert time.monotonic() - begun >= 9 * 0.05
    assert 10 <= len(came) < len(start("classlink").get("orgs").content)
    assert came.startswith(b'{"')
    whole = start("classlink", misbehaviour=Misbehaviour("drip", 0.0)).get("orgs", limit=1)
    assert [org["sourcedId"] for org in whole.json()["orgs"]] == ["o0100"]


def test_blanks_can_drip_for_ever(start: Start) -> None:
    came, error = asked(start("classlink", misbehaviour=Misbehaviour("drip-for-ever", 0.01)), length=10)
    assert error is None
    assert len(came) >= 10
    assert not came.strip()


def test_a_page_can_be_gigantic(start: Start) -> None:
    answer = start("classlink", misbehaviour=Misbehaviour("huge-page", 2)).get("orgs")
    assert len(answer.content) > 2 * 1024 * 1024
    assert answer.json()["orgs"]


def test_a_gigantic_page_can_be_packed_small(start: Start) -> None:
    client = start("classlink", misbehaviour=Misbehaviour("zip-bomb", 2))
    came, error = asked(client)
    assert error is None
    assert len(came) < 8192
    answer = client.get("orgs")
    assert len(answer.content) > 2 * 1024 * 1024
    assert answer.json()["orgs"]


def test_the_token_endpoint_can_hang_and_drop_connections(start: Start) -> None:
    client = start("powerschool", misbehaviour=Misbehaviour("reset", endpoint="token", times=1))
    with pytest.raises(httpx.ReadError):
        client.fetch_token()
    assert client.fetch_token().status_code == 200
    client.sandbox.misbehave(Misbehaviour("hang", endpoint="token"))
    client.http.timeout = httpx.Timeout(0.2)
    with pytest.raises(httpx.ReadTimeout):
        client.fetch_token()


@pytest.mark.parametrize("what", ["drip-for-ever", "huge-page"])
def test_a_client_that_goes_away_is_not_sent_the_rest(start: Start, what: str) -> None:
    client = start("classlink", misbehaviour=Misbehaviour(what, times=1))  # type: ignore[arg-type]
    asked(client, length=1)
    begun = time.monotonic()
    assert client.get("orgs").status_code == 200
    assert time.monotonic() - begun < 20
