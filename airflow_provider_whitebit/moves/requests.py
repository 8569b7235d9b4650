"""What a caller asks for: one frozen class for each kind of move. Constructing a request parses and checks it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import plain, to_json
from airflow_provider_whitebit.moves import parsing, selection
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.intent import Move, Operation, Receipt

log = logging.getLogger(__name__)

RequestT = TypeVar("RequestT", bound="MoveRequest")

#: Fields that say where money goes, apart from the amount.
_TARGET = ("plan_id", "ticker", "investment_id", "source", "target", "sub_account_id")


@dataclass(frozen=True, kw_only=True)
class MoveRequest(ABC):
    """One move as a caller asks for it, with checked parameters.

    Two requests are equal if they ask for the same, whatever the spelling of their amounts.
    """

    operation: ClassVar[Operation]

    @abstractmethod
    def resolve(self, account: Account) -> Move:
        """Decide the move that this request means now.

        :raises WhiteBitValidationError: the account does not allow it.
        :raises WhiteBitError: refused, or unreachable.
        """

    def to_json(self) -> dict[str, Any]:
        """The parameters as plain JSON, equal for equal requests."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.repr}
        shown = {name: plain(value) if isinstance(value, Decimal) else to_json(value) for name, value in values.items()}
        return {"operation": str(self.operation), **shown}

    def means(self, move: Move | Receipt) -> bool:
        """Whether a move is of this kind and goes where this request asks for. The amount is not compared."""
        if not _is_of(self.operation, move):
            return False
        for name in _TARGET:
            asked, got = getattr(self, name, None), getattr(move, name)
            if asked is not None and (got is None or str(got).lower() != asked.lower()):
                return False
        return True

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _is_of(operation: Operation, move: Move | Receipt) -> bool:
    """Whether a request for an operation can have become a move."""
    withdrawn = operation is Operation.FLEX_WITHDRAW and move.operation == Operation.FLEX_CLOSE
    return withdrawn or move.operation == operation


class _TakingOut(MoveRequest):
    """A request for what is invested. A list of investments that is late must not refuse it."""

    def resolve(self, account: Account) -> Move:
        return account.find_although_late(partial(self._choose, account))

    @abstractmethod
    def _choose(self, account: Account) -> Move:
        """As :meth:`resolve`, by the lists as they are."""


@dataclass(frozen=True)
class InvalidRequest:
    """Parameters that cannot be parsed. An earlier run of the task may have made the move with valid ones.

    :param operation: of the move.
    :param parameters: as the caller gave them.
    :param error: what is wrong with them.
    """

    operation: Operation
    parameters: Mapping[str, Any]
    error: WhiteBitError

    def resolve(self, account: Account) -> Move:
        raise self.error

    def to_json(self) -> dict[str, Any]:
        return {"operation": str(self.operation)}

    def means(self, move: Move | Receipt) -> bool:
        """Whether the move is of this kind, and no parameter that can be read names another plan or asset."""
        if not _is_of(self.operation, move):
            return False
        plan_id, ticker = self.parameters.get("plan_id"), self.parameters.get("ticker")
        with suppress(WhiteBitError):
            if plan_id and parsing.read_plan_id(plan_id) != (move.plan_id or "").lower():
                return False
        with suppress(WhiteBitError):
            if ticker and parsing.read_ticker(ticker) != move.ticker:
                return False
        return True


def parse(kind: type[RequestT], parameters: Mapping[str, Any]) -> RequestT | InvalidRequest:
    """A request from the caller's parameters, valid or not.

    :param kind: of move.
    :param parameters: as the caller gave them.
    """
    try:
        return kind(**parameters)
    except WhiteBitError as error:
        return InvalidRequest(kind.operation, parameters, error)


@dataclass(frozen=True, kw_only=True)
class _PlanRequest(MoveRequest):
    """A request that names a plan, or an asset whose plan is chosen.

    :param plan_id: the plan; or
    :param ticker: the asset.
    """

    plan_id: str | None = None
    ticker: str | None = None

    def __post_init__(self) -> None:
        plan_id, ticker = parsing.exactly_one(self.plan_id, self.ticker)
        self._set(plan_id=plan_id, ticker=ticker)


@dataclass(frozen=True, kw_only=True)
class FlexInvest(_PlanRequest):
    """Invest in a Flex plan; of a ticker's open plans, in the one with the highest rate that admits the amount.

    :param amount: how much, in units of the asset.
    :param with_reinvest: whether earnings are added to the investment.
    """

    operation: ClassVar[Operation] = Operation.FLEX_INVEST
    amount: Decimal
    with_reinvest: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(
            amount=parsing.read_amount(self.amount),
            with_reinvest=parsing.read_boolean("with_reinvest", self.with_reinvest),
        )

    def resolve(self, account: Account) -> Move:
        assets = account.assets
        if self.ticker is not None:
            selection.require_ticker(self.ticker, assets)
            plans = account.flex_plans(self.ticker)
            plan = selection.plan_for_investment(plans, self.ticker, self.amount)
            rate = selection.shown_rate(plan.max_rate)
            log.info("Chose plan %s of %s: rate %s, admits %s", plan.id, plan.ticker, rate, self.amount)
        else:
            plan = account.flex_plan(self.plan_id or "")
        account.check_decimals(self.amount, plan.ticker)
        selection.check_plan_admits(plan, self.amount)
        return Move(self.operation, plan.id, plan.ticker, self.amount, self.with_reinvest)


@dataclass(frozen=True, kw_only=True)
class FlexWithdraw(_TakingOut, _PlanRequest):
    """Withdraw from a Flex investment; of a ticker's, from the one that earns least and can give the amount.

    ``"all"`` becomes a close. A withdrawal of what was read would be refused if an earning is reinvested before it is
    sent: a rest below the plan's minimum would remain. An amount is never exceeded, so it stays a withdrawal.

    :param amount: how much, in units of the asset, or ``"all"``.
    """

    operation: ClassVar[Operation] = Operation.FLEX_WITHDRAW
    amount: Decimal | str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(amount=parsing.read_amount_or_all(self.amount))

    def _choose(self, account: Account) -> Move:
        asked = None if isinstance(self.amount, str) else self.amount
        plans = [] if asked is None else account.flex_plans_if_known(self.ticker)
        investment = account.flex_investment(self.plan_id, self.ticker, plans, asked)
        log.info("Chose the investment in plan %s: %s", investment.plan_id, investment.invested)
        if asked is None:
            return Move(Operation.FLEX_CLOSE, investment.plan_id, investment.currency, investment.invested)
        if (decimals := account.decimals(investment.currency)) is not None:
            selection.check_decimals(asked, investment.currency, decimals)
        plan = next((plan for plan in plans if plan.id == investment.plan_id), None)
        selection.check_withdrawal(investment, plan, asked)
        if plan is None and plans:
            log.warning(
                'Plan %s is not on offer. The exchange may refuse to return a part of what is in it; amount="%s" '
                "closes the investment.",
                *(investment.plan_id, parsing.ALL),
            )
        return Move(self.operation, investment.plan_id, investment.currency, asked)


@dataclass(frozen=True, kw_only=True)
class FlexClose(_TakingOut, _PlanRequest):
    """Close the Flex investment in a plan, or the only one of an asset."""

    operation: ClassVar[Operation] = Operation.FLEX_CLOSE

    def _choose(self, account: Account) -> Move:
        investment = account.flex_investment(self.plan_id, self.ticker, [], None)
        return Move(self.operation, investment.plan_id, investment.currency, investment.invested)


@dataclass(frozen=True, kw_only=True)
class FixedInvest(_PlanRequest):
    """Invest in a Fixed plan; of a ticker's open plans, in the one with the highest percentage per day.

    :param amount: how much, in units of the asset.
    :param days: with ``ticker``: only plans of this term.
    """

    operation: ClassVar[Operation] = Operation.FIXED_INVEST
    amount: Decimal
    days: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(days=parsing.read_days(self.days), amount=parsing.read_amount(self.amount))

    def resolve(self, account: Account) -> Move:
        if self.ticker is not None:
            selection.require_ticker(self.ticker, account.assets)
            offered = account.fixed_plans(self.ticker)
            plan = selection.fixed_plan_for_investment(offered, self.ticker, self.amount, self.days)
            percent = selection.shown_rate(plan.percent)
            log.info("Chose Fixed plan %s: %s %% over %s minutes", plan.id, percent, plan.duration)
        else:
            plan = account.fixed_plan(self.plan_id or "")
        account.check_decimals(self.amount, plan.ticker)
        selection.check_fixed_plan_admits(plan, self.amount)
        return Move(self.operation, plan.id, plan.ticker, self.amount)


@dataclass(frozen=True, kw_only=True)
class FixedClose(_TakingOut):
    """Close a Fixed investment before its term ends; its interest is forfeited.

    :param investment_id: the investment; or
    :param plan_id: the plan, if one investment in it is active; or
    :param ticker: the asset, if one Fixed investment of it is active.
    """

    operation: ClassVar[Operation] = Operation.FIXED_CLOSE
    investment_id: str | None = None
    plan_id: str | None = None
    ticker: str | None = None

    def __post_init__(self) -> None:
        self._set(**parsing.one_investment(self.investment_id, self.plan_id, self.ticker))

    def _choose(self, account: Account) -> Move:
        held = account.fixed_investment(self.investment_id, self.plan_id, self.ticker)
        return Move(self.operation, held.plan.id, held.plan.ticker, held.amount, investment_id=held.id)


@dataclass(frozen=True, kw_only=True)
class Transfer(MoveRequest):
    """Move an asset between the balances of the account: ``main``, ``spot`` and ``collateral``.

    :param ticker: the asset.
    :param amount: how much, in units of the asset, or ``"all"``: rounded down to the decimals that a transfer carries.
    :param source: the balance that it leaves.
    :param target: the balance that it goes to.
    :param route: of a step by way of Main: where the whole transfer goes.
    :param funded: a transfer before this one has just brought the amount, so the balance need not be checked.
    """

    operation: ClassVar[Operation] = Operation.TRANSFER
    ticker: str
    amount: Decimal | str
    source: str
    target: str
    route: str | None = None
    funded: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._set(
            ticker=parsing.read_ticker(self.ticker),
            source=parsing.read_account("source", self.source),
            target=parsing.read_account("target", self.target),
        )
        parsing.transfer_route(self.source, self.target)
        self._set(amount=parsing.read_amount_or_all(self.amount))

    def steps(self) -> list[Self]:
        """The transfers that this one takes: one, or two by way of Main."""
        steps = parsing.transfer_route(self.source, self.target)
        route = None if len(steps) == 1 else f"{self.source} to {self.target}"
        return [replace(self, source=source, target=target, route=route) for source, target in steps]

    def funded_with(self, amount: Decimal | None) -> Self:
        """The same transfer of what the step before it has moved."""
        return self if amount is None else replace(self, amount=amount, funded=True)

    def resolve(self, account: Account) -> Move:
        amount = Decimal(0) if isinstance(self.amount, str) else self.amount
        if not self.funded:
            held = account.balances(self.source, self.ticker)[self.ticker]
            decimals = account.transfer_decimals(self.ticker)
            if self.amount == parsing.ALL:
                amount = _all_of(held, decimals, self.source, self.ticker)
            selection.check_decimals(amount, self.ticker, decimals)
            if amount > held or amount == 0:
                raise WhiteBitValidationError(
                    f"amount is {amount:f}, but the {self.source} balance holds {held:f} {self.ticker}."
                )
        return Move(self.operation, "", self.ticker, amount, source=self.source, target=self.target)


@dataclass(frozen=True, kw_only=True)
class SubAccountTransfer(MoveRequest):
    """Move an asset between Main and the Main balance of a sub-account.

    :param sub_account_id: the sub-account.
    :param direction: ``main_to_sub`` or ``sub_to_main``.
    :param ticker: the asset.
    :param amount: how much, in units of the asset, or ``"all"`` that a transfer can carry.
    """

    operation: ClassVar[Operation] = Operation.SUB_ACCOUNT_TRANSFER
    sub_account_id: str
    direction: str
    ticker: str
    amount: Decimal | str

    def __post_init__(self) -> None:
        self._set(
            sub_account_id=parsing.read_identifier("sub_account_id", self.sub_account_id),
            direction=parsing.read_direction(self.direction),
            ticker=parsing.read_ticker(self.ticker),
            amount=parsing.read_amount_or_all(self.amount),
        )

    @property
    def source(self) -> str:
        """The balance that the amount leaves: ``main``, or ``sub`` for the sub-account's."""
        return self.direction.partition("_to_")[0]

    @property
    def target(self) -> str:
        """The balance that it goes to."""
        return self.direction.partition("_to_")[2]

    def resolve(self, account: Account) -> Move:
        decimals = account.transfer_decimals(self.ticker)
        from_main = account.balances(parsing.MAIN, self.ticker)[self.ticker] if self.source == parsing.MAIN else None
        # Also for the other direction: an unknown sub-account is refused before anything is sent.
        in_sub_account = account.balance_of_sub_account(self.sub_account_id, self.ticker)
        held = in_sub_account if from_main is None else from_main
        if isinstance(self.amount, Decimal):
            selection.check_decimals(self.amount, self.ticker, decimals)
            amount = self.amount
        elif held is None:
            raise WhiteBitValidationError(
                f'amount is "{parsing.ALL}", but the exchange does not show the {self.ticker} balance of the '
                "sub-account. Write the amount."
            )
        else:
            amount = _all_of(held, decimals, self.source, self.ticker)
        if held is not None and (amount > held or not amount):
            raise WhiteBitValidationError(
                f"amount is {amount:f}, but the {self.source} balance holds {held:f} {self.ticker}."
            )
        return Move(
            self.operation,
            "",
            self.ticker,
            amount,
            source=self.source,
            target=self.target,
            sub_account_id=self.sub_account_id,
        )


def _all_of(held: Decimal, decimals: int, source: str, ticker: str) -> Decimal:
    """What a transfer can carry of a balance. The log names the dust that stays.

    :param source: the balance.
    :raises WhiteBitValidationError: the balance holds only dust.
    """
    amount, dust = selection.transferable(held, decimals)
    if dust and not amount:
        raise WhiteBitValidationError(
            f"{source} holds {dust:f} {ticker}: a transfer carries at most {decimals} decimals.",
            next_step="Nothing can be moved. Clear the task when the balance holds more.",
        )
    if dust:
        what = f"{dust:f} {ticker} stay in {source}"
        log.warning("%s: a transfer carries at most %s decimals", what, decimals)
    return amount
