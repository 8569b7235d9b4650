"""Interest: hourly, credited daily, exact. The amounts were worked out by hand with whole numbers."""

from __future__ import annotations

from tests.sandbox_plans import Flex

START = 1_767_225_600
DAY = 86_400


def payments(bench, **params):
    rows = bench.flex("investments/payment-history", **params)[1]["data"]
    assert {row["actionType"] for row in rows} <= {4}
    return [(row["createdAt"], row["amount"]) for row in rows]


def test_three_days_paid_to_main(bench):
    # 1000 x 0.15 / 8760 = 0.017123287671232876 an hour; 24 of them = 0.410958904109589024 a day.
    bench.invest(Flex.USDT, "1000")
    for _ in range(3):
        bench.pass_time(hours=24)
        bench.balance()
    expected = [(START + 3 * DAY, "0.410959"), (START + 2 * DAY, "0.410959"), (START + DAY, "0.410958")]
    assert payments(bench) == expected
    assert bench.balance() == "9001.232876"
    assert bench.flex("investments")[1]["data"][0]["invested"] == "1000"
    assert payments(bench, dateFrom=START + 2 * DAY, dateTo=START + 2 * DAY) == [expected[1]]


def test_three_days_in_one_jump(bench):
    bench.invest(Flex.USDT, "1000")
    bench.pass_time(hours=72)
    assert bench.balance() == "9001.232876"


def test_three_days_reinvested(bench):
    bench.invest(Flex.USDT, "1000", withReinvest=True)
    bench.pass_time(hours=72)
    assert [amount for _, amount in payments(bench)] == ["0.411297", "0.411128", "0.410958"]
    assert bench.balance() == "9000"
    assert bench.flex("investments")[1]["data"][0]["invested"] == "1001.233383"
    assert bench.flex("investments")[1]["data"][0]["updatedAt"] == START + 3 * DAY
    actions = [(row["actionType"], row["amount"]) for row in bench.history()]
    assert actions[:2] == [(2, "0.411297"), (4, "0.411297")]
    assert len(actions) == 7


def test_nothing_is_credited_before_midnight(bench):
    bench.invest(Flex.USDT, "1000")
    bench.pass_time(hours=23.999)
    assert payments(bench) == []
    bench.pass_time(hours=0.001)
    assert len(payments(bench)) == 1


def test_closing_keeps_what_has_accrued(bench):
    # Ten full hours: 0.17123287671232876, cut off at six decimals.
    bench.invest(Flex.USDT, "1000", withReinvest=True)
    bench.pass_time(hours=10.9)
    assert bench.flex("investments/close", plan=Flex.USDT)[0] == 201
    assert bench.balance() == "10000.171232"
    assert [(row["actionType"], row["amount"]) for row in bench.history()] == [
        (4, "0.171232"),
        (5, "1000"),
        (6, "1000"),
    ]
    bench.pass_time(hours=48)
    assert bench.balance() == "10000.171232"


def test_the_hour_counts_what_is_invested_at_its_end(bench):
    # 10 hours of 1000, then 14 of 500: 0.171232876712328760 + 14 x 0.008561643835616438 = 0.291095890410958892
    bench.invest(Flex.USDT, "1000")
    bench.pass_time(hours=10.5)
    bench.flex("investments/withdraw", plan=Flex.USDT, amount="500")
    bench.pass_time(hours=13.5)
    assert payments(bench) == [(START + DAY, "0.291095")]


def test_a_changed_rate_counts_from_then_on(bench):
    # 12 hours at 0.15 and 12 at 0.30: 0.205479452054794512 + 0.410958904109589036
    bench.invest(Flex.USDT, "1000")
    bench.pass_time(hours=12)
    bench.exchange.change("plan", Flex.USDT, rate="0.30")
    bench.pass_time(hours=12)
    assert payments(bench) == [(START + DAY, "0.616438")]


def test_too_little_to_credit_is_carried_over(bench):
    # 0.01 Flex.ETH at 0.05 a year is 0.00000136 a day at eight decimals: 0.000001369863...
    bench.invest(Flex.ETH, "0.01")
    bench.pass_time(hours=72)
    assert [amount for _, amount in payments(bench)] == ["0.00000137", "0.00000137", "0.00000136"]
    assert bench.balance("ETH") == "9.9900041"


def test_a_year_is_computed_by_days(bench):
    bench.invest(Flex.USDT, "1000", withReinvest=True)
    statements = []
    bench.exchange.ledger.db.set_trace_callback(statements.append)
    bench.pass_time(hours=24 * 365)
    bench.balance()
    # By day, not by hour.
    assert len(statements) < 365 * 24
    # (1 + 0.15/365)^365 = 1.16180, less what is cut off.
    assert bench.flex("investments")[1]["data"][0]["invested"].startswith("1161.79")


def test_history_lag(bench):
    bench.exchange.faults.add("history_lag", seconds=8)
    bench.invest(Flex.USDT, "100")
    assert bench.balance() == "9900"
    assert bench.history() == []
    assert bench.flex("investments")[1]["data"] == []
    bench.pass_time(seconds=8)
    assert [row["createdAt"] for row in bench.history()] == [START]
    bench.flex("investments/withdraw", plan=Flex.USDT, amount="40")
    assert bench.flex("investments")[1]["data"][0]["invested"] == "100"
    bench.pass_time(seconds=8)
    assert bench.flex("investments")[1]["data"][0]["invested"] == "60"
    bench.flex("investments/close", plan=Flex.USDT)
    (shown,) = bench.flex("investments")[1]["data"]
    assert (shown["status"], shown["invested"], shown["updatedAt"]) == (1, "60", START + 8)
    assert bench.flex("investments", investmentStatus=0)[1]["data"] == []
    bench.pass_time(seconds=8)
    (shown,) = bench.flex("investments")[1]["data"]
    assert (shown["status"], shown["invested"], shown["updatedAt"]) == (0, "0", START + 16)
    bench.exchange.faults.clear()
    assert bench.flex("investments")[1]["data"] == [shown]
