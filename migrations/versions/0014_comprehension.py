"""sessions.comprehension: tries and outcome of the questions about the instructions, as JSON"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("sessions", sa.Column("comprehension", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("sessions", "comprehension")
