"""The owner's API at /api/v1: tokens with scopes, and routes that call what the owner's pages call."""
