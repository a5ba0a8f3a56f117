"""A certificate: what a registered fidelity study shows, clause by clause."""

from __future__ import annotations

from analysis.certificate.judge import Certificate, certify_votes
from analysis.certificate.registration import default_registration, read_registration
from analysis.certificate.result import ClauseResult
from analysis.certificate.write import certificate_json, write_certificate
from qsched.records.registration import Registration

__all__ = [
    "Certificate",
    "ClauseResult",
    "Registration",
    "certificate_json",
    "certify_votes",
    "default_registration",
    "read_registration",
    "write_certificate",
]
