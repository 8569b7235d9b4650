"""Triggers: what waits in Airflow's triggerer instead of in a worker."""
