"""A benchmark as one file: models x arms x prompts x samples x metrics x studies; planned, run, reported, submitted.

spec          benchmark.yaml and its rules
prompts       the prompts of a benchmark, from several files, as one file
places        where a benchmark's folder keeps what
identity      what makes two folders the same benchmark
study_file    the study.yaml of one model
plan          pictures, model evaluations, bytes, votes, hours and money, before anything is made
steps         the commands that make a benchmark; a step is done when its files are there
run           carries the steps out
local_server  a study server for simulated people
results       what a folder shows: every arm of every model with its figures
site          the leaderboard; scatter draws its figures
compare       two folders: what changed
submit        a folder for another lab
verify        whether a submission is what it says
merge         takes a submission into a folder
"""
