"""What the operator shows of farms and queues below ``/control``: read-only, behind a token."""
