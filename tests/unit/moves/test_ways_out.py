"""What leads out of plans and balances does without what the exchange no longer shows."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import Asset, FlexInvestment, FlexPlan, TradeBalance
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.drivers import ask_exchange
from airflow_provider_whitebit.moves.effects import ReadBalances, ReadRecords
from airflow_provider_whitebit.moves.intent import Balances, Move, Operation
from airflow_provider_whitebit.moves.requests import FlexClose, FlexInvest, FlexWithdraw, Transfer

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
OTHER = "7e1d8c2b-9a3b-4b1c-8d4e-5a6b7c8d9e0f"


class Client:
    """An exchange that refuses to filter by an asset or a plan that it no longer lists."""

    def __init__(self, *listed, precision=18):
        self.listed = {ticker: Asset(ticker, ticker, precision, True, True) for ticker in listed}
        self.plans = [FlexPlan(PLAN, "ETH", Decimal(10), None, Decimal("0.1"))]
        self.invested = {PLAN: ("ETH", Decimal("100.000000000000000001"))}
        self.main, self.spot, self.collateral = {}, {}, {}
        self.history = []
        self.status = 1

    def _check(self, ticker=None, plan=None):
        if ticker is not None and ticker not in self.listed:
            raise e.WhiteBitValidationError("The selected ticker is invalid.")
        if plan is not None and plan not in {one.id for one in self.plans}:
            raise e.WhiteBitValidationError("The selected plan is invalid.")

    def assets(self):
        return self.listed

    def flex_plans(self, *, ticker=None, on_unreadable=None):
        self._check(ticker)
        return iter(self.plans)

    def flex_investments(self, *, ticker=None, plan=None, investment_status=None, on_unreadable=None):
        self._check(ticker, plan)
        for name, (currency, invested) in self.invested.items():
            if plan in (None, name):
                yield FlexInvestment(f"inv_{name}", name, currency, invested, False, self.status, None, None)

    def flex_history(self, *, plan=None, date_from=None, on_unreadable=None, strict=False):
        self._check(plan=plan)
        return iter([(plan, date_from)])

    def main_balance(self, ticker=None):
        return dict(self.main) if ticker is None else {ticker: self.main.get(ticker, Decimal(0))}

    def trade_balance(self, ticker=None):
        if ticker is not None and ticker not in self.listed:
            raise e.WhiteBitRefusedError("Currency was not found.")
        shown = self.spot if ticker is None else {ticker: self.spot.get(ticker, Decimal(0))}
        return {name: TradeBalance(held, Decimal(0)) for name, held in shown.items()}

    def collateral_balance(self, ticker=None):
        if ticker is not None and ticker not in self.listed:
            raise e.WhiteBitRefusedError("ticker is invalid.")
        return dict(self.collateral) if ticker is None else {ticker: self.collateral.get(ticker, Decimal(0))}


@pytest.fixture(params=["listed", "delisted", "without a list"])
def client(request, monkeypatch):
    client = Client(*(["ETH"] if request.param == "listed" else []))
    if request.param == "without a list":

        def down():
            raise e.WhiteBitUnavailableError("no answer")

        monkeypatch.setattr(client, "assets", down)
    return client


def transfer(amount, source="spot", target="main"):
    return Transfer(ticker="ETH", amount=amount, source=source, target=target)


class TestFlex:
    @pytest.mark.parametrize("where", [{"plan_id": PLAN}, {"ticker": "ETH"}])
    @pytest.mark.parametrize("offered", [True, False])
    def test_everything_comes_out_by_a_close(self, client, where, offered):
        client.plans = client.plans if offered else []
        close = Move(Operation.FLEX_CLOSE, PLAN, "ETH", Decimal("100.000000000000000001"))
        assert FlexWithdraw(amount="all", **where).resolve(Account(client)) == close
        assert FlexClose(**where).resolve(Account(client)) == close

    @pytest.mark.parametrize("where", [{"plan_id": PLAN}, {"ticker": "ETH"}])
    def test_an_amount_stays_a_withdrawal_even_if_it_is_everything(self, client, where):
        whole = Decimal("100.000000000000000001")
        assert FlexWithdraw(amount=whole, **where).resolve(Account(client)) == Move(
            Operation.FLEX_WITHDRAW, PLAN, "ETH", whole
        )

    def test_an_unknown_status_closes_no_way_out_of_a_plan_that_is_named(self, client):
        client.status = 7
        assert FlexWithdraw(amount="40", plan_id=PLAN).resolve(Account(client)).amount == 40
        assert FlexClose(plan_id=PLAN).resolve(Account(client)).plan_id == PLAN
        client.status = 0
        with pytest.raises(e.WhiteBitValidationError, match="no active investment"):
            FlexClose(plan_id=PLAN).resolve(Account(client))

    @pytest.mark.parametrize("where", [{"plan_id": PLAN}, {"ticker": "ETH"}])
    def test_a_part_comes_out_too(self, client, where):
        part = Move(Operation.FLEX_WITHDRAW, PLAN, "ETH", Decimal(40))
        assert FlexWithdraw(amount="40", **where).resolve(Account(client)) == part
        client.plans = []
        assert FlexWithdraw(amount="40", **where).resolve(Account(client)) == part

    def test_plans_that_cannot_be_read(self, client, monkeypatch):
        def down(**_):
            raise e.WhiteBitUnavailableError("no answer")

        monkeypatch.setattr(client, "flex_plans", down)
        assert FlexWithdraw(amount="40", plan_id=PLAN).resolve(Account(client)).amount == 40

    def test_a_rest_below_the_minimum_is_still_found_early(self, client):
        with pytest.raises(e.WhiteBitValidationError, match="less than the plan's minimum"):
            FlexWithdraw(amount="95", plan_id=PLAN).resolve(Account(client))

    def test_the_investment_is_the_named_plans(self, client):
        client.plans, client.invested = [], {OTHER: ("ETH", Decimal(5)), **client.invested}
        assert FlexClose(plan_id=PLAN).resolve(Account(client)).plan_id == PLAN
        client.invested.pop(PLAN)
        with pytest.raises(e.WhiteBitValidationError, match="no active investment in plan"):
            FlexClose(plan_id=PLAN).resolve(Account(client))

    def test_a_typing_error_is_named(self):
        for request in (FlexClose(ticker="ETHH"), FlexWithdraw(ticker="ETHH", amount="1")):
            with pytest.raises(e.WhiteBitValidationError, match="no such asset"):
                request.resolve(Account(Client("ETH")))

    def test_nothing_goes_into_a_delisted_asset(self):
        for where in ({"plan_id": PLAN}, {"ticker": "ETH"}):
            with pytest.raises(e.WhiteBitValidationError, match="no such asset"):
                FlexInvest(amount="50", **where).resolve(Account(Client()))

    def test_the_records_of_a_plan_that_is_gone(self):
        client = Client("ETH")
        out = Move(Operation.FLEX_CLOSE, PLAN, "ETH", None)
        assert ask_exchange(client, ReadRecords(out, 5)) == [(PLAN, 5)]
        client.plans = []
        assert ask_exchange(client, ReadRecords(out, 5)) == [(None, 5)]


class TestTransfers:
    @pytest.mark.parametrize(
        ("held", "moved", "dust"),
        [
            ("0.123456789012", "0.12345678", "0.000000009012"),
            ("123456789012345678901.999999999999999999", "123456789012345678901.99999999", "0.000000009999999999"),
            ("0.00000001", "0.00000001", None),
            ("5", "5", None),
        ],
    )
    @pytest.mark.parametrize(("source", "target"), [("spot", "main"), ("collateral", "main"), ("main", "spot")])
    def test_all_is_what_a_transfer_can_carry(self, client, caplog, held, moved, dust, source, target):
        getattr(client, source)["ETH"] = Decimal(held)
        with caplog.at_level(logging.WARNING):
            assert transfer("all", source, target).resolve(Account(client)).amount == Decimal(moved)
        said = [line for line in caplog.messages if "stay in" in line]
        wanted = f"{dust} ETH stay in {source}: a transfer carries at most 8 decimals"
        assert said == ([] if dust is None else [wanted])

    def test_an_asset_can_carry_fewer_decimals(self):
        client = Client("ETH", precision=6)
        client.spot["ETH"] = Decimal("1.23456789")
        assert transfer("all").resolve(Account(client)).amount == Decimal("1.234567")

    def test_only_dust(self, client):
        client.spot["ETH"] = Decimal("0.000000009")
        with pytest.raises(e.WhiteBitValidationError, match=r"spot holds 0\.000000009 ETH") as caught:
            transfer("all").resolve(Account(client))
        assert caught.value.money_moved is False

    def test_a_part(self, client):
        client.spot["ETH"] = Decimal("1.5")
        assert transfer("1").resolve(Account(client)).amount == 1
        with pytest.raises(e.WhiteBitValidationError, match=r"the spot balance holds 1\.5 ETH"):
            transfer("2").resolve(Account(client))

    def test_a_typing_error_is_no_empty_balance(self):
        client = Client("USDT")
        for account in ("main", "spot", "collateral"):
            with pytest.raises(e.WhiteBitValidationError, match="no such asset"):
                Account(client).balances(account, "ETH")
            assert Account(client).balances(account, "USDT") == {"USDT": 0}

    def test_the_balances_that_prove_a_transfer(self):
        client = Client()
        client.main, client.spot, client.collateral = {}, {"ETH": Decimal(2)}, {"ETH": Decimal(3)}
        for source, held in (("spot", 2), ("collateral", 3)):
            move = Move(Operation.TRANSFER, "", "ETH", Decimal(1), source=source, target="main")
            assert ask_exchange(client, ReadBalances(move)) == Balances(Decimal(held), Decimal(0))
        # Spot lists everything that is not zero; of collateral this is not known.
        client.spot, client.collateral = {}, {}
        move = Move(Operation.TRANSFER, "", "ETH", Decimal(1), source="spot", target="main")
        assert ask_exchange(client, ReadBalances(move)).source == 0
        move = Move(Operation.TRANSFER, "", "ETH", Decimal(1), source="collateral", target="main")
        with pytest.raises(e.WhiteBitRefusedError):
            ask_exchange(client, ReadBalances(move))
