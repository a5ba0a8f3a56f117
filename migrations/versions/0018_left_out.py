"""studies.left_out: pairs of the image set that a study does not show, counted by reason, as JSON"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of older studies it is not known."""
    op.add_column("studies", sa.Column("left_out", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("studies", "left_out")
