"""A planned move is sent only if its request, planned again, still wants it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitPlanOutdatedError, WhiteBitValidationError
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury.promises import AsApproved, StillPlanned, read_holdings

INVEST = Move(Operation.FLEX_INVEST, "plan", "USDT", Decimal(25))
TRANSFER = Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="spot", target="main")
CLOSE = Move(Operation.FLEX_CLOSE, "plan", "USDT", Decimal(25))


class Account:
    """Says what it was asked for."""

    def __init__(self):
        self.assets = {"USDT": "asset"}
        self.read = []
        self.invested = ["of"]

    def shown_balances(self, name="main", ticker=None):
        self.read.append((name, ticker))
        return {"of": name} if ticker != "GONE" else {"GONE": 5}

    def flex_plans(self, ticker, *, on_unreadable):
        on_unreadable(SimpleNamespace(closed=False))
        return [("plans", ticker)]

    def flex_investments(self, ticker, on_unreadable):
        on_unreadable(SimpleNamespace(closed=True))
        held = [SimpleNamespace(currency=currency, closed=False, asked=ticker) for currency in self.invested]
        return [*held, SimpleNamespace(currency="of", closed=True)]


class Shown:
    """An account in which every plan and investment ``mine`` is of one asset, and all others of another one."""

    def __init__(self, ticker):
        self.tickers = {"mine": ticker, "OTHER": "XRP", "MINE": ticker}
        self.client = self

    def flex_plans(self):
        return [SimpleNamespace(id=name, ticker=ticker) for name, ticker in self.tickers.items()]

    fixed_plans = flex_plans

    def flex_investments(self, ticker, on_unreadable):
        assert ticker is None
        return [SimpleNamespace(plan_id=name, currency=shown) for name, shown in self.tickers.items()]

    def fixed_investments(self, *, investment, on_unreadable):
        assert investment == "mine"
        return [SimpleNamespace(id=one.id, plan=one) for one in self.flex_plans()]


OF_PLANS = [*(operation for operation in Operation if operation.value.startswith(("flex", "fixed")))]


@pytest.mark.parametrize("operation", OF_PLANS)
def test_an_approved_move_has_to_name_the_asset_that_it_moves(operation):
    move = Move(operation, "Mine", "USDT", Decimal(25), investment_id="mine")
    AsApproved().check(Shown("USDT"), move)
    with pytest.raises(WhiteBitValidationError, match="approved plan says 'USDT', but this moves BTC") as caught:
        AsApproved().check(Shown("BTC"), move)
    assert caught.value.money_moved is False


@pytest.mark.parametrize("operation", OF_PLANS)
def test_an_approved_move_into_a_plan_that_is_not_listed(operation):
    move = Move(operation, "gone", "USDT", Decimal(25), investment_id="gone")
    shown = Shown("USDT")
    shown.fixed_investments = lambda **_: []
    if move.leaves_plan:
        AsApproved().check(shown, move)
    else:
        with pytest.raises(WhiteBitValidationError, match="does not list the plan of this move"):
            AsApproved().check(shown, move)


class Request:
    """A request of which the new plan is given."""

    accounts = ("main", "spot")

    def __init__(self, *moves):
        self.moves = moves

    def plan(self, holdings, at, done):
        self.given = holdings, at, done
        return SimpleNamespace(moves=[SimpleNamespace(move=move) for move in self.moves])


@pytest.mark.parametrize(
    ("planned", "move"),
    [
        (INVEST, INVEST),
        # More could be moved by now.
        (replace(INVEST, amount=Decimal(26)), INVEST),
        (TRANSFER, TRANSFER),
        # Either moves what there is.
        (replace(INVEST, amount=None), INVEST),
        (INVEST, replace(INVEST, amount=None)),
        (replace(CLOSE, amount=Decimal(24)), CLOSE),
    ],
)
def test_a_move_that_is_still_planned_is_sent(planned, move):
    StillPlanned(Request(INVEST, planned)).check(Account(), move)
    StillPlanned(Request(planned, CLOSE)).check(Account(), move)


@pytest.mark.parametrize(
    ("planned", "move"),
    [
        (replace(INVEST, amount=Decimal("24.99")), INVEST),
        (replace(INVEST, plan_id="another"), INVEST),
        (replace(INVEST, ticker="BTC"), INVEST),
        (replace(INVEST, operation=Operation.FLEX_WITHDRAW), INVEST),
        (replace(CLOSE, plan_id="another"), CLOSE),
        (replace(CLOSE, ticker="BTC"), CLOSE),
        (replace(TRANSFER, source="collateral"), TRANSFER),
        (replace(TRANSFER, target="collateral"), TRANSFER),
    ],
)
def test_a_move_that_is_not_planned_any_more_breaks_a_promise(planned, move):
    with pytest.raises(WhiteBitPlanOutdatedError, match="Something else has moved USDT"):
        StillPlanned(Request(planned)).check(Account(), move)
    with pytest.raises(WhiteBitPlanOutdatedError):
        StillPlanned(Request()).check(Account(), move)


def test_a_move_is_planned_again_from_what_the_account_holds_now():
    request, account = Request(INVEST), Account()
    StillPlanned(request).check(account, INVEST)
    holdings, at, done = request.given
    assert holdings == read_holdings(account, "main", "spot", ticker="USDT")
    assert at.timezone_name == "UTC"
    assert done == ()


def test_holdings_are_read_of_one_asset_or_all():
    for ticker in ("USDT", None):
        account = Account()
        holdings = read_holdings(account, "main", "spot", ticker=ticker)
        # Main is read once.
        assert account.read == [("main", ticker), ("spot", ticker)]
        assert (holdings.main, holdings.spot, holdings.assets) == ({"of": "main"}, {"of": "spot"}, account.assets)
        assert holdings.plans == (("plans", ticker),)
        # Closed ones do not matter.
        assert holdings.investments == (SimpleNamespace(currency="of", closed=False, asked=ticker),)
        assert holdings.unreadable == (SimpleNamespace(closed=False),)


def test_the_balance_of_an_invested_asset_is_not_left_out():
    account = Account()
    account.invested = ["of", "", "GONE", "GONE"]
    assert read_holdings(account).main == {"of": "main", "GONE": 5}
    assert account.read == [("main", None), ("main", "GONE")]
