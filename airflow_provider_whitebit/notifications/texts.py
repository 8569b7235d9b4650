"""Jinja templates of notices, for any of Airflow's notifiers (SMTP, Slack, Teams, ...).

They are templated with the context of the task that succeeded or failed::

    WhiteBitFlexInvestOperator(
        ...,
        on_success_callback=SmtpNotifier(to="treasury@example.com", subject=RECEIPT_SUBJECT, html_content=RECEIPT_HTML),
        on_failure_callback=SmtpNotifier(to="treasury@example.com", subject=FAILURE_SUBJECT, html_content=FAILURE_HTML),
    )

A failure says whether money moved; a doubt says so in its subject. No text holds a key, a secret or a signature.
"""

from __future__ import annotations

_TASK = "{{ ti.dag_id }}.{{ ti.task_id }}"
_RECEIPTS = (
    "{% set made = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) %}"
    # What a treasury operator returns has its receipts inside.
    "{% set receipts = made.receipts if made is mapping and 'receipts' in made else"
    " ([made] if made is mapping else (made or [])) %}"
)
# Airflow's templates may not look at a class: the error's representation begins with its name.
_NAME = "{{ ('%r' | format(exception)).split('(')[0] | e }}"
_DOUBT = "{% set doubt = 'InDoubt' in '%r' | format(exception) %}"

#: What a task that moved money did, in one line.
RECEIPT_SUBJECT = (
    _RECEIPTS
    + "WhiteBIT: {% for receipt in receipts %}{{ receipt.operation }} {{ receipt.amount }} {{ receipt.ticker }}"
    + " {{ receipt.status }}{{ ', ' if not loop.last }}{% else %}nothing moved{% endfor %} - "
    + _TASK
)
#: The receipts of a task that moved money, as plain text.
RECEIPT_TEXT = (
    _RECEIPTS
    + "{% for receipt in receipts %}{% for name, value in receipt.items() if value is not none %}"
    + "{{ name }}: {{ value }}\n{% endfor %}\n{% endfor %}"
    + "Run: {{ ti.run_id }}"
)
#: The same as HTML.
RECEIPT_HTML = (
    _RECEIPTS
    + "{% for receipt in receipts %}<table>{% for name, value in receipt.items() if value is not none %}"
    + "<tr><th align='left'>{{ name | e }}</th><td>{{ value | e }}</td></tr>{% endfor %}</table>{% endfor %}"
    + "<p>Run {{ ti.run_id | e }}</p>"
)
#: What failed, in one line; a doubt wants a person.
FAILURE_SUBJECT = _DOUBT + "WhiteBIT: {{ 'IN DOUBT, a person must look' if doubt else 'failed' }} - " + _TASK
#: The error, which says whether money moved and what to do next, as plain text.
FAILURE_TEXT = _NAME + ": {{ exception }}\nRun: {{ ti.run_id }}, try {{ ti.try_number }}"
#: The same as HTML.
FAILURE_HTML = (
    f"<p><b>{_NAME}</b>: {{{{ exception | e }}}}</p><p>Run {{{{ ti.run_id | e }}}}, try {{{{ ti.try_number }}}}</p>"
)
