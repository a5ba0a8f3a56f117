"""Annotators can be excluded with a reason, sessions can be an owner's preview, and a code names a person's data

The view votes_table leaves excluded people and previews out.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
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
WHERE votes.surplus_reason IS NULL{only_counted}
  AND NOT EXISTS (SELECT 1 FROM votes AS correction WHERE correction.supersedes_id = votes.id)
"""


def upgrade() -> None:
    op.execute("DROP VIEW votes_table")  # it would hold its tables in place
    op.add_column("annotators", sa.Column("excluded_ms", KEY, nullable=True))
    op.add_column("annotators", sa.Column("excluded_reason", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("preview", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("sessions", sa.Column("withdraw_code", sa.Text(), nullable=True))
    op.create_index("ix_sessions_withdraw_code", "sessions", ["withdraw_code"], unique=True)
    _make_view("\n  AND sessions.state <> 'excluded' AND NOT sessions.preview")


def downgrade() -> None:
    op.execute("DROP VIEW votes_table")  # it would hold its tables in place
    op.drop_index("ix_sessions_withdraw_code", "sessions")
    op.drop_column("sessions", "withdraw_code")
    op.drop_column("sessions", "preview")
    op.drop_column("annotators", "excluded_reason")
    op.drop_column("annotators", "excluded_ms")
    _make_view("")


def _make_view(only_counted: str) -> None:
    bind = op.get_bind()
    dialect = bind.dialect.name
    time = SQLITE_TIME if dialect == "sqlite" else POSTGRESQL_TIME
    served, answered = time.format("assignments.served_ms"), time.format("votes.answered_ms")
    lookup = LOOKUPS["sqlite" if dialect == "sqlite" else "postgresql"]
    # exec_driver_sql: a '%' here is strftime's, not a parameter.
    bind.exec_driver_sql(VIEW.format(served=served, answered=answered, lookup=lookup, only_counted=only_counted))
