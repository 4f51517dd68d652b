"""From custom resources and Secrets to configuration rows: pure functions.

What is missing or wrong never raises: it becomes the reason why an object cannot be worked with.
"""

from b3lb_operator.resolve.configuration import (
    Configuration,
    Objects,
    Surroundings,
    configure,
    referred_names,
    secret_names,
)
from b3lb_operator.resolve.nodes import gives_way, resolve_cluster, resolve_node, resolve_queue
from b3lb_operator.resolve.refused import without_spec
from b3lb_operator.resolve.specs import Secrets, parse_spec
from b3lb_operator.resolve.tenants import (
    api_secret_ref,
    resolve_api_secret,
    resolve_record_profile,
    resolve_tenant,
    slug_owners,
    tenant_name,
)

__all__ = [
    "Configuration",
    "Objects",
    "Secrets",
    "Surroundings",
    "api_secret_ref",
    "configure",
    "gives_way",
    "parse_spec",
    "referred_names",
    "resolve_api_secret",
    "resolve_cluster",
    "resolve_node",
    "resolve_queue",
    "resolve_record_profile",
    "resolve_tenant",
    "secret_names",
    "slug_owners",
    "tenant_name",
    "without_spec",
]
