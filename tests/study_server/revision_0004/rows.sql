INSERT INTO studies (id, slug, title, status, design, set_id, set_path, created_ms)
  VALUES (1, 's', 'A study of revision 0004', 'open', '{"schema_version":1,"slug":"s","title":"A study of revision 0004","images":"set","arms":null,"comparisons":"adaptive","adaptive":null,"questions":[{"id":"overall","text":"Which picture do you prefer?"}],"allow_tie":true,"allow_skip":true,"strength":true,"show_prompt":true,"votes_per_pair":2,"votes_total":5,"pairs_per_annotator":null,"block_length":20,"max_minutes":30,"prompt_gap":3,"lease_seconds":3600,"warmup":0,"repeat_rate":0.0,"instructed":0,"gold":[],"gold_per_annotator":null,"practice":[],"practice_feedback":true,"screening":{"required":false,"min_viewport_width":null,"min_viewport_height":null,"max_zoom":null,"touch":true,"colour_plate":false,"grey_steps":false,"attempts":2},"consent":{"version":"1","text":"You will see pairs of pictures and say which one you prefer.\n\nYour answers are stored under a random name, without your address, and are used for research.\nYou may stop at any time by closing this page.","contact":null},"demographics":[],"platform":{"name":"prolific","completion_code":"C0DE","completion_url":null,"screened_out_code":null},"pay":null,"seconds_per_vote":8.0,"languages":["en"]}', 'drawn-set', '/data/set', 1795899528683);
INSERT INTO annotators (id, study_id, pseudonym, created_ms)
  VALUES (1, 1, 'a-9e942221e396', 1795899529081);
INSERT INTO annotators (id, study_id, pseudonym, created_ms)
  VALUES (2, 1, 'a-7dea2a4c58fa', 1795899529350);
INSERT INTO comparisons (id, study_id, first_arm, second_arm)
  VALUES (1, 1, 'fp32', 'w4a4');
INSERT INTO prompts (id, study_id, prompt_key, prompt, category)
  VALUES (1, 1, 'p0', 'a disc of colour 0 on light grey', 'even');
INSERT INTO prompts (id, study_id, prompt_key, prompt, category)
  VALUES (2, 1, 'p1', 'a disc of colour 1 on light grey', 'odd');
INSERT INTO prompts (id, study_id, prompt_key, prompt, category)
  VALUES (3, 1, 'p2', 'a disc of colour 2 on light grey', 'even');
INSERT INTO vote_budgets (id, study_id, remaining)
  VALUES (1, 1, 0);
INSERT INTO vote_budgets (id, study_id, remaining)
  VALUES (2, 1, 0);
INSERT INTO vote_budgets (id, study_id, remaining)
  VALUES (3, 1, 0);
INSERT INTO vote_budgets (id, study_id, remaining)
  VALUES (4, 1, 0);
INSERT INTO vote_budgets (id, study_id, remaining)
  VALUES (5, 1, 0);
INSERT INTO images (id, study_id, prompt_id, sample_index, arm, sha256, file, width, height)
  VALUES (1, 1, 1, 0, 'fp32', 'c012ec8861546fb80681ca1b46b0a7cbf76057bf08214bcdcd5e28985d5a1c2d', 'a73e90b10f820567bf180111b2d7342b.png', 16, 16);
INSERT INTO images (id, study_id, prompt_id, sample_index, arm, sha256, file, width, height)
  VALUES (2, 1, 1, 0, 'w4a4', '467c0986e6109d2496756161dc2f596d6a744501ad878efbaa94506d8dce0e3c', 'd900036cad697e8517c8e80b662915a3.png', 16, 16);
INSERT INTO images (id, study_id, prompt_id, sample_index, arm, sha256, file, width, height)
  VALUES (3, 1, 2, 0, 'fp32', '0a9bd7f592c1e5f017c9f5ef4209f19b5a470011cce990ad8d84252d4ba9689f', 'bf7d01d338cdc286977eeb8e006b148d.png', 16, 16);
INSERT INTO images (id, study_id, prompt_id, sample_index, arm, sha256, file, width, height)
  VALUES (4, 1, 2, 0, 'w4a4', '4c8d1fdf3f555afdd80ed89dfbd7221d0082651ea29424d47028d1c672daf936', '0836b9d265bcd9bf7479e4d698b9e4df.png', 16, 16);
INSERT INTO images (id, study_id, prompt_id, sample_index, arm, sha256, file, width, height)
  VALUES (5, 1, 3, 0, 'fp32', '898ace5078dc3a939d412c966f83bcdb162fcad63f107621f03bc4a9c171361f', 'a12a07594527fc9ea1b44cec8b058c5b.png', 16, 16);
INSERT INTO images (id, study_id, prompt_id, sample_index, arm, sha256, file, width, height)
  VALUES (6, 1, 3, 0, 'w4a4', '92f155bf412054bc12aef39d3d9b7c345e2e5778a799f9a27554d2c6a2d1b420', 'e563b902914486987bd4a97c3439eb57.png', 16, 16);
INSERT INTO platform_identities (id, study_id, annotator_id, platform, external_id)
  VALUES (1, 1, 1, 'prolific', 'p1');
INSERT INTO sessions (id, study_id, annotator_id, pseudonym, simulated, state, consent_version, started_ms, finished_ms, plan, position, done, practice_done, voided, left_balance, recent, last_assignment_id, tab_token, tab_seen_ms, screening, demographics)
  VALUES (1, 1, 1, 's-235412573d6f', FALSE, 'active', '1', 1795899529081, NULL, 'TTT', 3, 2, 0, 0, 1, '3,2,1', 1883137144823806916, 'kKx3Twz3ueAJsft0GOP4CQ', 1795899529335, NULL, NULL);
INSERT INTO sessions (id, study_id, annotator_id, pseudonym, simulated, state, consent_version, started_ms, finished_ms, plan, position, done, practice_done, voided, left_balance, recent, last_assignment_id, tab_token, tab_seen_ms, screening, demographics)
  VALUES (2, 1, 2, 's-90cfe93093ee', TRUE, 'active', '1', 1795899529350, NULL, 'TTT', 3, 1, 0, 0, -1, '2,3,1', 1883137144897211032, 'gmXLGG8ftQ6YmUDZlcGynQ', 1795899529362, NULL, NULL);
INSERT INTO pairs (id, study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool, better, why, rank, load, side_balance, problems, disabled, comparison_id)
  VALUES (1, 1, '02693814e8eb599e', 3, 0, 5, 6, 'task', NULL, NULL, 0, 2, 0, 0, FALSE, 1);
INSERT INTO pairs (id, study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool, better, why, rank, load, side_balance, problems, disabled, comparison_id)
  VALUES (2, 1, 'a006d26d8648f5fd', 1, 0, 1, 2, 'task', NULL, NULL, 1, 2, 0, 0, FALSE, 1);
INSERT INTO pairs (id, study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool, better, why, rank, load, side_balance, problems, disabled, comparison_id)
  VALUES (3, 1, 'ed600c99c21e3eda', 2, 0, 3, 4, 'task', NULL, NULL, 2, 1, -1, 0, FALSE, 1);
INSERT INTO platform_sessions (session_id, annotator_id, platform, external_study, external_session)
  VALUES (1, 1, 'prolific', 'st1', 'se1');
INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, expected, state, counted, reopened, served_ms, lease_expires_ms, successor_id, selection_probability)
  VALUES (1883137144823806916, 1, 1, 3, 'task', 1, FALSE, NULL, 'voted', TRUE, FALSE, 1795899529289, 1795899529290, NULL, 1.0);
INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, expected, state, counted, reopened, served_ms, lease_expires_ms, successor_id, selection_probability)
  VALUES (1883137144824290236, 1, 1, 1, 'task', 0, TRUE, NULL, 'voted', TRUE, FALSE, 1795899529289, 1795899529290, 1883137144855170901, 1.0);
INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, expected, state, counted, reopened, served_ms, lease_expires_ms, successor_id, selection_probability)
  VALUES (1883137144855170901, 1, 1, 2, 'task', 2, TRUE, NULL, 'leased', TRUE, FALSE, 1795899529318, 1795899529319, NULL, 1.0);
INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, expected, state, counted, reopened, served_ms, lease_expires_ms, successor_id, selection_probability)
  VALUES (1883137144897211032, 2, 2, 3, 'task', 0, TRUE, NULL, 'voted', FALSE, FALSE, 1795899529359, 1795899529360, 1883137144900315022, 1.0);
INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, expected, state, counted, reopened, served_ms, lease_expires_ms, successor_id, selection_probability)
  VALUES (1883137144897314346, 2, 2, 1, 'task', 1, FALSE, NULL, 'leased', TRUE, FALSE, 1795899529359, 1795899529360, NULL, 1.0);
INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, expected, state, counted, reopened, served_ms, lease_expires_ms, successor_id, selection_probability)
  VALUES (1883137144900315022, 2, 2, 2, 'task', 2, FALSE, NULL, 'leased', TRUE, FALSE, 1795899529362, 1795899529363, NULL, 1.0);
INSERT INTO votes (id, assignment_id, session_id, question, choice, response_ms, hidden_ms, painted_ms, answered_ms, idempotency_key, display, supersedes_id, surplus_reason, strength)
  VALUES (1, 1883137144824290236, 1, 'overall', 'left', 900, 0, NULL, 1795899529318, 'f4a7ab92-2c08-4f84-8f0f-4ae91418c716', NULL, NULL, NULL, 2);
INSERT INTO votes (id, assignment_id, session_id, question, choice, response_ms, hidden_ms, painted_ms, answered_ms, idempotency_key, display, supersedes_id, surplus_reason, strength)
  VALUES (2, 1883137144823806916, 1, 'overall', 'tie', 900, 0, NULL, 1795899529326, 'c92d9ebd-b29c-403c-b892-277b45510acb', NULL, NULL, NULL, NULL);
INSERT INTO votes (id, assignment_id, session_id, question, choice, response_ms, hidden_ms, painted_ms, answered_ms, idempotency_key, display, supersedes_id, surplus_reason, strength)
  VALUES (3, 1883137144823806916, 1, 'overall', 'right', 900, 0, NULL, 1795899529335, '7190ef86-8336-4ad4-b393-3c87026eb4cf', NULL, 2, NULL, 1);
INSERT INTO votes (id, assignment_id, session_id, question, choice, response_ms, hidden_ms, painted_ms, answered_ms, idempotency_key, display, supersedes_id, surplus_reason, strength)
  VALUES (4, 1883137144897211032, 2, 'overall', 'skip', 900, 0, NULL, 1795899529362, 'e158a5f3-6e31-4961-8da4-ed8e52c1f95f', NULL, NULL, NULL, NULL);
