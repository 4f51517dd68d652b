"""Pure builders: plain values in, dictionaries of the Kubernetes API out."""
