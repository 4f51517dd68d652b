"""The domain of b3lb, a load balancer for farms of BigBlueButton servers; knows nothing of Kubernetes."""

__version__ = "0.1.0"
