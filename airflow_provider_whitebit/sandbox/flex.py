"""Flex plans: who may invest what, what it earns, and what the exchange says. Vendor page: Lending (Flex plans).

Where the vendor's pages leave something open, the sandbox chooses:

- A withdrawal of everything closes the investment and leaves one record, of action 5.
- Closing pays what has accrued and is not yet credited to Main, as a record of action 4.
- An earning is a record of action 4; with auto-reinvest a record of action 2 follows for what was added.
- ``withReinvest`` given as true switches auto-reinvest on also when an investment is added to.
- An amount with more decimals than its asset carries is "not a valid number".
- Interest accrues at each full hour UTC on what is invested then, cut off at 18 decimals; at 00:00 UTC it is
  credited, cut off at the asset's last decimal, and the rest is carried over.
- Money in a plan that was paused or became unavailable can still be withdrawn.
"""

from __future__ import annotations

import random
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any

from airflow_provider_whitebit.sandbox import fields
from airflow_provider_whitebit.sandbox.answers import Validation, inner
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.fields import Success, must_be_among
from airflow_provider_whitebit.sandbox.ledger import INTEREST, Ledger, LedgerError
from airflow_provider_whitebit.sandbox.plans import OPEN, PAUSED, Plan, Scenario

INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPENED = 1, 2, 3, 4, 5, 6
ACTIONS = (INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPENED)
ACTIVE, CLOSED = 1, 0
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_HOURS_A_YEAR = 8_760
_FINEST = Decimal(1).scaleb(-18)


@dataclass(frozen=True, slots=True)
class Investment:
    """One row of the books."""

    id: str
    account: str
    plan: str
    ticker: str
    auto_reinvest: bool
    status: int
    created: int
    updated: int
    accrued: Decimal

    @property
    def pot(self) -> str:
        """The ledger's name of what is invested."""
        return f"invested:{self.id}"


@dataclass
class Flex:
    """The rules of Flex plans over the books.

    :param ledger: the books.
    :param scenario: assets and plans.
    :param seed: decides identifiers.
    :param lag_ms: tells how late transactions appear in the histories.
    """

    ledger: Ledger
    scenario: Scenario
    seed: int
    lag_ms: Callable[[], int] = lambda: 0
    plans: dict[str, Plan] = field(init=False)
    _random: random.Random = field(init=False)
    _accrued_until: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.plans = {plan.id: plan for plan in self.scenario.plans}
        rows = self.ledger.db.execute("SELECT COUNT(*) FROM history").fetchone()[0]
        # A sandbox that comes back on its file must not make the same identifiers again.
        self._random = random.Random(f"{self.seed}:{rows}")

    def set_plan(self, identifier: str, **changes: Any) -> Plan:
        """Change a plan while the sandbox runs.

        :raises KeyError: if there is no such plan.
        """
        self.plans[identifier] = replace(self.plans[identifier], **changes)
        return self.plans[identifier]

    # -- the eight calls

    def list_plans(self, caller: Caller, now_ms: int) -> Success:
        wrong = Validation()
        ticker = caller.params.get("ticker")
        must_be_among(self.scenario.assets, caller.params, "ticker", wrong)
        limit, offset = fields.page(caller.params, wrong, 100)
        wrong.done()
        found = [
            {
                "id": plan.id,
                "ticker": plan.ticker,
                "minInvestment": fields.plain(plan.minimum),
                "maxInvestment": fields.plain(plan.maximum),
                "maxRate": fields.plain(plan.rate),
            }
            for plan in self.plans.values()
            if plan.status == OPEN
            and (ticker is None or plan.ticker == ticker)
            and (not plan.users or caller.key.user in plan.users)
        ]
        return 200, found[offset : offset + limit]

    def list_investments(self, caller: Caller, now_ms: int) -> Success:
        wrong, params = Validation(), caller.params
        must_be_among(self.scenario.assets, params, "ticker", wrong)
        must_be_among(self.plans, params, "plan", wrong)
        if params.get("investment") is not None and not self._has("investment", "id", caller, params["investment"]):
            wrong.add("investment", "The selected investment is invalid.")
        status = fields.whole_number(params.get("investmentStatus"))
        if params.get("investmentStatus") is not None and status not in (ACTIVE, CLOSED):
            wrong.add("investmentStatus", "The selected investment status is invalid.")
        limit, offset = fields.page(params, wrong, 100)
        wrong.done()
        where = {"ticker": params.get("ticker"), "plan": params.get("plan"), "id": params.get("investment")}
        rows = self._visible(self._select(caller.account, **where), now_ms)
        if status is not None:
            rows = [row for row in rows if row["status"] == status]
        return 200, {
            "data": rows[offset : offset + limit],
            "limit": limit,
            "offset": offset,
        }

    def list_history(self, caller: Caller, now_ms: int) -> Success:
        return self._history(caller, now_ms, None)

    def list_payments(self, caller: Caller, now_ms: int) -> Success:
        return self._history(caller, now_ms, [EARNING])

    def invest(self, caller: Caller, now_ms: int) -> Success:
        wrong, params = Validation(), caller.params
        plan = self._plan(params, wrong)
        amount = fields.amount(params.get("amount"), self._precision(plan) if plan else 18)
        if amount is None:
            wrong.add("amount", "The amount field must be a valid number")
        if not isinstance(params.get("withReinvest", False), bool):
            wrong.add("withReinvest", "The with reinvest field must be true or false.")
        wrong.done()
        assert plan is not None and amount is not None
        if plan.status != OPEN:
            raise inner(plan="Plan is paused" if plan.status == PAUSED else "Plan is unavailable")
        if plan.users and caller.key.user not in plan.users:
            raise inner(plan="Private plan not available for this user")
        if amount <= 0:
            raise inner(amount="Amount is too small")
        if amount < plan.minimum:
            raise inner(2, amount="Amount is less than min investment")
        if amount > plan.maximum:
            raise inner(3, amount="Amount is more than max investment")
        held = self._active(caller.account, plan.id)
        invested = self._invested(held) if held else Decimal(0)
        if plan.cap is not None and invested + amount > plan.cap:
            raise inner(amount="Investment limit is exceeded")
        available = self.ledger.balance(caller.account, plan.ticker)
        if available < amount:
            raise inner(4, amount=f"Available {fields.plain(available)} < {fields.plain(amount)}")
        if held is None:
            investment = self._open(caller.account, plan, now_ms, auto=params.get("withReinvest", False))
            action = OPENED
        else:
            investment, action = held, INVEST
            if params.get("withReinvest"):
                self._update(investment, now_ms, auto_reinvest=1)
        self.ledger.enter(plan.ticker, amount, caller.account, investment.pot, "invest", now_ms)
        self._touch(investment, now_ms)
        return 201, self._record(investment, amount, action, now_ms, caller.nonce)

    def withdraw(self, caller: Caller, now_ms: int) -> Success:
        wrong, params = Validation(), caller.params
        plan = self._plan(params, wrong)
        amount = fields.amount(params.get("amount"), self._precision(plan) if plan else 18)
        if amount is None:
            wrong.add("amount", "The amount field must be a valid number")
        wrong.done()
        assert plan is not None and amount is not None
        investment = self._held(caller.account, plan)
        invested = self._invested(investment)
        if amount <= 0:
            raise inner(amount="Withdraw amount is too small")
        if amount > invested:
            raise inner(amount="Withdraw amount exceeds total invested")
        if plan.min_withdraw is not None and amount < plan.min_withdraw:
            raise inner(amount="Cannot withdraw amount < min possible")
        if amount == invested:
            return 201, self._close(investment, now_ms, caller.nonce)
        if invested - amount < plan.minimum:
            raise inner(minAmountLeft="Amount left < min investment")
        self.ledger.enter(plan.ticker, amount, investment.pot, caller.account, "withdraw", now_ms)
        self._touch(investment, now_ms)
        return 201, self._record(investment, amount, WITHDRAW, now_ms, caller.nonce)

    def close(self, caller: Caller, now_ms: int) -> Success:
        wrong = Validation()
        plan = self._plan(caller.params, wrong)
        wrong.done()
        assert plan is not None
        return 201, self._close(self._held(caller.account, plan), now_ms, caller.nonce)

    def auto_invest(self, caller: Caller, now_ms: int) -> Success:
        wrong, params = Validation(), caller.params
        if not params.get("plan"):
            wrong.add("plan", "The plan field is required.")
        else:
            must_be_among(self.plans, params, "plan", wrong)
        if not isinstance(params.get("enabled", False), bool):
            wrong.add("enabled", "The enabled field must be true or false.")
        wrong.done()
        investment = self._active(caller.account, params["plan"])
        if investment is None:
            raise inner(plan="No existing investments for this plan")
        self._update(investment, now_ms, auto_reinvest=int(params.get("enabled", False)))
        return 200, {"data": []}

    # -- interest

    def bring_up_to(self, now_ms: int) -> None:
        """Accrue every full hour that has passed since the last time, and credit at each midnight UTC."""
        last = now_ms // HOUR_MS * HOUR_MS
        if self._accrued_until is not None and self._accrued_until >= last:
            return
        with self.ledger.transaction():
            self._accrue_until(last)
        self._accrued_until = last

    def _accrue_until(self, last: int) -> None:
        hour = self.ledger.setting("accrued_until", last)
        while hour < last:
            active = self._select(None, status=ACTIVE)
            if not active:
                hour = last
                break
            until = min(last, (hour // DAY_MS + 1) * DAY_MS)
            for investment in active:
                self._accrue(investment, (until - hour) // HOUR_MS)
            hour = until
            if hour % DAY_MS == 0:
                for investment in self._select(None, status=ACTIVE):
                    self._credit(investment, hour)
        self.ledger.keep_setting("accrued_until", max(hour, last))

    def _accrue(self, investment: Investment, hours: int) -> None:
        rate = self.plans[investment.plan].rate if investment.plan in self.plans else Decimal(0)
        hourly = (self._invested(investment) * rate / _HOURS_A_YEAR).quantize(_FINEST, ROUND_DOWN)
        self.ledger.db.execute(
            "UPDATE investment SET accrued=? WHERE id=?",
            (format(investment.accrued + hours * hourly, "f"), investment.id),
        )

    def _credit(self, investment: Investment, at_ms: int) -> None:
        """Pay what has accrued, in whole units of the asset's last decimal; the rest stays."""
        unit = Decimal(1).scaleb(-self.scenario.assets[investment.ticker].precision)
        earned = investment.accrued.quantize(unit, ROUND_DOWN)
        if earned <= 0:
            return
        target = investment.pot if investment.auto_reinvest else investment.account
        self.ledger.enter(investment.ticker, earned, INTEREST, target, "interest", at_ms)
        self.ledger.db.execute(
            "UPDATE investment SET accrued=? WHERE id=?", (format(investment.accrued - earned, "f"), investment.id)
        )
        self._record(investment, earned, EARNING, at_ms, None)
        if investment.auto_reinvest:
            self._touch(investment, at_ms)
            self._record(investment, earned, REINVEST, at_ms, None)

    # -- the books behind

    def _plan(self, params: dict[str, Any], wrong: Validation) -> Plan | None:
        name = params.get("plan")
        plan = self.plans.get(name) if isinstance(name, str) else None
        if plan is None:
            wrong.add("plan", "The selected plan is invalid.")
        return plan

    def _precision(self, plan: Plan) -> int:
        return self.scenario.assets[plan.ticker].precision

    def _invested(self, investment: Investment) -> Decimal:
        return self.ledger.balance(investment.pot, investment.ticker)

    def _held(self, account: str, plan: Plan) -> Investment:
        """The active investment in a plan. :raises Refusal: if there is none."""
        held = self._active(account, plan.id)
        if held is not None:
            return held
        if self._select(account, plan=plan.id):
            raise inner(investment="Cannot withdraw from closed investment")
        raise inner(amount="Investment does not exist")

    def _active(self, account: str, plan: str) -> Investment | None:
        return next(iter(self._select(account, plan=plan, status=ACTIVE)), None)

    def _select(self, account: str | None, **where: Any) -> list[Investment]:
        given = {name: value for name, value in {"account": account, **where}.items() if value is not None}
        condition = " AND ".join(f"{name}=?" for name in given) or "1"
        rows = self.ledger.db.execute(
            f"SELECT * FROM investment WHERE {condition} ORDER BY rowid DESC", tuple(given.values())
        )
        return [
            Investment(name, owner, plan, ticker, bool(auto), status, created, updated, Decimal(accrued))
            for name, owner, plan, ticker, auto, status, created, updated, accrued in rows
        ]

    def _has(self, table: str, column: str, caller: Caller, value: Any) -> bool:
        if fields.text(value) is None:
            return False
        query = f"SELECT 1 FROM {table} WHERE account=? AND {column}=? LIMIT 1"
        return self.ledger.db.execute(query, (caller.account, value)).fetchone() is not None

    def _open(self, account: str, plan: Plan, now_ms: int, *, auto: bool) -> Investment:
        second = now_ms // 1000
        identifier = f"inv_{self._uuid()}"
        investment = Investment(identifier, account, plan.id, plan.ticker, auto, ACTIVE, second, second, Decimal(0))
        self.ledger.db.execute(
            "INSERT INTO investment VALUES (?,?,?,?,?,?,?,?,?)",
            (identifier, account, plan.id, plan.ticker, int(auto), ACTIVE, second, second, "0"),
        )
        return investment

    def _close(self, investment: Investment, now_ms: int, nonce: int) -> dict[str, Any]:
        amount = self._invested(investment)
        self.ledger.enter(investment.ticker, amount, investment.pot, investment.account, "close", now_ms)
        answer = self._record(investment, amount, CLOSE, now_ms, nonce)
        self._update(investment, now_ms, status=CLOSED, auto_reinvest=0)
        self._credit(replace(investment, auto_reinvest=False), now_ms)
        return answer

    def _update(self, investment: Investment, now_ms: int, **changes: int) -> None:
        names = ", ".join(f"{name}=?" for name in changes)
        self.ledger.db.execute(
            f"UPDATE investment SET {names}, updated=? WHERE id=?",
            (*changes.values(), now_ms // 1000, investment.id),
        )

    def _touch(self, investment: Investment, now_ms: int) -> None:
        self.ledger.db.execute("UPDATE investment SET updated=? WHERE id=?", (now_ms // 1000, investment.id))

    def _record(
        self, investment: Investment, amount: Decimal, action: int, at_ms: int, nonce: int | None
    ) -> dict[str, Any]:
        transaction = f"tx_{self._uuid()}"
        self.ledger.db.execute(
            "INSERT INTO history (at_ms, account, plan, investment, ticker, amount, transaction_id, action, nonce) "
            "VALUES (?,?,?,?,?,?,?,?,?)",
            (
                at_ms,
                investment.account,
                investment.plan,
                investment.id,
                investment.ticker,
                fields.plain(amount),
                transaction,
                action,
                nonce,
            ),
        )
        return {"data": {"transaction_id": transaction}}

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def show_all(self) -> list[dict[str, Any]]:
        """Everybody's investments as they are now, as JSON, newest first."""
        return [self._show(investment) for investment in self._select(None)]

    def audit(self) -> None:
        """:raises LedgerError: if a closed investment still holds money."""
        for investment in self._select(None, status=CLOSED):
            if self._invested(investment):
                raise LedgerError(f"{investment.id} is closed and holds money")

    def _visible(self, investments: list[Investment], now_ms: int) -> list[dict[str, Any]]:
        """Investments as the exchange shows them: as late as its histories."""
        moment = now_ms - self.lag_ms()
        if moment == now_ms:
            return [self._show(investment) for investment in investments]
        return [shown for shown in (self._show_at(investment, moment) for investment in investments) if shown]

    def _show_at(self, investment: Investment, at_ms: int) -> dict[str, Any] | None:
        seen, closed, latest = self.ledger.db.execute(
            "SELECT COUNT(*), MAX(action=?), MAX(at_ms) FROM history WHERE investment=? AND at_ms<=?",
            (CLOSE, investment.id, at_ms),
        ).fetchone()
        if not seen:
            return None
        shown = self._show(investment)
        shown["invested"] = fields.plain(self.ledger.held_at(investment.pot, investment.ticker, at_ms))
        shown["status"] = CLOSED if closed else ACTIVE
        shown["updatedAt"] = latest // 1000
        return shown

    def _show(self, investment: Investment) -> dict[str, Any]:
        return {
            "id": investment.id,
            "planId": investment.plan,
            "currency": investment.ticker,
            "invested": fields.plain(self._invested(investment)),
            "withAutoReinvest": investment.auto_reinvest,
            "status": investment.status,
            "createdAt": investment.created,
            "updatedAt": investment.updated,
        }

    def _history(self, caller: Caller, now_ms: int, actions: list[int] | None) -> Success:
        wrong, params = Validation(), caller.params
        must_be_among(self.plans, params, "plan", wrong)
        if params.get("investment") is not None and not self._has("investment", "id", caller, params["investment"]):
            wrong.add("investment", "The selected investment is invalid.")
        transaction = params.get("transaction")
        if transaction is not None and not self._has("history", "transaction_id", caller, transaction):
            wrong.add("transaction", "The selected transaction is invalid.")
        since = fields.date(params, "dateFrom", "date from", wrong)
        until = fields.date(params, "dateTo", "date to", wrong)
        if actions is None:
            actions = _actions(params.get("actionTypes"), wrong)
        limit, offset = fields.page(params, wrong, 50)
        wrong.done()
        latest_ms = now_ms - self.lag_ms()
        if until is not None:
            # As one bound: of two, SQLite would look up one and read through everything up to the other.
            latest_ms = min(latest_ms, until * 1000 + 999)
        conditions: list[tuple[str, Any]] = [("account=?", caller.account), ("at_ms<=?", latest_ms)]
        for name, column in (("plan", "plan"), ("investment", "investment"), ("transaction", "transaction_id")):
            if params.get(name) is not None:
                conditions.append((f"{column}=?", params[name]))
        if since is not None:
            conditions.append(("at_ms>=?", since * 1000))
        clause = " AND ".join(text for text, _ in conditions)
        if actions:
            clause += f" AND action IN ({','.join(str(action) for action in actions)})"
        rows = self.ledger.db.execute(
            f"SELECT at_ms, plan, investment, ticker, amount, transaction_id, action FROM history WHERE {clause} "
            "ORDER BY at_ms DESC, id DESC LIMIT ? OFFSET ?",
            (*(value for _, value in conditions), limit, offset),
        )
        return 200, {"data": list(_shown(rows)), "limit": limit, "offset": offset}


def _shown(rows: sqlite3.Cursor) -> Iterator[dict[str, Any]]:
    for at_ms, plan, investment, ticker, amount, transaction, action in rows:
        yield {
            "createdAt": at_ms // 1000,
            "planId": plan,
            "investmentId": investment,
            "currency": ticker,
            "amount": amount,
            "transaction_id": transaction,
            "actionType": action,
        }


def _actions(raw: Any, wrong: Validation) -> list[int] | None:
    if raw is None:
        return None
    if not isinstance(raw, list):
        wrong.add("actionTypes", "The action types must be an array.")
        return None
    numbers = [fields.whole_number(entry) for entry in raw]
    for place, number in enumerate(numbers):
        if number not in ACTIONS:
            wrong.add(f"actionTypes.{place}", "The selected action type is invalid.")
    return [number for number in numbers if number is not None]
