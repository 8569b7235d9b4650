"""An exchange that shares no code with the package: several nodes with clocks of their own, and replicas that lag.

The vendor leaves open much of what its records look like (one record of a move or two, signs, decimals, interest,
identifiers). The sandbox chooses one reading. A :class:`Nature` is another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any

from tests.simulation.exchanges import PLAN, TERM, Answered, SandboxExchange, SimulatedExchange
from tests.simulation.world import World

_API = "/api/v4"
_FLEX = f"{_API}/main-account/smart-flex"
_FIXED = f"{_API}/main-account/smart"
_INVEST, _WITHDRAW, _CLOSE, _OPEN, _NEW = 1, 3, 5, 6, 7
_WINDOW_MS = 5_000
_PERIOD_S = 30 * 86_400
_EIGHT = Decimal("0.00000001")


@dataclass(frozen=True)
class Nature:
    """What an exchange is like.

    :param skews_ms: how far the clock of each node is ahead. A node checks nonces and stamps records with its own.
    :param lags_ms: how late each replica is. Each reading call meets one of them.
    :param balances_lag: whether balances are read from replicas too.
    :param stamp_late_ms: a record is stamped at most this long after the move was accepted.
    :param signed: what leaves a plan is shown with a minus.
    :param rounded: amounts are shown with 8 decimals.
    :param interest: what leaves a plan takes its interest along, and is shown with it.
    :param records: how many records opening and full withdrawal leave.
    :param ids: of two records of a move: ``own``, ``shared``, ``missing`` (the second has none).
    :param new_actions: how many of the records have an action number that the vendor has just introduced.
    :param answers_second: an answer names the second record of a move.
    :param repeats: how often a listing shows a record twice.
    :param page: most records in an answer.
    :param bare: the transfers of a sub-account are a bare list.
    """

    skews_ms: tuple[int, ...] = (0,)
    lags_ms: tuple[int, ...] = (0,)
    balances_lag: bool = False
    stamp_late_ms: int = 0
    signed: bool = False
    rounded: bool = False
    interest: bool = False
    records: int = 1
    ids: str = "own"
    new_actions: float = 0.0
    answers_second: bool = False
    repeats: float = 0.0
    page: int = 100
    bare: bool = False

    @property
    def alters_amounts(self) -> bool:
        return self.rounded or self.interest

    def __str__(self) -> str:
        plain = Nature()
        return ", ".join(f"{name}={value}" for name, value in vars(self).items() if value != getattr(plain, name))


@dataclass
class _State:
    """What the exchange holds at a moment."""

    balances: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    flex: dict[str, dict[str, Any]] = field(default_factory=dict)
    fixed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def held(self, account: str, ticker: str) -> Decimal:
        return self.balances.get((account, ticker), Decimal(0))


class Refused(Exception):
    """A call that the exchange refused."""

    def __init__(self, code: int, **errors: str) -> None:
        self.status = 422
        self.body = {
            "code": code,
            "message": "Inner validation failed",
            "errors": {name: [text] for name, text in errors.items()},
        }


class NodesExchange:
    """The exchange.

    :param plans: Flex plans as ``{"id", "ticker", "minimum"}``.
    :param balances: what Main holds at first, by ticker.
    :param fixed_plan: a Fixed plan's id.
    """

    def __init__(
        self,
        world: World,
        nature: Nature,
        plans: list[dict[str, str]],
        balances: Mapping[str, str],
        fixed_plan: str = "",
    ) -> None:
        self.world = world
        self.nature = nature
        self.plans = {plan["id"]: plan for plan in plans}
        self.fixed_plan = fixed_plan
        self.state = _State()
        self.deposited: dict[str, Decimal] = {}
        self.records: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        self._nonces: set[tuple[str, int]] = set()
        self._names: dict[str, frozenset[str]] = {}
        self._moments: list[int] = []
        self._states: list[_State] = []
        self._ids = 0
        for ticker, amount in balances.items():
            self.fund(ticker, amount)
        self._rules: dict[str, Callable[[Mapping[str, Any], int], tuple[int, Any]]] = {
            f"{_FLEX}/plans": self._list_plans,
            f"{_FLEX}/investments": self._list_investments,
            f"{_FLEX}/investments/history": self._list_history,
            f"{_FLEX}/investments/invest": self._invest,
            f"{_FLEX}/investments/withdraw": self._withdraw,
            f"{_FLEX}/investments/close": self._close,
            f"{_FIXED}/investments": self._list_fixed,
            f"{_FIXED}/investment": self._fixed_invest,
            f"{_FIXED}/investment/close": self._fixed_close,
            f"{_API}/main-account/balance": lambda params, now: self._balance("main", params, "main_balance"),
            f"{_API}/trade-account/balance": lambda params, now: self._balance("spot", params, "available"),
            f"{_API}/collateral-account/balance": lambda params, now: self._balance("collateral", params, ""),
            f"{_API}/main-account/transfer": self._transfer,
            f"{_API}/sub-account/list": lambda params, now: (200, self._page([], params, "data")),
            f"{_API}/sub-account/transfer": self._transfer_sub,
            f"{_API}/sub-account/transfer/history": self._list_transfers,
        }

    def call(self, path: str, params: Mapping[str, Any] | None, api_key: str, nonce: int) -> Answered:
        node_ms = self.world.clock.now + self.world.random.choice(self.nature.skews_ms)
        if params is None:
            return 200, {"time": node_ms // 1000} if path.endswith("/time") else self._assets(), node_ms
        if nonce < node_ms - _WINDOW_MS:
            return 422, _nonce_refusal("Your nonce is more than 5 seconds lesser than the current nonce"), node_ms
        if nonce > node_ms + _WINDOW_MS:
            return 422, _nonce_refusal("Your nonce is more than 5 seconds greater than the current nonce"), node_ms
        if (api_key, nonce) in self._nonces:
            return 429, _nonce_refusal("Too many requests."), node_ms
        self._nonces.add((api_key, nonce))
        try:
            status, answer = self._rules[path](params, node_ms)
        except Refused as refused:
            return refused.status, refused.body, node_ms
        return status, answer, node_ms

    def names(self, reference: str) -> frozenset[str]:
        return self._names.get(reference, frozenset((reference,)))

    def invested(self) -> dict[str, str]:
        return {plan: f"{one['invested']:f}" for plan, one in self.state.flex.items() if one["status"] == 1}

    def fund(self, ticker: str, amount: str, *, account: str = "main") -> None:
        self._add(account, ticker, Decimal(amount))
        self.deposited[ticker] = self.deposited.get(ticker, Decimal(0)) + Decimal(amount)
        self._keep_state()

    def add_key(self, api_key: str, secret: str) -> None:
        """Every key is one of the account's."""

    def audit(self) -> None:
        sums: dict[str, Decimal] = {}
        for (_, ticker), amount in self.state.balances.items():
            assert amount >= 0, "a balance is negative"
            sums[ticker] = sums.get(ticker, Decimal(0)) + amount
        for one in (*self.state.flex.values(), *self.state.fixed.values()):
            sums[one["ticker"]] += one["invested"] if one["status"] == 1 else 0
        assert sums == self.deposited, f"the ledger holds {sums} of {self.deposited}"

    def held_at(self, at_ms: int, account: str, ticker: str) -> Decimal:
        """What one balance held at a moment."""
        return self._state_at(at_ms).held(account, ticker)

    # What is read

    def _seen(self) -> _State:
        """The state that one replica shows."""
        return self._state_at(self.world.clock.now - self.world.random.choice(self.nature.lags_ms))

    def _state_at(self, at_ms: int) -> _State:
        place = bisect_right(self._moments, at_ms)
        return self._states[place - 1] if place else self._states[0]

    def _list_plans(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        rows = [
            {
                "id": plan["id"],
                "ticker": plan["ticker"],
                "minInvestment": plan["minimum"],
                "maxInvestment": plan.get("maximum", "5000"),
                "maxRate": plan.get("rate", "0.05"),
            }
            for plan in self.plans.values()
            if params.get("ticker") in (None, plan["ticker"])
        ]
        return 200, rows[params.get("offset", 0) :][: params.get("limit", 100)]

    def _list_investments(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        status = params.get("investmentStatus")
        rows = [
            {
                "id": one["id"],
                "planId": plan,
                "currency": one["ticker"],
                "invested": f"{one['invested']:f}",
                "withAutoReinvest": False,
                "status": one["status"],
                "createdAt": one["created"],
                "updatedAt": one["updated"],
            }
            for plan, one in self._seen().flex.items()
            if params.get("plan") in (None, plan)
            and params.get("ticker") in (None, one["ticker"])
            and status in (None, one["status"])
        ]
        return 200, self._page(rows, params, "data")

    def _list_history(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        until = self.world.clock.now - self.world.random.choice(self.nature.lags_ms)
        rows = [
            record["shown"]
            for record in self.records
            if record["at_ms"] <= until
            and params.get("plan") in (None, record["shown"]["planId"])
            and params.get("dateFrom", 0) <= record["shown"]["createdAt"] <= params.get("dateTo", 10**11)
            and record["shown"]["actionType"] in params.get("actionTypes", (record["shown"]["actionType"],))
        ]
        rows.sort(key=lambda row: row["createdAt"], reverse=True)
        return 200, self._page(rows, params, "data")

    def _list_fixed(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        rows = [
            {
                "id": name,
                "plan": {"id": one["plan"], "ticker": one["ticker"], "status": 1, "percent": "1", "duration": 43200},
                "status": one["status"],
                "created": one["created"],
                "updated": one["updated"],
                "paymentTime": one["created"] + _PERIOD_S,
                "amount": self._shown_amount(one["invested"]),
                "interestPaid": "0",
            }
            for name, one in reversed(self._seen().fixed.items())
            if params.get("id") in (None, name) and params.get("status") in (None, one["status"])
        ]
        return 200, self._page(rows, params, "records")

    def _list_transfers(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        until = self.world.clock.now - self.world.random.choice(self.nature.lags_ms)
        rows = [one["shown"] for one in reversed(self.transfers) if one["at_ms"] <= until]
        assert params.get("offset", 0) + params["limit"] < 10_000
        page = self._page(rows, params, "data")
        return 200, page["data"] if self.nature.bare else page

    def _page(self, rows: list[Any], params: Mapping[str, Any], name: str) -> dict[str, Any]:
        limit, offset = min(params.get("limit", 50), self.nature.page), params.get("offset", 0)
        page = rows[offset : offset + limit]
        if page and self.nature.repeats and self.world.random.random() < self.nature.repeats:
            page = [*page[:-1], page[-1], page[-1]][:limit]
        return {name: page, "limit": limit, "offset": offset}

    def _balance(self, account: str, params: Mapping[str, Any], label: str) -> tuple[int, Any]:
        state = self._seen() if self.nature.balances_lag else self.state
        ticker = params.get("ticker")
        if ticker is not None:
            return 200, _balance_row(state.held(account, ticker), ticker, label)
        found = {one for held, one in state.balances if held == account}
        return 200, {one: _balance_row(state.held(account, one), "", label) for one in sorted(found)}

    def _assets(self) -> dict[str, Any]:
        tickers = {plan["ticker"] for plan in self.plans.values()}
        return {
            ticker: {"name": ticker, "can_withdraw": True, "can_deposit": True, "currency_precision": 8}
            for ticker in sorted(tickers)
        }

    # What moves

    def _invest(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        plan, amount = self.plans[params["plan"]], Decimal(params["amount"])
        ticker = plan["ticker"]
        if amount < Decimal(plan["minimum"]):
            raise Refused(2, amount="Amount is less than min investment")
        self._require(amount, self.state.held("main", ticker), 4)
        held = self._active(plan["id"])
        if held is None:
            held = {"id": self._new_id("inv"), "ticker": ticker, "invested": Decimal(0), "created": now_ms // 1000}
            self.state.flex[plan["id"]] = held
        actions = (_INVEST,) if held["invested"] else (_INVEST, _OPEN) if self.nature.records == 2 else (_OPEN,)
        self._add("main", ticker, -amount)
        held.update(invested=held["invested"] + amount, status=1, updated=now_ms // 1000)
        return self._moved(plan["id"], amount, actions, now_ms)

    def _withdraw(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        plan, amount = self.plans[params["plan"]], Decimal(params["amount"])
        held = self._held(plan["id"])
        left = held["invested"] - amount
        if left < 0:
            raise Refused(0, amount="Withdraw amount exceeds total invested")
        if left == 0:
            actions = (_WITHDRAW, _CLOSE) if self.nature.records == 2 else (_CLOSE,)
            return self._end(plan["id"], held, actions, now_ms)
        if left < Decimal(plan["minimum"]):
            raise Refused(0, minAmountLeft="Amount left < min investment")
        held.update(invested=left, updated=now_ms // 1000)
        return self._paid_out(plan["id"], held["ticker"], amount, (_WITHDRAW,), now_ms)

    def _close(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        actions = (_WITHDRAW, _CLOSE) if self.nature.records == 2 else (_CLOSE,)
        return self._end(params["plan"], self._held(params["plan"]), actions, now_ms)

    def _end(self, plan: str, held: dict[str, Any], actions: tuple[int, ...], now_ms: int) -> tuple[int, Any]:
        amount = held["invested"]
        held.update(invested=Decimal(0), status=0, updated=now_ms // 1000)
        return self._paid_out(plan, held["ticker"], amount, actions, now_ms)

    def _paid_out(
        self, plan: str, ticker: str, amount: Decimal, actions: tuple[int, ...], now_ms: int
    ) -> tuple[int, Any]:
        interest = Decimal("0.0371") if self.nature.interest else Decimal(0)
        self._add("main", ticker, amount + interest)
        self.deposited[ticker] += interest
        return self._moved(plan, amount + interest, actions, now_ms)

    def _fixed_invest(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        amount = Decimal(params["amount"])
        self._require(amount, self.state.held("main", "USDT"), 4)
        self._add("main", "USDT", -amount)
        name, second = self._new_id("term"), now_ms // 1000
        self.state.fixed[name] = {
            "plan": params["planId"],
            "ticker": "USDT",
            "invested": amount,
            "status": 1,
            "created": second,
            "updated": second,
        }
        self._keep_state()
        return 201, {"id": name}

    def _fixed_close(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        one = self.state.fixed[params["id"]]
        if one["status"] == 2:
            raise Refused(0, error="Investment is already closed")
        self._add("main", one["ticker"], one["invested"])
        one.update(status=2, updated=now_ms // 1000)
        self._keep_state()
        return 200, {}

    def _transfer(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        amount, ticker = Decimal(params["amount"]), params["ticker"]
        self._require(amount, self.state.held(params["from"], ticker), 3)
        self._add(params["from"], ticker, -amount)
        self._add(params["to"], ticker, amount)
        self._keep_state()
        return 201, []

    def _transfer_sub(self, params: Mapping[str, Any], now_ms: int) -> tuple[int, Any]:
        amount, ticker = Decimal(params["amount"]), params["ticker"]
        source, target = params["direction"].split("_to_")
        self._require(amount, self.state.held(source, ticker), 3)
        self._add(source, ticker, -amount)
        self._add(target, ticker, amount)
        name = self._new_id("tx")
        shown = {
            "transaction_id": name,
            "id": name,
            "direction": params["direction"],
            "currency": ticker,
            "amount": f"{'-' if source == 'main' and self.nature.signed else ''}{self._shown_amount(amount)}",
            "createdAt": self._stamp(now_ms),
        }
        self.transfers.append({"at_ms": self.world.clock.now, "shown": shown})
        self._keep_state()
        return 200, {"transaction_id": name}

    def _stamp(self, now_ms: int) -> int:
        late = self.nature.stamp_late_ms
        return (now_ms + (self.world.random.randint(0, late) if late else 0)) // 1000

    def _moved(self, plan: str, amount: Decimal, actions: tuple[int, ...], now_ms: int) -> tuple[int, Any]:
        """Write a move's records, and answer with the identifier of one of them."""
        nature, stamp = self.nature, self._stamp(now_ms)
        ids: list[str | None] = [self._new_id("tx") for _ in actions]
        if len(ids) == 2 and nature.ids != "own":
            ids[1] = ids[0] if nature.ids == "shared" else None
        for identifier, action in zip(ids, actions, strict=True):
            leaves = action in (_WITHDRAW, _CLOSE)
            shown = {
                "createdAt": stamp,
                "planId": plan,
                "investmentId": self.state.flex[plan]["id"],
                "currency": self.plans[plan]["ticker"],
                "amount": f"{'-' if leaves and nature.signed else ''}{self._shown_amount(amount)}",
                "transaction_id": identifier,
                "actionType": _NEW
                if nature.new_actions and self.world.random.random() < nature.new_actions
                else action,
            }
            self.records.append({"at_ms": self.world.clock.now, "shown": shown})
        known = [one for one in ids if one is not None]
        named = known[-1] if nature.answers_second else known[0]
        self._names.update(dict.fromkeys(known, frozenset(known)))
        self._keep_state()
        return 201, {"data": {"transaction_id": named}}

    def _shown_amount(self, amount: Decimal) -> str:
        return f"{amount.quantize(_EIGHT, ROUND_DOWN) if self.nature.rounded else amount:f}"

    def _require(self, amount: Decimal, available: Decimal, code: int) -> None:
        if amount > available:
            said = "You don't have such amount for transfer (available" if code == 3 else "Available"
            raise Refused(code, amount=f"{said} {available:f} < {amount:f}")

    def _active(self, plan: str) -> dict[str, Any] | None:
        held = self.state.flex.get(plan)
        return held if held is not None and held["status"] == 1 else None

    def _held(self, plan: str) -> dict[str, Any]:
        held = self._active(plan)
        if held is None and plan in self.state.flex:
            raise Refused(0, investment="Cannot withdraw from closed investment")
        if held is None:
            raise Refused(0, amount="Investment does not exist")
        return held

    def _add(self, account: str, ticker: str, amount: Decimal) -> None:
        self.state.balances[account, ticker] = self.state.held(account, ticker) + amount

    def _keep_state(self) -> None:
        self._moments.append(self.world.clock.now)
        now = self.state
        flex, fixed = ({name: dict(one) for name, one in held.items()} for held in (now.flex, now.fixed))
        self._states.append(_State(dict(now.balances), flex, fixed))

    def _new_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}_{self._ids}"


def make_exchange(world: World, scenario: dict[str, Any], lag_s: int = 0) -> SimulatedExchange:
    """An exchange as the package expects it: for every fourth seed the sandbox, else one that is much faster.

    :param scenario: as the sandbox reads it.
    :param lag_s: seconds after which the records show a move.
    """
    if world.seed % 4 == 0:
        return SandboxExchange(world, scenario, lag_s)
    plans = scenario.get("plans") or [{"id": PLAN, "ticker": "USDT", "minimum": "10"}]
    return NodesExchange(world, Nature(lags_ms=(1000 * lag_s,)), plans, scenario["balances"]["sandbox"], TERM)


def _balance_row(amount: Decimal, ticker: str, label: str) -> Any:
    shown = f"{amount:f}"
    if not label:
        return {ticker: shown} if ticker else shown
    return {"available": shown, "freeze": "0"} if label == "available" else {label: shown}


def _nonce_refusal(text: str) -> dict[str, Any]:
    return {"code": 0, "message": text, "errors": {}}
