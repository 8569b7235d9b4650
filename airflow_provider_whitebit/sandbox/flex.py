"""Flex plans: who may invest what, and what it earns. Vendor page: Lending (Flex plans).

If the vendor's pages do not say, the sandbox decides:

- A withdrawal of everything closes the investment and leaves one record, of action 5.
- Closing pays to Main what has accrued and is not yet credited, as a record of action 4.
- An earning is a record of action 4. With auto-reinvest a record of action 2 follows for the added amount.
- ``withReinvest`` given as true switches auto-reinvest on also when an investment is added to.
- An amount with more decimals than its asset allows is "not a valid number".
- Investments and histories are listed newest first. ``dateTo`` includes its own second.
- Interest accrues at each full hour UTC on what is invested then, cut off at 18 decimals. At 00:00 UTC it is
  credited, cut off at the asset's last decimal, and the rest is carried over.
- A withdrawal from a plan that is not open to the caller is refused as if there were no such plan (the page: "Plan must
  be active and accessible to user"). Closing is possible from any plan.
- Investments and histories accept any limit. A page has at most 100 entries, and the answer says so.

:class:`~.quirks.Quirks` decide otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as columns
from decimal import ROUND_DOWN, Decimal
from typing import Any

from airflow_provider_whitebit.sandbox.answers import Success, inner, plain
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.fields import Fields
from airflow_provider_whitebit.sandbox.ledger import INTEREST, Ledger, LedgerError
from airflow_provider_whitebit.sandbox.lending import Lending
from airflow_provider_whitebit.sandbox.limits import HISTORY_PAGE, LARGEST_LIMIT, LIST_PAGE, MOST_DECIMALS
from airflow_provider_whitebit.sandbox.plans import OPEN, PAUSED, Plan, Scenario
from airflow_provider_whitebit.sandbox.quirks import LATER_EARNINGS, UNKNOWN_ACTION, Quirks

INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPENED = ACTIONS = (1, 2, 3, 4, 5, 6)
ACTIVE, CLOSED = 1, 0
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_HOURS_A_YEAR = 8_760
_FINEST = Decimal(1).scaleb(-18)
#: A record in the histories: the vendor's name of each field, and its column.
_RECORD = {
    "createdAt": "at_ms / 1000",
    "planId": "plan",
    "investmentId": "investment",
    "currency": "ticker",
    "amount": "amount",
    "transaction_id": "transaction_id",
    "actionType": "action",
}
_RECORD_COLUMNS = tuple(_RECORD.values())


@dataclass(frozen=True, slots=True)
class Investment:
    """One investment, as the ledger keeps it."""

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
        """The ledger account that holds the invested amount."""
        return f"invested:{self.id}"


_INVESTMENT = tuple(column.name for column in columns(Investment))


class Flex(Lending[Plan]):
    """The rules of Flex plans. Its public methods are the vendor's eight calls, and what time brings."""

    def __init__(self, ledger: Ledger, scenario: Scenario, seed: str, faults: Faults, quirks: Quirks) -> None:
        # A sandbox that is started again on its file must not repeat identifiers.
        super().__init__(ledger, scenario, scenario.plans, f"{seed}:{ledger.count('history')}", faults, quirks)
        self._accrued_until: int | None = None

    def list_plans(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        ticker = fields.selected("ticker", self.assets)
        limit, offset = self.quirks.page(fields.page(LIST_PAGE))
        fields.check()
        hidden = self._full_plans(caller)
        found = [
            {
                "id": plan.id,
                "ticker": plan.ticker,
                "minInvestment": plain(plan.minimum),
                "maxInvestment": plain(plan.maximum),
                "maxRate": plain(plan.rate),
            }
            for plan in self.plans.values()
            if plan.status == OPEN and ticker in (None, plan.ticker) and _may_use(caller, plan)
            if plan.id not in hidden and not self.quirks.delisted(plan.ticker)
        ]
        return 200, found[offset : offset + limit]

    def list_investments(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        where = {
            "account=?": caller.account,
            "ticker=?": fields.selected("ticker", self.assets),
            "plan=?": fields.selected("plan", self.plans),
            "id=?": self._read_investment(caller, fields),
        }
        status = fields.number("investmentStatus", (ACTIVE, CLOSED), "investment status")
        limit, offset = self.quirks.page(fields.page(LIST_PAGE, LARGEST_LIMIT))
        fields.check()
        rows = self._visible(self._select(where, self.quirks.order), now_ms)
        if status is not None:
            rows = [row for row in rows if row["status"] == status]
        return 200, {"data": rows[offset : offset + limit], "limit": limit, "offset": offset}

    def list_history(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        return self._history(caller, now_ms, fields, fields.numbers("actionTypes", ACTIONS, "action type"))

    def list_payments(self, caller: Caller, now_ms: int) -> Success:
        return self._history(caller, now_ms, Fields(caller.params), [EARNING])

    def invest(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        reinvest = fields.flag("withReinvest", "with reinvest")
        plan, amount = self._read_plan_and_amount(fields)
        if plan.status != OPEN:
            raise inner(plan="Plan is paused" if plan.status == PAUSED else "Plan is unavailable")
        if plan.id in self._full_plans(caller):
            raise inner(plan="Plan is paused" if self.quirks.paused_plans else "Plan is unavailable")
        if not _may_use(caller, plan):
            raise inner(plan="Private plan not available for this user")
        if amount <= 0:
            raise inner(amount="Amount is too small")
        self._check_size(plan, amount)
        held = self._active(caller.account, plan.id)
        if plan.cap is not None and (self._invested(held) if held else 0) + amount > plan.cap:
            raise inner(amount="Investment limit is exceeded")
        self._check_balance(caller, plan, amount)
        investment = held or self._open(caller.account, plan, now_ms, auto=reinvest)
        self.ledger.enter(plan.ticker, amount, caller.account, investment.pot, "invest", now_ms)
        self._touch(investment, now_ms, **({"auto_reinvest": 1} if reinvest else {}))
        answer = self._record(investment, amount, INVEST if held else OPENED, now_ms, caller.nonce)
        if held is None:
            self._record_again(investment, amount, INVEST, now_ms, answer)
        return 201, answer

    def withdraw(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        plan, amount = self._read_plan_and_amount(fields)
        if plan.status != OPEN or plan.id in self._full_plans(caller) or not _may_use(caller, plan):
            fields.wrong("plan", "The selected plan is invalid.")
            fields.check()
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
        fields = Fields(caller.params)
        plan = fields.required("plan", self.plans)
        fields.check()
        assert plan is not None
        return 201, self._close(self._held(caller.account, plan), now_ms, caller.nonce)

    def auto_invest(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        plan = fields.selected("plan", self.plans) if caller.params.get("plan") else None
        if not caller.params.get("plan"):
            fields.wrong("plan", "The plan field is required.")
        enabled = fields.flag("enabled")
        fields.check()
        investment = self._active(caller.account, str(plan))
        if investment is None:
            raise inner(plan="No existing investments for this plan")
        self._touch(investment, now_ms, auto_reinvest=int(enabled))
        return 200, {"data": []}

    def bring_up_to(self, now_ms: int) -> None:
        """Accrue interest for every full hour since the last time, and credit it once a day."""
        last = now_ms // HOUR_MS * HOUR_MS
        if self._accrued_until is not None and self._accrued_until >= last:
            return
        with self.ledger.transaction():
            self._accrue_until(last)
        self._accrued_until = last

    def show_all(self) -> list[dict[str, Any]]:
        """Return the present investments of all users as JSON, newest first."""
        return [self._show(investment) for investment in self._select({})]

    def show_moved(self, transaction_id: str) -> dict[str, Any]:
        """Return the investment that a transaction changed, as JSON."""
        (name,) = self.ledger.select("history", ("investment",), {"transaction_id=?": transaction_id}).fetchone()
        return self._show(*self._select({"id=?": name}))

    def audit(self) -> None:
        """Check that closed investments hold no money.

        :raises LedgerError: if one does.
        """
        for investment in self._select({"status=?": CLOSED}):
            if self._invested(investment):
                raise LedgerError(f"{investment.id} is closed but holds money")

    def _accrue_until(self, last: int) -> None:
        hour = self.ledger.setting("accrued_until", last)
        credited_at = LATER_EARNINGS * HOUR_MS if self.quirks.later_earnings else 0
        while hour < last:
            active = self._select({"status=?": ACTIVE})
            if not active:
                break
            until = min(last, ((hour - credited_at) // DAY_MS + 1) * DAY_MS + credited_at)
            for investment in active:
                self._accrue(investment, (until - hour) // HOUR_MS)
            hour = until
            if (hour - credited_at) % DAY_MS == 0:
                for investment in self._select({"status=?": ACTIVE}):
                    self._credit(investment, hour)
        self.ledger.keep_setting("accrued_until", max(hour, last))

    def _accrue(self, investment: Investment, hours: int) -> None:
        rate = self.plans[investment.plan].rate if investment.plan in self.plans else Decimal(0)
        hourly = (self._invested(investment) * rate / _HOURS_A_YEAR).quantize(_FINEST, ROUND_DOWN)
        self.ledger.update("investment", investment.id, accrued=investment.accrued + hours * hourly)

    def _credit(self, investment: Investment, at_ms: int, paid_with: dict[str, Any] | None = None) -> None:
        """Pay what has accrued, in whole units of the asset's last decimal. The rest is carried over.

        :param paid_with: the answer to the call that closes the investment.
        """
        earned = self._cut_off(investment.accrued, investment.ticker)
        if earned <= 0:
            return
        target = investment.pot if investment.auto_reinvest else investment.account
        self.ledger.enter(investment.ticker, earned, INTEREST, target, "interest", at_ms)
        self.ledger.update("investment", investment.id, accrued=investment.accrued - earned)
        if paid_with is None or not self.quirks.interest_in_withdrawals:
            self._record(investment, earned, EARNING, at_ms, None, self._shared(paid_with))
        if investment.auto_reinvest:
            self._touch(investment, at_ms)
            self._record(investment, earned, REINVEST, at_ms, None)
        if self.quirks.unknown_numbers and paid_with is None:
            self._record(investment, Decimal(0), UNKNOWN_ACTION, at_ms, None)

    def _read_plan_and_amount(self, fields: Fields) -> tuple[Plan, Decimal]:
        plan = fields.required("plan", self.plans)
        amount = fields.amount(self.assets[plan.ticker].precision if plan else MOST_DECIMALS)
        fields.check()
        assert plan is not None and amount is not None
        return plan, amount

    def _read_investment(self, caller: Caller, fields: Fields) -> str | None:
        return fields.existing(
            "investment", lambda name: self.ledger.exists("investment", {"account=?": caller.account, "id=?": name})
        )

    def _invested(self, investment: Investment) -> Decimal:
        return self.ledger.balance(investment.pot, investment.ticker)

    def _full_plans(self, caller: Caller) -> set[str]:
        """The plans that a quirk closes for a caller who holds money in them."""
        if not (self.quirks.paused_plans or self.quirks.vanished_plans):
            return set()
        return {held.plan for held in self._select({"account=?": caller.account, "status=?": ACTIVE})}

    def _held(self, account: str, plan: Plan) -> Investment:
        """Return the active investment in a plan.

        :raises Refusal: if it does not exist.
        """
        held = self._active(account, plan.id)
        if held is not None:
            return held
        if self.ledger.exists("investment", {"account=?": account, "plan=?": plan.id}):
            raise inner(investment="Cannot withdraw from closed investment")
        raise inner(amount="Investment does not exist")

    def _active(self, account: str, plan: str) -> Investment | None:
        return next(iter(self._select({"account=?": account, "plan=?": plan, "status=?": ACTIVE})), None)

    def _select(self, where: Mapping[str, Any], order: str = "DESC") -> list[Investment]:
        rows = self.ledger.select("investment", _INVESTMENT, where, f"ORDER BY rowid {order}")
        return [
            Investment(name, owner, plan, ticker, bool(auto), status, created, updated, Decimal(accrued))
            for name, owner, plan, ticker, auto, status, created, updated, accrued in rows
        ]

    def _open(self, account: str, plan: Plan, now_ms: int, *, auto: bool) -> Investment:
        second = now_ms // 1000
        investment = Investment(
            self._name("inv_"), account, plan.id, plan.ticker, auto, ACTIVE, second, second, Decimal(0)
        )
        self.ledger.insert("investment", **asdict(investment))
        return investment

    def _close(self, investment: Investment, now_ms: int, nonce: int) -> dict[str, Any]:
        amount = self._invested(investment)
        self.ledger.enter(investment.ticker, amount, investment.pot, investment.account, "close", now_ms)
        interest = self._cut_off(investment.accrued, investment.ticker) if self.quirks.interest_in_withdrawals else 0
        answer = self._record(investment, amount + interest, CLOSE, now_ms, nonce)
        self._record_again(investment, amount + interest, WITHDRAW, now_ms, answer)
        self._touch(investment, now_ms, status=CLOSED, auto_reinvest=0)
        self._credit(replace(investment, auto_reinvest=False), now_ms, paid_with=answer)
        return answer

    def _touch(self, investment: Investment, now_ms: int, **changes: int) -> None:
        """Change an investment, and note when."""
        self.ledger.update("investment", investment.id, updated=now_ms // 1000, **changes)

    def _shared(self, answer: dict[str, Any] | None) -> str | None:
        """The identifier that a further record of a call has, if it is not one of its own."""
        return answer["data"]["transaction_id"] if answer and self.quirks.shared_ids else None

    def _record_again(
        self, investment: Investment, amount: Decimal, action: int, at_ms: int, answer: dict[str, Any]
    ) -> None:
        """Add the second record of a call, if there is one."""
        if self.quirks.two_records:
            self._record(investment, amount, action, at_ms, None, self._shared(answer))

    def _record(
        self,
        investment: Investment,
        amount: Decimal,
        action: int,
        at_ms: int,
        nonce: int | None,
        transaction: str | None = None,
    ) -> dict[str, Any]:
        """Add a transaction to the history, and return the answer with its identifier."""
        transaction = transaction or self._name("tx_")
        self.ledger.insert(
            "history",
            at_ms=at_ms,
            account=investment.account,
            plan=investment.plan,
            investment=investment.id,
            ticker=investment.ticker,
            amount=plain(amount),
            transaction_id=transaction,
            action=action,
            nonce=nonce,
        )
        return {"data": {"transaction_id": transaction}}

    def _visible(self, investments: list[Investment], now_ms: int) -> list[dict[str, Any]]:
        """Return investments as the exchange shows them: as late as its histories."""
        moment = now_ms - self.faults.history_lag_ms
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
        return self._show(investment) | {
            "invested": plain(self.ledger.balance_at(investment.pot, investment.ticker, at_ms)),
            "status": CLOSED if closed else ACTIVE,
            "updatedAt": latest // 1000,
        }

    def _show(self, investment: Investment) -> dict[str, Any]:
        return {
            "id": investment.id,
            "planId": investment.plan,
            "currency": investment.ticker,
            "invested": plain(self._invested(investment)),
            "withAutoReinvest": investment.auto_reinvest,
            "status": investment.status,
            "createdAt": investment.created,
            "updatedAt": investment.updated,
        }

    def _history(self, caller: Caller, now_ms: int, fields: Fields, actions: list[int]) -> Success:
        account = caller.account
        where: dict[str, Any] = {
            "account=?": account,
            "plan=?": fields.selected("plan", self.plans),
            "investment=?": self._read_investment(caller, fields),
            "transaction_id=?": fields.existing(
                "transaction",
                lambda name: self.ledger.exists("history", {"account=?": account, "transaction_id=?": name}),
            ),
        }
        since, until = fields.date("dateFrom", "date from"), fields.date("dateTo", "date to")
        limit, offset = self.quirks.page(fields.page(HISTORY_PAGE, LARGEST_LIMIT))
        fields.check()
        where["at_ms<=?"] = now_ms - self.faults.history_lag_ms
        if until is not None:
            # As one bound: of two, SQLite would look up one and read through everything up to the other.
            where["at_ms<=?"] = min(where["at_ms<=?"], until * 1000 + (-1 if self.quirks.exclusive_dates else 999))
        if since is not None:
            where["at_ms>=?"] = since * 1000
        tail = f"AND action IN ({', '.join(map(str, actions))}) " if actions else ""
        tail += f"ORDER BY at_ms {self.quirks.order}, id {self.quirks.order} LIMIT ? OFFSET ?"
        rows = self.ledger.select("history", _RECORD_COLUMNS, where, tail, limit, offset)
        data = [dict(zip(_RECORD, row, strict=True)) for row in rows]
        return 200, {"data": data, "limit": limit, "offset": offset}


def _may_use(caller: Caller, plan: Plan) -> bool:
    return not plan.users or caller.key.user in plan.users
