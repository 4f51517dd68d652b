"""Recordings: what a node says of one."""
