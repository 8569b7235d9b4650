from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_whitebit.hooks.airflow_compat import ask_airflow


def test_a_cancelled_trigger_leaves_no_answer_unread():
    """Before Airflow 3.3, the next question would get that answer, and the triggerer would end."""
    read = []

    async def main():
        asked, answer = asyncio.Event(), asyncio.Event()

        async def ask():
            asked.set()
            await answer.wait()
            read.append("answer")

        trigger = asyncio.create_task(ask_airflow(async_to_sync(ask)))
        await asked.wait()
        trigger.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trigger
        answer.set()
        while not read:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 10))
    assert read == ["answer"]


def test_what_airflow_says_is_returned():
    assert asyncio.run(ask_airflow(int, "11", base=2)) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(ask_airflow(int, "x"))
