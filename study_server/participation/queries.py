"""Statements of participation."""

from __future__ import annotations

from study_server.db import Statement

KNOWN_PERSON = Statement("""
    SELECT i.annotator_id, a.excluded_ms FROM platform_identities i JOIN annotators a ON a.id = i.annotator_id
    WHERE i.study_id = :study AND i.platform = :platform AND i.external_id = :external
""")

# A panel without submissions has one session per person.
KNOWN_SESSION = Statement("""
    SELECT session_id FROM platform_sessions
    WHERE annotator_id = :annotator AND COALESCE(external_session, '') = COALESCE(CAST(:external AS TEXT), '')
    ORDER BY session_id DESC LIMIT 1
""")

INSERT_ANNOTATOR = Statement("""
    INSERT INTO annotators (study_id, pseudonym, created_ms) VALUES (:study, :pseudonym, :now) RETURNING id
""")

INSERT_IDENTITY = Statement("""
    INSERT INTO platform_identities (study_id, annotator_id, platform, external_id)
    VALUES (:study, :annotator, :platform, :external)
""")

INSERT_SESSION = Statement("""
    INSERT INTO sessions (study_id, annotator_id, pseudonym, simulated, state, consent_version, started_ms, plan,
                          demographics, token_hash, preview, withdraw_code)
    VALUES (:study, :annotator, :pseudonym, :simulated, 'active', :consent_version, :now, :plan, :demographics, :key,
            :preview, :withdraw_code)
    RETURNING id
""")

INSERT_PLATFORM_SESSION = Statement("""
    INSERT INTO platform_sessions (session_id, annotator_id, platform, external_study, external_session)
    VALUES (:session, :annotator, :platform, :external_study, :external_session)
""")

SEEN_PAIRS = Statement("""
    SELECT COUNT(*) FROM assignments
    WHERE annotator_id = :annotator AND kind IN ('task', 'warmup') AND state <> 'void'
""")

SESSION_SUMMARY = Statement("""
    SELECT s.state, s.done, s.practice_done, s.screening, s.simulated,
           CASE WHEN s.preview THEN 'open' ELSE st.status END, i.external_id, ps.external_study,
           ps.external_session, s.comprehension, s.preview, s.withdraw_code
    FROM sessions s JOIN studies st ON st.id = s.study_id LEFT JOIN platform_sessions ps ON ps.session_id = s.id
    LEFT JOIN platform_identities i ON i.annotator_id = s.annotator_id
    WHERE s.token_hash = :key AND s.study_id = :study
""")

FORGET_TOKEN = Statement("UPDATE sessions SET token_hash = NULL WHERE token_hash = :key AND study_id = :study")

SESSION_OF_KEY = Statement("SELECT id FROM sessions WHERE token_hash = :key")

# The person comes back without the cookie: another token from now on, the one before is void.
RENEW_TOKEN = Statement("UPDATE sessions SET token_hash = :key WHERE id = :session")

SAVE_SCREENING = Statement("UPDATE sessions SET screening = :screening, state = :state WHERE id = :session")

COMPREHENSION = Statement("SELECT comprehension FROM sessions WHERE id = :session")

SAVE_COMPREHENSION = Statement("UPDATE sessions SET comprehension = :comprehension, state = :state WHERE id = :session")

# Another submission does not give another try.
NOT_UNDERSTOOD = Statement(
    "SELECT 1 FROM sessions WHERE annotator_id = :annotator AND state = 'not_understood' LIMIT 1"
)

PSEUDONYM_OF_SESSION = Statement("SELECT pseudonym FROM sessions WHERE id = :session")
