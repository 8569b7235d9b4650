"""Fixed plans: a term, interest at its end, none after an early close. Vendor page: Lending (Fixed plans).

If the vendor's pages do not say, the sandbox decides:

- ``percent`` is the interest over the whole term. It is paid on the day the term ends, with the principal.
- Interest is cut off at the last decimal of the asset in which it is paid.
- When an investment ends, its amount and its interest are available to the plan again.
- Plans that are switched off, and special offers, are not listed. All others are, with any status (the page: "with
  active status").
- An investment keeps the terms under which it was made.
- ``updated`` is the second of the last change; for an investment that ran to its end, that of the payment.
- Investments are listed newest first, payments latest first.
- The identifier of an investment in a close or a filter must be a string.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from dataclasses import fields as columns
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.sandbox.answers import Success, inner, plain
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.fields import Fields, text
from airflow_provider_whitebit.sandbox.fields import amount as read_amount
from airflow_provider_whitebit.sandbox.ledger import INTEREST, Ledger, LedgerError
from airflow_provider_whitebit.sandbox.lending import Lending
from airflow_provider_whitebit.sandbox.limits import LIST_PAGE, MINIMUM_FIXED_AMOUNT, MOST_DECIMALS
from airflow_provider_whitebit.sandbox.plans import (
    ACTIVE_PLAN,
    INACTIVE_PLAN,
    NO_COINS,
    PAUSED_PLAN,
    FixedPlan,
    Scenario,
)
from airflow_provider_whitebit.sandbox.quirks import Quirks

ACTIVE, CLOSED = 1, 2
MINUTE_MS = 60_000
_NEVER = 1 << 62
_REFUSED = {
    NO_COINS: "There are no coins left in the plan",
    INACTIVE_PLAN: "Plan is inactive",
    PAUSED_PLAN: "Plan is paused",
}
_TOO_MUCH = (
    "The amount you are trying to invest is bigger than the amount left in this SMART plan. "
    "Please try investing a smaller amount."
)
_PAYMENT = ("plan", "investment", "amount", "ticker", "at_ms")


@dataclass(frozen=True, slots=True)
class FixedInvestment:
    """One investment, as the ledger keeps it.

    :param terms: the plan as it was shown at the time, as JSON text.
    :param interest: what the end of the term will pay, in ``interest_ticker``.
    """

    id: str
    account: str
    plan: str
    ticker: str
    terms: str
    status: int
    created_ms: int
    updated_ms: int
    payment_ms: int
    amount: Decimal
    interest_ticker: str
    interest: Decimal
    interest_paid: Decimal

    @property
    def pot(self) -> str:
        """The ledger account that holds the invested amount."""
        return f"fixed:{self.id}"


_INVESTMENT = tuple(column.name for column in columns(FixedInvestment))


class Fixed(Lending[FixedPlan]):
    """The rules of Fixed plans. Its public methods are the vendor's five calls, and what time brings."""

    def __init__(self, ledger: Ledger, scenario: Scenario, seed: str, faults: Faults, quirks: Quirks) -> None:
        made = ledger.count("fixed_investment")
        super().__init__(ledger, scenario, scenario.fixed_plans, f"{seed}:fixed:{made}", faults, quirks)
        self._next_payment_ms: int | None = None

    def list_plans(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        ticker = fields.selected("ticker", self.assets)
        fields.check()
        full = self._full_plans(caller)
        shown = [
            self._show_plan(plan) | ({"status": PAUSED_PLAN} if plan.id in full else {})
            for plan in self.plans.values()
            if not plan.disabled and not plan.special and ticker in (None, plan.ticker)
            if not (self.quirks.vanished_plans and plan.id in full) and not self.quirks.delisted(plan.ticker)
        ]
        return 200, [plan for plan in shown if plan["status"] == ACTIVE_PLAN or not self.quirks.active_plans]

    def list_investments(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        name = fields.existing("id", lambda name: self._find(caller.account, name))
        ticker = fields.selected("ticker", self.assets)
        status = fields.number("status", (ACTIVE, CLOSED))
        limit, offset = self.quirks.page(fields.page(LIST_PAGE))
        fields.check()
        visible_until = now_ms - self.faults.history_lag_ms
        found = self._select(
            order=self.quirks.order, account=caller.account, ticker=ticker, id=name, created_until=visible_until
        )
        records = [self._show(investment, visible_until) for investment in found]
        if status is not None:
            records = [record for record in records if record["status"] == status]
        return 200, {"offset": offset, "limit": limit, "records": records[offset : offset + limit]}

    def list_payments(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        where = {
            "account=?": caller.account,
            "at_ms<=?": now_ms - self.faults.history_lag_ms,
            "plan=?": fields.selected("planId", self.plans),
            "ticker=?": fields.selected("ticker", self.assets),
        }
        limit, offset = self.quirks.page(fields.page(LIST_PAGE))
        fields.check()
        tail = f"ORDER BY at_ms {self.quirks.order}, id {self.quirks.order} LIMIT ? OFFSET ?"
        records = [
            {"planId": plan, "investmentId": name, "amount": amount, "ticker": ticker, "timestamp": at_ms // 1000}
            for plan, name, amount, ticker, at_ms in self.ledger.select(
                "fixed_payment", _PAYMENT, where, tail, limit, offset
            )
        ]
        return 200, {"offset": offset, "limit": limit, "records": records}

    def invest(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        plan, amount = self._read_plan_and_amount(fields)
        if plan.id in self._full_plans(caller):
            fields.wrong("planId", _REFUSED[PAUSED_PLAN if self.quirks.paused_plans else INACTIVE_PLAN])
            fields.check()
        if not plan.several and self._select(account=caller.account, plan=plan.id, status=ACTIVE):
            raise inner(1, amount="The investment in this investment plan already exists")
        self._check_size(plan, amount)
        self._check_balance(caller, plan, amount)
        interest = self._cut_off(amount * plan.percent / 100 / plan.interest_ratio, plan.interest_ticker)
        if plan.interest_fund is not None:
            promised = sum((one.interest for one in self._select(plan=plan.id, status=ACTIVE)), Decimal(0))
            if promised + interest > plan.interest_fund:
                raise inner(5, amount="Not enough money to pay interest")
        investment = FixedInvestment(
            id=self._name(),
            account=caller.account,
            plan=plan.id,
            ticker=plan.ticker,
            terms=json.dumps(self._show_plan(plan)),
            status=ACTIVE,
            created_ms=now_ms,
            updated_ms=now_ms,
            payment_ms=now_ms + plan.duration * MINUTE_MS,
            amount=amount,
            interest_ticker=plan.interest_ticker,
            interest=interest,
            interest_paid=Decimal(0),
        )
        self.ledger.enter(plan.ticker, amount, caller.account, investment.pot, "fixed invest", now_ms)
        self.ledger.insert("fixed_investment", **asdict(investment))
        self._next_payment_ms = None
        return 201, {"id": investment.id}

    def close(self, caller: Caller, now_ms: int) -> Success:
        fields, name = Fields(caller.params), text(caller.params.get("id"))
        investment = self._find(caller.account, name)
        if investment is None:
            fields.wrong("id", "Investment not found" if name else "The id field is required.")
        fields.check()
        assert investment is not None
        if investment.status == CLOSED:
            raise inner(error="Investment is already closed")
        self._return(investment, now_ms, "fixed close")
        return 200, {}

    def bring_up_to(self, now_ms: int) -> None:
        """Pay out every investment whose term has ended."""
        if self._next_payment_ms is None:
            (first,) = self.ledger.select("fixed_investment", ("MIN(payment_ms)",), {"status=?": ACTIVE}).fetchone()
            self._next_payment_ms = _NEVER if first is None else int(first)
        if now_ms < self._next_payment_ms:
            return
        with self.ledger.transaction():
            due = [one for one in self._select(status=ACTIVE) if one.payment_ms <= now_ms]
            for investment in sorted(due, key=lambda one: one.payment_ms):
                self._pay(investment)
        self._next_payment_ms = None

    def show_all(self) -> list[dict[str, Any]]:
        """Return the present investments of all users as JSON, newest first."""
        return [self._show(investment, _NEVER) for investment in self._select()]

    def audit(self) -> None:
        """Check what each investment holds.

        :raises LedgerError: if it differs from what it should hold.
        """
        for investment in self._select():
            expected = investment.amount if investment.status == ACTIVE else Decimal(0)
            if self.ledger.balance(investment.pot, investment.ticker) != expected:
                raise LedgerError(f"{investment.id} does not hold {expected}")

    def _read_plan_and_amount(self, fields: Fields) -> tuple[FixedPlan, Decimal]:
        """Read plan and amount of an invest, and check what does not depend on the account."""
        plan, amount = fields.required("planId", self.plans), fields.amount(MOST_DECIMALS)
        if amount is not None and amount < MINIMUM_FIXED_AMOUNT:
            fields.wrong("amount", f"The amount must be at least {plain(MINIMUM_FIXED_AMOUNT)}.")
        fields.check()
        assert plan is not None and amount is not None
        left = self._left(plan)
        if plan.disabled:
            fields.wrong("planId", "Plan is disabled")
        elif plan.special:
            fields.wrong("planId", "Special offers are not available via API")
        elif plan.status != ACTIVE_PLAN:
            fields.wrong("planId", _REFUSED[plan.status])
        elif read_amount(fields.params["amount"], self.assets[plan.ticker].precision) is None:
            fields.wrong("amount", "Invalid decimal amount")
        elif left is not None and left <= 0:
            fields.wrong("planId", _REFUSED[NO_COINS])
        elif left is not None and amount > left:
            fields.wrong("amount", _TOO_MUCH)
        fields.check()
        return plan, amount

    def _full_plans(self, caller: Caller) -> set[str]:
        """The plans that a quirk closes for a caller who holds money in them."""
        if not (self.quirks.paused_plans or self.quirks.vanished_plans):
            return set()
        return {held.plan for held in self._select(account=caller.account, status=ACTIVE)}

    def _left(self, plan: FixedPlan) -> Decimal | None:
        """Return what may still be invested in a plan; ``None``: any amount."""
        if plan.coins is None:
            return None
        return plan.coins - sum((one.amount for one in self._select(plan=plan.id, status=ACTIVE)), Decimal(0))

    def _pay(self, investment: FixedInvestment) -> None:
        """Pay interest and principal at the end of the term."""
        at_ms, ticker, interest = investment.payment_ms, investment.interest_ticker, investment.interest
        if interest > 0:
            self.ledger.enter(ticker, interest, INTEREST, investment.account, "fixed interest", at_ms)
            self.ledger.insert(
                "fixed_payment",
                at_ms=at_ms,
                account=investment.account,
                plan=investment.plan,
                investment=investment.id,
                ticker=ticker,
                amount=plain(interest),
            )
        self._return(investment, at_ms, "fixed principal", paid=interest)

    def _return(self, investment: FixedInvestment, at_ms: int, reason: str, *, paid: Decimal = Decimal(0)) -> None:
        """Return the principal and close the investment."""
        self.ledger.enter(investment.ticker, investment.amount, investment.pot, investment.account, reason, at_ms)
        self.ledger.update("fixed_investment", investment.id, status=CLOSED, updated_ms=at_ms, interest_paid=paid)
        self._next_payment_ms = None

    def _find(self, account: str, name: str | None) -> FixedInvestment | None:
        return next(iter(self._select(account=account, id=name)), None) if name else None

    def _select(self, *, order: str = "DESC", created_until: int | None = None, **equal: Any) -> list[FixedInvestment]:
        where = {f"{name}=?": value for name, value in equal.items()} | {"created_ms<=?": created_until}
        rows = self.ledger.select("fixed_investment", _INVESTMENT, where, f"ORDER BY rowid {order}")
        return [_read(row) for row in rows]

    def _show_plan(self, plan: FixedPlan) -> dict[str, Any]:
        left = self._left(plan)
        possible = plan.maximum if left is None else max(Decimal(0), min(left, plan.maximum))
        return {
            "id": plan.id,
            "ticker": plan.ticker,
            "status": NO_COINS if left is not None and left <= 0 and plan.status == ACTIVE_PLAN else plan.status,
            "percent": plain(plan.percent),
            "duration": plan.duration,
            "interestTicker": plan.interest_ticker,
            "interestRatio": plain(plan.interest_ratio),
            "minInvestment": plain(plan.minimum),
            "maxInvestment": plain(plan.maximum),
            "maxPossibleInvestment": plain(possible),
        }

    def _show(self, investment: FixedInvestment, visible_until: int) -> dict[str, Any]:
        ended = investment.status == CLOSED and investment.updated_ms <= visible_until
        return {
            "id": investment.id,
            "plan": json.loads(investment.terms),
            "status": CLOSED if ended else ACTIVE,
            "created": investment.created_ms // 1000,
            "updated": (investment.updated_ms if ended else investment.created_ms) // 1000,
            "paymentTime": investment.payment_ms // 1000,
            "amount": plain(investment.amount),
            "interestPaid": plain(investment.interest_paid) if ended else "0",
        }


def _read(row: tuple[Any, ...]) -> FixedInvestment:
    values = dict(zip(_INVESTMENT, row, strict=True))
    return FixedInvestment(**values | {name: Decimal(values[name]) for name in ("amount", "interest", "interest_paid")})
