"""What the DAGs of `deploy/airflow` need from Airflow 3 (extra `airflow`): a sensor, and how errors end."""
