"""Fixtures that several folders share: one running Airflow for all of a session."""

pytest_plugins = ["tests.running_airflow"]
