"""Commands of the documentation that tests/docs/test_commands.py does not run, and why.

A key is a page and the beginning of its command; the reason may name a test, in which the command runs in another form.
"""

from __future__ import annotations

REAL_MODEL = "loads a real model, which takes a GPU and a download; the same command with a tiny model is run on "
LONG = "takes minutes to hours; a maintainer's measurement"
CONTAINERS = "needs containers; what was tried by hand is in docs/deployment.md#what-was-tried"
PROLIFIC = "needs an account at Prolific; `tests/study_server/recruiting/test_prolific.py::"
BENCHMARK = "takes a minute of processor time; `tests/bench/test_tiny_benchmark.py::"
PEOPLE = "`tests/bench/test_people.py::test_a_study_of_people_goes_from_the_file_to_the_leaderboard`"
OTHER = "names the reader's own files; the same command is run on "
SAME = "the same command by its other name is run on the same page"

NOT_RUN = {
    ("audit.md", "python analysis/audit.py"): SAME,
    (
        "README.md",
        "make demo",
    ): "`tests/cli/test_demo.py::test_the_demo_ends_with_a_report_that_says_its_votes_are_simulated`",
    ("README.md", "make check"): "runs tests",
    ("README.md", "make test"): "runs tests",
    ("tutorial.md", "make setup"): "downloads packages; whoever runs this test has done it",
    ("installation.md", ""): "`tests/packaging/test_names.py::test_one_run_needs_no_installation`",
    ("README.md", "qsched generate-pairs"): REAL_MODEL + "generation.md",
    ("README.md", "qsched doctor"): OTHER + "backbones.md",
    ("README.md", "qsched import"): OTHER + "image-set.md",
    ("README.md", "qsched gate"): OTHER + "scoring.md",
    ("README.md", "qsched verify"): OTHER + "tutorial.md",
    ("README.md", "qsched pairs"): OTHER + "image-set.md",
    ("README.md", "qsched study init"): OTHER + "tutorial.md",
    ("README.md", "qsched study check"): OTHER + "tutorial.md",
    ("README.md", "qsched serve"): OTHER + "tutorial.md",
    ("README.md", "qsched votes export"): OTHER + "tutorial.md",
    ("README.md", "qsched winrates"): OTHER + "tutorial.md",
    ("README.md", "qsched audit"): OTHER + "audit.md",
    ("README.md", "qsched metrics"): OTHER + "scoring.md",
    ("README.md", "qsched bench run"): "names a file of the reader's; " + PEOPLE,
    ("backbones.md", "qsched generate-pairs"): REAL_MODEL + "generation.md",
    ("backbones.md", "qsched convert model"): "needs a checkpoint in one file; `tests/backbones/test_single_file.py::"
    "test_a_converted_file_makes_the_pictures_of_the_folder_it_was_made_from`",
    ("backbones.md", "qsched convert my-modular"): "needs a modular pipeline; `tests/backbones/test_modular.py::"
    "test_a_converted_pipeline_makes_the_pictures_of_the_modular_one`",
    ("benchmark.md", "qsched bench run benchmarks/specs/tiny.yaml"): BENCHMARK
    + "test_a_killed_run_ends_as_a_whole_set_and_nothing_is_made_twice`",
    ("benchmark.md", "qsched bench report"): BENCHMARK
    + "test_the_leaderboard_shows_every_arm_with_votes_sizes_and_a_certificate`",
    ("benchmark.md", "qsched bench submit"): BENCHMARK
    + "test_another_folder_verifies_the_submission_with_the_real_commands`",
    ("benchmark.md", "qsched bench verify"): BENCHMARK
    + "test_another_folder_verifies_the_submission_with_the_real_commands`",
    ("benchmark.md", "qsched bench merge"): BENCHMARK
    + "test_a_lab_that_made_one_model_takes_the_other_from_a_submission`",
    ("benchmark.md", "qsched bench compare"): "needs two benchmarks; `tests/bench/test_site.py::"
    "test_a_comparison_has_the_difference_of_contrasts_and_refuses_the_same_votes`",
    ("benchmark.md", "qsched bench run mine.yaml"): PEOPLE,
    ("benchmark.md", "qsched study"): PEOPLE,
    ("benchmark.md", "qsched serve"): PEOPLE,
    ("calibration.md", "python -m tools.ship"): LONG,
    ("calibration.md", "qsched calibrate --backbone tiny-sdxl --precision w3a8 --steps 1"): LONG,
    ("calibration.md", "python benchmarks/"): LONG,
    ("transfer.md", "python benchmarks/"): LONG,
    ("transfer.md", "nice -n 15 python benchmarks/"): LONG,
    ("tiny-models.md", "python -m tools.train_tiny"): LONG,
    ("tiny-models.md", "python -m qsched.tiny.evaluate"): LONG,
    ("certificate.md", "qsched certify"): OTHER + "fidelity-study.md",
    ("fidelity-study.md", "qsched certify first"): "needs the votes of two stages; "
    "`tests/study_server/test_fidelity.py::test_a_second_stage_asks_about_the_named_prompts_only`",
    ("command-line.md", "qsched --install-completion"): "changes the files of the shell that runs it; "
    "`tests/cli/test_conventions.py::test_completion_is_installed_and_completes`",
    ("command-line.md", "qsched --show-completion"): "asks which shell runs it; "
    "`tests/cli/test_conventions.py::test_completion_is_installed_and_completes`",
    ("deployment.md", "cd deploy"): CONTAINERS,
    ("deployment.md", "printf"): CONTAINERS,
    ("deployment.md", "chmod"): CONTAINERS,
    ("deployment.md", "mkdir"): CONTAINERS,
    ("deployment.md", "cp -r ../runs"): CONTAINERS,
    ("deployment.md", "docker"): CONTAINERS,
    ("deployment.md", "pg_"): "needs a PostgreSQL server of its own; tried by hand with Compose",
    ("generation.md", "torchrun"): REAL_MODEL + "this page, with `--shard 1/2`",
    ("generation.md", "qsched merge runs/flux"): REAL_MODEL + "this page, with runs/parts",
    ("generation.md", "qsched generate-pairs --backbone flux-schnell"): REAL_MODEL + "generation.md; "
    "Ray and SLURM: `tests/generation/test_sharding_docs.py::test_every_command_of_the_page_is_understood`; a bucket: "
    "`tests/generation/test_buckets.py::test_a_run_that_was_stopped_in_a_bucket_goes_on_to_the_set_of_a_folder`",
    ("generation.md", "qsched verify s3:"): "needs a bucket; `tests/generation/test_buckets.py::"
    "test_pictures_of_other_tools_are_imported_into_a_bucket`",
    ("prolific.md", "export"): "a secret of the reader's",
    ("prolific.md", "qsched study prolific status"): PROLIFIC
    + "test_the_status_shows_both_sides_and_what_does_not_fit`",
    ("prolific.md", "qsched study prolific approve"): PROLIFIC
    + "test_approving_needs_a_list_a_confirmation_and_what_awaits_review`",
    ("prolific.md", "qsched study prolific return"): PROLIFIC
    + "test_people_are_asked_to_return_what_they_did_not_finish`",
    ("prolific.md", "qsched study prolific reject"): PROLIFIC
    + "test_a_failed_check_rejects_only_as_prolifics_rule_allows_and_with_words`",
    ("prolific.md", "qsched study prolific bonus"): PROLIFIC + "test_a_list_of_bonuses_is_paid_once`",
    ("report.md", "qsched review"): SAME,
    ("scoring.md", "qsched score runs/demo --metrics clipscore,clip-iqa,lpips"): "needs weights of CLIP and AlexNet",
    ("scoring.md", "qsched jnd"): "needs hundreds of triplets on a scored set; `tests/analysis/certificate/"
    "test_metric_maps.py::test_each_metric_is_mapped_the_best_first_and_the_map_is_the_truth`",
    ("scoring.md", "qsched gate runs/demo --limit 'flip<=0.5JND'"): "needs the map of the command before it; "
    "`tests/scoring/test_gate.py::test_a_limit_in_jnd_is_placed_by_the_map_of_peoples_votes`",
    (
        "study-design.md",
        "qsched plan",
    ): "takes seconds; analysis/plan.py with another target is run on this page",
    ("study-server.md", "export"): "is for PostgreSQL; `tests/load/test_workers.py::"
    "test_two_processes_give_exactly_the_votes_asked_for_although_one_is_killed`",
    ("study-server.md", "qsched serve demo.yaml --db postgresql"): "needs PostgreSQL; `tests/load/test_workers.py::"
    "test_two_processes_give_exactly_the_votes_asked_for_although_one_is_killed`",
}
