"""Checks whether Flex records add up: balances, missing earnings, history against list of payments. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import pendulum

from airflow_provider_whitebit.client.models import FlexAction, FlexTransaction, plain, to_json
from airflow_provider_whitebit.client.records import ROUNDING_UNIT
from airflow_provider_whitebit.treasury.amounts import ZERO
from airflow_provider_whitebit.treasury.discrepancies import Discrepancy, DiscrepancyKind
from airflow_provider_whitebit.treasury.flex_ledger import (
    HOUR,
    Entry,
    InvestmentLedger,
    Period,
    ReinvestedAs,
    micros,
    moment_of,
    within,
)

#: Earnings are credited daily. Two days less an hour: an exchange that is late one night is not reported.
_LONGEST_WITHOUT_EARNING = 47 * HOUR
#: Gaps that a message lists.
_MOST_GAPS = 5

#: An earning: plan, investment, microseconds since 1970, amount.
_Earning = tuple[str, str, int, Decimal]


def check_balances(ledger: InvestmentLedger, reading: ReinvestedAs) -> Iterator[Discrepancy]:
    """Walk back from what is invested now to the first record, and yield what does not add up."""
    if ledger.records and not ledger.listed:
        yield ledger.about_records(
            DiscrepancyKind.UNKNOWN_INVESTMENT,
            ledger.records,
            "belongs to an investment that the exchange does not list; the investment was treated as closed",
        )
    changes: dict[int, list[Entry]] = defaultdict(list)
    for entry in ledger.entries:
        changes[entry.at].append(entry)
    # Records of one moment are taken together: the exchange does not say in which order they ran.
    balance, negative = ledger.now, False
    for at in sorted(changes, reverse=True):
        closes = any(entry.record.action_type == FlexAction.CLOSE_INVESTMENT for entry in changes[at])
        if closes and balance != 0 and ledger.investment_id:
            yield _left_after_close(ledger, at, balance)
        balance -= sum((entry.change for entry in changes[at]), ZERO)
        if balance < 0 and not negative and -balance > rounding_error(ledger.entries):
            negative = True
            yield _negative(ledger, at, balance)
    if ledger.complete and balance != 0:
        yield _unexplained(ledger, balance, reading)


def rounding_error(entries: Sequence[Entry]) -> Decimal:
    """Return by how much a sum of entries can be wrong because the records' amounts are rounded to 8 decimals."""
    most = max((len(plain(entry.record.amount).partition(".")[2]) for entry in entries), default=0)
    return ROUNDING_UNIT * sum(1 for entry in entries if entry.change) if most == 8 else ZERO


def _left_after_close(ledger: InvestmentLedger, at: int, left: Decimal) -> Discrepancy:
    when = moment_of(at)
    message = f"it was closed at {to_json(when)}, but {left:f} {ledger.ticker} are left after that"
    return ledger.discrepancy(DiscrepancyKind.LEFT_AFTER_CLOSE, message, at=when, expected=ZERO, found=left)


def _negative(ledger: InvestmentLedger, at: int, balance: Decimal) -> Discrepancy:
    when = moment_of(at)
    message = (
        f"{ledger.now:f} {ledger.ticker} are invested now, and walking back over the records leaves {balance:f} before "
        f"{to_json(when)}. A withdrawal is missing, or there is one deposit too many"
    )
    return ledger.discrepancy(DiscrepancyKind.NEGATIVE_BALANCE, message, at=when, expected=ZERO, found=balance)


def _unexplained(ledger: InvestmentLedger, rest: Decimal, reading: ReinvestedAs) -> Discrepancy:
    explained = ledger.now - rest
    hint = ""
    if reading is ReinvestedAs.BOTH and rest == sum((entry.earned - entry.kept for entry in ledger.entries), ZERO):
        hint = (
            ". The difference is exactly its daily earnings that have no REINVEST record: if the exchange records "
            "reinvested earnings only as earnings, make the statement with reinvested_as='earning'"
        )
    message = (
        f"all its records add up to {explained:f} {ledger.ticker}, but {ledger.now:f} are invested now, {abs(rest):f} "
        f"{'more' if rest > 0 else 'less'} than they explain. Its opening and closing balances may be wrong by the "
        f"same amount{hint}"
    )
    at = ledger.records[0].created_at if ledger.records else None
    return ledger.discrepancy(DiscrepancyKind.UNEXPLAINED_BALANCE, message, at=at, expected=explained, found=ledger.now)


def check_earnings(ledger: InvestmentLedger, period: Period, records_from: datetime | None) -> Iterator[Discrepancy]:
    """Yield the times of two days or more in which money was invested and nothing was credited."""
    start, end = period
    gaps = [(since, until) for since, until in _without_earning(ledger, end, records_from) if until > start]
    if gaps:
        listed = ", ".join(f"from {to_json(moment_of(a))} to {to_json(moment_of(b))}" for a, b in gaps[:_MOST_GAPS])
        more = f" and {len(gaps) - _MOST_GAPS} more times" if len(gaps) > _MOST_GAPS else ""
        message = f"money was invested and nothing was credited {listed}{more}, although earnings are daily"
        yield ledger.discrepancy(
            DiscrepancyKind.NO_EARNING, message, at=moment_of(gaps[0][0]), found=ZERO, count=len(gaps)
        )


def _without_earning(ledger: InvestmentLedger, end: int, records_from: datetime | None) -> Iterator[Period]:
    """From when to when an investment had no earning, up to the end of the period."""
    balance = ledger.before(0)
    since = micros(records_from) if records_from is not None and balance > 0 else None
    for entry in ledger.entries:
        if entry.at >= end:
            break
        if since is not None and entry.at - since >= _LONGEST_WITHOUT_EARNING:
            yield since, entry.at
            since = entry.at
        balance += entry.change
        if balance <= 0:
            since = None
        elif entry.earned > 0 or since is None:
            since = entry.at
    if since is not None and end - since >= _LONGEST_WITHOUT_EARNING:
        yield since, end


def check_payments(
    records: Iterable[FlexTransaction],
    payments: Iterable[FlexTransaction],
    period: Period,
    tickers: dict[str, str],
) -> Iterator[Discrepancy]:
    """Yield the earnings that only one of the exchange's two lists has.

    :param records: the history.
    :param tickers: asset by plan.
    """
    in_history, in_payments = _earnings(records, period), _earnings(payments, period)
    for kind, missing, present, absent in (
        (DiscrepancyKind.NOT_IN_PAYMENTS, in_history - in_payments, "history", "list of payments"),
        (DiscrepancyKind.NOT_IN_HISTORY, in_payments - in_history, "list of payments", "history"),
    ):
        by_plan: dict[str, list[_Earning]] = defaultdict(list)
        for earning in missing.elements():
            by_plan[earning[0]].append(earning)
        for plan_id, earnings in sorted(by_plan.items()):
            first, total = moment_of(min(earning[2] for earning in earnings)), sum((one[3] for one in earnings), ZERO)
            ticker = tickers.get(plan_id, "")
            message = (
                f"plan {plan_id}: the {present} has {_in_words(len(earnings), total, ticker, first)} that the {absent} "
                "does not have. Figures come from the history."
            )
            # Expected is what the figures lack, found is what they include.
            expected, found = (None, total) if kind is DiscrepancyKind.NOT_IN_PAYMENTS else (total, None)
            yield Discrepancy(kind, message, ticker, plan_id, None, first, expected, found, len(earnings))


def _in_words(count: int, total: Decimal, ticker: str, first: pendulum.DateTime) -> str:
    if count == 1:
        return f"an earning of {total:f} {ticker} at {to_json(first)}"
    return f"{count} earnings of together {total:f} {ticker}, the first at {to_json(first)},"


def _earnings(records: Iterable[FlexTransaction], period: Period) -> Counter[_Earning]:
    return Counter(
        (record.plan_id or "", record.investment_id or "", micros(record.created_at), record.amount)
        for record in records
        if record.action_type == FlexAction.DAILY_EARNING and within(record, period)
    )
