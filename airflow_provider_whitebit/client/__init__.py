"""Speaks WhiteBIT's HTTP API v4. Knows nothing of Airflow."""
