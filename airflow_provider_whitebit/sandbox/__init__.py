"""A WhiteBIT to develop and test against. It is not an exchange: its money is made up.

The rules are plain Python (:class:`~.exchange.Exchange`), so that tests run them in process and on virtual time.
HTTP stands in ``app.py`` and needs the extra ``[sandbox]``. Nothing here imports the client: the two must not share
a mistake.
"""

from airflow_provider_whitebit.sandbox.answers import Answer
from airflow_provider_whitebit.sandbox.clock import Clock, SandboxClock
from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.sandbox.faults import ConnectionLost, Fault, Faults

__all__ = ["Answer", "Clock", "ConnectionLost", "Exchange", "Fault", "Faults", "SandboxClock"]
