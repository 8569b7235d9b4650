"""A year of lending on the sandbox's rules in this process, on a clock of its own: moves of every kind."""

from __future__ import annotations

import itertools
from collections import defaultdict
from decimal import Decimal, localcontext

import pendulum

from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.execution import ApiKey, DecidedMove, ExecutionRequest
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.moves.journal import MemoryJournal, MemoryMarkers
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.sandbox import Exchange
from tests.sandbox_plans import Fixed, Flex, SubAccounts

BEGIN = pendulum.datetime(2026, 1, 1)


class Year:
    """The exchange, a client, and what has been moved.

    :param options: of the exchange, for example ``quirks``.
    """

    def __init__(self, **options):
        # The exchange's first balances are deposited a day before.
        self.now = BEGIN.subtract(days=1).int_timestamp * 1000
        self.exchange = Exchange(clock=self, rate_limits=False, **options)
        self.client = MovingClient(
            Transport(
                "http://year",
                Credentials("sandbox-key", "sandbox-secret"),
                clock=ExchangeClock(self.now_ms),
                retry=RetryPolicy(jitter=0),
                sleep=self.sleep,
                wire=self,
            )
        )
        self._names = itertools.count(1)
        self._key = ApiKey(self.client, "year", "year", MemoryMarkers())
        self.receipts = []

    def now_ms(self):
        return self.now

    def sleep(self, seconds):
        self.now += int(seconds * 1000) + 1

    def send(self, method, path, headers, body):
        self.now += 37
        return self.exchange.handle(method, path, headers, body or b"")

    def close(self):
        """Nothing is open."""

    def until(self, moment):
        self.now = max(self.now, int(moment.timestamp() * 1000))

    def move(self, operation, plan="", ticker="USDT", amount=None, **more):
        """Make one move as the hook does, and keep its receipt as a task's."""
        amount = None if amount is None else Decimal(amount)
        number = next(self._names)
        receipt = execute_move(
            ExecutionRequest(
                request=DecidedMove(Move(operation, plan, ticker, amount, **more)),
                api_key=self._key,
                journal=MemoryJournal(f"move {number}"),
                limits=Limits("year"),
                account=Account(self.client),
            ),
            sleep=self.sleep,
        )
        self.receipts.append((receipt, f"desk/run_{number}/move"))
        return receipt

    def pass_year(self, days=365):
        """Everything that journal entries cover. It ends an hour after the last day."""
        op, last = Operation, days
        for days in range(last):
            self.until(BEGIN.add(days=days, hours=10, minutes=days % 50))
            day = BEGIN.add(days=days)
            if days == 0:
                self.move(op.FLEX_INVEST, Flex.USDT, "USDT", "1000.5")
                self.move(op.FLEX_INVEST, Flex.BTC, "BTC", "0.5", with_reinvest=True)
            if day.day == 5:
                self.exchange.fund("USDT", "250.25")
                self.move(op.FLEX_INVEST, Flex.USDT, "USDT", "120.123456")
            if day.day == 12:
                self.move(op.FLEX_WITHDRAW, Flex.USDT, "USDT", "33.3")
                self.move(op.TRANSFER, "", "USDT", "40", source="main", target="spot")
            if day.day == 13:
                self.move(op.TRANSFER, "", "USDT", "15.5", source="spot", target="main")
                self.move(op.TRANSFER, "", "BTC", "0.001", source="main", target="collateral")
            if day.day == 16:
                self.move(op.FIXED_INVEST, Fixed.SEVERAL, self.ticker_of_fixed(Fixed.SEVERAL), "100")
            if days in (40, 200):
                self.move(op.FIXED_INVEST, Fixed.OTHER_TICKER, self.ticker_of_fixed(Fixed.OTHER_TICKER), "0.05")
            if days == 60:
                early = self.move(op.FIXED_INVEST, Fixed.TEN_DAYS, self.ticker_of_fixed(Fixed.TEN_DAYS), "200")
            if days == 64:
                plan = early.plan_id
                self.move(op.FIXED_CLOSE, plan, early.ticker, early.amount, investment_id=early.investment_id)
            if days in (90, 270):
                self.client.switch_auto_reinvest(Flex.USDT, enabled=days == 90)
            if days in (120, 240):
                self.move(op.FLEX_CLOSE, Flex.BTC, "BTC")
            if days in (130, 250):
                self.move(op.FLEX_INVEST, Flex.BTC, "BTC", "0.25", with_reinvest=True)
            if days in (150, 310):
                self.exchange.withdraw("USDT", "30.75")
                sub = {"sub_account_id": SubAccounts.TRADING}
                self.move(op.SUB_ACCOUNT_TRANSFER, "", "USDT", "100", source="main", target="sub", **sub)
            if days in (155, 315):
                sub = {"sub_account_id": SubAccounts.TRADING}
                self.move(op.SUB_ACCOUNT_TRANSFER, "", "USDT", "41.5", source="sub", target="main", **sub)
        self.until(BEGIN.add(days=last, hours=1))
        # Only requests bring the exchange up to its clock.
        self.client.main_balance()
        self.exchange.audit()

    def ticker_of_fixed(self, plan):
        return next(one.ticker for one in self.client.fixed_plans() if one.id == plan)


class ExchangeLedger:
    """The exchange's own double entries, read without this package's reading of records."""

    def __init__(self, exchange):
        self._rows = exchange.ledger.db.execute("SELECT at_ms, ticker, amount, source, target FROM entry").fetchall()

    def balances(self, moment):
        """Balances by account and asset just before a moment. All plans together are one account."""
        sums, until_ms = defaultdict(Decimal), moment.timestamp() * 1000
        with localcontext(prec=200):
            for at_ms, ticker, amount, source, target in self._rows:
                if at_ms < until_ms:
                    sums[_place(source), ticker] -= Decimal(amount)
                    sums[_place(target), ticker] += Decimal(amount)
        return sums


def _place(account):
    kind = account.partition(":")[0]
    return kind if kind in ("invested", "fixed") else account
