"""Whether this process belongs to one command of ours, so that what it imports and collects is ours to decide."""

from __future__ import annotations

_claimed = False


def claim_process() -> None:
    """Say so, at the start of a command line or of a worker; a notebook or a test must not."""
    global _claimed
    _claimed = True


def share_process() -> None:
    """Take it back, where commands follow one another: the next one may use what this one leaves out."""
    global _claimed
    _claimed = False


def is_our_own() -> bool:
    """True after `claim_process`, unless it was taken back."""
    return _claimed
