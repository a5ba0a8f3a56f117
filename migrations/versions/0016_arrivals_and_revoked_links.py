"""How many browsers opened a study's link, and personal links that were taken back"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _of_study() -> sa.Column[int]:
    return sa.Column("study_id", KEY, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Two tables."""
    op.create_table("study_arrivals", _of_study(), sa.Column("browsers", KEY, nullable=False))
    op.create_table(
        "revoked_links",
        _of_study(),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("revoked_ms", KEY, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("revoked_links")
    op.drop_table("study_arrivals")
