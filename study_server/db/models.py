"""The tables of what a study shows, typed. Times are milliseconds since 1970 UTC; SQLite and PostgreSQL hold the same.

study -> prompt, image -> pair (two images of one prompt and one sample)

participation_models   annotator -> session -> assignment (a pair shown once) -> vote (one answer to one question)
evidence_models        the hash chain of the votes, published heads of it, and planned looks
owner_models           accounts, tokens, webhooks and the log of their actions
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
    """Two arms that an adaptive study compares; their pairs name it, so that one can be drawn and looked up.

    In a fidelity study with numbers of its own for plain and boosted triplets: a group of triplets with one number of
    votes. `first_arm` is then the presentation, `second_arm` the arm that the number is for, or empty.
    """

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
