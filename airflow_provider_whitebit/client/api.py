"""A client that reads one account: one method for each call, one iterator for each paged list.

Vendor pages: Lending (Flex and Fixed plans), Main balance, Trading balance, Collateral account balance, Transfer
between balances, Get deposit/withdraw history, Sub-accounts, Server time, Maintenance status, Asset status list, Market
activity.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar, overload

import pendulum

from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.endpoints import (
    ASSETS,
    COLLATERAL_BALANCE,
    FIXED,
    FLEX,
    MAIN_BALANCE,
    MAIN_HISTORY,
    MARKET_ACTIVITY,
    PLATFORM_STATUS,
    SERVER_TIME,
    SUB_ACCOUNT,
    SUB_ACCOUNT_TRANSFERS,
    TRADE_BALANCE,
)
from airflow_provider_whitebit.client.errors import (
    WhiteBitUnavailableError,
    WhiteBitValidationError,
    clean,
    shown,
)
from airflow_provider_whitebit.client.models import (
    LATEST_SECONDS,
    AnsweredRecord,
    Asset,
    FixedInvestment,
    FixedPlan,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    InterestPayment,
    MainTransaction,
    MarketActivity,
    PlatformStatus,
    SubAccount,
    SubAccountBalance,
    SubAccountTransaction,
    TradeBalance,
    parse_amount,
    read_text,
)
from airflow_provider_whitebit.client.paging import (
    PagedList,
    between,
    entries_in,
    in_pages,
    in_pages_by_time,
    parse_entries,
)
from airflow_provider_whitebit.client.transport import Transport, server_seconds
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, readable, warn

log = logging.getLogger(__name__)

RecordT = TypeVar("RecordT", bound=AnsweredRecord)
ValueT = TypeVar("ValueT")
UnknownT = TypeVar("UnknownT")
OfPlanT = TypeVar("OfPlanT", FlexInvestment, FlexTransaction)
#: Called with each record that cannot be read, which is then left out. Without it, such a record is an error.
Report = Callable[[UnreadableRecord], object]

#: The vendor's page of the deposit/withdraw history names 201 as its success.
_HISTORY_STATUSES = frozenset({200, 201})
#: Most records that a caller can ask for, or leave out. No account has that many.
_MOST_RECORDS = 10**9


class WhiteBitClient:
    """Reads one account of the exchange. It cannot move money: the hook's methods do.

    Methods that read lists take ``on_unreadable``, a function that is called with each record that cannot be read
    (:class:`~.unreadable.UnreadableRecord`). The list then goes on without that record. By default it is an error.

    :param transport: connection to the exchange.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._unknown_status: str | None = None

    @property
    def clock(self) -> ExchangeClock:
        """The exchange's clock as far as this client has learnt it."""
        return self._transport.clock

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def server_time(self) -> pendulum.DateTime:
        """The exchange's time, to the second, in UTC. Updates :attr:`clock`.

        :raises WhiteBitUnavailableError: no usable answer.
        """
        local_ms = self.clock.local_ms
        sent = local_ms()
        seconds = server_seconds(self._transport._repeatable(SERVER_TIME))
        self.clock.observe(seconds, sent, local_ms())
        return pendulum.from_timestamp(seconds, tz="UTC")

    def platform_status(self) -> PlatformStatus:
        """The exchange's own word on whether it is operational or in maintenance. It answers in maintenance too.

        A word that is neither is logged, once.

        :raises WhiteBitUnavailableError: no usable answer.
        """
        answer = self._transport._repeatable(PLATFORM_STATUS)
        try:
            status = PlatformStatus.from_api(answer)
        except WhiteBitUnavailableError as error:
            error.path = PLATFORM_STATUS
            raise
        if not status.operational and not status.maintenance and status.status != self._unknown_status:
            self._unknown_status = status.status
            log.warning("The exchange's platform status is %r: neither operational nor maintenance", status.status)
        return status

    def assets(self) -> dict[str, Asset]:
        """Public facts of every asset by ticker, the number of decimals among them; ``None`` where it is not known.

        Payment methods and some fiat currencies have none. They cannot be moved here.

        :raises WhiteBitUnavailableError: no usable answer.
        """
        answer = _mapping(ASSETS, self._transport._repeatable(ASSETS))
        return {ticker: Asset.from_api(ticker, raw) for ticker, raw in _named(answer)}

    def market_activity(self, *, on_unreadable: Report | None = None) -> dict[str, MarketActivity]:
        """Last price and activity of every market by name, such as ``BTC_USDT``. The exchange renews it each second.

        :param on_unreadable: called with each market that cannot be read. By default, such a market is an error.
        :raises WhiteBitUnavailableError: no usable answer.
        """
        path, kind = MARKET_ACTIVITY, MarketActivity
        answer = _named(_mapping(path, self._transport._repeatable(path)))
        # The name is outside of the entry.
        entries = [{**(raw if isinstance(raw, Mapping) else {}), "market": name} for name, raw in answer]
        markets = parse_entries(entries, kind.from_api, _salvage(kind, path, on_unreadable))
        return {one.market: one for one in (readable(markets, on_unreadable) if on_unreadable else markets)}

    @overload
    def main_balance(self, ticker: str) -> dict[str, Decimal]: ...
    @overload
    def main_balance(self, ticker: None = None) -> dict[str, Decimal | None]: ...
    def main_balance(self, ticker: str | None = None) -> Mapping[str, Decimal | None]:
        """Main balance by ticker; with ``ticker`` only that one.

        The exchange answers 0 for a ticker that it does not know.

        :param ticker: the asset; all by default.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        :returns: amounts in units of the asset; ``None`` for one of all that cannot be read.
        """
        return self._balances(MAIN_BALANCE, ticker, _main_balance)

    def flex_plans(
        self,
        *,
        ticker: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        on_unreadable: Report | None = None,
    ) -> Iterator[FlexPlan]:
        """Flex plans on offer, fetched page by page.

        :param ticker: only plans of this asset.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        return self._pages(f"{FLEX}/plans", _given(ticker=ticker), FlexPlan, limit, offset, on_unreadable)

    def flex_investments(
        self,
        *,
        ticker: str | None = None,
        plan: str | None = None,
        investment: str | None = None,
        investment_status: int | None = None,
        limit: int | None = None,
        offset: int = 0,
        on_unreadable: Report | None = None,
    ) -> Iterator[FlexInvestment]:
        """Flex investments of the account, fetched page by page. Without a currency, they have that of their plan.

        :param ticker: only of this asset.
        :param plan: only in the plan with this id.
        :param investment: only the investment with this id.
        :param investment_status: 1 active, 0 closed; both by default.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(ticker=ticker, plan=plan, investment=investment, investmentStatus=investment_status)
        found = self._pages(f"{FLEX}/investments", params, FlexInvestment, limit, offset, on_unreadable)
        return self._with_currency(found)

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
        on_unreadable: Report | None = None,
        strict: bool = False,
    ) -> Iterator[FlexTransaction]:
        """Flex transactions, fetched page by page. A history can have any length.

        They are in the exchange's order: newest first, which it does not promise.

        :param plan: only of the plan with this id.
        :param investment: only of the investment with this id.
        :param transaction: only the transaction with this id.
        :param date_from: not before; an aware time or Unix seconds.
        :param date_to: not after; an aware time or Unix seconds.
        :param action_types: only these actions, see :class:`~.models.FlexAction`.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :param strict: accept an empty list only if it is certain: for a caller that draws conclusions from it.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _history_filters(plan, investment, transaction, date_from, date_to)
        if action_types is not None:
            params["actionTypes"] = [int(action) for action in action_types]
        return self._history(f"{FLEX}/investments/history", params, limit, offset, on_unreadable, strict)

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
        on_unreadable: Report | None = None,
    ) -> Iterator[FlexTransaction]:
        """Daily Flex earnings; order and parameters as for :meth:`flex_history`.

        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _history_filters(plan, investment, transaction, date_from, date_to)
        return self._history(f"{FLEX}/investments/payment-history", params, limit, offset, on_unreadable)

    @overload
    def trade_balance(self, ticker: str) -> dict[str, TradeBalance]: ...
    @overload
    def trade_balance(self, ticker: None = None) -> dict[str, TradeBalance | None]: ...
    def trade_balance(self, ticker: str | None = None) -> Mapping[str, TradeBalance | None]:
        """Trade (spot) balance by ticker; with ``ticker`` only that one.

        :param ticker: the asset; all by default.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        :returns: the balances; ``None`` for one of all that cannot be read.
        """
        return self._balances(TRADE_BALANCE, ticker, TradeBalance.read)

    @overload
    def collateral_balance(self, ticker: str) -> dict[str, Decimal]: ...
    @overload
    def collateral_balance(self, ticker: None = None) -> dict[str, Decimal | None]: ...
    def collateral_balance(self, ticker: str | None = None) -> Mapping[str, Decimal | None]:
        """Collateral balance by ticker; with ``ticker`` only that one.

        :param ticker: the asset; all by default.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        :returns: amounts in units of the asset; ``None`` for one of all that cannot be read.
        """
        return self._balances(COLLATERAL_BALANCE, ticker, parse_amount, inside=True)

    def _balances(
        self, path: str, ticker: str | None, read: Callable[[Any], ValueT], *, inside: bool = False
    ) -> dict[str, ValueT | None]:
        """Balances by ticker.

        :param read: reads the balance of one asset.
        :param inside: whether the answer for one ticker holds its balance by name.
        """
        answer = _mapping(path, self._transport._repeatable(path, _given(ticker=ticker)))
        if ticker is not None:
            raw = answer.get(ticker) if inside else answer
            return {ticker: _balance(path, ticker, raw, read)}
        return _each_balance(path, answer, read, None)

    def fixed_plans(self, *, ticker: str | None = None, on_unreadable: Report | None = None) -> list[FixedPlan]:
        """Fixed plans, including those that are not open for investment.

        :param ticker: only plans of this asset.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        path = f"{FIXED}/plans"
        entries = entries_in(path, self._transport._repeatable(path, _given(ticker=ticker)))
        plans = parse_entries(entries, FixedPlan.from_api, _salvage(FixedPlan, path, on_unreadable))
        return list(readable(plans, on_unreadable)) if on_unreadable else plans

    def fixed_investments(
        self,
        *,
        investment: str | None = None,
        ticker: str | None = None,
        investment_status: int | None = None,
        limit: int | None = None,
        offset: int = 0,
        on_unreadable: Report | None = None,
        strict: bool = False,
    ) -> Iterator[FixedInvestment]:
        """Fixed investments of the account, fetched page by page.

        :param investment: only the investment with this id.
        :param ticker: only of this asset.
        :param investment_status: 1 active, 2 closed; both by default.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :param strict: accept an empty list only if it is certain: for a caller that draws conclusions from it.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(id=investment, ticker=ticker, status=investment_status)
        return self._pages(f"{FIXED}/investments", params, FixedInvestment, limit, offset, on_unreadable, strict=strict)

    def fixed_payments(
        self,
        *,
        plan: str | None = None,
        ticker: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        on_unreadable: Report | None = None,
    ) -> Iterator[InterestPayment]:
        """Interest that Fixed investments have paid, fetched page by page.

        :param plan: only of the plan with this id.
        :param ticker: only paid in this asset.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(planId=plan, ticker=ticker)
        path, made_at = f"{FIXED}/interest-payment-history", attrgetter("timestamp")
        return self._pages(path, params, InterestPayment, limit, offset, on_unreadable, None, made_at)

    def main_history(
        self,
        *,
        method: int | None = None,
        ticker: str | None = None,
        date_from: datetime | int | None = None,
        date_to: datetime | int | None = None,
        limit: int | None = None,
        offset: int = 0,
        on_unreadable: Report | None = None,
    ) -> Iterator[MainTransaction]:
        """Deposits to Main and withdrawals from it, newest first, fetched page by page.

        The exchange does not filter by date, and returns only the newest records, almost 10,000. So the dates are
        compared here, and reading stops soon after ``date_from``.

        :param method: only these, see :class:`~.models.MainMethod`.
        :param ticker: only of this asset.
        :param date_from: not before; an aware time or Unix seconds.
        :param date_to: not after; an aware time or Unix seconds.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(transactionMethod=method, ticker=ticker)
        dates = (date_from, date_to)
        return self._between(MAIN_HISTORY, params, MainTransaction, dates, limit, offset, on_unreadable)

    def sub_accounts(
        self,
        *,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        on_unreadable: Report | None = None,
    ) -> Iterator[SubAccount]:
        """Sub-accounts of the account, fetched page by page.

        :param search: only those that the exchange finds for this text.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        return self._pages(f"{SUB_ACCOUNT}/list", _given(search=search), SubAccount, limit, offset, on_unreadable)

    def sub_account_balances(self, sub_account: str, ticker: str | None = None) -> dict[str, SubAccountBalance]:
        """What a sub-account holds, by ticker.

        :param sub_account: its id.
        :param ticker: only this asset; all by default.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        :returns: the balances; without an amount for one of all that cannot be read.
        """
        path = f"{SUB_ACCOUNT}/balances"
        answer = _mapping(path, self._transport._repeatable(path, _given(id=sub_account, ticker=ticker)))
        if ticker is not None:
            return {name: _balance(path, name, raw, _balance_of_sub_account) for name, raw in _named(answer)}
        return _each_balance(path, answer, _balance_of_sub_account, SubAccountBalance(None, None, None))

    def sub_account_transfers(
        self,
        sub_account: str,
        *,
        direction: str | None = None,
        date_from: datetime | int | None = None,
        date_to: datetime | int | None = None,
        limit: int | None = None,
        offset: int = 0,
        on_unreadable: Report | None = None,
        strict: bool = False,
    ) -> Iterator[SubAccountTransaction]:
        """Transfers between Main and a sub-account, newest first, fetched page by page.

        Dates and the number of records: as for :meth:`main_history`.

        :param sub_account: its id.
        :param direction: only these, see :class:`~.models.Direction`.
        :param date_from: not before; an aware time or Unix seconds.
        :param date_to: not after; an aware time or Unix seconds.
        :param limit: most records to return; all by default.
        :param offset: skip this many records at the beginning.
        :param on_unreadable: called with each record that cannot be read. By default, such a record is an error.
        :param strict: accept an empty list only if it is written as one: for a caller that draws conclusions from it.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        params = _given(id=sub_account, direction=direction)
        dates = (date_from, date_to)
        path, kind = SUB_ACCOUNT_TRANSFERS, SubAccountTransaction
        return self._between(path, params, kind, dates, limit, offset, on_unreadable, strict=strict)

    def _between(
        self,
        path: str,
        params: dict[str, Any],
        kind: type[RecordT],
        dates: tuple[datetime | int | None, datetime | int | None],
        limit: int | None,
        offset: int,
        on_unreadable: Report | None,
        *,
        strict: bool = False,
    ) -> Iterator[RecordT]:
        """The records of a history without a time filter. The exchange checks the sum of offset and limit."""
        most = _checked(path, limit, offset)
        since, until = unix_seconds("date_from", dates[0]), unix_seconds("date_to", dates[1])
        read = partial(self._transport._repeatable, success=_HISTORY_STATUSES)
        # With dates, the limit counts what they leave over.
        page = limit if since is None and until is None else None
        made_at = attrgetter("created_at")
        salvage = _salvage(kind, path, on_unreadable)
        listed = PagedList(read, path, params, kind.from_api, None, made_at, page, offset, True, salvage, strict)
        found = between(in_pages(listed), made_at, since, until)
        return islice(readable(found, on_unreadable) if on_unreadable else found, most)

    def _pages(
        self,
        path: str,
        params: dict[str, Any],
        kind: type[RecordT],
        limit: int | None,
        offset: int,
        on_unreadable: Report | None = None,
        name: Callable[[Any], object] | None = attrgetter("id"),
        made_at: Callable[[Any], datetime | None] | None = None,
        *,
        strict: bool = False,
    ) -> Iterator[RecordT]:
        """The records of a list that can only be paged by offset."""
        most = _checked(path, limit, offset)
        read, salvage = self._transport._repeatable, _salvage(kind, path, on_unreadable)
        listed = PagedList(read, path, params, kind.from_api, name, made_at, limit, offset, False, salvage, strict)
        found = in_pages(listed)
        return islice(readable(found, on_unreadable) if on_unreadable else found, most)

    def _history(
        self,
        path: str,
        params: dict[str, Any],
        limit: int | None,
        offset: int,
        on_unreadable: Report | None,
        strict: bool = False,
    ) -> Iterator[FlexTransaction]:
        """The records of a list that can be filtered by time."""
        most = _checked(path, limit, offset)
        read, parse, salvage = (
            self._transport._repeatable,
            FlexTransaction.from_api,
            _salvage(FlexTransaction, path, on_unreadable),
        )
        made_at, until = attrgetter("created_at"), params.get("dateTo")
        first = offset
        if until is not None:
            # The vendor does not say whether the records of its own second are among them.
            params, first = {**params, "dateTo": until + 1}, 0
        listed = PagedList(read, path, params, parse, None, made_at, limit, first, False, salvage, strict)
        found = in_pages_by_time(listed, until=params.get("dateTo"))
        if until is not None:
            fitting = (one for one in found if (moment := made_at(one)) is None or moment.timestamp() < until + 1)
            found = islice(fitting, offset, None)
        return islice(self._with_currency(readable(found, on_unreadable) if on_unreadable else found), most)

    def _with_currency(self, records: Iterable[OfPlanT]) -> Iterator[OfPlanT]:
        """The records; those that name no asset with the asset of their plan, if that is on offer."""

        @cache
        def tickers() -> dict[str, str]:
            return {plan.id: plan.ticker for plan in self.flex_plans(on_unreadable=warn)}

        def named(record: OfPlanT) -> OfPlanT:
            ticker = None if record.currency else tickers().get(record.plan_id or "")
            return record if ticker is None else replace(record, currency=ticker)

        return map(named, records)


def _checked(path: str, limit: int | None, offset: int) -> int | None:
    """How many records are wanted. :raises WhiteBitValidationError: if limit or offset make no sense."""
    for name, value, least in (("limit", 1 if limit is None else limit, 1), ("offset", offset, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST_RECORDS:
            raise WhiteBitValidationError(
                f"{name} must be a whole number from {least} to {_MOST_RECORDS}, not {shown(value)}.", path=path
            )
    return limit


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
    if moment is None:
        return None
    if isinstance(moment, int) and not isinstance(moment, bool):
        if abs(moment) > LATEST_SECONDS:
            raise WhiteBitValidationError(f"{name} is {shown(moment)}, which is no time in Unix seconds.")
        return moment
    if not isinstance(moment, datetime):
        raise WhiteBitValidationError(f"{name} must be a time or Unix seconds, not {type(moment).__name__}.")
    if moment.tzinfo is None:
        raise WhiteBitValidationError(f"{name} has no time zone: give an aware time, for example in UTC.")
    return int(moment.timestamp())


def _mapping(path: str, answer: Any) -> Mapping[str, Any]:
    # PHP writes an empty object as an empty list.
    if answer == []:
        return {}
    if not isinstance(answer, Mapping):
        raise WhiteBitUnavailableError("The exchange sent no object where one was expected.", path=path)
    return answer


def _named(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entries of an object by ticker, without those whose name cannot be read."""
    for name, raw in answer.items():
        try:
            yield read_text(name), raw
        except ValueError:
            log.warning("Left out, because its name is not a readable text: %r", clean(name, 40))


def _main_balance(raw: Any) -> Decimal:
    if not isinstance(raw, Mapping):
        raise ValueError("is not an object")
    return parse_amount(raw.get("main_balance"))


def _balance_of_sub_account(raw: Any) -> SubAccountBalance:
    # The vendor's example is a list with one entry.
    return SubAccountBalance.read(raw[0] if isinstance(raw, list) and len(raw) == 1 else raw)


def _each_balance(
    path: str, answer: Mapping[str, Any], read: Callable[[Any], ValueT], unknown: UnknownT
) -> dict[str, ValueT | UnknownT]:
    """The balances in an answer by ticker. One that cannot be read is logged, and stops no other.

    :param read: reads the balance of one asset.
    :param unknown: the value for a balance that cannot be read.
    """
    found: dict[str, ValueT | UnknownT] = {}
    for name, raw in _named(answer):
        try:
            found[name] = _balance(path, name, raw, read)
        except WhiteBitUnavailableError as error:
            log.warning("%s (%s)", error.message, path)
            found[name] = unknown
    return found


def _balance(path: str, ticker: str, raw: Any, read: Callable[[Any], ValueT]) -> ValueT:
    try:
        return read(raw)
    except ValueError as error:
        name = clean(ticker, 40)
        raise WhiteBitUnavailableError(
            f"The exchange sent no readable balance of {name}: {error}.", path=path
        ) from None


def _salvage(kind: type[AnsweredRecord], path: str, on_unreadable: Report | None) -> Callable[[Any, int], Any]:
    """What becomes of an entry that cannot be read: a record that says so, or an error that names it."""

    def salvage(raw: Any, place: int) -> UnreadableRecord:
        record = UnreadableRecord.of(kind, path, raw, place)
        assert record is not None
        if on_unreadable is None:
            raise record.error()
        return record

    return salvage
