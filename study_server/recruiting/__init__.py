"""Recruiting platforms over their APIs: what became of submissions, and what an owner decides about them."""
