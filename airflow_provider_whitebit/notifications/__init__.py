"""Texts for Airflow's own notifiers."""
