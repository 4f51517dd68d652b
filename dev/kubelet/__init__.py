"""A process kubelet: runs the pods of a real Kubernetes control plane as plain local processes.

It registers a Node in a kube-apiserver, takes the pods the scheduler binds to it, starts their containers as local
processes and writes their statuses as a real kubelet does, so that Jobs, CronJobs, Deployments, StatefulSets and
their controllers can be tested without a container runtime. Start it with ``python -m dev.kubelet --help``.

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
  ``status.podIP`` only, for ``127.0.0.1`` belongs to all of them. ``KUBERNETES_SERVICE_HOST`` is the API server itself.
* With private mounts, names of Services in ``/etc/hosts``, see :mod:`dev.kubelet.services`: they lead straight to the
  ready pods, so only their own ports count. Root also has ``kubernetes.default.svc`` on port 443.

Probes (``httpGet``, ``tcpSocket``, ``exec``) and ``preStop`` hooks work as in a container, and so do restarts with
their back-off. The stop signal goes to the container's first process; what that leaves behind is killed.

Claims are bound to static volumes (:mod:`dev.kubelet.storage`), which are directories of this machine. Their size, and
``runAsUser``, ``fsGroup`` and ``readOnlyRootFilesystem``, are accepted and mean nothing. A pod whose ``emptyDir`` grows
beyond its ``sizeLimit`` is evicted.

What it does not show: images, cgroups (memory is sampled, CPU is not limited), users and groups, a read-only root,
seccomp, eviction by the node, DNS, cluster addresses, NetworkPolicy, exec, port-forward and logs through the API
server, Events. ``grpc`` probes, ``postStart`` hooks, restartable init containers and volumes that need a storage driver
are not there.
"""
