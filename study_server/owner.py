"""What an owner's commands need: settings, the database, designs, new studies. No web server is imported here."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr, ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from qsched.errors import InputError
from qsched.locations import Location, RemotePath, is_url, read_location
from qsched.records import read_manifest
from qsched.records.curation import read_curation
from study_server.assignment.records import AssignmentContext, PairCache
from study_server.clock import follow_database, now_ms
from study_server.db.database import DRIVER_ERRORS, Database
from study_server.db.migrate import upgrade
from study_server.settings import DATABASE_VARIABLE, METRICS_VARIABLE, SECRET_VARIABLE, ServerSettings, known_database
from study_server.studies.cache import find_study
from study_server.studies.creation import CreatedStudy, create_study
from study_server.studies.design import StudyDesign, default_design
from study_server.studies.yaml_file import read_study_file
from study_server.web.security import read_or_make_secret

T = TypeVar("T")


def make_settings(
    *,
    database_url: str,
    data: Location | None = None,
    allow_simulated: bool = False,
    secure_cookies: bool = False,
    accel_prefix: str | None = None,
) -> ServerSettings:
    """ServerSettings with the secret from the environment or its file; InputError names what does not fit."""
    if accel_prefix is not None and isinstance(data, RemotePath):
        raise InputError(f"--accel-prefix: a proxy sends files of a folder, and --data is {data}; leave one out")
    try:
        url = make_url(known_database(database_url))
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or "")
            path.parent.mkdir(parents=True, exist_ok=True)
            secret = os.environ.get(SECRET_VARIABLE) or read_or_make_secret(path.with_name(f"{path.name}.secret"))
        else:
            secret = os.environ.get(SECRET_VARIABLE, "")
            if not secret:
                raise InputError(
                    f"with PostgreSQL the secret key must be in {SECRET_VARIABLE}, so that every process has the "
                    f"same: export {SECRET_VARIABLE}=$(openssl rand -hex 32)"
                )
        return ServerSettings(
            database_url=database_url,
            data_folder=(data or default_data_folder(database_url)).resolve(),
            secret_key=SecretStr(secret),
            allow_simulated=allow_simulated,
            secure_cookies=secure_cookies,
            accel_prefix=accel_prefix,
            metrics_token=SecretStr(token) if (token := os.environ.get(METRICS_VARIABLE)) else None,
        )
    except ValidationError as error:
        raise InputError(_without_values(error)) from error
    except OSError as error:
        raise InputError(f"{database_url}: {error}; choose a place that can be written") from error
    except ValueError as error:
        raise InputError(str(error)) from error


def default_database() -> str:
    """The environment's database, else `study.db` in the current folder: one rule for every command."""
    return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{Path('study.db').resolve()}"


def open_database(settings: ServerSettings) -> Database:
    """The database with its newest schema; InputError where it cannot be reached."""
    database = Database(settings)
    try:
        database.check_encoding()
        upgrade(database)
        follow_database(database.clock_skew_ms())
    except (*DRIVER_ERRORS, SQLAlchemyError) as error:
        where = database.url.render_as_string(hide_password=True)
        raise InputError(f"the database {where} cannot be used: {str(error).splitlines()[0]}") from error
    return database


def existing_database(database_url: str | None) -> Database:
    """An existing database for the owner's commands: no secret is needed and no file is made."""
    url = database_url or default_database()
    try:
        parsed = make_url(known_database(url))
    except ValueError as error:
        raise InputError(str(error)) from error
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise InputError(
            f"there is no database {parsed.database}; `qsched serve` and `qsched study create` make one in the folder "
            "in which they run. Go there, or name it: --db sqlite:///path/to/study.db"
        )
    try:
        # Nothing is signed here; the key only satisfies the rule that there is no default.
        settings = ServerSettings(
            database_url=url, data_folder=default_data_folder(url), secret_key=SecretStr(secrets.token_hex(32))
        )
    except ValidationError as error:
        raise InputError(_without_values(error)) from error
    return open_database(settings)


def _without_values(error: ValidationError) -> str:
    """The first setting that does not fit, and the rule. Not its value: that could be a secret or a password."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    rule = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {rule}" if where else rule


def default_data_folder(database_url: str) -> Path:
    """The default folder of the picture copies: next to the SQLite file, else in the working folder."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "").resolve()
        return path.parent / f"{path.stem}-images"
    return Path(f"{url.database}-images").resolve()


def read_design(path: Location, *, votes_per_pair: int | None = None) -> tuple[StudyDesign, Location]:
    """The design and its image-set folder: from a study.yaml, or for a bare image set (with `votes_per_pair`)."""
    if isinstance(path, RemotePath):
        return default_design(name=path.name, images=str(path), votes_per_pair=votes_per_pair), path
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give the folder of an image set (qsched generate-pairs makes one) or a study.yaml "
            "(qsched study init writes one)"
        )
    if path.is_file():
        design = read_study_file(path)
        folder = images_of(path, design)
        if design.pairs == "curated" and design.pairs_sha256 is None:
            # Part of the design from now on: a list that is edited later is another study.
            design = design.model_copy(update={"pairs_sha256": read_curation(folder).sha256})
        return design, folder
    return default_design(name=path.resolve().name, images=str(path), votes_per_pair=votes_per_pair), path


def images_of(file: Path, design: StudyDesign) -> Location:
    """The image set that a study.yaml names: relative to the file, or the URL of a bucket."""
    return read_location(design.images) if is_url(design.images) else (file.parent / design.images).resolve()


def act_on_study(database: Database, slug: str, job: Callable[..., T], /, **values: object) -> T:
    """The result of job(tx, context of the study, **values), committed: what the server's pages do by its writer."""
    try:
        with database.transaction() as tx:
            context = AssignmentContext(find_study(tx, slug), PairCache(), random.Random(), now_ms())
            return job(tx, context, **values)
    except DRIVER_ERRORS as error:
        raise InputError(f"the database did not take the change: {error}; nothing was done, try again") from error


def add_study(file: Path, *, database_url: str, data: Location | None, note: Callable[[str], None]) -> str:
    """Create the study of a study.yaml in a database, made if need be; returns a line about it.

    `note` is called with a line before work that takes long.
    """
    design, folder = read_design(file)
    read_manifest(folder)  # a mistyped path must leave no database behind
    settings = make_settings(database_url=database_url, data=data)
    database = open_database(settings)
    try:
        made = create_study(
            database,
            design,
            set_folder=folder,
            data_folder=settings.data_folder,
            progress=lambda _: None,
            note=note,
        )
    finally:
        database.close()
    return f"{describe(made)}; open at /s/{made.slug} of the server"


def describe(made: CreatedStudy) -> str:
    """One line for the owner: what was made, and what was taken out of the pictures."""
    line = f"study {made.slug}: {made.pairs} {'triplets' if made.triplets else 'pairs'} from {made.images} images"
    if not made.created:
        return f"{line}, going on with it"
    if made.curated:
        line += f"; pairs.csv leaves out {made.curated} pairs"
    if made.identical:
        line += f"; left out {made.identical} pairs whose two pictures are identical"
    if made.refused or any(made.changed.values()):
        changed = ", ".join(f"{count} of {arm}" for arm, count in made.changed.items() if count)
        line += f"; content changed in {changed}: {made.refused} boosted triplets left out"
    if made.boosted:
        line += (
            f"; {made.large_flashes} of {made.boosted} boosted triplets flash above the area and contrast thresholds "
            "of WCAG 2.3.1, which then allows 3 flashes per second"
        )
    if made.removed_chunks:
        chunks = ", ".join(f"{count} x {name}" for name, count in sorted(made.removed_chunks.items()))
        line += f"; left out of the served PNG files: {chunks} (could tell the arm; pixels unchanged)"
    return line
