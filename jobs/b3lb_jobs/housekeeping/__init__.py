"""The queue housekeeping: what has been kept long enough goes."""
