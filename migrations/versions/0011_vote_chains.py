"""A hash chain of each study's votes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _of_study() -> sa.Column[int]:
    return sa.Column("study_id", KEY, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Three tables; the votes themselves stay as they are."""
    op.create_table(
        "vote_chains",
        _of_study(),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("length", KEY, nullable=False),
        sa.Column("preregistration", sa.Text()),
    )
    op.create_table(
        "vote_leaves",
        _of_study(),
        sa.Column("position", KEY, primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.Text(), nullable=False),
        sa.Column("vote_id", KEY, sa.ForeignKey("votes.id", ondelete="SET NULL"), unique=True),
    )
    op.create_table(
        "vote_seals",
        _of_study(),
        sa.Column("votes", KEY, primary_key=True, autoincrement=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("sealed_ms", KEY, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("vote_seals", "vote_leaves", "vote_chains"):
        op.drop_table(table)
