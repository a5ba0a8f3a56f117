CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE studies (
    id BIGSERIAL NOT NULL,
    slug TEXT NOT NULL,
    title TEXT NOT NULL,
    status TEXT NOT NULL,
    design TEXT NOT NULL,
    set_id TEXT NOT NULL,
    set_path TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_studies PRIMARY KEY (id),
    CONSTRAINT uq_studies_slug UNIQUE (slug)
);
COMMENT ON COLUMN studies.status IS 'importing | open | paused | closed';
CREATE TABLE annotators (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    pseudonym TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_annotators PRIMARY KEY (id),
    CONSTRAINT fk_annotators_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE,
    CONSTRAINT uq_annotators_pseudonym UNIQUE (pseudonym)
);
CREATE INDEX ix_annotators_study_id ON annotators (study_id);
CREATE TABLE prompts (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    prompt_key TEXT NOT NULL,
    prompt TEXT NOT NULL,
    category TEXT,
    CONSTRAINT pk_prompts PRIMARY KEY (id),
    CONSTRAINT fk_prompts_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE,
    CONSTRAINT uq_prompts_study_id_prompt_key UNIQUE (study_id, prompt_key)
);
CREATE TABLE images (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    prompt_id BIGINT NOT NULL,
    sample_index BIGINT NOT NULL,
    arm TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    file TEXT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    CONSTRAINT pk_images PRIMARY KEY (id),
    CONSTRAINT fk_images_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id) ON DELETE CASCADE,
    CONSTRAINT fk_images_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE,
    CONSTRAINT uq_images_prompt_id_sample_index_arm UNIQUE (prompt_id, sample_index, arm)
);
CREATE INDEX ix_images_study_id ON images (study_id);
CREATE TABLE platform_identities (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    annotator_id BIGINT NOT NULL,
    platform TEXT NOT NULL,
    external_id TEXT NOT NULL,
    CONSTRAINT pk_platform_identities PRIMARY KEY (id),
    CONSTRAINT fk_platform_identities_annotator_id FOREIGN KEY(annotator_id) REFERENCES annotators (id) ON DELETE CASCADE,
    CONSTRAINT fk_platform_identities_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE,
    CONSTRAINT uq_platform_identities_study_id_platform_external_id UNIQUE (study_id, platform, external_id)
);
CREATE INDEX ix_platform_identities_annotator_id ON platform_identities (annotator_id);
CREATE TABLE sessions (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    annotator_id BIGINT NOT NULL,
    pseudonym TEXT NOT NULL,
    simulated BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    consent_version TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    finished_ms BIGINT,
    plan TEXT NOT NULL,
    position BIGINT DEFAULT '0' NOT NULL,
    done BIGINT DEFAULT '0' NOT NULL,
    practice_done BIGINT DEFAULT '0' NOT NULL,
    voided BIGINT DEFAULT '0' NOT NULL,
    left_balance BIGINT DEFAULT '0' NOT NULL,
    recent TEXT DEFAULT '' NOT NULL,
    last_assignment_id BIGINT,
    tab_token TEXT,
    tab_seen_ms BIGINT,
    screening TEXT,
    demographics TEXT,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT fk_sessions_annotator_id FOREIGN KEY(annotator_id) REFERENCES annotators (id) ON DELETE CASCADE,
    CONSTRAINT fk_sessions_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE,
    CONSTRAINT uq_sessions_pseudonym UNIQUE (pseudonym)
);
COMMENT ON COLUMN sessions.state IS 'active | finished | screened_out';
COMMENT ON COLUMN sessions.recent IS 'prompt ids of the latest trials, oldest first';
CREATE INDEX ix_sessions_annotator_id ON sessions (annotator_id);
CREATE INDEX ix_sessions_study_id ON sessions (study_id);
CREATE TABLE pairs (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    pair_key TEXT NOT NULL,
    prompt_id BIGINT NOT NULL,
    sample_index BIGINT NOT NULL,
    first_image_id BIGINT NOT NULL,
    second_image_id BIGINT NOT NULL,
    pool TEXT NOT NULL,
    better TEXT,
    why TEXT,
    rank BIGINT NOT NULL,
    load BIGINT DEFAULT '0' NOT NULL,
    side_balance BIGINT DEFAULT '0' NOT NULL,
    problems BIGINT DEFAULT '0' NOT NULL,
    disabled BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_pairs PRIMARY KEY (id),
    CONSTRAINT fk_pairs_first_image_id FOREIGN KEY(first_image_id) REFERENCES images (id) ON DELETE CASCADE,
    CONSTRAINT fk_pairs_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id) ON DELETE CASCADE,
    CONSTRAINT fk_pairs_second_image_id FOREIGN KEY(second_image_id) REFERENCES images (id) ON DELETE CASCADE,
    CONSTRAINT fk_pairs_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE,
    CONSTRAINT uq_pairs_study_id_pair_key UNIQUE (study_id, pair_key)
);
COMMENT ON COLUMN pairs.pool IS 'task | practice | gold';
COMMENT ON COLUMN pairs.better IS 'first | second, where the right answer is known';
CREATE INDEX ix_pairs_open ON pairs (study_id, pool, disabled, load, rank);
CREATE TABLE platform_sessions (
    session_id BIGINT NOT NULL,
    annotator_id BIGINT NOT NULL,
    platform TEXT NOT NULL,
    external_study TEXT,
    external_session TEXT,
    CONSTRAINT pk_platform_sessions PRIMARY KEY (session_id),
    CONSTRAINT fk_platform_sessions_annotator_id FOREIGN KEY(annotator_id) REFERENCES annotators (id) ON DELETE CASCADE,
    CONSTRAINT fk_platform_sessions_session_id FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT uq_platform_sessions_annotator_id_external_session UNIQUE (annotator_id, external_session)
);
CREATE TABLE assignments (
    id BIGSERIAL NOT NULL,
    session_id BIGINT NOT NULL,
    annotator_id BIGINT NOT NULL,
    pair_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    position BIGINT NOT NULL,
    first_on_left BOOLEAN NOT NULL,
    expected TEXT,
    state TEXT NOT NULL,
    counted BOOLEAN NOT NULL,
    reopened BOOLEAN DEFAULT false NOT NULL,
    served_ms BIGINT NOT NULL,
    lease_expires_ms BIGINT NOT NULL,
    successor_id BIGINT,
    CONSTRAINT pk_assignments PRIMARY KEY (id),
    CONSTRAINT fk_assignments_pair_id FOREIGN KEY(pair_id) REFERENCES pairs (id) ON DELETE CASCADE,
    CONSTRAINT fk_assignments_session_id FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
COMMENT ON COLUMN assignments.state IS 'leased | voted | expired | void | reported';
CREATE INDEX ix_assignments_leases ON assignments (lease_expires_ms) WHERE state = 'leased';
CREATE INDEX ix_assignments_pair ON assignments (pair_id);
CREATE INDEX ix_assignments_session_position ON assignments (session_id, position);
CREATE UNIQUE INDEX uq_assignments_once ON assignments (annotator_id, pair_id) WHERE kind IN ('task', 'warmup', 'gold') AND state <> 'void';
CREATE TABLE reports (
    id BIGSERIAL NOT NULL,
    session_id BIGINT NOT NULL,
    assignment_id BIGINT NOT NULL,
    problem TEXT NOT NULL,
    detail TEXT,
    reported_ms BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    CONSTRAINT pk_reports PRIMARY KEY (id),
    CONSTRAINT fk_reports_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id) ON DELETE CASCADE,
    CONSTRAINT fk_reports_session_id FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT uq_reports_session_id_idempotency_key UNIQUE (session_id, idempotency_key)
);
CREATE TABLE votes (
    id BIGSERIAL NOT NULL,
    assignment_id BIGINT NOT NULL,
    session_id BIGINT NOT NULL,
    question TEXT NOT NULL,
    choice TEXT NOT NULL,
    response_ms BIGINT NOT NULL,
    hidden_ms BIGINT NOT NULL,
    painted_ms BIGINT,
    answered_ms BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    display TEXT,
    supersedes_id BIGINT,
    surplus_reason TEXT,
    CONSTRAINT pk_votes PRIMARY KEY (id),
    CONSTRAINT fk_votes_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id) ON DELETE CASCADE,
    CONSTRAINT fk_votes_session_id FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT fk_votes_supersedes_id FOREIGN KEY(supersedes_id) REFERENCES votes (id) ON DELETE CASCADE,
    CONSTRAINT uq_votes_session_id_idempotency_key_question UNIQUE (session_id, idempotency_key, question),
    CONSTRAINT uq_votes_supersedes_id UNIQUE (supersedes_id)
);
COMMENT ON COLUMN votes.display IS 'JSON: input, viewport, layout as the page told it';
CREATE INDEX ix_votes_assignment ON votes (assignment_id);
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
       to_timestamp(assignments.served_ms / 1000.0) AS served_at,
       to_timestamp(votes.answered_ms / 1000.0) AS answered_at,
       votes.response_ms AS response_ms,
       assignments.kind AS kind,
       assignments.expected AS expected,
       sessions.simulated AS simulated,
       pairs.sample_index AS sample_index
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
  AND NOT EXISTS (SELECT 1 FROM votes AS correction WHERE correction.supersedes_id = votes.id);
DROP VIEW votes_table;
ALTER TABLE votes ADD COLUMN strength BIGINT;
COMMENT ON COLUMN votes.strength IS '1 slightly, 2 clearly';
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
       to_timestamp(assignments.served_ms / 1000.0) AS served_at,
       to_timestamp(votes.answered_ms / 1000.0) AS answered_at,
       votes.response_ms AS response_ms,
       assignments.kind AS kind,
       assignments.expected AS expected,
       sessions.simulated AS simulated,
       pairs.sample_index AS sample_index,
       votes.strength AS strength
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
  AND NOT EXISTS (SELECT 1 FROM votes AS correction WHERE correction.supersedes_id = votes.id);
DROP VIEW votes_table;
CREATE TABLE comparisons (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    first_arm TEXT NOT NULL,
    second_arm TEXT NOT NULL,
    CONSTRAINT pk_comparisons PRIMARY KEY (id),
    CONSTRAINT fk_comparisons_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE,
    CONSTRAINT uq_comparisons_study_id_first_arm_second_arm UNIQUE (study_id, first_arm, second_arm)
);
CREATE TABLE vote_budgets (
    id BIGSERIAL NOT NULL,
    study_id BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    CONSTRAINT pk_vote_budgets PRIMARY KEY (id),
    CONSTRAINT fk_vote_budgets_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE
);
CREATE INDEX ix_vote_budgets_study_id ON vote_budgets (study_id);
ALTER TABLE pairs ADD COLUMN comparison_id BIGINT;
COMMENT ON COLUMN pairs.comparison_id IS 'of adaptive studies';
CREATE INDEX ix_pairs_comparison ON pairs (comparison_id, pool, disabled, load, rank) WHERE comparison_id IS NOT NULL;
ALTER TABLE assignments ADD COLUMN selection_probability DOUBLE PRECISION;
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
       to_timestamp(assignments.served_ms / 1000.0) AS served_at,
       to_timestamp(votes.answered_ms / 1000.0) AS answered_at,
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
  AND NOT EXISTS (SELECT 1 FROM votes AS correction WHERE correction.supersedes_id = votes.id);
INSERT INTO alembic_version (version_num) VALUES ('0004');
