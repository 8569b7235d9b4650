"""The hook: an Airflow connection becomes a client that reads, and moves of money that happen once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import urlsplit

from airflow_provider_whitebit.client import _moving
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitUnavailableError,
    shown,
)
from airflow_provider_whitebit.client.models import FlexAction, Record
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks import connection_form
from airflow_provider_whitebit.hooks.airflow_compat import BaseHook, questions_take_turns, runs_for_airflow
from airflow_provider_whitebit.hooks.connection_test import describe_connection
from airflow_provider_whitebit.hooks.executor import MoveExecutor, Options
from airflow_provider_whitebit.hooks.journals import markers_for, spending_log_for
from airflow_provider_whitebit.hooks.move_keys import PLAN
from airflow_provider_whitebit.hooks.settings import HOSTS, Settings, settings_of
from airflow_provider_whitebit.hooks.stop import check_stop
from airflow_provider_whitebit.hooks.transports import make_transport
from airflow_provider_whitebit.moves import known, parsing
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.drivers import read_used_limits
from airflow_provider_whitebit.moves.execution import ApiKey
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.moves.journal import MoveMarkers, SharedMarkers, SharedSpendingLog, SpendingLog
from airflow_provider_whitebit.moves.limits import AUTO_REINVEST
from airflow_provider_whitebit.moves.requests import (
    FixedClose,
    FixedInvest,
    FlexClose,
    FlexInvest,
    FlexWithdraw,
    SubAccountTransfer,
    Transfer,
    parse,
)
from airflow_provider_whitebit.treasury.conditions import Names, Question
from airflow_provider_whitebit.treasury.planning import Holdings, PlanOutcome
from airflow_provider_whitebit.treasury.promises import read_holdings
from airflow_provider_whitebit.treasury.requests import PlanRequest

if TYPE_CHECKING:
    from airflow.sdk import Connection

_LENDING_PAGE = "/crypto-lending"
_SANDBOX_LEDGER = "/sandbox/ledger"
#: How often Airflow is asked again about a connection if its answer has another name.
_MORE_QUESTIONS = 2

Amount = str | int | Decimal


class WhiteBitHook(BaseHook):
    """Reads a WhiteBIT account and moves money in it.

    :meth:`get_conn` returns a client that can only read. The methods below move money. Each move is made once for the
    task that it runs in, whatever is lost, killed or retried. Outside a task nothing is remembered when the process
    ends.

    Within a task, a move is known by its key: by default its operation, for example ``flex_invest``. The same key with
    the same parameters means the same move. The same key with other parameters is refused. With an idempotency key, a
    move is known to all tasks that use the API key: whatever the dag run, map index, task or DAG, it is made once.

    Methods that move money raise a :class:`WhiteBitError` that says whether money moved.

    :param whitebit_conn_id: the Airflow connection.
    """

    conn_name_attr = "whitebit_conn_id"
    default_conn_name = "whitebit_default"
    conn_type = connection_form.CONNECTION_TYPE
    hook_name = connection_form.HOOK_NAME

    def __init__(self, whitebit_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.whitebit_conn_id = whitebit_conn_id
        self._connection_failed = False
        #: The name that a secrets backend has for the connection, if it is another one.
        self._translated = ""

    def __repr__(self) -> str:
        return f"WhiteBitHook({self.whitebit_conn_id!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the hook without what it has made: a copy opens sessions and reads its connection again."""
        made = {*self._made(), "_log"}
        return {name: value for name, value in vars(self).items() if name not in made}

    @classmethod
    def _made(cls) -> set[str]:
        return {name for name, value in vars(cls).items() if isinstance(value, cached_property)}

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
        """The connection's fields, checked. Key and secret are masked in logs from here on.

        :raises WhiteBitConfigurationError: which field is wrong.
        """
        return settings_of(self.whitebit_conn_id, self._connection())

    def _connection(self) -> Connection:
        """Airflow's answer about the connection.

        It may have another name: some secrets backends translate names, always in the same way. But it may also be the
        answer to another question: of another thread (before Airflow 3.2), or one that a signal kept from being read.

        :raises WhiteBitConfigurationError: there is no name.
        :raises WhiteBitUnavailableError: it is another connection than that of this name.
        """
        name: object = self.whitebit_conn_id
        if not isinstance(name, str) or parsing.given(name) is None:
            raise WhiteBitConfigurationError(
                f"whitebit_conn_id is {shown(name)}: write the name of a connection.",
                next_step="Correct the parameter. Then clear the task.",
            )
        connection = self.get_connection(name)
        if connection.conn_id in (None, name, self._translated) or not runs_for_airflow():
            return connection
        again = {self.get_connection(name).conn_id for _ in range(_MORE_QUESTIONS)}
        if again == {connection.conn_id} and questions_take_turns():
            self._translated = connection.conn_id
            return connection
        raise WhiteBitUnavailableError(
            f"Airflow answered with connection {connection.conn_id!r} instead of {name!r}: nothing was sent.",
            next_step="Run the task again. Before Airflow 3.2, threads of a task that ask Airflow at the same time can "
            "get each other's answers: make the hooks, and read their settings, before the threads start. Secrets "
            "backends that translate names of connections need Airflow 3.2 or later.",
        )

    def reread_connection(self) -> bool:
        """Read the connection again. If it has changed, everything that was made from it is made again.

        Long waits call it before each request. A connection that could be read before may be missing once: a secrets
        backend may not have answered.

        :raises WhiteBitConfigurationError: which field is wrong.
        :raises WhiteBitUnavailableError: it could be read before, and cannot be read this time.
        :raises Exception: of Airflow: it cannot be read, the second time or from the beginning.
        :returns: whether it has changed.
        """
        before = vars(self).get("settings")
        try:
            connection = self._connection()
        except Exception as error:
            if before is None or self._connection_failed:
                raise
            self._connection_failed = True
            raise WhiteBitUnavailableError(
                f"Airflow could not read connection {self.whitebit_conn_id!r} ({type(error).__name__})."
            ) from error
        self._connection_failed = False
        settings = settings_of(self.whitebit_conn_id, connection)
        if settings == before:
            return False
        for name in self._made():
            vars(self).pop(name, None)
        vars(self)["settings"] = settings
        return before is not None

    @cached_property
    def previous(self) -> WhiteBitHook | None:
        """The hook of the account's old key, if this connection names a ``previous_conn_id``.

        :raises WhiteBitConfigurationError: it leads to another exchange.
        """
        if not self.settings.previous_conn_id:
            return None
        previous = WhiteBitHook(self.settings.previous_conn_id)
        if previous.settings.account == self.settings.account:
            return None
        if previous.settings.exchange != self.settings.exchange:
            raise WhiteBitConfigurationError(
                f"Connection {self.whitebit_conn_id!r}: previous_conn_id {previous.whitebit_conn_id!r} has another "
                "host or region. It must hold the old key of the same account."
            )
        return previous

    @property
    def lending_url(self) -> str:
        """The URL of the exchange's lending page in the connection's region; of a sandbox, that of its ledger."""
        host = urlsplit(self.settings.base_url).hostname or ""
        return f"{self.settings.base_url}{_LENDING_PAGE if host in HOSTS.values() else _SANDBOX_LEDGER}"

    def get_conn(
        self, timeout: int | None = None, retries: int | None = None, all_calls: int | None = None
    ) -> WhiteBitClient:
        """A client that can only read. Without parameters, the same one each time.

        :param timeout: longest time for one call, in seconds. The connection's own timeout counts if it is shorter.
        :param retries: how often a call is repeated. With 0 a call never waits for the rate limit either.
        :param all_calls: longest time for all calls of the client together, in seconds from the first one on.
        :raises WhiteBitConfigurationError: which field of the connection is wrong.
        """
        if timeout is None and retries is None and all_calls is None:
            return self._client
        return WhiteBitClient(make_transport(self.settings, timeout=timeout, retries=retries, all_calls=all_calls))

    @cached_property
    def _client(self) -> WhiteBitClient:
        return WhiteBitClient(make_transport(self.settings))

    @cached_property
    def _account(self) -> Account:
        return Account(self.get_conn(), self._wait_for_lists)

    @cached_property
    def _executor(self) -> MoveExecutor:
        return MoveExecutor(self)

    @cached_property
    def _api_key(self) -> ApiKey:
        own, previous = markers_for(self.settings.account), self._previous_api_key
        spending = spending_log_for(self.settings.account)
        if previous is None:
            return self._key_of(self, own, spending)
        return self._key_of(self, SharedMarkers(own, previous.markers), SharedSpendingLog(spending, previous.spending))

    @cached_property
    def _previous_api_key(self) -> ApiKey | None:
        previous = self.previous
        if previous is None:
            return None
        account = previous.settings.account
        return self._key_of(previous, markers_for(account), spending_log_for(account))

    def _key_of(self, owner: WhiteBitHook, markers: MoveMarkers, spending: SpendingLog) -> ApiKey:
        """The key of this connection or of its ``previous_conn_id``. Name and margin are those of this connection."""
        return ApiKey(
            client=_moving.MovingClient(owner.get_conn()._transport),
            fingerprint=owner.settings.account,
            connection=self.whitebit_conn_id,
            markers=markers,
            reconcile_margin_ms=self.settings.reconcile_margin_ms,
            spending=spending,
        )

    def limits_used(self) -> list[dict[str, Any]]:
        """Return how much of each limit over time is used now: ``max_per_day`` by ticker, ``max_moves_per_hour``.

        Other moves may use more of them meanwhile. Outside a task, only the exchange's records count.

        :raises WhiteBitError: the exchange or the spending log cannot be read.
        :returns: for each limit ``limit``, ``ticker`` (null for moves), ``most``, ``used``, ``unshown`` (sent, and no
            record shows it so far) and ``frees_at`` (when the next part becomes free). ``used`` is null if the amount
            of a move cannot be read: then the limit allows no move.
        """
        key = self._api_key
        return [
            use.to_json()
            for use in read_used_limits(self.settings.limits, key.client, key.spending, key.reconcile_margin_ms)
        ]

    def test_connection(self) -> tuple[bool, str]:
        """Say in one sentence what the connection may do. Sends reading calls only.

        :returns: whether the connection can be used for lending, and the sentence.
        """
        return describe_connection(self)

    def resume(self, event: Mapping[str, Any]) -> None:
        """Apply the result of a :class:`WhiteBitReconcileTrigger`. Then call the same move again.

        :param event: the trigger's event: ``intent``, ``sent`` and perhaps ``error``.
        """
        if error := event.get("error"):
            self.log.warning("The triggerer could not reconcile the move (%s): reconciling it here", error)
        self._executor.resume(event)

    def flex_invest(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        amount: Amount,
        with_reinvest: bool | str = False,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Invest in a Flex plan, once. Vendor page: Lending (Flex plans), Create Flex investment.

        :param plan_id: the plan; or
        :param ticker: the asset: its open plan with the highest ``max_rate`` that admits the amount is chosen.
        :param amount: how much, in units of the asset.
        :param with_reinvest: whether earnings are added to the investment.
        :param dry_run: check everything, send nothing.
        :param key: name of the move within the task; by default ``flex_invest``.
        :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt.
        :returns: the receipt; with ``dry_run`` its status is ``planned``.
        """
        parameters = {"plan_id": plan_id, "ticker": ticker, "amount": amount, "with_reinvest": with_reinvest}
        return self._executor.execute(parse(FlexInvest, parameters), Options(dry_run, key, deferrable, idempotency_key))

    def flex_withdraw(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        amount: Amount,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Withdraw from the investment in a Flex plan, once. Vendor page: Lending (Flex plans), Withdraw.

        :param plan_id: the plan; or
        :param ticker: the asset: its active investment that earns least and can give the amount is chosen.
        :param amount: how much, in units of the asset, or ``"all"``. The plan's minimum or nothing must remain.
            A withdrawal of everything is a close.
        :param dry_run: check everything, send nothing.
        :param key: name of the move within the task; by default ``flex_withdraw``.
        :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt.
        :returns: the receipt; with ``dry_run`` its status is ``planned``.
        """
        parameters = {"plan_id": plan_id, "ticker": ticker, "amount": amount}
        return self._executor.execute(
            parse(FlexWithdraw, parameters), Options(dry_run, key, deferrable, idempotency_key)
        )

    def flex_close(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Close the investment in a Flex plan, once. Vendor page: Lending (Flex plans), Close.

        :param plan_id: the plan; or
        :param ticker: the asset, if one investment of it is active.
        :param dry_run: check everything, send nothing.
        :param key: name of the move within the task; by default ``flex_close``.
        :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt.
        :returns: the receipt; with ``dry_run`` its status is ``planned``.
        """
        parameters = {"plan_id": plan_id, "ticker": ticker}
        return self._executor.execute(parse(FlexClose, parameters), Options(dry_run, key, deferrable, idempotency_key))

    def flex_auto_reinvest(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        enabled: bool | str,
        dry_run: bool | str = False,
    ) -> dict[str, Any]:
        """Switch auto-reinvest of the investment in a Flex plan. Moves no money; repeating it changes nothing.

        :param plan_id: the plan; or
        :param ticker: the asset, if one investment of it is active.
        :param enabled: on or off.
        :param dry_run: check everything, send nothing.
        :returns: ``operation``, ``plan_id``, ``ticker``, ``enabled`` and ``status`` (``executed`` or ``planned``).
        :raises WhiteBitError: refused or unreachable.
        """
        plan, asset = parsing.exactly_one(plan_id, ticker)
        on, dry = parsing.read_boolean("enabled", enabled), parsing.read_boolean("dry_run", dry_run)
        find = partial(self._account.flex_investment, plan, asset, [], None)
        investment = self._account.find_although_late(find)
        self.settings.limits.check(AUTO_REINVEST, investment.currency, None)
        if not dry:
            check_stop()
            self._api_key.client.switch_auto_reinvest(investment.plan_id, enabled=on)
        return {
            "operation": AUTO_REINVEST,
            "plan_id": investment.plan_id,
            "ticker": investment.currency,
            "enabled": on,
            "status": "planned" if dry else "executed",
        }

    def fixed_invest(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        days: int | str | None = None,
        amount: Amount,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Invest in a Fixed plan, once. Vendor page: Lending (Fixed plans), Invest.

        :param plan_id: the plan; or
        :param ticker: the asset: its open plan with the highest percentage per day that admits the amount is chosen.
        :param days: with ``ticker``: only plans of this term.
        :param amount: how much, in units of the asset.
        :param dry_run: check everything, send nothing.
        :param key: name of the move within the task; by default ``fixed_invest``.
        :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt.
        :returns: the receipt; with ``dry_run`` its status is ``planned``.
        """
        parameters = {"plan_id": plan_id, "ticker": ticker, "days": days, "amount": amount}
        return self._executor.execute(
            parse(FixedInvest, parameters), Options(dry_run, key, deferrable, idempotency_key)
        )

    def fixed_close(
        self,
        *,
        investment_id: str | None = None,
        plan_id: str | None = None,
        ticker: str | None = None,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Close a Fixed investment before its term ends, once: its interest is forfeited. Vendor page: Lending
        (Fixed plans), Close.

        :param investment_id: the investment; or
        :param plan_id: the plan, if one investment in it is active; or
        :param ticker: the asset, if one Fixed investment of it is active.
        :param dry_run: check everything, send nothing.
        :param key: name of the move within the task; by default ``fixed_close``.
        :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt.
        :returns: the receipt; with ``dry_run`` its status is ``planned``.
        """
        parameters = {"investment_id": investment_id, "plan_id": plan_id, "ticker": ticker}
        return self._executor.execute(parse(FixedClose, parameters), Options(dry_run, key, deferrable, idempotency_key))

    def transfer(
        self,
        *,
        ticker: str,
        amount: Amount,
        source: str,
        target: str,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> list[Receipt]:
        """Move an asset between balances, once. Vendor page: Transfer between balances.

        :param ticker: the asset.
        :param amount: how much, in units of the asset, or ``"all"`` that ``source`` holds and a transfer can carry.
        :param source: ``main``, ``spot`` or ``collateral``.
        :param target: likewise.
        :param dry_run: check everything, send nothing.
        :param key: name of the move within the task; by default ``transfer``.
        :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt.
        :returns: a receipt for each step: two from ``spot`` to ``collateral`` or back, because they go through Main.
        """
        parameters = {"ticker": ticker, "amount": amount, "source": source, "target": target}
        return self._executor.transfer(parse(Transfer, parameters), Options(dry_run, key, deferrable, idempotency_key))

    def sub_account_transfer(
        self,
        *,
        sub_account_id: str,
        direction: str,
        ticker: str,
        amount: Amount,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> Receipt:
        """Move an asset between Main and the Main balance of a sub-account, once. Vendor page: Sub-accounts, Transfer.

        :param sub_account_id: the sub-account, as ``get_conn().sub_accounts()`` lists it.
        :param direction: ``main_to_sub`` or ``sub_to_main``.
        :param ticker: the asset.
        :param amount: how much, in units of the asset, or ``"all"`` that a transfer can carry: at most 8 decimals.
        :param dry_run: check everything, send nothing.
        :param key: name of the move within the task; by default ``sub_account_transfer``.
        :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitError: refused, unreachable or in doubt.
        :returns: the receipt; with ``dry_run`` its status is ``planned``.
        """
        parameters = {"sub_account_id": sub_account_id, "direction": direction, "ticker": ticker, "amount": amount}
        return self._executor.execute(
            parse(SubAccountTransfer, parameters), Options(dry_run, key, deferrable, idempotency_key)
        )

    def execute_plan(
        self,
        request: PlanRequest,
        *,
        dry_run: bool | str = False,
        key: str | None = None,
        idempotency_key: str | None = None,
        deferrable: bool = False,
    ) -> PlanOutcome:
        """Plan moves and make each of them once. A task that is run again continues where it was.

        If a run of the task was interrupted, the next one plans again from what the account holds then. Once all moves
        of a plan have been made, the task moves nothing any more, even if it is cleared.

        :param request: what to plan (``treasury.requests``).
        :param dry_run: plan, and send nothing. What earlier runs began is reconciled.
        :param key: name of the plan within the task; by default ``plan``.
        :param idempotency_key: name of the plan for all tasks of the account, instead of ``key``.
        :param deferrable: raise ``ReconcileLater`` (``moves.drivers``) instead of waiting in this process.
        :raises WhiteBitPlanError: moves were refused; those that do not need them were made.
        :raises WhiteBitError: refused, unreachable or in doubt; the error lists the moves that were made.
        :returns: status, plan, and the receipts of this task, of earlier runs too.
        """
        return self._executor.execute_plan(request, Options(dry_run, key, deferrable, idempotency_key))

    @overload
    def balances(self, account: str, ticker: str) -> dict[str, Decimal]: ...
    @overload
    def balances(self, account: str = parsing.MAIN, ticker: str | None = None) -> Mapping[str, Decimal | None]: ...
    def balances(self, account: str = parsing.MAIN, ticker: str | None = None) -> Mapping[str, Decimal | None]:
        """One of the account's balances by ticker; of the spot balance, what is available.

        :param account: ``main``, ``spot`` (also ``trade``) or ``collateral``.
        :param ticker: only this asset; all by default.
        :raises WhiteBitError: unknown account or asset, refused or unreachable.
        :returns: amounts in units of the asset; ``None`` for one of all that cannot be read.
        """
        return self._account.balances(account, ticker)

    def poll(self, question: Question, since: int | None = None, names: Names | None = None) -> Any:
        """Answer one of the questions that conditions are judged by.

        :param question: the question.
        :param since: for earnings and closures: none before this Unix second.
        :param names: what the exchange must know, as :meth:`require_known`.
        :raises WhiteBitValidationError: the exchange does not know one of the names.
        :raises WhiteBitError: refused or unreachable.
        :returns: balances by ticker, a list of records, or the platform status. Records that cannot be read come last,
            as :class:`~.client.unreadable.UnreadableRecord`.
        """
        answer = self._answer(question, since)
        self.require_known(question, names or Names(), answer)
        return answer

    def _answer(self, question: Question, since: int | None) -> Any:
        client = self.get_conn()
        unreadable: list[UnreadableRecord] = []
        records: Iterable[Record]
        match question:
            case Question.FLEX_INVESTMENTS:
                records = client.flex_investments(on_unreadable=unreadable.append)
            case Question.FLEX_PAYMENTS:
                records = client.flex_payments(date_from=since, on_unreadable=unreadable.append)
            case Question.FLEX_CLOSURES:
                closures = (FlexAction.CLOSE_INVESTMENT,)
                records = client.flex_history(date_from=since, action_types=closures, on_unreadable=unreadable.append)
            case Question.FIXED_INVESTMENTS:
                records = client.fixed_investments(on_unreadable=unreadable.append)
            case Question.FLEX_PLANS:
                records = client.flex_plans(on_unreadable=unreadable.append)
            case Question.FIXED_PLANS:
                records = client.fixed_plans(on_unreadable=unreadable.append)
            case Question.PLATFORM_STATUS:
                return client.platform_status()
            case _:
                return self.balances(str(question))
        return [*records, *unreadable]

    def require_known(self, question: Question, names: Names, answer: Any) -> None:
        """Check that the exchange knows an asset, a plan and an investment. What it knew once counts as known.

        An investment that is not in the list may be new: then this waits for the connection's ``reconcile_margin``.

        :param question: the question that was asked.
        :param names: what must be known.
        :param answer: the exchange's answer. What it shows is known; the rest costs further requests, once.
        :raises WhiteBitValidationError: names the one that the exchange does not know.
        :raises WhiteBitError: refused or unreachable.
        """
        if not names or (question, names) in self._known:
            return
        client, unseen = self.get_conn(), names.unseen(answer)
        fixed = question in (Question.FIXED_INVESTMENTS, Question.FIXED_PLANS)
        if unseen.ticker is not None:
            known.require_ticker(client, unseen.ticker)
        if unseen.plan_id is not None:
            (known.require_fixed_plan if fixed else known.require_flex_plan)(client, unseen.plan_id)
        if unseen.investment_id is not None:
            known.require_fixed_investment(client, unseen.investment_id, self._wait_for_lists)
        self._known.add((question, names))

    def _wait_for_lists(self) -> None:
        """Wait until what was invested before is in the exchange's lists."""
        self._executor.sleep(self.settings.reconcile_margin_ms / 1000)

    @cached_property
    def _known(self) -> set[tuple[Question, Names]]:
        return set()

    def holdings(self, *accounts: str) -> Holdings:
        """What the account holds: Main, Flex plans and active investments.

        :param accounts: further balances to read: ``spot``, ``collateral``.
        :raises WhiteBitError: refused or unreachable.
        """
        return read_holdings(self._account, *accounts)

    def _add_plan_history(self, error: WhiteBitError, idempotency_key: str | None) -> None:
        """Let an error that comes before a plan say what earlier runs of the task did."""
        keys = self._executor.keys
        keys.add_history(error, keys.key_of(PLAN, None, idempotency_key))
