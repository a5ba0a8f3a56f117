"""The owner's pages: accounts and sign-in, studies live, people, pairs, exports, and what was done."""
