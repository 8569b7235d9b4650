"""Sub-accounts, and deposits and withdrawals of Main: every success and refusal, through the client and the hook."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.calls import sub_account_transfer_call
from tests.sandbox_plans import SubAccounts


class TestClient:
    def test_the_list(self, client):
        [trading, reserve, new] = client.sub_accounts()
        assert (trading.id, trading.alias, trading.status) == (SubAccounts.TRADING, "trading", "active")
        assert trading.permissions.spot_enabled is True
        assert new.status == "unconfirmed"
        assert [one.id for one in client.sub_accounts(search="reserve")] == [reserve.id]
        assert [one.id for one in client.sub_accounts(limit=1, offset=1)] == [reserve.id]
        assert trading.to_json()["permissions"] == {"spot_enabled": True, "collateral_enabled": True}

    def test_balances(self, client, sandbox):
        sandbox.control("POST", "fund", {"ticker": "BTC", "amount": "2", "sub_account": SubAccounts.TRADING})
        assert client.sub_account_balances(SubAccounts.TRADING)["BTC"].main == 2
        [(ticker, held)] = client.sub_account_balances(SubAccounts.TRADING, "BTC").items()
        assert (ticker, held.main, held.spot, held.collateral) == ("BTC", 2, 0, 0)

    @pytest.mark.parametrize(
        ("question", "kind", "words"),
        [
            (lambda client: list(client.sub_accounts(limit=0)), e.WhiteBitValidationError, "limit must be"),
            (lambda client: client.sub_account_balances("x"), e.WhiteBitValidationError, "selected id is invalid"),
            (lambda client: client.sub_account_balances(""), e.WhiteBitValidationError, "id field is required"),
            (
                lambda client: client.sub_account_balances(SubAccounts.TRADING, "NOPE"),
                e.WhiteBitValidationError,
                "selected ticker is invalid",
            ),
            (
                lambda client: client.sub_account_balances(SubAccounts.UNCONFIRMED),
                e.WhiteBitRefusedError,
                "Account is not confirmed",
            ),
            (lambda client: list(client.sub_account_transfers("x")), e.WhiteBitValidationError, "selected id"),
            (
                lambda client: list(client.sub_account_transfers(SubAccounts.TRADING, direction="up")),
                e.WhiteBitValidationError,
                "selected direction",
            ),
            (
                lambda client: list(client.sub_account_transfers(SubAccounts.UNCONFIRMED)),
                e.WhiteBitRefusedError,
                "Account is not confirmed",
            ),
            (lambda client: list(client.main_history(ticker="NOPE")), e.WhiteBitValidationError, "selected ticker"),
            (lambda client: list(client.main_history(method=3)), e.WhiteBitValidationError, "selected transaction"),
        ],
    )
    def test_refused_questions(self, client, question, kind, words):
        with pytest.raises(kind, match=words) as caught:
            question(client)
        assert type(caught.value) is kind

    def test_deposits_and_withdrawals(self, client, sandbox):
        sandbox.fund("USDT", "25.5")
        sandbox.control("POST", "withdraw", {"ticker": "USDT", "amount": "7"})
        out, into, first = client.main_history(ticker="USDT")
        assert [(one.method, one.amount, one.moved) for one in (out, into, first)] == [
            (2, 7, True),
            (1, Decimal("25.5"), True),
            (1, 10000, True),
        ]
        assert out.fee == 0
        assert [one.transaction_id for one in client.main_history(method=2)] == [out.transaction_id]
        assert list(client.main_history(ticker="USDT", limit=1, offset=1)) == [into]


def params_of(**changes):
    return {
        "sub_account_id": SubAccounts.TRADING,
        "direction": "main_to_sub",
        "ticker": "USDT",
        "amount": "100",
        **changes,
    }


def moves(sandbox):
    return [move["params"]["direction"] for move in sandbox.ledger()["moves"]]


class TestCall:
    @pytest.mark.parametrize(
        ("changes", "kind", "words"),
        [
            ({"sub_account_id": ""}, e.WhiteBitValidationError, "id field is required"),
            ({"sub_account_id": "x"}, e.WhiteBitValidationError, "selected id is invalid"),
            ({"direction": "up"}, e.WhiteBitValidationError, "selected direction is invalid"),
            ({"ticker": "NOPE"}, e.WhiteBitValidationError, "selected ticker is invalid"),
            ({"amount": "0.000000001"}, e.WhiteBitValidationError, "must be a number"),
            ({"amount": "0"}, e.WhiteBitValidationError, "at least 0.00000001"),
            ({"amount": "10000.5"}, e.WhiteBitNotEnoughBalanceError, "You don't have such amount"),
            ({"direction": "sub_to_main"}, e.WhiteBitNotEnoughBalanceError, "available 0, in amount: 100"),
            ({"sub_account_id": SubAccounts.UNCONFIRMED}, e.WhiteBitRefusedError, "Account is not confirmed"),
        ],
    )
    def test_refusals(self, client, sandbox, changes, kind, words):
        given = params_of(**changes)
        call = sub_account_transfer_call(
            given["sub_account_id"], given["direction"], given["ticker"], Decimal(given["amount"])
        )
        with pytest.raises(kind, match=words) as caught:
            client.send_move(call, nonce=client.clock.next_nonce())
        assert type(caught.value) is kind
        assert caught.value.money_moved is False
        assert moves(sandbox) == []


class TestHook:
    def test_there_and_back(self, hook, sandbox):
        out = hook.sub_account_transfer(**params_of(amount="100.5"))
        assert out.to_json() | {"executed_at": 0, "intent_id": 0, "transaction_id": 0} == {
            "operation": "sub_account_transfer",
            "transaction_id": 0,
            "plan_id": None,
            "ticker": "USDT",
            "amount": "100.5",
            "status": "executed",
            "executed_at": 0,
            "attempts": 1,
            "reconciled": False,
            "intent_id": 0,
            "source": "main",
            "target": "sub",
            "sub_account_id": SubAccounts.TRADING,
        }
        back = hook.sub_account_transfer(**params_of(direction="sub_to_main", amount="all"))
        assert (back.amount, back.source, back.target) == (Decimal("100.5"), "sub", "main")
        found = hook.get_conn().sub_account_transfers(SubAccounts.TRADING)
        assert [one.transaction_id for one in found] == [back.transaction_id, out.transaction_id]
        [late] = hook.get_conn().sub_account_transfers(SubAccounts.TRADING, date_from=back.executed_at, limit=1)
        assert late.transaction_id == back.transaction_id
        before = list(
            hook.get_conn().sub_account_transfers(SubAccounts.TRADING, date_to=out.executed_at.subtract(days=1))
        )
        assert before == []
        assert hook.balances("main", "USDT") == {"USDT": 10000}
        assert moves(sandbox) == ["main_to_sub", "sub_to_main"]
        assert sandbox.ledger()["balanced"]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"amount": "10000.01"}, "the main balance holds 10000 USDT"),
            ({"direction": "sub_to_main"}, "the sub balance holds 0 USDT"),
            ({"direction": "sub_to_main", "amount": "all"}, "amount is 0"),
            ({"amount": "1.1234567"}, "at most 6 decimals"),
            ({"ticker": "ETH", "amount": "1.123456789"}, "at most 8 decimals"),
            ({"direction": "up"}, "main_to_sub, sub_to_main"),
            ({"direction": None}, "main_to_sub, sub_to_main"),
            ({"ticker": "NOPE"}, "no such asset"),
            ({"amount": 1.5}, "floats cannot hold"),
            ({"sub_account_id": "x y"}, "not an identifier"),
            ({"sub_account_id": ""}, "not an identifier"),
            ({"sub_account_id": "nobody"}, "selected id is invalid"),
        ],
    )
    @pytest.mark.parametrize("dry_run", [False, True])
    def test_refused_before_sending(self, hook, sandbox, changes, words, dry_run):
        with pytest.raises(e.WhiteBitValidationError, match=words):
            hook.sub_account_transfer(**params_of(**changes), dry_run=dry_run)
        assert not [entry for entry in sandbox.requests() if entry["path"].endswith("/transfer")]

    def test_a_dry_run(self, hook, sandbox):
        planned = hook.sub_account_transfer(**params_of(amount="all"), dry_run=True)
        assert (planned.status, planned.amount, planned.sub_account_id) == ("planned", 10000, SubAccounts.TRADING)
        assert moves(sandbox) == []

    @pytest.mark.parametrize("extra", [{"read_only": True}, {"max_move": {"USDT": "50"}}, {"allowed_tickers": "BTC"}])
    def test_limits_of_the_connection(self, make_hook, sandbox, extra):
        with pytest.raises(e.WhiteBitLimitError):
            make_hook(**extra).sub_account_transfer(**params_of())
        assert moves(sandbox) == []

    @pytest.mark.parametrize(
        "fault", ["lost_reply_after", "error_500_after", "cut_reply", "duplicate_reply", "garbage", "html_ok"]
    )
    @pytest.mark.parametrize("direction", ["main_to_sub", "sub_to_main"])
    def test_a_lost_answer_is_found(self, hook, sandbox, fault, direction):
        sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "500", "sub_account": SubAccounts.TRADING})
        sandbox.fault(fault, path="*/sub-account/transfer", count=1)
        receipt = hook.sub_account_transfer(**params_of(direction=direction))
        assert receipt.reconciled
        [found] = hook.get_conn().sub_account_transfers(SubAccounts.TRADING)
        assert (receipt.transaction_id, receipt.amount) == (found.transaction_id, found.amount)
        assert moves(sandbox) == [direction]

    def test_what_never_ran_is_sent_again(self, hook, sandbox):
        sandbox.fault("lost_reply_before", path="*/sub-account/transfer", count=1)
        receipt = hook.sub_account_transfer(**params_of())
        assert (receipt.attempts, receipt.reconciled) == (2, False)
        assert moves(sandbox) == ["main_to_sub"]

    @pytest.mark.parametrize(("amount", "ran"), [("100", True), ("99", False)])
    def test_another_transfer_in_the_same_seconds_is_a_doubt(self, hook, make_client, sandbox, amount, ran):
        person, inner = make_client(), hook._api_key.client.send_move

        def lose_beside_a_person(call, *, nonce):
            other = sub_account_transfer_call(SubAccounts.TRADING, "main_to_sub", "USDT", Decimal(amount))
            # Both at once: the seconds in which the move can be accepted are few.
            with ThreadPoolExecutor() as pool:
                sent = pool.submit(inner, call, nonce=nonce) if ran else None
                person.send_move(other, nonce=person.server_time().int_timestamp * 1000 + 500)
            assert sent is None or sent.result()
            raise e.WhiteBitUnavailableError("The answer was lost.", money_moved=None)

        hook._api_key.client.send_move = lose_beside_a_person
        with pytest.raises(e.WhiteBitInDoubtError, match="shows transactions") as caught:
            hook.sub_account_transfer(**params_of())
        assert "exchange's records" in caught.value.next_step[0]
        assert len(moves(sandbox)) == 1 + ran

    def test_a_transfer_to_another_sub_account_is_none_of_its_own(self, hook, make_client, sandbox):
        person, inner = make_client(), hook._api_key.client.send_move

        def lose_beside_a_person(call, *, nonce):
            inner(call, nonce=nonce)
            for sub_account, direction, ticker in (
                (SubAccounts.RESERVE, "main_to_sub", "USDT"),
                (SubAccounts.TRADING, "main_to_sub", "ETH"),
                (SubAccounts.TRADING, "sub_to_main", "ETH"),
            ):
                other = sub_account_transfer_call(sub_account, direction, ticker, Decimal(5))
                person.server_time()
                person.send_move(other, nonce=person.clock.next_nonce())
            raise e.WhiteBitUnavailableError("The answer was lost.", money_moved=None)

        hook._api_key.client.send_move = lose_beside_a_person
        receipt = hook.sub_account_transfer(**params_of(amount="5"))
        assert receipt.reconciled
        own = hook.get_conn().sub_account_transfers(SubAccounts.TRADING, direction="main_to_sub")
        assert receipt.transaction_id in [one.transaction_id for one in own if one.currency == "USDT"]

    def test_a_history_that_cannot_be_read_is_no_proof(self, hook, sandbox):
        sandbox.fault("lost_reply_after", path="*/sub-account/transfer", count=1)
        inner = hook._api_key.client.send_move

        def send_and_break(call, *, nonce):
            sandbox.fault("html_ok", path="*/transfer/history")
            return inner(call, nonce=nonce)

        hook._api_key.client.send_move = send_and_break
        with pytest.raises(e.WhiteBitUnavailableError) as caught:
            hook.sub_account_transfer(**params_of())
        assert caught.value.money_moved is None
        assert moves(sandbox) == ["main_to_sub"]

    def test_a_task_that_is_killed_retried_and_cleared(self, hook, sandbox, as_task):
        inner = hook._api_key.client.send_move

        def die(call, *, nonce):
            inner(call, nonce=nonce)
            raise KeyboardInterrupt

        as_task(1)
        hook._api_key.client.send_move = die
        with pytest.raises(KeyboardInterrupt):
            hook.sub_account_transfer(**params_of())
        hook._api_key.client.send_move = inner
        as_task(2)
        receipt = hook.sub_account_transfer(**params_of())
        assert receipt.reconciled
        as_task(3, max_tries=5)
        assert hook.sub_account_transfer(**params_of()) == receipt
        changed = ({"sub_account_id": SubAccounts.RESERVE}, {"direction": "sub_to_main"}, {"amount": "50"})
        for number, changes in enumerate(changed, 4):
            as_task(number, max_tries=number + 2)
            with pytest.raises(e.WhiteBitAlreadyMovedError):
                hook.sub_account_transfer(**params_of(**changes))
        assert moves(sandbox) == ["main_to_sub"]

    def test_one_idempotency_key(self, hook, sandbox, as_task):
        as_task(1)
        receipt = hook.sub_account_transfer(**params_of(), idempotency_key="salary")
        as_task(1, task="another")
        assert hook.sub_account_transfer(**params_of(), idempotency_key="salary") == receipt
        as_task(1, task="a third")
        with pytest.raises(e.WhiteBitAlreadyMovedError):
            hook.sub_account_transfer(**params_of(amount="7"), idempotency_key="salary")
        assert moves(sandbox) == ["main_to_sub"]
