"""Callbacks to front ends: what they say, when they are tried again, and how they are delivered."""
