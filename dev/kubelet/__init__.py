"""A process kubelet: runs the pods of a real Kubernetes control plane as plain local processes.

It registers a Node in a kube-apiserver, takes the pods the scheduler binds to it, starts their containers as local
processes and writes their statuses as a real kubelet does, so that Jobs, CronJobs and their controllers can be tested
without a container runtime. Start it with ``python -m dev.kubelet --help``.

What a container sees:

* A clean environment: ``PATH``, ``HOME``, ``LANG`` and ``HOSTNAME``, the variables of its image (see
  :mod:`dev.kubelet.images`), those of its pod, and ``B3LB_POD_ROOT``, the pod's own directory on this machine, which
  is also the default working directory.
* As root, private mount and UTS namespaces: volumes, ``/var/run/secrets/kubernetes.io/serviceaccount``, the
  termination log, ``/etc/hosts`` and the host name are the pod's own; nothing on this machine changes.
* Otherwise (or with ``--no-private-mounts``) nothing can be mounted. Every volume is a directory below
  ``$B3LB_POD_ROOT/volumes``, and every environment value, command word and argument that is a ``mountPath`` or begins
  with one and a slash is rewritten to it. ``B3LB_TERMINATION_LOG`` and ``B3LB_SERVICE_ACCOUNT_DIRECTORY`` tell the
  real paths of what has a fixed place in a container.
* The network of this machine. A pod's address is its own loopback address; programs should bind to
  ``status.podIP`` only. There is no DNS and no Service address; ``KUBERNETES_SERVICE_HOST`` is the API server itself.

What it does not show: images, cgroups (memory is sampled, CPU is not limited), users and groups, a read-only root,
seccomp, eviction, NetworkPolicy, exec, port-forward and logs through the API server, Events. Probes, lifecycle hooks,
restartable init containers and volumes that need a storage driver are not there either.
"""
