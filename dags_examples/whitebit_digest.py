"""Mail a digest every morning, and one of the week on Mondays: moves, earnings, rates, doubts, limits, what is due.

It only reads. Mails are sent by Airflow's own notifier with the connection ``smtp_default``; any other notifier can
take its place. The digest is also the result of the task, so that a task after it can store or send it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG

from airflow_provider_whitebit.operators.digest import WhiteBitDigestOperator

MAIL = SmtpNotifier(
    to="treasury@example.com",
    from_email="airflow@example.com",
    subject="{{ digest.subject }}",
    html_content="{{ digest.html }}",
)

for period, schedule in (("day", "0 6 * * *"), ("week", "5 6 * * 1")):
    with DAG(
        f"whitebit_digest_of_the_{period}",
        description=f"The {period} before, by mail",
        doc_md=__doc__,
        schedule=schedule,
        catchup=False,
        is_paused_upon_creation=True,
        default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
        tags=["whitebit"],
    ):
        # [START digest]
        WhiteBitDigestOperator(
            task_id="digest",
            notifiers=[MAIL],
            period=period,
            policy={"USDT": {"reserve": "5000"}},
        )
        # [END digest]
