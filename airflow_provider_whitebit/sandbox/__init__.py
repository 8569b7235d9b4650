"""A local WhiteBIT to develop and test against. It is not an exchange: its money is made up.

The rules are plain Python (:class:`~.exchange.Exchange`), so tests run them in process and on virtual time. HTTP lives
in ``app.py`` and ``controls.py`` and needs the extra ``[sandbox]``. Nothing here imports the client, so the two cannot
share a mistake.
"""

from airflow_provider_whitebit.sandbox.answers import Answer
from airflow_provider_whitebit.sandbox.clock import Clock, SandboxClock
from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.quirks import Quirks

__all__ = ["Answer", "Clock", "Exchange", "Faults", "Quirks", "SandboxClock"]
