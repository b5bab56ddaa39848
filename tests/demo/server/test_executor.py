"""The threads of the vote store: apart from those of gradio, and limited."""

import asyncio
import threading

import anyio
import pytest
from starlette.concurrency import run_in_threadpool

from demo.server.executor import BoundedExecutor
from eval.preference.storage.engines import StoreError


def test_slow_disk_does_not_delay_other_work_and_calls_are_limited():
    """Failure sequence: 40 answers that waited for the disk took all threads of gradio, and restorations stopped."""
    disk = threading.Event()

    async def scene():
        asyncio.get_running_loop().call_later(30, disk.set)  # the test fails instead of waiting if a call waits for the disk
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2  # threads of gradio
        store = BoundedExecutor(threads=2, max_waiting=3)
        waiting = [asyncio.create_task(store(disk.wait)) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="The server is busy") as busy:
            await store(disk.wait)
        assert busy.value.retry
        assert await run_in_threadpool(lambda: "restored") == "restored"
        waiting[0].cancel()  # a client that leaves keeps its thread until the call ends
        disk.set()
        assert await asyncio.gather(*waiting[1:]) == [True] * 4
        assert [await store(len, "abc") for _ in range(6)] == [3] * 6

    asyncio.run(scene())


def test_error_of_a_call_is_raised():
    async def scene():
        with pytest.raises(ZeroDivisionError):
            await BoundedExecutor()(divmod, 1, 0)

    asyncio.run(scene())
