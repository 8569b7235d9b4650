"""The parts of the provider that run inside Airflow's own processes."""
