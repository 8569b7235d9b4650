"""The commands of ``airflow whitebit``, one module for each group."""
