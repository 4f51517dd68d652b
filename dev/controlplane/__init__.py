"""A real Kubernetes control plane (etcd, API server, controllers, scheduler) on 127.0.0.1, without nodes."""

from dev.controlplane.plane import ControlPlane, KubectlError

__all__ = ["ControlPlane", "KubectlError"]
