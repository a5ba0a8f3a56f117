"""What a study can prove later: the hash chain of its votes, published heads of it, and its planned looks."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from study_server.db.models import Base


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
