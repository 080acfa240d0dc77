"""The door to the engine, with natives of Python's own that drain as the engine does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from pipeline_core import Stop, csv_to_kafka, engine
from pipeline_core.exceptions import SettingsError, UnavailableError

BEAT = json.dumps(
    {
        "stats": {
            "rows_read": 1,
            "rows_written": 1,
            "rows_rejected": 0,
            "bytes_read": 1,
            "bytes_written": 1,
            "bytes_total": None,
            "rows_total": None,
        },
        "logs": [],
    }
)


class Native:
    """Beats until it is stopped, then drains while it beats on; a second exception from a beat ends it at once."""

    def __init__(self, drain=5, fails=None):
        self.drain = drain
        self.fails = fails
        self.is_drained = False
        self.is_running = threading.Event()

    def __call__(self, document, stop, beat):
        self.is_running.set()
        pending, left = None, self.drain
        while left > 0:
            left -= stop.is_set()
            try:
                time.sleep(0.01)
                beat(BEAT)
            except BaseException as error:
                if pending is not None:
                    raise
                pending = error
                stop.set()
        self.is_drained = True
        if pending is not None:
            raise pending
        if self.fails is not None:
            raise self.fails
        return document


def quick(document, stop, beat):
    del stop
    beat(BEAT)
    return document


def test_a_blocking_run_returns_the_report():
    assert engine.run(quick, "{}") == "{}"


def test_an_awaited_run_returns_the_report():
    assert asyncio.run(engine.arun(quick, "{}")) == "{}"


def test_an_awaited_run_raises_what_the_engine_raises():
    async def main():
        stop = Stop()
        stop.set()
        await engine.arun(Native(fails=UnavailableError("The broker is gone")), "{}", stop=stop)

    with pytest.raises(UnavailableError, match="gone"):
        asyncio.run(main())


def test_the_loop_ticks_while_a_run_is_awaited():
    async def main():
        stop = Stop()
        run = asyncio.create_task(engine.arun(Native(), "done", stop=stop))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not run.done()
        stop.set()
        return await run

    assert asyncio.run(main()) == "done"


def test_cancelling_drains_before_it_returns():
    native = Native(drain=30)

    async def main():
        run = asyncio.create_task(engine.arun(native, "{}"))
        await asyncio.to_thread(native.is_running.wait)
        run.cancel()
        await asyncio.sleep(0.05)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert native.is_drained

    asyncio.run(main())


def test_a_time_limit_drains_too():
    native = Native()

    async def main():
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(engine.arun(native, "{}"), timeout=0.1)

    asyncio.run(main())
    assert native.is_drained


def test_a_drain_that_fails_is_logged(caplog):
    native = Native(fails=UnavailableError("The store is gone"))

    async def main():
        run = asyncio.create_task(engine.arun(native, "{}"))
        await asyncio.to_thread(native.is_running.wait)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    assert "The store is gone" in caplog.text


def test_several_runs_go_on_side_by_side():
    async def main():
        stop = Stop()
        natives = [Native() for _ in range(40)]
        runs = asyncio.gather(*(engine.arun(native, "{}", stop=stop) for native in natives))
        begun = time.monotonic()
        while not all(native.is_running.is_set() for native in natives):
            assert time.monotonic() - begun < 30
            await asyncio.sleep(0.01)
        stop.set()
        assert await runs == ["{}"] * 40

    asyncio.run(main())


def test_progress_is_told_on_the_loop_s_thread():
    threads = set()

    async def main():
        stop = Stop()

        def tell(stats):
            threads.add(threading.current_thread())
            assert stats.rows_read == 1
            stop.set()

        await engine.arun(Native(), "{}", stop=stop, on_progress=tell)

    asyncio.run(main())
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize("is_awaited", [False, True])
def test_what_progress_raises_stops_the_run_and_comes_out(is_awaited):
    native = Native()

    def refuse(_stats):
        message = "enough"
        raise LookupError(message)

    def call():
        if is_awaited:
            return asyncio.run(engine.arun(native, "{}", on_progress=refuse))
        return engine.run(native, "{}", on_progress=refuse)

    with pytest.raises(LookupError, match="enough"):
        call()
    assert native.is_drained


def test_a_blocking_run_leaves_the_signals_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    engine.run(quick, "{}")
    asyncio.run(engine.arun(quick, "{}"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_the_program_is_kept():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    try:
        stop = Stop()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        threading.Timer(0.15, stop.set).start()
        engine.run(Native(), "{}", stop=stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_runs_work_off_the_main_thread():
    reports = []
    thread = threading.Thread(target=lambda: reports.append(engine.run(quick, "{}")))
    thread.start()
    thread.join()
    assert reports == ["{}"]


def test_settings_come_once():
    config = csv_to_kafka.Config(files="a.csv")
    with pytest.raises(SettingsError, match="not both: topic"):
        csv_to_kafka.run(config, topic="t")


ABANDONED = """
    import asyncio, sys, time
    sys.path.insert(0, {folder!r})
    from test_engine import Native
    from pipeline_core import engine

    native = Native()
    loop = asyncio.new_event_loop()
    task = loop.create_task(engine.arun(native, "{{}}"))
    loop.run_until_complete(asyncio.sleep(0.2))
    print("end of program", flush=True)
"""


def test_a_run_that_nobody_awaits_does_not_keep_the_interpreter():
    program = textwrap.dedent(ABANDONED).format(folder=os.path.dirname(__file__))  # noqa: PTH120
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, "end of program\n"), done.stderr
