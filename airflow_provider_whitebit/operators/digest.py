"""The operator that reports a day or a week of an account to people, by Airflow's notifiers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitOperator
from airflow_provider_whitebit.operators.files import read_file
from airflow_provider_whitebit.operators.parameters import plain_path

if TYPE_CHECKING:
    from datetime import date
    from typing import Unpack

    import pendulum
    from airflow.sdk import BaseNotifier, XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs
    from airflow_provider_whitebit.operators.treasury import RawPolicy
    from airflow_provider_whitebit.treasury.digest import Digest

#: Periods by name, in days.
_PERIODS = {"day": 1, "week": 7}


class WhiteBitDigestOperator(WhiteBitOperator):
    """Make a digest of a day or a week, and send it by notifiers: moves, earnings, rates, doubts, limits, what is due.

    Reads only. Any of Airflow's notifiers will do: each is rendered with the task's context, in which ``digest`` is the
    result, for example ``SmtpNotifier(to=..., subject="{{ digest.subject }}", html_content="{{ digest.html }}")`` or
    ``SlackNotifier(text="{{ digest.text }}")``. A notifier that fails stops no other, and the digest is returned all
    the same.

    :param notifiers: instances of Airflow's ``BaseNotifier``.
    :param period: ``day`` or ``week``: the whole days (UTC) before the run. By default the data interval, or a day for
        runs without one.
    :param start: beginning of another period, included: an ISO 8601 time with zone, a date (meaning 00:00 UTC) or Unix
        seconds.
    :param end: its end, not included: likewise.
    :param ahead_days: days from now for which it tells what is due and expected.
    :param tickers: earnings and expectations only of these assets, as a list or a comma-separated text; all by default.
    :param policy: a policy whose liquidity needs are compared with what is available: a mapping, its text, or a file.
        See ``docs/treasury.md``.
    :param value_in: also value what was earned and is invested in this currency, for example ``USDT``.
    :param fail_on_notifier_error: fail the task if a notifier has failed, after all others were called and the digest
        was pushed as XComs. It is not retried, because the others would send twice.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "period",
        "start",
        "end",
        "ahead_days",
        "tickers",
        "policy",
        "value_in",
        "fail_on_notifier_error",
    )
    template_fields_renderers = {"policy": "json"}  # noqa: RUF012 - as Airflow declares it

    def __init__(
        self,
        *,
        notifiers: Sequence[BaseNotifier] | BaseNotifier = (),
        period: str | XComArg | None = None,
        start: str | int | date | XComArg | None = None,
        end: str | int | date | XComArg | None = None,
        ahead_days: int | str | XComArg = 30,
        tickers: Sequence[str] | str | XComArg | None = None,
        policy: RawPolicy | XComArg | None = None,
        value_in: str | XComArg | None = None,
        fail_on_notifier_error: bool | str | XComArg = False,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self._refuse_floats(policy=policy)
        given: Any = notifiers
        self.notifiers: list[BaseNotifier] = list(given) if isinstance(given, list | tuple) else [given]
        self.period: Any = period
        self.start = start
        self.end = end
        self.ahead_days: Any = ahead_days
        self.tickers = tickers
        self.policy: Any = plain_path(policy)
        self.value_in: Any = value_in
        self.fail_on_notifier_error = fail_on_notifier_error

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the digest: ``subject``, ``html``, ``text``, ``figures`` (plain JSON), ``sent`` and ``failed``.

        ``sent`` and ``failed`` are names of notifiers.

        :raises AirflowFailException: with ``fail_on_notifier_error``, if a notifier has failed.
        """
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
        from airflow_provider_whitebit.moves.parsing import read_boolean
        from airflow_provider_whitebit.treasury.digest_page import render_digest

        with self.airflow_errors():
            name = "fail_on_notifier_error"
            fail = read_boolean(name, self._parameters(name)[name])
            digest = self._read(context)
        result: dict[str, Any] = {**render_digest(digest), "figures": digest.to_json(), "sent": [], "failed": []}
        self.log.info("%s", result["text"])
        for notifier in self.notifiers:
            result["sent" if self._sends(notifier, context, result) else "failed"].append(type(notifier).__name__)
        self._publish(result, context)
        if fail and result["failed"]:
            if context.get("ti") is not None:
                context["ti"].xcom_push("return_value", result)
            raise AirflowFailException(
                f"The digest was made, and is in the XComs of this task, but {', '.join(result['failed'])} failed: see "
                "the log. Send it by hand; if the task is cleared, all notifiers send it again."
            )
        return result

    def _sends(self, notifier: BaseNotifier, context: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
        """Call a notifier as Airflow does; Airflow 3.0 would hide its errors."""
        # Rendering changes the notifier, and adding its fields changes the context.
        rendered = copy.copy(notifier)
        fields = {name: getattr(rendered, name) for name in rendered.template_fields}
        given: Any = {"dag": self.get_dag(), **context, **fields, "digest": dict(result)}
        try:
            rendered.render_template_fields(given)
            rendered.notify(given)
        except Exception:
            # Its text may hold an address with a token, so it is only in the log, where Airflow masks secrets.
            self.log.exception("%s failed, so it did not send the digest", type(notifier).__name__)
            return False
        return True

    def _read(self, context: Mapping[str, Any]) -> Digest:
        from airflow_provider_whitebit.hooks.digests import read_digest
        from airflow_provider_whitebit.moves.parsing import read_number, read_optional, read_tickers
        from airflow_provider_whitebit.treasury.policy import read_policy
        from airflow_provider_whitebit.treasury.valuation import read_value_in

        self.policy = read_file(self, "policy", context)
        given = self._parameters(*self.template_fields)
        tickers, policy = read_optional(read_tickers, given["tickers"]), read_optional(read_policy, given["policy"])
        ahead_days = read_number("ahead_days", given["ahead_days"], most=366)
        value_in = read_optional(read_value_in, given["value_in"])
        start, end = self._period(given, context)
        return read_digest(
            self.hook,
            start=start,
            end=end,
            ahead_days=ahead_days,
            tickers=tickers,
            policy=policy,
            value_in=value_in,
        )

    def _period(
        self, given: Mapping[str, Any], context: Mapping[str, Any]
    ) -> tuple[pendulum.DateTime, pendulum.DateTime]:
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError, shown
        from airflow_provider_whitebit.operators.periods import previous_days, read_period

        start, end, period = given["start"], given["end"], given["period"]
        if period is not None and (start is not None or end is not None):
            raise WhiteBitValidationError("Give a period, or start and end.")
        days = _PERIODS.get(str(period or "day").strip().lower())
        if days is None:
            raise WhiteBitValidationError(f"period is {shown(period)}: write one of {', '.join(_PERIODS)}.")

        days_before = partial(previous_days, days=days)
        return read_period(self.hook, start, end, context, by_interval=period is None, otherwise=days_before)
