"""A fidelity certificate beside the preference votes: how far the same pictures are from their reference."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from analysis.report.kit.section import Section
from analysis.report.kit.table import Column, DataTable
from qsched.records import InputError
from qsched.records.image_set import first_problem


class CertifiedClause(BaseModel):
    """One claim, whether it was shown, and what the votes say of it."""

    model_config = ConfigDict(frozen=True)

    claim: str
    verdict: str
    finding: str


class CertifiedArm(BaseModel):
    """The arm that a certificate is about."""

    model_config = ConfigDict(frozen=True)

    arm: str
    study: str


class ReadCertificate(BaseModel):
    """What the report takes from certificate.json; its other fields are left alone."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1]
    status: Literal["registered", "exploratory"]
    registration: CertifiedArm
    reference: str
    clauses: tuple[CertifiedClause, ...]
    votes_used: int
    simulated_votes: int


def read_certificate(path: Path | None) -> ReadCertificate | None:
    """A certificate.json; InputError if the file is none, None without a path."""
    if path is None:
        return None
    try:
        return ReadCertificate.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}. `qsched certify` writes a certificate.json.") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not a certificate ({first_problem(error)}). Give the certificate.json of `qsched certify`."
        ) from error


def certificate_section(found: ReadCertificate | None) -> Section:
    """The clauses of the certificate, as a table."""
    if found is None:
        return Section("certificate", "Visible difference from the reference")
    simulated = (
        f" {found.simulated_votes:,} of the votes come from simulated observers; "
        "nothing about human perception follows from them."
        if found.simulated_votes
        else ""
    )
    return Section(
        "certificate",
        "Visible difference from the reference",
        paragraphs=(
            f"A fidelity study ({found.registration.study}, {found.votes_used:,} triplet votes) asked which picture "
            f"differs more from {found.reference}. Its certificate of {found.registration.arm} is {found.status}."
            + simulated
            + " A picture can differ visibly and be preferred all the same.",
        ),
        tables=(
            DataTable(
                "certificate",
                f"Clauses about {found.registration.arm}",
                (
                    Column("claim", "Claim", "text"),
                    Column("verdict", "Verdict", "text"),
                    Column("finding", "Finding", "text"),
                ),
                tuple((clause.claim, clause.verdict, clause.finding) for clause in found.clauses),
            ),
        ),
    )
