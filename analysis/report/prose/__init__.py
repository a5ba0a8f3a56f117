"""The connected text of the report: the summary, the methods, and why there is no estimate."""
