"""Webhooks: signed events are sent to addresses, and sent again until the receiver confirms them."""
