"""A year of lending as journal entries: they agree with statements and the exchange's ledger to the last decimal."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client import paging
from airflow_provider_whitebit.client.models import SubAccountTransaction
from airflow_provider_whitebit.hooks import journal_entries as hooks
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.journal_entries import read_books
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.moves.intent import Operation
from airflow_provider_whitebit.operators.journal_entries import WhiteBitJournalEntriesOperator
from airflow_provider_whitebit.sandbox.quirks import Quirks
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.journal_entries import EntryKind, Role, Tally
from tests.missing import missing
from tests.sandbox_plans import Flex
from tests.virtual_year import BEGIN, ExchangeLedger, Year

MONTHS = [BEGIN.add(months=month) for month in range(13)]
#: Accounts of the exchange's ledger by role.
OF_LEDGER = {Role.MAIN: "main:sandbox", Role.FLEX: "invested", Role.FIXED: "fixed"}
CODES = {role: str(100 + number) for number, role in enumerate(Role)}
NAMES = {role: f"WhiteBIT:{role}" for role in Role}
#: So low that many earnings are worth less than a cent.
PRICES = {"USDT": "0.0092", "BTC": "60", "ETH": "2", "SOL": "0.08", "USDC": "0.0092", "EURI": "0.01"}
REFUSED = (AirflowFailException, e.WhiteBitValidationError, e.WhiteBitDiscrepancyError)


@pytest.fixture(scope="module")
def past():
    year = Year()
    year.pass_year()
    return year


@pytest.fixture
def year():
    """A month in which a test can do more."""
    year = Year()
    year.pass_year(days=31)
    return year


def write(year, folder, start, end, **arguments):
    given = {"formats": ["beancount", "hledger"], **arguments}
    task = WhiteBitJournalEntriesOperator(
        task_id="books", output_path=str(folder), start=start.isoformat(), end=end.isoformat(), **given
    )
    task.__dict__["hook"] = SimpleNamespace(
        get_conn=lambda: year.client, whitebit_conn_id="whitebit_default", previous=None
    )
    return task.execute({})


@pytest.fixture(autouse=True)
def events(monkeypatch):
    """The asset events of tasks are the receipts of a year."""

    def announced(year):
        monkeypatch.setattr(hooks, "announced_receipts", lambda hook, since: iter(year.receipts))

    return announced


def bean_check(path):
    program = Path(sys.executable).with_name("bean-check")
    if not program.exists():
        missing("BOOKS NOT CHECKED BY BEANCOUNT: bean-check is not installed")
    done = subprocess.run([sys.executable, program, path], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def hledger(path, *command):
    if shutil.which("hledger") is None:
        missing("BOOKS NOT CHECKED BY HLEDGER: it is not installed (scripts/hledger.sh installs it)")
    done = subprocess.run(["hledger", "-f", path, *command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def included(folder, form):
    """A file that includes the books of all periods."""
    names = sorted(path.name for path in folder.glob(f"journal-entries-*.{form}"))
    path = folder / f"all.{form}"
    path.write_text("".join(f'include "{name}"\n' if form == "beancount" else f"include {name}\n" for name in names))
    return path


class TestAYear:
    @pytest.mark.slow
    def test_statement_entries_and_ledger_agree(self, past):
        ledger = ExchangeLedger(past.exchange)
        previous = None
        for start, end in pairwise(MONTHS):
            statement = read_statement(past.client, start=start, end=end, main=True)
            assert statement.adds_up
            with (
                read_books(past.client, start=start, end=end, receipts=past.receipts, previous=previous) as books,
                exact(),
            ):
                assert books.discrepancies == []
                held = ledger.balances(end)
                for (role, ticker), amount in books.closing.items():
                    assert amount == held[OF_LEDGER[role], ticker], (role, ticker, end)
                flows = defaultdict(Decimal)
                for entry in books.entries():
                    assert entry.kind is not EntryKind.DIFFERENCE
                    for flow in entry.flows:
                        flows[flow.source, flow.target, flow.ticker] += flow.amount
                for ticker in statement.tickers:
                    name, figures = ticker.ticker, ticker.figures
                    assert flows[Role.MAIN, Role.FLEX, name] == figures.invested
                    assert flows[Role.FLEX, Role.MAIN, name] == figures.withdrawn + figures.closed
                    assert flows[Role.FLEX_INTEREST, Role.MAIN, name] == figures.earned_to_main
                    assert flows[Role.FLEX_INTEREST, Role.FLEX, name] == figures.earned_reinvested
                    assert books.opening.get((Role.FLEX, name), 0) == figures.opening
                    assert books.closing.get((Role.FLEX, name), 0) == figures.closing
                for main in statement.main:
                    assert flows[Role.DEPOSITS, Role.MAIN, main.ticker] == main.deposited
                    assert flows[Role.MAIN, Role.WITHDRAWALS, main.ticker] == main.withdrawn
                    assert flows[Role.MAIN, Role.SUB_ACCOUNTS, main.ticker] == main.to_sub_accounts
                    assert flows[Role.SUB_ACCOUNTS, Role.MAIN, main.ticker] == main.from_sub_accounts
                previous = books.closing

    def test_all_entries_are_those_of_the_ledger(self, past):
        ledger = ExchangeLedger(past.exchange)
        change = defaultdict(Decimal)
        for moment, sign in ((MONTHS[-1], 1), (MONTHS[0], -1)):
            for key, amount in ledger.balances(moment).items():
                change[key] += sign * amount
        tally = Tally()
        with read_books(past.client, start=MONTHS[0], end=MONTHS[-1], receipts=past.receipts) as books, exact():
            for entry in books.entries():
                if entry.kind is not EntryKind.OPENING:
                    tally.add(entry)
        places = {**OF_LEDGER, Role.SPOT: "spot:sandbox", Role.COLLATERAL: "collateral:sandbox"}
        for role, place in places.items():
            for ticker in PRICES:
                assert tally.sums[role, ticker] == change[place, ticker]
        for ticker in PRICES:
            interest = tally.sums[Role.FLEX_INTEREST, ticker] + tally.sums[Role.FIXED_INTEREST, ticker]
            assert interest == change["interest", ticker]
            outside = tally.sums[Role.DEPOSITS, ticker] + tally.sums[Role.WITHDRAWALS, ticker]
            assert outside == change["outside", ticker]

    @pytest.mark.slow
    def test_the_books_of_all_months_pass_bean_check_and_hledger(self, past, events, tmp_path):
        events(past)
        for start, end in pairwise(MONTHS):
            done = write(past, tmp_path, start, end)
            assert (done["begins"], done["written"], done["adds_up"]) == (start == BEGIN, True, True)
        bean_check(included(tmp_path, "beancount"))
        path = included(tmp_path, "hledger")
        assert hledger(path, "check", "-s", "ordereddates") == ""
        # The sums are the statement's.
        statement = read_statement(past.client, start=BEGIN, end=MONTHS[-1])
        for ticker in statement.tickers:
            shown = hledger(path, "balance", "-N", "Income:WhiteBIT:FlexInterest", f"cur:{ticker.ticker}")
            assert Decimal(shown.split()[0]) == -ticker.figures.earned
        # Each move has its intent and task, once.
        text = "".join(file.read_text() for file in tmp_path.glob("journal-entries-*.beancount"))
        for receipt, task in past.receipts:
            assert text.count(f'intent: "{receipt.intent_id}"') == text.count(f'task: "{task}"') == 1, receipt
            assert receipt.transaction_id is None or receipt.transaction_id in text

    def test_what_was_written_is_written_the_same_however_late(self, past, events, tmp_path):
        events(past)
        done = write(past, tmp_path, MONTHS[2], MONTHS[3], formats="beancount")
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        early = Year()
        early.pass_year(days=90)
        events(early)
        again = write(early, tmp_path / "early", MONTHS[2], MONTHS[3], formats="beancount")
        # Ids of intents are random. Everything else is the same after three months and after twelve.
        texts = [Path(one["paths"]["beancount"][0]).read_text() for one in (done, again)]
        assert len({re.sub(r'intent: "\w+"', "", text) for text in texts}) == 1
        events(past)
        assert write(past, tmp_path, MONTHS[2], MONTHS[3], formats="beancount")["written"] is False
        assert {path: path.read_bytes() for path in before} == before

    def test_csv_balances_in_each_journal_and_totals_are_right_to_half_a_cent(self, past, events, tmp_path):
        events(past)
        accounts = {"xero": CODES, "quickbooks": NAMES}
        done = write(past, tmp_path, MONTHS[0], MONTHS[-1], formats="xero,quickbooks", accounts=accounts, prices=PRICES)
        assert done["left_out"]["xero"] == done["left_out"]["quickbooks"] > 0
        sums = {"xero": defaultdict(Decimal), "quickbooks": defaultdict(Decimal)}
        for form, most in (("xero", 300), ("quickbooks", 1000)):
            journals = defaultdict(Decimal)
            for path in done["paths"][form]:
                with open(path, newline="") as file:
                    rows = list(csv.DictReader(file))
                assert 0 < len(rows) <= most
                for row in rows:
                    if form == "xero":
                        key, value, account = (row["*Narration"], row["*Date"]), row["*Amount"], row["*AccountCode"]
                        assert re.fullmatch(r"\d\d [A-Z][a-z][a-z] 2026", row["*Date"])
                    else:
                        value = row["Debits"] or f"-{row['Credits']}"
                        key, account = row["Journal No."], row["Account Name"]
                        assert re.fullmatch(r"WB26\d{4}-\d{5}", key)
                        assert bool(row["Debits"]) is not bool(row["Credits"])
                    assert re.fullmatch(r"-?\d+\.\d\d", value)
                    journals[key] += Decimal(value)
                    sums[form][account] += Decimal(value)
            assert set(journals.values()) == {Decimal(0)}
        assert sums["xero"] == {CODES[name.partition(":")[2]]: total for name, total in sums["quickbooks"].items()}
        exactly = Decimal(0)
        for ticker in read_statement(past.client, start=BEGIN, end=MONTHS[-1]).tickers:
            exactly -= ticker.figures.earned * Decimal(PRICES[ticker.ticker])
        # Two ways, to Main and into the plan, of two assets.
        assert abs(sums["xero"][CODES[Role.FLEX_INTEREST]] - exactly) <= 4 * Decimal("0.005")


def test_records_of_main_from_before_the_period_can_be_more_than_the_exchange_returns(year, monkeypatch):
    start = BEGIN.add(days=32)
    for _ in range(150):
        year.exchange.fund("USDT", "1")
    year.until(start.add(hours=2))
    year.exchange.fund("USDT", "7")
    year.until(start.add(days=1, hours=1))
    # As if the exchange returned no more than this.
    monkeypatch.setattr(paging, "LARGEST_OFFSET", 130)
    with read_books(year.client, start=start, end=start.add(days=1), receipts=year.receipts) as books, exact():
        deposits = [flow for entry in books.entries() for flow in entry.flows if flow.source is Role.DEPOSITS]
    assert [str(flow.amount) for flow in deposits] == ["7"]
    assert books.discrepancies == []


def test_the_order_of_assets_does_not_matter(year, events, tmp_path):
    events(year)
    first = write(year, tmp_path, MONTHS[0], MONTHS[1], tickers="USDT, BTC")
    again = write(year, tmp_path, MONTHS[0], MONTHS[1], tickers=["BTC", "USDT"])
    assert (again["paths"], again["written"]) == (first["paths"], False)


class TestWhatDiffers:
    def test_a_transfer_without_a_receipt_is_refused_with_figures_or_booked_as_unexplained(
        self, year, events, tmp_path
    ):
        events(year)
        write(year, tmp_path, MONTHS[0], MONTHS[1])
        year.until(MONTHS[1].add(days=3, hours=12))
        year.move(Operation.TRANSFER, "", "USDT", "77.7", source="main", target="spot")
        year.receipts.pop()
        year.until(MONTHS[2].add(hours=1))
        with pytest.raises(REFUSED, match=r"main USDT: the books before end with .* -77\.7 are not explained"):
            write(year, tmp_path, MONTHS[1], MONTHS[2])
        assert not list(tmp_path.glob("*20260201-20260301*"))
        done = write(year, tmp_path, MONTHS[1], MONTHS[2], fail_on_discrepancy=False)
        assert (done["adds_up"], [one["kind"] for one in done["discrepancies"]]) == (False, ["book_balance"])
        text = Path(done["paths"]["beancount"][0]).read_text()
        assert "; Does not add up: book_balance USDT" in text
        assert "Equity:Suspense  77.7 USDT" in text
        bean_check(included(tmp_path, "beancount"))
        hledger(included(tmp_path, "hledger"), "check", "-s")

    def test_a_missing_flex_record_is_refused_or_booked_as_unexplained(self, year, events, tmp_path, monkeypatch):
        events(year)
        ask = year.client.flex_history
        hidden = Decimal("33.3")
        monkeypatch.setattr(year.client, "flex_history", lambda **by: (r for r in ask(**by) if r.amount != hidden))
        with pytest.raises(REFUSED, match="all its records add up to"):
            write(year, tmp_path, MONTHS[0], MONTHS[1])
        assert not tmp_path.exists() or not list(tmp_path.iterdir())
        done = write(year, tmp_path, MONTHS[0], MONTHS[1], fail_on_discrepancy=False)
        kinds = {one["kind"] for one in done["discrepancies"]}
        statement = read_statement(year.client, start=MONTHS[0], end=MONTHS[1])
        assert {str(one.kind) for one in statement.discrepancies} <= kinds
        assert "Equity:Suspense  33.3 USDT" in Path(done["paths"]["beancount"][0]).read_text()
        bean_check(done["paths"]["beancount"][0])
        hledger(done["paths"]["hledger"][0], "check", "-s")

    def test_a_closed_period_is_not_written_differently_unless_that_is_said(self, year, events, tmp_path):
        events(year)
        first = write(year, tmp_path, MONTHS[0], MONTHS[1])
        [path] = map(Path, first["paths"]["beancount"])
        before, manifest = path.read_bytes(), Path(first["paths"]["manifest"]).read_bytes()
        other = {"accounts": {"main": "Assets:Exchange"}}
        with pytest.raises(REFUSED, match=r"differs now(?s:.*)line 2 was .*, is now (?s:.*)replace=True"):
            write(year, tmp_path, MONTHS[0], MONTHS[1], **other)
        assert path.read_bytes() == before
        done = write(year, tmp_path, MONTHS[0], MONTHS[1], replace=True, **other)
        assert Path(f"{path}.former-1").read_bytes() == before
        assert Path(f"{done['paths']['manifest']}.former-1").read_bytes() == manifest
        assert len(done["former"]) == 3
        assert "Assets:Exchange" in path.read_text()
        again = write(year, tmp_path, MONTHS[0], MONTHS[1], replace=True, **other)
        assert (again["written"], again["former"]) == (False, [])

    def test_the_digest_is_kept_when_a_file_was_imported_and_moved_away(self, year, events, tmp_path):
        events(year)
        [path] = write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")["paths"]["beancount"]
        text = Path(path).read_text()
        Path(path).unlink()
        with pytest.raises(REFUSED, match="was moved away since, and would be different"):
            write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount", accounts={"main": "Assets:Exchange"})
        write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")
        assert Path(path).read_text() == text
        Path(path).write_text(text + "\n")
        with pytest.raises(REFUSED, match="was changed since it was written"):
            write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")

    def test_a_file_without_a_manifest_is_not_overwritten(self, year, events, tmp_path):
        events(year)
        done = write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")
        [path] = map(Path, done["paths"]["beancount"])
        Path(done["paths"]["manifest"]).unlink()
        assert write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")["written"] is True
        Path(done["paths"]["manifest"]).unlink()
        path.write_text("mine")
        with pytest.raises(REFUSED, match="line 1 was 'mine'"):
            write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")

    def test_another_format_can_be_added_later(self, year, events, tmp_path):
        events(year)
        write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")
        done = write(year, tmp_path, MONTHS[0], MONTHS[1], formats="hledger")
        assert (done["written"], done["former"]) == (True, [])
        assert write(year, tmp_path, MONTHS[0], MONTHS[1])["written"] is False

    def test_what_a_run_left_that_ended_before_its_manifest_is_not_taken_for_a_format_that_is_added(
        self, year, events, tmp_path
    ):
        events(year)
        done = write(year, tmp_path, MONTHS[0], MONTHS[1], formats="beancount")
        left = Path(done["paths"]["beancount"][0]).with_suffix(".hledger")
        left.write_text("older")
        with pytest.raises(REFUSED, match="line 1 was 'older'"):
            write(year, tmp_path, MONTHS[0], MONTHS[1])
        done = write(year, tmp_path, MONTHS[0], MONTHS[1], replace=True)
        assert [Path(path).read_text() for path in done["former"] if ".hledger" in path] == ["older"]
        assert "Assets:WhiteBIT:Main" in left.read_text()


def test_a_sub_account_that_is_refused_on_a_later_page_is_left_out_whole(year, monkeypatch):
    def transfers(account, **given):
        yield SubAccountTransaction(MONTHS[0].add(days=2), "s", "main_to_sub", "USDT", Decimal(5))
        raise e.WhiteBitRefusedError("no")

    monkeypatch.setattr(year.client, "sub_account_transfers", transfers)
    with read_books(year.client, start=MONTHS[0], end=MONTHS[1], receipts=year.receipts) as books:
        assert EntryKind.SUB_ACCOUNT not in {entry.kind for entry in books.entries()}
        assert "could not be read: no" in books.warnings[0]
    statement = read_statement(year.client, start=MONTHS[0], end=MONTHS[1], main=True)
    assert {one.to_sub_accounts for one in statement.main} == {Decimal(0)}
    assert "could not be read: no" in statement.warnings[0]


class TestContinuing:
    def test_the_manifest_can_be_named(self, year, events, tmp_path):
        events(year)
        first = write(year, tmp_path / "a", MONTHS[0], MONTHS[1])
        year.until(MONTHS[2].add(hours=1))
        done = write(year, tmp_path / "b", MONTHS[1], MONTHS[2], continues=first["paths"]["manifest"])
        assert done["begins"] is False
        for wrong, text in (
            ({"start": MONTHS[1].add(days=1), "end": MONTHS[2]}, "The books to continue end at"),
            ({"start": MONTHS[1], "end": MONTHS[2], "continues": f"{tmp_path}/none.json"}, "there is no such file"),
            ({"start": MONTHS[1], "end": MONTHS[2], "continues": first["paths"]["beancount"][0]}, "is no manifest"),
        ):
            given = {"continues": first["paths"]["manifest"], **wrong}
            with pytest.raises(REFUSED, match=text):
                write(year, tmp_path / "c", **given)

    def test_books_that_several_end_before_must_be_named(self, year, events, tmp_path):
        events(year)
        write(year, tmp_path, MONTHS[0], MONTHS[1])
        [path] = tmp_path.glob("*.json")
        shutil.copy(path, path.with_name("journal-entries-20260131-20260201.json"))
        year.until(MONTHS[2].add(hours=1))
        with pytest.raises(REFUSED, match="Several books"):
            write(year, tmp_path, MONTHS[1], MONTHS[2])


@pytest.mark.parametrize(
    "quirk",
    [
        "two_records",
        "signed_amounts",
        "rounded_amounts",
        "interest_in_withdrawals",
        "no_ids",
        "short_pages",
        "oldest_first",
        "padded_amounts",
        "later_earnings",
    ],
)
def test_however_the_exchange_records_movements(quirk, tmp_path, events):
    year = Year(quirks=Quirks.named([quirk]))
    year.move(Operation.FLEX_INVEST, Flex.USDT, "USDT", "1000")
    year.until(BEGIN.add(days=3, hours=5))
    year.move(Operation.FLEX_INVEST, Flex.USDT, "USDT", "100")
    year.until(BEGIN.add(days=6, hours=5))
    year.move(Operation.FLEX_WITHDRAW, Flex.USDT, "USDT", "50")
    year.until(BEGIN.add(days=9, hours=5))
    year.move(Operation.FLEX_CLOSE, Flex.USDT, "USDT")
    year.until(BEGIN.add(days=11))
    events(year)
    done = write(year, tmp_path, BEGIN.subtract(days=1), BEGIN.add(days=10), fail_on_discrepancy=False)
    statement = read_statement(year.client, start=BEGIN.subtract(days=1), end=BEGIN.add(days=10))
    assert {one["kind"] for one in done["discrepancies"]} == {str(one.kind) for one in statement.discrepancies}
    held = ExchangeLedger(year.exchange).balances(BEGIN.add(days=10))
    assert Decimal(done["closing"]["main"]["USDT"]) == held["main:sandbox", "USDT"]
    bean_check(done["paths"]["beancount"][0])
    hledger(done["paths"]["hledger"][0], "check", "-s")


def test_an_exchange_that_does_not_show_when_terms_ended():
    year = Year(quirks=Quirks.named(["empty_times"]))
    year.pass_year(days=50)
    with read_books(year.client, start=BEGIN, end=MONTHS[1], receipts=year.receipts) as books:
        held = ExchangeLedger(year.exchange).balances(MONTHS[1])
        assert held["fixed", "USDT"] == 100
        for (role, ticker), amount in books.closing.items():
            assert amount == held.get((OF_LEDGER.get(role), ticker), 0), (role, ticker)
