"""Triggers that start DAGs: for ``AssetWatcher``. Vendor pages: Lending (Flex and Fixed plans), balances.

Each event's payload is plain JSON: ``event`` says what happened, ``whitebit_conn_id`` names the connection, and
``occurrences`` lists what one poll found, oldest first: ``id`` identifies each, ``second`` is its time in Unix seconds,
``record`` is the exchange's record of it. A DAG that is scheduled on the asset finds the payload in
``triggering_asset_events``, at ``extra["payload"]``.

All such triggers, and all deferred sensors, of one triggerer share their requests.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from airflow_provider_whitebit.treasury.occurrences import Occurrence, Watch, WatchState
    from airflow_provider_whitebit.triggers.state_store import AssetStateStore, VariableStateStore

# These triggers are created when DAG files are parsed: the rest of the package is imported when they run.

_monotonic = time.monotonic

#: Seconds after which an event that was passed to Airflow counts as stored although its delivery is not recorded: the
#: plugin that records deliveries may be switched off.
_STORED_AFTER = 3600
#: Shortest time between two polls, in seconds.
_LEAST_INTERVAL = 1
#: Shortest time between two events of one trigger, in seconds. If events come faster than the scheduler looks for
#: them, Airflow starts a run for the first one only; the others wait for the next event.
_SPACING = 10
#: Most occurrences in one event. The rest is sent with the next one.
_MOST = 500


class WhiteBitEventTrigger(BaseEventTrigger):
    """Base of the event triggers.

    The trigger keeps what it has emitted, so a restarted triggerer continues where it was. Each occurrence is stored
    in exactly one event: the provider's plugin records the delivery in the transaction that stores the event.

    An error never ends the trigger: it is logged, and the next poll follows. While the exchange does not know the
    ticker or the plan, each poll logs an error that names it, and nothing is emitted.

    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param since: occurrences before this time are ignored: an aware time, ISO 8601, or Unix seconds. By default, the
        moment at which the trigger first ran.
    """

    def __init__(
        self,
        whitebit_conn_id: str = "whitebit_default",
        poke_interval: float = 60,
        since: str | int | datetime | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(poke_interval, int | float) or not _LEAST_INTERVAL <= poke_interval < math.inf:
            raise ValueError(f"poke_interval is {poke_interval!r}: write seconds, at least {_LEAST_INTERVAL}")
        self.whitebit_conn_id = whitebit_conn_id
        self.poke_interval = poke_interval
        self.since = _second(since)

    def watch(self) -> Watch:
        """Return what the trigger watches for. Each trigger defines this."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """The parameters of the watch. Each trigger defines this."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the parameters from which Airflow creates the trigger again."""
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
        """Emit events until the triggerer stops the trigger."""
        from airflow_provider_whitebit.client.errors import WhiteBitError

        progress = self._progress()
        while True:
            try:
                async with aclosing(self._events(progress)) as events:  # type: ignore[type-var]
                    async for event in events:
                        yield event
            except WhiteBitError as error:
                self.log.error("Watching failed, next poll in %s s: %s", self.poke_interval, error)
            except Exception:
                self.log.exception("Watching failed, next poll in %s s", self.poke_interval)
            await asyncio.sleep(self.poke_interval)

    async def _events(self, progress: _Progress) -> AsyncIterator[TriggerEvent]:
        from airflow_provider_whitebit.triggers.polls import shared_poll

        watch = self.watch()
        state = await progress.open(self.since)
        poll = shared_poll(self.whitebit_conn_id, watch.question, self.poke_interval)
        answered = poll.answers(lambda: state.oldest(int(time.time())), watch.unproven(state))
        async with aclosing(answered) as answers:  # type: ignore[type-var]
            async for answer in answers:
                now = int(time.time())
                if state.since is None:
                    watch.begin(answer, state, now)
                found = watch.new_events(answer, state, now)[:_MOST]
                if not found and not progress.is_passing_on:
                    watch.move_on(answer, state, now)
                await progress.save()
                if not found or not progress.may_emit():
                    continue
                for occurrence in found:
                    state.mark_emitted(occurrence)
                    progress.passed_on(occurrence.id)
                self.log.info("%s: %s", watch.event, ", ".join(occurrence.id for occurrence in found))
                yield self._event(watch.event, found, progress.trigger)

    def _event(self, name: str, found: list[Occurrence], trigger: str) -> TriggerEvent:
        payload = {
            "event": name,
            "whitebit_conn_id": self.whitebit_conn_id,
            "occurrences": [occurrence.to_json() for occurrence in found],
            "whitebit_trigger": trigger,
        }
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]

    def _progress(self) -> _Progress:
        from airflow_provider_whitebit.triggers.state_store import AssetStateStore, VariableStateStore, fingerprint

        classpath, arguments = self.serialize()
        # The interval does not change what is watched.
        name = fingerprint(classpath, {key: value for key, value in arguments.items() if key != "poke_interval"})
        accessors = getattr(self, "asset_state_store", None)
        return _Progress(name, VariableStateStore(name) if accessors is None else AssetStateStore(accessors, name))


class _Progress:
    """What a trigger has emitted. Only what Airflow has stored is saved, so that nothing is lost in between."""

    def __init__(self, trigger: str, store: AssetStateStore | VariableStateStore) -> None:
        self.trigger = trigger
        self._store = store
        self._state: WatchState | None = None
        self._passed_on: dict[str, float] = {}
        self._saved: dict[str, Any] | None = None
        self._emitted_at: float | None = None

    @property
    def is_passing_on(self) -> bool:
        """Whether something was passed to Airflow that it may not have stored yet."""
        return bool(self._passed_on)

    def may_emit(self) -> bool:
        """Whether the last event is long enough ago for the next one, which is emitted now."""
        now = _monotonic()
        if self._emitted_at is not None and now - self._emitted_at < _SPACING:
            return False
        self._emitted_at = now
        return True

    async def open(self, since: int | None) -> WatchState:
        """Read the state, once."""
        if self._state is None:
            state = await self._store.read()
            if state.since is None:
                state.since = since
            self._state = state
        return self._state

    def passed_on(self, name: str) -> None:
        """Remember that an occurrence was passed to Airflow, which stores it within a moment."""
        self._passed_on[name] = _monotonic()

    async def save(self) -> None:
        """Save all that Airflow has stored, if that has changed."""
        from airflow_provider_whitebit.treasury.occurrences import WatchState

        assert self._state is not None
        if self._passed_on:
            delivered, now = await self._store.delivered(), _monotonic()
            self._passed_on = {
                name: at for name, at in self._passed_on.items() if name not in delivered and now - at < _STORED_AFTER
            }
        document = self._state.to_json()
        document["emitted"] = {name: at for name, at in document["emitted"].items() if name not in self._passed_on}
        del document["writes"]
        if document != self._saved:
            self._state.writes += 1
            await self._store.write(WatchState.from_json({**document, "writes": self._state.writes}))
            self._saved = document


class _PlanEventTrigger(WhiteBitEventTrigger):
    """What the triggers for plans share."""

    #: Name of the watch in ``treasury.occurrences``.
    watch_name: ClassVar[str]

    def __init__(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        whitebit_conn_id: str = "whitebit_default",
        poke_interval: float = 60,
        since: str | int | datetime | None = None,
    ) -> None:
        from airflow_provider_whitebit.moves.parsing import read_plan_id, read_ticker

        super().__init__(whitebit_conn_id, poke_interval, since)
        self.plan_id = None if plan_id is None else read_plan_id(plan_id)
        self.ticker = None if ticker is None else read_ticker(ticker)

    def watch(self) -> Watch:
        from airflow_provider_whitebit.treasury import occurrences

        watch: Watch = getattr(occurrences, self.watch_name)(self.plan_id, self.ticker)
        return watch

    def arguments(self) -> dict[str, Any]:
        return {"plan_id": self.plan_id, "ticker": self.ticker}


class WhiteBitFlexEarningTrigger(_PlanEventTrigger):
    """Emits an event for Flex earnings that are credited.

    :param plan_id: of this plan; all by default.
    :param ticker: of this asset; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param since: occurrences before this time are ignored: an aware time, ISO 8601, or Unix seconds. By default, the
        moment at which the trigger first ran.
    """

    watch_name = "FlexEarnings"


class WhiteBitFlexClosedTrigger(_PlanEventTrigger):
    """Emits an event for Flex investments that are closed, by this package or otherwise.

    :param plan_id: in this plan; all by default.
    :param ticker: of this asset; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param since: occurrences before this time are ignored: an aware time, ISO 8601, or Unix seconds. By default, the
        moment at which the trigger first ran.
    """

    watch_name = "FlexClosures"


class WhiteBitFixedMaturityTrigger(_PlanEventTrigger):
    """Emits an event for Fixed investments whose term ends.

    :param plan_id: in this plan; all by default.
    :param ticker: of this asset; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param since: occurrences before this time are ignored: an aware time, ISO 8601, or Unix seconds. By default, the
        moment at which the trigger first ran.
    """

    watch_name = "FixedMaturities"


class WhiteBitBalanceTrigger(WhiteBitEventTrigger):
    """Emits an event when a balance is within limits: first, after it was outside, and again if the amount changes.

    :param account: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param ticker: the asset.
    :param at_least: lower limit, inclusive.
    :param at_most: upper limit, inclusive. At least one of the two is needed.
    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param since: not used; a balance has no history.
    """

    def __init__(
        self,
        *,
        account: str = "main",
        ticker: str,
        at_least: str | int | Decimal | None = None,
        at_most: str | int | Decimal | None = None,
        whitebit_conn_id: str = "whitebit_default",
        poke_interval: float = 60,
        since: None = None,
    ) -> None:
        from airflow_provider_whitebit.moves.parsing import read_account, read_range, read_ticker

        super().__init__(whitebit_conn_id, poke_interval, since)
        self.account = read_account("account", account)
        self.ticker = read_ticker(ticker)
        limits = read_range(at_least, at_most)
        self.at_least, self.at_most = (None if limit is None else format(limit, "f") for limit in limits)

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


class WhiteBitRateTrigger(WhiteBitEventTrigger):
    """Emits an event when the best advertised rate of an asset's Flex plans is beyond a limit, or has changed.

    Give exactly one of ``above``, ``below`` and ``changed_by``. A rate counts when two polls in a row show it. If a
    plan does not show its rate, the best rate is not known: it can be above the limit, but is neither below nor
    changed.

    :param ticker: the asset.
    :param above: the rate is higher: first, and again after it was not. A fraction per year: ``"0.05"`` is 5 %.
    :param below: the rate is lower: first, and again after it was not.
    :param changed_by: the rate differs by at least this much from that of the last event; at first, from the first one
        seen.
    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param since: not used; a rate has no history.
    """

    def __init__(
        self,
        *,
        ticker: str,
        above: str | int | Decimal | None = None,
        below: str | int | Decimal | None = None,
        changed_by: str | int | Decimal | None = None,
        whitebit_conn_id: str = "whitebit_default",
        poke_interval: float = 60,
        since: None = None,
    ) -> None:
        from airflow_provider_whitebit.moves.parsing import read_rate, read_ticker

        super().__init__(whitebit_conn_id, poke_interval, since)
        given = {"above": above, "below": below, "changed_by": changed_by}
        if sum(limit is not None for limit in given.values()) != 1:
            raise ValueError("give exactly one of above, below, changed_by")
        limits = {name: None if raw is None else format(read_rate(name, raw), "f") for name, raw in given.items()}
        self.ticker = read_ticker(ticker)
        self.above, self.below, self.changed_by = limits["above"], limits["below"], limits["changed_by"]

    def watch(self) -> Watch:
        from decimal import Decimal

        from airflow_provider_whitebit.treasury.conditions import RateCondition
        from airflow_provider_whitebit.treasury.offer_changes import RateChanges, RateLevels

        if self.changed_by is not None:
            return RateChanges(self.ticker, Decimal(self.changed_by))
        return RateLevels(RateCondition.from_json(self.arguments()))

    def arguments(self) -> dict[str, Any]:
        return {"ticker": self.ticker, "above": self.above, "below": self.below, "changed_by": self.changed_by}


class WhiteBitPlanTrigger(WhiteBitEventTrigger):
    """Emits an event for plans that are new, paused, gone, or have other limits.

    A change counts when two polls in a row show it. A plan is not gone while the exchange's list contains a record that
    may be this plan and cannot be read. The exchange does not list Flex plans that are paused: they are gone, and new
    when they come back.

    :param product: ``flex`` or ``fixed``.
    :param plan_id: this plan; all by default.
    :param ticker: plans of this asset; all by default.
    :param changes: some of ``new``, ``paused`` (Fixed only: sold out, inactive or paused), ``gone`` and ``limits``; all
        by default.
    :param whitebit_conn_id: the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param since: not used; a plan has no history.
    """

    def __init__(
        self,
        *,
        product: str = "flex",
        plan_id: str | None = None,
        ticker: str | None = None,
        changes: str | Sequence[str] | None = None,
        whitebit_conn_id: str = "whitebit_default",
        poke_interval: float = 60,
        since: None = None,
    ) -> None:
        from airflow_provider_whitebit.moves.parsing import read_plan_id, read_ticker, read_word, read_words
        from airflow_provider_whitebit.treasury.offers import Change, Product

        super().__init__(whitebit_conn_id, poke_interval, since)
        self.product = str(read_word("product", Product, product))
        self.plan_id = None if plan_id is None else read_plan_id(plan_id)
        self.ticker = None if ticker is None else read_ticker(ticker)
        wanted = list(Change) if changes is None else read_words("changes", Change, changes)
        self.changes = [str(change) for change in wanted]
        if self.product == Product.FLEX and self.changes == [Change.PAUSED]:
            raise ValueError('the exchange does not list paused Flex plans: write changes=["gone"]')

    def watch(self) -> Watch:
        from airflow_provider_whitebit.treasury.offer_changes import PlanChanges
        from airflow_provider_whitebit.treasury.offers import Change, Product

        return PlanChanges(Product(self.product), self.plan_id, self.ticker, tuple(map(Change, self.changes)))

    def arguments(self) -> dict[str, Any]:
        return {
            "product": self.product,
            "plan_id": self.plan_id,
            "ticker": self.ticker,
            "changes": self.changes,
        }


def _second(since: str | int | datetime | None) -> int | None:
    from airflow_provider_whitebit.client.api import unix_seconds
    from airflow_provider_whitebit.moves.parsing import read_moment

    # The serialized form has seconds, also those of 1970 to 1973, which would be read as dates.
    return unix_seconds("since", since if isinstance(since, int) else read_moment("since", since))
