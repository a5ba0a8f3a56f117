"""Answers that many ask for: how many are kept, and how many questions wait."""

from __future__ import annotations

import asyncio

from study_server.admin.shared_reads import SharedReads


async def test_few_questions_wait_at_once_and_what_was_wanted_longest_ago_is_forgotten():
    asked, gate = [], asyncio.Event()

    async def ask(question):
        asked.append(question)
        await gate.wait()
        return question

    shared = SharedReads(ask, fresh_seconds=60, most=3, at_once=2)
    assert [await shared.get_soon(str(i), i, seconds=0.01) for i in range(6)] == [None] * 6
    assert asked == [0, 1], "a third question waits for nobody's answer"
    gate.set()
    assert await shared.get_soon("1", 1, seconds=10) == 1
    assert [await shared.get(str(i), i) for i in range(6)] == list(range(6))
    assert list(shared._known) == list(shared._latest) == ["3", "4", "5"]
    assert await shared.get("3", None) == 3, "still known"
    assert await shared.get("6", 6) == 6
    assert list(shared._known) == ["5", "3", "6"], "the one that was wanted longest ago went"
    assert asked == [0, 1, 2, 3, 4, 5, 6]
