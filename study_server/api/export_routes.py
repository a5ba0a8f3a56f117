"""The votes table over the API: a file with its checksum."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
from pathlib import Path

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from qsched.records.owner_api import ExportFormat
from study_server.admin.exporting import export_votes_file
from study_server.api.gate import ERRORS, MayRead

router = APIRouter(prefix="/api/v1/studies/{slug}", responses=ERRORS, tags=["owner"])
MEDIA_TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
FILE = {
    "description": "the file; `Repr-Digest` (RFC 9530) holds its SHA-256",
    "headers": {"Repr-Digest": {"schema": {"type": "string"}, "description": "sha-256=:base64:"}},
    "content": {media.partition(";")[0]: BINARY for media in MEDIA_TYPES.values()},
}


@router.get("/votes", response_class=Response, responses={200: FILE})
async def export_votes(slug: str, call: MayRead, format: ExportFormat = "parquet") -> Response:
    """The votes table, as `qsched votes export` writes it; of a fidelity study, the triplets table."""
    file = await export_votes_file(call.request, slug=slug, kind=format, by=call.actor)
    digest = base64.b64encode(await asyncio.to_thread(_sha256, file)).decode()
    return FileResponse(
        file,
        filename=file.name,
        media_type=MEDIA_TYPES[format],
        headers={"repr-digest": f"sha-256=:{digest}:"},
        background=BackgroundTask(shutil.rmtree, file.parent),
    )


def _sha256(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()
