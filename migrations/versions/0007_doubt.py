"""votes_table has `doubt`: why a stored value is not credible"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

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
       assignments.selection_probability AS selection_probability{doubt}
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
    """Add the column."""
    _make_view(",\n       votes.doubt AS doubt")


def downgrade() -> None:
    """Take it away."""
    _make_view("")


def _make_view(doubt: str) -> None:
    bind = op.get_bind()
    dialect = bind.dialect.name
    time = SQLITE_TIME if dialect == "sqlite" else POSTGRESQL_TIME
    served, answered = time.format("assignments.served_ms"), time.format("votes.answered_ms")
    lookup = LOOKUPS["sqlite" if dialect == "sqlite" else "postgresql"]
    bind.exec_driver_sql("DROP VIEW votes_table")
    # exec_driver_sql: a '%' here is strftime's, not a parameter.
    bind.exec_driver_sql(VIEW.format(served=served, answered=answered, lookup=lookup, doubt=doubt))
