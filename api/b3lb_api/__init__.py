"""The front end: uploads of recordings."""
