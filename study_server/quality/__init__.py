"""How annotators work: figures per person, exclusion from the estimate, and what is reported to a platform."""
