"""Pictures of other tools become an image set: paired by name or table, nothing guessed, pairing unproven."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from qsched.generation import verify_set
from qsched.records import iter_rows, read_manifest

SIZE = (24, 16)


def draw(path: Path, *, seed: int = 0, size=SIZE, mode: str = "RGB", **options) -> Image.Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), "uint8")
    picture = Image.fromarray(pixels).convert(mode)
    picture.save(path, **options)
    return picture


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        draw(Path(f"a/p{number}.png"), seed=number)
        draw(Path(f"b/p{number}.png"), seed=10 + number)
    Path("prompts.json").write_text(json.dumps({f"p{n}": {"prompt": f"text {n}", "category": "c"} for n in range(3)}))
    return tmp_path


def command(*arguments: str) -> str:
    """The command's output; its error is raised."""
    done = CliRunner().invoke(app, ["import", *arguments, "--out", "set"])
    if done.exception is not None:
        raise done.exception
    return done.output


BY_NAME = ("one=a", "two=b", "--prompts", "prompts.json")


def test_folders_become_a_set_whose_pairing_is_unproven_and_that_every_check_takes(folders):
    shown = command(*BY_NAME, "--backbone", "their-flux", "--simulated", "two")
    manifest, rows = read_manifest(folders / "set"), list(iter_rows(folders / "set"))
    assert "6 pictures of 2 arms, 3 prompts and 1 sample each" in shown and "unproven" in shown
    assert (manifest.pairing, manifest.set_seed, manifest.steps, manifest.backbone) == (
        "unproven",
        None,
        None,
        "their-flux",
    )
    assert [arm.simulated for arm in manifest.arms] == [False, True]
    assert {(row.seed, row.seconds, row.batch, row.category) for row in rows} == {(None, None, (), "c")}
    report = verify_set(folders / "set")
    assert report.ok and "the same noise is not known" in report.notes[0]
    for row in rows:
        source = folders / {"one": "a", "two": "b"}[row.arm] / f"{row.prompt_id}.png"
        with Image.open(source) as before, Image.open(folders / "set" / row.file_name) as after:
            assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.slow
def test_a_study_score_and_report_can_use_it_and_say_what_is_not_known(folders):
    command(*BY_NAME)
    runner = CliRunner()
    Path("s.yaml").write_text("slug: s\ntitle: t\nimages: set\n")
    checked = runner.invoke(app, ["study", "check", "s.yaml"])
    assert checked.exit_code == 0 and "the same noise is not known" in checked.output
    created = runner.invoke(app, ["study", "create", "s.yaml", "--db", f"sqlite:///{folders / 'x.db'}"])
    assert created.exit_code == 0, created.output
    scored = runner.invoke(app, ["score", "set", "--metrics", "psnr,ssim"])
    assert scored.exit_code == 0, scored.output
    assert "the same noise is not known" in Path("set/metrics.html").read_text()


def test_a_table_maps_files_with_other_names_and_several_samples(folders):
    rows = ["arm,file,prompt_id,prompt,sample_index"]
    rows += [
        f"{arm},{folder}/p{n}.png,q,the one prompt,{n}" for arm, folder in (("x", "a"), ("y", "b")) for n in range(3)
    ]
    Path("table.csv").write_text("\n".join(rows) + "\n")
    assert "1 prompt and 3 samples each" in command("--table", "table.csv")
    assert verify_set(folders / "set").ok


def test_the_layout_of_geneval_is_read_with_its_prompts_and_tags(folders):
    for arm in ("a", "b"):
        for prompt in ("00000", "00001"):
            for sample in range(2):
                draw(Path(f"ge/{arm}/{prompt}/samples/{sample:04}.png"), seed=hash((arm, prompt, sample)) % 99)
            Path(f"ge/{arm}/{prompt}/metadata.jsonl").write_text(json.dumps({"prompt": f"p {prompt}", "tag": "colors"}))
    command("one=ge/a", "two=ge/b", "--layout", "geneval")
    rows = list(iter_rows(folders / "set"))
    assert len(rows) == 8 and {(row.prompt, row.category) for row in rows} == {
        ("p 00000", "colors"),
        ("p 00001", "colors"),
    }


def at(path: str) -> Path:
    return Path(path)


def turned():
    draw(at("b/p1.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(at("b/p1.jpg"), size=SIZE[::-1], exif=exif)
    at("b/p1.png").unlink()


def other_space():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    draw(at("b/p1.png"), icc_profile=profile)


def transparent():
    picture = draw(at("b/p1.png"), mode="RGBA")
    picture.putalpha(7)
    picture.save("b/p1.png")


@pytest.mark.parametrize(
    ("harm", "arguments", "words"),
    [
        (
            lambda: at("b/p1.png").unlink(),
            BY_NAME,
            "1 of 3 pictures are not in every arm; the first is p1/0, which two",
        ),
        (lambda: draw(at("b/p9.png")), BY_NAME, "has no prompt 'p9'"),
        (lambda: draw(at("b/p1.jpg")), BY_NAME, "are two pictures of one name"),
        (lambda: draw(at("b/p1.png"), size=(8, 8)), BY_NAME, r"is 8x8, the pictures before it 24x16"),
        (lambda: at("b/p1.png").write_bytes(b"GIF89a"), BY_NAME, "is not a readable PNG, JPEG or WebP"),
        (lambda: draw(at("b/p1.png"), mode="I;16"), BY_NAME, "has the mode I;16"),
        (lambda: draw(at("b/p1.jpg"), mode="CMYK") and at("b/p1.png").unlink(), BY_NAME, "has the mode CMYK"),
        (transparent, BY_NAME, "partly transparent"),
        (other_space, BY_NAME, "profile that is not sRGB"),
        (lambda: at("b/p1.png").rename("c.png") and at("b/p1.png").symlink_to("../c.png"), BY_NAME, "is a link"),
        (lambda: at("set").mkdir() or at("set/x").touch(), BY_NAME, "not an empty folder"),
        (lambda: None, ("one=a", "--prompts", "prompts.json"), "1 arm is given; a comparison needs two"),
        (lambda: None, ("one=a", "one=b", "--prompts", "prompts.json"), "'one' is given twice"),
        (lambda: None, ("one=a", "two=b"), "give the texts of the pictures with --prompts"),
        (lambda: None, ("one=a", "two=nowhere", "--prompts", "prompts.json"), "nowhere is not a folder"),
        (lambda: None, (*BY_NAME, "--simulated", "three"), "the arms are one, two"),
    ],
)
def test_what_is_not_as_it_seems_is_refused_and_leaves_nothing_behind(folders, harm, arguments, words):
    harm()
    before = sorted(folders.rglob("*"))
    with pytest.raises(InputError, match=words):
        command(*arguments)
    assert sorted(folders.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arm,file\n", "no column 'prompt_id'"),
        ("arm,file,prompt_id\n", "no column 'prompt'; add it, or give the texts with --prompts"),
        ("arm,file,prompt_id,prompt,seed\n", "'seed' would not be used"),
        ("arm,file,prompt_id,prompt\nx,a/p0.png,p\n", r"table\.csv:2: the row has another number of values"),
        ("arm,file,prompt_id,prompt\nx,a/zz.png,p,t\n", "zz.png does not exist"),
        ("arm,file,prompt_id,prompt\nx,a/p0.png,p,t\nx,a/p1.png,p,t\n", "a second picture of arm 'x' at p/0"),
        ("arm,file,prompt_id,prompt\nx,a/p0.png,p,t\ny,b/p0.png,p,u\n", "state different prompts"),
        (
            "arm,file,prompt_id,prompt,sample_index\nx,a/p0.png,p,t,1\ny,b/p0.png,p,t,1\n",
            "the samples 1, others 0 to 0",
        ),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_its_line(folders, text, words):
    Path("table.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        command("--table", "table.csv")


def test_what_is_left_out_or_changed_is_counted(folders):
    at("b/p2.png").unlink()
    turned()
    Path("a/workflow.json").write_text("{}")
    shown = command(*BY_NAME, "--common-only")
    for words in (
        "1 file is not PNG, JPEG or WebP and was left alone",
        "1 picture without a twin in every arm was left out",
        "1 picture was turned upright",
        "lossy files: their compression is part of what is compared (one PNG, two JPEG and PNG)",
        "no arm is marked as simulated",
    ):
        assert words in shown, shown
    assert len(list(iter_rows(folders / "set"))) == 4 and read_manifest(folders / "set").provenance["left_out"] == 1
