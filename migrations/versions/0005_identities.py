"""Identifiers that never come back: random names of studies and of the database, hashed session tokens, and keys that
SQLite does not give out twice

A study keeps its folder of pictures and every version of its design.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Tables with a key of their own, parents before children.
KEYED = (
    "studies",
    "prompts",
    "images",
    "comparisons",
    "vote_budgets",
    "pairs",
    "annotators",
    "platform_identities",
    "sessions",
    "assignments",
    "votes",
    "reports",
)


def upgrade() -> None:
    view = _drop_view()
    with op.batch_alter_table("studies") as studies:
        studies.add_column(sa.Column("uid", sa.Text(), nullable=True))
        studies.add_column(sa.Column("data_path", sa.Text(), nullable=True))
    connection = op.get_bind()
    for (number,) in connection.execute(sa.text("SELECT id FROM studies")).fetchall():
        connection.execute(
            sa.text("UPDATE studies SET uid = :uid WHERE id = :id"), {"uid": secrets.token_hex(16), "id": number}
        )
    with op.batch_alter_table("studies") as studies:
        studies.alter_column("uid", existing_type=sa.Text(), nullable=False)
        studies.create_unique_constraint("uq_studies_uid", ["uid"])
    with op.batch_alter_table("sessions") as sessions:
        sessions.add_column(sa.Column("token_hash", sa.Text(), nullable=True))
        sessions.add_column(sa.Column("judged_ms", KEY, nullable=True))
        sessions.create_unique_constraint("uq_sessions_token_hash", ["token_hash"])
    with op.batch_alter_table("votes") as votes:
        votes.add_column(sa.Column("doubt", sa.Text(), nullable=True))
    op.create_table(
        "design_versions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("version", KEY, nullable=False),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("changed_ms", KEY, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_design_versions_study_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_design_versions"),
        sa.UniqueConstraint("study_id", "version", name="uq_design_versions_study_id_version"),
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO design_versions (study_id, version, design, changed_ms) "
        "SELECT id, 1, design, created_ms FROM studies"
    )
    op.create_table(
        "database_identity",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_database_identity"),
    )
    connection.execute(sa.text("INSERT INTO database_identity (uid) VALUES (:uid)"), {"uid": secrets.token_hex(16)})
    if connection.dialect.name == "sqlite":
        # Without AUTOINCREMENT SQLite gives the number of a deleted row to the next one.
        for table in KEYED:
            with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
                pass
    connection.exec_driver_sql(view)


def downgrade() -> None:
    view = _drop_view()
    op.drop_table("database_identity")
    op.drop_table("design_versions")
    with op.batch_alter_table("votes") as votes:
        votes.drop_column("doubt")
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_constraint("uq_sessions_token_hash", type_="unique")
        sessions.drop_column("judged_ms")
        sessions.drop_column("token_hash")
    with op.batch_alter_table("studies") as studies:
        studies.drop_constraint("uq_studies_uid", type_="unique")
        studies.drop_column("data_path")
        studies.drop_column("uid")
    op.get_bind().exec_driver_sql(view)


def _drop_view() -> str:
    """Drop `votes_table`, which would hold its tables in place, and return the statement that makes it again."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        find = "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = 'votes_table'"
        view = str(connection.exec_driver_sql(find).scalar_one())
    else:
        body = connection.exec_driver_sql("SELECT pg_get_viewdef('votes_table'::regclass)").scalar_one()
        view = f"CREATE VIEW votes_table AS {body}".replace("%", "%%")
    op.execute("DROP VIEW votes_table")
    return view
