"""Who is alive: by the clock of one machine, and by the time of day between two."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from smelt.ledger import lease
from smelt.ledger.lease import Moment, Owner, _Home
from smelt.loop.driver import Driver, move_others


def test_between_machines_the_time_of_day_tells_and_after_a_start_of_this_one_its_clock_does(path: Path) -> None:
    here = Owner.me().machine
    assert lease._is_fresh("elsewhere", Moment(940.5, 0.0), Moment(1_000.0, 5.0))
    assert not lease._is_fresh("elsewhere", Moment(939.0, 5.0), Moment(1_000.0, 5.0))
    assert lease._is_fresh(here, Moment(0.0, 440.5), Moment(1_000.0, 500.0))
    assert not lease._is_fresh(here, Moment(1_000.0, 439.0), Moment(1_000.0, 500.0))
    assert not lease._is_fresh(here, Moment(1_000.0, 501.0), Moment(1_000.0, 500.0))


def test_containers_of_one_machine_have_one_clock() -> None:
    assert lease._start_of("web 5f0c-boot pid:[1]") == lease._start_of("db 5f0c-boot pid:[2]") == "5f0c-boot"
    assert lease._start_of("mac  ") == "mac  "


def test_a_process_that_ended_is_gone_and_one_that_runs_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        owner = Owner(machine=Owner.me().machine, pid=child.pid, born=lease._born(child.pid) or 0)
        assert not owner.is_gone()
    assert owner.is_gone()
    assert not Owner.me().is_gone()
    assert Owner(machine=Owner.me().machine, pid=os.getpid(), born=1).is_gone()  # The number was used again.
    assert not Owner(machine="elsewhere", pid=1, born=1).is_gone()


def test_a_run_that_advances_another_for_a_moment_is_not_blocked_until_the_other_ends() -> None:
    found: list[bool] = []
    with closing(asyncio.new_event_loop()) as blocked, Driver() as driver:
        home = _Home(threading.get_ident(), blocked)

        async def look() -> None:
            found.append(home.is_stuck())
            asyncio.get_running_loop().call_later(0.001, lambda: found.append(home.is_stuck()))

        driver.run(look())
        move_others()

    assert found == [True, False]
