"""One method for each reading call of the exchange, one iterator for each paged list, and the one door for moves.

Vendor pages: Lending (Flex and Fixed plans), Main balance, Trading balance, Collateral account balance, Transfer
between balances, Server time, Asset status list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

import pendulum

from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.client.models import (
    Asset,
    FixedInvestment,
    FixedPlan,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    InterestPayment,
    Record,
    TradeBalance,
    parse_amount,
)
from airflow_provider_whitebit.client.paging import in_pages, in_pages_by_time
from airflow_provider_whitebit.client.transport import SERVER_TIME, Transport, server_seconds

FLEX = "/api/v4/main-account/smart-flex"
FIXED = "/api/v4/main-account/smart"
MAIN_BALANCE = "/api/v4/main-account/balance"
TRADE_BALANCE = "/api/v4/trade-account/balance"
COLLATERAL_BALANCE = "/api/v4/collateral-account/balance"
TRANSFER = "/api/v4/main-account/transfer"
ASSETS = "/api/v4/public/assets"

RecordT = TypeVar("RecordT", bound=Record)


class Reference(StrEnum):
    """What identifies a move in the answer to its call."""

    TRANSACTION = "transaction"
    INVESTMENT = "investment"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class MoveCall:
    """A call that moves money, not yet sent: its path, its parameters, and what its answer names."""

    path: str
    params: dict[str, Any] = field(default_factory=dict)
    names: Reference = Reference.TRANSACTION


def flex_invest_call(plan_id: str, amount: Decimal, *, with_reinvest: bool = False) -> MoveCall:
    """Open an investment in a Flex plan, or add to it. Answers with a transaction id."""
    params = {"plan": plan_id, "amount": format(amount, "f"), "withReinvest": with_reinvest}
    return MoveCall(f"{FLEX}/investments/invest", params)


def flex_withdraw_call(plan_id: str, amount: Decimal) -> MoveCall:
    """Take an amount out of the investment in a Flex plan. Answers with a transaction id."""
    return MoveCall(f"{FLEX}/investments/withdraw", {"plan": plan_id, "amount": format(amount, "f")})


def flex_close_call(plan_id: str) -> MoveCall:
    """Close the investment in a Flex plan. Answers with a transaction id."""
    return MoveCall(f"{FLEX}/investments/close", {"plan": plan_id})


def fixed_invest_call(plan_id: str, amount: Decimal) -> MoveCall:
    """Invest in a Fixed plan. Answers with the id of the investment."""
    params = {"planId": plan_id, "amount": format(amount, "f")}
    return MoveCall(f"{FIXED}/investment", params, Reference.INVESTMENT)


def fixed_close_call(investment_id: str) -> MoveCall:
    """Close an investment in a Fixed plan before its term ends: its interest is forfeited. Answers with nothing."""
    return MoveCall(f"{FIXED}/investment/close", {"id": investment_id}, Reference.NOTHING)


def transfer_call(ticker: str, amount: Decimal, source: str, target: str) -> MoveCall:
    """Move an amount between ``main`` and ``spot`` or ``collateral``. Answers with nothing."""
    params = {"ticker": ticker, "amount": format(amount, "f"), "from": source, "to": target}
    return MoveCall(TRANSFER, params, Reference.NOTHING)


@dataclass(frozen=True, slots=True)
class IdleCall:
    """A reading call that is only made for the nonce that it uses up."""

    path: str
    params: dict[str, Any] = field(default_factory=dict)


def flex_idle_call(plan_id: str) -> IdleCall:
    """One line of a plan's history."""
    return IdleCall(f"{FLEX}/investments/history", {"plan": plan_id, "limit": 1})


def fixed_idle_call(ticker: str) -> IdleCall:
    """One line of the list of Fixed investments."""
    return IdleCall(f"{FIXED}/investments", {"ticker": ticker, "limit": 1})


def balance_idle_call(ticker: str) -> IdleCall:
    """One Main balance."""
    return IdleCall(MAIN_BALANCE, {"ticker": ticker})


class WhiteBitClient:
    """Reads one account of the exchange. Money moves through ``moves/`` only, by way of :meth:`send_move`.

    :param transport: connection to the exchange.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def clock(self) -> ExchangeClock:
        """The exchange's clock as far as this client has learnt it."""
        return self._transport.clock

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def server_time(self) -> pendulum.DateTime:
        """The exchange's time, to the second, in UTC. Teaches :attr:`clock`.

        :raises WhiteBitUnavailableError: no usable answer.
        """
        local_ms = self.clock.local_ms
        sent = local_ms()
        seconds = server_seconds(self._transport.public(SERVER_TIME))
        self.clock.observe(seconds, sent, local_ms())
        return pendulum.from_timestamp(seconds, tz="UTC")

    def assets(self) -> dict[str, Asset]:
        """Public facts of every asset by ticker, the number of decimals among them.

        :raises WhiteBitUnavailableError: no usable answer.
        """
        answer = _mapping(ASSETS, self._transport.public(ASSETS))
        return {ticker: Asset.from_api(ticker, raw) for ticker, raw in answer.items()}

    def main_balance(self, ticker: str | None = None) -> dict[str, Decimal]:
        """Main balance by ticker; with ``ticker`` only that one.

        The exchange answers 0 for a ticker that it does not know.

        :param ticker: the asset; all by default.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        answer = _mapping(MAIN_BALANCE, self._transport.private(MAIN_BALANCE, _given(ticker=ticker)))
        by_ticker = answer if ticker is None else {ticker: answer}
        return {name: _main_balance(name, raw) for name, raw in by_ticker.items()}

    def flex_plans(self, *, ticker: str | None = None, limit: int | None = None, offset: int = 0) -> Iterator[FlexPlan]:
        """Flex plans on offer, page by page as they are asked for.

        :param ticker: only plans of this asset.
        :param limit: at most so many; all of them by default.
        :param offset: leave out so many at the beginning.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        return self._pages(f"{FLEX}/plans", _given(ticker=ticker), FlexPlan.from_api, limit, offset)

    def flex_investments(
        self,
        *,
        ticker: str | None = None,
        plan: str | None = None,
        investment: str | None = None,
        investment_status: int | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[FlexInvestment]:
        """Flex investments of the account, page by page as they are asked for.

        :param ticker: only of this asset.
        :param plan: only in the plan with this id.
        :param investment: only the investment with this id.
        :param investment_status: 1 active, 0 closed; both by default.
        :param limit: at most so many; all of them by default.
        :param offset: leave out so many at the beginning.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(ticker=ticker, plan=plan, investment=investment, investmentStatus=investment_status)
        return self._pages(f"{FLEX}/investments", params, FlexInvestment.from_api, limit, offset)

    def flex_history(
        self,
        *,
        plan: str | None = None,
        investment: str | None = None,
        transaction: str | None = None,
        date_from: datetime | int | None = None,
        date_to: datetime | int | None = None,
        action_types: Sequence[int] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[FlexTransaction]:
        """Flex transactions, newest first, page by page as they are asked for, however many there are.

        :param plan: only of the plan with this id.
        :param investment: only of the investment with this id.
        :param transaction: only the transaction with this id.
        :param date_from: not before; an aware time or Unix seconds.
        :param date_to: not after; an aware time or Unix seconds.
        :param action_types: only these actions, see :class:`~.models.FlexAction`.
        :param limit: at most so many; all of them by default.
        :param offset: leave out so many at the beginning.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _history_filters(plan, investment, transaction, date_from, date_to)
        if action_types is not None:
            params["actionTypes"] = [int(action) for action in action_types]
        return self._history(f"{FLEX}/investments/history", params, limit, offset)

    def flex_payments(
        self,
        *,
        plan: str | None = None,
        investment: str | None = None,
        transaction: str | None = None,
        date_from: datetime | int | None = None,
        date_to: datetime | int | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[FlexTransaction]:
        """Daily Flex earnings, newest first; parameters as for :meth:`flex_history`.

        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _history_filters(plan, investment, transaction, date_from, date_to)
        return self._history(f"{FLEX}/investments/payment-history", params, limit, offset)

    def flex_auto_reinvest(self, plan_id: str, *, enabled: bool) -> None:
        """Switch auto-reinvest of the investment in a plan. Doing it again changes nothing, so it is repeatable.

        :param plan_id: the plan.
        :param enabled: on or off.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        self._transport.private(f"{FLEX}/investments/auto-invest", {"plan": plan_id, "enabled": enabled})

    def trade_balance(self, ticker: str | None = None) -> dict[str, TradeBalance]:
        """Trade (spot) balance by ticker; with ``ticker`` only that one.

        :param ticker: the asset; all by default.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        answer = _mapping(TRADE_BALANCE, self._transport.private(TRADE_BALANCE, _given(ticker=ticker)))
        by_ticker = answer if ticker is None else {ticker: answer}
        return {name: TradeBalance.from_api(raw) for name, raw in by_ticker.items()}

    def collateral_balance(self, ticker: str | None = None) -> dict[str, Decimal]:
        """Collateral balance by ticker; with ``ticker`` only that one.

        :param ticker: the asset; all by default.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        answer = _mapping(COLLATERAL_BALANCE, self._transport.private(COLLATERAL_BALANCE, _given(ticker=ticker)))
        if ticker is not None:
            answer = {ticker: answer.get(ticker)}
        return {name: _plain_balance(COLLATERAL_BALANCE, name, raw) for name, raw in answer.items()}

    def fixed_plans(self, *, ticker: str | None = None) -> list[FixedPlan]:
        """Fixed plans, those among them that cannot be invested in now.

        :param ticker: only plans of this asset.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        path = f"{FIXED}/plans"
        return [FixedPlan.from_api(raw) for raw in _records(path, self._transport.private(path, _given(ticker=ticker)))]

    def fixed_investments(
        self,
        *,
        investment: str | None = None,
        ticker: str | None = None,
        investment_status: int | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[FixedInvestment]:
        """Fixed investments of the account, page by page as they are asked for.

        :param investment: only the investment with this id.
        :param ticker: only of this asset.
        :param investment_status: 1 active, 2 closed; both by default.
        :param limit: at most so many; all of them by default.
        :param offset: leave out so many at the beginning.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(id=investment, ticker=ticker, status=investment_status)
        return self._pages(f"{FIXED}/investments", params, FixedInvestment.from_api, limit, offset)

    def fixed_payments(
        self, *, plan: str | None = None, ticker: str | None = None, limit: int | None = None, offset: int = 0
    ) -> Iterator[InterestPayment]:
        """Interest that Fixed investments have paid, page by page as it is asked for.

        :param plan: only of the plan with this id.
        :param ticker: only paid in this asset.
        :param limit: at most so many; all of them by default.
        :param offset: leave out so many at the beginning.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(planId=plan, ticker=ticker)
        return self._pages(f"{FIXED}/interest-payment-history", params, InterestPayment.from_api, limit, offset)

    def send_move(self, call: MoveCall, *, nonce: int) -> str | None:
        """Send a money-moving call exactly once. Only ``moves/`` may call this: it keeps count of what was sent.

        :param nonce: milliseconds; the exchange accepts the call at most 5 s from it on its own clock.
        :returns: the identifier that the exchange gave it: of a transaction, of an investment, or none.
        :raises WhiteBitError: ``money_moved`` is ``False`` where it certainly did not run, else ``None``.
        """
        answer = self._transport.once(call.path, call.params, nonce=nonce)
        if call.names is Reference.NOTHING and isinstance(answer, Mapping | list):
            return None
        found = answer if isinstance(answer, Mapping) else {}
        if call.names is Reference.TRANSACTION:
            data = found.get("data")
            identifier = data.get("transaction_id") if isinstance(data, Mapping) else None
        else:
            identifier = found.get("id")
        if not isinstance(identifier, str | int) or identifier in ("", True, False):
            raise WhiteBitUnavailableError(
                f"The exchange's answer names no {call.names}.", path=call.path, money_moved=None
            )
        return str(identifier)

    def take_nonce(self, nonce: int, *, call: IdleCall) -> None:
        """Use up one nonce with a harmless call.

        :param nonce: milliseconds, within the five-second window.
        :param call: what is asked; its answer does not matter.
        :raises WhiteBitNonceError: somebody with the same key has used it, or it is outside the window.
        :raises WhiteBitError: another refusal, or no usable answer: then it is not known whether it was used up.
        """
        self._transport.once(call.path, call.params, nonce=nonce)

    def _pages(
        self,
        path: str,
        params: dict[str, Any],
        record: Callable[[Mapping[str, Any]], RecordT],
        limit: int | None,
        offset: int,
    ) -> Iterator[RecordT]:
        """The records of a list that can only be counted off."""
        most = _checked(path, limit, offset)
        fetch = self._fetch(path, params, record, limit)
        return islice(_naming(path, in_pages(fetch, name=_whole, offset=offset)), most)

    def _history(self, path: str, params: dict[str, Any], limit: int | None, offset: int) -> Iterator[FlexTransaction]:
        """The records of a list that can be asked for by time."""
        most = _checked(path, limit, offset)
        fetch = self._fetch(path, params, FlexTransaction.from_api, limit)
        records = in_pages_by_time(
            fetch,
            name=lambda record: record.transaction_id,
            second=lambda record: int(record.created_at.timestamp()),
            until=params.get("dateTo"),
            offset=offset,
        )
        return islice(_naming(path, records), most)

    def _fetch(
        self, path: str, params: dict[str, Any], record: Callable[[Mapping[str, Any]], RecordT], limit: int | None
    ) -> Callable[[int, int, int | None], list[RecordT]]:
        def fetch(size: int, offset: int, until: int | None) -> list[RecordT]:
            wanted = {**params, "limit": min(size, limit or size), "offset": offset}
            if until is not None:
                wanted["dateTo"] = until
            return [record(entry) for entry in _records(path, self._transport.private(path, wanted))]

        return fetch


def _checked(path: str, limit: int | None, offset: int) -> int | None:
    """How many records are wanted. :raises WhiteBitValidationError: if limit or offset make no sense."""
    for name, value, least in (("limit", 1 if limit is None else limit, 1), ("offset", offset, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise WhiteBitValidationError(f"{name} must be a whole number, at least {least}, not {value!r}.", path=path)
    return limit


def _naming(path: str, records: Iterator[RecordT]) -> Iterator[RecordT]:
    """The same records; errors that are about the list as a whole name its path."""
    try:
        yield from records
    except WhiteBitError as error:
        error.path = error.path or path
        raise


def _whole(record: Record) -> object:
    return getattr(record, "id", record)


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _history_filters(
    plan: str | None,
    investment: str | None,
    transaction: str | None,
    date_from: datetime | int | None,
    date_to: datetime | int | None,
) -> dict[str, Any]:
    return _given(
        plan=plan,
        investment=investment,
        transaction=transaction,
        dateFrom=unix_seconds("date_from", date_from),
        dateTo=unix_seconds("date_to", date_to),
    )


def unix_seconds(name: str, moment: datetime | int | None) -> int | None:
    """Unix seconds of an aware time, or of themselves. :raises WhiteBitValidationError: if it is neither."""
    if moment is None or (isinstance(moment, int) and not isinstance(moment, bool)):
        return moment
    if not isinstance(moment, datetime):
        raise WhiteBitValidationError(f"{name} must be a time or Unix seconds, not {type(moment).__name__}.")
    if moment.tzinfo is None:
        raise WhiteBitValidationError(f"{name} has no time zone: give an aware time, for example in UTC.")
    return int(moment.timestamp())


def _records(path: str, answer: Any) -> Sequence[Any]:
    """The list in an answer: plans come bare, Flex lists under ``data``, Fixed lists under ``records``."""
    found = answer.get("data", answer.get("records")) if isinstance(answer, Mapping) else answer
    if not isinstance(found, list):
        raise WhiteBitUnavailableError("The exchange sent no list where one was expected.", path=path)
    return found


def _mapping(path: str, answer: Any) -> Mapping[str, Any]:
    # PHP writes an empty object as an empty list.
    if answer == []:
        return {}
    if not isinstance(answer, Mapping):
        raise WhiteBitUnavailableError("The exchange sent no object where one was expected.", path=path)
    return answer


def _main_balance(ticker: str, raw: Any) -> Decimal:
    return _plain_balance(MAIN_BALANCE, ticker, raw.get("main_balance") if isinstance(raw, Mapping) else None)


def _plain_balance(path: str, ticker: str, raw: Any) -> Decimal:
    try:
        return parse_amount(raw)
    except ValueError:
        raise WhiteBitUnavailableError(f"The exchange sent no readable balance of {ticker}.", path=path) from None
