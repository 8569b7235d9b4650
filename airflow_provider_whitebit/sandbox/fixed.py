"""Fixed plans: a term, interest at its end, none for those who leave early. Vendor page: Lending (Fixed plans).

Where the vendor's pages leave something open, the sandbox chooses:

- ``percent`` is the interest over the whole term, and is paid on the day the term ends, with the principal.
- Interest is cut off at the last decimal of the asset that it is paid in.
- What is left of a plan's coins grows again when an investment ends; so does what is left for its interest.
- Plans that are switched off, and special offers, are not listed.
- An investment keeps the terms under which it was made.
- ``updated`` is the second of the last change; for an investment that ran to its end, that of the payment.
- Investments are listed newest first, payments latest first.
- The identifier of an investment that is closed or queried must be a string.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any

from airflow_provider_whitebit.sandbox import fields
from airflow_provider_whitebit.sandbox.answers import Validation, inner
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.fields import Success, must_be_among
from airflow_provider_whitebit.sandbox.ledger import INTEREST, Ledger, LedgerError
from airflow_provider_whitebit.sandbox.plans import (
    ACTIVE_PLAN,
    INACTIVE_PLAN,
    NO_COINS,
    PAUSED_PLAN,
    FixedPlan,
    Scenario,
)

ACTIVE, CLOSED = 1, 2
MINUTE_MS = 60_000
_SMALLEST = Decimal("0.000001")
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
_COLUMNS = (
    *("id", "account", "plan", "ticker", "terms", "status", "created_ms", "updated_ms", "payment_ms"),
    *("amount", "interest_ticker", "interest", "interest_paid"),
)


@dataclass(frozen=True, slots=True)
class FixedInvestment:
    """One row of the books. ``interest`` is what the end of the term will bring, in ``interest_ticker``."""

    id: str
    account: str
    plan: str
    ticker: str
    terms: dict[str, Any]
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
        """The ledger's name of what is invested."""
        return f"fixed:{self.id}"


@dataclass
class Fixed:
    """The rules of Fixed plans over the books.

    :param ledger: the books.
    :param scenario: assets and plans.
    :param seed: decides identifiers.
    :param lag_ms: tells how late changes appear in the lists.
    """

    ledger: Ledger
    scenario: Scenario
    seed: int
    lag_ms: Callable[[], int] = lambda: 0
    plans: dict[str, FixedPlan] = field(init=False)
    _random: random.Random = field(init=False)
    _next_payment_ms: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.plans = {plan.id: plan for plan in self.scenario.fixed_plans}
        rows = self.ledger.db.execute("SELECT COUNT(*) FROM fixed_investment").fetchone()[0]
        self._random = random.Random(f"{self.seed}:fixed:{rows}")

    def set_plan(self, identifier: str, **changes: Any) -> FixedPlan:
        """Change a plan while the sandbox runs.

        :raises KeyError: if there is no such plan.
        """
        self.plans[identifier] = replace(self.plans[identifier], **changes)
        return self.plans[identifier]

    def list_plans(self, caller: Caller, now_ms: int) -> Success:
        wrong, ticker = Validation(), caller.params.get("ticker")
        must_be_among(self.scenario.assets, caller.params, "ticker", wrong)
        wrong.done()
        return 200, [
            self._show_plan(plan)
            for plan in self.plans.values()
            if not plan.disabled and not plan.special and (ticker is None or plan.ticker == ticker)
        ]

    def list_investments(self, caller: Caller, now_ms: int) -> Success:
        wrong, params = Validation(), caller.params
        if params.get("id") is not None and not self._find(caller.account, params["id"]):
            wrong.add("id", "The selected id is invalid.")
        must_be_among(self.scenario.assets, params, "ticker", wrong)
        status = fields.whole_number(params.get("status"))
        if params.get("status") is not None and status not in (ACTIVE, CLOSED):
            wrong.add("status", "The selected status is invalid.")
        limit, offset = fields.page(params, wrong, 100)
        wrong.done()
        seen_until = now_ms - self.lag_ms()
        found = self._select(
            account=caller.account, ticker=params.get("ticker"), id=params.get("id"), created_until=seen_until
        )
        records = [self._show(investment, seen_until) for investment in found]
        if status is not None:
            records = [record for record in records if record["status"] == status]
        return 200, {"offset": offset, "limit": limit, "records": records[offset : offset + limit]}

    def list_payments(self, caller: Caller, now_ms: int) -> Success:
        wrong, params = Validation(), caller.params
        must_be_among(self.plans, params, "planId", wrong)
        must_be_among(self.scenario.assets, params, "ticker", wrong)
        limit, offset = fields.page(params, wrong, 100)
        wrong.done()
        conditions, values = ["account=?", "at_ms<=?"], [caller.account, now_ms - self.lag_ms()]
        for name, column in (("planId", "plan"), ("ticker", "ticker")):
            if params.get(name) is not None:
                conditions.append(f"{column}=?")
                values.append(params[name])
        rows = self.ledger.db.execute(
            f"SELECT plan, investment, amount, ticker, at_ms FROM fixed_payment WHERE {' AND '.join(conditions)} "
            "ORDER BY at_ms DESC, id DESC LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        records = [
            {"planId": plan, "investmentId": name, "amount": amount, "ticker": ticker, "timestamp": at_ms // 1000}
            for plan, name, amount, ticker, at_ms in rows
        ]
        return 200, {"offset": offset, "limit": limit, "records": records}

    def invest(self, caller: Caller, now_ms: int) -> Success:
        plan, amount = self._wanted(caller)
        if not plan.several and self._select(account=caller.account, plan=plan.id, status=ACTIVE):
            raise inner(1, amount="The investment in this investment plan already exists")
        if amount < plan.minimum:
            raise inner(2, amount="Amount is less than min investment")
        if amount > plan.maximum:
            raise inner(3, amount="Amount is more than max investment")
        available = self.ledger.balance(caller.account, plan.ticker)
        if available < amount:
            raise inner(4, amount=f"Available {fields.plain(available)} < {fields.plain(amount)}")
        interest = self._interest(plan, amount)
        if plan.interest_fund is not None:
            promised = sum((one.interest for one in self._select(plan=plan.id, status=ACTIVE)), Decimal(0))
            if promised + interest > plan.interest_fund:
                raise inner(5, amount="Not enough money to pay interest")
        identifier = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        investment = FixedInvestment(
            id=identifier,
            account=caller.account,
            plan=plan.id,
            ticker=plan.ticker,
            terms=self._show_plan(plan),
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
        self._insert(investment)
        self._next_payment_ms = None
        return 201, {"id": identifier}

    def close(self, caller: Caller, now_ms: int) -> Success:
        wrong, identifier = Validation(), fields.text(caller.params.get("id"))
        if not identifier:
            wrong.add("id", "The id field is required.")
        investment = self._find(caller.account, identifier)
        if identifier and investment is None:
            wrong.add("id", "Investment not found")
        wrong.done()
        assert investment is not None
        if investment.status == CLOSED:
            raise inner(error="Investment is already closed")
        self._return(investment, now_ms, "fixed close")
        return 200, {}

    def bring_up_to(self, now_ms: int) -> None:
        """Pay out every investment whose term has ended."""
        if self._next_payment_ms is None:
            row = self.ledger.db.execute(
                "SELECT MIN(payment_ms) FROM fixed_investment WHERE status=?", (ACTIVE,)
            ).fetchone()
            self._next_payment_ms = _NEVER if row[0] is None else int(row[0])
        if now_ms < self._next_payment_ms:
            return
        with self.ledger.transaction():
            due = [one for one in self._select(status=ACTIVE) if one.payment_ms <= now_ms]
            for investment in sorted(due, key=lambda one: one.payment_ms):
                self._pay(investment)
        self._next_payment_ms = None

    def show_all(self) -> list[dict[str, Any]]:
        """Everybody's investments as they are now, as JSON, newest first."""
        return [self._show(investment, _NEVER) for investment in self._select()]

    def audit(self) -> None:
        """:raises LedgerError: if an investment does not hold what it should."""
        for investment in self._select():
            expected = investment.amount if investment.status == ACTIVE else Decimal(0)
            if self.ledger.balance(investment.pot, investment.ticker) != expected:
                raise LedgerError(f"{investment.id} does not hold {expected}")

    def _wanted(self, caller: Caller) -> tuple[FixedPlan, Decimal]:
        """Plan and amount of an investment, as far as they can be judged without the account."""
        wrong, params = Validation(), caller.params
        plan = self.plans.get(fields.text(params.get("planId")) or "")
        if plan is None:
            wrong.add("planId", "The selected planId is invalid.")
        amount = fields.amount(params.get("amount"), 18)
        if amount is None:
            wrong.add("amount", "The amount field must be a valid number")
        elif amount < _SMALLEST:
            wrong.add("amount", "The amount must be at least 0.000001.")
        wrong.done()
        assert plan is not None and amount is not None
        if plan.disabled:
            wrong.add("planId", "Plan is disabled")
        elif plan.special:
            wrong.add("planId", "Special offers are not available via API")
        elif plan.status != ACTIVE_PLAN:
            wrong.add("planId", _REFUSED[plan.status])
        elif fields.amount(params.get("amount"), self.scenario.assets[plan.ticker].precision) is None:
            wrong.add("amount", "Invalid decimal amount")
        else:
            left = self._left(plan)
            if left is not None and left <= 0:
                wrong.add("planId", _REFUSED[NO_COINS])
            elif left is not None and amount > left:
                wrong.add("amount", _TOO_MUCH)
        wrong.done()
        return plan, amount

    def _interest(self, plan: FixedPlan, amount: Decimal) -> Decimal:
        unit = Decimal(1).scaleb(-self.scenario.assets[plan.interest_ticker].precision)
        return (amount * plan.percent / 100 / plan.interest_ratio).quantize(unit, ROUND_DOWN)

    def _left(self, plan: FixedPlan) -> Decimal | None:
        """What may still be invested in a plan; ``None``: any amount."""
        if plan.coins is None:
            return None
        return plan.coins - sum((one.amount for one in self._select(plan=plan.id, status=ACTIVE)), Decimal(0))

    def _pay(self, investment: FixedInvestment) -> None:
        at_ms = investment.payment_ms
        if investment.interest > 0:
            self.ledger.enter(
                investment.interest_ticker, investment.interest, INTEREST, investment.account, "fixed interest", at_ms
            )
            self.ledger.db.execute(
                "INSERT INTO fixed_payment (at_ms, account, plan, investment, ticker, amount) VALUES (?,?,?,?,?,?)",
                (
                    at_ms,
                    investment.account,
                    investment.plan,
                    investment.id,
                    investment.interest_ticker,
                    fields.plain(investment.interest),
                ),
            )
        self._return(investment, at_ms, "fixed principal", paid=investment.interest)

    def _return(self, investment: FixedInvestment, at_ms: int, reason: str, *, paid: Decimal = Decimal(0)) -> None:
        self.ledger.enter(investment.ticker, investment.amount, investment.pot, investment.account, reason, at_ms)
        self.ledger.db.execute(
            "UPDATE fixed_investment SET status=?, updated_ms=?, interest_paid=? WHERE id=?",
            (CLOSED, at_ms, format(paid, "f"), investment.id),
        )
        self._next_payment_ms = None

    def _find(self, account: str, identifier: Any) -> FixedInvestment | None:
        name = fields.text(identifier)
        return next(iter(self._select(account=account, id=name)), None) if name else None

    def _select(self, *, created_until: int | None = None, **where: Any) -> list[FixedInvestment]:
        given = {f"{name}=?": value for name, value in where.items() if value is not None}
        if created_until is not None:
            given["created_ms<=?"] = created_until
        condition = " AND ".join(given) or "1"
        query = f"SELECT {', '.join(_COLUMNS)} FROM fixed_investment WHERE {condition} ORDER BY rowid DESC"
        return [_read(row) for row in self.ledger.db.execute(query, tuple(given.values()))]

    def _insert(self, investment: FixedInvestment) -> None:
        values = (_kept(getattr(investment, name)) for name in _COLUMNS)
        self.ledger.db.execute(
            f"INSERT INTO fixed_investment ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})",
            tuple(values),
        )

    def _show_plan(self, plan: FixedPlan) -> dict[str, Any]:
        left = self._left(plan)
        possible = plan.maximum if left is None else max(Decimal(0), min(left, plan.maximum))
        return {
            "id": plan.id,
            "ticker": plan.ticker,
            "status": NO_COINS if left is not None and left <= 0 and plan.status == ACTIVE_PLAN else plan.status,
            "percent": fields.plain(plan.percent),
            "duration": plan.duration,
            "interestTicker": plan.interest_ticker,
            "interestRatio": fields.plain(plan.interest_ratio),
            "minInvestment": fields.plain(plan.minimum),
            "maxInvestment": fields.plain(plan.maximum),
            "maxPossibleInvestment": fields.plain(possible),
        }

    def _show(self, investment: FixedInvestment, seen_until: int) -> dict[str, Any]:
        ended = investment.status == CLOSED and investment.updated_ms <= seen_until
        changed_ms = investment.updated_ms if ended else investment.created_ms
        return {
            "id": investment.id,
            "plan": investment.terms,
            "status": CLOSED if ended else ACTIVE,
            "created": investment.created_ms // 1000,
            "updated": changed_ms // 1000,
            "paymentTime": investment.payment_ms // 1000,
            "amount": fields.plain(investment.amount),
            "interestPaid": fields.plain(investment.interest_paid) if ended else "0",
        }


def _kept(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value) if isinstance(value, dict) else value


def _read(row: tuple[Any, ...]) -> FixedInvestment:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["terms"] = json.loads(values["terms"])
    for name in ("amount", "interest", "interest_paid"):
        values[name] = Decimal(values[name])
    return FixedInvestment(**values)
