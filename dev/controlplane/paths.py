"""Paths of objects at the API server, by the names that kubectl has for one object; nothing here does I/O."""

_BBB = ("bbbcluster", "bbbnode", "bbbqueue", "bbbtenant", "bbbsecret", "bbbrecordprofile", "bbbrecording")
# https://kubernetes.io/docs/reference/using-api/#api-groups
_GROUPS = {
    **dict.fromkeys(_BBB, "/apis/b3lb.io/v1alpha1"),
    **dict.fromkeys(("configmap", "persistentvolumeclaim", "pod", "secret", "service", "serviceaccount"), "/api/v1"),
    **dict.fromkeys(("deployment", "statefulset"), "/apis/apps/v1"),
    **dict.fromkeys(("cronjob", "job"), "/apis/batch/v1"),
    "lease": "/apis/coordination.k8s.io/v1",
    "poddisruptionbudget": "/apis/policy/v1",
    **dict.fromkeys(("role", "rolebinding"), "/apis/rbac.authorization.k8s.io/v1"),
}


def collection_path(kind: str, *, namespace: str) -> str:
    """Return the path of all objects of a kind in a namespace; arguments and errors as of `object_path`."""
    return f"{_GROUPS[kind]}/namespaces/{namespace}/{kind}s"


def object_path(kind: str, name: str, *, namespace: str) -> str:
    """Return the path of an object in a namespace.

    Args:
        kind: What kubectl calls one object, in full, e.g. ``bbbnode`` or ``cronjob``.
        name: Its name.
        namespace: Its namespace.

    Raises:
        KeyError: The kind is not known here.
    """
    return f"{collection_path(kind, namespace=namespace)}/{name}"
