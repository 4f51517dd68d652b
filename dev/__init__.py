"""What demo and tests stand on: control plane, process kubelet, PostgreSQL, simulated farm; never imported by b3lb."""
