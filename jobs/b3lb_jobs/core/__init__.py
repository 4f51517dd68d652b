"""The tasks of the core queue."""
