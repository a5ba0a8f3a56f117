"""Nothing that reaches a browser tells the arm: every byte of a visit is read and compared between the arms."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import time

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from qsched.records import iter_rows, read_manifest
from study_server.media.store import ImageStore
from tests.conftest import write_image_set
from tests.study_server.visiting import Visitor, query, serving


@pytest.fixture
def telling_set(tmp_path):
    """An image set whose second arm gives itself away wherever a file can: text chunks, time, size."""
    import hashlib

    from qsched.records import image_id_for

    folder = write_image_set(tmp_path / "telling", arms=("reference-arm", "damaged-arm"))
    rows = []
    for row in iter_rows(folder):
        path = folder / row.file_name
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("Software", f"made by {row.arm}")
        if row.arm == "damaged-arm":
            chunks.add_itxt("Comment", "w4a4 " * 500)
        with Image.open(path) as picture:
            picture.load()
            picture.save(path, pnginfo=chunks)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        new = image_id_for(sha256=sha, arm=row.arm, prompt_id=row.prompt_id, sample_index=0)
        path.rename(folder / "images" / f"{new}.png")
        rows.append(row.model_copy(update={"sha256": sha, "image_id": new}))
    (folder / "images.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    return folder


async def test_nothing_that_a_browser_receives_tells_the_arm(settings, make_study, database, telling_set):
    make_study(
        images=telling_set,
        votes_per_pair=4,
        repeat_rate=0.2,
        warmup=1,
        instructed=1,
        gold=[{"prompt": "p1", "better": "reference-arm", "worse": "damaged-arm"}],
    )
    received: list[tuple[str, bytes, list[tuple[str, str]]]] = []
    pictures: list[tuple[str, str, bytes, dict]] = []

    async with serving(settings) as browser:
        for _ in range(2):
            visitor = await Visitor(browser()).enter()

            async def keep(answer):
                await answer.aread()
                if not answer.request.url.path.startswith("/i/"):
                    received.append((str(answer.request.url), answer.content, answer.headers.multi_items()))

            visitor.client.event_hooks["response"].append(keep)
            for page in ("instructions", "task"):
                await visitor.client.get(f"/s/s/{page}")
            await visitor.begin()
            while visitor.queue:
                assignment = visitor.queue[0]
                for side in ("left", "right"):
                    answer = await visitor.client.get(assignment[side]["src"])
                    assert answer.status_code == 200
                    pictures.append((assignment["token"], side, answer.content, dict(answer.headers)))
                await visitor.vote()
            for page in ("", "/thanks", "/nothing"):
                await visitor.client.get(f"/s/s{page}", follow_redirects=True)

    manifest = read_manifest(telling_set)
    secrets = {arm.name for arm in manifest.arms} | {manifest.set_id, str(telling_set)}
    secrets |= {row.sha256 for row in iter_rows(telling_set)} | {row.image_id for row in iter_rows(telling_set)}
    secrets |= {row[0] for row in query(database, "SELECT file FROM images")}
    secrets |= {row[0] for row in query(database, "SELECT pair_key FROM pairs")}
    for url, content, headers in received:
        everything = url.encode() + content + json.dumps(headers).encode()
        for secret in secrets:
            assert secret.encode() not in everything, f"{url} tells {secret}"
        assert b'"kind"' not in content and b"gold" not in content and b"expected" not in content

    # Which arm was where, as only the database knows.
    originals = {}
    for row in iter_rows(telling_set):
        with Image.open(telling_set / row.file_name) as picture:
            originals[np.asarray(picture).tobytes()] = row.arm
    by_arm: dict[str, list[dict]] = {}
    urls = set()
    sizes: dict[str, set[int]] = {}
    for token, _, content, headers in pictures:
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.text == {} and "exif" not in picture.info, picture.info
            pixels = np.asarray(picture).tobytes()
        arm = originals[pixels]  # the pixels are the original ones
        sizes.setdefault(token, set()).add(len(content))
        etag = headers.pop("etag")
        assert etag not in urls, "an address or tag of an image comes twice"
        urls.add(etag)
        by_arm.setdefault(arm, []).append(headers)
    assert all(len(both) == 1 for both in sizes.values()), "the two pictures of a pair differ in length"
    assert len(by_arm) == 2
    for header in ("content-length", "cache-control", "content-type"):
        one, two = (sorted(headers[header] for headers in by_arm[arm]) for arm in sorted(by_arm))
        assert one == two, f"{header} differs between the arms"
    assert len({tuple(sorted(headers)) for arm in by_arm for headers in by_arm[arm]}) == 1


async def test_an_address_of_an_image_is_not_linkable_between_people_and_all_are_of_one_length(settings, make_study):
    make_study(votes_per_pair=5)

    async with serving(settings) as browser:
        seen: list[str] = []
        for _ in range(3):
            visitor = await Visitor(browser()).enter()
            await visitor.vote_all(lambda a: seen.extend([a["left"]["src"], a["right"]["src"], a["token"]]) or "left")
        assert len(set(seen)) == len(seen)
        images = [text for text in seen if text.startswith("/i/")]
        assert len({len(text) for text in images}) == 1
        # Each token names two pictures; no stretch of 8 characters is shared with another pair's token.
        starts = {text[3:11] for text in images}
        assert len(starts) == len(images) / 2 == len({text.partition(".")[0] for text in images})


ROUNDS = 150
# A sign statistic of 4 comes by chance once in 16,000 runs.
CHANCE = 4.0


async def lean(settings, database, rounds=ROUNDS) -> float:
    """How surely one arm's pictures take longer: the sign statistic over rounds, a standard normal if they do not.

    Each round fetches both pictures of a pair, in an order drawn by chance. Only the sign of a round's difference
    counts, so that a busy machine, which makes some fetches a hundred times slower, hides nothing and feigns nothing.
    """
    rng = random.Random(5)
    later: list[bool] = []

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        left_arms = [
            row[0]
            for row in query(
                database,
                "SELECT CASE WHEN a.first_on_left THEN f.arm ELSE s.arm END FROM assignments a "
                "JOIN pairs p ON p.id = a.pair_id JOIN images f ON f.id = p.first_image_id "
                "JOIN images s ON s.id = p.second_image_id ORDER BY a.position",
            )
        ]
        for number in range(rounds + 5):
            which = number % 2
            sides = ["left", "right"]
            rng.shuffle(sides)
            seconds = {}
            for side in sides:
                start = time.perf_counter()
                answer = await visitor.client.get(visitor.queue[which][side]["src"])
                seconds["damaged" if (side == "left") == (left_arms[which] == "damaged-arm") else "reference"] = (
                    time.perf_counter() - start
                )
                assert answer.status_code == 200
            later.append(seconds["damaged"] > seconds["reference"])
    counted = later[5:]  # the first ones fill caches
    return (2 * sum(counted) - len(counted)) / len(counted) ** 0.5


@pytest.mark.parametrize("cache", ["warm", "cold"])
async def test_both_arms_are_served_in_the_same_time(settings, make_study, database, telling_set, monkeypatch, cache):
    make_study(images=telling_set)
    if cache == "cold":
        monkeypatch.setattr("study_server.media.store.CACHE_BYTES", 0)  # every picture comes from the disk
    assert abs(await lean(settings, database)) < CHANCE


async def test_an_arm_that_took_a_millisecond_longer_would_be_noticed(
    settings, make_study, database, telling_set, monkeypatch
):
    make_study(images=telling_set)
    damaged = {row[0] for row in query(database, "SELECT id FROM images WHERE arm = 'damaged-arm'")}
    read = ImageStore.read

    async def slower_for_one_arm(self, image_id):
        if image_id in damaged:
            await asyncio.sleep(0.001)
        return await read(self, image_id)

    monkeypatch.setattr(ImageStore, "read", slower_for_one_arm)
    assert await lean(settings, database) > 2 * CHANCE


async def test_an_image_is_cached_for_good_and_asked_for_conditionally(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        address = visitor.queue[0]["left"]["src"]
        first = await visitor.client.get(address)
        assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
        again = await visitor.client.get(address, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        forged = address[:-3] + ("AAA" if address[-3:] != "AAA" else "BBB")
        assert (await visitor.client.get(forged)).status_code == 404
        for hostile in ("/i/..%2f..%2fetc%2fpasswd", "/i/../study.db", "/i/" + "A" * 5000, "/i/é"):
            assert (await visitor.client.get(hostile)).status_code == 404
        assert (await visitor.client.get("/i/%00")).status_code == 400
        # Line breaks inside a seal used to reach a header.
        split = f"{address[:20]}%0d%0a{address[20:]}"
        assert (await visitor.client.get(split)).status_code == 404
    accelerated = settings.model_copy(update={"accel_prefix": "/protected/"})
    async with serving(accelerated) as browser:
        answer = await browser(cookies=visitor.client.cookies).get(address)
        assert re.fullmatch(r"/protected/s/[0-9a-f]{2}/[0-9a-f]{32}\.png", answer.headers["x-accel-redirect"])
        assert answer.content == b""
