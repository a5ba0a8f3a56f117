"""Votes: one durable row an answer, idempotent, corrected by a row that supersedes."""
