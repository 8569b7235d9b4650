"""Which moves bring what is held to what is wanted. Pure: holdings and policy in, moves with their reasons out.

Three planners: :func:`plan_sweep` invests what lies idle, :func:`plan_raise` makes an amount available,
:func:`plan_rebalance` does what a policy asks for in both directions. They keep to the exchange's rules (vendor page:
Lending, Flex plans): every investment is at least its plan's minimum, what is in a plan at most its maximum, and a
withdrawal leaves the minimum or nothing. Moves come in the order in which they have to be made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from typing import Any, Self

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import Asset, FlexInvestment, FlexInvestmentStatus, FlexPlan, to_json
from airflow_provider_whitebit.moves.intent import Move, Operation, Receipt
from airflow_provider_whitebit.treasury import choice
from airflow_provider_whitebit.treasury.policy import Choose, PlanRules, Policy, TickerPolicy

_ZERO = Decimal(0)
_INFINITE = Decimal("Infinity")
#: Digits of intermediate results: 30 before and 30 after the point, times a share of 30, and some to spare.
_DIGITS = 120


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the exchange shows at one moment.

    :param main: Main balance by ticker.
    :param plans: the Flex plans on offer.
    :param investments: Flex investments; closed ones are ignored.
    :param assets: public facts by ticker, for the decimals that amounts may carry.
    :param spot: free spot balance by ticker; ``None``: not known.
    :param collateral: collateral balance by ticker; ``None``: not known.
    """

    main: Mapping[str, Decimal]
    plans: tuple[FlexPlan, ...]
    investments: tuple[FlexInvestment, ...]
    assets: Mapping[str, Asset]
    spot: Mapping[str, Decimal] | None = None
    collateral: Mapping[str, Decimal] | None = None

    def invested(self, ticker: str) -> dict[str, Decimal]:
        """What is invested of an asset, by plan id.

        :returns: units of the asset.
        """
        found: dict[str, Decimal] = {}
        for entry in self.investments:
            if entry.active and entry.invested > 0 and self._ticker(entry) == ticker:
                found[entry.plan_id] = found.get(entry.plan_id, _ZERO) + entry.invested
        return found

    def total(self, ticker: str) -> Decimal:
        """Main and what is invested in Flex; spot, collateral and Fixed do not count.

        :returns: units of the asset.
        """
        with _exact():
            return self.main.get(ticker, _ZERO) + sum(self.invested(ticker).values(), _ZERO)

    def by_ticker(self) -> dict[str, Holdings]:
        """The same by asset, each with its own plans and investments only.

        Whoever goes through many assets does so in these: what is asked of one asset goes through all that there is.
        """
        plans: dict[str, list[FlexPlan]] = defaultdict(list)
        investments: dict[str, list[FlexInvestment]] = defaultdict(list)
        for plan in self.plans:
            plans[plan.ticker].append(plan)
        asset_of = {plan.id: plan.ticker for plan in reversed(self.plans)}
        for entry in self.investments:
            investments[entry.currency or asset_of.get(entry.plan_id, "")].append(entry)
        return {
            ticker: replace(self, plans=tuple(plans[ticker]), investments=tuple(investments[ticker]))
            for ticker in {*plans, *investments}
        }

    def precision(self, ticker: str) -> int:
        """How many decimals amounts of an asset may carry.

        :raises WhiteBitValidationError: if the exchange has no such asset.
        """
        choice.known_ticker(ticker, self.assets)
        return self.assets[ticker].currency_precision

    def account(self, name: str) -> Mapping[str, Decimal]:
        """One of the balances by ticker.

        :param name: ``main``, ``spot`` or ``collateral``.
        :raises WhiteBitValidationError: if these holdings do not know it.
        """
        balances = {choice.MAIN: self.main, choice.SPOT: self.spot, choice.COLLATERAL: self.collateral}[name]
        if balances is None:
            raise WhiteBitValidationError(f"{name}: these holdings carry no {name} balances. Read them too.")
        return balances

    def _ticker(self, entry: FlexInvestment) -> str:
        """An investment's asset; where the exchange does not name it, its plan's."""
        return entry.currency or next((plan.ticker for plan in self.plans if plan.id == entry.plan_id), "")


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A move and why it is to be made, in one sentence."""

    move: Move
    reason: str

    def __str__(self) -> str:
        amount = "" if self.move.amount is None else f" {_plain(self.move.amount)}"
        return f"{self.move.operation}{amount} {self.move.ticker}. {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"move": self.move.to_json(), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class TreasuryPlan:
    """Moves in the order in which they have to be made.

    :param moves: what to move; withdrawals come before what they pay for.
    :param notes: what could not be done, and why.
    :param shortfalls: what is missing even after all moves, by ticker, in units of the asset.
    :param auto_reinvest: the investments, by plan id, whose auto-reinvest is to be switched, and how. Moves no money.
    """

    moves: tuple[PlannedMove, ...] = ()
    notes: tuple[str, ...] = ()
    shortfalls: Mapping[str, Decimal] = field(default_factory=dict)
    auto_reinvest: Mapping[str, bool] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.moves and not self.auto_reinvest

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitValidationError: if this is no plan."""
        try:
            return cls(
                tuple(PlannedMove(Move.from_json(one["move"]), str(one["reason"])) for one in raw["moves"]),
                tuple(map(str, raw["notes"])),
                {str(ticker): Decimal(amount) for ticker, amount in raw["shortfalls"].items()},
                {str(plan): bool(enabled) for plan, enabled in raw["auto_reinvest"].items()},
            )
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise WhiteBitValidationError(
                f"approved_plan is no plan ({type(error).__name__}): give the plan that a dry run returned."
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: amounts as decimal strings; :meth:`from_json` reads it."""
        return {
            "moves": [planned.to_json() for planned in self.moves],
            "notes": list(self.notes),
            "shortfalls": {ticker: to_json(amount) for ticker, amount in self.shortfalls.items()},
            "auto_reinvest": dict(self.auto_reinvest),
        }


#: States of a plan's outcome.
EXECUTED, PLANNED, NOTHING = "executed", "planned", "nothing_to_do"


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """What came of a plan.

    :param status: ``executed``, ``planned`` for a dry run, or ``nothing_to_do``.
    :param plan: the plan; empty where an earlier run of the task has carried it out.
    :param receipts: of every move that the task has made, in their order.
    """

    status: str
    plan: TreasuryPlan
    receipts: tuple[Receipt, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "status": self.status,
            "plan": self.plan.to_json(),
            "receipts": [receipt.to_json() for receipt in self.receipts],
        }


def plan_sweep(holdings: Holdings, policy: Policy, now: pendulum.DateTime) -> TreasuryPlan:
    """Invest what lies in Main above the reserve. Withdraws nothing.

    Permitted plans are filled in the policy's order, each up to its own maximum and the policy's caps.

    :param holdings: what is held.
    :param policy: what is wanted.
    :param now: aware time, for liquidity needs that fall due.
    :raises WhiteBitValidationError: if the policy names an asset that the exchange does not have.
    """
    return _each_ticker(holdings, policy, now, _sweep)


def plan_rebalance(holdings: Holdings, policy: Policy, now: pendulum.DateTime) -> TreasuryPlan:
    """Bring every asset of a policy to what it asks for.

    In this order: leave plans that are not permitted and trim those above their cap or target; if Main is below the
    reserve, withdraw what is missing (as :func:`plan_raise` does); invest what lies above the reserve. A reserve that
    is short by less than ``min_move`` is let be, unless a liquidity need is due. Planned again on what comes of it,
    nothing is left to do; with ``follow_rate`` a few more rounds can be needed, each of which raises the rate earned.

    :param holdings: what is held.
    :param policy: what is wanted.
    :param now: aware time, for liquidity needs that fall due.
    :raises WhiteBitValidationError: if the policy names an asset that the exchange does not have.
    """
    return _each_ticker(holdings, policy, now, _rebalance)


def plan_raise(
    holdings: Holdings, ticker: str, amount: Decimal, target: str = choice.MAIN, *, policy: Policy | None = None
) -> TreasuryPlan:
    """Have so much in one of the balances, counting what is there already.

    For spot and collateral, all of Main is used before anything is withdrawn; no reserve is kept back. Withdrawals
    come cheapest first, which is the lowest ``max_rate``; plans that are not on offer come last, and are only closed,
    because their minimum is not known. An investment that is not needed whole gives exactly what is missing; where
    its plan's minimum forbids that, it is drawn down to the minimum and the next one gives the rest. Only if no
    investment can give the rest exactly, the one is closed of which the least is withdrawn beyond the need, and what
    is too much is left in the others, those with the highest rate first.

    :param holdings: what is held.
    :param ticker: the asset.
    :param amount: what has to be there, in units of the asset.
    :param target: ``main``, ``spot`` or ``collateral``.
    :param policy: plans that it does not permit give first.
    :returns: withdrawals, then a transfer; what cannot be had stands in ``shortfalls``.
    :raises WhiteBitValidationError: unknown asset or balance, or more decimals than the asset carries.
    """
    target = choice.read_account("target", target)
    precision = holdings.precision(ticker)
    choice.check_decimals(amount, ticker, precision)
    decimals = precision if target == choice.MAIN else min(precision, choice.TRANSFER_DECIMALS)
    wanted = policy.tickers.get(ticker) if policy else None
    with _exact():
        books = _Books.of(holdings, ticker, wanted or TickerPolicy(), _ZERO)
        there = holdings.account(target).get(ticker, _ZERO)
        missing = max(_ZERO, amount - there)
        # What is transferred must fit the transfer's decimals, so Main has to hold it rounded up.
        needed = missing if target == choice.MAIN else _up(missing, decimals)
        have = _ZERO if target == choice.MAIN else books.main
        _withdraw(books, needed - have, f"{_plain(amount)} {ticker} are needed in {target}")
        moves = books.withdrawals()
        reached = there + books.withdrawn
        if target != choice.MAIN:
            moved = _down(min(needed, books.main), decimals)
            reached = there + moved
            if moved > 0:
                moves.append(_transfer(ticker, moved, target, amount, there))
        short = amount - reached
        if short > 0:
            books.note(
                f"{_plain(short)} of {_plain(amount)} are missing in {target}, even with all that can be withdrawn"
            )
    return TreasuryPlan(tuple(moves), tuple(books.notes), {ticker: _clean(short)} if short > 0 else {})


def apply_plan(holdings: Holdings, plan: TreasuryPlan) -> Holdings:
    """What is held when all moves of a plan have been made. For dry runs and tests.

    :raises ValueError: if a move takes more than is there.
    """
    with _exact():
        for planned in plan.moves:
            holdings = _apply(holdings, planned.move)
    switched = tuple(
        replace(entry, with_auto_reinvest=plan.auto_reinvest.get(entry.plan_id, entry.with_auto_reinvest))
        for entry in holdings.investments
    )
    return replace(holdings, investments=switched)


def _apply(holdings: Holdings, move: Move) -> Holdings:
    match move.operation:
        case Operation.FLEX_INVEST:
            return _add(_pay(holdings, choice.MAIN, move.ticker, -(move.amount or _ZERO)), move)
        case Operation.FLEX_WITHDRAW | Operation.FLEX_CLOSE:
            return _take(holdings, move)
        case Operation.TRANSFER:
            left = _pay(holdings, move.source, move.ticker, -(move.amount or _ZERO))
            return _pay(left, move.target, move.ticker, move.amount or _ZERO)
        case _:
            raise ValueError(f"{move.operation} does not stand in treasury plans")


def _pay(holdings: Holdings, account: str, ticker: str, amount: Decimal) -> Holdings:
    """Holdings with so much more, or less, in a balance."""
    balances = holdings.account(account)
    after = balances.get(ticker, _ZERO) + amount
    if amount < 0 and after < 0:
        raise ValueError(f"{account} holds {balances.get(ticker, _ZERO):f} {ticker}, less than {-amount:f}")
    changed = {**balances, ticker: after}
    match account:
        case choice.MAIN:
            return replace(holdings, main=changed)
        case choice.SPOT:
            return replace(holdings, spot=changed)
        case _:
            return replace(holdings, collateral=changed)


def _add(holdings: Holdings, move: Move) -> Holdings:
    amount = move.amount or _ZERO
    entries = list(holdings.investments)
    for at, entry in enumerate(entries):
        if entry.active and entry.plan_id == move.plan_id:
            reinvest = entry.with_auto_reinvest or move.with_reinvest
            entries[at] = replace(entry, invested=entry.invested + amount, with_auto_reinvest=reinvest)
            return replace(holdings, investments=tuple(entries))
    status = FlexInvestmentStatus.ACTIVE
    made = FlexInvestment("", move.plan_id, move.ticker, amount, move.with_reinvest, status, None, None)
    return replace(holdings, investments=(*entries, made))


def _take(holdings: Holdings, move: Move) -> Holdings:
    """Holdings with less, or nothing, in a plan and as much more in Main."""
    there = holdings.invested(move.ticker).get(move.plan_id, _ZERO)
    taken = there if move.operation is Operation.FLEX_CLOSE else move.amount or _ZERO
    if not 0 < taken <= there:
        raise ValueError(f"plan {move.plan_id} holds {there:f} {move.ticker}; {taken:f} cannot be withdrawn")
    entries, left = [], taken
    for entry in holdings.investments:
        if entry.active and entry.plan_id == move.plan_id:
            here = min(left, entry.invested)
            left -= here
            if entry.invested == here:
                continue
            entry = replace(entry, invested=entry.invested - here)
        entries.append(entry)
    return _pay(replace(holdings, investments=tuple(entries)), choice.MAIN, move.ticker, taken)


@dataclass(slots=True)
class _Books:
    """One asset while it is planned: what is where after the moves that were decided so far."""

    ticker: str
    wanted: TickerPolicy
    precision: int
    reserve: Decimal
    total: Decimal
    main: Decimal
    invested: dict[str, Decimal]
    plans: dict[str, FlexPlan]
    reinvesting: dict[str, bool]
    urgent: bool = False
    shortfall: Decimal = _ZERO
    taken: dict[str, Decimal] = field(default_factory=dict)
    added: dict[str, Decimal] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, holdings: Holdings, ticker: str, wanted: TickerPolicy, due: Decimal) -> _Books:
        """:param due: what liquidity needs claim in Main, on top of the reserve."""
        precision, total = holdings.precision(ticker), holdings.total(ticker)
        reserve = max(wanted.reserve, wanted.reserve_share * total) + due
        return cls(
            ticker=ticker,
            wanted=wanted,
            precision=precision,
            reserve=_up(reserve, precision),
            total=total,
            main=holdings.main.get(ticker, _ZERO),
            invested=holdings.invested(ticker),
            plans={plan.id: plan for plan in holdings.plans if plan.ticker == ticker},
            reinvesting={entry.plan_id: entry.with_auto_reinvest for entry in holdings.investments if entry.active},
            urgent=due > 0,
        )

    @property
    def rules(self) -> PlanRules:
        return self.wanted.plans

    @property
    def idle(self) -> Decimal:
        """What lies in Main above the reserve; below zero: what is missing."""
        return self.main - self.reserve

    @property
    def withdrawn(self) -> Decimal:
        return sum(self.taken.values(), _ZERO)

    def down(self, amount: Decimal) -> Decimal:
        return _down(amount, self.precision)

    def up(self, amount: Decimal) -> Decimal:
        return _up(amount, self.precision)

    def cap(self, plan_id: str) -> Decimal:
        """What the policy lets a plan hold at most; the plan's own maximum stands beside it."""
        if not self.rules.permits(plan_id):
            return _ZERO
        caps = [_INFINITE if self.rules.max_amount is None else self.rules.max_amount]
        if self.rules.max_share is not None:
            caps.append(self.rules.max_share * self.total)
        if self.rules.targets:
            caps.append(self._target(plan_id))
        return min(caps)

    def _target(self, plan_id: str) -> Decimal:
        """A plan's target. Where the reserve leaves less than all targets claim, each gets its part of that."""
        share, claimed = self.rules.targets[plan_id.lower()], sum(self.rules.targets.values(), _ZERO)
        free = max(_ZERO, self.total - self.reserve)
        return share * self.total if claimed * self.total <= free else self.down(share * free / claimed)

    def room(self, plan: FlexPlan) -> Decimal:
        """How much more a plan may take."""
        most = min(_most(plan), self.cap(plan.id)) - self.invested.get(plan.id, _ZERO)
        # Nothing can be invested beyond the total, and infinity cannot be rounded.
        return max(_ZERO, self.down(min(most, self.total)))

    def least(self, plan: FlexPlan) -> Decimal:
        """The smallest investment that the plan takes and that is worth making."""
        return max(plan.min_investment, self.wanted.min_move)

    def gives(self, plan_id: str, amount: Decimal) -> bool:
        """Whether a withdrawal leaves the plan's minimum or nothing."""
        left = self.invested[plan_id] - amount
        plan = self.plans.get(plan_id)
        return left == 0 or (plan is not None and left >= plan.min_investment)

    def cheapest_first(self) -> list[str]:
        """What is invested, in the order in which it is given up."""

        def price(plan_id: str) -> tuple[bool, Decimal, Decimal, str]:
            plan = self.plans.get(plan_id)
            rate = _INFINITE if plan is None else plan.max_rate
            return self.rules.permits(plan_id), rate, self.invested[plan_id], plan_id

        return sorted(self.invested, key=price)

    def take(self, plan_id: str, amount: Decimal, reason: str) -> None:
        """Decide a withdrawal; together with earlier ones of the same plan it is one move."""
        self.taken[plan_id] = self.taken.get(plan_id, _ZERO) + amount
        self.main += amount
        self.invested[plan_id] -= amount
        if not self.invested[plan_id]:
            del self.invested[plan_id]
        self.reasons.setdefault(plan_id, []).append(reason)

    def add(self, plan_id: str, amount: Decimal, reason: str) -> None:
        """Decide an investment."""
        self.added[plan_id] = amount
        self.main -= amount
        self.invested[plan_id] = self.invested.get(plan_id, _ZERO) + amount
        self.reasons.setdefault(plan_id, []).append(reason)

    def note(self, text: str) -> None:
        self.notes.append(f"{self.ticker}: {text}.")

    def withdrawals(self) -> list[PlannedMove]:
        """The withdrawals that were decided, one for each plan."""
        return [self._withdrawal(plan_id, amount) for plan_id, amount in self.taken.items()]

    def investments(self) -> list[PlannedMove]:
        """The investments that were decided, one for each plan."""
        return [self._investment(plan_id, amount) for plan_id, amount in self.added.items()]

    def _withdrawal(self, plan_id: str, amount: Decimal) -> PlannedMove:
        left = self.invested.get(plan_id, _ZERO)
        operation = Operation.FLEX_WITHDRAW if left else Operation.FLEX_CLOSE
        why = "; ".join(self.reasons[plan_id])
        after = f"{_plain(left)} stay in it" if left else "nothing stays in it"
        reason = f"{why}; {self._terms(plan_id)}; {after}."
        return PlannedMove(Move(operation, plan_id, self.ticker, _clean(amount)), reason)

    def _investment(self, plan_id: str, amount: Decimal) -> PlannedMove:
        reason = f"{'; '.join(self.reasons[plan_id])}; {self._terms(plan_id)}."
        wished = self.wanted.auto_reinvest
        # Said again for what is there: an investment that earns with reinvest keeps it.
        reinvest = self.reinvesting.get(plan_id, False) if wished is None else wished
        move = Move(Operation.FLEX_INVEST, plan_id, self.ticker, _clean(amount), with_reinvest=reinvest)
        return PlannedMove(move, reason)

    def _terms(self, plan_id: str) -> str:
        plan = self.plans.get(plan_id)
        if plan is None:
            return f"plan {plan_id} is no longer on offer"
        most = "no maximum" if plan.max_investment is None else f"maximum {_plain(plan.max_investment)}"
        return f"plan {plan_id}: max_rate {_plain(plan.max_rate)}, minimum {_plain(plan.min_investment)}, {most}"

    def switches(self) -> dict[str, bool]:
        """Investments that stay and whose auto-reinvest is not as it is wished."""
        wished = self.wanted.auto_reinvest
        if wished is None:
            return {}
        held = (plan_id for plan_id in self.invested if plan_id in self.reinvesting)
        return {plan_id: wished for plan_id in sorted(held) if self.reinvesting[plan_id] is not wished}


def _each_ticker(
    holdings: Holdings, policy: Policy, now: pendulum.DateTime, planner: Callable[[_Books], None]
) -> TreasuryPlan:
    if now.utcoffset() is None:
        raise WhiteBitValidationError("now has no time zone: give an aware time.")
    with _exact():
        of_ticker, nothing = holdings.by_ticker(), replace(holdings, plans=(), investments=())
        all_books = [
            _Books.of(of_ticker.get(ticker, nothing), ticker, wanted, wanted.due(now))
            for ticker, wanted in sorted(policy.tickers.items())
        ]
        for books in all_books:
            planner(books)
        withdrawals = [move for books in all_books for move in books.withdrawals()]
        return TreasuryPlan(
            moves=(*withdrawals, *(move for books in all_books for move in books.investments())),
            notes=tuple(note for books in all_books for note in books.notes),
            shortfalls={books.ticker: _clean(books.shortfall) for books in all_books if books.shortfall},
            auto_reinvest={plan_id: wish for books in all_books for plan_id, wish in books.switches().items()},
        )


def _sweep(books: _Books) -> None:
    if books.idle < 0:
        books.note(f"Main holds {_plain(books.main)}, less than the reserve of {_plain(books.reserve)}")
        return
    _fill(books, follow_rate=False)


def _rebalance(books: _Books) -> None:
    _trim(books)
    _restore(books)
    _fill(books, follow_rate=books.rules.follow_rate)


def _trim(books: _Books) -> None:
    """Withdraw what the policy does not let plans hold."""
    for plan_id, held in sorted(books.invested.items()):
        cap = books.cap(plan_id)
        if held <= cap:
            continue
        excess = min(held, books.up(held - cap))
        if excess < books.wanted.min_move:
            books.note(
                f"plan {plan_id} keeps {_plain(excess)} more than the policy lets it hold, less than the smallest move "
                f"of {_plain(books.wanted.min_move)}"
            )
            continue
        # What remained could be less than the plan's minimum: then nothing may remain.
        books.take(plan_id, excess if books.gives(plan_id, excess) else held, _over(books, plan_id, held, cap))


def _over(books: _Books, plan_id: str, held: Decimal, cap: Decimal) -> str:
    if not books.rules.permits(plan_id):
        return f"The policy does not permit this plan, which holds {_plain(held)} {books.ticker}"
    limit = "target" if books.rules.targets else "cap"
    return f"This plan holds {_plain(held)} {books.ticker}, more than its {limit} of {_plain(books.down(cap))}"


def _restore(books: _Books) -> None:
    """Withdraw what is missing in Main."""
    missing = -books.idle
    if missing <= 0:
        return
    if books.invested and missing < books.wanted.min_move and not books.urgent:
        books.note(
            f"Main is {_plain(missing)} below the reserve of {_plain(books.reserve)}, less than the smallest move of "
            f"{_plain(books.wanted.min_move)}"
        )
        return
    reserve = f"the reserve of {_plain(books.reserve)}" + (", part of which falls due" if books.urgent else "")
    _withdraw(books, missing, f"Main would hold {_plain(books.main)} {books.ticker}, {_plain(missing)} below {reserve}")
    if books.idle < 0:
        books.shortfall = -books.idle
        books.note(f"{_plain(books.shortfall)} are missing for {reserve}, even with all that can be withdrawn")


def _withdraw(books: _Books, needed: Decimal, reason: str) -> None:
    for plan_id, amount in _sources(books, needed).items():
        books.take(plan_id, amount, reason)


def _sources(books: _Books, needed: Decimal) -> dict[str, Decimal]:
    """Where to withdraw what is needed; :func:`plan_raise` describes the rule.

    What is too much in the end is always less than the minimum of every plan that was closed, and nothing if one gives
    a part: so it cannot be invested again where it came from, and a plan made afterwards does not undo this one.
    """
    order = books.cheapest_first()
    chosen: dict[str, Decimal] = {}
    for plan_id in order:
        amount = _part(books, plan_id, needed)
        if amount > 0:
            chosen[plan_id] = amount
            needed -= amount
    if needed > 0:
        _close_one(books, order, chosen, needed)
    return {plan_id: chosen[plan_id] for plan_id in order if chosen.get(plan_id)}


def _part(books: _Books, plan_id: str, needed: Decimal) -> Decimal:
    """What a plan can give without giving too much."""
    held, plan = books.invested[plan_id], books.plans.get(plan_id)
    if held <= needed:
        return held
    exact = books.up(max(_ZERO, needed))
    if exact <= held and books.gives(plan_id, exact):
        return exact
    return _ZERO if plan is None else max(_ZERO, books.down(held - plan.min_investment))


def _close_one(books: _Books, order: list[str], chosen: dict[str, Decimal], needed: Decimal) -> None:
    """Close what gives the least too much, and leave that in the others as far as their minimum permits."""
    rest = {plan_id: books.invested[plan_id] - chosen.get(plan_id, _ZERO) for plan_id in order}
    able = [plan_id for plan_id in order if rest[plan_id] > 0]
    if not able:
        return
    closed = min(able, key=lambda plan_id: rest[plan_id])
    chosen[closed] = books.invested[closed]
    excess = rest[closed] - needed
    for plan_id in reversed(order):
        if plan_id == closed or plan_id not in chosen or excess <= 0:
            continue
        less = max(_ZERO, books.up(chosen[plan_id] - excess))
        # Nothing may be taken even from less than the minimum; the rest must leave the minimum.
        if less < chosen[plan_id] and (less == 0 or books.gives(plan_id, less)):
            excess -= chosen[plan_id] - less
            chosen[plan_id] = less


def _fill(books: _Books, *, follow_rate: bool) -> None:
    """Invest what is idle, and with ``follow_rate`` what earns less, in the permitted plans in their order."""
    permitted = _permitted(books)
    for plan in permitted:
        if plan.id not in books.taken:
            _invest(books, plan, follow_rate=follow_rate)
    idle = books.down(max(_ZERO, books.idle))
    if idle > 0:
        why = "; ".join(_refusal(books, plan) for plan in permitted) or "no permitted plan is on offer"
        books.note(f"{_plain(idle)} stay idle in Main: {why}")
    offered = {plan_id.lower() for plan_id in books.plans}
    for name in books.rules.named:
        if name not in offered:
            books.note(f"plan {name}, which the policy names, is not on offer")


def _refusal(books: _Books, plan: FlexPlan) -> str:
    """Why a plan does not take what is idle."""
    room, least = books.room(plan), books.least(plan)
    if room <= 0:
        return f"plan {plan.id} is at its maximum or cap"
    if plan.id in books.taken:
        return f"plan {plan.id} is being withdrawn from"
    most = f" and {_plain(room)} more at most" if room < least else ""
    return f"plan {plan.id} takes {_plain(least)} at least{most}"


def _permitted(books: _Books) -> list[FlexPlan]:
    """The plans that may be invested in, in the order in which they are filled."""
    plans = [plan for plan in books.plans.values() if books.rules.permits(plan.id)]
    if books.rules.choose is Choose.LIST:
        return sorted(plans, key=lambda plan: (books.rules.only.index(plan.id.lower()), plan.id))
    return sorted(plans, key=lambda plan: (-plan.max_rate, -_most(plan), plan.id))


def _most(plan: FlexPlan) -> Decimal:
    return _INFINITE if plan.max_investment is None else plan.max_investment


def _invest(books: _Books, plan: FlexPlan, *, follow_rate: bool) -> None:
    """Decide an investment in a plan, if one is possible."""
    idle, room = max(_ZERO, books.idle), books.room(plan)
    gifts = _gifts(books, plan, room - idle) if follow_rate else {}
    given = sum(gifts.values(), _ZERO)
    amount = min(room, books.down(max(_ZERO, books.idle + given)))
    if amount <= 0 or amount < books.least(plan):
        return
    reason = f"{_plain(idle)} {books.ticker} lie in Main above the reserve of {_plain(books.reserve)}"
    for donor, gift in gifts.items():
        books.take(donor, gift, f"Plan {plan.id} pays more, max_rate {_plain(plan.max_rate)}")
    if gifts:
        reason += f" and {_plain(given)} come from plans that pay less"
    books.add(plan.id, amount, reason)


def _gifts(books: _Books, plan: FlexPlan, room: Decimal) -> dict[str, Decimal]:
    """What plans that pay less can give to a plan."""
    gifts: dict[str, Decimal] = {}
    for donor in books.cheapest_first():
        terms = books.plans.get(donor)
        if terms is None or not _gains(books.rules, terms, plan):
            continue
        held = books.invested[donor]
        amount = held if held <= room else books.down(min(room, held - terms.min_investment))
        if amount > 0 and amount >= books.wanted.min_move:
            gifts[donor] = amount
            room -= amount
    return gifts


def _gains(rules: PlanRules, donor: FlexPlan, plan: FlexPlan) -> bool:
    gain = plan.max_rate - donor.max_rate
    return gain > 0 and gain >= rules.min_gain and rules.permits(donor.id)


def _transfer(ticker: str, moved: Decimal, target: str, amount: Decimal, there: Decimal) -> PlannedMove:
    reason = f"{_plain(amount)} {ticker} are needed in {target}, which holds {_plain(there)}."
    move = Move(Operation.TRANSFER, "", ticker, _clean(moved), source=choice.MAIN, target=target)
    return PlannedMove(move, reason)


@contextmanager
def _exact() -> Iterator[None]:
    """Arithmetic with so many digits that nothing of an amount is rounded away."""
    with localcontext() as context:
        context.prec = _DIGITS
        yield


def _down(amount: Decimal, decimals: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN)


def _up(amount: Decimal, decimals: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_UP)


def _plain(amount: Decimal) -> str:
    """Digits without an exponent or trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _clean(amount: Decimal) -> Decimal:
    return Decimal(_plain(amount))


def without_made(plan: TreasuryPlan, made: Sequence[Receipt]) -> TreasuryPlan:
    """What is left of a plan whose moves are not to be planned anew.

    :param plan: the whole plan.
    :param made: receipts of moves that stand in it.
    """
    left = [(receipt.operation, receipt.plan_id or "", receipt.ticker) for receipt in made]
    moves = []
    for planned in plan.moves:
        name = (str(planned.move.operation), planned.move.plan_id, planned.move.ticker)
        if name in left:
            left.remove(name)
        else:
            moves.append(planned)
    return replace(plan, moves=tuple(moves))
