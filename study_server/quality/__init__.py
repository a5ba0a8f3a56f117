"""How annotators work, and leaving somebody's votes out: figures per person, exclusion, what a platform may be told."""
