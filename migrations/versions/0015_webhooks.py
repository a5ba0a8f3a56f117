"""Webhooks, and the outbox of what they are told"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "webhooks",
        sa.Column("id", KEY, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False, comment="names with spaces between"),
        sa.Column("study", sa.Text(), nullable=True),
        sa.Column("allow_private", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_ms", KEY, nullable=False),
        sa.Column("disabled_ms", KEY, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", KEY, nullable=False),
        sa.Column("webhook_id", KEY, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("study", sa.Text(), nullable=True),
        sa.Column("event_key", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_ms", KEY, nullable=False),
        sa.Column("due_ms", KEY, nullable=False),
        sa.Column("attempts", KEY, nullable=False, server_default="0"),
        sa.Column("state", sa.Text(), nullable=False, comment="waiting | delivered | failed"),
        sa.Column("status", KEY, nullable=True, comment="of the last answer"),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("done_ms", KEY, nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name="fk_webhook_deliveries_webhook_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.UniqueConstraint("webhook_id", "event_key", name="uq_webhook_deliveries_webhook_id_event_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_deliveries_state_due_ms", "webhook_deliveries", ["state", "due_ms"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
