"""The tables of a report, built from its findings. Each goes to the page; the main ones also to CSV and LaTeX."""
