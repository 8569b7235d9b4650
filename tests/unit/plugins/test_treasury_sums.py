"""Several accounts together: sums by hand, and what is left out of them."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_whitebit.plugins.treasury_data import Account, failed
from airflow_provider_whitebit.plugins.treasury_sums import sums_of

NOTHING = {
    **dict.fromkeys(("idle", "flex", "fixed", "total"), "0"),
    "windows": {n: {"earned": "0"} for n in ("30", "90")},
}
DAYS = [f"2026-11-{day:02}" for day in range(1, 31)]


def line(ticker, idle="0", flex="0", fixed="0", total=None, earned="0"):
    windows = {days: {"earned": earned, "realised_rate": "0.1"} for days in ("30", "90")}
    amounts = {"idle": idle, "flex": flex, "fixed": fixed, "total": total}
    return {"ticker": ticker, **amounts, "at_work": None, "best_rate": "0.1", "windows": windows}


def account(key, *positions, earned=None, days=DAYS, elsewhere=NOTHING, previous=""):
    by_ticker = {ticker: ["0"] * (len(days) - 1) + [amount] for ticker, amount in (earned or {}).items()}
    earnings = {"days": days, "by_ticker": by_ticker, "totals": {}}
    return Account(
        key, {"error": None, "positions": list(positions), "earnings": earnings, "forecast": None}, elsewhere, previous
    )


BROKEN = Account("gone", failed({"message": "No answer."}))


def test_sums_are_exact():
    one = account("a", line("USDT", "0.1", "1", total="1.1", earned="0.3"), earned={"USDT": "0.3"})
    other = account(
        "b",
        line("USDT", "12345678901234567890123.000000001", "2", "3", total="12345678901234567890128.000000001"),
        line("BTC", "1", total="1"),
    )
    found = sums_of({"one": one, "other": other})
    assert (found["counted"], found["left_out"]) == (["one", "other"], [])
    usdt, btc = found["positions"]
    assert {name: usdt[name] for name in ("ticker", "idle", "flex", "fixed", "total")} == {
        "ticker": "USDT",
        "idle": "12345678901234567890123.100000001",
        "flex": "3",
        "fixed": "3",
        "total": "12345678901234567890129.100000001",
    }
    assert usdt["windows"]["30"] == {"earned": "0.3"}
    assert (btc["ticker"], btc["total"], btc["at_work"]) == ("BTC", "1", "0.000000")
    assert found["earnings"]["totals"] == {"USDT": {"30": "0.3", "90": "0.3"}}
    assert found["earnings"]["by_ticker"]["USDT"][-1] == "0.3"


def test_an_unknown_figure_makes_its_sum_unknown():
    one = account("a", line("USDT", "1", "2", None))
    other = account("b", line("USDT", "1", "2", "3", total="6"))
    (usdt,) = sums_of({"one": one, "other": other})["positions"]
    assert [usdt[name] for name in ("idle", "flex", "fixed", "total", "at_work")] == ["2", "4", None, None, None]


def test_an_asset_that_an_account_may_hold_unseen():
    """Its Fixed investments could not be loaded, so it is not known whether there are any of this asset."""
    one = account(
        "a", elsewhere=NOTHING | {"fixed": None, "total": None, "windows": {n: {"earned": None} for n in ("30", "90")}}
    )
    (btc,) = sums_of({"one": one, "other": account("b", line("BTC", "1", total="1"))})["positions"]
    assert [btc[name] for name in ("idle", "fixed", "total")] == ["1", None, None]
    assert btc["windows"]["90"] == {"earned": None}


def test_an_account_that_cannot_be_shown_is_named_and_does_not_hide_the_others():
    found = sums_of({"broken": BROKEN, "slow": None, "one": account("a", line("USDT", "1", total="1"))})
    assert found["counted"] == ["one"]
    assert found["left_out"] == [
        {"conn_id": "broken", "why": "it cannot be shown"},
        {"conn_id": "slow", "why": "still loading"},
    ]
    assert found["positions"][0]["total"] == "1"


def test_no_account_counts_twice():
    usdt = line("USDT", "1", total="1")
    found = sums_of(
        {"one": account("a", usdt), "same_key": account("a", usdt), "new_key": account("c", usdt, previous="one")}
    )
    assert found["counted"] == ["one"]
    assert [one["why"] for one in found["left_out"]] == ["it is the account of one"] * 2
    found = sums_of({"new_key": account("c", usdt, previous="one"), "one": account("a", usdt)})
    assert found["counted"] == ["new_key"]
    # The first one cannot be shown, so the second one counts.
    assert sums_of({"gone": BROKEN, "again": account("gone", usdt)})["counted"] == ["again"]


def test_two_keys_of_one_account_are_recognised_by_an_investment_that_both_show():
    def holding(key, *ids, host="https://whitebit.com", kind="flex"):
        found = account(key, line("USDT", "1", total="1"))
        return replace(found, shown={**found.shown, "host": host, kind: [{"id": one} for one in ids]})

    def counted(**accounts):
        return sums_of(accounts)["counted"]

    assert counted(one=holding("a", "inv_1", "inv_2"), two=holding("b", "inv_2")) == ["one"]
    assert counted(one=holding("a", "inv_1"), two=holding("b", "inv_2")) == ["one", "two"]
    # Ids of Flex and Fixed, and of two exchanges, can be equal.
    assert counted(one=holding("a", "1"), two=holding("b", "1", kind="fixed")) == ["one", "two"]
    assert counted(one=holding("a", "1"), two=holding("b", "1", host="https://whitebit.eu")) == ["one", "two"]
    assert counted(one=holding("a"), two=holding("b")) == ["one", "two"]


def test_earnings_around_midnight_are_added_by_day():
    later = [*DAYS[1:], "2026-12-01"]
    found = sums_of(
        {"one": account("a", earned={"USDT": "1"}), "other": account("b", earned={"USDT": "2"}, days=later)}
    )
    earned = dict(zip(found["earnings"]["days"], found["earnings"]["by_ticker"]["USDT"], strict=True))
    assert (earned["2026-11-30"], earned["2026-12-01"], found["earnings"]["days"]) == ("1", "2", later)


def test_earnings_that_one_account_lacks_have_no_sum():
    lacking = account("a")
    lacking.shown["earnings"] = None
    assert sums_of({"one": lacking, "other": account("b", earned={"USDT": "2"})})["earnings"] is None
    assert sums_of({"one": BROKEN, "other": BROKEN})["earnings"] is None
