"""Votes: one durable row per answer, idempotent, corrected by a row that supersedes it."""
