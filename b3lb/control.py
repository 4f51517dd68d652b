"""What the operator's end point, its clients and the requests by annotation have to call alike."""

CONTROL_PATH = "/control/v1"
"""Below it are the documents, all read-only."""

TOKEN_HEADER = "X-B3LB-Token"  # noqa: S105 - the name of a header
"""Carries the token: an API server's proxy takes ``Authorization`` away."""

REQUEST_PREFIX = "request.b3lb.io/"
"""Begins the name of an annotation of a BBBQueue that is a request; a UUID follows."""

LARGEST_REQUEST = 65_536
"""Most bytes of one request."""
