"""Reads what a digest needs: from the exchange, and from Airflow's asset events and Variables. Moves no money."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitJournalError,
    WhiteBitPermissionError,
    WhiteBitRefusedError,
    WhiteBitStoppedError,
)
from airflow_provider_whitebit.client.models import FixedInvestment, FlexPlan
from airflow_provider_whitebit.client.paging import between
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks.airflow_compat import can_list_variables, variable_names
from airflow_provider_whitebit.hooks.announced import EARLIER, announced_moves
from airflow_provider_whitebit.hooks.doubts import DOUBT, Report, read_report
from airflow_provider_whitebit.hooks.statements import read_flex, time_after
from airflow_provider_whitebit.hooks.stop import check_stop
from airflow_provider_whitebit.hooks.stores import task_in_words
from airflow_provider_whitebit.hooks.valuation import read_prices
from airflow_provider_whitebit.moves.doubts import steps_for
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.treasury.digest import (
    Digest,
    DigestDoubt,
    due_until,
    interest_of_period,
    moves_of_period,
)
from airflow_provider_whitebit.treasury.forecast import make_forecast, rates_since, realised_rates
from airflow_provider_whitebit.treasury.policy import Policy
from airflow_provider_whitebit.treasury.statement import make_statement, value_statement

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

#: Days after now for which a digest tells what is due and expected.
AHEAD_DAYS = 30

T = TypeVar("T")


def read_digest(
    hook: WhiteBitHook,
    *,
    start: datetime,
    end: datetime,
    ahead_days: int = AHEAD_DAYS,
    tickers: Sequence[str] | None = None,
    policy: Policy | None = None,
    value_in: str | None = None,
) -> Digest:
    """Make the digest of a period, ``start`` included and ``end`` not.

    What the key may not read is named in the digest's ``problems`` and left out.

    :param hook: of the connection.
    :param start: an aware time.
    :param end: an aware time after ``start``, not later than now.
    :param ahead_days: days from now for which it tells what is due and expected.
    :param tickers: only these assets in statement, interest and forecast; all by default.
    :param policy: whose liquidity needs are compared with what is available.
    :param value_in: also value what was earned and is invested in this currency.
    :raises WhiteBitValidationError: the times do not make a period that is over, or the currency has no market.
    :raises WhiteBitUnavailableError: there was no usable answer.
    :raises WhiteBitError: the exchange refused to show Flex lending.
    """
    client, problems = hook.get_conn(), _Problems()
    now = time_after(client, end)
    begin, until = (pendulum.instance(moment).in_timezone("UTC") for moment in (start, end))
    prices = None if value_in is None else read_prices(client)
    if prices is not None and value_in is not None:
        prices.check_currency(value_in)
    # A reinvest can keep an earning from before the period.
    since = min(begin.replace(microsecond=0).subtract(days=1), rates_since(now))
    history, payments, investments, unreadable = read_flex(client, None, since)
    plans: list[FlexPlan] = list(client.flex_plans(on_unreadable=unreadable.append))
    statement = make_statement(
        history,
        investments,
        plans,
        start=begin,
        end=until,
        made_at=now,
        tickers=tickers,
        records_from=since,
        payments=payments,
        unreadable=unreadable,
    )
    if prices is not None and value_in is not None:
        statement = value_statement(statement, prices, value_in)
    hidden: list[UnreadableRecord] = []
    fixed: list[FixedInvestment] | None = problems.tried(
        "Fixed investments", lambda: list(client.fixed_investments(on_unreadable=hidden.append))
    )
    interest = problems.tried(
        "Interest of Fixed investments",
        lambda: interest_of_period(
            between(
                client.fixed_payments(on_unreadable=hidden.append), attrgetter("timestamp"), begin.int_timestamp, None
            ),
            begin,
            until,
            tickers,
        ),
    )
    forecast = make_forecast(
        investments,
        fixed or (),
        plans,
        main=problems.tried("Main", client.main_balance),
        realised=realised_rates(history, investments, since=rates_since(now), now=now),
        now=now,
        until=now.add(days=ahead_days),
        policy=policy,
        tickers=tickers,
        unreadable=[*unreadable, *hidden],
    )
    problems.found += (f"The exchange sent an unreadable {record}. The digest lacks it." for record in hidden)
    limits = problems.tried("Limits over time", hook.limits_used)
    stopped = problems.stop()
    doubts = _doubts(hook, problems)
    return Digest(
        account=hook.whitebit_conn_id,
        statement=statement,
        forecast=forecast,
        moves=moves_of_period(_receipts(hook, begin), history, fixed or (), begin, until),
        interest=interest,
        due=None if fixed is None else due_until(fixed, forecast.until),
        doubts=doubts,
        limits=None if limits is None else tuple(limits),
        limits_in_words=hook.settings.limits.in_words,
        problems=(*stopped, *problems.found),
    )


class _Problems:
    """What could not be read, and why."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def tried(self, what: str, read: Callable[[], T]) -> T | None:
        """Read something; ``None`` if the exchange or Airflow refuse it, for example to this key."""
        try:
            return read()
        except (WhiteBitPermissionError, WhiteBitRefusedError, WhiteBitJournalError) as error:
            self.found.append(f"{what} could not be read: {error.said or error.message}")
        return None

    def stop(self) -> list[str]:
        """Say so if people have stopped all moves."""
        try:
            check_stop()
        except WhiteBitStoppedError as error:
            return [error.message]
        except WhiteBitError as error:
            self.found.append(error.message)
        return []


def _receipts(hook: WhiteBitHook, since: pendulum.DateTime) -> Iterator[tuple[Receipt, str]]:
    """The receipts of moves since a moment, and of some before it, each with its task, each once."""
    seen = set()
    for receipt, place in announced_moves(hook, since - EARLIER):
        if receipt.executed_at is None or (receipt.intent_id and receipt.intent_id in seen):
            continue
        seen.add(receipt.intent_id)
        yield receipt, task_in_words(*place)


def _doubts(hook: WhiteBitHook, problems: _Problems) -> tuple[DigestDoubt, ...] | None:
    """The moves in doubt that tasks have reported, of the account's keys; ``None`` if Airflow does not list them."""
    if not can_list_variables():
        return None
    accounts = {one.settings.account for one in (hook, hook.previous) if one is not None}
    found = []
    for name in variable_names(DOUBT):
        try:
            report = read_report(name.removeprefix(DOUBT))
        except WhiteBitJournalError as error:
            problems.found.append(error.message)
            continue
        if report is not None and report.intent.account in accounts:
            found.append(_doubt(report))
    return tuple(sorted(found, key=lambda one: one.sent_at, reverse=True))


def _doubt(report: Report) -> DigestDoubt:
    intent = report.intent
    nonces = [*report.nonces, *(attempt.nonce for attempt in intent.attempts)]
    sent_at = pendulum.from_timestamp(max(nonces, default=0) // 1000, tz="UTC")
    step = steps_for(intent.move.operation)[0]
    return DigestDoubt(intent.id, str(intent.move), sent_at, report.task_in_words, step)
