"""Meetings: whose they are, how they begin and end, and the lists that tenants see."""
