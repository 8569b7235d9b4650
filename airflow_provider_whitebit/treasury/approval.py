"""Plans that people approve: when a person is asked, what the person reads, and what was approved. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.moves.documents import Document, Moment
from airflow_provider_whitebit.moves.intent import Move, Operation, Receipt
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.fields import read_by_ticker
from airflow_provider_whitebit.treasury.plans import PlannedMove, TreasuryPlan
from airflow_provider_whitebit.treasury.policy_text import decode

#: How much of a plan's digest a person sees and approves.
_SHOWN = 12
_FROM_RECEIPT = "A dry run of this move was made."
_CHANGED = "Start a new dag run: it plans and asks again."


@dataclass(frozen=True, slots=True)
class Approval(Document):
    """One person's yes.

    :param user_id: of the person in Airflow.
    :param user_name: likewise.
    :param approved_at: when the person answered, UTC.
    :param task_id: the task that asked.
    :param answers: what the person wrote into the fields of the question.
    """

    user_id: str
    user_name: str
    approved_at: Moment
    task_id: str
    answers: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.user_name} (id {self.user_id}), {self.approved_at.isoformat(timespec='seconds')}"


@dataclass(frozen=True, slots=True)
class ApprovedDocument:
    """A plan that may be executed, and who approved it.

    :param plan: the plan.
    :param approvals: in their order; empty if no approval was needed.
    :param reason: why people were asked, or why nobody was.
    """

    plan: TreasuryPlan
    approvals: tuple[Approval, ...]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON. Its ``digest`` binds the approval to the plan."""
        return {
            "approval": "given" if self.approvals else "not_needed",
            "reason": self.reason,
            "approvals": [approval.to_json() for approval in self.approvals],
            "plan": self.plan.to_json(),
            "digest": self.plan.digest,
        }

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read what :meth:`to_json` returned.

        :raises WhiteBitValidationError: this is no approval, or the plan was changed after it.
        """
        raw = _decoded(raw)
        if not isinstance(raw, Mapping) or not raw.get("digest"):
            raise WhiteBitValidationError(
                "approved_plan carries no approval.",
                next_step="Pass the result of WhiteBitApprovalOperator, for example approved_plan=ask.output.",
            )
        return cls(read_plan(raw), earlier_approvals(raw), str(raw.get("reason", "")))


def read_plan(raw: Any) -> TreasuryPlan:
    """Read a plan that is to be approved, or that was approved.

    :param raw: a plan, the result of a dry run or of an approval, or the receipts of dry runs: as JSON or its text. A
        receipt does not say whether earnings are reinvested: an investment made from one gets no auto-reinvest.
    :raises WhiteBitValidationError: this is not a plan, or it was changed after its approval.
    """
    raw = _decoded(raw)
    if isinstance(raw, Mapping) and "plan" in raw:
        plan = TreasuryPlan.from_json(raw["plan"])
        if "digest" in raw and raw["digest"] != plan.digest:
            raise WhiteBitValidationError("The plan was changed after it was approved.", next_step=_CHANGED)
        return plan
    if isinstance(raw, Mapping) and "operation" in raw:
        raw = [raw]
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        return TreasuryPlan(tuple(map(_planned, raw)))
    return TreasuryPlan.from_json(raw)  # refuses all that is not a plan


def earlier_approvals(raw: Any) -> tuple[Approval, ...]:
    """Return the approvals that a plan already has.

    :param raw: as :func:`read_plan` takes it.
    :raises WhiteBitValidationError: they cannot be read.
    """
    raw = _decoded(raw)
    given = raw.get("approvals", ()) if isinstance(raw, Mapping) else ()
    try:
        return tuple(map(Approval.from_json, given))
    except (TypeError, ValueError) as error:
        raise WhiteBitValidationError(f"The approvals of the plan cannot be read: {error}.") from None


def _decoded(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except ValueError:
        raise WhiteBitValidationError(
            "approved_plan is not valid JSON.", next_step="Pass the plan with .output or the filter tojson."
        ) from None


def _planned(raw: Any) -> PlannedMove:
    """The move that the receipt of a dry run describes."""
    try:
        receipt = Receipt.from_json(raw)
        operation = Operation(receipt.operation)
    except (TypeError, ValueError) as error:
        raise WhiteBitValidationError(
            f"This is neither a plan nor the receipt of a dry run: {error}.",
            next_step="Pass what a task with dry_run=True returned.",
        ) from None
    if receipt.status != "planned":
        raise WhiteBitValidationError(
            f"The receipt of {receipt.operation} has the status {receipt.status!r}: its money has moved.",
            money_moved=True,
            next_step="Set dry_run=True in the task that plans. Then start a new dag run.",
        )
    move = Move(
        operation,
        receipt.plan_id or "",
        receipt.ticker,
        receipt.amount,
        investment_id=receipt.investment_id or "",
        source=receipt.source or "",
        target=receipt.target or "",
        sub_account_id=receipt.sub_account_id or "",
    )
    return PlannedMove(move, _FROM_RECEIPT)


def read_above(raw: Any) -> dict[str, Decimal] | None:
    """Read the amounts above which people are asked.

    :param raw: amounts by ticker, as a mapping or its text, JSON or YAML.
    :returns: ``None`` if it is not given: every plan is asked for.
    :raises WhiteBitValidationError: it is something else.
    """
    if isinstance(raw, str):
        raw = decode(raw, "above")
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise WhiteBitValidationError('above must be amounts by ticker, for example {"USDT": "1000"}.')
    return read_by_ticker("above", raw, parsing.read_limit)


def totals(plan: TreasuryPlan) -> dict[str, Decimal | None]:
    """Return how much a plan moves of each asset, in its units: the sum of its moves; ``None`` if one is not known.

    The sum and not the largest move: several moves below an amount must not pass for one above it.
    """
    sums: dict[str, Decimal | None] = {}
    for planned in plan.moves:
        ticker, amount = planned.move.ticker, planned.move.amount
        before = sums.get(ticker, Decimal(0))
        with exact():
            sums[ticker] = None if before is None or amount is None else before + amount
    return sums


def why_ask(plan: TreasuryPlan, above: Mapping[str, Decimal] | None) -> str:
    """Say why a person must approve a plan; empty if nobody needs to.

    :param above: amounts by ticker: a plan that moves no more than these needs nobody. An asset without an amount
        always does. ``None``: every plan does, unless it has nothing to do.
    """
    if plan.empty:
        return ""
    if above is None:
        return "Every plan needs an approval."
    reasons = []
    for ticker, amount in totals(plan).items():
        if ticker not in above:
            reasons.append(f"No amount of {ticker} may move without an approval.")
        elif amount is None:
            reasons.append(f"The amount of a move of {ticker} is not known.")
        elif amount > above[ticker]:
            reasons.append(f"{plain(amount)} {ticker} in all is above {plain(above[ticker])} {ticker}.")
    return " ".join(reasons)


def approve_option(plan: TreasuryPlan) -> str:
    """Return the answer that approves a plan. It names the plan, so it approves no other one."""
    return f"Approve {plan.digest[:_SHOWN]}"


def question_text(plan: TreasuryPlan, reason: str, earlier: Sequence[Approval] = (), intro: str = "") -> str:
    """Return what a person reads before approving a plan, in Markdown: every move with its exact amount.

    :param reason: why people are asked.
    :param earlier: the approvals that the plan already has.
    :param intro: text of the DAG's author.
    """
    parts = [intro.strip(), reason, _table(plan)]
    parts += [f"- Auto-reinvest of plan {_cell(plan_id)}: {_on(on)}" for plan_id, on in plan.auto_reinvest.items()]
    parts += [f"- Note: {_cell(note)}" for note in plan.notes]
    parts += [f"- Missing after all moves: {plain(amount)} {ticker}" for ticker, amount in plan.shortfalls.items()]
    if earlier:
        names = "; ".join(_cell(str(approval)) for approval in earlier)
        parts.append(f"Approved by {names}. **Another person must approve**: the same person is asked again.")
    parts.append(f"Plan `{plan.digest[:_SHOWN]}`. Exactly this plan is executed.")
    return "\n\n".join(part for part in parts if part)


def _table(plan: TreasuryPlan) -> str:
    if not plan.moves:
        return "No money moves."
    rows = ["| # | Move | Amount | Where | Why |", "| --- | --- | ---: | --- | --- |"]
    for number, planned in enumerate(plan.moves, 1):
        move = planned.move
        cells = (move.operation, f"{_amount(move.amount)} {move.ticker}", _place(move), planned.reason)
        rows.append(f"| {number} | {' | '.join(map(_cell, cells))} |")
    sums = ", ".join(f"{_amount(amount)} {ticker}" for ticker, amount in totals(plan).items())
    return "\n".join(rows) + f"\n\nAll moves together: {sums}."


def _place(move: Move) -> str:
    if move.source:
        return f"{move.source} to {move.target}" + (f", sub-account {move.sub_account_id}" * bool(move.sub_account_id))
    place = f"investment {move.investment_id}" if move.investment_id else f"plan {move.plan_id}"
    return f"{place}, with auto-reinvest" if move.with_reinvest else place


def _amount(amount: Decimal | None) -> str:
    return "an unknown amount of" if amount is None else plain(amount)


def _on(enabled: bool) -> str:
    return "on" if enabled else "off"


def _cell(text: str) -> str:
    """A text that cannot end its cell or line of a table."""
    return " ".join(str(text).replace("|", "\\|").split())
