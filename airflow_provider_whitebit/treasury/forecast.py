"""A forecast: what invested money will earn, which terms end when, and whether a policy's needs are met. Pure.

Vendor pages: Lending (Flex and Fixed plans). What it assumes:

- What is invested stays invested, and nothing more is. Only the needs of a policy take money: from Main, then from the
  Flex plans that earn least, as far as the reserve requires it. No limit of a plan is looked at.
- Rates stay as they are. A plan earns its realised rate; its advertised one where nothing is realised yet; and neither
  is replaced by 0 if it is unknown (:class:`RateBasis`).
- Flex earnings are credited at 00:00 UTC, and belong to the day that begins, as in a statement. With auto-reinvest they
  earn from then on, otherwise Main has them. What is invested now has been invested since the last credit.
- A Fixed investment pays its interest and returns its amount at the end of its term. After that, neither earns.
- Amounts are rounded down to :data:`DECIMALS`, and the rest is carried to the next day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FlexAction,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    Record,
    plain,
    to_json,
)
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.treasury.amounts import ZERO, exact, round_down
from airflow_provider_whitebit.treasury.policy import LiquidityNeed, Policy, TickerPolicy
from airflow_provider_whitebit.treasury.rates import YEAR, unit_warning
from airflow_provider_whitebit.treasury.statement import make_statement

#: Decimals of expected amounts.
DECIMALS = 8
#: Days over which realised rates are taken, unless the caller says otherwise.
RATE_DAYS = 30
#: Most days of a forecast.
MOST_DAYS = 3_660

_DAY = 86_400
#: Hours: credits of one night are not further apart.
_NIGHT = 12
#: A rate above 1,000 % a year is taken for a mistake.
_MOST_RATE = 10
_CREDITS = (FlexAction.DAILY_EARNING, FlexAction.REINVEST)


class RateBasis(StrEnum):
    """Where an expected rate comes from."""

    #: What the plan earned lately.
    REALISED = "realised"
    #: The plan's ``max_rate`` of now, because nothing is realised yet.
    ADVERTISED = "advertised"
    #: Neither is known. Nothing is expected, and the forecast says so.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ExpectedInvestment(Record):
    """One active Flex investment. Amounts in units of the asset.

    :param invested: now.
    :param auto_reinvest: whether earnings stay in it.
    :param rate: a fraction per year; ``None``: unknown.
    :param basis: where ``rate`` comes from.
    :param per_day: earnings of a day at what is invested now; ``None``: unknown.
    :param earned: expected to be credited until the end; ``None``: unknown.
    :param closing: expected to be invested at the end.
    """

    ticker: str
    plan_id: str
    investment_id: str
    invested: Decimal
    auto_reinvest: bool
    rate: Decimal | None
    basis: RateBasis
    per_day: Decimal | None
    earned: Decimal | None
    closing: Decimal


@dataclass(frozen=True, slots=True)
class ExpectedDay(Record):
    """One day (UTC) of one asset. Amounts in units of the asset.

    :param date: the day, ``YYYY-MM-DD``.
    :param earned: Flex earnings to be credited on it, as far as rates are known; ``None``: no rate is.
    :param interest: of Fixed investments whose terms end on it.
    :param matured: amounts that these return.
    :param needed: what the policy needs on it.
    :param invested: in Flex at its end.
    :param main: Main at its end; ``None``: unknown.
    """

    ticker: str
    date: str
    earned: Decimal | None
    interest: Decimal
    matured: Decimal
    needed: Decimal
    invested: Decimal
    main: Decimal | None


@dataclass(frozen=True, slots=True)
class Maturity(Record):
    """The end of one Fixed investment.

    :param at: when; ``None``: unknown.
    :param amount: that it returns, in units of ``ticker``.
    :param interest: that it pays, in units of ``interest_ticker``; ``None``: unknown.
    """

    at: pendulum.DateTime | None
    ticker: str
    amount: Decimal
    interest: Decimal | None
    interest_ticker: str
    plan_id: str
    investment_id: str


@dataclass(frozen=True, slots=True)
class ExpectedNeed(Record):
    """What a policy needs at a moment. Amounts in units of the asset.

    :param at: the moment; of a reserve that is missing already, the beginning of the forecast.
    :param amount: on top of the reserve; 0: the reserve alone.
    :param reserve: that Main keeps.
    :param from_flex: what Flex plans have to give.
    :param missing: even if all of them give everything.
    """

    ticker: str
    at: pendulum.DateTime
    amount: Decimal
    reserve: Decimal
    from_flex: Decimal
    missing: Decimal


@dataclass(frozen=True, slots=True)
class TickerForecast:
    """One asset. Amounts in its units.

    :param main: Main now; ``None``: unknown.
    :param invested: in Flex now.
    :param fixed: in Fixed now.
    :param per_day: Flex earnings of a day at what is invested now, as far as rates are known; ``None``: no rate is.
    :param earned: Flex earnings expected until the end, likewise.
    :param earned_reinvested: of that, what stays invested.
    :param earned_advertised: of that, what rests on advertised rates.
    :param interest: expected of Fixed investments.
    :param matured: amounts that Fixed investments return.
    :param complete: whether every rate, term and interest of the asset is known.
    :param investments: each active Flex investment.
    :param days: each day.
    :param needs: of the policy, by time.
    """

    ticker: str
    main: Decimal | None
    invested: Decimal
    fixed: Decimal
    per_day: Decimal | None
    earned: Decimal | None
    earned_reinvested: Decimal | None
    earned_advertised: Decimal | None
    interest: Decimal
    matured: Decimal
    complete: bool
    investments: tuple[ExpectedInvestment, ...]
    days: tuple[ExpectedDay, ...]
    needs: tuple[ExpectedNeed, ...]

    def to_json(self, *, days: bool = True) -> dict[str, Any]:
        """Return plain JSON.

        :param days: whether to include each day.
        """
        values = {name: to_json(getattr(self, name)) for name in self.__slots__[:-3]}
        return {
            **values,
            "investments": [one.to_json() | {"basis": str(one.basis)} for one in self.investments],
            "needs": [one.to_json() for one in self.needs],
            "days": [one.to_json() for one in self.days] if days else None,
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of an account.

    :param start: the exchange's time when it was read.
    :param until: the end, not included.
    :param tickers: by asset.
    :param maturities: of all Fixed investments, the next one first; those whose end is unknown last.
    :param unknown: what is not known and therefore in no figure, in words.
    :param warnings: what may be wrong with rates.
    """

    start: pendulum.DateTime
    until: pendulum.DateTime
    tickers: tuple[TickerForecast, ...]
    maturities: tuple[Maturity, ...]
    unknown: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def shortfalls(self) -> tuple[ExpectedNeed, ...]:
        """The needs that cannot be met, by time."""
        found = (need for ticker in self.tickers for need in ticker.needs if need.missing)
        return tuple(sorted(found, key=lambda need: need.at))

    def days(self) -> Iterator[ExpectedDay]:
        """Yield the days of all assets as rows of a table."""
        for ticker in self.tickers:
            yield from ticker.days

    def to_json(self, *, days: bool = True) -> dict[str, Any]:
        """Return plain JSON: amounts and rates as decimal strings, times as ISO 8601 UTC strings.

        :param days: whether to include each day of each asset; otherwise ``days`` are null.
        """
        return {
            "start": to_json(self.start),
            "until": to_json(self.until),
            "tickers": {ticker.ticker: ticker.to_json(days=days) for ticker in self.tickers},
            "maturities": [one.to_json() for one in self.maturities],
            "shortfalls": [
                {"ticker": one.ticker, "at": to_json(one.at), "missing": to_json(one.missing)}
                for one in self.shortfalls
            ],
            "unknown": list(self.unknown),
            "warnings": list(self.warnings),
        }


def rates_since(now: pendulum.DateTime, days: int = RATE_DAYS) -> pendulum.DateTime:
    """Return since when records are needed for realised rates.

    :param now: an aware time.
    :param days: over which the rates are taken.
    """
    return now.in_timezone("UTC").start_of("day").subtract(days=days)


def realised_rates(
    history: Iterable[FlexTransaction],
    investments: Iterable[FlexInvestment],
    *,
    since: datetime,
    now: pendulum.DateTime,
) -> dict[str, Decimal]:
    """Return what each plan earned lately, as a fraction per year, by plan id.

    Whole days count only, from one credit of earnings to another: interest that has accrued is in no record until then.
    A plan without a whole day or without an earning has no realised rate yet.

    :param history: Flex transactions of all kinds, newest first, from ``since`` or earlier until ``now``.
    :param investments: active and closed ones.
    :param since: an aware time; see :func:`rates_since`.
    :param now: when ``investments`` were read, an aware time.
    """
    records, held = [one for one in history if one.created_at >= since], list(investments)
    # Closing pays at once what has accrued. That is no nightly credit.
    closed = {entry.id for entry in held if entry.closed}
    credits = [one for one in records if one.action_type in _CREDITS and one.investment_id not in closed]
    start, end = pendulum.instance(since), now
    if credits:
        older = any(entry.active and (entry.created_at is None or entry.created_at < since) for entry in held)
        first, end = _nights(credits)
        # The first night is for a day before.
        start = first if older else start
    if start >= end:
        return {}
    statement = make_statement(records, held, (), start=start, end=end, made_at=max(now, end), records_from=since)
    return {
        plan.plan_id: plan.figures.realised_rate
        for plan in statement.plans
        # The first and the last day are not whole.
        if plan.figures.realised_rate and sum(day.invested > 0 for day in plan.days) > 2
    }


def _nights(credits: Sequence[FlexTransaction]) -> tuple[pendulum.DateTime, pendulum.DateTime]:
    """Return when the first night was over, and when the last one that has credited all plans was.

    A night credits one plan after the other.
    """
    times = [one.created_at for one in credits]
    first, last = min(times).add(hours=_NIGHT), max(times)
    tonight, day_before = last.subtract(hours=_NIGHT), last.subtract(hours=24 + _NIGHT)
    credited = {one.plan_id for one in credits if one.created_at >= tonight}
    before = [one for one in credits if day_before <= one.created_at < tonight]
    if not {one.plan_id for one in before} <= credited:
        last = max(one.created_at for one in before)
    return max(at for at in times if at <= first).add(seconds=1), last.add(seconds=1)


def make_forecast(
    flex: Iterable[FlexInvestment],
    fixed: Iterable[FixedInvestment],
    plans: Iterable[FlexPlan],
    *,
    main: Mapping[str, Decimal | None] | None,
    realised: Mapping[str, Decimal],
    now: datetime,
    until: datetime,
    policy: Policy | None = None,
    tickers: Sequence[str] | None = None,
    unreadable: Iterable[UnreadableRecord] = (),
) -> Forecast:
    """Forecast the time from ``now`` until ``until``, which is not included.

    :param flex: Flex investments as the exchange shows them now; closed ones are ignored.
    :param fixed: Fixed investments, likewise.
    :param plans: Flex plans on offer now, for their advertised rates.
    :param main: Main balance by ticker; ``None`` for one that cannot be read, or if none can be.
    :param realised: rates by plan id, fractions per year: :func:`realised_rates`.
    :param now: when all this was read, an aware time.
    :param until: an aware time after ``now``.
    :param policy: whose needs are compared with what is available.
    :param tickers: only these assets; by default, those that are invested and those of the policy.
    :param unreadable: what cannot be read of all these. Each is named.
    :raises WhiteBitValidationError: the times are not aware, or not a period of at most :data:`MOST_DAYS` days.
    """
    start, end = _period(now, until)
    offered, terms = {plan.id: plan for plan in plans}, list(fixed)
    with exact():
        walks: dict[str, _Walk] = {}

        def walk(ticker: str) -> _Walk:
            if ticker not in walks:
                wanted = policy.tickers.get(ticker) if policy else None
                walks[ticker] = _Walk(ticker, None if main is None else main.get(ticker, ZERO), wanted, start, end)
            return walks[ticker]

        for ticker in (*(policy.tickers if policy else ()), *(tickers or ())):
            walk(ticker)
        for held in flex:
            plan = offered.get(held.plan_id)
            of_ticker = walk(held.currency or ("" if plan is None else plan.ticker))
            if not of_ticker.ticker and not held.closed:
                why = f"Flex investment {held.id} names no asset, and its plan is not on offer"
                of_ticker.leave_out(why, held.invested)
            elif held.active:
                of_ticker.invest(held, realised.get(held.plan_id), None if plan is None else plan.max_rate)
            elif not held.closed:
                of_ticker.leave_out(f"Flex investment {held.id} has the unknown status {held.status}", held.invested)
        ends = maturities(terms)
        for maturity in ends:
            walk(maturity.ticker).returns(maturity)
            walk(maturity.interest_ticker).pays(maturity)
        for term in terms:
            if not term.active and not term.closed:
                what = f"Fixed investment {term.id} has the unknown status {term.status}"
                walk(term.plan.ticker).leave_out(what, term.amount)
        for record in unreadable:
            if not record.closed and record.kind is not FlexPlan:
                walk(record.ticker or "").leave_out(f"The exchange sent an unreadable {record}", None)
        chosen = [one for name, one in sorted(walks.items()) if not tickers or name in ("", *tickers)]
        shown = [one.through() for one in chosen]
    names = {one.ticker for one in shown}
    positions = (position for one in chosen for position in one.positions)
    warning = unit_warning((one.held.plan_id, one.advertised, realised.get(one.held.plan_id)) for one in positions)
    return Forecast(
        start=start,
        until=end,
        tickers=tuple(one for one in shown if one.ticker),
        maturities=tuple(one for one in ends if {one.ticker, one.interest_ticker} & names),
        unknown=tuple(text for one in chosen for text in one.unknown),
        warnings=() if warning is None else (warning,),
    )


def _period(now: datetime, until: datetime) -> tuple[pendulum.DateTime, pendulum.DateTime]:
    if now.tzinfo is None or until.tzinfo is None:
        raise WhiteBitValidationError("now or until has no time zone: give aware times, for example in UTC.")
    start, end = (pendulum.instance(moment).in_timezone("UTC") for moment in (now, until))
    if not start < end <= start.add(days=MOST_DAYS):
        raise WhiteBitValidationError(
            f"until is {to_json(end)}: write a time after {to_json(start)}, at most {MOST_DAYS} days later."
        )
    return start, end


def maturities(fixed: Iterable[FixedInvestment]) -> tuple[Maturity, ...]:
    """Return the ends of active Fixed investments, the next one first; those whose end is unknown last.

    :param fixed: in any order; others are ignored.
    """
    with exact():
        found = [_maturity(term) for term in fixed if term.active]
    return tuple(sorted(found, key=lambda one: (one.at is None, one.at and one.at.timestamp(), one.investment_id)))


def _maturity(term: FixedInvestment) -> Maturity:
    """What the end of a term brings. One unit of the interest's asset is worth ``interest_ratio`` of the plan's."""
    plan = term.plan
    ratio = plan.interest_ratio or (Decimal(1) if plan.interest_ticker == plan.ticker else None)
    interest = None
    if plan.percent is not None and ratio is not None:
        paid = term.interest_paid or ZERO
        interest = max(ZERO, round_down(term.amount * plan.percent / 100 / ratio, DECIMALS) - paid)
    return Maturity(term.payment_time, plan.ticker, term.amount, interest, plan.interest_ticker, plan.id, term.id)


@dataclass(slots=True)
class _Position:
    """One Flex investment on its way.

    :param accrued: what is not credited yet.
    """

    held: FlexInvestment
    rate: Decimal | None
    basis: RateBasis
    advertised: Decimal | None
    balance: Decimal
    accrued: Decimal = ZERO
    earned: Decimal = ZERO

    @property
    def per_day(self) -> Decimal | None:
        return None if self.rate is None else round_down(self.held.invested * self.rate * _DAY / YEAR, DECIMALS)

    def accrue(self, seconds: int) -> None:
        if self.rate is not None:
            self.accrued += self.balance * self.rate * seconds / YEAR

    def credit(self) -> Decimal:
        """Credit what has accrued. Return what goes to Main, and keep the rest."""
        amount = round_down(self.accrued, DECIMALS)
        self.accrued -= amount
        self.earned += amount
        if self.held.with_auto_reinvest:
            self.balance += amount
        return amount

    def expected(self, ticker: str) -> ExpectedInvestment:
        held = self.held
        return ExpectedInvestment(
            ticker=ticker,
            plan_id=held.plan_id,
            investment_id=held.id,
            invested=held.invested,
            auto_reinvest=held.with_auto_reinvest,
            rate=self.rate,
            basis=self.basis,
            per_day=self.per_day,
            earned=None if self.rate is None else self.earned,
            closing=self.balance,
        )


@dataclass(slots=True)
class _Walk:
    """One asset on its way through the days.

    :param main: Main; ``None``: unknown.
    :param wanted: what the policy wants of it.
    :param events: what happens at which Unix second.
    :param unknown: what is not known, in words.
    """

    ticker: str
    main: Decimal | None
    wanted: TickerPolicy | None
    start: pendulum.DateTime
    until: pendulum.DateTime
    positions: list[_Position] = field(default_factory=list)
    events: list[tuple[int, _Event]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    needs: list[ExpectedNeed] = field(default_factory=list)
    fixed: Decimal = ZERO
    incomplete: bool = False

    def invest(self, held: FlexInvestment, realised: Decimal | None, advertised: Decimal | None) -> None:
        """Add a Flex investment, with what has accrued since the last midnight."""
        rate, basis = (realised, RateBasis.REALISED) if realised is not None else (advertised, RateBasis.ADVERTISED)
        if rate is None or rate > _MOST_RATE:
            shows = "has neither a realised nor an advertised rate" if rate is None else f"shows the rate {plain(rate)}"
            self.leave_out(f"Plan {held.plan_id} {shows}", held.invested)
            rate, basis = None, RateBasis.UNKNOWN
        position = _Position(held, rate, basis, advertised, held.invested)
        since = self.start.start_of("day")
        position.accrue(_second(self.start) - _second(max(since, held.created_at or since)))
        self.positions.append(position)

    def leave_out(self, why: str, amount: Decimal | None) -> None:
        """Name what no figure contains."""
        of_amount = "" if amount is None else f", so nothing is expected of its {plain(amount)} {self.ticker}".rstrip()
        self.unknown.append(f"{why}{of_amount}.")
        self.incomplete = True

    def returns(self, maturity: Maturity) -> None:
        """Take note of the amount that a term returns."""
        self.fixed += maturity.amount
        if maturity.at is None:
            self.leave_out(f"The end of Fixed investment {maturity.investment_id} is unknown", maturity.amount)
        else:
            self._at(maturity.at, _Event(matured=maturity.amount))

    def pays(self, maturity: Maturity) -> None:
        """Take note of the interest that a term pays."""
        if maturity.interest is None:
            self.leave_out(f"The interest of Fixed investment {maturity.investment_id} is unknown", None)
        elif maturity.at is not None:
            self._at(maturity.at, _Event(interest=maturity.interest))
        else:
            self.incomplete = True

    def _at(self, moment: pendulum.DateTime, event: _Event) -> None:
        # What is due already is expected at once.
        if moment < self.until:
            self.events.append((max(_second(moment), _second(self.start)), event))

    def through(self) -> TickerForecast:
        """Walk to the end."""
        self._read_policy()
        # Terms that end at the moment of a need come first.
        self.events.sort(key=lambda one: (one[0], one[1].need is not None))
        invested, main = self._invested, self.main
        days = tuple(self._days())
        known = self._rated
        per_day = sum((one.per_day or ZERO for one in self.positions), ZERO)
        earned = sum((one.earned for one in self.positions), ZERO)
        kept = sum((one.earned for one in self.positions if one.held.with_auto_reinvest), ZERO)
        advertised = sum((one.earned for one in self.positions if one.basis is RateBasis.ADVERTISED), ZERO)
        return TickerForecast(
            ticker=self.ticker,
            main=main,
            invested=invested,
            fixed=self.fixed,
            per_day=per_day if known else None,
            earned=earned if known else None,
            earned_reinvested=kept if known else None,
            earned_advertised=advertised if known else None,
            interest=sum((day.interest for day in days), ZERO),
            matured=sum((day.matured for day in days), ZERO),
            complete=not self.incomplete,
            investments=tuple(one.expected(self.ticker) for one in self.positions),
            days=days,
            needs=tuple(self.needs),
        )

    @property
    def _invested(self) -> Decimal:
        return sum((one.balance for one in self.positions), ZERO)

    @property
    def _rated(self) -> bool:
        """Whether earnings are known, at least of some plans."""
        return not self.positions or any(one.rate is not None for one in self.positions)

    def _read_policy(self) -> None:
        if self.wanted is None:
            return
        if self.main is None:
            self.leave_out("Main cannot be read, so the needs of the policy are not compared", None)
            return
        for need in self.wanted.liquidity:
            if need.by >= self.start:
                self._at(need.by, _Event(need=need))
        missing = self._reserve(self.wanted) - self.main - self._invested
        if missing > 0:
            self.needs.append(ExpectedNeed(self.ticker, self.start, ZERO, self._reserve(self.wanted), ZERO, missing))

    def _reserve(self, wanted: TickerPolicy) -> Decimal:
        total = (self.main or ZERO) + self._invested
        return max(wanted.reserve, round_down(wanted.reserve_share * total, DECIMALS))

    def _days(self) -> Iterator[ExpectedDay]:
        at, place = _second(self.start), 0
        first = (at // _DAY + 1) * _DAY
        end = _second(self.until)
        for begin, until in pairwise([at, *range(first, end, _DAY), end]):
            earned = interest = matured = needed = ZERO
            if begin % _DAY == 0 and begin >= first:
                for position in self.positions:
                    credited = position.credit()
                    earned += credited
                    self._receive(ZERO if position.held.with_auto_reinvest else credited)
            while place < len(self.events) and self.events[place][0] < until:
                second, event = self.events[place]
                self._accrue(second - at)
                at, place = second, place + 1
                self._receive(event.matured + event.interest)
                matured, interest = matured + event.matured, interest + event.interest
                if event.need is not None:
                    needed += event.need.amount
                    self._meet(event.need)
            self._accrue(until - at)
            at = until
            yield ExpectedDay(
                ticker=self.ticker,
                date=pendulum.from_timestamp(begin, tz="UTC").to_date_string(),
                earned=earned if self._rated else None,
                interest=interest,
                matured=matured,
                needed=needed,
                invested=self._invested,
                main=self.main,
            )

    def _accrue(self, seconds: int) -> None:
        for position in self.positions:
            position.accrue(seconds)

    def _receive(self, amount: Decimal) -> None:
        if self.main is not None:
            self.main += amount

    def _meet(self, need: LiquidityNeed) -> None:
        """Take what is needed from Main, and before that what Main lacks from the plans that earn least."""
        assert self.wanted is not None and self.main is not None
        reserve = self._reserve(self.wanted)
        lacking = missing = max(ZERO, reserve + need.amount - self.main)
        # Those whose rate is unknown give last, as when liquidity is raised.
        for position in sorted(self.positions, key=lambda one: (one.rate is None, one.rate or ZERO)):
            given = min(position.balance, missing)
            position.balance -= given
            missing -= given
        self.main = max(ZERO, self.main + lacking - missing - need.amount)
        self.needs.append(ExpectedNeed(self.ticker, need.by, need.amount, reserve, lacking - missing, missing))


@dataclass(frozen=True, slots=True)
class _Event:
    """What happens to an asset at one moment: a term returns or pays an amount, or a policy needs one."""

    matured: Decimal = ZERO
    interest: Decimal = ZERO
    need: LiquidityNeed | None = None


def _second(moment: datetime) -> int:
    return int(moment.timestamp())
