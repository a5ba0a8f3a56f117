"""A study as a folder for others: tables, checksums, and a study card."""
