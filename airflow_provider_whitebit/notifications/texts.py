"""Jinja templates of notices, for any of Airflow's notifiers (SMTP, Slack, Teams, ...).

They are rendered with the context of the task that succeeded or failed::

    WhiteBitFlexInvestOperator(
        ...,
        on_success_callback=SmtpNotifier(to="treasury@example.com", subject=RECEIPT_SUBJECT, html_content=RECEIPT_HTML),
        on_failure_callback=SmtpNotifier(to="treasury@example.com", subject=FAILURE_SUBJECT, html_content=FAILURE_HTML),
    )

A failure notice has the whole text of the error: what happened, whether money moved, what the task has already moved,
and the next steps. If a move is in doubt, the subject says so. No text contains a key, a secret or a signature.
"""

from __future__ import annotations

_TASK = "{{ ti.dag_id }}.{{ ti.task_id }}"
_RECEIPTS = (
    "{% set made = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) %}"
    # The result of a treasury operator contains its receipts. A @task may return anything.
    "{% set listed = made.receipts if made is mapping and 'receipts' in made else"
    " ([made] if made is mapping or made is string or made is not iterable else made) %}"
    "{% set receipts = listed | select('mapping') | selectattr('operation', 'defined') | list %}"
    # What a plan could not do. Without it, a plan that is short looks like one that is met.
    "{% set plan = made.plan if made is mapping and made.plan is defined and made.plan is mapping else {} %}"
    "{% set missing = plan.get('shortfalls', {}) %}"
)
# Without an XCom it is not known what the task has moved: do_xcom_push may be off, or a @task may return nothing.
_NO_RECEIPT = "{{ 'no receipt in its XCom' if listed else 'nothing moved' }}"
# Airflow's sandbox forbids templates to look at a class, but the error's repr begins with the name of its class.
_CLASS = "('%r' | format(exception)).split('(')[0]"
_IS_DOUBT = "'InDoubt' in '%r' | format(exception)"
# Airflow passes no error of a process that was killed. It may have been in the middle of a move, as after these errors.
_ENDED = (
    "Process lost",
    *("AirflowTaskTimeout", "AirflowTaskTerminated", "SystemExit", "KeyboardInterrupt", "MemoryError"),
    # While a move is in doubt, the task may wait in the triggerer.
    *("TaskDeferralTimeout", "TaskDeferralError"),
)
_ERROR = (
    f"{{% set kind = {_CLASS} if exception is defined and exception else 'Process lost' %}}"
    "{% set said = exception | string if exception is defined and exception else"
    " 'The process of the task was killed, or Airflow lost it.' %}"
    "{% set said = said ~ '\nWhether money moved is not known: the next try finds out."
    " If there is none, clear the task.'"
    f" if kind in {_ENDED} else said %}}"
)

#: The moves of a task, in one line.
RECEIPT_SUBJECT = (
    _RECEIPTS
    + "WhiteBIT: {% for receipt in receipts %}{% for name in ('operation', 'amount', 'ticker', 'status')"
    # A switch of auto-reinvest has no amount, and that of a move may be unknown.
    + " if receipt.get(name) is not none %}{{ receipt[name] }}{{ ' ' if not loop.last }}{% endfor %}"
    + "{{ ', ' if not loop.last }}{% else %}"
    + _NO_RECEIPT
    + "{% endfor %}{% for ticker, amount in missing.items() %}, {{ amount }} {{ ticker }} missing{% endfor %} - "
    + _TASK
)
#: The receipts of a task, and what its plan could not do, as plain text.
RECEIPT_TEXT = (
    _RECEIPTS
    + "{% for receipt in receipts %}{% for name, value in receipt.items() if value is not none %}"
    + "{{ name }}: {{ value }}\n{% endfor %}\n{% else %}"
    + _NO_RECEIPT
    + "\n{% endfor %}{% for ticker, amount in missing.items() %}Still missing: {{ amount }} {{ ticker }}\n{% endfor %}"
    + "{% for note in plan.get('notes', ()) %}Note: {{ note }}\n{% endfor %}Run: {{ ti.run_id }}"
)
#: The receipts of a task, and what its plan could not do, as HTML.
RECEIPT_HTML = (
    _RECEIPTS
    + "{% for receipt in receipts %}<table>{% for name, value in receipt.items() if value is not none %}"
    + "<tr><th align='left'>{{ name | e }}</th><td>{{ value | e }}</td></tr>{% endfor %}</table>{% else %}<p>"
    + _NO_RECEIPT
    + "</p>{% endfor %}"
    + "{% for ticker, amount in missing.items() %}<p>Still missing: {{ amount | e }} {{ ticker | e }}</p>{% endfor %}"
    + "{% for note in plan.get('notes', ()) %}<p>Note: {{ note | e }}</p>{% endfor %}<p>Run {{ ti.run_id | e }}</p>"
)
#: Which task failed, in one line. A move in doubt needs a person.
FAILURE_SUBJECT = f"WhiteBIT: {{{{ 'IN DOUBT, a person must check' if {_IS_DOUBT} else 'failed' }}}} - {_TASK}"
#: The whole error, one fact per line, as plain text.
FAILURE_TEXT = _ERROR + "{{ kind }}: {{ said }}\nRun: {{ ti.run_id }}, try {{ ti.try_number }}"
#: The whole error, one fact per line, as HTML.
FAILURE_HTML = (
    _ERROR
    + "<p><b>{{ kind | e }}</b></p>"
    # The e-mail programs that ignore white-space: pre-line need line breaks.
    + "<p>{% for line in said.splitlines() %}{{ line | e }}{{ '<br>' | safe if not loop.last }}\n"
    + "{% endfor %}</p>"
    + "<p>Run {{ ti.run_id | e }}, try {{ ti.try_number }}</p>"
)
