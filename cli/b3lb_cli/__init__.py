"""The command ``b3lb``: what people and scripts ask of a farm."""
