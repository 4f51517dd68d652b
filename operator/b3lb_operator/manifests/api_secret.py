"""The core Secret in which a generated API secret is kept: a pure function."""

from __future__ import annotations

import base64

from b3lb.resources.secret import GENERATED_SECRET_KEY, generated_secret_name
from b3lb_operator.kinds import API_SECRET, PART_OF_LABEL, SECRET, Manifest


def build_generated_secret(owner: Manifest, value: str) -> Manifest:
    """Return the Secret with ``value`` that goes when its BBBSecret ``owner`` goes.

    It does not block the owner's deletion, which would take a right to the owner's finalizers on some clusters
    (admission plugin OwnerReferencesPermissionEnforcement).
    """
    metadata = owner["metadata"]
    label, _, text = PART_OF_LABEL.partition("=")
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": generated_secret_name(metadata["name"]),
            "labels": {label: text},
            "ownerReferences": [
                {
                    "apiVersion": API_SECRET.api_version,
                    "kind": API_SECRET.name,
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "type": "Opaque",
        "data": {GENERATED_SECRET_KEY: base64.b64encode(value.encode()).decode()},
    }
