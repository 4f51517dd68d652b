"""Recordings: what a node says of one, how long each is kept, and how it is played."""
