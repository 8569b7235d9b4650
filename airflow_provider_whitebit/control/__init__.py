"""What people use to control moves, in processes with access to Airflow's database: the API server and commands."""
