"""The first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ONCE = sa.text("kind IN ('task', 'warmup', 'gold') AND state <> 'void'")
LEASED = sa.text("state = 'leased'")


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


def downgrade() -> None:
    # A table takes its indices with it.
    for table in (
        "votes",
        "reports",
        "assignments",
        "platform_sessions",
        "pairs",
        "sessions",
        "platform_identities",
        "images",
        "prompts",
        "annotators",
        "studies",
    ):
        op.drop_table(table)
