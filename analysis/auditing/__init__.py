"""Check the evidence of a study: the hash chain, the preregistration, the votes table, the chances and the report."""
