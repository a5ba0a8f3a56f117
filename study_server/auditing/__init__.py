"""What opponents of a study need: a hash chain of its votes, its preregistration, and its evidence as files."""
