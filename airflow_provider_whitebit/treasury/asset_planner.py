"""Plans the moves of one asset: which plans give, which plans take, and why. Pure."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from airflow_provider_whitebit.client.models import FlexPlan, plain
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.moves.selection import TRANSFER_DECIMALS, shown_rate
from airflow_provider_whitebit.treasury.amounts import INFINITE, ZERO, round_down, round_up, shortest
from airflow_provider_whitebit.treasury.holdings import Holdings
from airflow_provider_whitebit.treasury.plans import PlannedMove
from airflow_provider_whitebit.treasury.policy import Choose, TickerPolicy


class AssetPlanner:
    """One asset while it is planned: every decision changes the balances that later decisions see.

    :param holdings: what the account holds.
    :param ticker: the asset.
    :param wanted: what the policy wants of it.
    :param due: what liquidity needs claim in Main, on top of the reserve.
    :raises WhiteBitValidationError: the exchange has no such asset, and the account holds none of it.
    """

    def __init__(self, holdings: Holdings, ticker: str, wanted: TickerPolicy, due: Decimal = ZERO) -> None:
        self.ticker, self.wanted, self.rules = ticker, wanted, wanted.plans
        decimals = holdings.decimals(ticker)
        self._may_invest = decimals is not None
        self.precision = TRANSFER_DECIMALS if decimals is None else decimals
        self.main = holdings.idle(ticker)
        self.invested = holdings.invested(ticker)
        self.total = holdings.total(ticker)
        self.reserve = self.up(max(wanted.reserve, wanted.reserve_share * self.total) + due)
        self.plans = {plan.id: plan for plan in holdings.plans if plan.ticker == ticker}
        self.notes: list[str] = []
        #: What is missing from the reserve after all withdrawals.
        self.shortfall = ZERO
        self._need_is_due = due > 0
        self._reinvests = {entry.plan_id: entry.with_auto_reinvest for entry in holdings.investments if entry.active}
        self._taken: dict[str, Decimal] = {}
        self._added: dict[str, Decimal] = {}
        self._reasons: dict[str, list[str]] = defaultdict(list)
        #: Plans that neither give nor take, in small letters.
        self._left_alone: set[str] = set()
        self._leave_alone(holdings)

    def _leave_alone(self, holdings: Holdings) -> None:
        """Leave out plans of which something needed is unknown. What they hold counts in the total."""
        for entry in holdings.undecided(self.ticker):
            self._left_alone.add(entry.plan_id.lower())
            self.note(
                f"plan {entry.plan_id} holds {plain(entry.invested)} with the unknown status {entry.status}: it counts "
                "in the total and is left alone"
            )
        for record in holdings.unreadable:
            if record.kind is FlexPlan and record.may_be_of(None, self.ticker):
                self._left_alone.add((record.plan_id or "").lower())
                self.note(f"cannot be read, and is left alone: {record}")
        for held in (self.invested, self.plans):
            for plan_id in [plan_id for plan_id in held if plan_id.lower() in self._left_alone]:
                del held[plan_id]

    def sweep(self) -> None:
        """Invest what Main holds above the reserve."""
        if self.idle < 0:
            self.note(f"Main holds {plain(self.main)}, less than the reserve of {plain(self.reserve)}")
        else:
            self._fill(follow_rate=False)

    def rebalance(self) -> None:
        """Withdraw what the policy does not allow, restore the reserve, and invest what is idle."""
        self._trim()
        self._restore()
        self._fill(follow_rate=self.rules.follow_rate)

    def withdraw(self, needed: Decimal, reason: str) -> None:
        """Withdraw an amount, from the cheapest plans first; :func:`.plan_raise` describes the rule."""
        for plan_id, amount in self._sources(needed).items():
            self._take(plan_id, amount, reason)

    @property
    def withdrawn(self) -> Decimal:
        """What all withdrawals together take out of plans."""
        return sum(self._taken.values(), ZERO)

    def withdrawals(self) -> list[PlannedMove]:
        """Return the withdrawals, one for each plan."""
        return [self._withdrawal(plan_id, amount) for plan_id, amount in self._taken.items()]

    def investments(self) -> list[PlannedMove]:
        """Return the investments, one for each plan."""
        return [self._investment(plan_id, amount) for plan_id, amount in self._added.items()]

    def switches(self) -> dict[str, bool]:
        """Return the plans whose investments need another auto-reinvest setting, and which one."""
        wished = self.wanted.auto_reinvest
        if wished is None:
            return {}
        held = (plan_id for plan_id in self.invested if plan_id in self._reinvests)
        return {plan_id: wished for plan_id in sorted(held) if self._reinvests[plan_id] is not wished}

    def note(self, text: str) -> None:
        """Add a note on what is not done, and why."""
        self.notes.append(f"{self.ticker}: {text}.")

    def _withdrawal(self, plan_id: str, amount: Decimal) -> PlannedMove:
        left = self.invested.get(plan_id, ZERO)
        operation = Operation.FLEX_WITHDRAW if left else Operation.FLEX_CLOSE
        rest = f"{plain(left)} remain in it" if left else "nothing remains in it"
        reason = f"{'; '.join(self._reasons[plan_id])}; {self._terms(plan_id)}; {rest}."
        return PlannedMove(Move(operation, plan_id, self.ticker, shortest(amount)), reason)

    def _investment(self, plan_id: str, amount: Decimal) -> PlannedMove:
        wished = self.wanted.auto_reinvest
        # The call sets auto-reinvest for the whole investment, so it repeats the present setting.
        reinvest = self._reinvests.get(plan_id, False) if wished is None else wished
        move = Move(Operation.FLEX_INVEST, plan_id, self.ticker, shortest(amount), with_reinvest=reinvest)
        return PlannedMove(move, f"{'; '.join(self._reasons[plan_id])}; {self._terms(plan_id)}.")

    def _terms(self, plan_id: str) -> str:
        plan = self.plans.get(plan_id)
        if plan is None:
            return f"plan {plan_id} is no longer on offer"
        most = "no maximum" if plan.max_investment is None else f"maximum {plain(plan.max_investment)}"
        return f"plan {plan_id}: max_rate {shown_rate(plan.max_rate)}, minimum {plain(plan.min_investment)}, {most}"

    @property
    def idle(self) -> Decimal:
        """What Main holds above the reserve; below zero: what is missing."""
        return self.main - self.reserve

    def down(self, amount: Decimal) -> Decimal:
        """Round down to the decimals of the asset."""
        return round_down(amount, self.precision)

    def up(self, amount: Decimal) -> Decimal:
        """Round up to the decimals of the asset."""
        return round_up(amount, self.precision)

    def _cap(self, plan_id: str) -> Decimal:
        """The most that the policy allows in a plan. The plan's own maximum is separate."""
        if not self.rules.permits(plan_id) or self.rules.leaves(self._rate(plan_id)):
            return ZERO
        caps = [INFINITE if self.rules.max_amount is None else self.rules.max_amount]
        if self.rules.max_share is not None:
            caps.append(self.rules.max_share * self.total)
        if self.rules.targets:
            caps.append(self._target(plan_id))
        return min(caps)

    def _rate(self, plan_id: str) -> Decimal | None:
        """The advertised rate of a plan; ``None`` if it is unknown, for example because the plan is not on offer."""
        plan = self.plans.get(plan_id)
        return None if plan is None else plan.max_rate

    def _target(self, plan_id: str) -> Decimal:
        """A plan's target. If the reserve leaves less than all targets claim, each gets its part of what is left."""
        share, claimed = self.rules.targets[plan_id.lower()], sum(self.rules.targets.values(), ZERO)
        free = max(ZERO, self.total - self.reserve)
        return share * self.total if claimed * self.total <= free else self.down(share * free / claimed)

    def _room(self, plan: FlexPlan) -> Decimal:
        """How much more a plan may take."""
        most = min(_maximum(plan), self._cap(plan.id)) - self.invested.get(plan.id, ZERO)
        # Nothing can be invested beyond the total, and infinity cannot be rounded.
        return max(ZERO, self.down(min(most, self.total)))

    def _least(self, plan: FlexPlan) -> Decimal:
        """The smallest investment that the plan takes and that is worth making."""
        return max(plan.min_investment, self.wanted.min_move)

    def _can_give(self, plan_id: str, amount: Decimal) -> bool:
        """Whether a withdrawal leaves the plan's minimum or nothing."""
        left = self.invested[plan_id] - amount
        plan = self.plans.get(plan_id)
        return left == 0 or (plan is not None and left >= plan.min_investment)

    def _cheapest_first(self) -> list[str]:
        """Plans with investments, in the order in which they give: those whose rate is not known give last."""

        def price(plan_id: str) -> tuple[bool, Decimal, Decimal, str]:
            plan = self.plans.get(plan_id)
            rate = INFINITE if plan is None or plan.max_rate is None else plan.max_rate
            return self.rules.permits(plan_id), rate, self.invested[plan_id], plan_id

        return sorted(self.invested, key=price)

    def _take(self, plan_id: str, amount: Decimal, reason: str) -> None:
        """Decide a withdrawal. Several withdrawals from one plan become one move."""
        self._taken[plan_id] = self._taken.get(plan_id, ZERO) + amount
        self.main += amount
        self.invested[plan_id] -= amount
        if not self.invested[plan_id]:
            del self.invested[plan_id]
        self._reasons[plan_id].append(reason)

    def _add(self, plan_id: str, amount: Decimal, reason: str) -> None:
        """Decide an investment."""
        self._added[plan_id] = amount
        self.main -= amount
        self.invested[plan_id] = self.invested.get(plan_id, ZERO) + amount
        self._reasons[plan_id].append(reason)

    def _trim(self) -> None:
        """Withdraw what the policy does not allow in plans."""
        for plan_id, held in sorted(self.invested.items()):
            cap = self._cap(plan_id)
            if self.rules.leave_below is not None and self._rate(plan_id) is None and self.rules.permits(plan_id):
                self.note(f"plan {plan_id} is not compared with leave_below, because its rate is unknown")
            if held <= cap:
                continue
            excess = min(held, self.up(held - cap))
            if excess < self.wanted.min_move:
                self.note(
                    f"plan {plan_id} keeps {plain(excess)} more than the policy allows, which is less than the "
                    f"smallest move of {plain(self.wanted.min_move)}"
                )
                continue
            # A rest below the plan's minimum is not possible: then everything is withdrawn.
            amount = excess if self._can_give(plan_id, excess) else held
            self._take(plan_id, amount, self._why_trim(plan_id, held, cap))

    def _why_trim(self, plan_id: str, held: Decimal, cap: Decimal) -> str:
        if not self.rules.permits(plan_id):
            return f"The policy does not permit this plan, which holds {plain(held)} {self.ticker}"
        if self.rules.leave_below is not None and self.rules.leaves(rate := self._rate(plan_id)):
            below = f"max_rate {shown_rate(rate)} is below leave_below {plain(self.rules.leave_below)}"
            return f"This plan holds {plain(held)} {self.ticker}, and its {below}"
        limit = "target" if self.rules.targets else "cap"
        return f"This plan holds {plain(held)} {self.ticker}, more than its {limit} of {plain(self.down(cap))}"

    def _restore(self) -> None:
        """Withdraw what is missing from the reserve."""
        missing = -self.idle
        if missing <= 0:
            return
        if self.invested and missing < self.wanted.min_move and not self._need_is_due:
            self.note(
                f"Main is {plain(missing)} below the reserve of {plain(self.reserve)}, which is less than the "
                f"smallest move of {plain(self.wanted.min_move)}"
            )
            return
        need = ", which includes a liquidity need that is due" if self._need_is_due else ""
        reserve = f"the reserve of {plain(self.reserve)}{need}"
        self.withdraw(missing, f"Main would hold {plain(self.main)} {self.ticker}, {plain(missing)} below {reserve}")
        if self.idle < 0:
            self.shortfall = -self.idle
            self.note(f"{plain(self.shortfall)} are missing from {reserve}, even after every possible withdrawal")

    def _sources(self, needed: Decimal) -> dict[str, Decimal]:
        """Choose what each plan gives.

        The excess is always less than the minimum of every plan that is closed, and zero if a plan gives a part. So it
        cannot be invested again where it came from, and the next plan does not undo this one.
        """
        order = self._cheapest_first()
        chosen: dict[str, Decimal] = {}
        for plan_id in order:
            amount = self._part(plan_id, needed)
            if amount > 0:
                chosen[plan_id] = amount
                needed -= amount
        if needed > 0:
            self._close_one(order, chosen, needed)
        return {plan_id: chosen[plan_id] for plan_id in order if chosen.get(plan_id)}

    def _part(self, plan_id: str, needed: Decimal) -> Decimal:
        """What a plan can give without giving more than is needed."""
        held, plan = self.invested[plan_id], self.plans.get(plan_id)
        if held <= needed:
            return held
        amount = self.up(max(ZERO, needed))
        if amount <= held and self._can_give(plan_id, amount):
            return amount
        return ZERO if plan is None else max(ZERO, self.down(held - plan.min_investment))

    def _close_one(self, order: list[str], chosen: dict[str, Decimal], needed: Decimal) -> None:
        """Close the plan that gives the smallest excess, and take the excess less from the others if they allow it."""
        rest = {plan_id: self.invested[plan_id] - chosen.get(plan_id, ZERO) for plan_id in order}
        able = [plan_id for plan_id in order if rest[plan_id] > 0]
        if not able:
            return
        closed = min(able, key=lambda plan_id: rest[plan_id])
        chosen[closed] = self.invested[closed]
        excess = rest[closed] - needed
        for plan_id in reversed(order):
            if plan_id == closed or plan_id not in chosen or excess <= 0:
                continue
            less = max(ZERO, self.up(chosen[plan_id] - excess))
            # Taking nothing is always possible; taking less must leave the plan's minimum.
            if less < chosen[plan_id] and (less == 0 or self._can_give(plan_id, less)):
                excess -= chosen[plan_id] - less
                chosen[plan_id] = less

    def _fill(self, *, follow_rate: bool) -> None:
        """Invest what is idle, and with ``follow_rate`` what earns less, in the permitted plans in their order."""
        if not self._may_invest:
            if self.idle > 0:
                self.note(f"{plain(self.idle)} remain idle in Main: the exchange does not list this asset's decimals")
            return
        permitted = self._permitted()
        for plan in permitted:
            if plan.id not in self._taken and self.rules.pays_enough(plan.max_rate):
                self._invest(plan, follow_rate=follow_rate)
        self._note_unknown_rates(permitted)
        idle = self.down(max(ZERO, self.idle))
        if idle > 0:
            why = "; ".join(map(self._refusal, permitted)) or "no permitted plan is on offer"
            self.note(f"{plain(idle)} remain idle in Main: {why}")
        offered = {plan_id.lower() for plan_id in self.plans}
        for name in self.rules.named:
            if name not in offered and name not in self._left_alone:
                self.note(f"plan {name}, which the policy names, is not on offer")
        known = offered | {plan_id.lower() for plan_id in self._reinvests} | self._left_alone
        for name in self.rules.exclude:
            if name not in known:
                self.note(f"plan {name}, which the policy excludes, is not on offer: check its id")

    def _note_unknown_rates(self, permitted: list[FlexPlan]) -> None:
        """Name the plans that take nothing because their rate is unknown.

        :param permitted: the plans that the policy permits in its order.
        """
        for plan in self.plans.values():
            if plan.max_rate is not None or not self.rules.permits(plan.id):
                continue
            if self.rules.min_rate is not None:
                self.note(f"plan {plan.id} is not invested in: its rate is unknown, and the policy has a min_rate")
            elif plan not in permitted:
                self.note(f"plan {plan.id} is not chosen by its rate, which is unknown: name it in only or targets")

    def _permitted(self) -> list[FlexPlan]:
        """The plans that the policy permits, in the order in which they are filled."""
        plans = [plan for plan in self.plans.values() if self.rules.permits(plan.id)]
        if self.rules.choose is Choose.LIST:
            return sorted(plans, key=lambda plan: (self.rules.only.index(plan.id.lower()), plan.id))
        ranked = [((-plan.max_rate, -_maximum(plan), plan.id), plan) for plan in plans if plan.max_rate is not None]
        unranked = sorted((plan for plan in plans if plan.max_rate is None), key=lambda plan: plan.id)
        # A rate that is unknown cannot be the highest, but the policy may name the plan itself.
        named = [plan for plan in unranked if plan.id.lower() in self.rules.named]
        return [plan for _, plan in sorted(ranked, key=lambda entry: entry[0])] + named

    def _refusal(self, plan: FlexPlan) -> str:
        """Why a plan does not take what is idle."""
        if self.rules.min_rate is not None and not self.rules.pays_enough(plan.max_rate):
            rate, least_rate = shown_rate(plan.max_rate), plain(self.rules.min_rate)
            return f"plan {plan.id} has max_rate {rate}, and min_rate is {least_rate}"
        room, least = self._room(plan), self._least(plan)
        if room <= 0:
            return f"plan {plan.id} is at its maximum or cap"
        if plan.id in self._taken:
            return f"plan {plan.id} has a withdrawal in this plan"
        most = f" and at most {plain(room)} more" if room < least else ""
        return f"plan {plan.id} takes at least {plain(least)}{most}"

    def _invest(self, plan: FlexPlan, *, follow_rate: bool) -> None:
        """Decide an investment in a plan, if one is possible."""
        idle, room = max(ZERO, self.idle), self._room(plan)
        gifts = self._gifts(plan, room - idle) if follow_rate else {}
        given = sum(gifts.values(), ZERO)
        amount = min(room, self.down(max(ZERO, self.idle + given)))
        if amount <= 0 or amount < self._least(plan):
            return
        reason = f"Main holds {plain(idle)} {self.ticker} above the reserve of {plain(self.reserve)}"
        for donor, gift in gifts.items():
            self._take(donor, gift, f"Plan {plan.id} pays more, max_rate {shown_rate(plan.max_rate)}")
        if gifts:
            reason += f", and {plain(given)} come from plans that pay less"
        self._add(plan.id, amount, reason)

    def _gifts(self, plan: FlexPlan, room: Decimal) -> dict[str, Decimal]:
        """What plans that pay less can give to a plan."""
        gifts: dict[str, Decimal] = {}
        for donor in self._cheapest_first():
            terms = self.plans.get(donor)
            if terms is None or not self._gains(terms, plan):
                continue
            held = self.invested[donor]
            amount = held if held <= room else self.down(min(room, held - terms.min_investment))
            if amount > 0 and amount >= self.wanted.min_move:
                gifts[donor] = amount
                room -= amount
        return gifts

    def _gains(self, donor: FlexPlan, plan: FlexPlan) -> bool:
        if plan.max_rate is None or donor.max_rate is None:
            return False
        gain = plan.max_rate - donor.max_rate
        return gain > 0 and gain >= self.rules.min_gain and self.rules.permits(donor.id)


def _maximum(plan: FlexPlan) -> Decimal:
    return INFINITE if plan.max_investment is None else plan.max_investment
