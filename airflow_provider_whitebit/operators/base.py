"""What all operators share: the hook, and how errors of the exchange become errors of Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import AssetAlias, BaseOperator

from airflow_provider_whitebit.operators.links import WhiteBitLendingLink
from airflow_provider_whitebit.operators.parameters import as_boolean, refuse_both

try:
    from airflow_provider_whitebit.operators.retries import WhiteBitRetryPolicy
except ImportError:  # before 3.3
    WhiteBitRetryPolicy = None  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
    from airflow_provider_whitebit.moves.drivers import SettleLater
    from airflow_provider_whitebit.moves.intent import Receipt

# Everything below airflow.sdk is imported when a task runs, not when its DAG file is parsed.

ResultT = TypeVar("ResultT")


class WhiteBitOperator(BaseOperator):
    """Base of the operators: one connection, one hook.

    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: those of Airflow's ``BaseOperator``. ``retry_policy`` is a :class:`.WhiteBitRetryPolicy` where
        Airflow has such (3.3 and later) and no other is given.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id",)
    operator_extra_links = (WhiteBitLendingLink(),)
    ui_color = "#e9f2ff"

    def __init__(self, *, whitebit_conn_id: str = "whitebit_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if WhiteBitRetryPolicy is not None and self.retry_policy is None:
            self.retry_policy = WhiteBitRetryPolicy()
        self.whitebit_conn_id = whitebit_conn_id

    @cached_property
    def hook(self) -> WhiteBitHook:
        """The hook of this task."""
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        return WhiteBitHook(self.whitebit_conn_id)

    def ask(self, call: Callable[[], ResultT]) -> ResultT:
        """Run a call of the hook. What can never succeed fails the task without retries; the rest Airflow retries.

        Airflow 3.3 and later sees the error itself and asks the task's retry policy. Before, there is none.

        :raises AirflowFailException: before 3.3: wrong parameters or connection, refused, not permitted, in doubt.
        :raises WhiteBitError: what may pass by itself; with a retry policy, all of them.
        """
        from airflow_provider_whitebit.client.errors import FOR_GOOD
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException

        try:
            return call()
        except FOR_GOOD as error:
            if getattr(self, "retry_policy", None) is not None:
                raise
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error


class WhiteBitListOperator(WhiteBitOperator):
    """Base of the operators that read one list; the filters are the call's own."""

    def records(self) -> Iterable[Any]:
        """The records, checked filters applied; written by each operator."""
        raise NotImplementedError

    def execute(self, context: Mapping[str, Any]) -> Any:
        """The records as plain JSON, an empty list where there are none."""
        return self.ask(lambda: [record.to_json() for record in self.records()])


class WhiteBitMoveOperator(WhiteBitOperator):
    """Base of the operators that move money.

    Each receipt becomes an event of the assets ``whitebit://<connection>/moves`` and, for example,
    ``whitebit://<connection>/flex/USDT`` when the task succeeds; a dry run announces nothing.

    :param dry_run: check everything, send nothing; the receipt's status is ``planned``.
    :param deferrable: let a triggerer find out what came of a lost answer; Airflow's own default by default.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "dry_run")

    def __init__(self, *, dry_run: bool | str = False, deferrable: bool | None = None, **kwargs: Any) -> None:
        outlets = kwargs.pop("outlets", None) or []
        super().__init__(outlets=[*(outlets if isinstance(outlets, list) else [outlets]), _moves_alias()], **kwargs)
        self.dry_run = dry_run  # type: ignore[assignment]
        self.deferrable = deferrable

    def move(self) -> Receipt | list[Receipt]:
        """Make the move by the hook; written by each operator."""
        raise NotImplementedError

    def options(self, key: str) -> dict[str, Any]:
        """What all moves of the hook take, rendered. ``key`` names the move's journal: a task makes only this one."""
        from airflow_provider_whitebit.hooks.airflow_compat import default_deferrable

        return {
            "dry_run": self._read(key, lambda: as_boolean("dry_run", self.dry_run)),
            "deferrable": default_deferrable() if self.deferrable is None else self.deferrable,
            "key": key,
        }

    def _read(self, key: str, parameters: Callable[[], ResultT]) -> ResultT:
        """Read rendered parameters. An error says what earlier tries of this task have made nevertheless.

        :param key: name of the move's journal.
        :param parameters: reads them.
        """
        from airflow_provider_whitebit.client.errors import WhiteBitError

        try:
            return parameters()
        except WhiteBitError as error:
            self.hook.tell_what_stands(error, key)
            raise

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any] | list[dict[str, Any]]:
        """Make the move; the receipt as plain JSON, or the list of them where it takes several."""
        from airflow_provider_whitebit.moves.drivers import SettleLater

        try:
            made = self.ask(self.move)
        except SettleLater as later:
            self._defer(later)
        for receipt in made if isinstance(made, list) else [made]:
            self.log.info("%s", receipt)
        if isinstance(made, list):
            return [receipt.to_json() for receipt in made]
        told = made.to_json()
        # Each field of the receipt is an XCom too, so that .output["plan_id"] can be handed to the next task. Airflow's
        # own multiple_outputs would do the same, but Airflow 3.0 fails on fields that are empty.
        for name, value in told.items():
            if value is not None:
                context["ti"].xcom_push(name, value)
        return told

    def execute_after_wait(
        self, context: Mapping[str, Any], event: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Go on when the triggerer has settled the doubt."""
        if event is not None:
            self.hook.resume(event)
        return self.execute(context)

    def _defer(self, later: SettleLater) -> None:
        from airflow_provider_whitebit.triggers.settle import WhiteBitSettleTrigger

        self.log.info("The answer to move %s was lost: the triggerer settles what came of it", later.intent.id)
        self.defer(
            trigger=WhiteBitSettleTrigger(self.whitebit_conn_id, later.intent.to_json(), later.sent),
            method_name="execute_after_wait",
            timeout=self.execution_timeout,
        )


class WhiteBitPlanMoveOperator(WhiteBitMoveOperator):
    """Base of the operators that move money into a plan or out of it.

    :param plan_id: the plan; or
    :param ticker: the asset.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "plan_id", "ticker")

    def __init__(self, *, plan_id: str | None = None, ticker: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_both(plan_id, ticker)
        self.plan_id = plan_id
        self.ticker = ticker

    def options(self, key: str) -> dict[str, Any]:
        """What all moves of plans take, rendered."""
        return {"plan_id": self.plan_id, "ticker": self.ticker, **super().options(key)}


def _moves_alias() -> AssetAlias:
    from airflow_provider_whitebit.hooks.assets import MOVES_ALIAS

    return AssetAlias(MOVES_ALIAS)
