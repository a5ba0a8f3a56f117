"""The tables, typed. Times are milliseconds since 1970 UTC; SQLite and PostgreSQL hold the same.

study -> prompt, image -> pair (two images of one prompt and one seed)
study -> annotator -> session -> assignment (one pair shown once) -> vote (one answer to one question)
Platform identities stand apart from everything that is exported.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, MetaData, Text, UniqueConstraint, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite gives automatic keys to INTEGER only.
Key = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {str: Text, int: BigInteger().with_variant(Integer, "sqlite")}  # noqa: RUF012


class DatabaseIdentityRecord(Base):
    """One row: a random name, by which a running server notices that its database was replaced."""

    __tablename__ = "database_identity"

    uid: Mapped[str] = mapped_column(primary_key=True)


class StudyRecord(Base):
    """One study; `design` is the validated study.yaml as JSON.

    `uid` is random: unlike the slug it never names another study. `data_path` is the folder of its pictures, `left_out`
    counts the pairs of the image set that it does not show, by reason, as JSON; None: it was not counted.
    """

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    uid: Mapped[str] = mapped_column(unique=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    status: Mapped[str] = mapped_column(comment="importing | open | paused | closed")
    design: Mapped[str]
    set_id: Mapped[str]
    set_path: Mapped[str]
    created_ms: Mapped[int]
    data_path: Mapped[str | None]
    left_out: Mapped[str | None]


class DesignVersionRecord(Base):
    """A design that a study had from `changed_ms` on; version 1 is the one it was created with."""

    __tablename__ = "design_versions"
    __table_args__ = (UniqueConstraint("study_id", "version"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    version: Mapped[int]
    design: Mapped[str]
    changed_ms: Mapped[int]


class PromptRecord(Base):
    __tablename__ = "prompts"
    __table_args__ = (UniqueConstraint("study_id", "prompt_key"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    prompt_key: Mapped[str]
    prompt: Mapped[str]
    category: Mapped[str | None]


class ImageRecord(Base):
    """`file` is the name of the server's copy below the data folder.

    A prepared crop of a boosted triplet is an image whose `arm` is the triplet's key, a slash and the arm.
    """

    __tablename__ = "images"
    __table_args__ = (UniqueConstraint("prompt_id", "sample_index", "arm"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id", ondelete="CASCADE"))
    sample_index: Mapped[int]
    arm: Mapped[str]
    sha256: Mapped[str]
    file: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]


class ComparisonRecord(Base):
    """Two arms that an adaptive study compares; their pairs name it, so that one can be drawn and looked up."""

    __tablename__ = "comparisons"
    __table_args__ = (UniqueConstraint("study_id", "first_arm", "second_arm"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    first_arm: Mapped[str]
    second_arm: Mapped[str]


class VoteBudgetRecord(Base):
    """What is left of a study's `votes_total`, in several rows so that many processes can take from it at once."""

    __tablename__ = "vote_budgets"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    remaining: Mapped[int]


class PairRecord(Base):
    """Two images to compare; in a fidelity study a triplet, whose pool may also be trap or bias.

    `load` counts valid votes and live leases together and never exceeds the target.

    `side_balance` is (first image on the left) - (on the right) over what `load` counts.
    """

    __tablename__ = "pairs"
    __table_args__ = (
        UniqueConstraint("study_id", "pair_key"),
        # The order in which open pairs are handed out: one range of this index, whatever the study's size.
        Index("ix_pairs_open", "study_id", "pool", "disabled", "load", "rank"),
        # The same within one comparison; studies that are not adaptive have no row in it.
        Index(
            "ix_pairs_comparison",
            "comparison_id",
            "pool",
            "disabled",
            "load",
            "rank",
            sqlite_where=text("comparison_id IS NOT NULL"),
            postgresql_where=text("comparison_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    pair_key: Mapped[str]
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id", ondelete="CASCADE"))
    sample_index: Mapped[int]
    first_image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    second_image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    pool: Mapped[str] = mapped_column(comment="task | practice | gold")
    better: Mapped[str | None] = mapped_column(comment="first | second, where the right answer is known")
    why: Mapped[str | None]
    rank: Mapped[int]
    load: Mapped[int] = mapped_column(server_default="0")
    side_balance: Mapped[int] = mapped_column(server_default="0")
    problems: Mapped[int] = mapped_column(server_default="0")
    disabled: Mapped[bool] = mapped_column(server_default=false())
    comparison_id: Mapped[int | None] = mapped_column(comment="of adaptive studies")


class TripletRecord(Base):
    """What a fidelity study shows of a pair: the reference, and the three pictures as they are served.

    A boosted triplet serves prepared crops, images of their own; factor, rate, crop and clipping are then stated.
    """

    __tablename__ = "triplets"

    pair_id: Mapped[int] = mapped_column(ForeignKey("pairs.id", ondelete="CASCADE"), primary_key=True)
    presentation: Mapped[str] = mapped_column(comment="plain | boosted")
    reference_image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    shown_reference_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    shown_first_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    shown_second_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    factor: Mapped[float | None] = mapped_column(Double)
    rate_hz: Mapped[float | None] = mapped_column(Double)
    crop_x: Mapped[int | None]
    crop_y: Mapped[int | None]
    crop_width: Mapped[int | None]
    crop_height: Mapped[int | None]
    clipped: Mapped[float | None] = mapped_column(Double)


class RankedSetRecord(Base):
    """The third and fourth picture of a set that is ranked at once; the first two are those of its pair."""

    __tablename__ = "ranked_sets"

    pair_id: Mapped[int] = mapped_column(ForeignKey("pairs.id", ondelete="CASCADE"), primary_key=True)
    third_image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    fourth_image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))


class DifferenceRecord(Base):
    """How far an image is from its reference, by FLIP; `changed` if its content is another one."""

    __tablename__ = "differences"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), unique=True)
    mean: Mapped[float] = mapped_column(Double)
    spot: Mapped[float] = mapped_column(Double)
    changed: Mapped[bool]


class AnnotatorRecord(Base):
    """One person. An excluded one keeps every vote, but none of them counts or is exported."""

    __tablename__ = "annotators"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    created_ms: Mapped[int]
    excluded_ms: Mapped[int | None]
    excluded_reason: Mapped[str | None]


class PlatformIdentityRecord(Base):
    """Who an annotator is on a recruiting platform; never joined into an export."""

    __tablename__ = "platform_identities"
    __table_args__ = (UniqueConstraint("study_id", "platform", "external_id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id", ondelete="CASCADE"), index=True)
    platform: Mapped[str]
    external_id: Mapped[str]


class PlatformSessionRecord(Base):
    """The platform's own names of one participation (study and submission)."""

    __tablename__ = "platform_sessions"
    __table_args__ = (UniqueConstraint("annotator_id", "external_session"),)

    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id", ondelete="CASCADE"))
    platform: Mapped[str]
    external_study: Mapped[str | None]
    external_session: Mapped[str | None]


class SessionRecord(Base):
    """One session. `plan` has one letter per trial (see assignment.policy); `position` is the next to hand out.

    `token_hash` is the SHA-256 of the random token in the cookie, `judged_ms` the time of the last vote or report.
    `state` is also `excluded`, and `not_understood` if the questions about the instructions were not passed;
    `comprehension` has their tries and outcome as JSON. `preview` is an owner's walk, which counts nowhere. A person
    quotes `withdraw_code` to have their data deleted.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_withdraw_code", "withdraw_code", unique=True),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id", ondelete="CASCADE"), index=True)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    simulated: Mapped[bool]
    state: Mapped[str] = mapped_column(comment="active | finished | screened_out")
    consent_version: Mapped[str]
    started_ms: Mapped[int]
    finished_ms: Mapped[int | None]
    plan: Mapped[str]
    position: Mapped[int] = mapped_column(server_default="0")
    done: Mapped[int] = mapped_column(server_default="0")
    practice_done: Mapped[int] = mapped_column(server_default="0")
    voided: Mapped[int] = mapped_column(server_default="0")
    left_balance: Mapped[int] = mapped_column(server_default="0")
    recent: Mapped[str] = mapped_column(server_default="", comment="prompt ids of the latest trials, oldest first")
    last_assignment_id: Mapped[int | None]
    tab_token: Mapped[str | None]
    tab_seen_ms: Mapped[int | None]
    token_hash: Mapped[str | None] = mapped_column(unique=True)
    judged_ms: Mapped[int | None]
    screening: Mapped[str | None]
    demographics: Mapped[str | None]
    comprehension: Mapped[str | None]
    preview: Mapped[bool] = mapped_column(server_default=false())
    withdraw_code: Mapped[str | None]


class AssignmentRecord(Base):
    """One pair shown once to one person. `counted` says whether it holds one of the pair's slots."""

    __tablename__ = "assignments"
    __table_args__ = (
        Index("ix_assignments_session_position", "session_id", "position"),
        Index(
            "ix_assignments_leases",
            "lease_expires_ms",
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
        # A person never judges a pair twice, except as a repeat.
        Index(
            "uq_assignments_once",
            "annotator_id",
            "pair_id",
            unique=True,
            sqlite_where=text("kind IN ('task', 'warmup', 'gold', 'trap', 'bias') AND state <> 'void'"),
            postgresql_where=text("kind IN ('task', 'warmup', 'gold', 'trap', 'bias') AND state <> 'void'"),
        ),
        Index("ix_assignments_pair", "pair_id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    annotator_id: Mapped[int]
    pair_id: Mapped[int] = mapped_column(ForeignKey("pairs.id", ondelete="CASCADE"))
    kind: Mapped[str]
    position: Mapped[int]
    first_on_left: Mapped[bool]
    expected: Mapped[str | None]
    state: Mapped[str] = mapped_column(comment="leased | voted | expired | void | reported")
    counted: Mapped[bool]
    reopened: Mapped[bool] = mapped_column(server_default=false())
    served_ms: Mapped[int]
    lease_expires_ms: Mapped[int]
    successor_id: Mapped[int | None]
    selection_probability: Mapped[float | None] = mapped_column(Double)
    #: Of a ranked set: numbers of the pictures as they lay, "2031".
    places: Mapped[str | None]


class VoteRecord(Base):
    """One answer to one question. Never changed: a correction is a new row that names the old one.

    `doubt` says why a stored value is not credible.
    """

    __tablename__ = "votes"
    __table_args__ = (
        UniqueConstraint("session_id", "idempotency_key", "question"),
        Index("ix_votes_assignment", "assignment_id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"))
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    question: Mapped[str]
    choice: Mapped[str]
    response_ms: Mapped[int]
    hidden_ms: Mapped[int]
    painted_ms: Mapped[int | None]
    answered_ms: Mapped[int]
    idempotency_key: Mapped[str]
    display: Mapped[str | None] = mapped_column(comment="JSON: input, viewport, layout as the page told it")
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("votes.id", ondelete="CASCADE"), unique=True)
    surplus_reason: Mapped[str | None]
    strength: Mapped[int | None] = mapped_column(comment="1 slightly, 2 clearly")
    doubt: Mapped[str | None]


class VoteChainRecord(Base):
    """The hash chain of a study's votes (qsched.records.evidence). The salt is secret until the study is opened."""

    __tablename__ = "vote_chains"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    salt: Mapped[str]
    head: Mapped[str]
    length: Mapped[int]
    preregistration: Mapped[str | None]


class VoteLeafRecord(Base):
    """One vote in the chain. A vote that is deleted at a person's request leaves its leaf behind."""

    __tablename__ = "vote_leaves"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    leaf: Mapped[str]
    vote_id: Mapped[int | None] = mapped_column(ForeignKey("votes.id", ondelete="SET NULL"), unique=True)


class VoteSealRecord(Base):
    """A head of the chain that was published, after the first `votes` votes."""

    __tablename__ = "vote_seals"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    votes: Mapped[int] = mapped_column(primary_key=True)
    head: Mapped[str]
    sealed_ms: Mapped[int]


class StudyLookRecord(Base):
    """One planned look at a study with a stopping rule, as JSON (qsched.records.stopping). Rows are only added."""

    __tablename__ = "study_looks"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ms: Mapped[int]
    look: Mapped[str]


class ReportRecord(Base):
    """An annotator's word that a pair cannot be judged."""

    __tablename__ = "reports"
    __table_args__ = (UniqueConstraint("session_id", "idempotency_key"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"))
    problem: Mapped[str]
    detail: Mapped[str | None]
    reported_ms: Mapped[int]
    idempotency_key: Mapped[str]
