"""The sandbox exchange without HTTP: it answers one request at a time."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from airflow_provider_whitebit.sandbox import answers, fields
from airflow_provider_whitebit.sandbox.answers import Answer, Refusal, Success, refuse
from airflow_provider_whitebit.sandbox.assets import list_assets
from airflow_provider_whitebit.sandbox.authentication import Caller, Keys, authenticate, require
from airflow_provider_whitebit.sandbox.balances import ACCOUNTS, Balances
from airflow_provider_whitebit.sandbox.clock import Clock, SandboxClock
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.fixed import Fixed
from airflow_provider_whitebit.sandbox.flex import ACTIVE, Flex
from airflow_provider_whitebit.sandbox.gateway import Gateway
from airflow_provider_whitebit.sandbox.ledger import OUTSIDE, Ledger, LedgerError
from airflow_provider_whitebit.sandbox.limits import LARGEST_BODY, RateLimits
from airflow_provider_whitebit.sandbox.markets import list_markets, list_prices, unknown_assets
from airflow_provider_whitebit.sandbox.nodes import Nodes
from airflow_provider_whitebit.sandbox.plans import DEFAULT, AssetFacts, Market, Permission, ScenarioError
from airflow_provider_whitebit.sandbox.quirks import Quirks
from airflow_provider_whitebit.sandbox.rewriting import as_success, rewrite, unquote_numbers
from airflow_provider_whitebit.sandbox.sub_accounts import SubAccounts

API = "/api/v4"
_PUBLIC = f"{API}/public/"
_PLATFORM_STATUS = f"{_PUBLIC}platform/status"
_FLEX = f"{API}/main-account/smart-flex"
_FIXED = f"{API}/main-account/smart"
_FLEX_MOVES = {f"{_FLEX}/investments/{name}": f"flex_{name}" for name in ("invest", "withdraw", "close")}
#: Calls that move money, and their names in receipts. The ledger keeps a list of them.
_MOVES = {
    **_FLEX_MOVES,
    f"{_FIXED}/investment": "fixed_invest",
    f"{_FIXED}/investment/close": "fixed_close",
    f"{API}/main-account/transfer": "transfer",
    f"{API}/sub-account/transfer": "sub_account_transfer",
}
_SUCCESS = (200, 201)
#: Calls whose success is HTTP 201.
_CREATING = {
    *_FLEX_MOVES,
    f"{_FIXED}/investment",
    f"{API}/main-account/transfer",
    f"{API}/main-account/history",
}
_WRITES = _MOVES.keys() | {f"{_FLEX}/investments/auto-invest"}
_TRANSACTION = ("at_ms", "account", "plan", "investment", "ticker", "amount", "transaction_id", "action", "nonce")
_MOVE = ("at_ms", "account", "path", "nonce", "params", "reference", "entry")
_MOVED = ("ticker", "amount", "source", "target")
_SELECT_MOVES = (
    f"SELECT {', '.join(f'move.{name}' for name in _MOVE[:-1])}, {', '.join(f'entry.{name}' for name in _MOVED)} "
    "FROM move LEFT JOIN entry ON entry.id = move.entry ORDER BY move.id"
)
_REQUEST = ("at_ms", "method", "path", "status", "api_key", "nonce", "transaction_id", "refusal")
_REQUESTS_KEPT = 10_000
_LONGEST_NONCE = 64
_ENTRY = ("id", "at_ms", "ticker", "amount", "source", "target", "reason")

_log = logging.getLogger(__name__)

Call = Callable[[Caller, int], Success]


class UnknownName(ValueError):
    """A plan or asset that does not exist."""


class Exchange:
    """A local WhiteBIT: its rules, its ledger, its clock.

    :param clock: the exchange's time; by default real time that can be set forward.
    :param db: where the ledger is kept: ``":memory:"``, or a file, which is used again if it exists.
    :param seed: decides identifiers and the chances of faults.
    :param scenario: replaces parts of the default assets, plans, keys and balances, see
        :func:`~.scenario.read_scenario`.
    :param rate_limits: whether the vendor's rate limits are enforced.
    :param quirks: how it differs where the vendor's pages leave something open.
    :raises ScenarioError: with the name of the first wrong field.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        db: str | Path = ":memory:",
        seed: int = 0,
        scenario: Mapping[str, Any] | None = None,
        rate_limits: bool = True,
        quirks: Quirks | None = None,
    ) -> None:
        self.quirks = self._first_quirks = quirks or Quirks()
        self.scenario = DEFAULT
        if scenario is not None:
            from airflow_provider_whitebit.sandbox.scenario import read_scenario

            self.scenario = read_scenario(scenario)
        self.ledger = Ledger(db)
        try:
            self._check_held(db)
        except ScenarioError:
            self.ledger.close()
            raise
        self.seed = seed
        self.limited = rate_limits
        self._lock = threading.RLock()
        if clock is None:
            # A sandbox that is started again on its file must not be earlier than before.
            clock = SandboxClock()
            clock.advance(Decimal(self.ledger.setting("clock_ahead_ms", 0)) / 1000)
        self.clock: Clock = clock
        self._start()

    def _check_held(self, db: str | Path) -> None:
        """:raises ScenarioError: the ledger holds what the scenario lacks: it could not be taken out."""
        for (ticker,) in self.ledger.db.execute(
            "SELECT ticker FROM balance UNION SELECT interest_ticker FROM fixed_investment"
        ):
            if ticker not in self.scenario.assets:
                raise ScenarioError(f"assets: the ledger in {db} holds {ticker}, which is not among them")
        plans = {plan.id for plan in self.scenario.plans}
        for (plan,) in self.ledger.db.execute("SELECT plan FROM investment WHERE status=?", (ACTIVE,)):
            if plan not in plans:
                raise ScenarioError(f"plans: the ledger in {db} holds money in plan {plan}, which is not among them")

    def _start(self) -> None:
        #: The notice in all answers during maintenance; ``None``: operational. Set it to begin or end maintenance.
        self.maintenance: str | None = answers.MAINTENANCE if self.quirks.maintenance else None
        self.faults = Faults(self.seed)
        self.nodes, self.gateway = Nodes(self.seed), Gateway()
        self.limits = RateLimits()
        self.keys = Keys({key.api_key: key for key in self.scenario.keys})
        resets = self.ledger.setting("resets", 0)
        # A receipt from before a reset must not name a transaction after it.
        seed = f"{self.seed}:{resets}" if resets else str(self.seed)
        self.flex = Flex(self.ledger, self.scenario, seed, self.faults, self.quirks)
        self.fixed = Fixed(self.ledger, self.scenario, seed, self.faults, self.quirks)
        self.balances = Balances(self.ledger, self.scenario, self.faults, self.quirks)
        self.sub_accounts = SubAccounts(self.ledger, self.scenario, seed, self.faults, self.quirks)
        self.markets = dict(self.scenario.markets)
        self._requests: deque[dict[str, Any]] = deque(maxlen=_REQUESTS_KEPT)
        with self.ledger.transaction():
            if not self.ledger.setting("begun", 0):
                self.ledger.keep_setting("begun", 1)
                for user, held in self.scenario.balances.items():
                    for ticker, amount in held.items():
                        if amount > 0:
                            self.ledger.enter(ticker, amount, OUTSIDE, f"main:{user}", "deposit", self.clock.now_ms())
        self._lend_delisted()
        self._private = self._private_calls()
        self._public: dict[str, Callable[[int], Any]] = {
            f"{_PUBLIC}time": lambda now_ms: {"time": now_ms // 1000},
            f"{_PUBLIC}ping": lambda now_ms: ["pong"],
            f"{_PUBLIC}assets": lambda now_ms: list_assets(self._listed()),
            f"{_PUBLIC}markets": lambda now_ms: list_markets(self.markets, self._listed()),
            f"{_PUBLIC}ticker": lambda now_ms: list_prices(self.markets, self._listed()),
            _PLATFORM_STATUS: lambda now_ms: {
                "status": "system operational" if self.maintenance is None else "system maintenance"
            },
        }

    def _listed(self) -> dict[str, AssetFacts]:
        return {ticker: facts for ticker, facts in self.balances.assets.items() if not self.quirks.delisted(ticker)}

    def _private_calls(self) -> dict[str, tuple[Permission, Call]]:
        flex, fixed, balances, subs = self.flex, self.fixed, self.balances, self.sub_accounts
        return {
            f"{_FLEX}/plans": ("flex", flex.list_plans),
            f"{_FLEX}/investments": ("flex", flex.list_investments),
            f"{_FLEX}/investments/history": ("flex", flex.list_history),
            f"{_FLEX}/investments/payment-history": ("flex", flex.list_payments),
            f"{_FLEX}/investments/invest": ("flex", flex.invest),
            f"{_FLEX}/investments/withdraw": ("flex", flex.withdraw),
            f"{_FLEX}/investments/close": ("flex", flex.close),
            f"{_FLEX}/investments/auto-invest": ("flex", flex.auto_invest),
            f"{_FIXED}/plans": ("fixed", fixed.list_plans),
            f"{_FIXED}/investment": ("fixed", fixed.invest),
            f"{_FIXED}/investment/close": ("fixed", fixed.close),
            f"{_FIXED}/investments": ("fixed", fixed.list_investments),
            f"{_FIXED}/interest-payment-history": ("fixed", fixed.list_payments),
            f"{API}/main-account/balance": ("balance", balances.main),
            f"{API}/trade-account/balance": ("balance", balances.trade),
            f"{API}/collateral-account/balance": ("balance", balances.collateral),
            f"{API}/main-account/transfer": ("balance", balances.transfer),
            f"{API}/main-account/history": ("balance", balances.history),
            f"{API}/sub-account/list": ("balance", subs.list_accounts),
            f"{API}/sub-account/balances": ("balance", subs.balances),
            f"{API}/sub-account/transfer": ("balance", subs.transfer),
            f"{API}/sub-account/transfer/history": ("balance", subs.list_transfers),
        }

    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, client_ip: str = "127.0.0.1"
    ) -> Answer:
        """Answer one request as if it arrived now. No fault is applied.

        :param method: HTTP method.
        :param path: path without query.
        :param headers: HTTP headers, in any spelling.
        :param body: the body's bytes.
        :param client_ip: the address whose rate limits apply.
        """
        with self._lock:
            node = self.nodes.choose(self.quirks)
            now_ms = self.clock.now_ms() + node.skew_ms
            self.faults.node_lag_ms, self.faults.node_stale_ms = node.lag_ms, node.stale_ms
            if self.maintenance is not None and path != _PLATFORM_STATUS:
                self._note_request(now_ms, method, path, 503, *_claimed(headers, body), None, self.maintenance)
                return answers.unavailable(self.maintenance, now_ms, public=path.startswith(_PUBLIC))
            gateway = self.gateway.take() if self.quirks.gateway_answers and path in _MOVES else None
            if gateway is not None and not gateway.executed:
                self._note_request(now_ms, method, path, gateway.status, *_claimed(headers, body), None, None)
                return gateway.answer(now_ms)
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
                # A bug in the sandbox. Its transaction was rolled back, so the caller can go on.
                _log.exception("The sandbox failed on %s", path)
                status, answer = 500, {"code": 0, "message": f"Sandbox failure: {error!r}", "errors": {}}
            api_key, nonce = (caller.key.api_key, caller.nonce) if caller else _claimed(headers, body)
            transaction_id = _reference(answer) if path in _MOVES else None
            said = answer.get("message") if status >= 400 else None
            self._note_request(now_ms, method, path, status, api_key, nonce, transaction_id, said)
            if gateway is not None:
                return gateway.answer(now_ms)
            if self.quirks.names:
                return self._odd(path, status, answer, now_ms)
            return answers.answer(status, answers.JSON, answers.encode(answer), now_ms)

    def _odd(self, path: str, status: int, answer: Any, now_ms: int) -> Answer:
        """Return an answer as an exchange with these quirks sends it."""
        if status in _SUCCESS:
            if self.quirks.investment_answers and path in _FLEX_MOVES:
                answer = {"data": self.flex.show_moved(answer["data"]["transaction_id"])}
            answer = rewrite(answer, self.quirks, path=path, now_ms=now_ms)
        elif self.quirks.ok_refusals and not path.startswith(_PUBLIC):
            status, answer = 201 if path in _CREATING else 200, as_success(status, answer)
        body = answers.encode(answer)
        return answers.answer(status, answers.JSON, unquote_numbers(body) if self.quirks.numbers else body, now_ms)

    def _note_request(self, *entry: Any) -> None:
        self._requests.append(dict(zip(_REQUEST, entry, strict=True)))

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
        if len(body) > LARGEST_BODY:
            raise refuse(413, "Payload too large")
        permission, call = self._private[path]
        refusal: Refusal | None = None
        self._bring_up_to(now_ms)
        # A call that only reads writes nothing but its nonce, in one statement.
        with self.ledger.transaction() if path in _WRITES else nullcontext():
            try:
                caller = authenticate(
                    *(self.keys, self.ledger, path, headers, body, now_ms),
                    used_nonce=422 if self.quirks.nonces_422 else 429,
                )
                require(caller, permission, writes=path in _WRITES)
                status, answer = call(caller, now_ms)
                if path in _MOVES:
                    self._note_move(path, caller, answer, now_ms)
            except Refusal as error:
                # Rules refuse before they write; a used nonce stays used.
                refusal = error
        if refusal is not None:
            raise refusal
        return status, answer, caller

    def _bring_up_to(self, now_ms: int) -> None:
        """Execute what time alone brings: interest and the end of terms."""
        self.flex.bring_up_to(now_ms)
        self.fixed.bring_up_to(now_ms)

    def _note_move(self, path: str, caller: Caller, answer: Any, now_ms: int) -> None:
        params = json.dumps(caller.params, default=str)
        values = (now_ms, caller.account, path, caller.nonce, params, _reference(answer), self.ledger.last_move())
        self.ledger.insert("move", **dict(zip(_MOVE, values, strict=True)))

    def fund(
        self,
        ticker: str,
        amount: Decimal | str | int,
        *,
        api_key: str | None = None,
        account: str = "main",
        sub_account: str | None = None,
    ) -> None:
        """Deposit made-up money.

        :param ticker: one of the scenario's assets.
        :param amount: how much, above 0, with no more decimals than the asset allows.
        :param api_key: a key of the account; by default the first key.
        :param account: ``main``, ``spot`` or ``collateral``.
        :param sub_account: id of the sub-account that gets it, instead of the account.
        :raises ValueError: with what is wrong.
        """
        if api_key is not None and sub_account is not None:
            raise ValueError("give api_key or sub_account, not both")
        user = self.keys.named(api_key).user if sub_account is None else sub_account
        if sub_account is not None and sub_account not in self.sub_accounts.accounts:
            raise ValueError(f"there is no sub-account {sub_account!r}")
        if account not in ACCOUNTS:
            raise ValueError(f"there is no account {account!r}; known are {', '.join(ACCOUNTS)}")
        exact = self._exact(ticker, amount)
        with self._lock, self.ledger.transaction():
            self.ledger.enter(ticker, exact, OUTSIDE, f"{account}:{user}", "deposit", self.clock.now_ms())

    def withdraw(self, ticker: str, amount: Decimal | str | int, *, api_key: str | None = None) -> None:
        """Take money out of the exchange.

        :param ticker: one of the scenario's assets.
        :param amount: how much, above 0, at most what Main holds.
        :param api_key: a key of the account; by default the first key.
        :raises ValueError: with what is wrong.
        """
        main, exact = f"main:{self.keys.named(api_key).user}", self._exact(ticker, amount)
        with self._lock, self.ledger.transaction():
            if exact > (held := self.ledger.balance(main, ticker)):
                raise ValueError(f"Main holds {answers.plain(held)} {ticker}, less than {answers.plain(exact)}")
            self.ledger.enter(ticker, exact, main, OUTSIDE, "withdrawal", self.clock.now_ms())

    def _exact(self, ticker: str, amount: Decimal | str | int) -> Decimal:
        """Return an amount of made-up money. :raises ValueError: unknown asset or unusable amount."""
        if ticker not in self.scenario.assets:
            raise ValueError(f"there is no asset {ticker!r}; known are {', '.join(self.scenario.assets)}")
        precision = self.scenario.assets[ticker].precision
        exact = fields.amount(amount, precision)
        if exact is None or exact <= 0:
            raise ValueError(f"amount must be a number above 0 with at most {precision} decimals, not {amount!r}")
        return exact

    def advance(self, seconds: Decimal | int) -> None:
        """Set the clock forward and accrue the interest of that time.

        :raises ValueError: if ``seconds`` is negative, or the clock is not the sandbox's own.
        """
        if not isinstance(self.clock, SandboxClock):
            raise ValueError("this sandbox's clock cannot be set forward")
        with self._lock:
            self.clock.advance(seconds)
            # First: a sandbox that is killed meanwhile must not start again before what it has already credited.
            with self.ledger.transaction():
                self.ledger.keep_setting("clock_ahead_ms", self.clock.ahead_ms)
            self._bring_up_to(self.clock.now_ms())

    def switch_quirks(self, switches: Mapping[str, bool]) -> None:
        """Switch quirks on or off until the next :meth:`reset`. Records that were written stay as they are.

        :param switches: by name, whether it is on.
        :raises ValueError: if there is no such quirk, or two exclude each other.
        """
        with self._lock:
            before, self.quirks = self.quirks, self.quirks.switched(switches)
            for rules in (self.flex, self.fixed, self.balances, self.sub_accounts):
                rules.quirks = self.quirks
            if before.maintenance != self.quirks.maintenance:
                self.maintenance = answers.MAINTENANCE if self.quirks.maintenance else None
            self._lend_delisted()

    def _lend_delisted(self) -> None:
        """With the quirk ``delisted_asset``, let money lie in a plan of that asset."""
        key, now_ms = self.keys.named(None), self.clock.now_ms()
        plan = next((one for one in self.flex.plans.values() if self.quirks.delisted(one.ticker)), None)
        if plan is None or any(shown["planId"] == plan.id for shown in self.flex.show_all()):
            return
        self._bring_up_to(now_ms)
        # A plan that takes no money stays empty.
        with suppress(Refusal), self.ledger.transaction():
            self.ledger.enter(plan.ticker, plan.minimum, OUTSIDE, f"main:{key.user}", "deposit", now_ms)
            self.flex.invest(Caller(key, 0, {"plan": plan.id, "amount": answers.plain(plan.minimum)}), now_ms)

    def change(self, kind: Literal["plan", "fixed plan", "asset", "sub-account"], name: str, **changes: Any) -> None:
        """Change a plan, asset or sub-account until the next :meth:`reset`.

        Interest for the time before keeps the old rate, and Fixed investments keep their terms.

        :param name: the identifier of the plan or sub-account, or the asset's ticker.
        :param changes: see :class:`~.changes.PlanChanges`, :class:`~.changes.FixedPlanChanges`,
            :class:`~.changes.AssetChanges` and :class:`~.changes.SubAccountChanges`.
        :raises UnknownName: if it does not exist.
        :raises ValueError: with the name of the first wrong field.
        """
        from airflow_provider_whitebit.sandbox.changes import (
            AssetChanges,
            FixedPlanChanges,
            PlanChanges,
            SubAccountChanges,
            checked,
        )

        bodies: dict[
            str, tuple[type[PlanChanges | FixedPlanChanges | AssetChanges | SubAccountChanges], dict[str, Any]]
        ] = {
            "plan": (PlanChanges, self.flex.plans),
            "fixed plan": (FixedPlanChanges, self.fixed.plans),
            "asset": (AssetChanges, self.balances.assets),
            "sub-account": (SubAccountChanges, self.sub_accounts.accounts),
        }
        body, known = bodies[kind]
        if name not in known:
            raise UnknownName(f"there is no {kind} {name!r}")
        given = checked(body, changes).model_dump(exclude_none=True)
        with self._lock:
            self._bring_up_to(self.clock.now_ms())
            known[name] = replace(known[name], **given)

    def change_market(self, name: str, **changes: Any) -> None:
        """Set the last price of a market, or open it, until the next :meth:`reset`.

        :param name: the two assets, for example ``BTC_USDT``. Fiat currencies are assets too.
        :param changes: see :class:`~.changes.MarketChanges`. A new market needs its ``last_price``.
        :raises UnknownName: if an asset does not exist.
        :raises ValueError: with the name of the first wrong field.
        """
        from airflow_provider_whitebit.sandbox.changes import MarketChanges, checked

        if unknown := unknown_assets(name, self.scenario.assets):
            raise UnknownName(f"there is no asset {unknown[0]!r}, so there is no market {name!r}")
        given = checked(MarketChanges, changes).model_dump(exclude_none=True)
        if name not in self.markets and "last_price" not in given:
            raise ValueError("last_price: a new market needs it")
        with self._lock:
            self.markets[name] = replace(self.markets.get(name, Market(Decimal(0))), **given)

    def transactions(self) -> list[dict[str, Any]]:
        """Return all Flex transactions in the order in which they ran, with the nonce of each request."""
        return self.ledger.records("history", _TRANSACTION)

    def moves(self) -> list[dict[str, Any]]:
        """Return all executed money-moving calls (Flex, Fixed, transfers, sub-accounts) in order.

        ``reference`` is the identifier in the answer, if any. ``operation`` is named as in receipts; ``ticker``,
        ``amount``, ``source`` and ``target`` are those of the ledger's entry. Interest has entries of its own.
        """
        rows = self.ledger.db.execute(_SELECT_MOVES)
        moves = [dict(zip((*_MOVE[:-1], *_MOVED), row, strict=True)) for row in rows]
        return [move | {"operation": _MOVES[move["path"]], "params": json.loads(move["params"])} for move in moves]

    def ledger_view(self) -> dict[str, Any]:
        """Return as JSON whether the ledger balances, what it holds, and its last 1000 entries."""
        with self._lock:
            self._bring_up_to(self.clock.now_ms())
            accounts: dict[str, dict[str, str]] = {}
            for account, ticker, amount in self.ledger.db.execute("SELECT * FROM balance ORDER BY account, ticker"):
                accounts.setdefault(account, {})[ticker] = answers.plain(Decimal(amount))
            return {
                "balanced": self._balanced(),
                "accounts": accounts,
                "entries": self.ledger.records("entry", _ENTRY, "ORDER BY id DESC LIMIT 1000"),
                "investments": self.flex.show_all(),
                "transactions": self.transactions(),
                "fixed_investments": self.fixed.show_all(),
                "moves": self.moves(),
            }

    def requests_view(self) -> list[dict[str, Any]]:
        """Return the last requests, oldest first, without secrets."""
        with self._lock:
            return list(self._requests)

    def audit(self) -> None:
        """Check the ledger.

        :raises LedgerError: if it does not balance, or an investment holds the wrong amount.
        """
        with self._lock:
            self.ledger.audit()
            self.flex.audit()
            self.fixed.audit()

    def _balanced(self) -> bool:
        try:
            self.audit()
        except LedgerError:
            return False
        return True

    def reset(self) -> None:
        """Return to the initial balances and quirks, plans, assets, markets and keys.

        History, faults and maintenance are gone. The clock stays: time never runs backwards. No
        identifier is used again.
        """
        with self._lock:
            ahead_ms, resets = (self.ledger.setting(name, 0) for name in ("clock_ahead_ms", "resets"))
            with self.ledger.transaction():
                self.ledger.wipe()
                self.ledger.keep_setting("clock_ahead_ms", ahead_ms)
                self.ledger.keep_setting("resets", resets + 1)
            self.quirks = self._first_quirks
            self._start()

    def close(self) -> None:
        """Close the ledger's file."""
        self.ledger.close()


def _claimed(headers: Mapping[str, str], body: bytes) -> tuple[str | None, Any]:
    """Return the key and nonce that a refused request names, to show why it was refused."""
    api_key = next((value for name, value in headers.items() if name.lower() == "x-txc-apikey"), None)
    try:
        nonce = json.loads(body).get("nonce")
    except (ValueError, AttributeError, RecursionError):
        nonce = None
    return api_key, nonce[:_LONGEST_NONCE] if isinstance(nonce, str) else nonce if isinstance(nonce, int) else None


def _reference(answer: Any) -> str | None:
    """Return the identifier in the answer to a money-moving call: of the transaction, or of the Fixed investment."""
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    return (data if isinstance(data, dict) else answer).get("transaction_id", answer.get("id"))
