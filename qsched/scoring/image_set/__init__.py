"""Automatic metrics of an image set: scored picture by picture, compared arm by arm, written as a page and as JSON."""
