"""Requests for treasury plans: what a caller wants, checked once, and how it becomes a plan. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitNotEnoughBalanceError
from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.treasury.approval import read_plan
from airflow_provider_whitebit.treasury.planning import Holdings, TreasuryPlan, plan_raise, plan_rebalance, plan_sweep
from airflow_provider_whitebit.treasury.policy import Policy, read_policy

#: A policy as callers give it: see :func:`~airflow_provider_whitebit.treasury.policy.read_policy`.
RawPolicy = Policy | Mapping[str, Any] | str


class PlanRequest(ABC):
    """A request for a plan. Constructing one checks its parameters."""

    __slots__ = ()
    #: Whether planning needs to know what the account holds.
    reads_holdings: ClassVar[bool] = True

    @property
    def accounts(self) -> tuple[str, ...]:
        """The balances that planning needs besides Main: ``spot``, ``collateral``."""
        return ()

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the parameters that identify the plan, as plain JSON."""

    @abstractmethod
    def plan(self, holdings: Holdings, now: pendulum.DateTime, made: Sequence[Receipt]) -> TreasuryPlan:
        """Plan the moves that are still to be made.

        :param holdings: what the account holds.
        :param now: UTC.
        :param made: receipts of the moves that the task has already made.
        :raises WhiteBitError: no plan is possible.
        """

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class _ByPolicy(PlanRequest):
    #: Tells apart what different operators ask for with one policy.
    operation: ClassVar[str]
    policy: Policy

    def __init__(self, policy: RawPolicy) -> None:
        self._set(policy=read_policy(policy))

    def to_json(self) -> dict[str, Any]:
        return {"operation": self.operation, "policy": self.policy.to_json(), "approved_plan": None}


class Sweep(_ByPolicy):
    """Invest what Main holds above the reserve (:func:`.plan_sweep`).

    :param policy: the rules for each ticker: a mapping, its text in JSON or YAML, or a policy.
    :raises WhiteBitValidationError: the policy is wrong.
    """

    __slots__ = ()
    operation = "sweep"

    def plan(self, holdings: Holdings, now: pendulum.DateTime, made: Sequence[Receipt]) -> TreasuryPlan:
        return plan_sweep(holdings, self.policy, now)


class Rebalance(_ByPolicy):
    """Bring every asset in line with its policy (:func:`.plan_rebalance`).

    :param policy: the rules for each ticker: a mapping, its text in JSON or YAML, or a policy.
    :raises WhiteBitValidationError: the policy is wrong.
    """

    __slots__ = ()
    operation = "rebalance"

    def plan(self, holdings: Holdings, now: pendulum.DateTime, made: Sequence[Receipt]) -> TreasuryPlan:
        return plan_rebalance(holdings, self.policy, now)


@dataclass(frozen=True, slots=True)
class RaiseLiquidity(PlanRequest):
    """Make an amount of an asset available in one balance (:func:`.plan_raise`).

    :param ticker: the asset.
    :param amount: what the balance must hold, in units of the asset.
    :param target: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param policy: withdraw first from plans that it does not permit.
    :param accept_less: raise what is available instead of failing. The plan's ``shortfalls`` say what is missing.
    :raises WhiteBitValidationError: a parameter is wrong.
    """

    ticker: str
    amount: Decimal
    target: str
    policy: Policy | None
    accept_less: bool

    def __init__(
        self,
        ticker: str,
        amount: str | int | Decimal,
        target: str = parsing.MAIN,
        policy: RawPolicy | None = None,
        accept_less: bool | str = False,
    ) -> None:
        self._set(
            ticker=parsing.read_ticker(ticker),
            amount=parsing.read_amount(amount),
            target=parsing.read_account("target", target),
            policy=parsing.read_optional(read_policy, policy),
            accept_less=parsing.read_boolean("accept_less", accept_less),
        )

    @property
    def accounts(self) -> tuple[str, ...]:
        return () if self.target == parsing.MAIN else (self.target,)

    def to_json(self) -> dict[str, Any]:
        """Return asset, amount and target. A retry may accept less, or follow another policy."""
        return {"ticker": self.ticker, "amount": plain(self.amount), "target": self.target, "approved_plan": None}

    def plan(self, holdings: Holdings, now: pendulum.DateTime, made: Sequence[Receipt]) -> TreasuryPlan:
        """Plan withdrawals, then a transfer.

        :raises WhiteBitNotEnoughBalanceError: the account does not hold enough, and ``accept_less`` is false.
        """
        plan = plan_raise(holdings, self.ticker, self.amount, self.target, policy=self.policy)
        if plan.shortfalls and not self.accept_less:
            missing = ", ".join(f"{amount:f} {ticker}" for ticker, amount in plan.shortfalls.items())
            raise WhiteBitNotEnoughBalanceError(
                f"{missing} could not be raised, even with all that can be withdrawn.",
                next_step="Fund the account or lower the amount. With accept_less=True the task raises what is there.",
            )
        return plan


@dataclass(frozen=True, slots=True)
class ApprovedPlan(PlanRequest):
    """Execute exactly the plan that a dry run returned and a person approved.

    :param request: the request that was planned; ``None`` if only the plan is known.
    :param plan: the plan, or the whole result of a dry run or of an approval: as a mapping, its JSON text, or a plan.
    :raises WhiteBitValidationError: this is not a plan, or the plan was changed after its approval.
    """

    reads_holdings: ClassVar[bool] = False
    request: PlanRequest | None
    approved: TreasuryPlan

    def __init__(self, request: PlanRequest | None, plan: TreasuryPlan | Mapping[str, Any] | str) -> None:
        self._set(request=request, approved=plan if isinstance(plan, TreasuryPlan) else read_plan(plan))

    def to_json(self) -> dict[str, Any]:
        requested = {} if self.request is None else self.request.to_json()
        return {**requested, "approved_plan": self.approved.to_json()}

    def plan(self, holdings: Holdings, now: pendulum.DateTime, made: Sequence[Receipt]) -> TreasuryPlan:
        """Return the approved plan without the moves that the task has already made.

        :raises WhiteBitAlreadyMovedError: the task has made a move that is not part of it.
        """
        return self.approved.without(made)
