"""Pictures: checked and copied at import, served by opaque name."""
