"""Reads what a statement of Flex lending needs from the exchange. Moves no money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import sleep
from typing import TypeVar

import pendulum

from airflow_provider_whitebit.client.api import Report, WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitRefusedError,
    WhiteBitValidationError,
    changed_meanwhile,
)
from airflow_provider_whitebit.client.models import FlexInvestment, FlexTransaction, SubAccountTransaction
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks.flex_store import FlexStore, tickers_of
from airflow_provider_whitebit.hooks.valuation import read_prices
from airflow_provider_whitebit.treasury.flex_ledger import micros
from airflow_provider_whitebit.treasury.main_changes import main_changes
from airflow_provider_whitebit.treasury.statement import (
    ReinvestedAs,
    Statement,
    check_period,
    make_statement_by_plan,
    value_statement,
)

#: How many times the records are read if investments change meanwhile.
_READINGS = 3

#: A record of the period can belong to one before it, such as the earning that a reinvest keeps.
_DAY_BEFORE = timedelta(days=1)

#: The clock of Airflow, or of another node of the exchange, may be ahead of the answering one's: seconds, and readings.
_MOST_AHEAD, _TIMES_READ = 10, 15

ReadT = TypeVar("ReadT")


def time_after(client: WhiteBitClient, end: datetime) -> pendulum.DateTime:
    """Return the exchange's time. If a period ends within seconds, wait until it is over there.

    :param client: ``WhiteBitHook().get_conn()``.
    :param end: of the period, an aware time.
    """
    now = client.server_time()
    for _ in range(_TIMES_READ):
        if end.tzinfo is None or not now < end <= now + timedelta(seconds=_MOST_AHEAD):
            break
        sleep(1)
        now = client.server_time()
    return now


def read_statement(
    client: WhiteBitClient,
    *,
    start: datetime,
    end: datetime,
    tickers: Sequence[str] | None = None,
    plan_id: str | None = None,
    reinvested_as: ReinvestedAs = ReinvestedAs.BOTH,
    full_history: bool = True,
    main: bool = False,
    value_in: str | None = None,
) -> Statement:
    """Make the statement of a period, ``start`` included and ``end`` not. Vendor page: Lending (Flex plans).

    :param client: ``WhiteBitHook().get_conn()``.
    :param start: an aware time.
    :param end: an aware time after ``start``, not later than now.
    :param tickers: only these assets; all by default.
    :param plan_id: only this plan.
    :param reinvested_as: how the exchange records reinvested earnings.
    :param full_history: read all records, not only those since a day before ``start``. Only all records reveal that a
        move is missing.
    :param main: also read what changed the Main balance: deposits, withdrawals, transfers of sub-accounts. Vendor
        pages: Get deposit/withdraw history, Sub-accounts.
    :param value_in: also value the figures in this currency, by the last prices of now. Vendor page: Market activity.
    :raises WhiteBitValidationError: the times do not make a period that is over, the currency has no market, or
        ``main`` is to be read of one plan.
    :raises WhiteBitUnavailableError: investments changed each time they were read, or there was no usable answer.
    :raises WhiteBitError: the exchange refused a call.
    """
    if main and plan_id is not None:
        raise WhiteBitValidationError(
            "What changed Main cannot be stated of one plan: the money of the other plans would be missing from it.",
            next_step="Leave out plan_id, or the changes of Main.",
        )
    prices = None if value_in is None else read_prices(client)
    if prices is not None and value_in is not None:
        prices.check_currency(value_in)
    made_at = time_after(client, end)
    records_from = None if full_history else start.replace(microsecond=0) - _DAY_BEFORE
    check_period(start, end, made_at, records_from)
    unread_plans: list[UnreadableRecord] = []
    plans = list(client.flex_plans(on_unreadable=unread_plans.append))

    def read(held: Sequence[FlexInvestment], report: Report) -> FlexStore:
        store = FlexStore(tickers_of(plans, held), held, (micros(start), micros(end)))
        history = client.flex_history(plan=plan_id, date_from=records_from, on_unreadable=report)
        paid = client.flex_payments(plan=plan_id, date_from=records_from, on_unreadable=report)
        store.add(history, paid)
        return store

    store, investments, unreadable = _of_one_moment(client, plan_id, read)
    statement = make_statement_by_plan(
        store,
        investments,
        plans,
        start=start,
        end=end,
        made_at=made_at,
        tickers=tickers,
        reinvested_as=reinvested_as,
        records_from=records_from,
        unreadable=[*unreadable, *unread_plans],
    )
    if main:
        statement = _with_main(client, statement, tickers)
    return statement if prices is None or value_in is None else value_statement(statement, prices, value_in)


def _with_main(client: WhiteBitClient, statement: Statement, tickers: Sequence[str] | None) -> Statement:
    """The statement with what changed the Main balance. What cannot be read of that becomes a warning."""
    start, end = statement.start, statement.end
    unreadable: list[UnreadableRecord] = []
    notes: list[str] = []
    transactions = list(client.main_history(date_from=start, date_to=end, on_unreadable=unreadable.append))
    transfers: list[SubAccountTransaction] = []
    for account in client.sub_accounts(on_unreadable=unreadable.append):
        found = client.sub_account_transfers(account.id, date_from=start, date_to=end, on_unreadable=unreadable.append)
        try:
            transfers += list(found)
        except WhiteBitRefusedError as error:
            # One sub-account that cannot be read, for example because it is not confirmed.
            notes.append(f"The transfers of sub-account {account.id} could not be read: {error.said or error.message}")
    notes += [f"The exchange sent an unreadable {record}." for record in unreadable]
    flex = {ticker.ticker: ticker.figures for ticker in statement.tickers}
    changes = main_changes(transactions, transfers, flex, start=start, end=end, tickers=tickers)
    return replace(statement, main=changes, warnings=(*statement.warnings, *notes))


def read_flex(
    client: WhiteBitClient, plan_id: str | None, records_from: datetime | None, *, payments: bool = True
) -> tuple[list[FlexTransaction], list[FlexTransaction], list[FlexInvestment], list[UnreadableRecord]]:
    """Read history, payments and investments of one moment, and what cannot be read of them.

    They are read again if investments changed in between.

    :param client: ``WhiteBitHook().get_conn()``.
    :param plan_id: only this plan; ``None``: all.
    :param records_from: only records since then; ``None``: from the very first.
    :param payments: also read the list of payments; otherwise it is empty.
    :raises WhiteBitUnavailableError: investments changed each time they were read, or there was no usable answer.
    :raises WhiteBitError: the exchange refused a call.
    """

    def read(held: Sequence[FlexInvestment], report: Report) -> tuple[list[FlexTransaction], list[FlexTransaction]]:
        history = list(client.flex_history(plan=plan_id, date_from=records_from, on_unreadable=report))
        paid = client.flex_payments(plan=plan_id, date_from=records_from, on_unreadable=report) if payments else ()
        return history, list(paid)

    (history, listed), investments, unreadable = _of_one_moment(client, plan_id, read)
    return history, listed, investments, unreadable


def _of_one_moment(
    client: WhiteBitClient, plan_id: str | None, read: Callable[[Sequence[FlexInvestment], Report], ReadT]
) -> tuple[ReadT, list[FlexInvestment], list[UnreadableRecord]]:
    """What is read while no investment changes, the investments, and what cannot be read of both."""
    investments = list(client.flex_investments(plan=plan_id, on_unreadable=_ignore))
    for _ in range(_READINGS):
        unreadable: list[UnreadableRecord] = []
        found = read(investments, unreadable.append)
        report = unreadable.append
        before, investments = investments, list(client.flex_investments(plan=plan_id, on_unreadable=report))
        if _holdings(before) == _holdings(investments):
            return found, investments, unreadable
    raise changed_meanwhile("Flex investments", _READINGS)


def _ignore(record: UnreadableRecord) -> None:
    """The list is read again, and its unreadable records are named then."""


def _holdings(investments: Sequence[FlexInvestment]) -> set[tuple[object, ...]]:
    return {(entry.id, entry.invested, entry.status, entry.with_auto_reinvest) for entry in investments}
