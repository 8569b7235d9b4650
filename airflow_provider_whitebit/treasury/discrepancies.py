"""What does not add up in the exchange's records, in words and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import pendulum

from airflow_provider_whitebit.client.models import Record

#: Discrepancies that a text spells out.
_SPELT_OUT = 3


class DiscrepancyKind(StrEnum):
    """What does not add up."""

    #: Walking back from what is invested now, the balance falls below zero.
    NEGATIVE_BALANCE = "negative_balance"
    #: All records of an investment, from the first on, do not add up to what is invested now.
    UNEXPLAINED_BALANCE = "unexplained_balance"
    #: The opening balance and the moves of the period do not add up to the closing balance.
    CLOSING_BALANCE = "closing_balance"
    #: Something is left of an investment after the record that closes it.
    LEFT_AFTER_CLOSE = "left_after_close"
    #: Money was reinvested that no earning accounts for.
    REINVEST_WITHOUT_EARNING = "reinvest_without_earning"
    #: The records contradict the given way of recording reinvested earnings.
    CONTRADICTED_READING = "contradicted_reading"
    #: Records of an investment that the exchange does not list.
    UNKNOWN_INVESTMENT = "unknown_investment"
    #: An investment whose status is undocumented: neither active nor closed.
    UNKNOWN_STATUS = "unknown_status"
    #: A record that cannot be read. The figures lack it.
    UNREADABLE_RECORD = "unreadable_record"
    #: Records of an undocumented action.
    UNKNOWN_ACTION = "unknown_action"
    #: A closing paid more than was invested, and no earning accounts for it.
    INTEREST_IN_CLOSE = "interest_in_close"
    #: Earnings of the history that the list of payments lacks.
    NOT_IN_PAYMENTS = "not_in_payments"
    #: Earnings of the list of payments that the history lacks.
    NOT_IN_HISTORY = "not_in_history"
    #: Money was invested for two days, and no earning was credited.
    NO_EARNING = "no_earning"
    #: A closed Fixed investment and the list of payments name different interest. Only of journal entries.
    FIXED_INTEREST = "fixed_interest"
    #: A Fixed investment is closed, and nothing shows since when. Only of journal entries.
    UNKNOWN_TIME = "unknown_time"
    #: The entries of a period do not lead from the balance at its start to that at its end. Only of journal entries.
    BOOK_BALANCE = "book_balance"


@dataclass(frozen=True, slots=True)
class Discrepancy(Record):
    """One thing that does not add up, with its figures.

    :param kind: a :class:`DiscrepancyKind`.
    :param message: what does not add up, in words.
    :param ticker: the asset; empty if the records do not name it.
    :param plan_id: the plan; empty if the records do not name it.
    :param investment_id: the investment; ``None`` if the whole plan is concerned.
    :param at: when, or since when.
    :param expected: the expected amount, in units of the asset.
    :param found: the amount in the records.
    :param count: how many records are concerned; 0 for a balance.
    """

    kind: DiscrepancyKind
    message: str
    ticker: str
    plan_id: str
    investment_id: str | None = None
    at: pendulum.DateTime | None = None
    expected: Decimal | None = None
    found: Decimal | None = None
    count: int = 0


def in_words(messages: Sequence[str]) -> str:
    """Return what does not add up as one text, which spells out the first discrepancies.

    :param messages: of all discrepancies.
    """
    many = "One thing does" if len(messages) == 1 else f"{len(messages)} things do"
    more = f" And {len(messages) - _SPELT_OUT} more." if len(messages) > _SPELT_OUT else ""
    return f"{many} not add up: {' '.join(messages[:_SPELT_OUT])}{more}"
