"""What speed and faults of live stores share: a PostgreSQL server of their own."""
