"""The hook: an Airflow connection becomes a client, and moves of money that happen once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_whitebit.client import shared, throttle
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import NONCES_KEPT, ExchangeClock
from airflow_provider_whitebit.client.errors import (
    WhiteBitAuthenticationError,
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitPermissionError,
    WhiteBitRateLimitError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.client.models import (
    Asset,
    FixedInvestmentStatus,
    FixedPlan,
    FlexAction,
    FlexInvestment,
    FlexInvestmentStatus,
    FlexPlan,
)
from airflow_provider_whitebit.client.transport import NO_RETRIES, RetryPolicy, Timeout, Transport
from airflow_provider_whitebit.hooks import connection_form
from airflow_provider_whitebit.hooks.airflow_compat import BaseHook, mask_secret
from airflow_provider_whitebit.hooks.asked import Call
from airflow_provider_whitebit.hooks.making import Asked, MoveMaker
from airflow_provider_whitebit.hooks.metrics import request_metrics
from airflow_provider_whitebit.hooks.settings import HOSTS, Settings, read_settings
from airflow_provider_whitebit.moves.intent import Move, Operation, Receipt
from airflow_provider_whitebit.treasury import choice
from airflow_provider_whitebit.treasury.conditions import Question
from airflow_provider_whitebit.treasury.planning import (
    Holdings,
    PlanOutcome,
    TreasuryPlan,
)

_LENDING_PAGE = "/crypto-lending"
_BOOKS = "/sandbox/ledger"


class WhiteBitHook(BaseHook):
    """Reads a WhiteBIT account and moves money in it.

    Reading goes through :meth:`get_conn`. Moves are methods of the hook: each is made once for the task that it runs
    in, whatever is lost, killed or retried; outside a task nothing is remembered when the process ends.

    :param whitebit_conn_id: the Airflow connection.
    """

    conn_name_attr = "whitebit_conn_id"
    default_conn_name = "whitebit_default"
    conn_type = connection_form.CONNECTION_TYPE
    hook_name = connection_form.HOOK_NAME

    def __init__(self, whitebit_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.whitebit_conn_id = whitebit_conn_id

    def __repr__(self) -> str:
        return f"WhiteBitHook({self.whitebit_conn_id!r})"

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The connection form's fields, for Airflow 3.0 to 3.2."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The connection form's labels and hidden fields, for Airflow 3.0 to 3.2."""
        return connection_form.hook_behaviour()

    @cached_property
    def settings(self) -> Settings:
        """The connection's fields, checked; its key and secret are masked in logs from here on.

        :raises WhiteBitConfigurationError: which field is wrong.
        """
        connection = self.get_connection(self.whitebit_conn_id)
        for secret in (connection.password, connection.login):
            if secret:
                mask_secret(secret)
        if connection.conn_type != self.conn_type:
            # Its secrets belong to somebody else than the exchange.
            raise WhiteBitConfigurationError(
                f"Connection {self.whitebit_conn_id!r} is of type {connection.conn_type!r}, not {self.conn_type!r}: "
                "nothing was sent. Name a connection of this type, or change its type."
            )
        try:
            extra = connection.extra_dejson
        except ValueError:
            extra = None
        if not isinstance(extra, dict):
            raise WhiteBitConfigurationError(f"Connection {self.whitebit_conn_id!r}: extra is not a JSON object.")
        return read_settings(
            self.whitebit_conn_id,
            login=connection.login,
            password=connection.password,
            host=connection.host,
            port=connection.port,
            schema=connection.schema,
            extra=extra,
        )

    @cached_property
    def _client(self) -> WhiteBitClient:
        return WhiteBitClient(self._transport(RetryPolicy()))

    @cached_property
    def _maker(self) -> MoveMaker:
        return MoveMaker(self)

    @cached_property
    def former(self) -> WhiteBitHook | None:
        """The hook of the account's old key, where this connection names a ``former_connection``.

        :raises WhiteBitConfigurationError: if that leads to another exchange.
        """
        if not self.settings.former_connection:
            return None
        former = WhiteBitHook(self.settings.former_connection)
        if former.settings.base_url != self.settings.base_url:
            raise WhiteBitConfigurationError(
                f"Connection {self.whitebit_conn_id!r}: former_connection {former.whitebit_conn_id!r} has another host "
                "or region. It holds the old key of the same account."
            )
        return None if former.settings.account == self.settings.account else former

    def _transport(self, retry: RetryPolicy, *, longest: int | None = None, **options: Any) -> Transport:
        settings = self.settings
        patience = settings.timeout if longest is None else min(settings.timeout, longest)
        return Transport(
            settings.base_url,
            settings.credentials,
            timeout=Timeout(connect=min(patience, 5), read=patience),
            verify=settings.verify_tls,
            nonce_window=settings.nonce_window,
            retry=retry,
            clock=ExchangeClock(nonces=_nonces(settings)),
            throttle=throttle.shared(settings.base_url),
            observer=request_metrics(),
            **options,
        )

    @property
    def site(self) -> str:
        """The address of the exchange's lending page in the connection's region; of a sandbox, that of its books."""
        host = urlsplit(self.settings.base_url).hostname or ""
        return f"{self.settings.base_url}{_LENDING_PAGE if host in HOSTS.values() else _BOOKS}"

    def get_conn(self) -> WhiteBitClient:
        """The client of this connection: one for each hook.

        :raises WhiteBitConfigurationError: which field of the connection is wrong.
        """
        return self._client

    def impatient_conn(self, longest: int) -> WhiteBitClient:
        """A client for somebody who is looking at a screen: it asks once and never waits for a rate limit.

        :param longest: seconds that an answer may take, if the connection does not say less.
        :raises WhiteBitConfigurationError: which field of the connection is wrong.
        """
        return WhiteBitClient(self._transport(NO_RETRIES, longest=longest, sleep=_never_wait))

    def test_connection(self) -> tuple[bool, str]:
        """Say in one sentence what the connection is good for. Sends reading calls only.

        :returns: whether it can be used for lending, and the sentence.
        """
        try:
            settings = self.settings
            client = WhiteBitClient(self._transport(NO_RETRIES))
        except WhiteBitConfigurationError as error:
            return False, error.message
        except Exception as error:
            return False, f"The connection cannot be read ({type(error).__name__})."
        where = f"{settings.base_url} (region {settings.region})"
        try:
            client.server_time()
        except WhiteBitError as error:
            return False, f"{where} does not answer: {error.message}"
        refusals = {
            "Flex plans": _refusal_of(lambda: list(client.flex_plans(limit=1))),
            "Fixed plans": _refusal_of(lambda: client.fixed_plans(ticker="USDC")),
            "balances": _refusal_of(lambda: client.main_balance("USDC")),
        }
        for refusal in refusals.values():
            if refusal is not None and not isinstance(refusal, WhiteBitPermissionError):
                return False, _why_not(where, refusal)
        rights = ", ".join(
            f"{name} {'allowed' if refusal is None else 'NOT allowed'}" for name, refusal in refusals.items()
        )
        try:
            if self.former is not None and (refusal := _refusal_of(self.former.get_conn().main_balance)):
                return False, f"Key accepted, but not that of former_connection: {_why_not(where, refusal)}"
            if self.former is not None and not _are_of_one_account(client, self.former.get_conn()):
                return False, (
                    "Key accepted, but the key of former_connection shows other balances or investments: it must be "
                    "the old key of the same account."
                )
        except Exception as error:
            why = error.message if isinstance(error, WhiteBitError) else type(error).__name__
            return False, f"Key accepted, but former_connection cannot be used: {why}"
        lending = refusals["Flex plans"] is None or refusals["Fixed plans"] is None
        advice = "" if lending else f" {WhiteBitPermissionError.advice}"
        return lending, (
            f"Key accepted by {where}: {rights}; this machine's clock is {_offset(client)} the exchange's; "
            f"{settings.limits_in_words}.{advice}"
        )

    def resume(self, event: Mapping[str, Any]) -> None:
        """Take into account what a :class:`WhiteBitSettleTrigger` found out; then make the same move again.

        :param event: the trigger's event: ``intent``, ``sent`` and perhaps ``error``.
        """
        if error := event.get("error"):
            self.log.warning("The triggerer could not settle the doubt (%s): settling it here", error)
        self._maker.resume(event)

    def flex_invest(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        amount: str | int | Decimal,
        with_reinvest: bool = False,
        dry_run: bool = False,
        key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Invest in a Flex plan, once. Vendor page: Lending (Flex plans), Create Flex investment.

        :param plan_id: the plan; or
        :param ticker: the asset: the open plan of it with the highest ``max_rate`` that admits the amount is taken.
        :param amount: how much, in units of the asset.
        :param with_reinvest: whether earnings are added to the investment.
        :param dry_run: check everything, send nothing.
        :param key: name of this move within the task, where the task makes several whose order may change.
        :param deferrable: raise ``SettleLater`` (``moves.drivers``) in place of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt; the error says whether money moved.
        :returns: the receipt; with ``dry_run`` one whose status is ``planned``.
        """

        def ask() -> Asked:
            wanted_plan, wanted_ticker = choice.one_of(plan_id, ticker)
            exact = choice.read_amount(amount)
            requested = _requested(
                Operation.FLEX_INVEST,
                wanted_plan,
                wanted_ticker,
                amount=format(exact, "f"),
                with_reinvest=with_reinvest,
            )

            def resolve() -> Move:
                if wanted_ticker is not None:
                    choice.known_ticker(wanted_ticker, self._assets)
                    plan = choice.plan_for_investment(self._plans(wanted_ticker), wanted_ticker, exact)
                    self.log.info(
                        "Chose plan %s of %s: rate %s, admits %s",
                        plan.id,
                        plan.ticker,
                        plan.max_rate,
                        format(exact, "f"),
                    )
                else:
                    plan = self._plan_on_offer(wanted_plan or "")
                choice.check_decimals(exact, plan.ticker, self._asset(plan.ticker).currency_precision)
                choice.check_plan_admits(plan, exact)
                return Move(Operation.FLEX_INVEST, plan.id, plan.ticker, exact, with_reinvest)

            return requested, resolve

        return self._maker.move(Operation.FLEX_INVEST, ask, dry_run=dry_run, key=key, deferrable=deferrable)

    def flex_withdraw(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        amount: str | int | Decimal,
        dry_run: bool = False,
        key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Withdraw from the investment in a Flex plan, once. Vendor page: Lending (Flex plans), Withdraw.

        :param plan_id: the plan; or
        :param ticker: the asset: of its active investments the one is taken that earns least and can give the amount.
        :param amount: how much, in units of the asset, or ``"all"``. What stays must be the plan's minimum or nothing.
        :param dry_run: check everything, send nothing.
        :param key: name of this move within the task, where the task makes several whose order may change.
        :param deferrable: raise ``SettleLater`` (``moves.drivers``) in place of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt; the error says whether money moved.
        :returns: the receipt; with ``dry_run`` one whose status is ``planned``.
        """

        def ask() -> Asked:
            wanted_plan, wanted_ticker = choice.one_of(plan_id, ticker)
            everything = isinstance(amount, str) and amount.strip().lower() == choice.ALL
            exact = None if everything else choice.read_amount(amount)
            requested = _requested(
                Operation.FLEX_WITHDRAW,
                wanted_plan,
                wanted_ticker,
                amount=choice.ALL if exact is None else format(exact, "f"),
            )

            def resolve() -> Move:
                plans = self._plans(wanted_ticker)
                held = self._investment(wanted_plan, wanted_ticker, plans, exact)
                taken = held.invested if exact is None else exact
                choice.check_decimals(taken, held.currency, self._asset(held.currency).currency_precision)
                plan = next((plan for plan in plans if plan.id == held.plan_id), None)
                choice.check_withdrawal(held, plan, taken)
                return Move(Operation.FLEX_WITHDRAW, held.plan_id, held.currency, taken)

            return requested, resolve

        return self._maker.move(Operation.FLEX_WITHDRAW, ask, dry_run=dry_run, key=key, deferrable=deferrable)

    def flex_close(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        dry_run: bool = False,
        key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Close the investment in a Flex plan, once. Vendor page: Lending (Flex plans), Close.

        :param plan_id: the plan; or
        :param ticker: the asset, if one investment of it is active.
        :param dry_run: check everything, send nothing.
        :param key: name of this move within the task, where the task makes several whose order may change.
        :param deferrable: raise ``SettleLater`` (``moves.drivers``) in place of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt; the error says whether money moved.
        :returns: the receipt; with ``dry_run`` one whose status is ``planned``.
        """

        def ask() -> Asked:
            wanted_plan, wanted_ticker = choice.one_of(plan_id, ticker)
            requested = _requested(Operation.FLEX_CLOSE, wanted_plan, wanted_ticker)

            def resolve() -> Move:
                held = self._investment(wanted_plan, wanted_ticker, [], None)
                return Move(Operation.FLEX_CLOSE, held.plan_id, held.currency, held.invested)

            return requested, resolve

        return self._maker.move(Operation.FLEX_CLOSE, ask, dry_run=dry_run, key=key, deferrable=deferrable)

    def flex_auto_reinvest(
        self, *, plan_id: str | None = None, ticker: str | None = None, enabled: bool, dry_run: bool = False
    ) -> dict[str, Any]:
        """Switch auto-reinvest of the investment in a Flex plan. Moves no money; doing it twice changes nothing.

        :param plan_id: the plan; or
        :param ticker: the asset, if one investment of it is active.
        :param enabled: on or off.
        :param dry_run: check everything, send nothing.
        :returns: ``operation``, ``plan_id``, ``ticker``, ``enabled`` and ``status`` (``executed`` or ``planned``).
        :raises WhiteBitError: refused or unreachable.
        """
        wanted_plan, wanted_ticker = choice.one_of(plan_id, ticker)
        held = self._investment(wanted_plan, wanted_ticker, [], None)
        self._maker.check_limits(held.currency, None)
        if not dry_run:
            self.get_conn().flex_auto_reinvest(held.plan_id, enabled=enabled)
        return {
            "operation": "flex_auto_reinvest",
            "plan_id": held.plan_id,
            "ticker": held.currency,
            "enabled": enabled,
            "status": "planned" if dry_run else "executed",
        }

    def fixed_invest(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        days: int | str | None = None,
        amount: str | int | Decimal,
        dry_run: bool = False,
        key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Invest in a Fixed plan, once. Vendor page: Lending (Fixed plans), Invest.

        :param plan_id: the plan; or
        :param ticker: the asset: the open plan of it with the highest percentage per day that admits the amount.
        :param days: with ``ticker``: only plans of this term.
        :param amount: how much, in units of the asset.
        :param dry_run: check everything, send nothing.
        :param key: name of this move within the task, where the task makes several whose order may change.
        :param deferrable: raise ``SettleLater`` (``moves.drivers``) in place of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt; the error says whether money moved.
        :returns: the receipt; with ``dry_run`` one whose status is ``planned``.
        """

        def ask() -> Asked:
            wanted_plan, wanted_ticker = choice.one_of(plan_id, ticker)
            term = choice.read_days(days)
            exact = choice.read_amount(amount)
            requested = _requested(
                Operation.FIXED_INVEST, wanted_plan, wanted_ticker, amount=format(exact, "f"), days=term
            )

            def resolve() -> Move:
                if wanted_ticker is not None:
                    choice.known_ticker(wanted_ticker, self._assets)
                    plan = choice.fixed_plan_for_investment(
                        self.get_conn().fixed_plans(ticker=wanted_ticker), wanted_ticker, exact, term
                    )
                    self.log.info("Chose fixed plan %s: %s %% over %s minutes", plan.id, plan.percent, plan.duration)
                else:
                    plan = self._fixed_plan(wanted_plan or "")
                choice.check_decimals(exact, plan.ticker, self._asset(plan.ticker).currency_precision)
                choice.check_fixed_plan_admits(plan, exact)
                return Move(Operation.FIXED_INVEST, plan.id, plan.ticker, exact)

            return requested, resolve

        return self._maker.move(Operation.FIXED_INVEST, ask, dry_run=dry_run, key=key, deferrable=deferrable)

    def fixed_close(
        self,
        *,
        investment_id: str | None = None,
        plan_id: str | None = None,
        ticker: str | None = None,
        dry_run: bool = False,
        key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Close a Fixed investment before its term ends, once: its interest is forfeited. Vendor page: Lending
        (Fixed plans), Close.

        :param investment_id: the investment; or
        :param plan_id: the plan, if one investment in it is active; or
        :param ticker: the asset, if one Fixed investment of it is active.
        :param dry_run: check everything, send nothing.
        :param key: name of this move within the task, where the task makes several whose order may change.
        :param deferrable: raise ``SettleLater`` (``moves.drivers``) in place of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt; the error says whether money moved.
        :returns: the receipt; with ``dry_run`` one whose status is ``planned``.
        """

        def ask() -> Asked:
            if investment_id not in (None, ""):
                if plan_id not in (None, "") or ticker not in (None, ""):
                    raise WhiteBitValidationError("Give either investment_id, or plan_id, or ticker.")
                wanted, wanted_plan, wanted_ticker = choice.read_identifier("investment_id", investment_id), None, None
            else:
                wanted = None
                wanted_plan, wanted_ticker = choice.one_of(plan_id, ticker)
            requested = _requested(Operation.FIXED_CLOSE, wanted_plan, wanted_ticker, investment_id=wanted)

            def resolve() -> Move:
                client = self.get_conn()
                if wanted is not None:
                    held = next(iter(client.fixed_investments(investment=wanted)), None)
                    if held is None or not held.active:
                        raise WhiteBitValidationError(
                            f"investment_id is {wanted}, which is no active Fixed investment."
                        )
                else:
                    active = client.fixed_investments(
                        ticker=wanted_ticker, investment_status=FixedInvestmentStatus.ACTIVE
                    )
                    held = choice.fixed_investment_for_close(list(active), wanted_plan, wanted_ticker)
                return Move(Operation.FIXED_CLOSE, held.plan.id, held.plan.ticker, held.amount, investment_id=held.id)

            return requested, resolve

        return self._maker.move(Operation.FIXED_CLOSE, ask, dry_run=dry_run, key=key, deferrable=deferrable)

    def transfer(
        self,
        *,
        ticker: str,
        amount: str | int | Decimal,
        source: str,
        target: str,
        dry_run: bool = False,
        key: str | None = None,
        deferrable: bool = False,
    ) -> list[Receipt]:
        """Move an asset between balances, once. Vendor page: Transfer between balances.

        :param ticker: the asset.
        :param amount: how much, in units of the asset, or ``"all"`` that ``source`` holds.
        :param source: ``main``, ``spot`` or ``collateral``.
        :param target: likewise.
        :param dry_run: check everything, send nothing.
        :param key: name of this move within the task, where the task makes several whose order may change.
        :param deferrable: raise ``SettleLater`` (``moves.drivers``) in place of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt; the error says whether money moved.
        :returns: a receipt for each move: two from ``spot`` to ``collateral`` or back, because they go through Main.
        """
        try:
            asset = choice.read_ticker(ticker)
            steps = choice.ways(choice.read_account("source", source), choice.read_account("target", target))
            everything = isinstance(amount, str) and amount.strip().lower() == choice.ALL
            exact = None if everything else choice.read_amount(amount)
        except WhiteBitError as error:
            self.tell_what_stands(error, key or str(Operation.TRANSFER))
            raise
        receipts: list[Receipt] = []
        calls: list[Call] = []
        for number, (leaves, enters) in enumerate(steps, 1):
            # The second step moves what the first one has moved, whatever lies in Main besides.
            taken = receipts[0].amount if receipts else exact
            name = key if key is None or len(steps) == 1 else f"{key}.{number}"
            try:
                receipt = self._maker.move(
                    Operation.TRANSFER,
                    partial(self._ask_transfer, asset, taken, leaves, enters, first=number == 1),
                    dry_run=dry_run,
                    key=name,
                    deferrable=deferrable,
                    within=calls,
                    whole=f"{steps[0][0]} to {steps[-1][1]}",
                )
            except BaseException as error:
                for call in calls:
                    # Asked for again in this run it is the same transfer, its first step too.
                    call.failed = True
                if isinstance(error, WhiteBitError) and receipts and not dry_run:
                    error.after(f"the transfer of {taken:f} {asset} from {steps[0][0]} to {steps[0][1]}")
                raise
            receipts.append(receipt)
        return receipts

    def _ask_transfer(self, ticker: str, amount: Decimal | None, source: str, target: str, *, first: bool) -> Asked:
        requested = _requested(
            Operation.TRANSFER,
            None,
            ticker,
            amount=choice.ALL if amount is None else format(amount, "f"),
            source=source,
            target=target,
        )

        def resolve() -> Move:
            decimals = min(self._asset(ticker).currency_precision, choice.TRANSFER_DECIMALS)
            taken = amount
            if first:
                held = self.balances(source, ticker)[ticker]
                taken = held if taken is None else taken
                choice.check_decimals(taken, ticker, decimals)
                if taken > held or taken == 0:
                    raise WhiteBitValidationError(
                        f"amount is {taken:f}, but the {source} balance holds {held:f} {ticker}."
                    )
            return Move(Operation.TRANSFER, "", ticker, taken, source=source, target=target)

        return requested, resolve

    def balances(self, account: str = choice.MAIN, ticker: str | None = None) -> dict[str, Decimal]:
        """What one of the account's balances holds by ticker; of the spot balance, what is available.

        :param account: ``main``, ``spot`` (also ``trade``) or ``collateral``.
        :param ticker: only this asset; all by default.
        :raises WhiteBitError: unknown account or asset, refused or unreachable.
        """
        where = choice.read_account("account", account)
        client = self.get_conn()
        if ticker is not None:
            # The exchange itself answers 0 for a ticker that it does not know: a typing error would look like poverty.
            choice.known_ticker(ticker, self._assets)
        if where == choice.MAIN:
            return client.main_balance(ticker)
        if where == choice.COLLATERAL:
            return client.collateral_balance(ticker)
        return {name: balance.available for name, balance in client.trade_balance(ticker).items()}

    def observe(self, question: Question, since: int | None = None) -> Any:
        """Ask one of the questions that conditions are judged by.

        :param question: which.
        :param since: for earnings and closures: none before this Unix second.
        :raises WhiteBitError: refused or unreachable.
        :returns: balances by ticker, or a list of records.
        """
        client = self.get_conn()
        match question:
            case Question.FLEX_INVESTMENTS:
                return list(client.flex_investments())
            case Question.FLEX_PAYMENTS:
                return list(client.flex_payments(date_from=since))
            case Question.FLEX_CLOSURES:
                closed = (FlexAction.CLOSE_INVESTMENT,)
                return list(client.flex_history(date_from=since, action_types=closed))
            case Question.FIXED_INVESTMENTS:
                return list(client.fixed_investments())
            case _:
                return self.balances(str(question))

    def holdings(self, *accounts: str) -> Holdings:
        """What the account holds now: Main, Flex plans and active investments.

        :param accounts: further balances to read: ``spot``, ``collateral``.
        :raises WhiteBitError: refused or unreachable.
        """
        client = self.get_conn()
        active = client.flex_investments(investment_status=FlexInvestmentStatus.ACTIVE)
        return Holdings(
            main=client.main_balance(),
            plans=tuple(client.flex_plans()),
            investments=tuple(active),
            assets=self._assets,
            **{name: self.balances(name) for name in accounts if name != choice.MAIN},
        )

    def carry_out(
        self,
        make_plan: Callable[[Sequence[Receipt]], TreasuryPlan],
        requested: Mapping[str, Any],
        *,
        dry_run: bool = False,
        deferrable: bool = False,
        key: str = "plan",
    ) -> PlanOutcome:
        """Plan moves and make each of them once; a task that is run again goes on where it was.

        A run of the task that was broken off is followed by a new plan, out of what the account holds then. When all
        moves of a plan have been made, the task moves nothing any more, whoever clears it.

        :param make_plan: the plan to carry out now, given the receipts of the moves that this task has made before.
        :param requested: the caller's parameters as plain JSON: cleared with others, the task refuses to go on.
        :param dry_run: plan, and send nothing; what earlier runs have on its way is settled.
        :param deferrable: raise ``SettleLater`` (``moves.drivers``) in place of waiting in this process.
        :param key: name of the plan within the task.
        :raises WhiteBitPlanError: moves were refused; those of other assets were made.
        :raises WhiteBitError: refused, unreachable or in doubt; the error says what was made.
        :returns: status, plan, and the receipts of this task, of earlier runs too.
        """
        return self._maker.carry_out(make_plan, requested, dry_run=dry_run, deferrable=deferrable, key=key)

    def tell_what_stands(self, error: WhiteBitError, key: str) -> None:
        """Let an error that comes before a move was asked for say what earlier runs of the task have made.

        :param error: it is changed: ``money_moved`` is ``None`` where they left a move in doubt.
        :param key: name of the move within the task.
        """
        self._maker.tell_what_stands(error, key)

    @cached_property
    def _assets(self) -> dict[str, Asset]:
        return self.get_conn().assets()

    def _asset(self, ticker: str) -> Asset:
        choice.known_ticker(ticker, self._assets)
        return self._assets[ticker]

    def _plans(self, ticker: str | None) -> list[FlexPlan]:
        return list(self.get_conn().flex_plans(ticker=ticker))

    def _plan_on_offer(self, plan_id: str) -> FlexPlan:
        for plan in self._plans(None):
            if plan.id.lower() == plan_id:
                return plan
        raise WhiteBitValidationError(
            f"plan_id is {plan_id}, which is not among the plans on offer: it does not exist, is paused, is sold out, "
            "or is private to others."
        )

    def _fixed_plan(self, plan_id: str) -> FixedPlan:
        for plan in self.get_conn().fixed_plans():
            if plan.id.lower() == plan_id:
                return plan
        raise WhiteBitValidationError(f"plan_id is {plan_id}, which is not among the Fixed plans.")

    def _investment(
        self, plan_id: str | None, ticker: str | None, plans: list[FlexPlan], amount: Decimal | None
    ) -> FlexInvestment:
        """The active investment that is meant. :raises WhiteBitValidationError: if there is none, or several."""
        client = self.get_conn()
        if plan_id is None:
            wanted = ticker or ""
            choice.known_ticker(wanted, self._assets)
            active = list(client.flex_investments(ticker=wanted, investment_status=FlexInvestmentStatus.ACTIVE))
            held = choice.investment_for_withdrawal(active, plans, wanted, amount)
            self.log.info("Chose the investment in plan %s: %s %s", held.plan_id, format(held.invested, "f"), wanted)
            return held
        held_here = [entry for entry in client.flex_investments(plan=plan_id) if entry.active]
        if not held_here:
            raise WhiteBitValidationError(f"There is no active investment in plan {plan_id}.")
        return held_here[0]


def _never_wait(seconds: float) -> None:
    """:raises WhiteBitRateLimitError: always."""
    raise WhiteBitRateLimitError(f"Held back here for {seconds:.0f} s more: the exchange's rate limit was reached.")


def _requested(operation: Operation, plan_id: str | None, ticker: str | None, **more: Any) -> dict[str, Any]:
    return {"operation": str(operation), "plan_id": plan_id, "ticker": ticker, **more}


def _are_of_one_account(*clients: WhiteBitClient) -> bool:
    """Whether two keys show the same holdings. Asked twice: something may be moved in between."""

    def holdings(client: WhiteBitClient) -> tuple[Any, Any]:
        held = {ticker: amount for ticker, amount in client.main_balance().items() if amount}
        with suppress(WhiteBitPermissionError):
            return held, {investment.id for investment in client.flex_investments(limit=100)}
        return held, None

    for _ in range(2):
        (held, invested), (also_held, also_invested) = map(holdings, clients)
        if held == also_held and (None in (invested, also_invested) or invested == also_invested):
            return True
    return False


def _refusal_of(call: Callable[[], object]) -> WhiteBitError | None:
    try:
        call()
    except WhiteBitError as error:
        return error
    return None


def _why_not(where: str, error: WhiteBitError) -> str:
    if isinstance(error, WhiteBitAuthenticationError):
        if "this action is unauthorized" in error.message.lower():
            return (
                f"{where} knows the key but does not let it act: it is disabled (keys switch themselves off after 14 "
                "days without use), or this machine's IP address is not on its list."
            )
        return (
            f"{where} does not accept the signature: API key or API secret is wrong, or they belong to another region."
        )
    return f"{where} refused: {error.message}"


def _nonces(settings: Settings) -> shared.Numbers:
    """So that processes of this machine do not use each other's nonces."""
    return shared.numbers(f"nonce|{settings.base_url}|{settings.credentials.api_key}", NONCES_KEPT)


def _offset(client: WhiteBitClient) -> str:
    offset = client.clock.offset_ms
    return f"{abs(offset)} ms {'behind' if offset >= 0 else 'ahead of'}"
