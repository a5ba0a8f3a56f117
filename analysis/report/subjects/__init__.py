"""One file for each subject of the report: it computes, tabulates and draws that subject."""
