"""A benchmark as one file: models x arms x prompts x samples x metrics x studies.

spec        benchmark.yaml and its rules
prompts     the prompts of a benchmark, from several files, as one file
places      where a benchmark's folder keeps what
study_file  the study.yaml of one model
plan        pictures, model evaluations, bytes, votes, hours and money, before anything is made
"""
