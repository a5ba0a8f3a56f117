"""The embedded tiny models."""
