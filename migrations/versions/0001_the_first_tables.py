"""The tables and the view `votes_table`: the schema of the first release

Its name is 0004, because four migrations were made one before the release: a database that they built is up to date.
The view has the columns of the votes contract, one row per effective vote: not superseded by a correction, and not
surplus to its pair's target.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = None
branch_labels = None
depends_on = None


KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ONCE = sa.text("kind IN ('task', 'warmup', 'gold') AND state <> 'void'")
LEASED = sa.text("state = 'leased'")
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
       votes.strength AS strength,
       assignments.selection_probability AS selection_probability
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
    op.create_table(
        "studies",
        sa.Column("id", KEY, nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="importing | open | paused | closed"),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("set_path", sa.Text(), nullable=False),
        sa.Column("created_ms", KEY, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("slug", name="uq_studies_slug"),
    )
    op.create_table(
        "annotators",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("created_ms", KEY, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_annotators_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_annotators"),
        sa.UniqueConstraint("pseudonym", name="uq_annotators_pseudonym"),
    )
    op.create_index("ix_annotators_study_id", "annotators", ["study_id"])

    op.create_table(
        "prompts",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("prompt_key", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("category", sa.Text()),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_prompts_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_prompts"),
        sa.UniqueConstraint("study_id", "prompt_key", name="uq_prompts_study_id_prompt_key"),
    )
    op.create_table(
        "images",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("prompt_id", KEY, nullable=False),
        sa.Column("sample_index", KEY, nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("width", KEY, nullable=False),
        sa.Column("height", KEY, nullable=False),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name="fk_images_prompt_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_images_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.UniqueConstraint("prompt_id", "sample_index", "arm", name="uq_images_prompt_id_sample_index_arm"),
    )
    op.create_index("ix_images_study_id", "images", ["study_id"])

    op.create_table(
        "platform_identities",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("annotator_id", KEY, nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"],
            ["annotators.id"],
            name="fk_platform_identities_annotator_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name="fk_platform_identities_study_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_platform_identities"),
        sa.UniqueConstraint(
            "study_id", "platform", "external_id", name="uq_platform_identities_study_id_platform_external_id"
        ),
    )
    op.create_index("ix_platform_identities_annotator_id", "platform_identities", ["annotator_id"])

    op.create_table(
        "sessions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("annotator_id", KEY, nullable=False),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="active | finished | screened_out"),
        sa.Column("consent_version", sa.Text(), nullable=False),
        sa.Column("started_ms", KEY, nullable=False),
        sa.Column("finished_ms", KEY),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("position", KEY, server_default="0", nullable=False),
        sa.Column("done", KEY, server_default="0", nullable=False),
        sa.Column("practice_done", KEY, server_default="0", nullable=False),
        sa.Column("voided", KEY, server_default="0", nullable=False),
        sa.Column("left_balance", KEY, server_default="0", nullable=False),
        sa.Column(
            "recent",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="prompt ids of the latest trials, oldest first",
        ),
        sa.Column("last_assignment_id", KEY),
        sa.Column("tab_token", sa.Text()),
        sa.Column("tab_seen_ms", KEY),
        sa.Column("screening", sa.Text()),
        sa.Column("demographics", sa.Text()),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.id"], name="fk_sessions_annotator_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_sessions_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("pseudonym", name="uq_sessions_pseudonym"),
    )
    op.create_index("ix_sessions_annotator_id", "sessions", ["annotator_id"])
    op.create_index("ix_sessions_study_id", "sessions", ["study_id"])

    op.create_table(
        "pairs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("pair_key", sa.Text(), nullable=False),
        sa.Column("prompt_id", KEY, nullable=False),
        sa.Column("sample_index", KEY, nullable=False),
        sa.Column("first_image_id", KEY, nullable=False),
        sa.Column("second_image_id", KEY, nullable=False),
        sa.Column("pool", sa.Text(), nullable=False, comment="task | practice | gold"),
        sa.Column("better", sa.Text(), comment="first | second, where the right answer is known"),
        sa.Column("why", sa.Text()),
        sa.Column("rank", KEY, nullable=False),
        sa.Column("load", KEY, server_default="0", nullable=False),
        sa.Column("side_balance", KEY, server_default="0", nullable=False),
        sa.Column("problems", KEY, server_default="0", nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("comparison_id", KEY, comment="of adaptive studies"),
        sa.ForeignKeyConstraint(["first_image_id"], ["images.id"], name="fk_pairs_first_image_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name="fk_pairs_prompt_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["second_image_id"], ["images.id"], name="fk_pairs_second_image_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_pairs_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_pairs"),
        sa.UniqueConstraint("study_id", "pair_key", name="uq_pairs_study_id_pair_key"),
    )
    op.create_index("ix_pairs_open", "pairs", ["study_id", "pool", "disabled", "load", "rank"])
    op.create_index(
        "ix_pairs_comparison",
        "pairs",
        ["comparison_id", "pool", "disabled", "load", "rank"],
        sqlite_where=ADAPTIVE,
        postgresql_where=ADAPTIVE,
    )

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

    op.create_table(
        "platform_sessions",
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("annotator_id", KEY, nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("external_study", sa.Text()),
        sa.Column("external_session", sa.Text()),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.id"], name="fk_platform_sessions_annotator_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_platform_sessions_session_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", name="pk_platform_sessions"),
        sa.UniqueConstraint(
            "annotator_id", "external_session", name="uq_platform_sessions_annotator_id_external_session"
        ),
    )
    op.create_table(
        "assignments",
        sa.Column("id", KEY, nullable=False),
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("annotator_id", KEY, nullable=False),
        sa.Column("pair_id", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", KEY, nullable=False),
        sa.Column("first_on_left", sa.Boolean(), nullable=False),
        sa.Column("expected", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False, comment="leased | voted | expired | void | reported"),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("reopened", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("served_ms", KEY, nullable=False),
        sa.Column("lease_expires_ms", KEY, nullable=False),
        sa.Column("successor_id", KEY),
        sa.Column("selection_probability", sa.Double()),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name="fk_assignments_pair_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_assignments_session_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_assignments"),
    )
    op.create_index(
        "ix_assignments_leases",
        "assignments",
        ["lease_expires_ms"],
        sqlite_where=LEASED,
        postgresql_where=LEASED,
    )
    op.create_index("ix_assignments_pair", "assignments", ["pair_id"])
    op.create_index("ix_assignments_session_position", "assignments", ["session_id", "position"])
    op.create_index(
        "uq_assignments_once",
        "assignments",
        ["annotator_id", "pair_id"],
        unique=True,
        sqlite_where=ONCE,
        postgresql_where=ONCE,
    )

    op.create_table(
        "reports",
        sa.Column("id", KEY, nullable=False),
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("assignment_id", KEY, nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("reported_ms", KEY, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignments.id"], name="fk_reports_assignment_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_reports_session_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("session_id", "idempotency_key", name="uq_reports_session_id_idempotency_key"),
    )
    op.create_table(
        "votes",
        sa.Column("id", KEY, nullable=False),
        sa.Column("assignment_id", KEY, nullable=False),
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("choice", sa.Text(), nullable=False),
        sa.Column("response_ms", KEY, nullable=False),
        sa.Column("hidden_ms", KEY, nullable=False),
        sa.Column("painted_ms", KEY),
        sa.Column("answered_ms", KEY, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("display", sa.Text(), comment="JSON: input, viewport, layout as the page told it"),
        sa.Column("supersedes_id", KEY),
        sa.Column("surplus_reason", sa.Text()),
        sa.Column("strength", KEY, comment="1 slightly, 2 clearly"),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignments.id"], name="fk_votes_assignment_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_votes_session_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["supersedes_id"], ["votes.id"], name="fk_votes_supersedes_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_votes"),
        sa.UniqueConstraint(
            "session_id", "idempotency_key", "question", name="uq_votes_session_id_idempotency_key_question"
        ),
        sa.UniqueConstraint("supersedes_id", name="uq_votes_supersedes_id"),
    )
    op.create_index("ix_votes_assignment", "votes", ["assignment_id"])

    time = SQLITE_TIME if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_TIME
    served, answered = time.format("assignments.served_ms"), time.format("votes.answered_ms")
    # exec_driver_sql: a '%' here is strftime's, not a parameter.
    op.get_bind().exec_driver_sql(VIEW.format(served=served, answered=answered))


def downgrade() -> None:
    op.execute("DROP VIEW votes_table")
    # A table takes its indices with it.
    for table in (
        "votes",
        "reports",
        "assignments",
        "platform_sessions",
        "vote_budgets",
        "comparisons",
        "pairs",
        "sessions",
        "platform_identities",
        "images",
        "prompts",
        "annotators",
        "studies",
    ):
        op.drop_table(table)
