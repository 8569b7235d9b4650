"""The sandbox exchange without HTTP: one request in, one answer out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any

from airflow_provider_whitebit.sandbox.answers import Answer, Refusal, encode, refuse
from airflow_provider_whitebit.sandbox.authentication import Caller, authenticate, require
from airflow_provider_whitebit.sandbox.clock import Clock, SandboxClock
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.flex import ACTIVE, Flex, Success
from airflow_provider_whitebit.sandbox.ledger import OUTSIDE, Ledger, LedgerError
from airflow_provider_whitebit.sandbox.limits import RateLimits
from airflow_provider_whitebit.sandbox.plans import Key, read_scenario

API = "/api/v4"
_FLEX = f"{API}/main-account/smart-flex"
_LARGEST_BODY = 1024 * 1024
_REQUESTS_KEPT = 10_000

Call = Callable[[Caller, int], Success]


class Exchange:
    """A WhiteBIT of one's own: its rules, its books, its clock.

    :param clock: the exchange's time; by default real time that can be put forward.
    :param db: where the books are kept: ``":memory:"`` or a file, which is taken up again if it exists.
    :param seed: decides identifiers and the chances of faults.
    :param scenario: replaces parts of the default assets, plans, keys and balances, see :func:`~.plans.read_scenario`.
    :param rate_limits: whether the vendor's limits are enforced.
    :raises ScenarioError: what is wrong with the scenario.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        db: str | Path = ":memory:",
        seed: int = 0,
        scenario: Mapping[str, Any] | None = None,
        rate_limits: bool = True,
    ) -> None:
        self.clock: Clock = clock or SandboxClock()
        self.scenario = read_scenario(scenario)
        self.ledger = Ledger(db)
        self.seed = seed
        self.limited = rate_limits
        self._begin()

    def _begin(self) -> None:
        self.faults = Faults(self.seed)
        self.limits = RateLimits()
        self.keys = {key.api_key: key for key in self.scenario.keys}
        self.flex = Flex(self.ledger, self.scenario, self.seed, lambda: self.faults.history_lag_ms)
        self._requests: deque[dict[str, Any]] = deque(maxlen=_REQUESTS_KEPT)
        with self.ledger.transaction():
            if not self.ledger.setting("begun", 0):
                self.ledger.keep_setting("begun", 1)
                for user, held in self.scenario.balances.items():
                    for ticker, amount in held.items():
                        if amount > 0:
                            self.ledger.enter(ticker, amount, OUTSIDE, f"main:{user}", "deposit", self.clock.now_ms())
        self._private: dict[str, tuple[str, Call]] = {
            f"{_FLEX}/plans": ("flex", self.flex.list_plans),
            f"{_FLEX}/investments": ("flex", self.flex.list_investments),
            f"{_FLEX}/investments/history": ("flex", self.flex.list_history),
            f"{_FLEX}/investments/payment-history": ("flex", self.flex.list_payments),
            f"{_FLEX}/investments/invest": ("flex", self.flex.invest),
            f"{_FLEX}/investments/withdraw": ("flex", self.flex.withdraw),
            f"{_FLEX}/investments/close": ("flex", self.flex.close),
            f"{_FLEX}/investments/auto-invest": ("flex", self.flex.auto_invest),
            f"{API}/main-account/balance": ("balance", self._main_balance),
        }
        self._public: dict[str, Callable[[int], Any]] = {
            f"{API}/public/time": lambda now_ms: {"time": now_ms // 1000},
            f"{API}/public/ping": lambda now_ms: ["pong"],
            f"{API}/public/assets": lambda now_ms: self._assets(),
        }

    def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        client_ip: str = "127.0.0.1",
    ) -> Answer:
        """Answer one request as if it arrived now. No fault is applied here.

        :param method: HTTP method.
        :param path: path without query.
        :param headers: HTTP headers, in any spelling.
        :param body: the body's bytes.
        :param client_ip: whose rate limits count.
        """
        now_ms = self.clock.now_ms()
        caller: Caller | None = None
        try:
            if self.limited:
                self.limits.check(path, client_ip, now_ms)
            if path in self._public:
                if method not in ("GET", "HEAD"):
                    raise Refusal(405, {"success": False, "message": "Method not allowed", "params": []})
                status, answer = 200, self._public[path](now_ms)
            else:
                status, answer, caller = self._answer_private(method, path, headers, body, now_ms)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
        self._requests.append(
            {
                "at_ms": now_ms,
                "method": method,
                "path": path,
                "status": status,
                "api_key": caller.key.api_key if caller else None,
                "nonce": caller.nonce if caller else None,
                "params": caller.params if caller else None,
                "transaction_id": _transaction_of(answer) if status == 201 else None,
            }
        )
        date = formatdate(now_ms // 1000, usegmt=True)
        return Answer(status, {"Content-Type": "application/json", "Date": date}, encode(answer))

    def _answer_private(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, now_ms: int
    ) -> tuple[int, Any, Caller]:
        if path not in self._private:
            raise refuse(404, "Not found")
        if method != "POST":
            raise refuse(405, "Method not allowed")
        if len(body) > _LARGEST_BODY:
            raise refuse(413, "Payload too large")
        permission, call = self._private[path]
        refusal: Refusal | None = None
        self.flex.bring_up_to(now_ms)
        with self.ledger.transaction():
            try:
                caller = authenticate(self.keys, self.ledger, path, headers, body, now_ms)
                require(caller, permission)
                status, answer = call(caller, now_ms)
            except Refusal as error:
                # Rules refuse before they write; a nonce that was used up stays used up.
                refusal = error
        if refusal is not None:
            raise refusal
        return status, answer, caller

    def _main_balance(self, caller: Caller, now_ms: int) -> Success:
        ticker = caller.params.get("ticker")
        if ticker is None:
            held = self.ledger.balances(caller.account)
            return 200, {
                name: {"main_balance": format(held.get(name, Decimal(0)), "f")} for name in self.scenario.assets
            }
        if not isinstance(ticker, str):
            raise refuse(400, "Validation failed", ticker="validation.string")
        return 200, {"main_balance": format(self.ledger.balance(caller.account, ticker), "f")}

    def _assets(self) -> dict[str, Any]:
        return {
            ticker: {
                "name": facts.name,
                "unified_cryptoasset_id": None,
                "can_withdraw": True,
                "can_deposit": True,
                "min_withdraw": "0",
                "max_withdraw": "0",
                "maker_fee": "0.1",
                "taker_fee": "0.1",
                "min_deposit": "0",
                "max_deposit": "0",
                "currency_precision": facts.precision,
                "is_memo": False,
            }
            for ticker, facts in self.scenario.assets.items()
        }

    def fund(
        self, ticker: str, amount: Decimal | str | int, *, api_key: str | None = None, account: str = "main"
    ) -> None:
        """Deposit made-up money.

        :param ticker: one of the scenario's assets.
        :param amount: how much, more than nothing.
        :param api_key: a key of the account; the first one by default.
        :param account: ``main``.
        :raises ValueError: what is wrong.
        """
        key = self.keys.get(api_key) if api_key else next(iter(self.keys.values()))
        if key is None:
            raise ValueError(f"there is no key {api_key!r}")
        if account != "main":
            raise ValueError(f"there is no account {account!r}; known is main")
        if ticker not in self.scenario.assets:
            raise ValueError(f"there is no asset {ticker!r}; known are {', '.join(self.scenario.assets)}")
        try:
            exact = Decimal(amount)
        except ArithmeticError:
            exact = Decimal(0)
        if not exact.is_finite() or exact <= 0:
            raise ValueError(f"amount is a number above 0, not {amount!r}")
        with self.ledger.transaction():
            self.ledger.enter(ticker, exact, OUTSIDE, f"main:{key.user}", "deposit", self.clock.now_ms())

    def add_key(self, key: Key) -> None:
        """Add an API key, or replace the one of that name."""
        self.keys[key.api_key] = key

    def transactions(self) -> list[dict[str, Any]]:
        """Every Flex transaction, in the order in which they ran, with the nonce of the request that made it."""
        rows = self.ledger.db.execute(
            "SELECT at_ms, account, plan, investment, ticker, amount, transaction_id, action, nonce FROM history "
            "ORDER BY id"
        )
        names = ("at_ms", "account", "plan", "investment", "ticker", "amount", "transaction_id", "action", "nonce")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def ledger_view(self) -> dict[str, Any]:
        """The books as JSON: balances by account, transactions, investments, and whether it all adds up."""
        self.flex.bring_up_to(self.clock.now_ms())
        accounts: dict[str, dict[str, str]] = {}
        for account, ticker, amount in self.ledger.db.execute("SELECT * FROM balance ORDER BY account, ticker"):
            accounts.setdefault(account, {})[ticker] = amount
        entries = self.ledger.db.execute(
            "SELECT id, at_ms, ticker, amount, source, target, reason FROM entry ORDER BY id DESC LIMIT 1000"
        )
        names = ("id", "at_ms", "ticker", "amount", "source", "target", "reason")
        try:
            self.audit()
            balanced = True
        except LedgerError:
            balanced = False
        return {
            "balanced": balanced,
            "accounts": accounts,
            "entries": [dict(zip(names, row, strict=True)) for row in entries],
            "investments": [self.flex._show(investment) for investment in self.flex._select(None)],
            "transactions": self.transactions(),
        }

    def requests_view(self) -> list[dict[str, Any]]:
        """The last requests, oldest first. Never a signature, a payload or a secret."""
        return list(self._requests)

    def audit(self) -> None:
        """:raises LedgerError: if the books do not balance, or a closed investment holds money."""
        self.ledger.audit()
        for investment in self.flex._select(None):
            if investment.status != ACTIVE and self.flex._invested(investment):
                raise LedgerError(f"{investment.id} is closed and holds money")

    def reset(self) -> None:
        """Begin again: first balances, no history, no faults."""
        with self.ledger.transaction():
            self.ledger.wipe()
        self._begin()

    def close(self) -> None:
        """Close the books' file."""
        self.ledger.close()


def _transaction_of(answer: Any) -> str | None:
    data = answer.get("data") if isinstance(answer, dict) else None
    return data.get("transaction_id") if isinstance(data, dict) else None


__all__ = ["Answer", "Exchange"]
