"""Fixed plans, balances and transfers: every success and refusal of the vendor's contract, through client and hook."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.calls import fixed_close_call, fixed_invest_call, transfer_call
from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError
from tests.sandbox_plans import Fixed


def send(client, call):
    return client.send_move(call, nonce=client.clock.next_nonce())


def moves(sandbox):
    return [(move["path"].rsplit("smart/")[-1].rsplit("/api/v4/")[-1]) for move in sandbox.ledger()["moves"]]


class TestClient:
    def test_plans(self, client):
        plans = {plan.id: plan for plan in client.fixed_plans(ticker="USDT")}
        assert {plan.ticker for plan in plans.values()} == {"USDT"}
        first = plans[Fixed.TEN_DAYS]
        assert (first.status, first.percent, first.duration, first.active) == (1, 1, 14400, True)
        assert (first.interest_ticker, first.interest_ratio) == ("USDT", 1)
        assert (first.min_investment, first.max_investment, first.max_possible_investment) == (100, 10000, 10000)
        assert plans[Fixed.FEW_COINS].max_possible_investment == 3000
        assert first.admits(Decimal(100))
        assert not plans[Fixed.FEW_COINS].admits(Decimal(3001))
        assert len(client.fixed_plans()) > len(plans)

    def test_a_term(self, client, sandbox):
        name = send(client, fixed_invest_call(Fixed.TEN_DAYS, Decimal(1000)))
        [running] = client.fixed_investments(ticker="USDT", investment_status=1)
        assert (running.id, running.plan.id, running.amount, running.active) == (name, Fixed.TEN_DAYS, 1000, True)
        assert (running.payment_time - running.created).in_days() == 10
        sandbox.advance(10 * 86400 + 1)
        client.server_time()
        [ended] = client.fixed_investments(investment=name)
        assert (ended.active, ended.interest_paid, ended.updated) == (False, 10, ended.payment_time)
        [paid] = client.fixed_payments(plan=Fixed.TEN_DAYS, ticker="USDT")
        assert (paid.investment_id, paid.amount, paid.ticker, paid.timestamp) == (name, 10, "USDT", ended.updated)
        assert client.main_balance("USDT") == {"USDT": 10010}
        assert ended.to_json()["plan"]["percent"] == "1"
        with pytest.raises(e.WhiteBitRefusedError, match="already closed"):
            send(client, fixed_close_call(name))

    def test_an_early_end(self, client):
        name = send(client, fixed_invest_call(Fixed.TEN_DAYS, Decimal(1000)))
        assert send(client, fixed_close_call(name)) is None
        [closed] = client.fixed_investments(investment_status=2)
        assert (closed.id, closed.interest_paid) == (name, 0)
        assert client.main_balance("USDT") == {"USDT": 10000}

    @pytest.mark.parametrize(
        ("plan", "amount", "kind", "words"),
        [
            ("no-such-plan", "100", e.WhiteBitValidationError, "The selected planId is invalid."),
            (Fixed.TEN_DAYS, "0.0000001", e.WhiteBitValidationError, "The amount must be at least 0.000001."),
            (Fixed.TEN_DAYS, "100.1234567", e.WhiteBitValidationError, "Invalid decimal amount"),
            (Fixed.DISABLED, "100", e.WhiteBitValidationError, "Plan is disabled"),
            (Fixed.INACTIVE, "100", e.WhiteBitValidationError, "Plan is inactive"),
            (Fixed.PAUSED, "100", e.WhiteBitValidationError, "Plan is paused"),
            (Fixed.NO_COINS, "100", e.WhiteBitValidationError, "There are no coins left in the plan"),
            (Fixed.SPECIAL, "100", e.WhiteBitValidationError, "Special offers are not available via API"),
            (Fixed.FEW_COINS, "3001", e.WhiteBitValidationError, "bigger than the amount left"),
            (Fixed.TEN_DAYS, "99", e.WhiteBitRefusedError, "Amount is less than min investment"),
            (Fixed.TEN_DAYS, "10001", e.WhiteBitRefusedError, "Amount is more than max investment"),
            (Fixed.OTHER_TICKER, "1.5", e.WhiteBitNotEnoughBalanceError, "Available 1 < 1.5"),
            (Fixed.LITTLE_INTEREST, "1001", e.WhiteBitRefusedError, "Not enough money to pay interest"),
        ],
    )
    def test_refused_investments(self, client, sandbox, plan, amount, kind, words):
        with pytest.raises(kind, match=words) as caught:
            send(client, fixed_invest_call(plan, Decimal(amount)))
        assert caught.value.money_moved is False
        assert type(caught.value) is kind
        assert moves(sandbox) == []

    def test_a_second_investment_in_a_plan(self, client):
        send(client, fixed_invest_call(Fixed.TEN_DAYS, Decimal(100)))
        with pytest.raises(e.WhiteBitRefusedError, match="already exists"):
            send(client, fixed_invest_call(Fixed.TEN_DAYS, Decimal(100)))

    @pytest.mark.parametrize(("name", "words"), [("", "id field is required"), ("x", "Investment not found")])
    def test_refused_closings(self, client, name, words):
        with pytest.raises(e.WhiteBitValidationError, match=words):
            send(client, fixed_close_call(name))

    @pytest.mark.parametrize(
        "question",
        [
            lambda client: client.fixed_plans(ticker="NOPE"),
            lambda client: list(client.fixed_investments(ticker="NOPE")),
            lambda client: list(client.fixed_investments(investment="x")),
            lambda client: list(client.fixed_investments(investment_status=3)),
            lambda client: list(client.fixed_payments(plan="x")),
            lambda client: list(client.fixed_payments(ticker="NOPE")),
        ],
    )
    def test_refused_questions(self, client, question):
        with pytest.raises(e.WhiteBitValidationError, match="selected"):
            question(client)

    def test_who_may_not(self, make_client):
        client = make_client("sandbox-key-no-lending", "sandbox-secret-no-lending")
        for question in (
            client.fixed_plans,
            lambda: list(client.fixed_investments()),
            lambda: list(client.fixed_payments()),
        ):
            with pytest.raises(e.WhiteBitPermissionError, match="B2B"):
                question()

    def test_balances(self, client, sandbox):
        sandbox.control("POST", "fund", {"ticker": "BTC", "amount": "2", "account": "spot"})
        sandbox.control("POST", "fund", {"ticker": "ETH", "amount": "3", "account": "collateral"})
        spot = client.trade_balance()
        assert (spot["BTC"].available, spot["BTC"].freeze, list(spot)) == (2, 0, ["BTC"])
        assert client.trade_balance("BTC")["BTC"].to_json() == {"available": "2", "freeze": "0"}
        assert client.collateral_balance()["ETH"] == 3
        assert client.collateral_balance("ETH") == {"ETH": 3}
        for question in (client.trade_balance, client.collateral_balance):
            with pytest.raises(e.WhiteBitRefusedError) as caught:
                question("NOPE")
            assert (caught.value.status, caught.value.code) == (422, 30)

    @pytest.mark.parametrize(
        ("call", "kind", "words"),
        [
            (("NOPE", "1", "main", "spot"), e.WhiteBitValidationError, "selected ticker is invalid"),
            (("USDT", "0.000000001", "main", "spot"), e.WhiteBitValidationError, "must be a number"),
            (("USDT", "0", "main", "spot"), e.WhiteBitValidationError, "at least 0.00000001"),
            (("USDT", "1", "main", "moon"), e.WhiteBitValidationError, "selected to is invalid"),
            (("USDT", "1", "moon", "main"), e.WhiteBitValidationError, "selected from is invalid"),
            (("USDT", "1", "main", "main"), e.WhiteBitValidationError, "must be different"),
            (("USDT", "1", "spot", "collateral"), e.WhiteBitValidationError, "selected to is invalid"),
            (("USDT", "10000.5", "main", "spot"), e.WhiteBitNotEnoughBalanceError, "You don't have such amount"),
            (("SOL", "1", "main", "spot"), e.WhiteBitRefusedError, "Deposit to this currency is disabled"),
            (("SOL", "1", "spot", "main"), e.WhiteBitRefusedError, "Withdraw from this currency is disabled"),
        ],
    )
    def test_refused_transfers(self, client, sandbox, call, kind, words):
        sandbox.control("POST", "assets/SOL", {"deposits": False, "withdrawals": False})
        ticker, amount, source, target = call
        with pytest.raises(kind, match=words) as caught:
            send(client, transfer_call(ticker, Decimal(amount), source, target))
        assert caught.value.money_moved is False
        if kind is e.WhiteBitNotEnoughBalanceError:
            assert (caught.value.available, caught.value.required) == (10000, Decimal("10000.5"))
        assert moves(sandbox) == []


class TestHook:
    def test_a_fixed_life(self, hook, sandbox):
        made = hook.fixed_invest(ticker="USDT", amount="500", days=10)
        assert (made.operation, made.plan_id, made.transaction_id, made.status) == (
            "fixed_invest",
            Fixed.TEN_DAYS,
            None,
            "executed",
        )
        assert made.to_json()["investment_id"] == made.investment_id
        closed = hook.fixed_close(investment_id=made.investment_id)
        assert (closed.investment_id, closed.amount, closed.plan_id) == (made.investment_id, 500, Fixed.TEN_DAYS)
        assert "source" not in closed.to_json()
        assert moves(sandbox) == ["investment", "investment/close"]

    def test_the_best_plan_by_day_is_chosen(self, hook):
        # 4 % in 30 days beat 1 % in 10 and 9 % in 180; beyond its maximum 1 % in 10 is next.
        assert hook.fixed_invest(ticker="USDT", amount="200", dry_run=True).plan_id == Fixed.SEVERAL
        assert hook.fixed_invest(ticker="USDT", amount="6000", dry_run=True).plan_id == Fixed.TEN_DAYS
        assert hook.fixed_invest(ticker="USDT", amount="200", days="180", dry_run=True).plan_id == Fixed.FEW_COINS

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"plan_id": Fixed.PAUSED, "amount": "100"}, "cannot be invested in now"),
            ({"plan_id": Fixed.SEVERAL.replace("1", "2"), "amount": "100"}, "not among the Fixed plans"),
            ({"plan_id": Fixed.TEN_DAYS, "amount": "99"}, "does not admit"),
            ({"plan_id": Fixed.FEW_COINS, "amount": "3001"}, "now at most 3000"),
            ({"plan_id": Fixed.TEN_DAYS, "amount": "100.1234567"}, "at most 6 decimals"),
            ({"ticker": "USDT", "amount": "100", "days": 45}, "over 45 days"),
            ({"ticker": "USDT", "amount": "100", "days": "soon"}, "days is .soon.: write a whole number"),
            ({"ticker": "ETH", "amount": "1"}, "plans of ETH: none"),
            ({"ticker": "NOPE", "amount": "1"}, "no such asset"),
            ({"ticker": "USDT", "amount": 0.5}, "floats cannot hold"),
            ({"amount": "1"}, "either plan_id or ticker"),
        ],
    )
    def test_refused_before_sending(self, hook, sandbox, arguments, words):
        with pytest.raises(e.WhiteBitValidationError, match=words):
            hook.fixed_invest(**arguments)
        assert not [entry for entry in sandbox.requests() if entry["path"].endswith("/smart/investment")]

    def test_which_investment_to_close(self, hook):
        with pytest.raises(e.WhiteBitValidationError, match="no active Fixed investment of USDT"):
            hook.fixed_close(ticker="USDT")
        hook.fixed_invest(plan_id=Fixed.SEVERAL, amount="100")
        hook.fixed_invest(plan_id=Fixed.SEVERAL, amount="200")
        one = hook.fixed_invest(plan_id=Fixed.TEN_DAYS, amount="300")
        for parameters in ({"ticker": "USDT"}, {"plan_id": Fixed.SEVERAL}):
            with pytest.raises(e.WhiteBitValidationError, match="Several Fixed investments"):
                hook.fixed_close(**parameters)
        assert hook.fixed_close(plan_id=Fixed.TEN_DAYS).investment_id == one.investment_id
        for parameters in ({"investment_id": "x y"}, {"investment_id": "x", "ticker": "USDT"}, {}):
            with pytest.raises(e.WhiteBitValidationError):
                hook.fixed_close(**parameters)
        with pytest.raises(e.WhiteBitValidationError, match="not an active Fixed investment"):
            hook.fixed_close(investment_id=one.investment_id)

    def test_there_and_back(self, hook, sandbox):
        [out] = hook.transfer(ticker="usdt", amount="100.5", source="main", target="spot")
        assert out.to_json() | {"executed_at": 0, "intent_id": 0} == {
            "operation": "transfer",
            "transaction_id": None,
            "plan_id": None,
            "ticker": "USDT",
            "amount": "100.5",
            "status": "executed",
            "executed_at": 0,
            "attempts": 1,
            "reconciled": False,
            "intent_id": 0,
            "source": "main",
            "target": "spot",
        }
        first, second = hook.transfer(ticker="USDT", amount="all", source="trade", target="collateral")
        assert [(step.source, step.target, step.amount) for step in (first, second)] == [
            ("spot", "main", Decimal("100.5")),
            ("main", "collateral", Decimal("100.5")),
        ]
        assert hook.balances("collateral", "USDT") == {"USDT": Decimal("100.5")}
        assert hook.balances("spot", "USDT") == {"USDT": 0}
        assert moves(sandbox) == ["main-account/transfer"] * 3

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"amount": "10000.01"}, "the main balance holds 10000 USDT"),
            ({"amount": "all", "source": "spot", "target": "main"}, "holds 0 USDT"),
            ({"amount": "1.1234567"}, "at most 6 decimals"),
            ({"ticker": "ETH", "amount": "1.123456789"}, "at most 8 decimals"),
            ({"target": "main"}, "both main"),
            ({"target": "moon"}, "main, spot, collateral"),
            ({"source": None}, "main, spot, collateral"),
            ({"ticker": "NOPE"}, "no such asset"),
            ({"ticker": ""}, "write it like USDT"),
            ({"amount": 1.5}, "floats cannot hold"),
        ],
    )
    def test_transfers_refused_before_sending(self, hook, sandbox, arguments, words):
        with pytest.raises(e.WhiteBitValidationError, match=words):
            hook.transfer(**{"ticker": "USDT", "amount": "1", "source": "main", "target": "spot", **arguments})
        assert not [entry for entry in sandbox.requests() if entry["path"].endswith("/transfer")]

    @pytest.mark.parametrize("extra", [{"read_only": True}, {"max_move": {"USDT": "50"}}, {"allowed_tickers": "BTC"}])
    def test_limits_of_the_connection(self, make_hook, sandbox, extra):
        hook = make_hook(**extra)
        for move in (
            lambda: hook.transfer(ticker="USDT", amount="100", source="main", target="spot"),
            lambda: hook.fixed_invest(plan_id=Fixed.TEN_DAYS, amount="100"),
        ):
            with pytest.raises(e.WhiteBitLimitError):
                move()
        assert moves(sandbox) == []

    @pytest.mark.parametrize("fault", ["lost_reply_after", "error_500_after", "cut_reply", "duplicate_reply"])
    @pytest.mark.parametrize("operation", ["fixed_invest", "fixed_close", "transfer"])
    def test_a_lost_answer_is_found(self, hook, sandbox, operation, fault):
        if operation == "fixed_close":
            name = hook.fixed_invest(plan_id=Fixed.TEN_DAYS, amount="100").investment_id
        before = len(moves(sandbox))
        sandbox.fault(fault, path="*/investment/close" if operation == "fixed_close" else "*/investment", count=1)
        sandbox.fault(fault, path="*/transfer", count=1)
        receipt = {
            "fixed_invest": lambda: hook.fixed_invest(plan_id=Fixed.TEN_DAYS, amount="100"),
            "fixed_close": lambda: hook.fixed_close(investment_id=name),
            "transfer": lambda: hook.transfer(ticker="USDT", amount="100", source="main", target="spot")[0],
        }[operation]()
        assert receipt.reconciled
        assert len(moves(sandbox)) == before + 1
        if operation != "transfer":
            assert receipt.investment_id == sandbox.ledger()["fixed_investments"][0]["id"]

    @pytest.mark.parametrize("operation", ["fixed_invest", "transfer"])
    def test_what_never_ran_is_sent_again(self, hook, sandbox, operation):
        for path in ("*/investment", "*/transfer"):
            sandbox.fault("lost_reply_before", path=path, count=1)
        receipt = {
            "fixed_invest": lambda: hook.fixed_invest(plan_id=Fixed.TEN_DAYS, amount="100"),
            "transfer": lambda: hook.transfer(ticker="USDT", amount="100", source="main", target="spot")[0],
        }[operation]()
        assert (receipt.attempts, receipt.reconciled) == (2, False)
        assert len(moves(sandbox)) == 1

    def test_a_transfer_whose_balances_were_moved_by_others_is_in_doubt(self, hook, sandbox):
        sandbox.fault("lost_reply_after", path="*/transfer", count=1)
        inner = hook._api_key.client.send_move

        def send_and_fund(call, *, nonce):
            try:
                return inner(call, nonce=nonce)
            finally:
                sandbox.fund("USDT", "7")

        hook._api_key.client.send_move = send_and_fund
        with pytest.raises(
            e.WhiteBitInDoubtError, match="before 10000 in main and 0 in spot; now 9907 in main and 100"
        ):
            hook.transfer(ticker="USDT", amount="100", source="main", target="spot")
        assert len(moves(sandbox)) == 1

    def test_what_the_first_of_two_transfers_has_moved_is_told(self, hook, sandbox):
        hook.transfer(ticker="BTC", amount="0.5", source="main", target="spot")
        sandbox.control("POST", "assets/BTC", {"deposits": False})
        with pytest.raises(e.WhiteBitRefusedError) as caught:
            hook.transfer(ticker="BTC", amount="0.5", source="spot", target="collateral")
        assert caught.value.money_moved is True
        assert "transfer 0.5 BTC from spot to main" in str(caught.value)
        assert "No money moved" not in str(caught.value)

    def test_a_task_that_is_retried(self, hook, sandbox, as_task):
        as_task(1)
        steps = hook.transfer(ticker="BTC", amount="0.5", source="main", target="spot")
        through = hook.transfer(ticker="BTC", amount="all", source="spot", target="collateral", key="on")
        as_task(2)
        assert hook.transfer(ticker="BTC", amount="0.5", source="main", target="spot") == steps
        assert hook.transfer(ticker="BTC", amount="all", source="spot", target="collateral", key="on") == through
        as_task(3)
        with pytest.raises(WhiteBitAlreadyMovedError):
            hook.transfer(ticker="BTC", amount="0.5", source="main", target="collateral")
        assert len(moves(sandbox)) == 3
