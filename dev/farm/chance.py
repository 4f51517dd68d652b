"""A biased coin."""

from random import Random


def chance(random: Random, probability: float) -> bool:
    """True with the given probability (0 to 1)."""
    return random.random() < probability
