"""Double entries for every move and earning, from the exchange's records and the receipts of tasks. Pure.

Flex records are read as statements read them (:mod:`.statement`): an entry books what the statement counts. Further
assumptions:

- A Fixed investment takes its amount from Main when it is made, and returns it when it was last changed, once closed.
  Where the exchange does not show that time, see :func:`fixed_closed_at`.
- The amounts of deposits and withdrawals are what Main gained and lost. Fees are noted, not booked.
- Transfers between Main, spot and collateral are in no list of the exchange: only receipts of tasks show them.

Balances are walked back from what the exchange shows now, as those of statements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, printable
from airflow_provider_whitebit.client.models import (
    Direction,
    FixedInvestment,
    FlexAction,
    FlexTransaction,
    InterestPayment,
    MainMethod,
    MainTransaction,
    SubAccountTransaction,
    plain,
    to_json,
)
from airflow_provider_whitebit.client.records import paired_records
from airflow_provider_whitebit.moves.evidence import is_matured
from airflow_provider_whitebit.moves.intent import Operation, Receipt
from airflow_provider_whitebit.moves.parsing import ACCOUNTS
from airflow_provider_whitebit.treasury.amounts import ZERO, shortest
from airflow_provider_whitebit.treasury.discrepancies import Discrepancy, DiscrepancyKind
from airflow_provider_whitebit.treasury.flex_ledger import DAY, Entry, InvestmentLedger, micros

_OUT = (FlexAction.WITHDRAW_FROM_INVESTMENT, FlexAction.CLOSE_INVESTMENT)


class Role(StrEnum):
    """What an account of the books is for. Users map each one to a name."""

    MAIN = "main"
    SPOT = "spot"
    COLLATERAL = "collateral"
    SUB_ACCOUNTS = "sub_accounts"
    FLEX = "flex"
    #: Earnings that are credited, and reinvested by a record of a later day or of another amount.
    FLEX_REINVESTING = "flex_reinvesting"
    FIXED = "fixed"
    FLEX_INTEREST = "flex_interest"
    FIXED_INTEREST = "fixed_interest"
    #: The other side of deposits and withdrawals.
    DEPOSITS = "deposits"
    WITHDRAWALS = "withdrawals"
    #: The other side of the balances with which the books begin.
    OPENING = "opening"
    #: What no record explains.
    SUSPENSE = "suspense"


#: Roles whose balances are asserted. What spot, collateral and sub-accounts hold also changes without lending.
ASSERTED = (Role.MAIN, Role.FLEX, Role.FLEX_REINVESTING, Role.FIXED)


class EntryKind(StrEnum):
    """What an entry books, in words."""

    OPENING = "Opening balances"
    DEPOSIT = "Deposit"
    WITHDRAWAL = "Withdrawal"
    TRANSFER = "Transfer"
    SUB_ACCOUNT = "Sub-account transfer"
    FLEX_INVEST = "Flex invest"
    FLEX_EARNING = "Flex earning"
    FLEX_REINVESTED = "Flex earning reinvested"
    FLEX_WITHDRAW = "Flex withdraw"
    FLEX_CLOSE = "Flex close"
    FIXED_INVEST = "Fixed invest"
    FIXED_INTEREST = "Fixed interest"
    FIXED_CLOSE = "Fixed close"
    DIFFERENCE = "Unexplained difference"


class Flow(NamedTuple):
    """An amount that leaves one account and enters another, in units of the asset: so each entry balances."""

    source: Role
    target: Role
    ticker: str
    amount: Decimal


class JournalEntry(NamedTuple):
    """One double entry.

    :param at: when, in microseconds since 1970.
    :param kind: what it books.
    :param flows: from account to account.
    :param transactions: the exchange's ids of its records.
    :param plan_id: the plan; empty if there is none.
    :param investment_id: the investment; empty if there is none.
    :param intent_id: the id of the move's intent; empty if no receipt is known.
    :param task: the task that made the move; empty if no receipt is known.
    :param note: what else is known, in words.
    """

    at: int
    kind: EntryKind
    flows: tuple[Flow, ...]
    transactions: tuple[str, ...] = ()
    plan_id: str = ""
    investment_id: str = ""
    intent_id: str = ""
    task: str = ""
    note: str = ""

    def legs(self) -> list[tuple[Role, str, Decimal]]:
        """Return the change of each account and asset, within :func:`.exact`; those of an asset add up to zero."""
        if len(self.flows) == 1:
            source, target, ticker, amount = self.flows[0]
            return [(target, ticker, amount), (source, ticker, amount.copy_negate())]
        sums: dict[tuple[Role, str], Decimal] = defaultdict(Decimal)
        for source, target, ticker, amount in self.flows:
            sums[target, ticker] += amount
            sums[source, ticker] -= amount
        return [(role, ticker, amount) for (role, ticker), amount in sums.items() if amount]


#: Balances by role and asset.
Balances = Mapping[tuple[Role, str], Decimal]


class Origins:
    """Which intent and task made a move, from the receipts of tasks.

    :param receipts: executed receipts, each with its task in words. Of those with one intent the first one counts.
    """

    def __init__(self, receipts: Iterable[tuple[Receipt, str]] = ()) -> None:
        self.transfers: list[tuple[Receipt, str]] = []
        self._by_transaction: dict[str, tuple[str, str]] = {}
        self._by_investment: dict[tuple[str, str], tuple[str, str]] = {}
        self._closed_at: dict[str, pendulum.DateTime] = {}
        seen: set[str] = set()
        for receipt, task in receipts:
            if receipt.status != "executed" or receipt.executed_at is None or receipt.intent_id in seen:
                continue
            origin = (receipt.intent_id or "", task)
            seen |= {receipt.intent_id} if receipt.intent_id else set()
            if receipt.operation == Operation.TRANSFER:
                self.transfers.append((receipt, task))
            if receipt.transaction_id:
                self._by_transaction.setdefault(receipt.transaction_id, origin)
            if receipt.investment_id:
                self._by_investment.setdefault((str(receipt.operation), receipt.investment_id), origin)
                if receipt.operation == Operation.FIXED_CLOSE:
                    self._closed_at.setdefault(receipt.investment_id, receipt.executed_at)

    def of_transactions(self, transaction_ids: Iterable[str]) -> tuple[str, str]:
        """Return intent and task of a movement by the ids of its records; empty texts if no receipt names one."""
        found = (self._by_transaction.get(one) for one in transaction_ids)
        return next((origin for origin in found if origin is not None), ("", ""))

    def of_investment(self, operation: Operation, investment_id: str) -> tuple[str, str]:
        """Return intent and task that made or closed a Fixed investment; empty texts if no receipt names it."""
        return self._by_investment.get((operation, investment_id), ("", ""))

    def closed_at(self, investment_id: str) -> pendulum.DateTime | None:
        """Return when a task closed a Fixed investment; ``None`` if no receipt says so."""
        return self._closed_at.get(investment_id)


class Tally:
    """What entries have changed, by role and asset. Add within :func:`.exact`."""

    def __init__(self) -> None:
        self.sums: dict[tuple[Role, str], Decimal] = defaultdict(Decimal)

    def add(self, entry: JournalEntry) -> None:
        sums = self.sums
        for source, target, ticker, amount in entry.flows:
            sums[target, ticker] += amount
            sums[source, ticker] -= amount


def flex_entries(ledger: InvestmentLedger, origins: Origins) -> Iterator[JournalEntry]:
    """Yield what the records of one investment did, oldest first.

    :param ledger: as a statement has read it.
    """
    entries, place = ledger.entries, 0
    records = [entry.record for entry in entries]
    # Of two records of one movement, one bears the amount.
    others = {id(main): records[other] for main, other in paired_records(records) if not entries[other].change}
    while place < len(entries):
        entry = entries[place]
        place += 1
        if entry.record.action_type in (FlexAction.DAILY_EARNING, FlexAction.REINVEST):
            partner = entries[place] if place < len(entries) else None
            if partner is not None and _reinvests(partner, entry):
                place += 1
                yield _earning(ledger, entry, partner)
            elif entry.earned or entry.change:
                yield _earning(ledger, entry, None)
        elif entry.change or entry.earned:
            yield _principal(ledger, entry, others.get(id(entry.record)), origins)


def _reinvests(partner: Entry, earning: Entry) -> bool:
    """Whether a record reinvests the earning just before it, on the same day."""
    return (
        partner.record.action_type == FlexAction.REINVEST
        and earning.change == partner.earned == 0
        and partner.change == earning.kept != 0
        and partner.at // DAY == earning.at // DAY
    )


def _earning(ledger: InvestmentLedger, entry: Entry, partner: Entry | None) -> JournalEntry:
    ticker, earned, kept = ledger.ticker, entry.earned, entry.kept
    change = entry.change if partner is None else partner.change
    direct = min(kept, change)
    flows = (
        Flow(Role.FLEX_INTEREST, Role.MAIN, ticker, earned - kept),
        Flow(Role.FLEX_INTEREST, Role.FLEX, ticker, direct),
        Flow(Role.FLEX_INTEREST, Role.FLEX_REINVESTING, ticker, kept - direct),
        Flow(Role.FLEX_REINVESTING, Role.FLEX, ticker, change - direct),
    )
    records = [one.record.transaction_id for one in (entry, partner) if one is not None]
    return JournalEntry(
        entry.at if partner is None else partner.at,
        EntryKind.FLEX_REINVESTED if change else EntryKind.FLEX_EARNING,
        tuple([flow for flow in flows if flow.amount]),
        tuple([one for one in records if one]),
        ledger.plan_id,
        entry.record.investment_id or "",
    )


def _principal(ledger: InvestmentLedger, entry: Entry, other: FlexTransaction | None, origins: Origins) -> JournalEntry:
    ticker, record = ledger.ticker, entry.record
    if record.action_type in _OUT:
        kind = EntryKind.FLEX_CLOSE if record.action_type == FlexAction.CLOSE_INVESTMENT else EntryKind.FLEX_WITHDRAW
        flow = Flow(Role.FLEX, Role.MAIN, ticker, -entry.change)
    else:
        kind, flow = EntryKind.FLEX_INVEST, Flow(Role.MAIN, Role.FLEX, ticker, entry.change)
    flows = (flow, Flow(Role.FLEX_INTEREST, Role.MAIN, ticker, entry.earned))
    names = [one.transaction_id for one in (record, other) if one is not None and one.transaction_id]
    ids = tuple(dict.fromkeys(names))
    return JournalEntry(
        entry.at,
        kind,
        tuple([one for one in flows if one.amount]),
        ids,
        ledger.plan_id,
        record.investment_id or "",
        *origins.of_transactions(ids),
    )


def fixed_entries(
    investments: Iterable[FixedInvestment], payments: Iterable[InterestPayment], origins: Origins
) -> Iterator[JournalEntry]:
    """Yield what Fixed investments took from Main and returned to it.

    :param investments: all of them.
    :param payments: all interest payments.
    """
    assets: dict[str, str] = {}
    payments = list(payments)
    paid_at = {paid.investment_id: paid.timestamp for paid in payments}
    for held in investments:
        assets[held.id] = held.plan.interest_ticker
        ticker, where = held.plan.ticker, (held.plan.id, held.id)
        made = Flow(Role.MAIN, Role.FIXED, ticker, held.amount)
        origin = origins.of_investment(Operation.FIXED_INVEST, held.id)
        yield JournalEntry(micros(held.created), EntryKind.FIXED_INVEST, (made,), (), *where, *origin)
        if held.closed:
            back = Flow(Role.FIXED, Role.MAIN, ticker, held.amount)
            origin = origins.of_investment(Operation.FIXED_CLOSE, held.id)
            at = fixed_closed_at(held, paid_at, origins) or held.created
            yield JournalEntry(micros(at), EntryKind.FIXED_CLOSE, (back,), (), *where, *origin)
    for paid in payments:
        ticker = paid.ticker or assets.get(paid.investment_id, "")
        flow = Flow(Role.FIXED_INTEREST, Role.MAIN, ticker, paid.amount)
        where = (paid.plan_id, paid.investment_id)
        yield JournalEntry(micros(paid.timestamp), EntryKind.FIXED_INTEREST, (flow,), (), *where)


def fixed_closed_at(
    held: FixedInvestment, paid_at: Mapping[str, pendulum.DateTime], origins: Origins
) -> pendulum.DateTime | None:
    """Return when a closed Fixed investment returned its amount; ``None`` if nothing shows it.

    :param paid_at: when each investment that has paid interest did so, by its id.
    """
    if held.updated > held.created:
        return held.updated
    # The exchange does not say when it was changed.
    shown = origins.closed_at(held.id) or paid_at.get(held.id)
    return held.payment_time if shown is None and is_matured(held) else shown


def check_fixed(
    investments: Iterable[FixedInvestment],
    payments: Iterable[InterestPayment],
    start: datetime,
    end: datetime,
    origins: Origins | None = None,
) -> Iterator[Discrepancy]:
    """Yield the Fixed investments whose status or end is unknown, and those of the period whose interest differs.

    :param origins: the receipts of tasks, which may show when an investment was closed.
    """
    paid: dict[str, Decimal] = defaultdict(Decimal)
    paid_at: dict[str, pendulum.DateTime] = {}
    for payment in payments:
        paid[payment.investment_id] += payment.amount
        paid_at[payment.investment_id] = payment.timestamp
    for held in investments:
        where = (held.plan.ticker, held.plan.id, held.id, held.updated)
        if not held.active and not held.closed:
            message = (
                f"Fixed investment {held.id}: its status {held.status} is unknown. Its {held.amount:f} "
                f"{held.plan.ticker} count as invested."
            )
            yield Discrepancy(DiscrepancyKind.UNKNOWN_STATUS, message, *where, found=held.amount)
        shown, closed_at = held.interest_paid, fixed_closed_at(held, paid_at, origins or Origins())
        was_over = held.term_end is not None and held.term_end <= start
        if held.closed and closed_at is None and held.created < end and not was_over:
            message = (
                f"Fixed investment {held.id} is closed, and nothing shows since when. Its {held.amount:f} "
                f"{held.plan.ticker} are booked as returned at {to_json(held.created)}, when it was made."
            )
            yield Discrepancy(DiscrepancyKind.UNKNOWN_TIME, message, *where, found=held.amount)
        if held.closed and start <= (closed_at or held.updated) < end and shown is not None and shown != paid[held.id]:
            message = (
                f"Fixed investment {held.id} shows {shown:f} {held.plan.interest_ticker} of interest paid, the list "
                f"of payments has {paid[held.id]:f}. The entries come from the list."
            )
            yield Discrepancy(DiscrepancyKind.FIXED_INTEREST, message, *where, shown, paid[held.id])


def main_entries(transactions: Iterable[MainTransaction]) -> Iterator[JournalEntry]:
    """Yield the deposits and withdrawals that have changed Main."""
    for one in transactions:
        if not one.moved:
            continue
        ids = tuple([name for name in (one.transaction_id or one.unique_id or one.transaction_hash,) if name])
        note = f"Fee {one.fee:f} {one.ticker}, not booked" if one.fee else ""
        if one.method == MainMethod.DEPOSIT:
            kind, flow = EntryKind.DEPOSIT, Flow(Role.DEPOSITS, Role.MAIN, one.ticker, one.amount.copy_abs())
        else:
            kind, flow = EntryKind.WITHDRAWAL, Flow(Role.MAIN, Role.WITHDRAWALS, one.ticker, one.amount.copy_abs())
        yield JournalEntry(micros(one.created_at), kind, (flow,), ids, note=note)


def sub_account_entries(transfers: Iterable[SubAccountTransaction], origins: Origins) -> Iterator[JournalEntry]:
    """Yield the transfers between Main and sub-accounts whose direction is known."""
    for one in transfers:
        route = {
            Direction.MAIN_TO_SUB.value: (Role.MAIN, Role.SUB_ACCOUNTS),
            Direction.SUB_TO_MAIN.value: (Role.SUB_ACCOUNTS, Role.MAIN),
        }.get(one.direction or "")
        if route is not None:
            flow = Flow(*route, one.currency or "", one.amount.copy_abs())
            ids = (one.transaction_id,) if one.transaction_id else ()
            origin = origins.of_transactions(ids)
            yield JournalEntry(micros(one.created_at), EntryKind.SUB_ACCOUNT, (flow,), ids, "", "", *origin)


def transfer_entries(origins: Origins) -> Iterator[JournalEntry]:
    """Yield the transfers between Main, spot and collateral of which there is a receipt."""
    for receipt, task in origins.transfers:
        source, target = receipt.source or "", receipt.target or ""
        if receipt.executed_at is not None and receipt.amount and {source, target} <= set(ACCOUNTS):
            flow = Flow(Role(source), Role(target), receipt.ticker, receipt.amount)
            at, intent = micros(receipt.executed_at), receipt.intent_id or ""
            yield JournalEntry(at, EntryKind.TRANSFER, (flow,), (), "", "", intent, task)


def unsettled(
    transactions: Iterable[MainTransaction], transfers: Iterable[SubAccountTransaction], start: datetime, end: datetime
) -> Iterator[str]:
    """Yield, in words, the records of the period of which it is not known whether or how they changed Main."""
    for one in transactions:
        if one.moved is None and start <= one.created_at < end:
            what = f"{one.amount:f} {one.ticker} at {to_json(one.created_at)}, method {one.method}, status {one.status}"
            yield f"Not booked: a transaction of Main whose status does not say whether it moved ({what})."
    for transfer in transfers:
        if transfer.direction not in tuple(Direction) and start <= transfer.created_at < end:
            what = f"{transfer.amount:f} {transfer.currency or ''} at {to_json(transfer.created_at)}"
            yield f"Not booked: a transfer of a sub-account whose direction is unknown ({what})."


@dataclass(slots=True)
class Books:
    """The entries of a period, and the balances at its start and end.

    :param start: its beginning, included: a midnight, UTC.
    :param end: its end, not included: a midnight, UTC.
    :param begins: whether the books begin with this period. Else they continue a period before it.
    :param opening: balances of the asserted roles at the start.
    :param closing: and at the end, as the exchange shows them.
    :param entries: yields the entries, oldest first, as often as it is called.
    :param accounts: which roles have entries, by asset.
    :param decimals: most decimals of an amount, by asset.
    :param discrepancies: what does not add up, in words and figures.
    :param not_booked: records of the period that no entry books, in words.
    :param warnings: what could not be read, in words.
    """

    start: pendulum.DateTime
    end: pendulum.DateTime
    begins: bool
    opening: Balances
    closing: Balances
    entries: Callable[[], Iterator[JournalEntry]]
    accounts: frozenset[tuple[Role, str]] = frozenset()
    decimals: Mapping[str, int] = field(default_factory=dict)
    discrepancies: Sequence[Discrepancy] = ()
    not_booked: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The period as part of a file name: ``20260101-20260201``."""
        return "-".join(moment.format("YYYYMMDD") for moment in (self.start, self.end))

    def remarks(self) -> list[str]:
        """Return what the books say of themselves. It does not depend on when they are made."""
        # Messages of discrepancies name balances of now.
        places = {(str(one.kind), one.ticker, one.plan_id, one.investment_id or "") for one in self.discrepancies}
        found = [f"Does not add up: {' '.join(part for part in place if part)}" for place in sorted(places)]
        return [printable(text) for text in (*sorted(self.not_booked), *found)]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How the entries of a period fit the balances.

    :param opening: balances at the start.
    :param closing: balances at the end.
    :param first: the entry with which the books begin; ``None`` if they continue.
    :param last: the entry that books what no record explains; ``None`` if everything is explained.
    :param discrepancies: what does not fit.
    """

    opening: Balances
    closing: Balances
    first: JournalEntry | None
    last: JournalEntry | None
    discrepancies: Sequence[Discrepancy]


def reconcile_books(
    now: Balances,
    before: Balances,
    period: Balances,
    after: Balances,
    *,
    start: datetime,
    end: datetime,
    previous: Balances | None,
) -> Reconciled:
    """Walk back from the balances of now to those at the end and the start, and compare them with the entries.

    :param now: balances of Main, Flex and Fixed that the exchange shows.
    :param before: what the entries before the period have changed.
    :param period: what those of the period have.
    :param after: what those after it have.
    :param previous: closing balances of the books before; ``None`` if the books begin here.
    """
    keys = sorted({key for sums in (now, before, period, after, previous or {}) for key in sums if key[0] in ASSERTED})
    opening, closing = {}, {}
    flows: list[Flow] = []
    found: list[Discrepancy] = []
    for key in keys:
        role, ticker = key
        if role is Role.FLEX_REINVESTING:
            # The exchange does not show it. All records, from the first on, tell.
            closing[key] = shortest(before.get(key, ZERO) + period.get(key, ZERO))
        else:
            closing[key] = shortest(now.get(key, ZERO) - after.get(key, ZERO))
        walked = shortest(closing[key] - period.get(key, ZERO))
        opening[key] = walked if previous is None else previous.get(key, ZERO)
        if walked != opening[key]:
            flows.append(Flow(Role.SUSPENSE, role, ticker, shortest(walked - opening[key])))
            found.append(_difference(role, ticker, opening[key], period.get(key, ZERO), closing[key], end))
        # A reinvest may be recorded before its earning, also on the day before.
        if walked < 0 and role is not Role.FLEX_REINVESTING:
            found.append(_below_zero(role, ticker, walked, start))
    begin, until = micros(start), micros(end)
    last = JournalEntry(until - 1, EntryKind.DIFFERENCE, tuple(flows)) if flows else None
    first = None
    if previous is None:
        held: list[Flow] = []
        for (role, ticker), amount in opening.items():
            # All Flex records are known, so what they do not explain is not merely from before the books.
            rest = shortest(amount - before.get((role, ticker), ZERO)) if role is Role.FLEX else ZERO
            held.append(Flow(Role.OPENING, role, ticker, shortest(amount - rest)))
            held.append(Flow(Role.SUSPENSE, role, ticker, rest))
        first = JournalEntry(begin, EntryKind.OPENING, tuple(flow for flow in held if flow.amount))
    return Reconciled(
        {key: amount for key, amount in opening.items() if amount},
        closing,
        first if first is not None and first.flows else None,
        last,
        found,
    )


def _difference(
    role: Role, ticker: str, opening: Decimal, change: Decimal, closing: Decimal, end: datetime
) -> Discrepancy:
    booked = opening + change
    message = (
        f"{role} {ticker}: the books before end with {plain(opening)}, the entries of the period change it by "
        f"{plain(change)} to {plain(booked)}, but the exchange's balance at the end is {plain(closing)}: "
        f"{plain(closing - booked)} are not explained."
    )
    at = pendulum.instance(end)
    return Discrepancy(DiscrepancyKind.BOOK_BALANCE, message, ticker, "", None, at, booked, closing)


def _below_zero(role: Role, ticker: str, opening: Decimal, start: datetime) -> Discrepancy:
    message = (
        f"{role} {ticker}: walking back from the exchange's balance over the records leaves {opening:f} at the start. "
        "Something that came in is in no record."
    )
    at = pendulum.instance(start)
    return Discrepancy(DiscrepancyKind.BOOK_BALANCE, message, ticker, "", None, at, ZERO, opening)


def check_days(start: datetime, end: datetime) -> None:
    """Check that a period consists of whole days, UTC: books are kept by day.

    :raises WhiteBitValidationError: it does not.
    """
    for name, moment in (("start", start), ("end", end)):
        if micros(moment) % DAY:
            raise WhiteBitValidationError(
                f"{name} is {to_json(pendulum.instance(moment).in_timezone('UTC'))}: books are kept by day, so a "
                "period of journal entries begins and ends at midnight, UTC."
            )
