"""Moves money once, over an exchange that has no idempotency keys. Knows nothing of Airflow."""
