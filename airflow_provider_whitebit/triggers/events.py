"""Triggers that start DAGs: for ``AssetWatcher``. Vendor pages: Lending (Flex and Fixed plans), balances.

Each event's payload is plain JSON: ``event`` says what happens, ``whitebit_conn_id`` with which connection, and
``occurrences`` lists what was new at one look, oldest first: ``id`` names each, ``second`` is its time in Unix seconds,
``record`` what the exchange shows of it. In a DAG that is scheduled on the asset the payload stands in
``triggering_asset_events``, at ``extra["payload"]``.

All such triggers, and all deferred sensors, of one triggerer share their requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow_provider_whitebit.treasury.occurrences import Memory, Watch
    from airflow_provider_whitebit.triggers.memory import AssetKeeper, VariableKeeper

# These triggers are made when DAG files are parsed: the rest of the package is imported when they run.

_monotonic = time.monotonic

#: Seconds after which an event that was handed to Airflow is taken for stored although its delivery is not noted: the
#: plugin that notes it may be switched off.
_STORED_AFTER = 3600
#: Shortest time between two questions, in seconds.
_LEAST_INTERVAL = 1
#: Shortest time between two events of one trigger, in seconds. Of events that come faster than the scheduler looks,
#: Airflow starts a run for the first; the others wait for whatever event comes next.
_SPACING = 10
#: Most occurrences in one event. The rest comes with the next one.
_MOST = 500


class WhiteBitEventTrigger(BaseEventTrigger):
    """Base of the event triggers.

    Told occurrences are remembered, so that a restarted triggerer goes on where it was. Each one is stored in exactly
    one event: the provider's plugin notes the delivery in the transaction that stores it.

    An error never ends the trigger: it is logged, and the question asked again.

    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two questions.
    :param since: what happened before this time is not told: an aware time, ISO 8601, or Unix seconds; by default the
        moment at which the trigger ran for the first time.
    """

    def __init__(
        self, whitebit_conn_id: str = "whitebit_default", poke_interval: float = 60, since: Any = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(poke_interval, int | float) or poke_interval < _LEAST_INTERVAL:
            raise ValueError(f"poke_interval is {poke_interval!r}: write seconds, at least {_LEAST_INTERVAL}")
        self.whitebit_conn_id = whitebit_conn_id
        self.poke_interval = poke_interval
        self.since = _second(since)

    def watch(self) -> Watch:
        """What is watched for; written by each trigger."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """What the watch is made of; written by each trigger."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what makes it anew."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "whitebit_conn_id": self.whitebit_conn_id,
                **self.arguments(),
                "poke_interval": self.poke_interval,
                "since": self.since,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event for each occurrence, without end."""
        diary = self._diary()
        while True:
            try:
                async with aclosing(self._events(diary)) as events:  # type: ignore[type-var]
                    async for event in events:
                        yield event
            except Exception as error:
                self._complain(error)
            await asyncio.sleep(self.poke_interval)

    def _complain(self, error: Exception) -> None:
        from airflow_provider_whitebit.client.errors import WhiteBitError

        if isinstance(error, WhiteBitError):
            self.log.error("%s; asked again in %s s", error, self.poke_interval)
        else:
            self.log.exception("Watching failed; tried again in %s s", self.poke_interval)

    async def _events(self, diary: _Diary) -> AsyncIterator[TriggerEvent]:
        from airflow_provider_whitebit.triggers.polls import shared_poll

        watch = self.watch()
        memory = await diary.open(self.since)
        last: float | None = None

        def since() -> int:
            return _oldest(memory, int(time.time()))

        poll = shared_poll(self.whitebit_conn_id, watch.question, self.poke_interval)
        async with aclosing(poll.answers(since)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                now = int(time.time())
                if memory.since is None:
                    watch.begin(answer, memory, now)
                news = watch.news(answer, memory, now)[:_MOST]
                await diary.note()
                if not news or (last is not None and _monotonic() - last < _SPACING):
                    continue
                last = _monotonic()
                for occurrence in news:
                    memory.tell(occurrence)
                    diary.handed_over(occurrence.id)
                self.log.info("%s: %s", watch.event, ", ".join(occurrence.id for occurrence in news))
                yield TriggerEvent(  # type: ignore[no-untyped-call]
                    {
                        "event": watch.event,
                        "whitebit_conn_id": self.whitebit_conn_id,
                        "occurrences": [occurrence.to_json() for occurrence in news],
                        "whitebit_trigger": diary.trigger,
                    }
                )

    def _diary(self) -> _Diary:
        from airflow_provider_whitebit.triggers.memory import AssetKeeper, VariableKeeper, fingerprint

        classpath, arguments = self.serialize()
        # Asking more often is no other watch.
        name = fingerprint(classpath, {key: value for key, value in arguments.items() if key != "poke_interval"})
        store = getattr(self, "asset_state_store", None)
        return _Diary(name, VariableKeeper(name) if store is None else AssetKeeper(store, name))


class _Diary:
    """What a trigger has told, and how much of it may be noted: only what Airflow has stored by now."""

    def __init__(self, trigger: str, keeper: AssetKeeper | VariableKeeper) -> None:
        self.trigger = trigger
        self._keeper = keeper
        self._memory: Memory | None = None
        self._handed_over: dict[str, float] = {}
        self._noted: dict[str, Any] | None = None

    async def open(self, since: int | None) -> Memory:
        """What was told, in earlier runs too."""
        if self._memory is None:
            kept = await self._keeper.read()
            if kept.since is None:
                kept.since = since
            self._memory = kept
        return self._memory

    def handed_over(self, name: str) -> None:
        """An event is given to Airflow, which stores it within a moment."""
        self._handed_over[name] = _monotonic()

    async def note(self) -> None:
        """Keep all that is stored by now, if there is anything new."""
        from airflow_provider_whitebit.treasury.occurrences import Memory

        assert self._memory is not None
        if self._handed_over:
            delivered, now = await self._keeper.delivered(), _monotonic()
            self._handed_over = {
                name: at for name, at in self._handed_over.items() if name not in delivered and now - at < _STORED_AFTER
            }
        document = self._memory.to_json()
        document["told"] = {name: at for name, at in document["told"].items() if name not in self._handed_over}
        if document != self._noted:
            await self._keeper.write(Memory.from_json(document))
            self._noted = document


class WhiteBitPlanEventTrigger(WhiteBitEventTrigger):
    """Base of the triggers for what happens in plans.

    :param plan_id: in this plan; all by default.
    :param ticker: of this asset; all by default.
    :param arguments: those of :class:`WhiteBitEventTrigger`.
    """

    #: Name of the watch in ``treasury.occurrences``.
    watch_name: ClassVar[str]

    def __init__(self, *, plan_id: str | None = None, ticker: str | None = None, **arguments: Any) -> None:
        from airflow_provider_whitebit.treasury.choice import read_plan_id, read_ticker

        super().__init__(**arguments)
        self.plan_id = None if plan_id is None else read_plan_id(plan_id)
        self.ticker = None if ticker is None else read_ticker(ticker)

    def watch(self) -> Watch:
        from airflow_provider_whitebit.treasury import occurrences

        watch: Watch = getattr(occurrences, self.watch_name)(self.plan_id, self.ticker)
        return watch

    def arguments(self) -> dict[str, Any]:
        return {"plan_id": self.plan_id, "ticker": self.ticker}


class WhiteBitFlexEarningTrigger(WhiteBitPlanEventTrigger):
    """An event for each Flex earning that is credited."""

    watch_name = "FlexEarnings"


class WhiteBitFlexClosedTrigger(WhiteBitPlanEventTrigger):
    """An event for each Flex investment that is closed, by whomever."""

    watch_name = "FlexClosures"


class WhiteBitFixedMaturityTrigger(WhiteBitPlanEventTrigger):
    """An event for each Fixed investment that comes to the end of its term."""

    watch_name = "FixedMaturities"


class WhiteBitBalanceTrigger(WhiteBitEventTrigger):
    """An event when a balance is seen within limits: at first, after it was outside, and again with another amount.

    :param account: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param ticker: the asset.
    :param at_least: lower limit, inclusive.
    :param at_most: upper limit, inclusive; at least one of the two.
    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two questions.
    """

    def __init__(
        self,
        *,
        account: str = "main",
        ticker: str,
        at_least: Any = None,
        at_most: Any = None,
        whitebit_conn_id: str = "whitebit_default",
        poke_interval: float = 60,
        since: None = None,
    ) -> None:
        from airflow_provider_whitebit.client.models import to_json
        from airflow_provider_whitebit.treasury.choice import read_account, read_limit, read_ticker

        super().__init__(whitebit_conn_id, poke_interval, since)
        if at_least is None and at_most is None:
            raise ValueError("give at_least, or at_most, or both")
        self.account = read_account("account", account)
        self.ticker = read_ticker(ticker)
        self.at_least = None if at_least is None else to_json(read_limit("at_least", at_least))
        self.at_most = None if at_most is None else to_json(read_limit("at_most", at_most))

    def watch(self) -> Watch:
        from airflow_provider_whitebit.treasury.conditions import BalanceCondition
        from airflow_provider_whitebit.treasury.occurrences import BalanceLevels

        return BalanceLevels(BalanceCondition.from_json(self.arguments()))

    def arguments(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "ticker": self.ticker,
            "at_least": self.at_least,
            "at_most": self.at_most,
        }


def _second(since: Any) -> int | None:
    if since is None or isinstance(since, int):
        return since
    from airflow_provider_whitebit.client.api import unix_seconds
    from airflow_provider_whitebit.treasury.choice import read_moment

    return unix_seconds("since", read_moment("since", since))


def _oldest(memory: Memory, now: int) -> int:
    from airflow_provider_whitebit.treasury.occurrences import KEPT

    return now - KEPT if memory.floor is None else memory.floor
