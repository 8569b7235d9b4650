"""A read-only view of an account: what requests are resolved against."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, TypeVar, overload

from airflow_provider_whitebit.client.api import Report, WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitRefusedError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.client.models import (
    Asset,
    FixedInvestment,
    FixedInvestmentStatus,
    FixedPlan,
    FlexInvestment,
    FlexInvestmentStatus,
    FlexPlan,
    TradeBalance,
)
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, warn
from airflow_provider_whitebit.moves import parsing, selection

log = logging.getLogger(__name__)

FoundT = TypeVar("FoundT")
RecordT = TypeVar("RecordT")
InvestmentT = TypeVar("InvestmentT", FlexInvestment, FixedInvestment)


class Account:
    """Plans, investments and balances of an account. The list of assets is read once, all else at each call.

    An asset that is delisted leaves that list while money may still lie in its plans and balances. So what leads out
    of them does without the list: it reads everything instead of what a refused filter names.

    Every method raises a :class:`WhiteBitError` if the exchange refuses or cannot be reached.

    :param client: reads the account.
    :param wait: waits until a new investment is certainly in the exchange's lists.
    """

    def __init__(self, client: WhiteBitClient, wait: Callable[[], object] = lambda: None) -> None:
        self.client = client
        self._wait = wait

    def find_although_late(self, find: Callable[[], FoundT]) -> FoundT:
        """Find an investment in the exchange's lists, which may not show yet what an earlier task has invested.

        :param find: reads the lists. It is called again if the investment is not there.
        :returns: the result of ``find``.
        :raises WhiteBitValidationError: the investment is not there, also after waiting.
        """
        try:
            return find()
        except WhiteBitValidationError as error:
            log.info("Waiting and looking again, in case the list of investments is late: %s", error.message)
            self._wait()
            return find()

    @cached_property
    def assets(self) -> dict[str, Asset]:
        """Public facts of every asset by ticker."""
        return self.client.assets()

    def asset(self, ticker: str) -> Asset:
        """One asset. :raises WhiteBitValidationError: the exchange does not have it."""
        selection.require_ticker(ticker, self.assets)
        return self.assets[ticker]

    @property
    def listed(self) -> Mapping[str, Asset]:
        """:attr:`assets`; none of them if they cannot be read, which must not close a way out."""
        try:
            return self.assets
        except WhiteBitError as error:
            log.warning("The list of assets cannot be read, so nothing is checked against it: %s", error.message)
            return {}

    def decimals(self, ticker: str) -> int | None:
        """How many decimals amounts of an asset may carry; ``None`` if the exchange does not say."""
        asset = self.listed.get(ticker)
        return None if asset is None else asset.currency_precision

    def transfer_decimals(self, ticker: str) -> int:
        """How many decimals a transfer of an asset may carry, as far as the exchange says."""
        decimals = self.decimals(ticker)
        return selection.TRANSFER_DECIMALS if decimals is None else min(decimals, selection.TRANSFER_DECIMALS)

    def check_decimals(self, amount: Decimal, ticker: str) -> None:
        """Check that an asset can carry an amount.

        :raises WhiteBitValidationError: the amount has more decimals, or the exchange does not have the asset.
        """
        precision = self.asset(ticker).currency_precision
        if precision is None:
            raise selection.no_precision(ticker)
        selection.check_decimals(amount, ticker, precision)

    @overload
    def balances(self, account: str, ticker: str) -> dict[str, Decimal]: ...
    @overload
    def balances(self, account: str = parsing.MAIN, ticker: str | None = None) -> Mapping[str, Decimal | None]: ...
    def balances(self, account: str = parsing.MAIN, ticker: str | None = None) -> Mapping[str, Decimal | None]:
        """One of the balances by ticker; of the spot balance, what is available.

        :param account: ``main``, ``spot`` (also ``trade``) or ``collateral``.
        :param ticker: only this asset; all by default.
        :raises WhiteBitValidationError: unknown balance or asset.
        :returns: amounts in units of the asset; ``None`` for one of all that cannot be read.
        """
        held = self.shown_balances(account, ticker)
        if ticker is None:
            return held
        amount = held.get(ticker, Decimal(0))
        if amount is None:
            raise WhiteBitUnavailableError(f"The exchange sent no readable {account} balance of {ticker}.")
        if not amount:
            # The exchange answers 0 for an unknown ticker, so a typing error would look like an empty balance.
            selection.require_ticker(ticker, self.assets)
        return {ticker: amount}

    def shown_balances(self, account: str = parsing.MAIN, ticker: str | None = None) -> Mapping[str, Decimal | None]:
        """As :meth:`balances`, but an asset that the exchange does not know has no entry, or zero.

        :raises WhiteBitValidationError: unknown balance.
        """
        name = parsing.read_account("account", account)
        # Each method promises an amount for a single ticker, so the two calls have different types.
        if name == parsing.MAIN:
            return self.client.main_balance() if ticker is None else self.client.main_balance(ticker)
        if name == parsing.COLLATERAL:
            held = _own_or_all(self.client.collateral_balance, ticker)
        else:
            spot = _own_or_all(self.client.trade_balance, ticker)
            held = {asset: None if balance is None else balance.available for asset, balance in spot.items()}
        return {asset: amount for asset, amount in held.items() if ticker in (None, asset)}

    def _of(self, ticker: str | None, read: Callable[..., Iterable[RecordT]]) -> Iterable[RecordT]:
        """Read records of an asset; of all assets if the exchange does not list this one.

        :param read: takes the ticker.
        """
        if ticker is None or ticker not in self.listed:
            return read(ticker=None)
        return _unless_refused(lambda: read(ticker=ticker), lambda: read(ticker=None))

    def flex_plans(self, ticker: str | None = None, *, on_unreadable: Report = warn) -> list[FlexPlan]:
        """Flex plans on offer, of one asset or of all.

        :param on_unreadable: called with each record that cannot be read. By default, it is logged.
        """
        read = partial(self.client.flex_plans, on_unreadable=on_unreadable)
        # As _of, but with fewer calls between a move and its request.
        try:
            plans = [*read(ticker=ticker if ticker in self.listed else None)]
        except WhiteBitValidationError:
            plans = [*read()]
        return [plan for plan in plans if ticker in (None, plan.ticker)]

    def flex_plans_if_known(self, ticker: str | None = None) -> list[FlexPlan]:
        """As :meth:`flex_plans`; empty if the plans cannot be read, which must not close a way out."""
        try:
            return self.flex_plans(ticker)
        except WhiteBitError as error:
            log.warning("The plans cannot be read, so their rates and minimums are not known: %s", error.message)
            return []

    def balance_of_sub_account(self, sub_account_id: str, ticker: str) -> Decimal | None:
        """The Main balance of a sub-account; ``None`` if the exchange does not show it.

        :raises WhiteBitValidationError: unknown sub-account or asset.
        """
        balance = self.client.sub_account_balances(sub_account_id, ticker).get(ticker)
        return None if balance is None else balance.main

    def flex_plan(self, plan_id: str) -> FlexPlan:
        """The Flex plan with this id. :raises WhiteBitValidationError: it is not on offer."""
        unreadable: list[UnreadableRecord] = []
        for plan in self.client.flex_plans(on_unreadable=unreadable.append):
            if plan.id.lower() == plan_id:
                return plan
        _check_readable(unreadable, plan_id)
        raise WhiteBitValidationError(
            f"plan_id is {plan_id}, which is not among the plans on offer: it does not exist, is paused, is sold out, "
            "or is private to other users."
        )

    def fixed_plans(self, ticker: str | None = None) -> list[FixedPlan]:
        """Fixed plans, of one asset or of all."""
        return self.client.fixed_plans(ticker=ticker, on_unreadable=warn)

    def fixed_plan(self, plan_id: str) -> FixedPlan:
        """The Fixed plan with this id. :raises WhiteBitValidationError: there is none."""
        unreadable: list[UnreadableRecord] = []
        for plan in self.client.fixed_plans(on_unreadable=unreadable.append):
            if plan.id.lower() == plan_id:
                return plan
        _check_readable(unreadable, plan_id)
        raise WhiteBitValidationError(f"plan_id is {plan_id}, which is not among the Fixed plans.")

    def active_flex_investments(
        self, ticker: str | None = None, *, on_unreadable: Report = warn
    ) -> list[FlexInvestment]:
        """Active Flex investments, of one asset or of all.

        :param on_unreadable: called with each record that cannot be read. By default, it is logged.
        """
        found = self.flex_investments(ticker, on_unreadable, investment_status=FlexInvestmentStatus.ACTIVE)
        return [entry for entry in found if entry.active]

    def flex_investments(self, ticker: str | None, on_unreadable: Report, **filters: Any) -> list[FlexInvestment]:
        """Flex investments of one asset or of all, also those with a status that this package does not know.

        :param on_unreadable: called with each record that cannot be read.
        :param filters: of :meth:`.WhiteBitClient.flex_investments`.
        """
        found = self._of(ticker, partial(self.client.flex_investments, on_unreadable=on_unreadable, **filters))
        # The exchange may leave out the asset; the plan names it too.
        return [entry for entry in found if ticker is None or entry.currency in (ticker, "")]

    def flex_investment(
        self, plan_id: str | None, ticker: str | None, plans: list[FlexPlan], amount: Decimal | None
    ) -> FlexInvestment:
        """The active Flex investment of a plan, or the one of a ticker that an amount is taken out of.

        :param plan_id: the plan, or ``None``.
        :param ticker: the asset, if ``plan_id`` is ``None``.
        :param plans: plans on offer, for their minimums.
        :param amount: how much; ``None`` for everything.
        :raises WhiteBitValidationError: there is none, or there are several.
        """
        unreadable: list[UnreadableRecord] = []
        if plan_id is None:
            asset = ticker or ""
            active = self.active_flex_investments(asset, on_unreadable=unreadable.append)
            if amount is None or not active:
                # Another one may be meant.
                _check_readable([record for record in unreadable if record.may_be_of(None, asset)], None)
            if not active:
                selection.require_ticker(asset, self.assets)
            return selection.investment_for_withdrawal(active, plans, asset, amount)
        others: list[FlexInvestment] = []
        read = partial(self.client.flex_investments, on_unreadable=unreadable.append)
        for investment in _unless_refused(partial(read, plan=plan_id), read):
            if investment.plan_id.lower() != plan_id:
                continue
            if investment.active:
                return investment
            others.append(investment)
        _check_readable(unreadable, None)
        if (undecided := _undecided(others)) is not None:
            return undecided
        raise WhiteBitValidationError(f"There is no active investment in plan {plan_id}.")

    def fixed_investment(self, investment_id: str | None, plan_id: str | None, ticker: str | None) -> FixedInvestment:
        """The active Fixed investment that is meant, by its id, its plan or its asset.

        :raises WhiteBitValidationError: there is none, or there are several.
        """
        unreadable: list[UnreadableRecord] = []
        if investment_id is None:
            status = FixedInvestmentStatus.ACTIVE
            read = partial(self.client.fixed_investments, investment_status=status, on_unreadable=unreadable.append)
            active = list(self._of(ticker, read))
            # Another one may be meant.
            _check_readable([record for record in unreadable if record.may_be_of(plan_id, ticker)], None)
            return selection.fixed_investment_for_close(active, plan_id, ticker)
        others: list[FixedInvestment] = []
        for investment in self.client.fixed_investments(investment=investment_id, on_unreadable=unreadable.append):
            if investment.active:
                return investment
            others.append(investment)
        _check_readable(unreadable, None)
        if (undecided := _undecided(others)) is not None:
            return undecided
        raise WhiteBitValidationError(f"investment_id is {investment_id}, which is not an active Fixed investment.")


def _check_readable(records: Iterable[UnreadableRecord], plan_id: str | None) -> None:
    """Stop if what is looked for may be among the records that cannot be read.

    :param plan_id: only the plan with this id counts; ``None``: each record that is not certainly closed.
    :raises WhiteBitUnavailableError: it may; the error names the record and its field.
    """
    for record in records:
        if not record.closed and (plan_id is None or (record.plan_id or "").lower() == plan_id):
            raise record.error()


def _undecided(investments: Iterable[InvestmentT]) -> InvestmentT | None:
    """The first investment with an unknown status; ``None`` if there is none. Only the exchange knows if it is open."""
    found = next((one for one in investments if not one.active and not one.closed), None)
    if found is not None:
        log.warning("Neither active nor closed: %s has status %s. It is tried all the same.", found.id, found.status)
    return found


def _unless_refused(read: Callable[[], Iterable[RecordT]], read_all: Callable[[], Iterable[RecordT]]) -> list[RecordT]:
    """Read records by a filter; all of them if the exchange refuses the filter, because a plan or asset is gone.

    :param read: reads by a filter.
    :param read_all: reads without it.
    :raises WhiteBitError: as the client's methods do.
    """
    try:
        return [*read()]
    except WhiteBitValidationError:
        return [*read_all()]


def spot_balance(client: WhiteBitClient, ticker: str) -> TradeBalance:
    """The spot balance of an asset, also if the exchange refuses to show it by its ticker.

    :param client: reads the account.
    :raises WhiteBitError: refused or unreachable.
    """
    # The whole list leaves out what is zero.
    balance = _own_or_all(client.trade_balance, ticker).get(ticker, TradeBalance(Decimal(0), Decimal(0)))
    if balance is None:
        raise WhiteBitUnavailableError(f"The exchange sent no readable spot balance of {ticker}.")
    return balance


def collateral_balance(client: WhiteBitClient, ticker: str) -> Decimal:
    """The collateral balance of an asset, also if the exchange refuses to show it by its ticker.

    :param client: reads the account.
    :raises WhiteBitError: refused or unreachable.
    """
    held = _own_or_all(client.collateral_balance, ticker).get(ticker)
    # What the whole list leaves out is not known: asking for it says why.
    return client.collateral_balance(ticker)[ticker] if held is None else held


def _own_or_all(read: Callable[..., Mapping[str, RecordT]], ticker: str | None) -> Mapping[str, RecordT | None]:
    """Read one balance; all of them if the exchange refuses to show that one, or if none is named."""
    if ticker is not None:
        with suppress(WhiteBitValidationError, WhiteBitRefusedError):
            return read(ticker)
    return read()
