"""What the reasons of a BBBNode, a BBBCluster and a BBBQueue mean."""

from __future__ import annotations

from b3lb.health import LoadReason, Reason
from b3lb.resources.conditions import (
    ClusterCondition,
    ClusterReason,
    NodeBlock,
    NodeCondition,
    NodeReason,
    QueueCondition,
    QueueReason,
)
from b3lb.resources.reasons.meaning import DATABASE_REFUSED, DATABASE_UNAVAILABLE, INVALID_SPEC, Meaning, meanings

_UNKNOWN: dict[str, str] = {
    NodeReason.STALE: "No tick of check-nodes finished for 150 s: see the BBBQueue, its CronJob and its Jobs.",
    NodeReason.DATABASE_UNAVAILABLE: DATABASE_UNAVAILABLE,
}

NODE_REASONS = (
    *meanings(NodeCondition.READY, "True", {Reason.RESPONDING: "The server answers getMeetings."}),
    *meanings(
        NodeCondition.READY,
        "False",
        {
            Reason.DNS: "The host name does not resolve.",
            Reason.REFUSED: "Nothing listens there.",
            Reason.UNREACHABLE: "There is no route to the host.",
            Reason.DISCONNECTED: "The connection broke before the answer was complete.",
            Reason.TIMEOUT: "No complete answer within the cluster's health.timeoutSeconds.",
            Reason.TLS: "The certificate is not trusted, has expired or is for another name; see the cluster's tls.",
            Reason.HTTP_STATUS: "The answer is not HTTP 200; redirects are not followed.",
            Reason.CHECKSUM_ERROR: "The server refuses the signature: wrong secret, or wrong checksumAlgorithm.",
            Reason.API_ERROR: "BigBlueButton answers FAILED; the message has its words.",
            Reason.INVALID_XML: "The answer is not what getMeetings returns: is it the URL of the API?",
            Reason.TOO_LARGE: "The answer is larger than is read.",
            NodeBlock.SECRET_NOT_FOUND: "The Secret of secretRef does not exist.",
            NodeBlock.SECRET_KEY_NOT_FOUND: "The Secret of secretRef has no such key.",
            NodeBlock.INVALID_SECRET: "The value of the Secret cannot be a shared secret, e.g. it is empty.",
            NodeBlock.CLUSTER_NOT_FOUND: "The BBBCluster of clusterRef does not exist.",
            NodeBlock.CA_SECRET_NOT_FOUND: "The Secret of the cluster's tls.caSecretRef does not exist; none is polled "
            "with other certificate authorities than the cluster asks for.",
            NodeBlock.CA_SECRET_KEY_NOT_FOUND: "The Secret of the cluster's tls.caSecretRef has no such key.",
            NodeBlock.INVALID_CERTIFICATES: "The value of the cluster's tls.caSecretRef is no bundle of PEM "
            "certificates.",
            NodeBlock.DUPLICATE_URL: "An older BBBNode has the same apiUrl.",
            NodeBlock.INVALID_SPEC: INVALID_SPEC,
            NodeBlock.DATABASE_REFUSED: DATABASE_REFUSED.format("the node is not polled"),
            NodeReason.DISABLED: "spec.state is Disabled.",
        },
    ),
    *meanings(
        NodeCondition.READY,
        "Unknown",
        {
            NodeReason.PENDING: "Not polled yet with this configuration.",
            NodeReason.SECRET_UNREADABLE: "The jobs cannot decrypt the node's API secret: B3LB_ENCRYPTION_KEYS in the "
            "Secret that their pods read differs from the operator's.",
            **_UNKNOWN,
        },
    ),
    *meanings(NodeCondition.SCHEDULABLE, "True", {NodeReason.SCHEDULABLE: "The node gets new meetings."}),
    *meanings(
        NodeCondition.SCHEDULABLE,
        "False",
        {
            NodeReason.SUSPECT: "The last poll failed; the node is Ready until health.unhealthyAfter fail in a row.",
            NodeReason.DUPLICATE_SERVER: "An older BBBNode is the same server by another address: both list the same "
            "meetings, which count there only. Delete one of the two, or change its address.",
            NodeReason.CORDONED: "spec.state is Cordoned.",
            NodeReason.DRAINING: "spec.state is Draining.",
            NodeReason.DELETING: "The object is being deleted and waits for its meetings to end.",
            NodeReason.MAX_MEETINGS_REACHED: "As many meetings run as spec.maxMeetings allows.",
            NodeReason.MAX_ATTENDEES_REACHED: "As many attendees are there as spec.maxAttendees allows.",
        },
    ),
    Meaning(NodeCondition.SCHEDULABLE, "False, Unknown", "…", "The reason of Ready, when the node is not Ready."),
    *meanings(NodeCondition.LOAD_REPORTED, "True", {LoadReason.REPORTED: "loadUrl answers with the CPU's use."}),
    *meanings(
        NodeCondition.LOAD_REPORTED,
        "False",
        {
            LoadReason.NOT_FOUND: "loadUrl does not exist (404); the load counts meetings and attendees only.",
            LoadReason.HTTP_STATUS: "loadUrl answers with another status than 200.",
            LoadReason.NOT_A_NUMBER: "loadUrl answers with something that is not a whole number.",
            LoadReason.NEGATIVE: "loadUrl answers with a negative number.",
            LoadReason.TOO_HIGH: "loadUrl answers with a number above 10000.",
            LoadReason.UNREACHABLE: "loadUrl does not answer.",
        },
    ),
    *meanings(
        NodeCondition.LOAD_REPORTED,
        "Unknown",
        {NodeReason.NOT_READY: "The load is asked for only while the node is Ready."},
    ),
    Meaning(NodeCondition.LOAD_REPORTED, "Unknown", "…", "The reason of Ready, when that is Unknown."),
    *meanings(
        NodeCondition.DRAINED, "True", {NodeReason.NO_MEETINGS: "A poll since the drain began found no meetings."}
    ),
    *meanings(
        NodeCondition.DRAINED,
        "False",
        {
            NodeReason.MEETINGS_RUNNING: "Meetings still run; the message says how many, and until when they may.",
            NodeReason.DEADLINE_EXCEEDED: "drain.deadlineSeconds have passed.",
        },
    ),
    *meanings(NodeCondition.DRAINED, "Unknown", {NodeReason.PENDING: "No good poll since the drain began."}),
    Meaning(NodeCondition.DRAINED, "Unknown", "…", "The reason of Ready, when the node is not Ready."),
)

CLUSTER_REASONS = (
    *meanings(ClusterCondition.READY, "True", {ClusterReason.ACCEPTED: "The policies are in use."}),
    *meanings(
        ClusterCondition.READY,
        "False",
        {
            ClusterReason.SECRET_NOT_FOUND: "The Secret of tls.caSecretRef does not exist.",
            ClusterReason.SECRET_KEY_NOT_FOUND: "The Secret of tls.caSecretRef has no such key.",
            ClusterReason.INVALID_CERTIFICATES: "The value of tls.caSecretRef is no bundle of PEM certificates.",
            ClusterReason.UPLOAD_SECRET_NOT_FOUND: "The Secret of uploadSecretRef does not exist; its servers' "
            "recordings are not taken, all else works.",
            ClusterReason.UPLOAD_SECRET_KEY_NOT_FOUND: "The Secret of uploadSecretRef has no such key; its servers' "
            "recordings are not taken, all else works.",
            ClusterReason.INVALID_UPLOAD_SECRET: "The value of uploadSecretRef is empty, too long or not text; its "
            "servers' recordings are not taken, all else works.",
            ClusterReason.INVALID_SPEC: INVALID_SPEC,
            ClusterReason.DATABASE_REFUSED: DATABASE_REFUSED.format("the policies before stay in use"),
        },
    ),
    *meanings(
        ClusterCondition.READY,
        "Unknown",
        {
            ClusterReason.PENDING: "The policies are not in the database yet.",
            ClusterReason.DATABASE_UNAVAILABLE: DATABASE_UNAVAILABLE,
        },
    ),
    *meanings(
        ClusterCondition.MASS_FAILURE,
        "True",
        {
            ClusterReason.NODES_FAILING: "So many nodes failed at once that the fault is looked for on this side; all "
            "nodes keep their state."
        },
    ),
    *meanings(
        ClusterCondition.MASS_FAILURE,
        "False",
        {
            ClusterReason.BELOW_SHARE: "Fewer nodes fail at once than massFailureGuard says.",
            ClusterReason.GUARD_EXHAUSTED: "The guard held for maximumSeconds; failures count again.",
        },
    ),
    *meanings(
        ClusterCondition.MASS_FAILURE,
        "Unknown",
        {ClusterReason.PENDING: "No round of health checks was seen yet.", **_UNKNOWN},
    ),
)

QUEUE_REASONS = (
    *meanings(
        QueueCondition.READY,
        "True",
        {
            QueueReason.SCHEDULED: "A CronJob runs the tasks.",
            QueueReason.ON_DEMAND: "There is no spec.schedule: the tasks run when they are enqueued.",
        },
    ),
    *meanings(
        QueueCondition.READY,
        "False",
        {
            QueueReason.SUSPENDED: "spec.suspend is true.",
            QueueReason.UNKNOWN_TASK: "There is no task of that name; the message lists those that there are.",
            QueueReason.TASK_IN_OTHER_QUEUE: "An older BBBQueue has one of the tasks, and keeps it also while it "
            "is suspended: delete the older one, or take the task out of it.",
            QueueReason.IMAGE_MISSING: "Neither spec.image nor the operator's B3LB_JOB_IMAGE names an image.",
            QueueReason.JOBS_FAILING: "The Job that finished last failed; or, of a queue that runs every minute, none "
            "succeeded for 150 s and no pod runs: see its Jobs and their pods. The message names core Secrets that the "
            "pods need and that do not exist.",
            QueueReason.REFUSED: "The API server refuses the CronJob, or there is another one of its name; the message "
            "says more.",
            QueueReason.INVALID_SPEC: INVALID_SPEC,
            QueueReason.DATABASE_REFUSED: DATABASE_REFUSED.format("the pods use what was stored before"),
        },
    ),
    *meanings(QueueCondition.READY, "Unknown", {QueueReason.PENDING: "The CronJob is not there yet."}),
)
