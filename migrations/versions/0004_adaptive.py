"""Adaptive comparisons: which comparison a pair belongs to, the probability of a choice, a study's total of votes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ADAPTIVE = sa.text("comparison_id IS NOT NULL")
SQLITE_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"
POSTGRESQL_TIME = "to_timestamp({} / 1000.0)"

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
       assignments.expected AS expected,
       sessions.simulated AS simulated,
       pairs.sample_index AS sample_index,
       votes.strength AS strength{probability}
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
  AND NOT EXISTS (SELECT 1 FROM votes AS correction WHERE correction.supersedes_id = votes.id)
"""


def upgrade() -> None:
    op.execute("DROP VIEW votes_table")
    op.create_table(
        "comparisons",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("first_arm", sa.Text(), nullable=False),
        sa.Column("second_arm", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_comparisons_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
        sa.UniqueConstraint("study_id", "first_arm", "second_arm", name="uq_comparisons_study_id_first_arm_second_arm"),
    )
    op.create_table(
        "vote_budgets",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("remaining", KEY, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_vote_budgets_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_vote_budgets"),
    )
    op.create_index("ix_vote_budgets_study_id", "vote_budgets", ["study_id"])
    op.add_column("pairs", sa.Column("comparison_id", KEY, nullable=True, comment="of adaptive studies"))
    op.create_index(
        "ix_pairs_comparison",
        "pairs",
        ["comparison_id", "pool", "disabled", "load", "rank"],
        sqlite_where=ADAPTIVE,
        postgresql_where=ADAPTIVE,
    )
    op.add_column("assignments", sa.Column("selection_probability", sa.Double(), nullable=True))
    _make_view(",\n       assignments.selection_probability AS selection_probability")


def downgrade() -> None:
    op.execute("DROP VIEW votes_table")
    op.drop_column("assignments", "selection_probability")
    op.drop_index("ix_pairs_comparison", "pairs")
    op.drop_column("pairs", "comparison_id")
    op.drop_table("vote_budgets")
    op.drop_table("comparisons")
    _make_view("")


def _make_view(probability: str) -> None:
    time = SQLITE_TIME if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_TIME
    served, answered = time.format("assignments.served_ms"), time.format("votes.answered_ms")
    # exec_driver_sql: a '%' here is strftime's, not a parameter.
    op.get_bind().exec_driver_sql(VIEW.format(served=served, answered=answered, probability=probability))
