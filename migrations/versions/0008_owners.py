"""Owners: their accounts, their sign-ins, and a log of what they did"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "owners",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False, comment="owner | viewer"),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_ms", KEY, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_owners"),
        sa.UniqueConstraint("name", name="uq_owners_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "owner_sign_ins",
        sa.Column("id", KEY, nullable=False),
        sa.Column("owner_id", KEY, nullable=True),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("started_ms", KEY, nullable=False),
        sa.Column("seen_ms", KEY, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name="fk_owner_sign_ins_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_owner_sign_ins"),
        sa.UniqueConstraint("token_hash", name="uq_owner_sign_ins_token_hash"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "owner_actions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("at_ms", KEY, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("study", sa.Text(), nullable=True, comment="slug; the row outlives the study"),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_owner_actions"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("owner_actions")
    op.drop_table("owner_sign_ins")
    op.drop_table("owners")
