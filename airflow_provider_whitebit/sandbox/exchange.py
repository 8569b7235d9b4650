"""The sandbox exchange without HTTP: one request in, one answer out."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import Any

from airflow_provider_whitebit.sandbox import fields
from airflow_provider_whitebit.sandbox.answers import Answer, Refusal, encode, refuse
from airflow_provider_whitebit.sandbox.authentication import Caller, authenticate, require
from airflow_provider_whitebit.sandbox.balances import ACCOUNTS, Balances
from airflow_provider_whitebit.sandbox.clock import Clock, SandboxClock
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.fields import Success
from airflow_provider_whitebit.sandbox.fixed import Fixed
from airflow_provider_whitebit.sandbox.flex import Flex
from airflow_provider_whitebit.sandbox.ledger import OUTSIDE, Ledger, LedgerError
from airflow_provider_whitebit.sandbox.limits import RateLimits
from airflow_provider_whitebit.sandbox.plans import (
    ALL_PERMISSIONS,
    FIXED_STATUSES,
    STATUSES,
    AssetFacts,
    FixedPlan,
    Key,
    Plan,
    ScenarioError,
    read_amount,
    read_scenario,
)

API = "/api/v4"
_PUBLIC = f"{API}/public/"
_FLEX = f"{API}/main-account/smart-flex"
_FIXED = f"{API}/main-account/smart"
#: Calls that move money, of which the books keep a list.
_MOVES = frozenset(
    {
        *(f"{_FLEX}/investments/{name}" for name in ("invest", "withdraw", "close")),
        *(f"{_FIXED}/investment{name}" for name in ("", "/close")),
        f"{API}/main-account/transfer",
    }
)
_WRITES = _MOVES | {f"{_FLEX}/investments/auto-invest"}
_LARGEST_BODY = 1024 * 1024
_REQUESTS_KEPT = 10_000

_log = logging.getLogger(__name__)

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
        self.scenario = read_scenario(scenario)
        self.ledger = Ledger(db)
        for (ticker,) in self.ledger.db.execute("SELECT DISTINCT ticker FROM balance"):
            if ticker not in self.scenario.assets:
                raise ScenarioError(f"assets: the books in {db} hold {ticker}, which is not among them")
        self.seed = seed
        self.limited = rate_limits
        self._lock = threading.RLock()
        if clock is None:
            # A sandbox that comes back on its file must not be earlier than when it left.
            clock = SandboxClock()
            clock.advance(Decimal(self.ledger.setting("clock_ahead_ms", 0)) / 1000)
        self.clock: Clock = clock
        self._begin()

    def _begin(self) -> None:
        self.faults = Faults(self.seed)
        self.limits = RateLimits()
        self.keys = {key.api_key: key for key in self.scenario.keys}
        self.flex = Flex(self.ledger, self.scenario, self.seed, lambda: self.faults.history_lag_ms)
        self.fixed = Fixed(self.ledger, self.scenario, self.seed, lambda: self.faults.history_lag_ms)
        self.balances = Balances(self.ledger, self.scenario)
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
            f"{_FIXED}/plans": ("fixed", self.fixed.list_plans),
            f"{_FIXED}/investment": ("fixed", self.fixed.invest),
            f"{_FIXED}/investment/close": ("fixed", self.fixed.close),
            f"{_FIXED}/investments": ("fixed", self.fixed.list_investments),
            f"{_FIXED}/interest-payment-history": ("fixed", self.fixed.list_payments),
            f"{API}/main-account/balance": ("balance", self.balances.main),
            f"{API}/trade-account/balance": ("balance", self.balances.trade),
            f"{API}/collateral-account/balance": ("balance", self.balances.collateral),
            f"{API}/main-account/transfer": ("balance", self.balances.transfer),
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
        with self._lock:
            now_ms = self.clock.now_ms()
            caller: Caller | None = None
            try:
                if self.limited:
                    self.limits.check(path, client_ip, now_ms)
                if path.startswith(_PUBLIC):
                    status, answer = 200, self._answer_public(method, path, now_ms)
                else:
                    status, answer, caller = self._answer_private(method, path, headers, body, now_ms)
            except Refusal as refusal:
                status, answer = refusal.status, refusal.body
            except Exception as error:
                # A mistake in the sandbox: its transaction was rolled back, and the caller must be able to go on.
                _log.exception("The sandbox failed on %s", path)
                status, answer = 500, {"code": 0, "message": f"Sandbox failure: {error!r}", "errors": {}}
            self._requests.append(
                {
                    "at_ms": now_ms,
                    "method": method,
                    "path": path,
                    "status": status,
                    **(_seen(caller) if caller else _claimed(headers, body)),
                    "transaction_id": _reference(answer) if status == 201 else None,
                }
            )
            date = _http_date(now_ms // 1000)
            return Answer(status, {"Content-Type": "application/json", "Date": date}, encode(answer))

    def deliver(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        client_ip: str = "127.0.0.1",
        wait: Callable[[Decimal], None] = lambda seconds: None,
    ) -> Answer:
        """Answer one request as it comes over the wire, with the faults that are on.

        :param wait: lets so many seconds pass, for the faults that delay.
        :raises ConnectionLost: if no whole answer comes back.
        """
        return self.faults.perform(
            self.faults.take(path),
            lambda: self.handle(method, path, headers, body, client_ip=client_ip),
            now_ms=self.clock.now_ms,
            wait=wait,
        )

    def _answer_public(self, method: str, path: str, now_ms: int) -> Any:
        if path not in self._public:
            raise Refusal(404, {"success": False, "message": "Not found", "params": []})
        if method not in ("GET", "HEAD"):
            raise Refusal(405, {"success": False, "message": "Method not allowed", "params": []})
        return self._public[path](now_ms)

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
        self._bring_up_to(now_ms)
        # A call that only reads writes nothing but its nonce, and that in one statement.
        with self.ledger.transaction() if path in _WRITES else nullcontext():
            try:
                caller = authenticate(self.keys, self.ledger, path, headers, body, now_ms)
                require(caller, permission)
                status, answer = call(caller, now_ms)
                if path in _MOVES:
                    self._note_move(path, caller, answer, now_ms)
            except Refusal as error:
                # Rules refuse before they write; a nonce that was used up stays used up.
                refusal = error
        if refusal is not None:
            raise refusal
        return status, answer, caller

    def _bring_up_to(self, now_ms: int) -> None:
        """Let everything happen that time alone brings: interest and the end of terms."""
        self.flex.bring_up_to(now_ms)
        self.fixed.bring_up_to(now_ms)

    def _note_move(self, path: str, caller: Caller, answer: Any, now_ms: int) -> None:
        self.ledger.db.execute(
            "INSERT INTO move (at_ms, account, path, nonce, params, reference) VALUES (?,?,?,?,?,?)",
            (now_ms, caller.account, path, caller.nonce, json.dumps(caller.params, default=str), _reference(answer)),
        )

    def _assets(self) -> dict[str, Any]:
        return {
            ticker: {
                "name": facts.name,
                "unified_cryptoasset_id": None,
                "can_withdraw": facts.withdrawals,
                "can_deposit": facts.deposits,
                "min_withdraw": "0",
                "max_withdraw": "0",
                "maker_fee": "0.1",
                "taker_fee": "0.1",
                "min_deposit": "0",
                "max_deposit": "0",
                "currency_precision": facts.precision,
                "is_memo": False,
            }
            for ticker, facts in self.balances.assets.items()
        }

    def fund(
        self, ticker: str, amount: Decimal | str | int, *, api_key: str | None = None, account: str = "main"
    ) -> None:
        """Deposit made-up money.

        :param ticker: one of the scenario's assets.
        :param amount: how much, more than nothing, with no more decimals than the asset carries.
        :param api_key: a key of the account; the first one by default.
        :param account: ``main``, ``spot`` or ``collateral``.
        :raises ValueError: what is wrong.
        """
        key = self.keys.get(api_key) if api_key else next(iter(self.keys.values()))
        if key is None:
            raise ValueError(f"there is no key {api_key!r}")
        if account not in ACCOUNTS:
            raise ValueError(f"there is no account {account!r}; known are {', '.join(ACCOUNTS)}")
        if ticker not in self.scenario.assets:
            raise ValueError(f"there is no asset {ticker!r}; known are {', '.join(self.scenario.assets)}")
        precision = self.scenario.assets[ticker].precision
        exact = fields.amount(amount, precision)
        if exact is None or exact <= 0:
            raise ValueError(f"amount is a number above 0 with at most {precision} decimals, not {amount!r}")
        with self._lock, self.ledger.transaction():
            self.ledger.enter(ticker, exact, OUTSIDE, f"{account}:{key.user}", "deposit", self.clock.now_ms())

    def add_key(
        self,
        api_key: str,
        secret: str,
        *,
        user: str = "sandbox",
        enabled: bool = True,
        permissions: Iterable[str] = ALL_PERMISSIONS,
    ) -> Key:
        """Add an API key until the next :meth:`reset`, or replace the one of that name.

        :param user: whose account it opens; a new name is a new, empty account.
        :param permissions: out of ``flex``, ``fixed`` and ``balance``.
        """
        key = self.keys[api_key] = Key(api_key, secret, user, enabled, tuple(permissions))
        return key

    def add_key_like(self, api_key: str, secret: str, like: str | None = None) -> Key:
        """Add one more API key to an account, with the rights of one that it has, until the next :meth:`reset`.

        :param like: a key of the account; the first one by default.
        :raises ValueError: if there is no such key, or one of the new name.
        """
        known = self.keys.get(like) if like else next(iter(self.keys.values()))
        if known is None:
            raise ValueError(f"there is no key {like!r}")
        if api_key in self.keys:
            raise ValueError(f"there is a key {api_key!r}")
        return self.add_key(api_key, secret, user=known.user, permissions=known.permissions)

    def revoke_key(self, api_key: str) -> None:
        """Delete an API key, until the next :meth:`reset`: the exchange knows it no more.

        :raises ValueError: if there is no such key, or no other.
        """
        if api_key not in self.keys:
            raise ValueError(f"there is no key {api_key!r}")
        if len(self.keys) == 1:
            raise ValueError("the last key stays: nobody could use the sandbox without one")
        del self.keys[api_key]

    def disable_key(self, api_key: str) -> None:
        """Have an API key refused as the vendor refuses one that was switched off.

        :raises ValueError: if there is no such key.
        """
        if api_key not in self.keys:
            raise ValueError(f"there is no key {api_key!r}")
        self.keys[api_key] = replace(self.keys[api_key], enabled=False)

    def advance(self, seconds: Decimal | int) -> None:
        """Put the clock forward and accrue what that brings.

        :param seconds: how far; not negative.
        :raises ValueError: if it is negative, or the clock is not the sandbox's own.
        """
        if not isinstance(self.clock, SandboxClock):
            raise ValueError("this sandbox's clock cannot be put forward")
        with self._lock:
            self.clock.advance(seconds)
            self._bring_up_to(self.clock.now_ms())
            with self.ledger.transaction():
                self.ledger.keep_setting("clock_ahead_ms", self.clock.ahead_ms)

    def change_plan(self, identifier: str, **changes: Any) -> Plan:
        """Change a plan until the next :meth:`reset`. What it has earned so far is kept at its old rate.

        :param changes: ``status`` (``open``, ``paused``, ``unavailable``), ``rate``, ``minimum``, ``maximum``, ``cap``.
        :raises ValueError: what is wrong.
        """
        if identifier not in self.flex.plans:
            raise ValueError(f"there is no plan {identifier!r}")
        for name, value in changes.items():
            if name == "status":
                if value not in STATUSES:
                    raise ValueError(f"status is one of {', '.join(STATUSES)}, not {value!r}")
            elif name in ("rate", "minimum", "maximum", "cap"):
                changes[name] = read_amount(name, value)
            else:
                raise ValueError(f"{name!r} of a plan cannot be changed")
        with self._lock:
            self.flex.bring_up_to(self.clock.now_ms())
            return self.flex.set_plan(identifier, **changes)

    def transactions(self) -> list[dict[str, Any]]:
        """Every Flex transaction, in the order in which they ran, with the nonce of the request that made it."""
        rows = self.ledger.db.execute(
            "SELECT at_ms, account, plan, investment, ticker, amount, transaction_id, action, nonce FROM history "
            "ORDER BY id"
        )
        names = ("at_ms", "account", "plan", "investment", "ticker", "amount", "transaction_id", "action", "nonce")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def moves(self) -> list[dict[str, Any]]:
        """Every money-moving call that was carried out, Flex, Fixed and transfers, in order; ``reference`` is the
        identifier that it was answered with, if any."""
        rows = self.ledger.db.execute("SELECT at_ms, account, path, nonce, params, reference FROM move ORDER BY id")
        return [
            {
                "at_ms": at_ms,
                "account": account,
                "path": path,
                "nonce": nonce,
                "params": json.loads(params),
                "reference": reference,
            }
            for at_ms, account, path, nonce, params, reference in rows
        ]

    def change_fixed_plan(self, identifier: str, **changes: Any) -> FixedPlan:
        """Change a Fixed plan until the next :meth:`reset`. Investments keep the terms under which they were made.

        :param changes: ``status`` (1 to 4), ``percent``, ``minimum``, ``maximum``, ``coins``, ``interest_fund``.
        :raises ValueError: what is wrong.
        """
        if identifier not in self.fixed.plans:
            raise ValueError(f"there is no fixed plan {identifier!r}")
        for name, value in changes.items():
            if name == "status":
                if value not in FIXED_STATUSES:
                    raise ValueError(f"status is one of {', '.join(map(str, FIXED_STATUSES))}, not {value!r}")
            elif name in ("percent", "minimum", "maximum", "coins", "interest_fund"):
                changes[name] = read_amount(name, value)
            else:
                raise ValueError(f"{name!r} of a fixed plan cannot be changed")
        with self._lock:
            return self.fixed.set_plan(identifier, **changes)

    def change_asset(self, ticker: str, *, deposits: bool | None = None, withdrawals: bool | None = None) -> AssetFacts:
        """Let an asset go between balances or not, until the next :meth:`reset`.

        :param deposits: out of Main.
        :param withdrawals: back to Main.
        :raises ValueError: if there is no such asset.
        """
        if ticker not in self.balances.assets:
            raise ValueError(f"there is no asset {ticker!r}")
        given = {"deposits": deposits, "withdrawals": withdrawals}
        with self._lock:
            return self.balances.set_asset(ticker, **{n: value for n, value in given.items() if value is not None})

    def ledger_view(self) -> dict[str, Any]:
        """The books as JSON: balances by account, entries (the last 1000), investments, transactions, and whether
        it all adds up."""
        with self._lock:
            self._bring_up_to(self.clock.now_ms())
            return self._ledger_view()

    def _ledger_view(self) -> dict[str, Any]:
        accounts: dict[str, dict[str, str]] = {}
        for account, ticker, amount in self.ledger.db.execute("SELECT * FROM balance ORDER BY account, ticker"):
            accounts.setdefault(account, {})[ticker] = fields.plain(Decimal(amount))
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
            "investments": self.flex.show_all(),
            "transactions": self.transactions(),
            "fixed_investments": self.fixed.show_all(),
            "moves": self.moves(),
        }

    def requests_view(self) -> list[dict[str, Any]]:
        """The last requests, oldest first. Never a signature, a payload or a secret."""
        with self._lock:
            return list(self._requests)

    def audit(self) -> None:
        """:raises LedgerError: if the books do not balance, or a closed investment holds money."""
        with self._lock:
            self.ledger.audit()
            self.flex.audit()
            self.fixed.audit()

    def reset(self) -> None:
        """Begin again: first balances, no history, no faults. The clock stays, because time never runs backwards."""
        with self._lock:
            ahead_ms = self.ledger.setting("clock_ahead_ms", 0)
            with self.ledger.transaction():
                self.ledger.wipe()
                self.ledger.keep_setting("clock_ahead_ms", ahead_ms)
            self._begin()

    def close(self) -> None:
        """Close the books' file."""
        self.ledger.close()


@lru_cache(maxsize=16)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _seen(caller: Caller) -> dict[str, Any]:
    return {"api_key": caller.key.api_key, "nonce": caller.nonce}


def _claimed(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Key and nonce of a request that was refused, so that whoever reads the list sees why."""
    api_key = next((value for name, value in headers.items() if name.lower() == "x-txc-apikey"), None)
    try:
        params = json.loads(body)
    except (ValueError, RecursionError):
        params = None
    nonce = params.get("nonce") if isinstance(params, dict) else None
    return {"api_key": api_key, "nonce": nonce if isinstance(nonce, int | str) else None}


def _reference(answer: Any) -> str | None:
    """The identifier in the answer to a money-moving call: of the transaction, or of the Fixed investment."""
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    return data.get("transaction_id") if isinstance(data, dict) else answer.get("id")


__all__ = ["Answer", "Exchange"]
