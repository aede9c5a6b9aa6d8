"""One sync of a tenant at a time: who gets the lease, who loses it, and what a lost one refuses."""

from __future__ import annotations

import datetime as dt
import os
import socket
import subprocess
import sys
import threading

import pytest
from sqlalchemy import Engine, delete, select, update

from roster_pipeline.codes import CodedError
from roster_pipeline.store import lease as lease_module
from roster_pipeline.store.database import leases
from roster_pipeline.store.lease import SILENCE, Lease, is_dead, this_process

NOW = dt.datetime(2025, 10, 15, 23, 0, tzinfo=dt.UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def held(engine: Engine) -> tuple[str, dt.datetime] | None:
    with engine.connect() as connection:
        row = connection.execute(select(leases)).one_or_none()
    return (row.owner, row.heartbeat_at) if row else None


def ours(engine: Engine, clock: Clock, owner: str, tenant: str = "oak") -> Lease:
    return Lease(engine, tenant, owner, clock)


def elsewhere(engine: Engine, process: str) -> None:
    """The lease is held by another process."""
    with engine.begin() as connection:
        connection.execute(update(leases).values(process=process))


def test_a_lease_is_taken_and_given_back(engine: Engine, clock: Clock):
    lease = ours(engine, clock, "run-1")
    lease.take()
    assert held(engine) == ("run-1", NOW.replace(tzinfo=None))
    lease.release()
    assert held(engine) is None


def test_a_second_sync_of_the_tenant_is_refused_while_the_first_lives(engine: Engine, clock: Clock):
    first, second = ours(engine, clock, "run-1"), ours(engine, clock, "run-2")
    first.take()
    try:
        with pytest.raises(CodedError) as refused:
            second.take()
        assert refused.value.code == "RS-RUN-06"
        assert "oak" in refused.value.message
        assert held(engine) == ("run-1", NOW.replace(tzinfo=None))
    finally:
        first.release()
    second.take()
    second.release()


def test_tenants_do_not_wait_for_each_other(engine: Engine, clock: Clock):
    both = ours(engine, clock, "run-1"), ours(engine, clock, "run-2", "elm")
    for lease in both:
        lease.take()
    for lease in both:
        lease.release()


def test_the_same_run_may_take_its_lease_again(engine: Engine, clock: Clock):
    first, again = ours(engine, clock, "run-1"), ours(engine, clock, "run-1")
    first.take()
    clock.now += dt.timedelta(seconds=60)
    again.take()
    assert held(engine) == ("run-1", clock.now.replace(tzinfo=None))
    again.release()
    first.release()


@pytest.mark.parametrize("late, free", [(dt.timedelta(0), False), (dt.timedelta(seconds=1), True)])
def test_a_process_elsewhere_loses_its_lease_by_silence(
    engine: Engine, clock: Clock, late: dt.timedelta, free: bool
):
    first, second = ours(engine, clock, "run-1"), ours(engine, clock, "run-2")
    first.take()
    elsewhere(engine, "another-host|1|1")
    clock.now += SILENCE + late
    if free:
        second.take()
        assert held(engine) == ("run-2", clock.now.replace(tzinfo=None))
        second.release()
    else:
        with pytest.raises(CodedError):
            second.take()
    first.release()


def test_the_lease_of_a_process_that_is_dead_here_is_free_at_once(engine: Engine, clock: Clock):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    first, second = ours(engine, clock, "run-1"), ours(engine, clock, "run-2")
    first.take()
    elsewhere(engine, f"{socket.gethostname()}|{ended.pid}|1")
    second.take()
    assert held(engine) == ("run-2", NOW.replace(tzinfo=None))
    second.release()
    first.release()


def test_giving_back_a_lost_lease_leaves_it_to_the_other(engine: Engine, clock: Clock):
    first, second = ours(engine, clock, "run-1"), ours(engine, clock, "run-2")
    first.take()
    elsewhere(engine, "another-host|1|1")
    clock.now += 2 * SILENCE
    second.take()
    first.release()
    assert held(engine) == ("run-2", clock.now.replace(tzinfo=None))
    second.release()


@pytest.mark.parametrize("loss", ["another has it", "nobody has it"])
def test_a_lost_lease_refuses_to_publish(engine: Engine, clock: Clock, loss: str):
    lease = ours(engine, clock, "run-1")
    lease.take()
    with engine.begin() as connection:
        lease.check(connection)
        if loss == "another has it":
            connection.execute(update(leases).values(owner="run-2"))
        else:
            connection.execute(delete(leases))
    with engine.begin() as connection, pytest.raises(CodedError) as refused:
        lease.check(connection)
    assert refused.value.code == "RS-RUN-06"
    lease.release()


class Ticking:
    """A clock that stands for the test and, 15 seconds later, for the beating thread, which it counts."""

    def __init__(self) -> None:
        self.later = NOW + dt.timedelta(seconds=15)
        self.asked = threading.Semaphore(0)

    def __call__(self) -> dt.datetime:
        if threading.current_thread() is threading.main_thread():
            return NOW
        self.asked.release()
        return self.later

    def wait_for_beats(self, count: int) -> None:
        """Until so many beats more have begun; all but the last one are done by then."""
        while self.asked.acquire(blocking=False):
            pass  # those of before
        for _ in range(count):
            assert self.asked.acquire(timeout=10), "no beat"


def test_a_lease_beats_by_the_clock_until_it_is_given_back(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease_module, "BEAT", dt.timedelta(milliseconds=1))
    clock = Ticking()
    lease = Lease(engine, "oak", "run-1", clock)
    lease.take()
    clock.wait_for_beats(2)
    assert held(engine) == ("run-1", clock.later.replace(tzinfo=None))
    lease.release()
    assert held(engine) is None


def test_a_beat_that_the_database_refuses_does_not_end_the_beating(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lease_module, "BEAT", dt.timedelta(milliseconds=1))
    clock = Ticking()
    lease = Lease(engine, "oak", "run-1", clock)
    lease.take()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE leases RENAME TO gone")
    clock.wait_for_beats(3)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO leases")
    clock.wait_for_beats(3)
    assert held(engine) == ("run-1", clock.later.replace(tzinfo=None))
    lease.release()


def test_this_process_lives():
    assert not is_dead(this_process())


def test_a_pid_that_was_given_again_is_another_process():
    host, pid, started = this_process().split("|")
    assert started
    assert is_dead(f"{host}|{pid}|{int(started) - 1}")


def test_a_process_that_was_killed_and_not_yet_buried_is_dead():
    """Whoever started it may look only now and then, or never: the next sync need not wait for that."""
    told = f"import sys; from {this_process.__module__} import this_process as p; print(p(), flush=True); "
    process = subprocess.Popen(
        [sys.executable, "-c", told + "sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    name = process.stdout.readline().strip()
    assert not is_dead(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    try:
        assert is_dead(name)
    finally:
        process.communicate()


def test_of_another_machine_nothing_is_known():
    assert not is_dead("another-host|999999999|1")


def test_a_process_of_another_user_lives(monkeypatch: pytest.MonkeyPatch):
    def refused(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not is_dead(this_process())


def test_of_two_first_syncs_at_one_moment_one_gets_the_lease(engine: Engine, clock: Clock):
    several = [ours(engine, clock, f"run-{n}") for n in range(6)]
    barrier, won, lost = threading.Barrier(6), [], []

    def take(lease: Lease) -> None:
        barrier.wait()
        try:
            lease.take()
            won.append(lease.owner)
        except CodedError as error:
            lost.append(error.code)

    threads = [threading.Thread(target=take, args=(lease,)) for lease in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert lost == ["RS-RUN-06"] * 5
    for lease in several:
        lease.release()
    assert held(engine) is None
