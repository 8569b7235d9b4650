"""Clients of other projects run on the sandbox unchanged and understand its answers.

What fails through their own fault is listed in ``docs/sandbox.md``, each with its error.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from airflow_provider_whitebit.testing import SandboxProcess

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
sys.path.insert(0, str(REPO / "scripts"))

import peers  # noqa: E402

PEERS, LENDERS = sorted(peers.DISTRIBUTIONS), ("ccxt", "sdk")
FLEX = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
#: Paths of calls that the sandbox does not answer, with the reason.
LEFT_OUT = {
    r"/api/v[12]/": "an older version of the vendor's API",
    r"/collateral-account/balance-summary": "margin trading",
    r"/sub-account/(create|delete|edit|block|unblock|kyc-url)$": "makes and changes sub-accounts",
    r"/sub-account/api-key/": "makes and changes API keys",
    r"/sub-account/withdraw/": "withdrawals out of the exchange",
}


#: A row of the page's table: client and version, call, error, reason.
ROW = re.compile(r"^\| `([a-z-]+)` ([\d.]+) \| `(.+?)` \| `(.+?)` \| .+ \|$", re.MULTILINE)


class Report:
    """What a peer reports after it has used a sandbox."""

    def __init__(self, name, sandbox):
        done = subprocess.run(
            [peers.python_of(name), HERE / "peer_calls" / f"{name}_calls.py", sandbox.url],
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        printed = json.loads(done.stdout)
        self.calls, self.made, self.answers = printed["calls"], set(printed["made"]), printed["answers"]
        self.refusals = {label: error for label, error in printed["errors"].items() if label.startswith("refused")}
        self.errors = {label: error for label, error in printed["errors"].items() if label not in self.refusals}
        self.left_out = {call: path for call, path in self.calls.items() if call not in self.made}
        self.ledger = sandbox.ledger()
        self.unknown = {path for path in self.left_out.values() if self._is_unknown(sandbox, path)}

    @staticmethod
    def _is_unknown(sandbox, path):
        return requests.request("GET" if "/public/" in path else "POST", sandbox.url + path).status_code == 404

    def __getitem__(self, ends):
        """The answer to the call whose name ends so; peers name their calls differently."""
        return next(answer for label, answer in self.answers.items() if label.endswith(ends))


@pytest.fixture(scope="module")
def reports():
    """Lets each peer make its calls, once, and returns its report."""

    @functools.cache
    def report(name):
        # These clients use their own clocks, so this sandbox's clock must not have been set forward.
        sandbox = SandboxProcess()
        try:
            return Report(name, sandbox)
        finally:
            sandbox.stop()

    return report


@pytest.mark.parametrize("name", PEERS)
def test_every_call_is_made_or_left_out_with_a_reason(reports, name):
    report = reports(name)
    assert report.made <= report.calls.keys()
    reasons = {
        path: [reason for part, reason in LEFT_OUT.items() if re.search(part, path)] for path in report.calls.values()
    }
    assert [call for call, path in report.left_out.items() if len(reasons[path]) != 1] == []
    assert [call for call in report.made if reasons[report.calls[call]]] == []
    # A call that the sandbox has come to answer must be made.
    assert report.unknown == set(report.left_out.values())


def test_every_reason_is_that_of_a_call(reports):
    paths = [path for name in PEERS for path in reports(name).left_out.values()]
    assert [part for part in LEFT_OUT if not any(re.search(part, path) for path in paths)] == []


@pytest.mark.parametrize("name", PEERS)
def test_what_fails_is_what_the_page_says(reports, name):
    rows = ROW.findall((REPO / "docs" / "sandbox.md").read_text())
    assert {(client, version) for client, version, *_ in rows} == {
        (peers.DISTRIBUTIONS[peer], peers.version_of(peer)) for peer in PEERS
    }
    told = {call: error for client, _, call, error in rows if client == peers.DISTRIBUTIONS[name]}
    errors = reports(name).errors
    assert {
        call: told[call] if call in told and told[call] in error else error for call, error in errors.items()
    } == told


@pytest.mark.parametrize("name", PEERS)
def test_the_exchange_itself(reports, name):
    report = reports(name)
    time_, ping, status, ticker = {
        "sdk": ("server_time", "server_status", "maintenance_status", "market_activity"),
        "ccxt": ("Time", "Ping", "PlatformStatus", "Ticker"),
        "aiowhitebit": ("server_time", "server_status", "maintenance_status", "market_activity"),
    }[name]
    # In seconds. The report may be old: installing a peer takes a while.
    assert abs(int(report[time_]["time"]) - time.time()) < 3600
    assert report[ping] == ["pong"]
    assert report[status]["status"] == "system operational"
    assert Decimal(report[ticker]["BTC_USDT"]["last_price"]) > 0
    if name != "aiowhitebit":
        assets = report["Assets" if name == "ccxt" else "asset_status_list"]
        assert int(assets["USDT"]["currency_precision"]) == 6


@pytest.mark.parametrize("name", LENDERS)
def test_lending(reports, name):
    report = reports(name)
    flex, fixed = {
        "sdk": (
            "create_flex_investment withdraw_from_flex_investment close_flex_investment get_flex_plans "
            "update_flex_auto_reinvestment get_user_flex_investments get_flex_investment_history "
            "get_flex_payment_history",
            "get_fixed_plans create_fixed_investment get_fixed_investments_history close_fixed_investment "
            "get_interest_payment_history",
        ),
        "ccxt": (
            "InvestmentsInvest InvestmentsWithdraw FlexInvestmentsClose FlexPlans InvestmentsAutoInvest "
            "FlexInvestments InvestmentsHistory InvestmentsPaymentHistory",
            "SmartPlans SmartInvestment SmartInvestments SmartInvestmentClose InterestPaymentHistory",
        ),
    }[name]
    invest, withdraw, close, plans, reinvest, investments, history, payments = map(report.__getitem__, flex.split())
    moved = [answer["data"]["transaction_id"] for answer in (invest, withdraw, close)]
    assert moved == [move["reference"] for move in report.ledger["moves"][:3]]
    assert [plan["ticker"] for plan in plans] == ["USDT", "USDT"]
    assert reinvest == {"data": []}
    [investment] = investments["data"]
    assert (investment["planId"], investment["invested"], investment["withAutoReinvest"]) == (FLEX, "100", False)
    assert [int(entry["actionType"]) for entry in history["data"]] == [5, 3, 6]
    assert [entry["transaction_id"] for entry in history["data"]] == moved[::-1]
    assert payments["data"] == []
    plans, invest, investments, close, payments = map(report.__getitem__, fixed.split())
    assert {plan["ticker"] for plan in plans} == {"USDT"}
    [term] = investments["records"]
    assert (term["id"], term["amount"], int(term["status"])) == (invest["id"], "200", 1)
    assert close == {}
    assert payments["records"] == []


@pytest.mark.parametrize("name", LENDERS)
def test_balances_and_transfers(reports, name):
    report = reports(name)
    main, trade, collateral, moved = {
        "sdk": ("get_main_balance", "trade_account_balance", "collateral_account_balance", "between_balances"),
        "ccxt": ("MainAccountBalance", "TradeAccountBalance", "CollateralAccountBalance", "AccountTransfer"),
    }[name]
    assert report[moved] == []
    assert report[main]["USDT"] == {"main_balance": "9985"}
    assert report[trade]["USDT"] == {"available": "10", "freeze": "0"}
    assert Decimal(report[collateral]["USDT"]) == 5
    if name == "ccxt":
        assert report["Main of USDT"] == {"main_balance": "9985"}
        assert report["Trade of USDT"] == {"available": "10", "freeze": "0"}
        assert [report[f"fetch_balance {kind}"]["total"]["USDT"] for kind in ("main", "spot", "collateral")] == [
            9985,
            10,
            5,
        ]


def test_the_balance_that_aiowhitebit_reads(reports):
    assert reports("aiowhitebit")["get_trading_balance"] == {"result": []}


@pytest.mark.parametrize("name", LENDERS)
def test_sub_accounts(reports, name):
    report = reports(name)
    accounts, there, balances, history = {
        "sdk": ("list_sub_accounts", "sub_account.transfer", "sub_account_balances", "transfer_history"),
        "ccxt": ("SubAccountList", "SubAccountTransfer", "SubAccountBalances", "TransferHistory"),
    }[name]
    account = report[accounts]["data"][0]
    assert account["status"] == "active"
    assert report[balances]["USDT"] == [{"main": "20", "spot": "0", "collateral": "0"}]
    [entry] = report[history]["data"]
    assert entry["transaction_id"] == report[there]["transaction_id"] != report["transfer back"]["transaction_id"]
    assert (entry["direction"], entry["amount"]) == ("main_to_sub", "30")
    if name == "ccxt":
        assert report["fetch_accounts"][0]["id"] == account["id"]


@pytest.mark.parametrize("name", LENDERS)
def test_the_history_of_main(reports, name):
    report = reports(name)
    history = report["get_deposit_withdraw_history" if name == "sdk" else "MainAccountHistory"]
    [deposit] = history["records"]
    assert (deposit["ticker"], deposit["amount"], int(deposit["method"])) == ("USDT", "10000", 1)
    if name == "ccxt":
        [deposit] = report["fetch_deposits"]
        assert (deposit["currency"], deposit["amount"], deposit["status"]) == ("USDT", 10000, "ok")
        assert report["fetch_transactions"] == report["fetch_deposits_withdrawals"] == [deposit]
        assert report["fetch_withdrawals"] == []


@pytest.mark.parametrize("name", LENDERS)
def test_what_the_exchange_refuses(reports, name):
    refusals = reports(name).refusals
    texts = {
        "amount": "Amount is less than min investment",
        "plan": "The selected plan is invalid.",
        "closed": "Investment is already closed",
        "balance": "have such amount",
    }
    assert refusals.keys() == {f"refused: {what}" for what in texts}
    assert [what for what, text in texts.items() if text not in refusals[f"refused: {what}"]] == []


@pytest.mark.parametrize("name", LENDERS)
def test_the_ledger(reports, name):
    ledger = reports(name).ledger
    assert ledger["balanced"]
    assert [move["path"].removeprefix("/api/v4/") for move in ledger["moves"]] == [
        "main-account/smart-flex/investments/invest",
        "main-account/smart-flex/investments/withdraw",
        "main-account/smart-flex/investments/close",
        "main-account/smart/investment",
        "main-account/smart/investment/close",
        "main-account/transfer",
        "main-account/transfer",
        "sub-account/transfer",
        "sub-account/transfer",
    ]
