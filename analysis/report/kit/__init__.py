"""What every subject is made of: tables, escaped names, the look of figures, sections of the page."""
