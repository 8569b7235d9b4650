"""Journal entries: what records book, names of accounts, texts and values."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FlexAction,
    FlexInvestment,
    FlexTransaction,
    InterestPayment,
    MainTransaction,
    SubAccountTransaction,
)
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.treasury import beancount_text, hledger_text
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.book_values import Values, read_book_prices, require_prices
from airflow_provider_whitebit.treasury.chart_of_accounts import DEFAULT_ACCOUNTS, BookFormat, read_chart
from airflow_provider_whitebit.treasury.discrepancies import Discrepancy
from airflow_provider_whitebit.treasury.discrepancies import DiscrepancyKind as Kind
from airflow_provider_whitebit.treasury.flex_ledger import micros
from airflow_provider_whitebit.treasury.journal_entries import (
    Books,
    EntryKind,
    Flow,
    JournalEntry,
    Origins,
    Role,
    check_days,
    check_fixed,
    fixed_entries,
    flex_entries,
    main_entries,
    reconcile_books,
    sub_account_entries,
    transfer_entries,
    unsettled,
)
from airflow_provider_whitebit.treasury.statement import ReinvestedAs, read_ledgers
from airflow_provider_whitebit.treasury.valued_csv import ValuedCsv
from tests.missing import need_module

START, END = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 2, 1)
PERIOD = (micros(START), micros(END))
NIGHT = pendulum.datetime(2026, 1, 5)
INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPEN = (FlexAction(number) for number in range(1, 7))


def record(at, action, amount, number=""):
    return FlexTransaction(at, "plan", "inv", "USDT", Decimal(amount), number or None, action)


def booked(records, invested, reading=ReinvestedAs.BOTH, *, status=1, auto=True):
    held = FlexInvestment("inv", "plan", "USDT", Decimal(invested), auto, status, START, START)
    [ledger], _ = read_ledgers(records, [held], reading, PERIOD)
    return list(flex_entries(ledger, Origins()))


def executed(intent, **given):
    shared = {"plan_id": None, "ticker": "USDT", "amount": Decimal(3), "status": "executed", "attempts": 1}
    return Receipt(
        **{"operation": "transfer", "transaction_id": None, "executed_at": NIGHT, **shared, **given},
        reconciled=False,
        intent_id=intent,
    )


def flows(entry):
    return [(str(one.source), str(one.target), str(one.amount)) for one in entry.flows]


class TestFlex:
    def test_an_earning_and_its_reinvest_are_one_entry(self):
        records = [record(START, OPEN, "10"), record(NIGHT, EARNING, "1", "a"), record(NIGHT, REINVEST, "1", "b")]
        _, earning = booked(records, "11")
        assert flows(earning) == [("flex_interest", "flex", "1")]
        assert (earning.kind, earning.transactions) == (EntryKind.FLEX_REINVESTED, ("a", "b"))

    def test_a_reinvest_of_the_next_day_passes_through_an_account_of_its_own(self):
        late = NIGHT.subtract(seconds=1)
        records = [record(START, OPEN, "10"), record(late, EARNING, "1"), record(NIGHT, REINVEST, "1")]
        _, earned, reinvested = booked(records, "11")
        assert flows(earned) == [("flex_interest", "flex_reinvesting", "1")]
        assert flows(reinvested) == [("flex_reinvesting", "flex", "1")]

    @pytest.mark.parametrize(
        ("reading", "action"), [(ReinvestedAs.EARNING, EARNING), (ReinvestedAs.REINVEST, REINVEST)]
    )
    def test_one_record_of_a_reinvested_earning(self, reading, action):
        _, earned = booked([record(START, OPEN, "10"), record(NIGHT, action, "1")], "11", reading)
        assert flows(earned) == [("flex_interest", "flex", "1")]

    def test_two_records_of_one_movement_are_one_entry_with_both_ids(self):
        records = [record(START, OPEN, "10", "a"), record(START, INVEST, "10", "b")]
        held = FlexInvestment("inv", "plan", "USDT", Decimal(10), True, 1, START, START)
        [ledger], _ = read_ledgers(records, [held], ReinvestedAs.BOTH, PERIOD)
        made = executed("i", operation="flex_invest", plan_id="plan", transaction_id="b", amount=Decimal(10))
        [entry] = flex_entries(ledger, Origins([(made, "d/r/t")]))
        assert (entry.transactions, entry.intent_id, entry.task) == (("a", "b"), "i", "d/r/t")

    def test_interest_in_a_close_is_interest(self):
        records = [record(START, OPEN, "1000"), record(NIGHT, CLOSE, "1000.5")]
        _, closed = booked(records, "0", status=0)
        assert flows(closed) == [("flex", "main", "1000"), ("flex_interest", "main", "0.5")]
        with exact():
            assert closed.legs() == [
                (Role.MAIN, "USDT", Decimal("1000.5")),
                (Role.FLEX, "USDT", -1000),
                (Role.FLEX_INTEREST, "USDT", Decimal("-0.5")),
            ]


def fixed(status=2, paid="2", updated=NIGHT):
    plan = FixedPlan("p", "BTC", 1, Decimal(2), 10, "USDT", Decimal(1), Decimal(0), None, None)
    return FixedInvestment("inv", plan, status, START, updated, NIGHT, Decimal(5), Decimal(paid))


class TestOthers:
    def test_a_fixed_term(self):
        payment = InterestPayment("p", "inv", Decimal(2), "", NIGHT)
        found = list(fixed_entries([fixed()], [payment], Origins()))
        assert [flows(entry) for entry in found] == [
            [("main", "fixed", "5")],
            [("fixed", "main", "5")],
            [("fixed_interest", "main", "2")],
        ]
        assert found[2].flows[0].ticker == "USDT"
        assert list(check_fixed([fixed()], [payment], START, END)) == []
        [wrong] = check_fixed([fixed(paid="3")], [payment], START, END)
        assert (wrong.kind, wrong.expected, wrong.found) == (Kind.FIXED_INTEREST, 3, 2)
        [unknown] = check_fixed([fixed(status=9)], [payment], START, END)
        assert unknown.kind == Kind.UNKNOWN_STATUS

    @pytest.mark.parametrize(
        ("given", "payment", "receipt", "closed"),
        [
            ({}, None, None, NIGHT),
            ({"updated": START}, NIGHT.add(hours=1), NIGHT, NIGHT),
            ({"updated": START}, NIGHT.add(hours=1), None, NIGHT.add(hours=1)),
            ({"updated": START}, None, None, NIGHT),
            ({"updated": START, "paid": "0"}, None, None, START),
        ],
        ids=["updated", "receipt", "interest", "end of the term", "unknown"],
    )
    def test_when_a_fixed_investment_returned_its_amount(self, given, payment, receipt, closed):
        """An exchange that does not show it must not change the balances of the days before."""
        payments = [] if payment is None else [InterestPayment("p", "inv", Decimal(2), "", payment)]
        made = executed("i", operation="fixed_close", investment_id="inv", executed_at=receipt)
        origins = Origins([] if receipt is None else [(made, "d/r/t")])
        [at] = [entry.at for entry in fixed_entries([fixed(**given)], payments, origins) if entry.kind == "Fixed close"]
        assert at == micros(closed)
        found = check_fixed([fixed(**given)], payments, START, END, origins)
        assert (Kind.UNKNOWN_TIME in {one.kind for one in found}) is (closed == START)
        # Its term was over before.
        later = check_fixed([fixed(**given)], payments, NIGHT, END, origins)
        assert Kind.UNKNOWN_TIME not in {one.kind for one in later}

    def test_deposits_and_withdrawals_that_moved(self):
        def of(method, status, fee="0"):
            return MainTransaction(NIGHT, "t", method, "USDT", Decimal("-5"), Decimal(fee), status, *[None] * 6)

        given = [of(1, 3), of(2, 7, "0.5"), of(1, 4), of(2, 1)]
        found = list(main_entries(given))
        assert [flows(entry) for entry in found] == [[("deposits", "main", "5")], [("main", "withdrawals", "5")]]
        assert found[1].note == "Fee 0.5 USDT, not booked"
        strange = SubAccountTransaction(NIGHT, "s", "sideways", "USDT", Decimal(1))
        texts = list(unsettled(given, [strange], START, END))
        assert len(texts) == 2
        assert "status 1" in texts[0]
        assert list(sub_account_entries([strange], Origins())) == []

    def test_receipts_name_intent_and_task_each_once(self):
        transfer = executed("i1", source="main", target="spot")
        sub = executed("i2", operation="sub_account_transfer", transaction_id="s")
        planned = executed("i3", source="main", target="spot", status="planned")
        elsewhere = executed("i4", source="main", target="bank")
        origins = Origins(
            [(transfer, "d/r/t"), (elsewhere, "d/r/w"), (transfer, "d/r2/t"), (sub, "d/r/u"), (planned, "d/r/v")]
        )
        [entry] = transfer_entries(origins)
        assert (flows(entry), entry.intent_id, entry.task) == ([("main", "spot", "3")], "i1", "d/r/t")
        moved = SubAccountTransaction(NIGHT, "s", "sub_to_main", "USDT", Decimal(1))
        [entry] = sub_account_entries([moved], origins)
        assert (flows(entry), entry.intent_id, entry.task) == ([("sub_accounts", "main", "1")], "i2", "d/r/u")


class TestReconciling:
    MAIN = (Role.MAIN, "USDT")

    def fit(self, now, before="0", period="0", after="0", previous=None, role=Role.MAIN):
        key = (role, "USDT")
        sums = ({key: Decimal(amount)} for amount in (now, before, period, after))
        with exact():
            return reconcile_books(
                *sums, start=START, end=END, previous=None if previous is None else {key: Decimal(previous)}
            )

    def test_balances_are_walked_back(self):
        found = self.fit("100", period="-5", after="20.50")
        assert (found.opening[self.MAIN], found.closing[self.MAIN]) == (Decimal("84.5"), Decimal("79.5"))
        assert (flows(found.first), found.last) == ([("opening", "main", "84.5")], None)

    def test_books_that_continue_must_lead_to_the_balance(self):
        assert self.fit("100", period="10", previous="90").discrepancies == []
        found = self.fit("100", period="10", previous="80")
        assert flows(found.last) == [("suspense", "main", "10")]
        [one] = found.discrepancies
        assert (one.kind, one.expected, one.found) == (Kind.BOOK_BALANCE, 90, 100)

    def test_a_balance_below_zero_is_named(self):
        [one] = self.fit("5", period="10").discrepancies
        assert "leaves -5 at the start" in one.message

    def test_a_reinvest_that_is_recorded_the_day_before_its_earning_adds_up(self):
        found = self.fit("0", before="-1", period="1", previous="-1", role=Role.FLEX_REINVESTING)
        assert (found.discrepancies, found.last) == ([], None)

    def test_what_flex_records_do_not_explain_is_no_opening_balance(self):
        found = self.fit("100", before="70", period="10", role=Role.FLEX)
        assert flows(found.first) == [("opening", "flex", "70"), ("suspense", "flex", "20")]


@pytest.mark.parametrize("moment", [START.add(hours=1), pendulum.datetime(2026, 1, 1, tz="Europe/Kyiv")])
def test_books_are_kept_by_day(moment):
    with pytest.raises(e.WhiteBitValidationError, match="midnight, UTC"):
        check_days(moment, END)


BALANCES = {(Role.MAIN, "USDT"): Decimal(1), (Role.MAIN, "BTC"): Decimal(2), (Role.FLEX, "BTC"): Decimal(3)}


class TestAccounts:
    def test_defaults_and_own_names(self):
        raw = (
            "{'main': 'Assets:Bank', 'flex': {'BTC': 'Assets:Gold', 'default': 'Assets:Silver'}, 'xero': {'main': 610}}"
        )
        chart = read_chart(raw, BookFormat.BEANCOUNT)
        names = [chart.name(role, ticker) for role, ticker in (("main", "BTC"), ("flex", "BTC"), ("flex", "ETH"))]
        assert names == ["Assets:Bank", "Assets:Gold", "Assets:Silver"]
        assert chart.name(Role.FIXED, "BTC") == DEFAULT_ACCOUNTS[Role.FIXED]
        with pytest.raises(e.WhiteBitValidationError, match="which is no account of xero"):
            read_chart(raw, BookFormat.XERO)
        chart = read_chart({"main": "Assets:Bank", "xero": {"main": 610, "flex": {"BTC": "7"}}}, BookFormat.XERO)
        assert chart.name(Role.MAIN, "BTC") == "610"
        with pytest.raises(e.WhiteBitValidationError, match=r"no account of xero for flex \(ETH\), spot \(BTC\)"):
            chart.require([(Role.FLEX, "ETH"), (Role.FLEX, "BTC"), (Role.SPOT, "BTC")])

    def test_every_role_has_a_default_that_both_accept(self):
        for form in (BookFormat.BEANCOUNT, BookFormat.HLEDGER):
            given = {role: read_chart(DEFAULT_ACCOUNTS, form).name(role, "BTC") for role in Role}
            assert given == DEFAULT_ACCOUNTS

    @pytest.mark.parametrize(
        ("form", "name"),
        [
            *(
                ("beancount", name)
                for name in ("Bank", "Bank:A", "Assets", "Assets:a", "Assets:A B", "Assets:A_B", "Assets:")
            ),
            *(("hledger", name) for name in ("", "a  b", "a;b", "(a)", "a:", "a: b", "* a", "a\tb", "a\nb", 'a"b')),
            *(("xero", name) for name in ("=1", "12345678901", "a b", "-1", "")),
            *(("quickbooks", name) for name in ("=cmd", "+a", "-a", "@a", 'a"', "a:", "x" * 101, "\uff1da")),
        ],
    )
    def test_a_name_that_the_format_cannot_have_is_refused_with_its_rule(self, form, name):
        with pytest.raises(e.WhiteBitValidationError, match=rf"accounts\.main is .*which is no account of {form}: \w+"):
            read_chart({"main": name}, BookFormat(form))

    def test_an_asset_that_is_named_twice_is_refused(self):
        with pytest.raises(e.WhiteBitValidationError, match=r"accounts\.main: names BTC twice"):
            read_chart({"main": {"btc": "Assets:A", "BTC": "Assets:B", "default": "Assets:C"}}, BookFormat.BEANCOUNT)

    @pytest.mark.parametrize("raw", ["x", [1], {"bank": "Assets:A"}, {"beancount": {"xero": {}}}, {1: "a"}])
    def test_what_is_no_mapping_of_roles_is_refused(self, raw):
        with pytest.raises(e.WhiteBitValidationError, match="accounts"):
            read_chart(raw, BookFormat.BEANCOUNT)

    def test_an_account_that_also_holds_what_is_unknown_is_not_asserted(self):
        # Also if this period has no entry of it: one before may have.
        chart = read_chart({"spot": {"USDT": "Assets:WhiteBIT:Main", "default": "Assets:Spot"}}, BookFormat.BEANCOUNT)
        assert chart.asserted(BALANCES) == [
            ("Assets:WhiteBIT:Flex", "BTC", 3),
            ("Assets:WhiteBIT:Main", "BTC", 2),
        ]

    def test_beancount_counts_the_accounts_below_an_account(self):
        names = {"main": "Assets:WhiteBIT", "spot": "Assets:Spot", "sub_accounts": {"USDT": "Assets:WhiteBIT:Subs"}}
        names |= {"collateral": "Assets:Collateral"}
        names["sub_accounts"]["default"] = "Assets:WhiteBITs"
        flex = ("Assets:WhiteBIT:Flex", "BTC", 3)
        assert read_chart(names, BookFormat.BEANCOUNT).asserted(BALANCES) == [("Assets:WhiteBIT", "BTC", 5), flex]
        assert read_chart(names, BookFormat.HLEDGER).asserted(BALANCES) == [
            ("Assets:WhiteBIT", "BTC", 2),
            ("Assets:WhiteBIT", "USDT", 1),
            flex,
        ]


def books(*entries, begins=True, closing=None):
    accounts = {(role, flow.ticker) for entry in entries for flow in entry.flows for role in flow[:2]}
    return Books(
        START,
        END,
        begins,
        {},
        closing or {},
        lambda: iter(entries),
        accounts=frozenset(accounts),
        decimals={"1INCH": 2},
    )


NASTY = 'a "quoted" \\ text; with | everything, =1'


class TestTexts:
    def test_names_of_assets(self):
        names = [beancount_text.commodity(ticker) for ticker in ("USDT", "1INCH", "A", "X_Y", "TRUE", "NULLS")]
        assert names == ["USDT", "T-1INCH", "T-A", "X_Y", "T-TRUE", "NULLS"]
        assert [hledger_text.commodity(ticker) for ticker in ("USDT", "1INCH")] == ["USDT", '"1INCH"']
        faulty = [(beancount_text, "\u0101_"), *((hledger_text, name) for name in ('X"Y', "X;Y", "X\nY", ""))]
        for form, name in faulty:
            with pytest.raises(e.WhiteBitValidationError, match=r"cannot write(?s:.*)other assets in tickers"):
                form.commodity(name)

    @pytest.mark.parametrize("ticker", ["TRUE", "FALSE", "NULL", "A", "1INCH", "TXN"])
    def test_beancount_reads_any_asset(self, ticker):
        need_module("beancount", "BOOKS NOT CHECKED BY BEANCOUNT: it is not installed")
        from beancount import loader

        flow = Flow(Role.DEPOSITS, Role.MAIN, ticker, Decimal("1.25"))
        made = books(
            JournalEntry(micros(NIGHT), EntryKind.DEPOSIT, (flow,)), closing={(Role.MAIN, ticker): flow.amount}
        )
        with exact():
            text = "".join(beancount_text.beancount_lines(made, read_chart(None, BookFormat.BEANCOUNT)))
        found, faults, _ = loader.load_string(text)
        assert (faults, len(found)) == ([], 4)

    def test_any_text_of_the_exchange_stays_text(self, tmp_path):
        flow = Flow(Role.DEPOSITS, Role.MAIN, "1INCH", Decimal("1.25"))
        entry = JournalEntry(micros(NIGHT), EntryKind.DEPOSIT, (flow,), (NASTY,), note="line\nbreak", task=NASTY)
        made = books(entry, closing={(Role.MAIN, "1INCH"): Decimal("1.25")})
        path = tmp_path / "a.beancount"
        with exact():
            path.write_text("".join(beancount_text.beancount_lines(made, read_chart(None, BookFormat.BEANCOUNT))))
            text = "".join(hledger_text.hledger_lines(made, read_chart(None, BookFormat.HLEDGER)))
        need_module("beancount", "BOOKS NOT CHECKED BY BEANCOUNT: it is not installed")
        from beancount import loader

        found, faults, _ = loader.load_file(str(path))
        assert faults == []
        [moved] = [one for one in found if hasattr(one, "postings")]
        assert (moved.meta["transaction"], moved.meta["note"]) == (NASTY, "line break")
        assert "note:line break\n" in text
        made.not_booked = ["not booked\n2026-01-01 open Assets:Evil"]
        made.discrepancies = [Discrepancy(Kind.UNKNOWN_ACTION, "", "USDT", "p\n2026-01-01 open Assets:Evil")]
        with exact():
            for lines, form in ((beancount_text.beancount_lines, "beancount"), (hledger_text.hledger_lines, "hledger")):
                text = "".join(lines(made, read_chart(None, BookFormat(form))))
                assert not [line for line in text.splitlines() if "Evil" in line and not line.startswith("; ")]
        assert 'Assets:WhiteBIT:Main  1.25 "1INCH"\n' in text


class TestValues:
    @given(st.lists(st.decimals(min_value="0.000001", max_value="5", places=6), min_size=1, max_size=40))
    def test_totals_are_right_to_half_a_cent_and_entries_balance(self, amounts):
        price, total = Decimal("0.37"), Decimal(0)
        with exact():
            values = Values({"USDT": price})
            for amount in amounts:
                flow = Flow(Role.FLEX_INTEREST, Role.MAIN, "USDT", amount)
                lines = values.lines(JournalEntry(0, EntryKind.FLEX_EARNING, (flow,)))
                assert sum(value for _, _, value, _ in lines) == 0
                total += sum(value for role, _, value, _ in lines if role is Role.MAIN)
            assert abs(total - price * sum(amounts)) <= Decimal("0.005")

    def test_prices(self):
        assert read_book_prices("{'usdt': '0.92'}") == {"USDT": Decimal("0.92")}
        assert read_book_prices(None) == {}
        for raw in ({"USDT": "0"}, {"USDT": "-1"}, {"USDT": 0.5}, "x", {"U;": "1"}, {"USDT": "1", "usdt": "2"}):
            with pytest.raises(e.WhiteBitValidationError):
                read_book_prices(raw)
        with pytest.raises(e.WhiteBitValidationError, match="no price for BTC, ETH"):
            require_prices({"USDT": Decimal(1)}, ["ETH", "BTC", "USDT"])

    def test_no_cell_is_a_formula_and_a_journal_is_never_torn(self):
        entries = [
            JournalEntry(
                micros(NIGHT) + place,
                EntryKind.DEPOSIT,
                (
                    Flow(Role.DEPOSITS, Role.MAIN, "USDT", Decimal(1)),
                    Flow(Role.DEPOSITS, Role.SPOT, "USDT", Decimal(1)),
                ),
                ("=cmd",),
            )
            for place in range(101)
        ]
        names = {"deposits": "1", "main": "2", "spot": "3"}
        made = ValuedCsv(read_chart(names, BookFormat.XERO), {"USDT": Decimal(2)}, "=1+1")
        with exact():
            parts = dict(made.parts(books(*entries)))
        assert [text.count("\n") for text in parts.values()] == [301, 4]
        cells = [cell for line in parts[1].splitlines()[1:] for cell in line.split(",")]
        assert {cell[0] for cell in cells if cell} & set("=+@") == set()
        assert "'=1+1" in cells
        assert parts[1].splitlines()[1] == (
            "WB260105-00001 Deposit USDT,05 Jan 2026,"
            "Deposit: 1 USDT; time 2026-01-05T00:00:00Z; transaction =cmd,2,'=1+1,2.00,,,,"
        )

    def test_an_entry_of_more_lines_than_a_file_may_have_is_one_journal_for_each_asset(self):
        tickers = [f"T{number}" for number in range(200)]
        opening = JournalEntry(
            micros(START), EntryKind.OPENING, tuple(Flow(Role.OPENING, Role.MAIN, one, Decimal(1)) for one in tickers)
        )
        chart = read_chart({"opening": "1", "main": "2"}, BookFormat.XERO)
        with exact():
            parts = dict(ValuedCsv(chart, dict.fromkeys(tickers, Decimal(2))).parts(books(opening)))
        assert [text.count("\n") for text in parts.values()] == [301, 101]
        assert parts[2].splitlines()[1].startswith("WB260101-00151 Opening balances T150,")
