"""How fast one host is asked: spaces between requests that grow with refusals and shrink with answers.

A sync learns a host's pace and leaves it for the next one, also of another tenant: many tenants share a
host, and each would otherwise run into its limit anew. Where that is kept is the caller's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

LEAST: Final = 0.05
"""Seconds: the first space after a refusal."""
MOST: Final = 30.0
"""Seconds: the largest space."""
SLOWER: Final = 4.0
"""So many times what its answers usually take, a host is overloaded."""
NOTICED: Final = 1.0
"""Seconds: below that no answer is slow."""
AT_FIRST: Final = 5.0
"""Seconds: the largest space that a sync begins with, whatever was learned before."""
LONGEST_HOLD: Final = 300.0
"""Seconds: a pause that another sync was asked for is waited for that long at most."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of a host.

    Attributes:
        space: Seconds between two requests; 0 for none.
        held_until: It wants to be left alone until then; aware, in UTC.
        usual: Seconds that its answers usually take; 0 where that is not known.
    """

    space: float = 0.0
    held_until: datetime | None = None
    usual: float = 0.0


class Paces(Protocol):
    """Where paces are kept from one sync to the next."""

    def recall(self, host: str) -> Pace:
        """What was learned of a host, which may have a port; never raises for a store that is down."""

    def learn(self, host: str, pace: Pace) -> None:
        """Keeps what was learned, likewise."""


class Forgetful:
    """Keeps nothing: for who asks a host once."""

    def recall(self, host: str) -> Pace:
        """Nothing is known."""
        return Pace()

    def learn(self, host: str, pace: Pace) -> None:
        """Forgets it."""


@dataclass(slots=True)
class Gate:
    """Holds back all requests to one host while it wants to be left alone, and spaces them after.

    The space between requests doubles with each refusal for haste, and while answers take several times
    as long as usual; it shrinks with each other answer, so that several threads do not run into the limit
    again together.
    """

    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    known: Pace = Pace()
    learn: Callable[[Pace], None] = lambda _: None
    _held_until: float = 0.0
    _next_turn: float = 0.0
    _space: float = 0.0
    _refusals: int = 0
    _smoothed: float = 0.0
    _answers: int = 0
    _fastest: float = 0.0
    _widened_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._space = min(self.known.space, AT_FIRST)
        if self.known.held_until is not None:
            now = self.clock().timestamp()
            self._held_until = min(self.known.held_until.timestamp(), now + LONGEST_HOLD)

    def wait(self) -> int:
        """Returns when a request may be sent: the number of refusals so far, for `hold`."""
        waited_for, turn = 0.0, 0.0
        while True:
            with self._lock:
                now = self.clock().timestamp()
                # A pause is waited for once: a clock that does not move must not hold anybody.
                if self._held_until > now and self._held_until != waited_for:
                    waited_for, turn = self._held_until, 0.0
                    pause = self._held_until - now
                elif not turn and self._space:
                    turn = max(now, self._next_turn)
                    self._next_turn = turn + self._space
                    pause = turn - now
                else:
                    return self._refusals
            if pause > 0:
                self.sleep(pause)

    def hold(self, seconds: float, sent_at: int) -> None:
        """Lets nobody through for `seconds`; `sent_at` is what `wait` gave to the refused request."""
        with self._lock:
            self._held_until = max(self._held_until, self.clock().timestamp() + seconds)
            if sent_at != self._refusals:  # requests that were under way together count once
                return
            self._refusals += 1
            self._widen()
            self._next_turn = self._held_until
            found = self._pace()
        self.learn(found)  # at once: others may be asking this host just now

    def passed(self, seconds: float = 0.0) -> None:
        """Told that a request succeeded, and how long its answer took."""
        with self._lock:
            self._answers += 1
            self._smoothed = seconds if self._answers == 1 else 0.8 * self._smoothed + 0.2 * seconds
            if self._answers >= 3:
                self._fastest = min(self._fastest or self._smoothed, self._smoothed)
            if self._is_slow():
                now = self.clock().timestamp()
                if now - self._widened_at >= self._smoothed:  # what was asked before that says nothing of it
                    self._widen()
                    self._space = min(self._space, self._smoothed)
                    self._widened_at = now
            elif self._space:
                self._space = self._space * 0.9 if self._space > 0.01 else 0.0

    def _is_slow(self) -> bool:
        usual = self.known.usual or self._fastest
        return self._answers >= 3 and self._smoothed > max(NOTICED, SLOWER * usual)

    def _widen(self) -> None:
        self._space = min(max(self._space * 2, LEAST), MOST)

    def _pace(self) -> Pace:
        usual = self.known.usual
        if self._fastest:
            usual = self._fastest if not usual else 0.7 * usual + 0.3 * self._fastest
        held = datetime.fromtimestamp(self._held_until, UTC) if self._held_until else None
        return Pace(self._space, held, usual)

    def close(self) -> None:
        """Leaves what was learned for the next one, if anything was asked."""
        with self._lock:
            found, asked = self._pace(), self._answers or self._refusals
        if asked:
            self.learn(found)
