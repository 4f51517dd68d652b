"""Test recordings as BBB publishes them: every generation, any length, the same for the same seed.

``python -m dev.recordings TARGET`` writes one as a folder, or as the archive that a BBB node sends.
"""
