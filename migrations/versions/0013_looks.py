"""The looks of a study with a stopping rule"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """One table; pairs of decided arms have the pool "decided"."""
    op.create_table(
        "study_looks",
        sa.Column("study_id", KEY, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", KEY, primary_key=True, autoincrement=False),
        sa.Column("at_ms", KEY, nullable=False),
        sa.Column("look", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Drop it; pairs of decided arms are asked again."""
    op.execute("UPDATE pairs SET pool = 'task' WHERE pool = 'decided'")
    op.drop_table("study_looks")
