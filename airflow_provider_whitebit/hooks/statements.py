"""A statement of Flex lending from what the exchange answers. Reads only; moves no money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.client.models import FlexInvestment, FlexTransaction
from airflow_provider_whitebit.treasury.statement import ReinvestedAs, Statement, make_statement

#: How often the records are read again because something moved meanwhile.
_READINGS = 3


def read_statement(
    client: WhiteBitClient,
    *,
    start: datetime,
    end: datetime,
    tickers: Sequence[str] | None = None,
    plan_id: str | None = None,
    reinvested_as: ReinvestedAs = ReinvestedAs.BOTH,
    full_history: bool = True,
) -> Statement:
    """The statement of a period, ``start`` included and ``end`` not. Vendor page: Lending (Flex plans).

    :param client: ``WhiteBitHook().get_conn()``.
    :param start: an aware time.
    :param end: an aware time after ``start``, not later than now.
    :param tickers: only these assets; all by default.
    :param plan_id: only this plan.
    :param reinvested_as: how the exchange records reinvested earnings.
    :param full_history: read all records there are: only then can a move that is missing from before the period be
        noticed. Otherwise those since ``start``.
    :raises WhiteBitValidationError: if the times make no period that is over.
    :raises WhiteBitUnavailableError: investments changed each time that they were read; or no usable answer.
    :raises WhiteBitError: another of its subclasses, by what the exchange answered.
    """
    made_at = client.server_time()
    records_from = None if full_history else start.replace(microsecond=0)
    history, payments, investments = _read(client, plan_id, records_from)
    return make_statement(
        history,
        investments,
        client.flex_plans(),
        start=start,
        end=end,
        made_at=made_at,
        tickers=tickers,
        reinvested_as=reinvested_as,
        records_from=records_from,
        payments=payments,
    )


def _read(
    client: WhiteBitClient, plan_id: str | None, records_from: datetime | None
) -> tuple[list[FlexTransaction], list[FlexTransaction], list[FlexInvestment]]:
    """History, payments and investments of one moment: read again where investments changed in between."""
    investments = list(client.flex_investments(plan=plan_id))
    for _ in range(_READINGS):
        history = list(client.flex_history(plan=plan_id, date_from=records_from))
        payments = list(client.flex_payments(plan=plan_id, date_from=records_from))
        before, investments = investments, list(client.flex_investments(plan=plan_id))
        if _holdings(before) == _holdings(investments):
            return history, payments, investments
    raise WhiteBitUnavailableError(
        f"Flex investments changed each of the {_READINGS} times that their records were read, so no statement could "
        "be made of them. Make it when no moves are on their way."
    )


def _holdings(investments: Sequence[FlexInvestment]) -> set[tuple[object, ...]]:
    return {(entry.id, entry.invested, entry.status, entry.with_auto_reinvest) for entry in investments}
