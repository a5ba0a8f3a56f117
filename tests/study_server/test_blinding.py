"""Nothing that reaches a browser tells the arm: every byte of a visit is read and compared between the arms."""

from __future__ import annotations

import io
import json
import re
import statistics
import time

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from qsched.records import iter_rows, read_manifest
from tests.conftest import write_image_set
from tests.study_server.visiting import Visitor, query, run, serving


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
            picture.save(path, pnginfo=chunks, compress_level=1 if row.arm == "damaged-arm" else 9)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        new = image_id_for(sha256=sha, arm=row.arm, prompt_id=row.prompt_id, sample_index=0)
        path.rename(folder / "images" / f"{new}.png")
        rows.append(row.model_copy(update={"sha256": sha, "image_id": new}))
    (folder / "images.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    return folder


def test_nothing_that_a_browser_receives_tells_the_arm(settings, make_study, database, telling_set):
    make_study(images=telling_set, votes_per_pair=4, repeat_rate=0.2, warmup=1, instructed=1,
               gold=[{"prompt": "p1", "better": "reference-arm", "worse": "damaged-arm"}])  # fmt: skip
    received: list[tuple[str, bytes, list[tuple[str, str]]]] = []
    pictures: list[tuple[str, str, bytes, dict]] = []

    async def scenario():
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

    run(scenario())

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


def test_an_address_of_an_image_is_not_linkable_between_people_and_all_are_of_one_length(settings, make_study):
    make_study(votes_per_pair=5)

    async def scenario():
        async with serving(settings) as browser:
            seen: list[str] = []
            for _ in range(3):
                visitor = await Visitor(browser()).enter()
                await visitor.vote_all(
                    lambda a: seen.extend([a["left"]["src"], a["right"]["src"], a["token"]]) or "left"
                )
            assert len(set(seen)) == len(seen)
            images = [text for text in seen if text.startswith("/i/")]
            assert len({len(text) for text in images}) == 1
            # No stretch of 8 characters is shared more often than chance allows among 270 random tokens.
            starts = [text[3:11] for text in images]
            assert len(set(starts)) == len(starts)

    run(scenario())


def test_both_arms_are_served_in_the_same_time(settings, make_study, database, small_image_set):
    make_study()
    times: dict[str, list[float]] = {}

    async def scenario():
        async with serving(settings) as browser:
            visitor = await Visitor(browser()).enter()
            await visitor.begin()
            pair = visitor.queue[0]
            for _ in range(100):
                for side in ("left", "right"):
                    start = time.perf_counter()
                    await visitor.client.get(pair[side]["src"])
                    times.setdefault(side, []).append(time.perf_counter() - start)

    run(scenario())
    left, right = (statistics.median(times[side][10:]) for side in ("left", "right"))
    assert abs(left - right) < 0.3 * max(left, right)


def test_an_image_is_cached_for_good_and_asked_for_conditionally(settings, make_study):
    make_study()

    async def scenario():
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
            for hostile in ("/i/..%2f..%2fetc%2fpasswd", "/i/../study.db", "/i/" + "A" * 5000, "/i/%00", "/i/é"):
                assert (await visitor.client.get(hostile)).status_code == 404
        accelerated = settings.model_copy(update={"accel_prefix": "/protected/"})
        async with serving(accelerated) as browser:
            answer = await browser().get(address)
            assert re.fullmatch(r"/protected/s/[0-9a-f]{2}/[0-9a-f]{32}\.png", answer.headers["x-accel-redirect"])
            assert answer.content == b""

    run(scenario())
