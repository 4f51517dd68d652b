"""The tasks of the queue ``statistics``."""
