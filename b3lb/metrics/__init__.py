"""Metrics: from rows of the database to families of Prometheus, without I/O."""
