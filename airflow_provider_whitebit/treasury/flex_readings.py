"""How Flex records can be read where the vendor does not say how a movement is recorded. Pure.

An opening may have two records, and so may a full withdrawal (:func:`.group_movements`). What leaves an investment may
be recorded with the interest that is paid with it. Amounts may be rounded to 8 decimals. The reading that adds up is
the right one: a missing record makes none of them add up, except by chance.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from airflow_provider_whitebit.client.models import FlexAction
from airflow_provider_whitebit.client.records import (
    SECONDS_APART,
    FlexMovement,
    paired_records,
    unsigned,
)
from airflow_provider_whitebit.treasury.amounts import ZERO
from airflow_provider_whitebit.treasury.discrepancies import Discrepancy, DiscrepancyKind
from airflow_provider_whitebit.treasury.flex_checks import check_balances, rounding_error
from airflow_provider_whitebit.treasury.flex_ledger import Entry, InvestmentLedger, ReinvestedAs

_OUT = (FlexAction.WITHDRAW_FROM_INVESTMENT, FlexAction.CLOSE_INVESTMENT)
_APART = SECONDS_APART * 1_000_000
#: A closing pays less interest than this share of what was invested: a day of it at 100 % a year.
_MOST_INTEREST = Decimal("0.003")


def choose_reading(ledger: InvestmentLedger, reinvested_as: ReinvestedAs, found: list[Discrepancy]) -> list[Entry]:
    """Return what each record did, in the first reading that adds up; if none does, in the most likely one.

    :param ledger: with the entries of each record taken alone.
    :param reinvested_as: how reinvested earnings are recorded.
    :param found: discrepancies are added to it.
    """
    readings = _readings(ledger)
    first = next(readings)

    def adds_up(entries: list[Entry]) -> bool:
        return not any(check_balances(replace(ledger, entries=entries, listed=True), reinvested_as))

    # Most ledgers add up in the first one: the others are made only if they are needed.
    ledger.adds_up = adds_up(first)
    chosen = first if ledger.adds_up else next(filter(adds_up, readings), first)
    with_interest = [entry for entry in chosen if entry.earned and entry.record.action_type in _OUT]
    if with_interest:
        total = sum((entry.earned for entry in with_interest), ZERO)
        what = (
            f"took more out than was invested; {total:f} {ledger.ticker} of it were counted as an earning that was "
            "paid with it"
        )
        records = [entry.record for entry in with_interest]
        found.append(ledger.about_records(DiscrepancyKind.INTEREST_IN_CLOSE, records, what))
    return chosen


def _readings(ledger: InvestmentLedger) -> Iterator[list[Entry]]:
    """The possible readings, the most likely first."""
    grouped = _grouped(ledger.entries)
    for entries in (grouped,) if grouped == ledger.entries else (grouped, ledger.entries):
        yield _rounded(ledger, entries)
        if any(entry.record.action_type in _OUT for entry in entries):
            yield _rounded(ledger, _without_earnings(entries))
            if ledger.complete:
                yield _rounded(ledger, _closed_at_zero(entries))


def _grouped(entries: Sequence[Entry]) -> list[Entry]:
    """Count each movement once: of two records, the one that opens or closes bears the amount."""
    changes: dict[int, Decimal] = {}
    records = [entry.record for entry in entries]
    for main, place in paired_records(records):
        partner = records[place]
        changes[id(partner)] = ZERO
        closing = unsigned(main) if main.action_type in _OUT else ZERO
        amount = closing or FlexMovement((main, partner)).amount
        changes[id(main)] = -amount if main.action_type in _OUT else amount
    if not changes:
        return list(entries)
    return [
        replace(entry, change=changes[id(entry.record)]) if id(entry.record) in changes else entry for entry in entries
    ]


def _without_earnings(entries: Sequence[Entry]) -> list[Entry]:
    """Take an earning that is paid to Main together with a withdrawal out of the withdrawal's amount."""
    paid = [entry for entry in entries if entry.earned > entry.kept]
    times, taken = [entry.at for entry in paid], set[int]()
    changed = []
    for entry in entries:
        if entry.change < 0:
            near = range(bisect_left(times, entry.at - _APART), bisect_right(times, entry.at + _APART))
            place = next((one for one in near if one not in taken and paid[one].earned <= -entry.change), None)
            if place is not None:
                taken.add(place)
                entry = replace(entry, change=entry.change + paid[place].earned)
        changed.append(entry)
    return changed


def _closed_at_zero(entries: Sequence[Entry]) -> list[Entry]:
    """Count as an earning what a closing pays beyond the balance, if it can be a day's interest."""
    balance, changed = ZERO, []
    for entry in entries:
        beyond = -entry.change - balance
        if entry.record.action_type == FlexAction.CLOSE_INVESTMENT and 0 < beyond <= balance * _MOST_INTEREST:
            entry = replace(entry, change=-balance, earned=beyond)
        balance += entry.change
        changed.append(entry)
    return changed


def _rounded(ledger: InvestmentLedger, entries: list[Entry]) -> list[Entry]:
    """Give the first movement what is missing because the records' amounts are rounded to 8 decimals."""
    moving = [place for place, entry in enumerate(entries) if entry.change]
    rest = ledger.now - sum((entry.change for entry in entries), ZERO)
    if not (ledger.complete and moving and rest and abs(rest) <= rounding_error(entries)):
        return entries
    first = entries[moving[0]]
    return [*entries[: moving[0]], replace(first, change=first.change + rest), *entries[moving[0] + 1 :]]
