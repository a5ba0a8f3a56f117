"""Triplets of fidelity studies, and how far pictures are from their reference

The votes table shows preference votes only; a trap or bias item is never shown to a person twice.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ONCE = "kind IN ('task', 'warmup', 'gold', 'trap', 'bias') AND state <> 'void'"
ONCE_BEFORE = "kind IN ('task', 'warmup', 'gold') AND state <> 'void'"
NO_TRIPLETS = "\n  AND NOT EXISTS (SELECT 1 FROM triplets WHERE triplets.pair_id = pairs.id)"

SQLITE_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"
POSTGRESQL_TIME = "to_timestamp({} / 1000.0)"
LOOKUPS = {
    "sqlite": "json_extract(assignments.expected, '$.' || votes.question)",
    "postgresql": "CAST(assignments.expected AS json) ->> votes.question",
}

VIEW = """
CREATE VIEW votes_table AS
SELECT studies.slug AS study,
       votes.question AS question,
       pairs.pair_key AS pair_id,
       prompts.prompt_key AS prompt_id,
       prompts.category AS category,
       CASE WHEN assignments.first_on_left THEN first_image.arm ELSE second_image.arm END AS left_arm,
       CASE WHEN assignments.first_on_left THEN second_image.arm ELSE first_image.arm END AS right_arm,
       votes.choice AS choice,
       annotators.pseudonym AS annotator,
       sessions.pseudonym AS session,
       {served} AS served_at,
       {answered} AS answered_at,
       votes.response_ms AS response_ms,
       assignments.kind AS kind,
       CASE WHEN substr(assignments.expected, 1, 1) = '{{'
            THEN {lookup} ELSE assignments.expected END AS expected,
       sessions.simulated AS simulated,
       pairs.sample_index AS sample_index,
       votes.strength AS strength,
       assignments.selection_probability AS selection_probability,
       votes.doubt AS doubt
FROM votes
JOIN assignments ON assignments.id = votes.assignment_id
JOIN sessions ON sessions.id = votes.session_id
JOIN annotators ON annotators.id = sessions.annotator_id
JOIN studies ON studies.id = sessions.study_id
JOIN pairs ON pairs.id = assignments.pair_id
JOIN prompts ON prompts.id = pairs.prompt_id
JOIN images AS first_image ON first_image.id = pairs.first_image_id
JOIN images AS second_image ON second_image.id = pairs.second_image_id
WHERE votes.surplus_reason IS NULL
  AND sessions.state <> 'excluded' AND NOT sessions.preview
  AND NOT EXISTS (SELECT 1 FROM votes AS correction WHERE correction.supersedes_id = votes.id){more}
"""


def upgrade() -> None:
    """Two tables, the wider index, and the narrower view."""
    op.create_table(
        "triplets",
        sa.Column("pair_id", KEY, nullable=False),
        sa.Column("presentation", sa.Text(), nullable=False, comment="plain | boosted"),
        sa.Column("reference_image_id", KEY, nullable=False),
        sa.Column("shown_reference_id", KEY, nullable=False),
        sa.Column("shown_first_id", KEY, nullable=False),
        sa.Column("shown_second_id", KEY, nullable=False),
        sa.Column("factor", sa.Double(), nullable=True),
        sa.Column("rate_hz", sa.Double(), nullable=True),
        sa.Column("crop_x", KEY, nullable=True),
        sa.Column("crop_y", KEY, nullable=True),
        sa.Column("crop_width", KEY, nullable=True),
        sa.Column("crop_height", KEY, nullable=True),
        sa.Column("clipped", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name="fk_triplets_pair_id", ondelete="CASCADE"),
        *(
            sa.ForeignKeyConstraint([name], ["images.id"], name=f"fk_triplets_{name}", ondelete="CASCADE")
            for name in ("reference_image_id", "shown_reference_id", "shown_first_id", "shown_second_id")
        ),
        sa.PrimaryKeyConstraint("pair_id", name="pk_triplets"),
    )
    op.create_table(
        "differences",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("image_id", KEY, nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("spot", sa.Double(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_differences_study_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_differences_image_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_differences"),
        sa.UniqueConstraint("image_id", name="uq_differences_image_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_differences_study_id", "differences", ["study_id"])
    _make_index(ONCE)
    _make_view(NO_TRIPLETS)


def downgrade() -> None:
    """Fidelity studies are deleted: without their tables their votes would look like preferences."""
    bind = op.get_bind()
    bind.exec_driver_sql(
        "DELETE FROM studies WHERE id IN (SELECT study_id FROM pairs JOIN triplets ON triplets.pair_id = pairs.id)"
    )
    _make_view("")
    _make_index(ONCE_BEFORE)
    op.drop_table("differences")
    op.drop_table("triplets")


def _make_index(where: str) -> None:
    op.drop_index("uq_assignments_once", table_name="assignments")
    op.create_index(
        "uq_assignments_once",
        "assignments",
        ["annotator_id", "pair_id"],
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def _make_view(more: str) -> None:
    bind = op.get_bind()
    dialect = bind.dialect.name
    time = SQLITE_TIME if dialect == "sqlite" else POSTGRESQL_TIME
    served, answered = time.format("assignments.served_ms"), time.format("votes.answered_ms")
    lookup = LOOKUPS["sqlite" if dialect == "sqlite" else "postgresql"]
    bind.exec_driver_sql("DROP VIEW votes_table")
    # exec_driver_sql: a '%' here is strftime's, not a parameter.
    bind.exec_driver_sql(VIEW.format(served=served, answered=answered, lookup=lookup, more=more))
