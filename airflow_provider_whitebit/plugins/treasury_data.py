"""What the Treasury page shows of an account at the exchange, as plain JSON. Reading calls only.

Somebody is looking at a screen, in the API server: each question is asked once, the whole takes a few seconds at most,
and what could not be asked is said and left open. A figure that is not known is ``None``, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Self, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitPermissionError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedInvestmentStatus,
    FlexAction,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    to_json,
)

#: Days that earnings are looked at.
WINDOWS = (30, 90)
#: Seconds after which nothing more is asked, and that one answer may take.
BUDGET, ONE_ANSWER = 6, 3

_DAY, _YEAR = 86_400, 365 * 86_400
_RATE = Decimal("0.000001")
_GOING_IN = (FlexAction.INVEST, FlexAction.OPEN_INVESTMENT, FlexAction.REINVEST)
_GOING_OUT = (FlexAction.WITHDRAW_FROM_INVESTMENT, FlexAction.CLOSE_INVESTMENT)

T = TypeVar("T")


@dataclass(slots=True)
class Answers:
    """What the exchange has answered; ``None`` where it was not asked or did not answer."""

    now: pendulum.DateTime
    idle: dict[str, Decimal] | None = None
    plans: list[FlexPlan] | None = None
    flex: list[FlexInvestment] | None = None
    fixed: list[FixedInvestment] | None = None
    payments: list[FlexTransaction] | None = None
    history: list[FlexTransaction] | None = None
    problems: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Books:
    """The answers in the order in which they are looked up."""

    active: list[FlexInvestment] | None
    plans: dict[str, FlexPlan]
    payments: dict[str, list[FlexTransaction]]
    history: dict[str, list[FlexTransaction]]

    @classmethod
    def of(cls, answers: Answers) -> Self:
        flex = answers.flex
        return cls(
            None if flex is None else sorted((held for held in flex if held.active), key=lambda held: held.currency),
            {plan.id: plan for plan in answers.plans or ()},
            _by_investment(answers.payments or ()),
            _by_investment(answers.history or ()),
        )


def _by_investment(entries: Iterable[FlexTransaction]) -> dict[str, list[FlexTransaction]]:
    found: dict[str, list[FlexTransaction]] = {}
    for entry in entries:
        found.setdefault(entry.investment_id, []).append(entry)
    return found


@dataclass(frozen=True, slots=True)
class Account:
    """One look at an account.

    :param fingerprint: of host and API key, as journals keep it; ``None`` where the connection is wrong. Not shown.
    :param shown: what the page shows, plain JSON.
    """

    fingerprint: str | None
    shown: dict[str, Any]


def look(conn_id: str, *, monotonic: Callable[[], float] = time.monotonic) -> Account:
    """Look at the account of a connection. Raises nothing that is about the connection or the exchange.

    :param conn_id: the Airflow connection.
    :param monotonic: seconds that only go forward.
    :returns: the account; ``shown["error"]`` says why there is nothing to show.
    """
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

    hook = WhiteBitHook(conn_id)
    try:
        settings = hook.settings
        client = hook.impatient_conn(ONE_ANSWER)
    except WhiteBitError as error:
        return Account(None, _nothing(error.message))
    except Exception as error:
        return Account(None, _nothing(_unreadable(conn_id, error)))
    try:
        about = {"site": hook.site, "host": settings.base_url, "limits": settings.limits_in_words}
        return Account(settings.account, about | show(ask(client, monotonic() + BUDGET, monotonic)))
    except WhiteBitError as error:
        return Account(settings.account, about | _nothing(_told(error)))
    finally:
        client.close()


def ask(client: Any, deadline: float, monotonic: Callable[[], float]) -> Answers:
    """Ask everything that the page shows, the most important first.

    :param client: a :class:`~airflow_provider_whitebit.client.api.WhiteBitClient`.
    :param deadline: when to stop asking, on ``monotonic``.
    :raises WhiteBitError: if the exchange does not answer, or not to this key: then there is nothing to show.
    """
    answers = Answers(client.server_time())
    since = answers.now.start_of("day").subtract(days=max(WINDOWS))
    moving = [int(action) for action in (*_GOING_IN, *_GOING_OUT)]

    def whole(records: Iterable[T]) -> list[T]:
        return list(_in_time(iter(records), deadline, monotonic))

    questions: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("idle", "Main balance", client.main_balance),
        ("flex", "Flex investments", lambda: whole(client.flex_investments())),
        ("plans", "Flex plans", lambda: whole(client.flex_plans())),
        (
            "fixed",
            "Fixed investments",
            lambda: whole(client.fixed_investments(investment_status=FixedInvestmentStatus.ACTIVE)),
        ),
        ("payments", "Flex earnings", lambda: whole(client.flex_payments(date_from=since))),
        ("history", "Flex history", lambda: whole(client.flex_history(date_from=since, action_types=moving))),
    )
    for number, (name, what, question) in enumerate(questions, 1):
        try:
            setattr(answers, name, question())
        except (WhiteBitPermissionError, WhiteBitValidationError) as error:
            # Of this list only: a key without the permission for Fixed plans may well read everything else.
            answers.problems.append({"what": what, "text": _told(error)})
        except WhiteBitError as error:
            if number == 1:
                raise
            answers.problems.append({"what": what, "text": _told(error)})
            unasked = [{"what": rest, "text": "Not asked any more."} for _, rest, _ in questions[number:]]
            answers.problems.extend(unasked)
            break
    return answers


def show(answers: Answers) -> dict[str, Any]:
    """What the page shows, plain JSON: amounts and rates as decimal strings, times as ISO 8601 UTC strings.

    :param answers: of the exchange.
    """
    books = Books.of(answers)
    active = books.active
    return {
        "error": None,
        "as_of": to_json(answers.now),
        "problems": answers.problems,
        "positions": _positions(answers, books),
        "flex": None if active is None else [_flex(held, answers, books) for held in active],
        "fixed": None if answers.fixed is None else [_fixed(held, answers.now) for held in _by_end(answers.fixed)],
        "earnings": None if answers.payments is None else _earnings(answers.payments, answers.now),
    }


def realised_rate(
    investments: Sequence[FlexInvestment],
    payments: Mapping[str, Sequence[FlexTransaction]],
    history: Mapping[str, Sequence[FlexTransaction]],
    now: datetime,
    days: int,
) -> Decimal | None:
    """What was earned, as a fraction per year of what was invested, second by second.

    The days before today are looked at, up to the last earning: what has accrued since is not credited yet.

    :param investments: those looked at, closed ones too.
    :param payments: earnings by investment.
    :param history: what went in and out by investment, over at least so many days.
    :param now: the exchange's time.
    :param days: how many days.
    :returns: ``None`` if nothing was invested for a whole day of them.
    """
    begin = _midnight(now) - days * _DAY
    earned = _earned_since(begin, investments, payments)
    if not earned:
        return None
    end = max(_second(paid) for paid in earned)
    invested = sum((_invested_seconds(held, history.get(held.id, ()), begin, end) for held in investments), Decimal(0))
    first = min(int(held.created_at.timestamp()) if held.created_at else begin for held in investments)
    if invested <= 0 or end - max(begin, first) < _DAY:
        return None
    return (sum(paid.amount for paid in earned) * _YEAR / invested).quantize(_RATE)


def _earned_since(
    begin: int, investments: Iterable[FlexInvestment], payments: Mapping[str, Sequence[FlexTransaction]]
) -> list[FlexTransaction]:
    return [paid for held in investments for paid in payments.get(held.id, ()) if _second(paid) > begin]


def _invested_seconds(held: FlexInvestment, moved: Sequence[FlexTransaction], begin: int, end: int) -> Decimal:
    """Amount times seconds between two moments: back from what is invested now, over what went in and out."""
    born = int(held.created_at.timestamp()) if held.created_at else begin
    begin = max(begin, born)
    level = held.invested if held.active else Decimal(0)
    total, until = Decimal(0), None
    for entry in sorted(_each_once(moved), key=_second, reverse=True):
        at = _second(entry)
        total += level * max(0, (end if until is None else min(until, end)) - max(at, begin))
        level = max(Decimal(0), level - entry.amount if entry.action_type in _GOING_IN else level + entry.amount)
        until = at
    return total + level * max(0, (end if until is None else min(until, end)) - begin)


def _each_once(moved: Sequence[FlexTransaction]) -> Iterator[FlexTransaction]:
    """The same, without what tells of one movement twice: opening and investing, withdrawing all and closing."""
    twice = {
        (entry.amount, _second(entry))
        for entry in moved
        if entry.action_type in (FlexAction.OPEN_INVESTMENT, FlexAction.CLOSE_INVESTMENT)
    }
    for entry in moved:
        repeated = entry.action_type in (FlexAction.INVEST, FlexAction.WITHDRAW_FROM_INVESTMENT)
        if not (repeated and (entry.amount, _second(entry)) in twice):
            yield entry


def _positions(answers: Answers, books: Books) -> list[dict[str, Any]]:
    """One line for each asset that there is anything of: those with investments first, then by name."""
    active, fixed = books.active, answers.fixed
    columns = {
        "idle": answers.idle,
        "flex": None if active is None else _sums((held.currency, held.invested) for held in active),
        "fixed": None if fixed is None else _sums((held.plan.ticker, held.amount) for held in fixed),
    }
    there = {ticker for column in columns.values() for ticker, amount in (column or {}).items() if amount}
    there |= {paid.currency for paid in answers.payments or ()}
    lines = [_position(ticker, columns, answers, books) for ticker in sorted(there)]
    return sorted(lines, key=lambda line: (line["flex"] or "0", line["fixed"] or "0") == ("0", "0"))


def _position(
    ticker: str, columns: Mapping[str, Mapping[str, Decimal] | None], answers: Answers, books: Books
) -> dict[str, Any]:
    amounts = {name: None if column is None else column.get(ticker, Decimal(0)) for name, column in columns.items()}
    known = [amount for amount in amounts.values() if amount is not None]
    total = sum(known, Decimal(0)) if len(known) == len(amounts) else None
    at_work = None if total is None else total - (amounts["idle"] or 0)
    share = None if at_work is None or not total else (at_work / total).quantize(_RATE)
    return {
        "ticker": ticker,
        **{name: to_json(amount) for name, amount in amounts.items()},
        "total": to_json(total),
        "at_work": to_json(share),
        "best_rate": to_json(_best_rate(answers.plans, ticker)),
        "windows": _windows([held for held in answers.flex or () if held.currency == ticker], answers, books),
    }


def _sums(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for ticker, amount in amounts:
        sums[ticker] = sums.get(ticker, Decimal(0)) + amount
    return sums


def _best_rate(plans: list[FlexPlan] | None, ticker: str) -> Decimal | None:
    return max((plan.max_rate for plan in plans or () if plan.ticker == ticker), default=None)


def _flex(held: FlexInvestment, answers: Answers, books: Books) -> dict[str, Any]:
    plan = books.plans.get(held.plan_id)
    return {
        "investment_id": held.id,
        "plan_id": held.plan_id,
        "ticker": held.currency,
        "invested": to_json(held.invested),
        "max_rate": None if plan is None else to_json(plan.max_rate),
        "on_offer": None if answers.plans is None else plan is not None,
        "with_auto_reinvest": held.with_auto_reinvest,
        "since": to_json(held.created_at),
        "windows": _windows([held], answers, books),
    }


def _windows(investments: list[FlexInvestment], answers: Answers, books: Books) -> dict[str, dict[str, Any]]:
    """What some investments have earned, and the rate that it comes to, by window."""
    shown = {}
    for days in WINDOWS:
        earned = rate = None
        if answers.payments is not None and answers.flex is not None:
            paid = _earned_since(_midnight(answers.now) - days * _DAY, investments, books.payments)
            earned = sum((entry.amount for entry in paid), Decimal(0))
            if answers.history is not None:
                rate = realised_rate(investments, books.payments, books.history, answers.now, days)
        shown[str(days)] = {"earned": to_json(earned), "realised_rate": to_json(rate)}
    return shown


def _by_end(investments: Iterable[FixedInvestment]) -> list[FixedInvestment]:
    return sorted(investments, key=lambda held: held.payment_time or held.created)


def _fixed(held: FixedInvestment, now: pendulum.DateTime) -> dict[str, Any]:
    plan = held.plan
    interest = held.amount * plan.percent / 100 / plan.interest_ratio if plan.interest_ratio else None
    yearly = (plan.percent / 100 * _YEAR / (plan.duration * 60)).quantize(_RATE) if plan.duration > 0 else None
    left = None if held.payment_time is None else int((held.payment_time - now).total_seconds()) // _DAY
    return {
        "investment_id": held.id,
        "plan_id": plan.id,
        "ticker": plan.ticker,
        "amount": to_json(held.amount),
        "percent": to_json(plan.percent),
        "yearly_rate": to_json(yearly),
        "interest": None if interest is None else to_json(interest.quantize(Decimal("1E-8")).normalize()),
        "interest_ticker": plan.interest_ticker,
        "began": to_json(held.created),
        "ends": to_json(held.payment_time),
        "days_left": left,
    }


def _earnings(payments: Iterable[FlexTransaction], now: datetime) -> dict[str, Any]:
    """What was credited on each day (UTC), by asset; today last."""
    today = _midnight(now) // _DAY
    first = today - max(WINDOWS) + 1
    by_ticker: dict[str, list[Decimal]] = {}
    for paid in payments:
        day = _second(paid) // _DAY - first
        if 0 <= day < max(WINDOWS):
            by_ticker.setdefault(paid.currency, [Decimal(0)] * max(WINDOWS))[day] += paid.amount
    dates = [pendulum.from_timestamp((first + day) * _DAY, tz="UTC").to_date_string() for day in range(max(WINDOWS))]
    return {
        "days": dates,
        "by_ticker": {ticker: [to_json(amount) for amount in by_ticker[ticker]] for ticker in sorted(by_ticker)},
        "totals": {
            ticker: {str(days): to_json(sum(amounts[-days:], Decimal(0))) for days in WINDOWS}
            for ticker, amounts in by_ticker.items()
        },
    }


def _in_time(records: Iterator[T], deadline: float, monotonic: Callable[[], float]) -> Iterator[T]:
    """The same records. :raises WhiteBitUnavailableError: when the deadline is over: a part would look like all."""
    for record in records:
        if monotonic() > deadline:
            raise WhiteBitUnavailableError(f"Not answered in full within {BUDGET} s.")
        yield record
    if monotonic() > deadline:
        raise WhiteBitUnavailableError(f"Not answered in full within {BUDGET} s.")


def _unreadable(conn_id: str, error: Exception) -> str:
    if type(error).__name__ == "AirflowNotFoundException":
        return f"There is no connection {conn_id!r}."
    return f"Connection {conn_id!r} cannot be read ({type(error).__name__})."


def _told(error: WhiteBitError) -> str:
    """An error in words for somebody who only looks: that no money moved goes without saying."""
    return " ".join(part for part in (error.message, error.advice) if part)


def _nothing(why: str) -> dict[str, Any]:
    lists = dict.fromkeys(("as_of", "positions", "flex", "fixed", "earnings"))
    return {"error": why, "problems": [], **lists}


def _second(entry: FlexTransaction) -> int:
    return int(entry.created_at.timestamp())


def _midnight(now: datetime) -> int:
    return int(now.timestamp()) // _DAY * _DAY
