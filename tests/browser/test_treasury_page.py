"""The Treasury page in a real Chromium, on a real Airflow that wants a password, against a sandbox exchange."""

from __future__ import annotations

import re
from decimal import Decimal
from importlib.metadata import version

import pytest
import requests

from airflow_provider_whitebit.moves.doubts import RECORD_STEPS, TRANSFER_STEPS
from tests.browser import page_fixture as scenes

pytestmark = pytest.mark.skipif(
    version("apache-airflow").startswith("3.0."), reason="Airflow 3.0 shows no pages of plugins"
)

ADDRESSES = (
    "/whitebit/treasury",
    "/whitebit/static/treasury/treasury.js",
    "/whitebit/api/connections",
    f"/whitebit/api/treasury?conn_id={scenes.CONNECTION}",
)
NO_DOUBT = "No move that you may see is in doubt."
DATA = re.compile("/whitebit/api/treasury")


class Visitor:
    """A user with a browser."""

    def __init__(self, browser, site, **options):
        options = {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "light"} | options
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(120_000)
        self.lending_url = site
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message):
        # Chromium warns about the sandbox of Airflow's own frames. This page must cause no message.
        ours = message.type in ("error", "warning") and "/whitebit/" in message.location.get("url", "")
        if ours and "escape its sandboxing" not in message.text:
            self.complaints.append(message.text)

    def log_in(self, name="boss"):
        self.page.goto(f"{self.lending_url}/")
        self.page.locator("input[name=username]").fill(name)
        self.page.locator("input[name=password]").fill(scenes.PASSWORDS[name])
        self.page.locator("button[type=submit]").click()
        self.page.wait_for_url(re.compile(r"^(?!.*/auth/login)"))
        return self

    def open(self, conn=scenes.CONNECTION):
        """The page by itself, without Airflow around it."""
        self.page.goto(f"{self.lending_url}/whitebit/treasury?conn_id={conn}")
        self.page.locator("#status", has_text=re.compile("UTC|not allowed")).wait_for()
        return self.page


@pytest.fixture
def visitor(chromium, site):
    made = []

    def visit(**options):
        made.append(Visitor(chromium, site, **options))
        return made[-1]

    yield visit
    for one in made:
        one.context.close()


def rows(page, caption):
    """The rows of a table: each a mapping from column to text."""
    table = page.locator("table", has=page.locator("caption", has_text=caption))
    names = table.locator("thead th").all_inner_texts()
    lines = [
        [cell.inner_text().strip() for cell in row.locator("th, td").all()] for row in table.locator("tbody tr").all()
    ]
    return [dict(zip(names, line, strict=True)) for line in lines]


def figure(text):
    """The number in a formatted figure."""
    return Decimal(re.sub(r"[^\d.]", "", text))


def wait_for_chart(page):
    """Wait for the earnings. A page that could not read them in time reads them again on request."""
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(8):
        try:
            return page.locator(".chart canvas").last.wait_for(timeout=15_000)
        except TooLate:
            page.locator("#refresh").click()
    raise AssertionError(f"The page shows no chart: {page.locator('body').inner_text()}")


def add_connection(scene, conn_id, host, key, secret):
    connection = {"connection_id": conn_id, "conn_type": "whitebit", "login": key, "password": secret, "host": host}
    scene.airflow.api.call("POST", "/api/v2/connections", connection)


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_without_a_login(site, scene, address):
    answer = requests.get(site + address, timeout=10)
    assert answer.status_code == 401
    assert scenes.CONNECTION not in answer.text
    assert requests.get(site + address, timeout=10, cookies={"_token": "made.up.token"}).status_code in (401, 403)


def test_a_browser_without_a_login_gets_a_sentence(visitor, site):
    page = visitor().page
    page.goto(f"{site}/whitebit/treasury")
    assert "Log in to Airflow" in page.locator("body").inner_text()


def test_in_airflows_navigation(visitor, site):
    visitor = visitor().log_in()
    page = visitor.page
    page.evaluate(
        "name => localStorage.setItem('whitebit_treasury_connections', JSON.stringify([name]))", scenes.CONNECTION
    )
    page.get_by_role("link", name="Treasury", exact=True).click()
    frame = page.frame_locator("iframe")
    frame.locator("caption", has_text="Position by asset").wait_for(state="attached")
    assert frame.locator("h1").inner_text() == "WhiteBIT Treasury"
    assert visitor.complaints == []


def test_the_figures_are_those_of_the_ledger(visitor, scene):
    visitor = visitor().log_in()
    page = visitor.open()
    ledger = scene.sandbox.ledger()
    held = {(entry["currency"], entry["planId"]): entry for entry in ledger["investments"] if entry["status"] == 1}
    shown = {(row["Asset"], row["Plan"]): row for row in rows(page, "Active Flex investments")}
    assert {key: figure(row["Invested"]) for key, row in shown.items()} == {
        key: Decimal(entry["invested"]) for key, entry in held.items()
    }
    for (ticker, _), row in shown.items():
        assert row["Auto-reinvest"] == ("off" if row["Max. rate"] == "15.00 %" else "on"), ticker
        # The sandbox pays what it advertises, by full hours.
        assert abs(figure(row["Realised, 30 days"]) - figure(row["Max. rate"])) <= Decimal("0.05"), row

    positions = {row["Asset"]: row for row in rows(page, "Position by asset")}
    idle = main_balance(scene)
    for ticker, row in positions.items():
        invested = sum(Decimal(entry["invested"]) for (name, _), entry in held.items() if name == ticker)
        assert figure(row["Idle in Main"]) == idle.get(ticker, 0)
        assert figure(row["Flex"]) == invested
        assert figure(row["Total"]) == figure(row["Idle in Main"]) + figure(row["Flex"]) + figure(row["Fixed"])
    assert positions["USDT"]["Fixed"] == "1,000.00"
    (term,) = rows(page, "Active Fixed investments")
    assert (term["Amount"], term["Rate per term"], term["Interest at maturity"]) == ("1,000.00", "9.00 %", "90.00 USDT")
    assert term["End"].endswith("in 118 days")
    assert visitor.complaints == []


def main_balance(scene):
    """The Main balance, read directly from the exchange."""
    from airflow_provider_whitebit.client.api import WhiteBitClient
    from airflow_provider_whitebit.client.signing import Credentials
    from airflow_provider_whitebit.client.transport import Transport

    client = WhiteBitClient(Transport(scene.sandbox.url, Credentials(scene.sandbox.api_key, scene.sandbox.api_secret)))
    return client.main_balance()


def test_earnings_as_chart_and_as_figures(visitor, scene):
    page = visitor().log_in().open()
    earnings = page.locator("#earnings")
    assert earnings.locator(".chart").count() == 3
    assert earnings.locator(".chart canvas").count() == 3
    plot = earnings.locator(".chart .plot").first
    assert plot.get_attribute("role") == "img"
    assert "in 30 days" in plot.get_attribute("aria-label")
    earnings.get_by_role("button", name="90 days").click()
    assert "in 90 days" in earnings.locator(".chart .plot").last.get_attribute("aria-label")
    earnings.locator(".chart summary").last.click()
    days = rows(page, "USDT earned by day")
    assert len(days) == 90
    total = figure(earnings.locator(".chart .readout").last.inner_text().split(" in ")[0])
    assert sum(figure(row["USDT"]) for row in days) == total > 0
    paid = [
        Decimal(entry["amount"])
        for entry in scene.sandbox.ledger()["transactions"]
        if entry["action"] == 4 and entry["ticker"] == "USDT"
    ]
    assert sum(paid) == total


def test_moves_lead_to_their_tasks(visitor, scene, site):
    visitor = visitor().log_in()
    page = visitor.open()
    moves = rows(page, "Last moves")
    assert [(row["Operation"], figure(row["Amount"]), row["Asset"]) for row in moves] == [
        ("Flex withdraw", Decimal("0.1"), "BTC"),
        ("Flex withdraw", Decimal("450.25"), "USDC"),
        ("Flex invest", Decimal(1750), "USDT"),
        ("Fixed invest", Decimal(1000), "USDT"),
        ("Flex invest", Decimal("0.25"), "BTC"),
        ("Flex invest", Decimal("1200.5"), "USDC"),
        ("Flex invest", Decimal(2500), "USDT"),
    ]
    # A mapped task, from within Airflow's frame, which may not navigate the window by itself.
    page.goto(f"{site}/plugin/whitebit-treasury")
    frame = page.frame_locator("iframe")
    frame.get_by_role("link", name="whitebit_browser.invest [1]").click()
    page.wait_for_url(re.compile(r"/dags/whitebit_browser/runs/[^/]+/tasks/invest/mapped/1"))
    page.get_by_text("invest").first.wait_for()
    # Times can hold these digits too.
    assert not re.search(r"(?<![\d.])404\b", page.locator("body").inner_text())
    assert visitor.complaints == []


def test_without_permission_for_the_connection_nothing_is_shown(visitor, site):
    visitor = visitor().log_in("guest")
    page = visitor.open()
    assert page.locator("#status").inner_text() == f"You are not allowed to read the connection '{scenes.CONNECTION}'."
    assert page.locator("table").count() == 0
    answer = page.request.get(f"{site}/whitebit/api/treasury?conn_id={scenes.CONNECTION}")
    assert answer.status == 403
    assert page.request.get(f"{site}/whitebit/api/connections").json()["connections"] == []


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed(visitor, site, method):
    page = visitor().log_in().page
    for address in ADDRESSES:
        assert getattr(page.request, method)(site + address).status == 405


def test_it_refreshes_each_minute_and_on_request(visitor):
    visitor = visitor().log_in()
    visitor.page.clock.install()
    page = visitor.open()
    data = re.compile("/whitebit/api/treasury")
    with page.expect_response(data):
        page.clock.fast_forward(61_000)
    with page.expect_response(data):
        page.get_by_role("button", name="Refresh").click()
    assert visitor.complaints == []


def test_on_a_phone(visitor, site):
    visitor = visitor(viewport={"width": 360, "height": 740})
    page = visitor.log_in().open()
    page.locator("caption", has_text="Last moves").wait_for(state="attached")
    wait_for_chart(page)
    for width in (360, 768, 1024, 1200):
        page.set_viewport_size({"width": width, "height": 740})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Nothing is cut off either: content that sticks out of a card would be hidden.
        sticking_out = page.evaluate(
            "[...document.querySelectorAll('td, th, p, li, code')]"
            ".filter(node => node.getBoundingClientRect().right > innerWidth + 1 && node.offsetParent).length"
        )
        assert sticking_out == 0
    assert visitor.complaints == []


def test_by_keyboard(visitor):
    page = visitor().log_in().open()
    wait_for_chart(page)
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(() => { const node = document.activeElement; const style = getComputedStyle(node);"
                " return [node.id || node.textContent, style.outlineStyle] })()"
            )
        )
    assert [name for name, _ in seen][:3] == [f"Connections: {scenes.CONNECTION}", "value-in", "refresh"]
    assert [name for name, _ in seen if name.endswith("days")] == ["30 days", "90 days"]
    assert {outline for _, outline in seen} == {"solid"}


def test_light_and_dark_as_airflow_has_it(visitor, site):
    visitor = visitor().log_in()
    page = visitor.page
    page.goto(f"{site}/plugin/whitebit-treasury")
    html = page.frame_locator("iframe").locator("html")
    html.wait_for()
    page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    page.frame_locator("iframe").locator("html[data-theme=dark]").wait_for()
    page.evaluate("document.documentElement.classList.replace('dark', 'light')")
    page.frame_locator("iframe").locator("html[data-theme=light]").wait_for()
    page.goto(f"{site}/whitebit/treasury")
    page.emulate_media(color_scheme="dark")
    page.locator("html[data-theme=dark]").wait_for()
    assert visitor.complaints == []


def test_an_exchange_in_maintenance(visitor, scene):
    add_connection(scene, "whitebit_maintained", scene.sandbox.url, scene.sandbox.api_key, scene.sandbox.api_secret)
    scene.sandbox.maintenance(notice="Maintenance until 04:00 UTC")
    try:
        page = visitor().log_in().open("whitebit_maintained")
    finally:
        scene.sandbox.maintenance(on=False)
    assert page.locator("#trouble").inner_text().splitlines()[:3] == [
        "The exchange is in maintenance.",
        "The account cannot be shown.",
        "The exchange said: Maintenance until 04:00 UTC",
    ]


def test_connections_from_the_list(visitor, site, scene):
    add_connection(scene, "whitebit_silent", "http://127.0.0.1:9", "key", "secret")
    visitor = visitor(viewport={"width": 400, "height": 800}).log_in()
    page = visitor.open()
    page.locator("#picker summary").focus()
    page.keyboard.press("Enter")
    page.locator("#connection:focus").wait_for()
    page.keyboard.type("silent")
    assert page.locator("#connections label").all_inner_texts() == ["whitebit_silent"]
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.keyboard.press("Enter")
    page.locator("#trouble", has_text="whitebit_silent: The account cannot be shown.").wait_for()
    assert page.url.endswith(f"?conn_id=whitebit_silent&conn_id={scenes.CONNECTION}")
    assert "sum" not in page.locator("#positions h2").first.inner_text()
    assert page.locator(".left-out").inner_text() == "Not in these sums: whitebit_silent (it cannot be shown)"
    both, each = rows(page, "Position by asset"), rows(page, "Position by connection")
    assert [(row["Asset"], row["Total"]) for row in both] != []
    assert {row["Connection"] for row in each} == {scenes.CONNECTION}
    assert {row["Asset"]: row["Total"] for row in both} == {row["Asset"]: row["Total"] for row in each}
    assert visitor.complaints == []


def test_plans_on_offer(visitor, scene):
    page = visitor().log_in().open()
    plans = rows(page, "Plans for assets in the account")
    rates = {(row["Kind"], row["Rate per year"]) for row in plans if row["Asset"] == "USDT"}
    assert {("Flex", "15.00 %"), ("Fixed, 180 days", "18.25 %")} <= rates


def test_values_and_forecast(visitor, site, scene):
    visitor = visitor(viewport={"width": 400, "height": 800}, color_scheme="dark").log_in()
    page = visitor.open()
    page.get_by_label("Values in").select_option("EUR")
    page.get_by_role("heading", name="Value in EUR").wait_for()
    assert page.url.endswith(f"?conn_id={scenes.CONNECTION}&value_in=EUR")
    values = {row["Asset"]: row for row in rows(page, "Value in EUR by asset")}
    total = figure(page.locator(".value").inner_text())
    assert abs(sum(figure(row["Value"]) for row in values.values()) - total) <= Decimal("0.05")
    assert values["USDT"]["Market"] == "USDT_EUR"
    (term,) = rows(page, "Terms that end, by day")
    assert (term["Amount"], term["Interest"]) == ("1,000.00", "90.00 USDT")
    picture = page.locator("#forecast [role=img]").last
    assert picture.get_attribute("aria-label").startswith("USDT expected until")
    page.locator("#forecast").get_by_role("button", name="90 days").click()
    page.locator("#forecast summary").last.click()
    assert len(rows(page, "USDT expected by day")) == 90
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert visitor.complaints == []


def test_no_secret_reaches_the_browser(visitor, site, scene):
    page = visitor().log_in().page
    for address in ADDRESSES:
        text = page.request.get(site + address).text()
        for secret in (scene.sandbox.api_key, scene.sandbox.api_secret):
            assert secret not in text


def test_an_exchange_that_does_not_answer(visitor, site, scene):
    add_connection(scene, "whitebit_gone", "http://127.0.0.1:9", "key", "secret-of-the-lost")
    page = visitor().log_in().open("whitebit_gone")
    trouble = page.locator("#trouble")
    assert "The account cannot be shown." in trouble.inner_text()
    assert "connection to the exchange failed" in trouble.inner_text()
    assert "secret-of-the-lost" not in page.content()
    assert trouble.inner_text().splitlines()[-2] == "Next step: Wait. This page tries again every minute."
    # The data from Airflow is still there.
    assert "No DAG that you may read" in page.locator("#moves").inner_text()


def test_a_doubt_is_at_the_top_with_its_steps(visitor, site, scene):
    new_visitor, visitor = visitor, visitor().log_in()
    page = visitor.open()
    assert page.locator("#doubts").inner_text() == NO_DOUBT
    run_id = scenes.leave_in_doubt(scene)
    page.locator("#refresh").click()
    page.locator(".doubts h2", has_text="1 move is in doubt").wait_for()
    (doubt,) = rows(page, "Moves in doubt")
    assert (doubt["Operation"], doubt["Amount"], doubt["Plan or route"]) == ("Flex invest", "7.50 SOL", scenes.SOL_PLAN)
    assert doubt["Task and run"].splitlines() == [f"{scenes.DOUBT_DAG}.invest", run_id]
    named, which = doubt["Journal entries"].splitlines()
    assert named.startswith("whitebit_move__whitebit_browser_doubt.invest.flex_invest__")
    assert which == "all Variables whose names begin with this"
    assert page.locator(".doubts ol li").all_inner_texts() == list(RECORD_STEPS)
    assert "another connection" not in page.locator(".doubts").inner_text()
    box = page.locator(".doubts").bounding_box()
    assert box["y"] + box["height"] < 1000
    page.locator(".doubts a").click()
    page.wait_for_url(re.compile(rf"/dags/{scenes.DOUBT_DAG}/runs/[^/]+/tasks/invest"))

    # On the page of another key it is shown too, and marked.
    scene.sandbox.add_key("another-key", "another-secret")
    add_connection(scene, "whitebit_other", scene.sandbox.url, "another-key", "another-secret")
    other = visitor.open("whitebit_other")
    other.locator(".doubts .tag", has_text="another connection").wait_for()

    # Who may edit the task sees that its move is in doubt, and nothing of the account.
    trader = new_visitor().log_in("trader").open()
    trader.locator(".doubts h2", has_text="1 move is in doubt").wait_for()
    (doubt,) = rows(trader, "Moves in doubt")
    assert doubt["Task and run"].splitlines() == [f"{scenes.DOUBT_DAG}.invest", run_id]
    assert doubt["Amount"] == "—"
    assert "You are not allowed to read the connection" in trader.locator("#trouble").inner_text()
    assert trader.locator("table").count() == 1
    assert new_visitor().log_in("guest").open().locator("table").count() == 0

    # A person looks at the evidence, and finds that the move ran.
    page = visitor.open()
    page.locator(".doubts summary").click()
    page.locator(".conclusion", has_text="2 records remain that may be this move.").wait_for()
    records = rows(page, "Records that may be this move")
    assert [(row["Amount"], row["Belongs to"]) for row in records] == [("7.50", "not known")] * 2
    chosen = page.locator("form.answer select").input_value()
    page.get_by_label("How you know").fill("The other one is the other program's")
    page.get_by_label("Type 7.5 SOL to confirm").fill("7.5 SOL")
    page.get_by_role("button", name="It ran").click()
    page.locator(".evidence", has_text=f"it ran ({chosen}). Reason: The other one").wait_for()
    page.get_by_role("button", name="Clear this task in Airflow").click()
    page.get_by_text("Airflow has cleared the task.").wait_for()
    assert scene.airflow.finished(scenes.DOUBT_DAG, run_id)["state"] == "success"
    receipt = scene.airflow.returned(scenes.DOUBT_DAG, run_id, "invest")
    assert (receipt["transaction_id"], receipt["resolved_by"], receipt["reconciled"]) == (chosen, "boss", True)
    assert receipt["reason"] == "The other one is the other program's"
    page = visitor.open()
    assert page.locator("#doubts").inner_text() == NO_DOUBT
    assert visitor.complaints == []


RECORDS = [
    {"transaction": f"tx_{number}", "at": f"2026-11-23T12:13:2{number}Z", "amount": "2500.5", "fits": True}
    | {"readable": True, "explained_by": None}
    for number in (1, 2)
]


@pytest.fixture
def one_doubt(visitor, site):
    """The page with one move in doubt, as a user sees it. :returns: the visitor, and what the page has sent."""

    def show(*, may_resolve=True, width=1280, **options):
        one = visitor(viewport={"width": width, "height": 900}, **options).log_in()
        task = {"dag_id": "desk", "run_id": "manual__1", "task_id": "move", "map_index": -1, "page": "dags/desk"}
        unknown = dict.fromkeys(("source", "target", "sub_account_id", "unreadable"))
        doubt = {"task": task, "key": "whitebit_move__move__", "intent_id": "a1", **unknown}
        doubt |= {"operation": "flex_invest", "ticker": "USDT", "amount": "2500.5", "plan_id": scenes.SOL_PLAN}
        doubt |= {"attempts": 1, "sent_at": "2026-11-23T12:13:20Z", "ours": True, "steps": RECORD_STEPS}
        evidence = dict.fromkeys(("open_until", "answer", "balances")) | {"others": [], "excluded": []}
        evidence |= {"connection": scenes.CONNECTION, "as_of": "2026-11-23T13:00:00Z", "candidates": RECORDS}
        evidence |= {"attempts": [{"sent": "2026-11-23T12:13:20+00:00 (nonce 1)", "outcome": "pending"}]}
        evidence |= {"remains": ["tx_1", "tx_2"], "needs_person": True, "conclusion": "2 records remain."}
        evidence |= {"mark": "0a1b2c3d", "id": "a1"}
        sent, one.doubt, one.evidence = [], doubt, evidence

        def answer(route):
            if route.request.method == "GET":
                shown = {"may_resolve": may_resolve, "confirm": "2500.5 USDT", "error": None, "evidence": evidence}
                return route.fulfill(json=shown)
            sent.append(route.request.post_data_json)
            return route.fulfill(status=409, json={"detail": "<b>jane</b> has already answered."})

        known = {"doubts": [doubt], "moves": []}
        data = {"accounts": [], "sums": None, "airflow": known, "switch": None}
        one.known = known
        one.page.route("**/whitebit/api/treasury*", lambda route: route.fulfill(json=data))
        one.page.route("**/whitebit/api/doubt*", answer)
        one.page.goto(f"{site}/whitebit/treasury?conn_id={scenes.CONNECTION}")
        one.page.locator(".doubts summary").focus()
        one.page.keyboard.press("Enter")
        one.page.locator(".conclusion").wait_for()
        return one, sent

    return show


def test_an_answer_by_keyboard(one_doubt):
    one, sent = one_doubt()
    keys = one.page.keyboard
    one.page.locator("form.answer select").focus()
    keys.press("ArrowDown")
    for text in ("Seen", "2500.5 USDT"):
        keys.press("Tab")
        keys.type(text)
    keys.press("Tab")
    assert one.page.evaluate("document.activeElement.textContent") == "It ran"
    keys.press("Tab")
    keys.press("Enter")
    one.page.locator(".problem", has_text="<b>jane</b> has already answered.").wait_for()
    given = {"intent_id": "a1", "answer": "did_not_run", "reason": "Seen", "confirm": "2500.5 USDT"}
    given |= {"seen": "0a1b2c3d"}
    assert sent == [given]
    one.page.get_by_role("button", name="It ran").click()
    one.page.locator("form.answer button:enabled").first.wait_for()
    assert sent[1] == {**given, "answer": "ran", "transaction_id": "tx_2"}


def test_enter_in_a_field_chooses_no_answer(one_doubt):
    one, sent = one_doubt()
    one.page.get_by_label("How you know").fill("Seen")
    one.page.get_by_label("Type 2500.5 USDT to confirm").fill("2500.5 USDT")
    one.page.keyboard.press("Enter")
    one.page.get_by_label("How you know").fill("")
    one.page.get_by_role("button", name="It ran").click()
    # The browser asks for the reason.
    assert one.page.evaluate("document.activeElement.name") == "reason"
    assert (sent, one.complaints) == ([], [])


def test_what_is_typed_stays_when_another_doubt_appears(one_doubt):
    one, _ = one_doubt()
    reason = one.page.get_by_label("How you know")
    reason.fill("Asked the ")
    one.known["doubts"] = [{**one.doubt, "intent_id": "b2"}, {**one.doubt, "ours": False}]
    one.page.evaluate("document.getElementById('refresh').click()")
    one.page.locator("h2", has_text="2 moves are in doubt").wait_for()
    one.page.keyboard.type("desk")
    assert reason.input_value() == "Asked the desk"
    # Another attempt is another question.
    one.known["doubts"] = [{**one.doubt, "attempts": 2}]
    one.page.get_by_role("button", name="Refresh").click()
    one.page.locator("h2", has_text="1 move is in doubt").wait_for()
    one.page.locator(".conclusion").wait_for()
    assert reason.input_value() == ""
    assert one.complaints == []


def test_evidence_that_could_not_be_loaded_is_asked_for_again(one_doubt):
    one, _ = one_doubt()
    lost = lambda route: route.abort()  # noqa: E731
    one.page.route("**/whitebit/api/doubt*", lost)
    one.page.get_by_role("button", name="Ask again").click()
    one.page.locator(".evidence .problem", has_text="Airflow did not answer.").wait_for()
    one.page.unroute("**/whitebit/api/doubt*", lost)
    one.page.get_by_role("button", name="Ask again").click()
    one.page.locator("form.answer").wait_for()


@pytest.mark.parametrize(
    ("cleared", "said"), [(2, "Airflow has cleared the task. It runs again."), (0, "Nothing was cleared, because")]
)
def test_a_task_that_airflow_does_not_clear(one_doubt, cleared, said):
    one, _ = one_doubt()
    one.evidence |= {"needs_person": False, "conclusion": "No person is needed."}
    one.page.route("**/clearTaskInstances", lambda route: route.fulfill(json={"total_entries": cleared}))
    one.page.get_by_role("button", name="Ask again").click()
    one.page.get_by_role("button", name="Clear this task in Airflow").click()
    one.page.get_by_text(said).wait_for()
    assert one.complaints == []


def test_a_user_who_may_not_answer_sees_the_evidence(one_doubt):
    one, sent = one_doubt(may_resolve=False)
    assert len(rows(one.page, "Records that may be this move")) == 2
    assert "Move a1. The exchange at 2026-11-23 13:00:00 UTC" in one.page.locator(".evidence").inner_text()
    assert one.page.locator("form.answer, .evidence button").count() == 0
    assert "Only users who may edit this task instance" in one.page.locator(".evidence").inner_text()
    assert (sent, one.complaints) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_evidence_on_a_phone(one_doubt, scheme):
    one, _ = one_doubt(width=400, color_scheme=scheme)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 400
    sticking_out = one.page.evaluate(
        "[...document.querySelectorAll('.doubts *')]"
        ".filter(node => node.getBoundingClientRect().right > innerWidth + 1 && node.offsetParent).length"
    )
    assert sticking_out == 0
    assert one.complaints == []


def test_the_steps_of_each_doubt_are_those_of_its_data(visitor, site):
    """The page has no instructions of its own: it shows the steps that come with each doubt."""
    visitor = visitor().log_in()
    task = {"dag_id": "desk", "run_id": "manual__1", "task_id": "move", "map_index": -1, "page": "dags/desk"}
    unknown = dict.fromkeys(("amount", "ticker", "plan_id", "sent_at", "attempts", "ours", "unreadable"))
    about = {"task": task, "key": "whitebit_move__move__", **unknown}
    answer = {
        "accounts": [],
        "sums": None,
        "airflow": {
            "doubts": [
                {**about, "operation": "flex_close", "steps": RECORD_STEPS},
                {**about, "operation": "transfer", "source": "main", "target": "spot", "steps": TRANSFER_STEPS},
                {**about, "operation": "fixed_close", "steps": RECORD_STEPS},
                {
                    **about,
                    "operation": None,
                    "unreadable": "<b>broken</b>",
                    "steps": ["Clear <i>it</i>.", "Then read."],
                },
            ],
            "moves": [],
        },
    }
    visitor.page.route("**/whitebit/api/treasury*", lambda route: route.fulfill(json=answer))
    visitor.page.goto(f"{site}/whitebit/treasury?conn_id={scenes.CONNECTION}")
    box = visitor.page.locator(".doubts")
    box.locator("h2", has_text="4 moves are in doubt").wait_for()
    lists = [steps.locator("li").all_inner_texts() for steps in box.locator("ol").all()]
    assert lists == [list(RECORD_STEPS), list(TRANSFER_STEPS), ["Clear <i>it</i>.", "Then read."]]
    operations = [[row.inner_text() for row in body.locator("tbody th").all()] for body in box.locator("table").all()]
    assert [[text.splitlines()[0].strip() for text in texts] for texts in operations] == [
        ["Flex close", "Fixed close"],
        ["Transfer"],
        ["unknown"],
    ]
    assert visitor.complaints == []


def test_each_fact_of_an_error_has_its_own_line(visitor, site):
    visitor = visitor().log_in()
    lists = dict.fromkeys(("positions", "flex", "fixed", "earnings"))
    facts = {"message": "The key may not use this.", "said": "No <b>permission</b>.", "next_steps": ["Ask."]}
    problems = [{"what": "Flex plans", **facts}, {"what": "Flex history", "message": "Not requested."}]
    exchange = {"error": None, "problems": problems, "as_of": "2026-11-23T12:00:00Z", **lists, "positions": []}
    answer = {"accounts": [{"conn_id": "c", "exchange": exchange}], "sums": None, "airflow": None}
    visitor.page.route("**/whitebit/api/treasury*", lambda route: route.fulfill(json=answer))
    visitor.page.goto(f"{site}/whitebit/treasury?conn_id={scenes.CONNECTION}")
    note = visitor.page.locator("#trouble .note")
    note.wait_for()
    assert note.inner_text().splitlines() == [
        "Some data could not be loaded.",
        "Flex plans: The key may not use this.",
        "The exchange said: No <b>permission</b>.",
        "Next step: Ask.",
        "Flex history: Not requested.",
    ]
    assert visitor.complaints == []


def test_prices_that_cannot_be_read_hide_no_values_of_another_exchange(visitor, site):
    visitor = visitor().log_in()
    lists = dict.fromkeys(("flex", "fixed", "earnings"))
    exchange = {"error": None, "problems": [], "as_of": "2026-11-23T12:00:00Z", **lists, "positions": []}
    known = {"totals": {"idle": "1", "flex": "2", "fixed": "0"}, "total": "3", "read_at": "2026-11-23T12:00:00Z"}
    values = {
        "one": {"error": None, "complete": True, "left_out": [], "assets": {}, "by_asset": {}, **known},
        "other": {"error": {"message": "The exchange did not answer.", "next_steps": []}},
    }
    answer = {
        "accounts": [{"conn_id": conn, "exchange": exchange} for conn in values],
        "sums": {"counted": list(values), "left_out": [], "positions": [], "earnings": None, "forecast": None},
        "values": {"value_in": "EUR", "accounts": values, "sums": None},
        "airflow": None,
    }
    visitor.page.route("**/whitebit/api/treasury*", lambda route: route.fulfill(json=answer))
    visitor.page.goto(f"{site}/whitebit/treasury?conn_id=one&conn_id=other&value_in=EUR")
    visitor.page.get_by_role("heading", name="Value in EUR by connection").wait_for()
    assert [(row["Connection"], row["Value"]) for row in rows(visitor.page, "Value in EUR by connection")] == [
        ("one", "3.00")
    ]
    assert visitor.page.locator("#values .left-out").inner_text() == "other: The exchange did not answer."
    assert visitor.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_stop_and_resume_by_keyboard_on_a_phone(visitor, scheme):
    boss = visitor(viewport={"width": 400, "height": 800}, color_scheme=scheme).log_in()
    page = boss.open()
    for word, button, done in (("stop", "Stop all moves …", "All moves are stopped"), ("resume", "Resume …", "")):
        page.get_by_role("button", name=button).focus()
        page.keyboard.press("Enter")
        page.keyboard.type(f"{word} for a test")
        page.keyboard.press("Tab")
        page.keyboard.type("no")
        page.keyboard.press("Enter")
        page.get_by_text(f"Type {word} to confirm.").wait_for()
        page.keyboard.press("Control+A")
        page.keyboard.type(word)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Resume …" if done else "Stop all moves …").wait_for()
        shown = page.locator("#switch").inner_text()
        assert (done in shown and "by boss: stop for a test" in shown) if done else "stopped" not in shown
    # The refused confirmations are the only complaints.
    assert [one for one in boss.complaints if "422" not in one] == []


def test_a_stop_is_shown_at_once_and_an_error_too(visitor, site):
    """Whatever else happens: the exchange does not answer, or another user gives an order at the same moment."""
    page = visitor().log_in().page
    stop = {"by": "boss", "reason": "market", "at": "2026-11-23T12:00:00Z"}
    switch = {"stop": None, "configuration": None, "may_switch": True}
    data = {"accounts": [], "sums": None, "airflow": None, "switch": switch}
    waiting, refused = [], []
    page.route(DATA, lambda route: waiting.append(route) if stop in waiting else route.fulfill(json=data))
    page.route("**/whitebit/api/stop", lambda route: route.fulfill(json={"stop": stop}))
    page.route("**/whitebit/api/resume", lambda route: refused.append(route))
    page.goto(f"{site}/whitebit/treasury?conn_id={scenes.CONNECTION}")
    page.get_by_role("button", name="Stop all moves …").click()
    page.get_by_label("Reason").fill("market")
    page.get_by_label("Type stop to confirm").fill("stop")
    waiting.append(stop)
    page.keyboard.press("Enter")
    page.locator("#switch h2", has_text="All moves are stopped").wait_for()
    assert page.evaluate("document.activeElement.id") == "order"
    # Another user resumes while this one does.
    page.get_by_role("button", name="Resume …").click()
    page.get_by_label("Reason").fill("over")
    page.get_by_label("Type resume to confirm").fill("resume")
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    waiting.clear()
    page.evaluate("document.getElementById('refresh').click()")
    page.get_by_role("button", name="Stop all moves …").wait_for()
    (route,) = refused
    route.fulfill(status=409, json={"detail": "The stop has changed since you saw it."})
    page.locator("#status", has_text="The stop has changed since you saw it.").wait_for()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"body": "<!doctype html><title>Log in</title>", "content_type": "text/html"}, "Airflow did not answer."),
        ({"body": "<h1>Bad gateway</h1>", "status": 502, "content_type": "text/html"}, "Airflow answered 502."),
        ({"json": {"detail": "Not authenticated"}, "status": 401}, "Your Airflow login has expired."),
        (None, "Airflow did not answer."),
    ],
)
def test_an_answer_that_is_not_airflows(visitor, answer, said):
    page = visitor().log_in().open()
    page.route(DATA, lambda route: route.abort() if answer is None else route.fulfill(**answer))
    page.get_by_role("button", name="Refresh").click()
    page.locator("#status", has_text=said).wait_for()
    status = page.locator("#status").inner_text()
    assert status.endswith("The data below is older.")
    assert "JSON" not in status
    assert page.locator("caption", has_text="Position by asset").count() == 1
    page.route("**/whitebit/api/stop", lambda route: route.abort() if answer is None else route.fulfill(**answer))
    page.get_by_role("button", name="Stop all moves …").click()
    page.get_by_label("Reason").fill("market")
    page.get_by_label("Type stop to confirm").fill("stop")
    page.keyboard.press("Enter")
    error = page.locator("#order-error", has_text=said)
    error.wait_for()
    assert ("It is not known whether anything was changed" in error.inner_text()) is (said[:4] != "Your")
    assert page.get_by_label("Reason").input_value() == "market"


def test_a_request_that_is_overtaken_is_dropped(visitor):
    page = visitor().log_in().open()
    held = []
    page.route(DATA, lambda route: held.append(route))
    for _ in range(3):
        page.get_by_role("button", name="Refresh").click()
        page.wait_for_timeout(200)
    failed = [route.request.failure for route in held]
    assert failed == ["net::ERR_ABORTED", "net::ERR_ABORTED", None]


def test_on_paper_it_is_dark_on_light(visitor):
    page = visitor(color_scheme="dark").log_in().open()
    page.emulate_media(color_scheme="dark", media="print")
    color = page.evaluate("getComputedStyle(document.querySelector('td')).color")
    assert max(map(int, re.findall(r"\d+", color)[:3])) < 100
    assert page.locator("button:visible, .controls:visible").count() == 0


def test_who_may_not_edit_the_variable_cannot_stop_moves(visitor, site):
    page = visitor().log_in("trader").open()
    page.locator("#moves", has_text="you must be allowed").wait_for()
    assert page.locator("#switch button").count() == 0
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = page.request.post(f"{site}/whitebit/api/stop", data={"reason": "x", "confirm": "stop"}, headers=headers)
    assert (answer.status, answer.json()["detail"][:27]) == (403, "You are not allowed to edit")


def test_another_site_cannot_stop_moves(visitor, site):
    page = visitor().log_in().page
    order = {"reason": "x", "confirm": "stop"}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        assert page.request.post(f"{site}/whitebit/api/stop", data=order, headers=headers).status == 403
    # A page of another site, in the browser that is logged in. No answer can be read, and nothing is done.
    other = page.context.new_page()
    other.goto(site.replace("127.0.0.1", "localhost") + "/whitebit/static/treasury/icon.svg")
    other.evaluate(
        "address => fetch(address, {method: 'POST', credentials: 'include', mode: 'no-cors', "
        "body: JSON.stringify({reason: 'x', confirm: 'stop'})}).catch(() => null)",
        f"{site}/whitebit/api/stop",
    )
    assert (
        page.request.get(f"{site}/whitebit/api/treasury?conn_id={scenes.CONNECTION}").json()["switch"]["stop"] is None
    )
