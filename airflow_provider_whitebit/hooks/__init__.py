"""An Airflow connection becomes a client, with an administrator's limits and journals kept in Airflow."""
