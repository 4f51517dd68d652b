"""Builds the images of the Dockerfile and checks what is in them; ``python -m dev.images``."""
