"""What all operators share: the hook, and how errors of the exchange become errors of Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from airflow.sdk import AssetAlias, BaseOperator, XComArg

from airflow_provider_whitebit.hooks.assets import MOVES_ALIAS
from airflow_provider_whitebit.operators.links import WhiteBitLendingLink
from airflow_provider_whitebit.operators.parameters import KnowsMapped, checks_values, read_rendered, refuse_floats

try:
    from airflow_provider_whitebit.operators.retries import WhiteBitRetryPolicy
except ImportError:  # before 3.3
    WhiteBitRetryPolicy = None  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import OperatorPartial
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
    from airflow_provider_whitebit.moves.drivers import ReconcileLater
    from airflow_provider_whitebit.moves.intent import Receipt

# Everything else is imported when a task runs, not when its DAG file is parsed.

# All operators share these: they hold no state.
_RETRY_POLICY = None if WhiteBitRetryPolicy is None else WhiteBitRetryPolicy()
_MOVES = AssetAlias(MOVES_ALIAS)

ResultT = TypeVar("ResultT")


class WhiteBitOperator(BaseOperator):
    """Base of the operators: one connection, one hook.

    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``. With Airflow 3.3 and later, ``retry_policy`` is a
        :class:`.WhiteBitRetryPolicy` by default.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id",)
    operator_extra_links = (WhiteBitLendingLink(),)
    ui_color = "#e9f2ff"

    def __init__(self, *, whitebit_conn_id: str | XComArg = "whitebit_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if _RETRY_POLICY is not None and self.retry_policy is None:
            self.retry_policy = _RETRY_POLICY
        self.whitebit_conn_id: Any = whitebit_conn_id

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Map the operator, as every operator of Airflow. Values are checked when the DAG file is parsed."""
        from airflow_provider_whitebit.operators.mapping import CheckedPartial

        made = super().partial(**kwargs)
        # Airflow warns of each one that is not expanded.
        made._expand_called = True
        return CheckedPartial(operator_class=cls, kwargs=made.kwargs, params=made.params)

    if TYPE_CHECKING:
        # Airflow declares XComArg, of which type checkers cannot tell that output["plan_id"] works.
        @property
        def output(self) -> PlainXComArg: ...

    @cached_property
    def hook(self) -> WhiteBitHook:
        """The hook of this task."""
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        return WhiteBitHook(read_rendered(self.whitebit_conn_id))

    def _parameters(self, *names: str) -> dict[str, Any]:
        """Read templated parameters when the task runs. All operators and sensors read them here.

        :param names: of the parameters.
        :returns: the values by name. ``None`` means that a parameter is not given: its template rendered ``None`` or
            an empty text.
        """
        return {name: read_rendered(getattr(self, name)) for name in names}

    def _file_name(self, kind: str, *parts: str | None) -> str:
        """Return a name for files in a folder: tasks of several connections can have one folder.

        :param kind: what they are.
        :param parts: what else tells them apart; empty ones are left out.
        """
        from airflow_provider_whitebit.hooks.assets import encode_conn_id

        conn_id = str(read_rendered(self.whitebit_conn_id))
        own = "" if conn_id == "whitebit_default" else encode_conn_id(conn_id)
        return "-".join(part for part in (kind, own, *parts) if part)

    def _publish(self, document: ResultT, context: Mapping[str, Any]) -> ResultT:
        """Push each field of a result as an XCom too, so that ``.output["plan_id"]`` can be passed to the next task.

        Airflow's own ``multiple_outputs`` would do the same, but Airflow 3.0 fails on empty fields.

        :param document: the result. Only a mapping has fields.
        :param context: of the task. Without a task instance, as in unit tests, nothing is pushed.
        :returns: the result.
        """
        return publish(self, document, context)

    def _refuse_floats(self, **values: Any) -> None:
        """Refuse floats when the DAG file is parsed. A mapped task gets its values when it runs.

        :raises WhiteBitValidationError: names the parameter and shows the right spelling.
        """
        if checks_values(self):
            refuse_floats(values)

    @contextmanager
    def airflow_errors(self) -> Iterator[None]:
        """Let errors that no retry can change fail the task at once.

        With Airflow 3.3 and later the task's retry policy decides that from the error itself.

        :raises AirflowFailException: before Airflow 3.3, for one of ``PERMANENT_ERRORS``.
        :raises WhiteBitError: every other error; with a retry policy, all of them.
        """
        with nullcontext() if getattr(self, "retry_policy", None) is not None else fail_without_retry():
            yield


class WhiteBitListOperator(WhiteBitOperator):
    """Base of the operators that read one list."""

    #: The client's method that reads the list. The operator's filters are its keyword arguments.
    method: ClassVar[str]
    #: Whether records that cannot be read are left out and logged. A list of payments without one would be wrong.
    skips_unreadable: ClassVar[bool] = True

    def records(self) -> Iterable[Any]:
        """Read the records that match the operator's parameters.

        :raises WhiteBitValidationError: a parameter is wrong.
        :raises WhiteBitUnavailableError: a record cannot be read, and the list must be complete.
        """
        from airflow_provider_whitebit.client.unreadable import warn
        from airflow_provider_whitebit.operators.filters import read_filters

        filters = read_filters(self)
        if self.skips_unreadable:
            filters["on_unreadable"] = warn
        records: Iterable[Any] = getattr(self.hook.get_conn(), self.method)(**filters)
        return records

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Return the records as plain JSON; an empty list if there are none."""
        with self.airflow_errors():
            return [record.to_json() for record in self.records()]


class WhiteBitMoveOperator(KnowsMapped, WhiteBitOperator):
    """Base of the operators that move money.

    Each receipt becomes an event of the assets ``whitebit://<connection>/moves`` and, for example,
    ``whitebit://<connection>/flex/USDT`` when the task succeeds. A dry run causes no events.

    :param idempotency_key: what is moved, in words that no other move has, for example ``"{{ ds }} sweep USDT"``.
        Nothing moves twice under one key with one API key: whatever the dag run, map index, task or DAG. Without it,
        a move belongs to the task instance.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param kwargs: the parameters of :class:`WhiteBitOperator`.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "dry_run", "idempotency_key")

    def __init__(
        self,
        *,
        idempotency_key: str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.idempotency_key: Any = idempotency_key
        self._has_idempotency_key = self._is_given("idempotency_key", idempotency_key)
        # Not appended: the list may be the one in the DAG's default_args.
        self.outlets = [*self.outlets, _MOVES]
        self.dry_run: Any = dry_run
        self.deferrable = deferrable

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Defer the task if the outcome of a move is to be found out by the triggerer; see also :meth:`airflow_errors`.

        :raises TaskDeferred: the triggerer waits until the exchange's records can be trusted.
        """
        from airflow_provider_whitebit.moves.drivers import ReconcileLater

        try:
            with self.airflow_errors():
                yield
        except ReconcileLater as later:
            self._defer(later)

    def _options(self) -> dict[str, Any]:
        """Read the parameters that all moves share.

        An idempotency key whose template renders nothing is refused: without it, the move could be made twice.
        """
        from airflow_provider_whitebit.moves.parsing import given

        # Numbers stay numbers, and are refused: several texts become one in a native template, for example "1_23" and
        # "12_3".
        key = given(self.idempotency_key)
        if key is None and self._has_idempotency_key:
            key = ""
        return {**self._parameters("dry_run"), "idempotency_key": key, "deferrable": self.is_deferrable}

    @property
    def is_deferrable(self) -> bool:
        """Whether the task may wait in the triggerer: its own parameter or Airflow's default."""
        from airflow_provider_whitebit.hooks.airflow_compat import default_deferrable

        return default_deferrable() if self.deferrable is None else self.deferrable

    def result(self, receipt: Receipt, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return a receipt as plain JSON, and publish it."""
        self._log_receipts([receipt])
        return self._publish(receipt.to_json(), context)

    def _publish(self, document: ResultT, context: Mapping[str, Any]) -> ResultT:
        """Publish a result as :meth:`WhiteBitOperator._publish`. An error fails no task whose money has moved."""
        from airflow_provider_whitebit.hooks.after_move import after_move

        with after_move("its fields are missing among the task's XComs"):
            super()._publish(document, context)
        return document

    def _log_receipts(self, receipts: Iterable[Receipt]) -> None:
        from airflow_provider_whitebit.hooks.after_move import after_move

        for receipt in receipts:
            with after_move("its receipt is not logged"):
                self.log.info("%s", receipt)

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any] | None = None) -> Any:
        """Continue after the triggerer: pass its result to the hook, then execute the same move again.

        :param event: of :class:`.WhiteBitReconcileTrigger`.
        """
        if event is not None:
            self.hook.resume(event)
        return self.execute(context)  # type: ignore[arg-type]

    def _defer(self, later: ReconcileLater) -> NoReturn:
        from airflow_provider_whitebit.triggers.reconcile import WhiteBitReconcileTrigger

        self.log.info("The answer to move %s was lost: the triggerer reconciles it", later.intent.id)
        self.defer(
            trigger=WhiteBitReconcileTrigger(self.whitebit_conn_id, later.intent.to_json(), later.sent),
            method_name="execute_complete",
            timeout=self.execution_timeout,
        )
        raise AssertionError("defer() always raises")


def publish(task: BaseOperator, document: ResultT, context: Mapping[str, Any]) -> ResultT:
    """Push each field of a task's result as an XCom, as :meth:`WhiteBitOperator._publish`."""
    task_instance = context.get("ti") if task.do_xcom_push else None
    if task_instance is not None and isinstance(document, Mapping):
        for name, value in document.items():
            if value is not None:
                task_instance.xcom_push(name, value)
    return document


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Let errors that no retry can change fail the task at once.

    :raises AirflowFailException: for one of ``PERMANENT_ERRORS``.
    """
    from airflow_provider_whitebit.client.errors import PERMANENT_ERRORS
    from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException

    try:
        yield
    except PERMANENT_ERRORS as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def followed_keys(task: BaseOperator) -> set[str]:
    """The XComs of a task that the tasks after it refer to by ``.output["..."]``."""
    if task.get_dag() is None:
        return set()
    followers = (getattr(follower, "partial_kwargs", follower) for follower in task.downstream_list)
    references = (reference for follower in followers for reference in XComArg.iter_xcom_references(follower))
    return {key for operator, key in references if operator.task_id == task.task_id}
