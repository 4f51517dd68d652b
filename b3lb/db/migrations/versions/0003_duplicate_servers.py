"""Which nodes are the server of an older one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring schema version 2 to version 3; older programs go on working."""
    op.add_column(
        "node_states",
        sa.Column("duplicate_of", sa.BigInteger(), nullable=True, comment="older node that is the same server"),
    )
    op.add_column("node_states", sa.Column("duplicate_of_revision", sa.BigInteger(), nullable=True))
