"""The part of the Treasury page that comes from the exchange, as plain JSON. Reading calls only.

A person waits for it in front of a screen: each request is sent once, again only if its nonce was used, and the whole
takes a few seconds at most. What could not be loaded is named and left out. A figure that is not known is ``None``,
never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitMaintenanceError,
    WhiteBitPermissionError,
    WhiteBitRefusedError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
    quoted,
    steps_without_task,
)
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FixedPlanStatus,
    FlexAction,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    to_json,
)
from airflow_provider_whitebit.client.records import group_movements
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.plugins.treasury_forecast import forecast_data
from airflow_provider_whitebit.treasury.amounts import exact, shortest
from airflow_provider_whitebit.treasury.rates import RATE_DECIMALS, YEAR, realised_rate, unit_warning

if TYPE_CHECKING:
    from airflow_provider_whitebit.client.api import WhiteBitClient
    from airflow_provider_whitebit.hooks.settings import Settings
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
    from airflow_provider_whitebit.moves.allowance import LimitUse

#: Days over which earnings are shown.
WINDOWS = (30, 90)
#: Seconds after which no request is sent, and seconds that one call may take. All is over after their sum.
BUDGET, ANSWER_TIMEOUT = 6, 3
#: Unreadable records that a problem names.
_MOST_NAMED = 5

_AGAIN = "Wait. This page tries again every minute."
_DAY = 86_400
_RATE = Decimal(1).scaleb(-RATE_DECIMALS)
_GOING_IN = (FlexAction.INVEST, FlexAction.OPEN_INVESTMENT, FlexAction.REINVEST)
_GOING_OUT = (FlexAction.WITHDRAW_FROM_INVESTMENT, FlexAction.CLOSE_INVESTMENT)

T = TypeVar("T")
Grouped = dict[str, list[FlexTransaction]]


@dataclass(slots=True)
class ExchangeSnapshot:
    """What the exchange answered; ``None`` for each list that was not loaded.

    :param now: the exchange's time.
    :param idle: Main balance by ticker; ``None`` for one that cannot be read.
    :param plans: Flex plans by id.
    :param flex: Flex investments, closed ones too.
    :param fixed: Fixed investments that are not closed.
    :param fixed_plans: all of them, also those that are not open for investment.
    :param limits_used: how much of each limit over time is used.
    :param payments: Flex earnings by investment id.
    :param history: Flex amounts that went in and out, by investment id.
    :param problems: what could not be loaded, and why.
    :param unreadable: records that cannot be read, by list.
    """

    now: pendulum.DateTime
    idle: dict[str, Decimal | None] | None = None
    plans: dict[str, FlexPlan] | None = None
    flex: list[FlexInvestment] | None = None
    fixed: list[FixedInvestment] | None = None
    fixed_plans: list[FixedPlan] | None = None
    limits_used: list[LimitUse] | None = None
    payments: Grouped | None = None
    history: Grouped | None = None
    problems: list[dict[str, Any]] = field(default_factory=list)
    unreadable: dict[str, list[UnreadableRecord]] = field(default_factory=dict)
    _paid: dict[str, list[tuple[int, Decimal]]] | None = None

    @property
    def paid(self) -> dict[str, list[tuple[int, Decimal]]]:
        """The Unix second and the amount of each Flex earning, by investment id. Thousands are looked at many times."""
        if self._paid is None:
            every = (self.payments or {}).items()
            self._paid = {name: [(_second(one), one.amount) for one in payments] for name, payments in every}
        return self._paid

    @property
    def active(self) -> list[FlexInvestment] | None:
        """The Flex investments that are not closed, by ticker. An unknown status may be an active one."""
        if self.flex is None:
            return None
        return sorted((held for held in self.flex if not held.closed), key=lambda held: held.currency)

    def unclear(self, name: str, ticker: str | None = None, plan_id: str | None = None) -> bool:
        """Whether a list may lack something of an asset or a plan, because a record of it cannot be read."""
        return any(not one.closed and one.may_be_of(plan_id, ticker) for one in self.unreadable.get(name, ()))


@dataclass(frozen=True, slots=True)
class Account:
    """An account at one moment.

    :param fingerprint: of the API key, as journals keep it; ``None`` if the connection is wrong. Not shown.
    :param shown: what the page shows, plain JSON.
    :param elsewhere: the amounts of an asset that ``shown["positions"]`` does not list: 0, or ``None`` if unknown.
    :param previous_conn_id: the connection with the account's old key, if there is one.
    """

    fingerprint: str | None
    shown: dict[str, Any]
    elsewhere: dict[str, Any] = field(default_factory=dict)
    previous_conn_id: str = ""


def load_account(
    conn_id: str, *, team_name: str | None = None, monotonic: Callable[[], float] = time.monotonic
) -> Account:
    """Load the account of a connection. Problems with the connection or the exchange are returned, not raised.

    :param conn_id: the Airflow connection.
    :param team_name: the team that owns the connection, in Airflow's multi-team mode.
    :param monotonic: seconds that only go forward.
    :returns: the account; ``shown["error"]`` says why there is nothing to show.
    """
    try:
        hook, client = open_account(conn_id, team_name)
    except WhiteBitError as error:
        return Account(None, failed(facts_of(error)))
    except Exception as error:
        return Account(None, failed({"message": unreadable(conn_id, error)}))
    settings = hook.settings
    about = {"site": hook.lending_url, "host": settings.base_url, "limits": settings.limits.in_words}
    previous = settings.previous_conn_id
    try:
        limits_used = partial(_limits_used, hook, client) if settings.limits.over_time else None
        snapshot = load_snapshot(client, monotonic() + BUDGET, monotonic, limits_used)
        return Account(settings.account, about | page_data(snapshot), _elsewhere(snapshot), previous)
    except WhiteBitError as error:
        return Account(settings.account, about | failed(facts_of(error)), previous_conn_id=previous)
    finally:
        client.close()


def open_account(conn_id: str, team_name: str | None = None) -> tuple[WhiteBitHook, WhiteBitClient]:
    """Return the hook of a connection, and a client for a person who waits.

    :param conn_id: the Airflow connection.
    :param team_name: the team that owns it.
    :raises WhiteBitConfigurationError: which field of the connection is wrong.
    :raises Exception: of Airflow: there is no such connection.
    """
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

    hook = WhiteBitHook(conn_id)
    # Checked before a client is made.
    hook.settings = hook.settings if team_name is None else _settings_of_team(conn_id, team_name)
    return hook, hook.get_conn(timeout=ANSWER_TIMEOUT, retries=0, all_calls=BUDGET + ANSWER_TIMEOUT)


def _limits_used(hook: WhiteBitHook, client: WhiteBitClient) -> list[LimitUse]:
    """How much of each limit over time is used, by the exchange's records and by the spending log in the database."""
    from airflow_provider_whitebit.control.spending import SpendingInDatabase
    from airflow_provider_whitebit.moves.drivers import read_used_limits
    from airflow_provider_whitebit.moves.journal import SharedSpendingLog

    settings, previous = hook.settings, hook.previous
    accounts = [settings.account, *([] if previous is None else [previous.settings.account])]
    spending = SharedSpendingLog(*map(SpendingInDatabase, accounts))
    return read_used_limits(settings.limits, client, spending, settings.reconcile_margin_ms)


def _settings_of_team(conn_id: str, team_name: str) -> Settings:
    """The settings of a connection that a team owns. Hooks find those only in the team's own tasks."""
    from airflow.models.connection import Connection

    from airflow_provider_whitebit.hooks.settings import settings_of

    return settings_of(conn_id, Connection.get_connection_from_secrets(conn_id, team_name=team_name))


def load_snapshot(
    client: Any,
    deadline: float,
    monotonic: Callable[[], float],
    limits_used: Callable[[], list[LimitUse]] | None = None,
) -> ExchangeSnapshot:
    """Load everything that the page shows, the most important first.

    :param client: a :class:`~airflow_provider_whitebit.client.api.WhiteBitClient`.
    :param deadline: when to stop, on ``monotonic``.
    :param limits_used: finds how much of the limits over time is used; ``None`` if the connection has none.
    :raises WhiteBitError: if the exchange does not answer, or refuses this key: then there is nothing to show.
    """
    snapshot = ExchangeSnapshot(client.server_time())
    steps = _loading_steps(client, snapshot, partial(_complete, deadline=deadline, monotonic=monotonic))
    if limits_used is None:
        snapshot.limits_used = []
    else:
        # Before the lists that can be long.
        steps.insert(-2, ("limits_used", "Limits used", limits_used))
    for number, (name, label, load) in enumerate(steps, 1):
        try:
            setattr(snapshot, name, load())
        except (WhiteBitPermissionError, WhiteBitRefusedError, WhiteBitValidationError) as error:
            # The other lists may work: a key without permission for Fixed plans can often read everything else.
            snapshot.problems.append({"what": label, **facts_of(error)})
        except WhiteBitError as error:
            if number == 1:
                raise
            snapshot.problems.append({"what": label, **facts_of(error)})
            rest = {"message": "Not requested, because the request before it failed."}
            snapshot.problems += [{"what": label, **rest} for _, label, _ in steps[number:]]
            break
        snapshot.problems += _unreadable_parts(snapshot, name, label)
    return snapshot


def _unreadable_parts(snapshot: ExchangeSnapshot, name: str, label: str) -> list[dict[str, Any]]:
    """The problems with single entries of a list that was loaded."""
    faults = [str(one) for one in snapshot.unreadable.get(name, ())]
    if name == "idle":
        faults = [ticker for ticker, amount in (snapshot.idle or {}).items() if amount is None]
    more = f" and {len(faults) - _MOST_NAMED} more" if len(faults) > _MOST_NAMED else ""
    return [{"what": label, "message": f"Cannot be read: {'; '.join(faults[:_MOST_NAMED])}{more}."}] if faults else []


def _loading_steps(
    client: Any, snapshot: ExchangeSnapshot, complete: Callable[[Iterable[Any]], list[Any]]
) -> list[tuple[str, str, Callable[[], Any]]]:
    """Field of the snapshot, label, and the call that loads it, in order of importance."""
    since = snapshot.now.start_of("day").subtract(days=max(WINDOWS))
    moving = [int(action) for action in (*_GOING_IN, *_GOING_OUT)]

    def report(name: str) -> Callable[[UnreadableRecord], None]:
        return snapshot.unreadable.setdefault(name, []).append

    def grouped(records: Iterable[FlexTransaction]) -> Grouped:
        return by_investment(complete(records), snapshot.flex or ())

    return [
        ("idle", "Main balance", client.main_balance),
        ("flex", "Flex investments", lambda: complete(client.flex_investments(on_unreadable=report("flex")))),
        (
            "plans",
            "Flex plans",
            lambda: {plan.id: plan for plan in complete(client.flex_plans(on_unreadable=report("plans")))},
        ),
        (
            "fixed",
            "Fixed investments",
            # Of every status: one that this package does not know may hold money.
            lambda: [
                held for held in complete(client.fixed_investments(on_unreadable=report("fixed"))) if not held.closed
            ],
        ),
        (
            "fixed_plans",
            "Fixed plans",
            # A key that may not read one of them may not read the other.
            lambda: None if snapshot.fixed is None else client.fixed_plans(on_unreadable=report("fixed_plans")),
        ),
        (
            "payments",
            "Flex earnings",
            lambda: grouped(client.flex_payments(date_from=since, on_unreadable=report("payments"))),
        ),
        (
            "history",
            "Flex history",
            lambda: grouped(client.flex_history(date_from=since, action_types=moving, on_unreadable=report("history"))),
        ),
    ]


def _complete(records: Iterable[T], *, deadline: float, monotonic: Callable[[], float]) -> list[T]:
    """All records. :raises WhiteBitUnavailableError: after the deadline, because a part would look like the whole."""
    found = []
    for record in records:
        if monotonic() > deadline:
            break
        found.append(record)
    if monotonic() > deadline:
        raise WhiteBitUnavailableError(f"The exchange did not answer completely within {BUDGET} s.")
    return found


def by_investment(entries: Iterable[FlexTransaction], investments: Sequence[FlexInvestment] = ()) -> Grouped:
    """Group transactions by the id of their investment.

    :param investments: to find the investment of a transaction that does not name it: the latest that was there then.
    """
    found: Grouped = {}
    tickers = {held.id: held.currency for held in investments}
    for entry in entries:
        name = entry.investment_id or _investment_of(entry, investments)
        named = entry if entry.currency else replace(entry, currency=tickers.get(name, ""))
        found.setdefault(name, []).append(named)
    return found


def _investment_of(entry: FlexTransaction, investments: Iterable[FlexInvestment]) -> str:
    there = [
        held
        for held in investments
        if entry.plan_id in (None, held.plan_id)
        and entry.currency in (None, held.currency)
        and _born(held, 0) <= _second(entry)
    ]
    return max(there, key=lambda held: _born(held, 0)).id if there else ""


def page_data(snapshot: ExchangeSnapshot) -> dict[str, Any]:
    """Return what the page shows: amounts and rates as decimal strings, times as ISO 8601 UTC strings.

    :param snapshot: of the account.
    """
    # With Python's 28 digits, rounding the largest amounts that the exchange may send would fail.
    with exact():
        return _page_data(snapshot)


def _page_data(snapshot: ExchangeSnapshot) -> dict[str, Any]:
    active, fixed = snapshot.active, snapshot.fixed
    return {
        "error": None,
        "as_of": to_json(snapshot.now),
        "problems": snapshot.problems,
        "warnings": _warnings(snapshot),
        "positions": _positions(snapshot),
        "flex": None if active is None else [_flex(held, snapshot) for held in active],
        "fixed": None if fixed is None else [_fixed(held, snapshot.now) for held in sorted(fixed, key=_end)],
        "earnings": _earnings(snapshot),
        "forecast": _forecast(snapshot),
        "plans": _plans(snapshot),
        "limits_used": None if snapshot.limits_used is None else [use.to_json() for use in snapshot.limits_used],
    }


def _forecast(snapshot: ExchangeSnapshot) -> dict[str, Any] | None:
    """The forecast. Records that contradict each other must not hide the rest of the account."""
    try:
        return forecast_data(snapshot)
    except WhiteBitError as error:
        snapshot.problems.append({"what": "Forecast", **facts_of(error)})
        return None


def window_rate(snapshot: ExchangeSnapshot, investments: Sequence[FlexInvestment], days: int) -> Decimal | None:
    """Return the realised rate over the days before today, up to the last earning: later ones are not credited yet.

    :param snapshot: with payments and history over at least these days.
    :param investments: closed ones too.
    :param days: how many days.
    :returns: a fraction per year; ``None`` if nothing was invested for a whole day.
    """
    if any(snapshot.unclear(name, plan_id=held.plan_id) for name in ("payments", "history") for held in investments):
        return None
    begin = _midnight(snapshot.now) - days * _DAY
    earned = _earned_since(begin, investments, snapshot)
    if not earned:
        return None
    end = max(second for second, _ in earned)
    history = snapshot.history or {}
    first = min(_born(held, begin) for held in investments)
    if end - max(begin, first) < _DAY:
        return None
    invested = (_invested_seconds(held, history.get(held.id, ()), begin, end) for held in investments)
    return realised_rate(sum((amount for _, amount in earned), Decimal(0)), sum(invested, Decimal(0)))


def _earned_since(
    begin: int, investments: Iterable[FlexInvestment], snapshot: ExchangeSnapshot
) -> list[tuple[int, Decimal]]:
    """The Unix second and the amount of each earning after a moment."""
    paid = snapshot.paid
    return [one for held in investments for one in paid.get(held.id, ()) if one[0] > begin]


def _invested_seconds(held: FlexInvestment, moved: Sequence[FlexTransaction], begin: int, end: int) -> Decimal:
    """Amount times seconds between two moments, walked back from what is invested now."""
    begin = max(begin, _born(held, begin))
    level = Decimal(0) if held.closed else held.invested
    total, until = Decimal(0), end
    for movement in sorted(group_movements(moved), key=lambda one: _second(one.main), reverse=True):
        if movement.main.action_type not in _GOING_IN + _GOING_OUT:
            # Its effect is unknown. What is invested now includes it.
            continue
        at = _second(movement.main)
        total += level * max(0, until - max(at, begin))
        goes_in = movement.main.action_type in _GOING_IN
        level = max(Decimal(0), level - movement.amount if goes_in else level + movement.amount)
        until = min(until, at)
    return total + level * max(0, until - begin)


def _positions(snapshot: ExchangeSnapshot) -> list[dict[str, Any]]:
    """One line for each asset with an amount or an earning: those with investments first, then by name."""
    active, fixed = snapshot.active, snapshot.fixed
    columns: dict[str, Mapping[str, Decimal | None] | None] = {
        "idle": snapshot.idle,
        "flex": None if active is None else _sums((held.currency, held.invested) for held in active),
        "fixed": None if fixed is None else _sums((held.plan.ticker, held.amount) for held in fixed),
    }
    present = {ticker for column in columns.values() for ticker, amount in (column or {}).items() if amount != 0}
    present |= {paid.currency for paid in chain.from_iterable((snapshot.payments or {}).values()) if paid.currency}
    lines = [_position(ticker, columns, snapshot) for ticker in sorted(present)]
    return sorted(lines, key=lambda line: (line["flex"] or "0", line["fixed"] or "0") == ("0", "0"))


def _position(
    ticker: str, columns: Mapping[str, Mapping[str, Decimal | None] | None], snapshot: ExchangeSnapshot
) -> dict[str, Any]:
    amounts = {
        name: None if column is None or snapshot.unclear(name, ticker) else column.get(ticker, Decimal(0))
        for name, column in columns.items()
    }
    known = [amount for amount in amounts.values() if amount is not None]
    total = sum(known, Decimal(0)) if len(known) == len(amounts) else None
    offered = [plan.max_rate for plan in (snapshot.plans or {}).values() if plan.ticker == ticker]
    # Without one of them, the best is not known.
    rates = [] if None in offered else [rate for rate in offered if rate is not None]
    return {
        "ticker": ticker,
        **{name: to_json(amount) for name, amount in amounts.items()},
        "total": to_json(total),
        "at_work": to_json(at_work(total, amounts["idle"])),
        "best_rate": to_json(max(rates, default=None)),
        "windows": _windows([held for held in snapshot.flex or () if held.currency == ticker], snapshot),
    }


def at_work(total: Decimal | None, idle: Decimal | None) -> Decimal | None:
    """Return the part of an amount that is not idle, as a fraction; ``None`` if it is unknown or there is nothing."""
    return ((total - idle) / total).quantize(_RATE) if total and idle is not None else None


def _elsewhere(snapshot: ExchangeSnapshot) -> dict[str, Any]:
    """The amounts of an asset of which nothing was read: 0, or unknown if a record that cannot be read may be of it."""
    names = ("idle", "flex", "fixed")
    unknown = {name for name in names if getattr(snapshot, name) is None or snapshot.unclear(name)}
    earned = None if snapshot.payments is None or snapshot.flex is None or snapshot.unclear("payments") else "0"
    return {
        **{name: None if name in unknown else "0" for name in names},
        "total": None if unknown else "0",
        "windows": {str(days): {"earned": earned} for days in WINDOWS},
    }


def _plans(snapshot: ExchangeSnapshot) -> list[dict[str, Any]]:
    """The plans on offer, by asset: Flex first, then Fixed by term. Fixed plans that are switched off are left out."""
    flex = [
        {
            "kind": "flex",
            "id": plan.id,
            "ticker": plan.ticker,
            "rate": to_json(plan.max_rate),
            "least": to_json(plan.min_investment),
            "most": to_json(plan.max_investment),
        }
        for plan in (snapshot.plans or {}).values()
    ]
    fixed = [
        {
            "kind": "fixed",
            "id": plan.id,
            "ticker": plan.ticker,
            "rate": to_json(_yearly_rate(plan)),
            "least": to_json(plan.min_investment),
            "most": to_json(plan.max_investment),
            "left": to_json(plan.max_possible_investment),
            "minutes": plan.duration,
            "percent": to_json(plan.percent),
            "interest_ticker": plan.interest_ticker,
            "status": plan.status,
        }
        for plan in snapshot.fixed_plans or ()
        if plan.status != FixedPlanStatus.INACTIVE
    ]
    return sorted([*flex, *fixed], key=lambda plan: (plan["ticker"], plan["kind"] == "fixed", plan.get("minutes") or 0))


def _sums(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal | None]:
    sums: dict[str, Decimal] = {}
    for ticker, amount in amounts:
        sums[ticker] = sums.get(ticker, Decimal(0)) + amount
    return dict(sums)


def _warnings(snapshot: ExchangeSnapshot) -> list[str]:
    """What may be wrong with figures that are shown."""
    plans = snapshot.plans or {}
    longest = max(WINDOWS)
    found = [
        f"Flex investment {held.id} in plan {held.plan_id} has the unknown status {held.status}. It counts as invested."
        for held in snapshot.active or ()
        if not held.active
    ]
    found += [
        f"Fixed investment {held.id} has the unknown status {held.status}. It counts as invested."
        for held in snapshot.fixed or ()
        if not held.active
    ]
    held_plans = [
        (held.plan_id, plans[held.plan_id].max_rate, window_rate(snapshot, [held], longest))
        for held in snapshot.active or ()
        if held.plan_id in plans
    ]
    warning = unit_warning([*held_plans, *((plan.id, plan.max_rate, None) for plan in plans.values())])
    return [*found, *([] if warning is None else [warning])]


def _flex(held: FlexInvestment, snapshot: ExchangeSnapshot) -> dict[str, Any]:
    plan = (snapshot.plans or {}).get(held.plan_id)
    unclear = plan is None and snapshot.unclear("plans", plan_id=held.plan_id)
    return {
        **held.to_json(),
        "max_rate": plan and to_json(plan.max_rate),
        "on_offer": None if snapshot.plans is None or unclear else plan is not None,
        "windows": _windows([held], snapshot),
    }


def _windows(investments: list[FlexInvestment], snapshot: ExchangeSnapshot) -> dict[str, dict[str, Any]]:
    """What some investments earned, and their realised rate, by window."""
    shown = {}
    for days in WINDOWS:
        earned = rate = None
        unclear = any(snapshot.unclear("payments", plan_id=held.plan_id) for held in investments)
        if snapshot.payments is not None and snapshot.flex is not None and not unclear:
            paid = _earned_since(_midnight(snapshot.now) - days * _DAY, investments, snapshot)
            earned = sum((amount for _, amount in paid), Decimal(0))
            rate = None if snapshot.history is None else window_rate(snapshot, investments, days)
        shown[str(days)] = {"earned": to_json(earned), "realised_rate": to_json(rate)}
    return shown


def _fixed(held: FixedInvestment, now: pendulum.DateTime) -> dict[str, Any]:
    plan = held.plan
    # The vendor's ratio is 1 if the interest is paid in the plan's own asset.
    ratio = Decimal(1) if plan.interest_ratio is None and plan.interest_ticker == plan.ticker else plan.interest_ratio
    interest = None
    if plan.percent is not None and ratio:
        interest = shortest((held.amount * plan.percent / 100 / ratio).quantize(Decimal("1E-8")))
    return {
        **held.to_json(),
        "yearly_rate": to_json(_yearly_rate(plan)),
        "interest": to_json(interest),
        "days_left": None if held.payment_time is None else int((held.payment_time - now).total_seconds()) // _DAY,
    }


def _yearly_rate(plan: FixedPlan) -> Decimal | None:
    """The interest as a fraction per year; ``None`` if percentage or term are unknown."""
    daily = plan.daily_percent
    return None if daily is None else (daily / 100 * YEAR / _DAY).quantize(_RATE)


def _earnings(snapshot: ExchangeSnapshot) -> dict[str, Any] | None:
    """What was credited on each day (UTC), by asset; today last."""
    if snapshot.payments is None:
        return None
    length = max(WINDOWS)
    first = _midnight(snapshot.now) // _DAY - length + 1
    by_ticker: dict[str, list[Decimal]] = {}
    for paid in chain.from_iterable(snapshot.payments.values()):
        day = _second(paid) // _DAY - first
        if 0 <= day < length:
            by_ticker.setdefault(paid.currency or "", [Decimal(0)] * length)[day] += paid.amount
    return {
        "days": [pendulum.from_timestamp((first + day) * _DAY).to_date_string() for day in range(length)],
        "by_ticker": {ticker: [to_json(amount) for amount in by_ticker[ticker]] for ticker in sorted(by_ticker)},
        "totals": {
            ticker: {str(days): to_json(sum(amounts[-days:], Decimal(0))) for days in WINDOWS}
            for ticker, amounts in by_ticker.items()
        },
    }


def unreadable(conn_id: str, error: Exception) -> str:
    """Return why a connection cannot be read, in one sentence."""
    if type(error).__name__ == "AirflowNotFoundException":
        return f"There is no connection {conn_id!r}."
    return f"Connection {conn_id!r} cannot be read ({type(error).__name__})."


def facts_of(error: WhiteBitError, *, of_task: bool = False) -> dict[str, Any]:
    """Return the facts of an error for the page, which repeats a request by itself if that can help.

    :param of_task: whether a task is concerned, which the viewer may have to clear.
    """
    steps: str | Sequence[str] = error.next_step if of_task else steps_without_task(error)
    steps = _AGAIN if error.retryable else steps
    return {
        "message": error.message,
        "said": quoted(error),
        "maintenance": isinstance(error, WhiteBitMaintenanceError),
        "next_steps": [steps] if isinstance(steps, str) else list(steps),
    }


def failed(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of an account that cannot be shown.

    :param error: its facts, see :func:`facts_of`.
    """
    lists = dict.fromkeys(("as_of", "positions", "flex", "fixed", "earnings", "forecast", "plans", "limits_used"))
    return {"error": error, "problems": [], "warnings": [], **lists}


def _second(entry: FlexTransaction) -> int:
    return int(entry.created_at.timestamp())


def _midnight(now: datetime) -> int:
    return int(now.timestamp()) // _DAY * _DAY


def _born(held: FlexInvestment, unknown: int) -> int:
    return int(held.created_at.timestamp()) if held.created_at else unknown


def _end(held: FixedInvestment) -> datetime:
    return held.payment_time or held.created
