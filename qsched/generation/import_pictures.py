"""Make an image set of pictures that other tools made, paired by name or by a table.

Whether the pictures of a pair started from the same noise cannot be seen, so the set says that its pairing is unproven.
Every picture is decoded and written again in one way, so that neither its format nor its metadata shows the arm; what
cannot be written without a change (transparency, more than 8 bits, another colour space) is refused by name.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import PIL
from PIL import Image, ImageOps, UnidentifiedImageError

from qsched.errors import InputError
from qsched.files import append_synced, write_atomic
from qsched.generation.picture_places import PictureFile, PictureFiles, PromptSample
from qsched.generation.render import encode_png
from qsched.generation.store import check_writable
from qsched.locations import Location, RemotePath
from qsched.records import ArmRecord, ImageRow, Manifest, hash_of, image_id_for
from qsched.records.image_set import IMAGES_FOLDER, MANIFEST_NAME, ROWS_NAME
from qsched.threads import in_order, threads_for

IMPORT = "qsched import"
_FORMATS = ("PNG", "JPEG", "WEBP")
_ORIENTATION = 0x0112
_LOSSY = ("JPEG", "WEBP")


@dataclass(frozen=True)
class Imported:
    """What an import wrote; `left_out` pictures had no twin in every arm, `notes` are worth knowing."""

    folder: Location
    set_id: str
    prompts: int
    samples: int
    images: int
    left_out: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _ReadPicture:
    png: bytes
    size: tuple[int, int]
    format: str
    turned: bool


def import_pictures(
    places: PictureFiles,
    *,
    out: Location,
    backbone: str = "imported",
    simulated: Sequence[str] = (),
    common_only: bool = False,
) -> Imported:
    """Write the pictures of `places` as an image set to `out`, a folder that does not exist or is empty.

    Raises InputError for arms with different pictures (unless `common_only`, which leaves them out), for prompts with
    different numbers of samples, for different sizes, and for a picture that RGB with 8 bits cannot hold.
    """
    _refuse_used(out)
    for arm in simulated:
        if arm not in places.files:
            raise InputError(f"--simulated {arm}: the arms are {', '.join(places.files)}")
    paired, left_out = _pair(places.files, common_only=common_only)
    samples = _samples(paired)
    arms = {arm: _arm_record(arm, simulated=arm in simulated) for arm in places.files}
    with _draft_of(out) as draft:
        manifest, notes = _write(draft, places, paired, arms, backbone=backbone, samples=samples, left_out=left_out)
    notes = (*places.notes, *notes)
    if not simulated:
        notes = (*notes, "no arm is marked as simulated; mark low precision that was imitated: --simulated ARM")
    return Imported(out, manifest.set_id, manifest.n_prompts, samples, len(paired) * len(arms), left_out, notes)


def _refuse_used(out: Location) -> None:
    try:
        is_used = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise InputError(f"{out} cannot be read: {error.strerror or error}; choose another --out") from error
    if is_used:
        raise InputError(f"{out} exists and is not an empty folder; choose another, or delete it")
    check_writable(out)


@contextmanager
def _draft_of(out: Location) -> Iterator[Path]:
    """A folder that becomes `out` when the block ends without an error: by its name, or put into the bucket."""
    if isinstance(out, RemotePath):
        with TemporaryDirectory(prefix="qsched-import-") as folder:
            yield Path(folder)
            _put_all(Path(folder), out)
        return
    draft = out.with_name(f".{out.name}.importing")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        if out.exists():
            out.rmdir()
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put_all(folder: Path, out: RemotePath) -> None:
    """The pictures, the rows, and last the manifest: before it is there, nobody takes this for a set."""

    def put(name: str) -> None:
        write_atomic(out / name, (folder / name).read_bytes())

    names = [f"{IMAGES_FOLDER}/{path.name}" for path in (folder / IMAGES_FOLDER).iterdir()]
    for _ in in_order(put, names, threads=threads_for(out)):
        pass
    put(ROWS_NAME)
    put(MANIFEST_NAME)


def _write(
    folder: Path,
    places: PictureFiles,
    paired: Sequence[PromptSample],
    arms: Mapping[str, ArmRecord],
    *,
    backbone: str,
    samples: int,
    left_out: int,
) -> tuple[Manifest, tuple[str, ...]]:
    (folder / IMAGES_FOLDER).mkdir(parents=True)
    formats: dict[str, Counter[str]] = {arm: Counter() for arm in arms}
    size: tuple[int, int] | None = None
    turned = 0
    for place in paired:
        for arm, record in arms.items():
            file = places.files[arm][place]
            picture = _read(file.path)
            size = size or picture.size
            if picture.size != size:
                raise InputError(
                    f"{file.path} is {picture.size[0]}x{picture.size[1]}, the pictures before it {size[0]}x{size[1]}; "
                    "a set has one size: import each size as a set of its own"
                )
            formats[arm][picture.format] += 1
            turned += picture.turned
            _add(folder, place, file, record, picture)
    if size is None:
        raise InputError("there is no picture to import")
    prompts = sorted({place.prompt_id for place in paired})
    texts = {place.prompt_id: next(iter(places.files.values()))[place] for place in paired}
    words = [[prompt, texts[prompt].prompt, texts[prompt].category] for prompt in prompts]
    manifest = Manifest(
        set_id=f"{backbone}-{hashlib.sha256((folder / ROWS_NAME).read_bytes()).hexdigest()[:12]}",
        created_at=datetime.now(UTC).replace(microsecond=0),
        backbone=backbone,
        arms=tuple(arms.values()),
        prompts_sha256=hash_of(words),
        n_prompts=len(prompts),
        samples=samples,
        set_seed=None,
        steps=None,
        width=size[0],
        height=size[1],
        pairing="unproven",
        provenance={
            "tool": IMPORT,
            "sources": dict(places.sources),
            "formats": {arm: dict(count) for arm, count in formats.items()},
            "left_out": left_out,
            "versions": {"pillow": PIL.__version__},
        },
    )
    write_atomic(folder / MANIFEST_NAME, manifest.model_dump_json(indent=1).encode() + b"\n")
    return manifest, tuple(_notes(formats, turned, left_out))


def _pair(
    files: Mapping[str, Mapping[PromptSample, PictureFile]], *, common_only: bool
) -> tuple[list[PromptSample], int]:
    """The places that every arm has, in order, and how many pictures are elsewhere."""
    if len(files) < 2:
        raise InputError(f"{len(files)} arm is given; a comparison needs two")
    everywhere = set.intersection(*(set(found) for found in files.values()))
    anywhere = set.union(*(set(found) for found in files.values()))
    missing = sorted(anywhere - everywhere)
    if missing and not common_only:
        first = missing[0]
        lacking = ", ".join(arm for arm, found in files.items() if first not in found)
        raise InputError(
            f"{len(missing)} of {len(anywhere)} pictures are not in every arm; the first is {first}, which {lacking} "
            "lacks. Names must agree (a table can map them: --table), or leave such pictures out with --common-only"
        )
    if not everywhere:
        raise InputError("no picture is in every arm; names must agree, or a table maps them (--table)")
    for place in everywhere:
        words = {(found[place].prompt, found[place].category) for found in files.values()}
        if len(words) > 1:
            raise InputError(f"{place}: the arms state different prompts or categories; one pair has one prompt")
    left_out = sum(place not in everywhere for found in files.values() for place in found)
    return sorted(everywhere), left_out


def _samples(paired: Sequence[PromptSample]) -> int:
    """The number of samples of every prompt."""
    by_prompt: dict[str, set[int]] = {}
    for place in paired:
        by_prompt.setdefault(place.prompt_id, set()).add(place.sample_index)
    samples = len(next(iter(by_prompt.values())))
    for prompt, numbers in by_prompt.items():
        if numbers != set(range(samples)):
            raise InputError(
                f"prompt {prompt!r} has the samples {', '.join(map(str, sorted(numbers)))}, others 0 to {samples - 1}; "
                "every prompt needs the same samples, counted from 0"
            )
    return samples


def _arm_record(arm: str, *, simulated: bool) -> ArmRecord:
    recipe: dict[str, object] = {"imported": arm}
    return ArmRecord(name=arm, precision="imported", recipe=recipe, recipe_hash=hash_of(recipe), simulated=simulated)


def _read(path: Path) -> _ReadPicture:
    if path.is_symlink():
        raise InputError(f"{path} is a link; name the folder that holds the pictures themselves")
    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.load()
            turned = image.getexif().get(_ORIENTATION, 1) != 1
            _refuse_what_rgb_loses(path, image)
            upright = ImageOps.exif_transpose(image) if turned else image
            rgb = upright.convert("RGB")
            return _ReadPicture(encode_png(rgb), rgb.size, image.format or "", turned)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable PNG, JPEG or WebP picture: {error}") from error


def _refuse_what_rgb_loses(path: Path, image: Image.Image) -> None:
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{path} is animated; export one picture")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise InputError(f"{path} is partly transparent; put it on a background first")
    if image.mode not in ("RGB", "RGBA", "P", "L", "LA", "1"):
        raise InputError(f"{path} has the mode {image.mode}; save it as RGB with 8 bits a channel")
    profile = image.info.get("icc_profile")
    if profile and not _is_srgb(profile):
        raise InputError(f"{path} has a colour profile that is not sRGB; convert it to sRGB first")


def _is_srgb(profile: bytes) -> bool:
    from PIL import ImageCms

    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False
    return "srgb" in name.lower()


def _add(folder: Path, place: PromptSample, file: PictureFile, arm: ArmRecord, picture: _ReadPicture) -> None:
    digest = hashlib.sha256(picture.png).hexdigest()
    row = ImageRow(
        image_id=image_id_for(sha256=digest, arm=arm.name, prompt_id=place.prompt_id, sample_index=place.sample_index),
        prompt_id=place.prompt_id,
        prompt=file.prompt,
        category=file.category,
        arm=arm.name,
        sample_index=place.sample_index,
        seed=None,
        width=picture.size[0],
        height=picture.size[1],
        sha256=digest,
        seconds=None,
        batch=(),
        simulated=arm.simulated,
        recipe_hash=arm.recipe_hash,
        versions={},
    )
    (folder / row.file_name).write_bytes(picture.png)
    append_synced(folder / ROWS_NAME, row.model_dump_json().encode() + b"\n")


def _notes(formats: Mapping[str, Counter[str]], turned: int, left_out: int) -> list[str]:
    notes = []
    kinds = {arm: " and ".join(sorted(count)) for arm, count in formats.items()}
    if any(format in _LOSSY for count in formats.values() for format in count):
        listed = ", ".join(f"{arm} {kind}" for arm, kind in kinds.items())
        notes.append(f"lossy files: their compression is part of what is compared ({listed})")
    if turned:
        were = "picture was" if turned == 1 else "pictures were"
        notes.append(f"{turned} {were} turned upright, as the orientation tag says")
    if left_out:
        picture, were = ("picture", "was") if left_out == 1 else ("pictures", "were")
        notes.append(f"{left_out} {picture} without a twin in every arm {were} left out")
    return notes
