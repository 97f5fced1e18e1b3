"""The bridge: blocking calls into asyncio on the caller's thread."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType
from typing import Any

import pytest

from smelt.errors import SmeltInterrupt, SmeltWarning
from smelt.loop.bridge import run_blocking
from smelt.loop.driver import Driver, PausingLoop
from smelt.loop.one_thread import OneThreadLoop
from tests.patience import BUSY

ROWS: Any = object()  # Stands for a partial result.


async def value(it: object) -> object:
    await asyncio.sleep(0)
    return it


async def sigint_soon() -> None:
    """Send SIGINT to this process from the loop, after it began to wait."""
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)


async def interrupted_with(partial: Any) -> None:
    await sigint_soon()
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        raise SmeltInterrupt("Interrupted.", partial) from None


def test_it_returns_what_the_coroutine_returns() -> None:
    assert run_blocking(value(7)) == 7


def test_it_raises_what_the_coroutine_raises() -> None:
    async def fail() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        run_blocking(fail())


def test_it_works_in_a_thread_without_a_loop() -> None:
    with ThreadPoolExecutor(1) as pool:  # Stands for a Polars worker.
        assert pool.submit(lambda: run_blocking(value(7))).result() == 7


def test_it_works_inside_itself() -> None:
    async def outer() -> object:
        with pytest.warns(SmeltWarning, match="blocks the event loop"):
            return run_blocking(value(7))

    assert run_blocking(outer()) == 7


def test_a_context_variable_is_seen_inside_and_does_not_leak_out() -> None:
    name = contextvars.ContextVar("name", default="none")
    name.set("outer")

    async def look_and_set() -> str:
        seen = name.get()
        name.set("inner")
        return seen

    assert run_blocking(look_and_set()) == "outer"
    assert name.get() == "outer"


def test_the_callers_default_loop_stays() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        run_blocking(value(7))

        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class TestInsideARunningLoop:
    @pytest.fixture(autouse=True)
    def _quiet(self) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SmeltWarning)
            yield

    def test_the_running_loop_and_task_are_put_back(self) -> None:
        async def outer() -> None:
            before = asyncio.get_running_loop(), asyncio.current_task()
            run_blocking(value(7))
            assert (asyncio.get_running_loop(), asyncio.current_task()) == before

        asyncio.run(outer())

    def test_they_are_put_back_after_a_failure(self) -> None:
        async def outer() -> None:
            before = asyncio.get_running_loop(), asyncio.current_task()
            with pytest.raises(asyncio.CancelledError):
                run_blocking(cancelled())
            assert (asyncio.get_running_loop(), asyncio.current_task()) == before

        async def cancelled() -> None:
            raise asyncio.CancelledError

        asyncio.run(outer())

    def test_it_works_in_a_callback(self) -> None:
        async def outer() -> object:
            result = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(lambda: result.set_result(run_blocking(value(7))))
            return await result

        assert asyncio.run(outer()) == 7

    def test_the_timeout_around_it_still_fires(self) -> None:
        async def outer() -> None:
            async with asyncio.timeout(0.02):
                run_blocking(asyncio.sleep(0.03))
                await asyncio.sleep(30)

        with pytest.raises(TimeoutError):
            asyncio.run(outer())

    def test_the_task_around_it_can_still_be_cancelled(self) -> None:
        async def inner() -> None:
            run_blocking(value(7))
            await asyncio.sleep(30)

        async def outer() -> None:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(inner())
                await asyncio.sleep(0.01)
                task.cancel()
            assert task.cancelled()

        asyncio.run(outer())

    def test_ctrl_c_reaches_the_work_although_asyncio_run_has_the_handler(self) -> None:
        async def outer() -> None:
            handler = signal.getsignal(signal.SIGINT)
            with pytest.raises(SmeltInterrupt, match="Interrupted"):
                run_blocking(interrupted_with(ROWS))
            assert signal.getsignal(signal.SIGINT) is handler

        asyncio.run(outer())


def calling_from(module: str) -> FunctionType:
    """A function of *module* that calls its first argument with the others."""

    def call(called: Callable[..., object], *args: object) -> object:
        return called(*args)

    return FunctionType(call.__code__, {"__name__": module})


class TestTheWarning:
    def test_it_points_at_the_callers_line_and_names_the_awaited_method(self) -> None:
        async def outer() -> int:
            line = sys._getframe().f_lineno + 1
            run_blocking(value(7), awaited="arun")
            return line

        with pytest.warns(SmeltWarning, match=r"await arun\(\)") as caught:
            line = asyncio.run(outer())

        assert [(one.filename, one.lineno) for one in caught] == [(__file__, line)]

    def test_it_skips_the_frames_of_smelt_and_of_the_frame_library(self) -> None:
        accessor, pipe = calling_from("smelt.frames.pandas"), calling_from("pandas.core.generic")

        async def outer() -> int:
            line = sys._getframe().f_lineno + 1
            pipe(accessor, run_blocking, value(7))
            return line

        with pytest.warns(SmeltWarning, match="blocks the event loop") as caught:
            line = asyncio.run(outer())

        assert [(one.filename, one.lineno) for one in caught] == [(__file__, line)]

    def test_nothing_runs_where_warnings_are_errors(self) -> None:
        async def never() -> None:
            pytest.fail("ran")

        async def strict() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                run_blocking(never())

        with pytest.raises(SmeltWarning, match="blocks the event loop"):
            asyncio.run(strict())

    def test_there_is_none_without_a_running_loop(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run_blocking(value(7))


class TestCtrlC:
    def test_the_works_own_interrupt_comes_out_as_it_is(self) -> None:
        with pytest.raises(SmeltInterrupt, match="Interrupted") as caught:
            run_blocking(interrupted_with(ROWS))

        assert caught.value.partial_result is ROWS

    def test_work_that_has_no_answer_to_it_ends_in_keyboard_interrupt(self) -> None:
        async def work() -> None:
            await sigint_soon()
            await asyncio.sleep(30)

        with pytest.raises(KeyboardInterrupt) as caught:
            run_blocking(work())

        assert caught.type is KeyboardInterrupt

    def test_a_second_one_does_not_wait_for_the_work(self) -> None:
        async def work() -> None:
            await sigint_soon()
            try:
                await asyncio.sleep(30)
            finally:
                await sigint_soon()  # Not before: a process that is held up takes two signals for one.
                await asyncio.sleep(30)
                is_waited_for.append(True)

        is_waited_for: list[bool] = []
        with pytest.raises(KeyboardInterrupt):
            run_blocking(work())

        assert not is_waited_for

    def test_a_second_one_leaves_no_message_of_asyncio(self, caplog: pytest.LogCaptureFixture) -> None:
        async def work() -> None:
            await sigint_soon()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await sigint_soon()
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    raise SmeltInterrupt("Interrupted.") from None

        with pytest.raises(KeyboardInterrupt):
            run_blocking(work())
        gc.collect()

        assert caplog.messages == []

    def test_one_that_comes_as_the_work_is_done_leaves_a_driver_that_can_go_on(self) -> None:
        async def first() -> None:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)

        async def second() -> str:
            await asyncio.sleep(0)
            return "whole"

        with Driver(OneThreadLoop) as driver:
            with pytest.raises(KeyboardInterrupt):
                driver.run(first())

            assert driver.run(second()) == "whole"

    def test_the_bridge_works_afterwards(self) -> None:
        with pytest.raises(SmeltInterrupt, match="Interrupted"):
            run_blocking(interrupted_with(None))

        assert run_blocking(value(7)) == 7
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_other_tasks_are_cancelled_and_awaited(self) -> None:
        ended = []

        async def worker() -> None:
            try:
                await asyncio.sleep(30)
            finally:
                ended.append("worker")

        async def work() -> None:
            await sigint_soon()
            async with asyncio.TaskGroup() as group:
                group.create_task(worker())

        with pytest.raises(KeyboardInterrupt):
            run_blocking(work())

        assert ended == ["worker"]

    def test_a_handler_of_the_programs_own_is_left_alone(self) -> None:
        heard = []
        found = signal.signal(signal.SIGINT, lambda *_: heard.append("program"))
        try:

            async def work() -> str:
                await sigint_soon()
                await asyncio.sleep(0.03)
                return "done"

            assert run_blocking(work()) == "done"
            assert heard == ["program"]
        finally:
            signal.signal(signal.SIGINT, found)

    def test_a_script_ends_at_once_and_prints_nothing_but_its_own_words(self) -> None:
        script = textwrap.dedent(
            """
            import asyncio
            from smelt.loop.bridge import run_blocking
            from smelt.errors import SmeltInterrupt

            async def work():
                print("ready", flush=True)
                try:
                    await asyncio.sleep(120)
                except asyncio.CancelledError:
                    raise SmeltInterrupt("Interrupted.", partial_result="rows") from None

            try:
                run_blocking(work())
            except SmeltInterrupt as stop:
                print(stop.partial_result)
            """
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=BUSY)

        assert (out, err, process.returncode) == ("rows\n", "", 0)


class TestThreads:
    @pytest.fixture(autouse=True)
    def _none_started(self) -> object:
        before = set(threading.enumerate())
        yield
        assert set(threading.enumerate()) == before

    def test_a_connection_by_name_starts_none(self) -> None:
        async def work() -> str:
            server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0, family=socket.AF_INET)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                await reader.read()
                writer.close()
            return threading.current_thread().name

        assert run_blocking(work()) == threading.current_thread().name

    def test_to_thread_runs_in_line(self) -> None:
        assert run_blocking(asyncio.to_thread(threading.get_ident)) == threading.get_ident()

    def test_to_thread_raises_what_the_function_raises(self) -> None:
        with pytest.raises(ZeroDivisionError, match="by zero"):
            run_blocking(asyncio.to_thread(divmod, 1, 0))

    def test_names_are_looked_up_in_line(self) -> None:
        async def look_up() -> tuple[object, object]:
            loop = asyncio.get_running_loop()
            return await loop.getaddrinfo("127.0.0.1", 80), await loop.getnameinfo(
                ("127.0.0.1", 80), socket.NI_NUMERICHOST
            )

        found, name = run_blocking(look_up())

        assert found == socket.getaddrinfo("127.0.0.1", 80)
        assert name == socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)


def test_an_executor_of_the_callers_own_keeps_its_threads() -> None:
    async def work() -> int:
        with ThreadPoolExecutor(1) as pool:
            return await asyncio.get_running_loop().run_in_executor(pool, threading.get_ident)

    assert run_blocking(work()) != threading.get_ident()


def test_the_loop_is_closed_afterwards() -> None:
    async def work() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loop = run_blocking(work())

    assert isinstance(loop, OneThreadLoop)
    assert loop.is_closed()


class TestDriver:
    def test_a_loop_goes_on_where_it_stood(self) -> None:
        async def begin() -> asyncio.Task[str]:
            return asyncio.create_task(asyncio.sleep(0.001, "slept"))

        async def end(task: asyncio.Task[str]) -> str:
            return await task

        with Driver() as driver:
            task = driver.run(begin())

            assert driver.run(end(task)) == "slept"

    def test_each_turn_may_be_on_another_thread(self) -> None:
        seen: list[str] = []

        async def note() -> None:
            await asyncio.sleep(0)
            seen.append(threading.current_thread().name)

        with Driver() as driver:
            for name in ("one", "two"):
                thread = threading.Thread(target=lambda: driver.run(note()), name=name)
                thread.start()
                thread.join()

        assert seen == ["one", "two"]

    def test_what_is_left_at_the_end_is_cancelled(self) -> None:
        async def begin() -> asyncio.Task[None]:
            task = asyncio.create_task(asyncio.sleep(1e9))
            await asyncio.sleep(0)
            return task

        with Driver() as driver:
            task = driver.run(begin())

        assert task.cancelled()

    def test_no_timeout_passes_while_nobody_drives(self) -> None:
        now = 1_000.0

        async def timed_out(task: asyncio.Task[None] | None = None) -> asyncio.Task[None] | None:
            async def wait() -> None:
                async with asyncio.timeout(5.0):
                    await asyncio.Event().wait()

            if task is None:
                task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return None if task.done() else task

        with Driver(lambda: PausingLoop(lambda: now)) as driver:
            task = driver.run(timed_out())
            now += 1_000.0

            assert driver.run(timed_out(task)) is task

    def test_its_clock_counts_the_time_it_was_driven_from_0(self) -> None:
        now = 1_000.0

        async def work(seconds: float) -> float:
            nonlocal now
            now += seconds
            return asyncio.get_running_loop().time()

        with Driver(lambda: PausingLoop(lambda: now)) as driver:
            first = driver.run(work(2.0))
            now += 500.0
            second = driver.run(work(3.0))

        assert (first, second) == (2.0, 5.0)
