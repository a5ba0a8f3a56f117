"""Sets of pictures that are ranked at once"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """A table beside `pairs`, as `triplets` is, and where the pictures of an assignment lie."""
    op.create_table(
        "ranked_sets",
        sa.Column("pair_id", KEY, sa.ForeignKey("pairs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("third_image_id", KEY, sa.ForeignKey("images.id", ondelete="CASCADE"), nullable=False),
        sa.Column("fourth_image_id", KEY, sa.ForeignKey("images.id", ondelete="CASCADE")),
    )
    # Of a ranked set: numbers of the pictures as they lay, "2031".
    op.add_column("assignments", sa.Column("places", sa.Text()))


def downgrade() -> None:
    """Drop both."""
    op.drop_column("assignments", "places")
    op.drop_table("ranked_sets")
