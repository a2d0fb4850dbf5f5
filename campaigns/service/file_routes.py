"""Files in and out: tables of cells, cyclers' exports, figures, the table of cells."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Response

from campaigns.service import uploads
from campaigns.service.access import READS, RECORDS
from campaigns.service.desk import Desk
from campaigns.service.routing import READING, WRITING, Key, Name, TheDesk, apart
from campaigns.service.shapes import ExportPreview, ExportUpload, Imported, Merged, TablePreview, TableUpload

router = APIRouter(tags=["files"])
Preview = Annotated[bool, Query(description="Only say what is in the file; nothing is stored.")]
Number = Annotated[int, Query(ge=1, le=20, description="Of which condition, counted from 1.")]
Narrow = Annotated[bool, Query(description="Drawn for a phone: the legend below.")]
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A drawing brings its own style attributes; nothing else in it is obeyed."""


def _image(kind: str) -> dict[int | str, dict[str, Any]]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return READING | {200: {"description": "The figure.", "content": content}}


@router.post("/campaigns/{name}/tables", response_model=Merged | TablePreview, dependencies=RECORDS, responses=WRITING)
def add_table(
    name: Name,
    sent: Annotated[TableUpload, Form(media_type="multipart/form-data")],
    desk: TheDesk,
    key: Key,
    preview: Preview = False,
) -> Any:
    """Add a table of cells from a file, all or none; rows that are there already and unchanged are passed over."""
    campaign = desk.campaign(name)
    table = uploads.table_of(campaign.state, sent.file.file, sent.file.filename)
    if preview:
        return TablePreview.model_construct(cells=list(table.cells), notes=list(table.notes))
    merged = campaign.merge(table.cells, table.source, correct=sent.correct, key=key)
    return Merged.of(desk.state(name), merged, table.notes)


@router.post(
    "/campaigns/{name}/exports", response_model=Imported | ExportPreview, dependencies=RECORDS, responses=WRITING
)
def add_export(
    name: Name,
    sent: Annotated[ExportUpload, Form(media_type="multipart/form-data")],
    desk: TheDesk,
    key: Key,
    preview: Preview = False,
) -> Any:
    """Read a cycler's export, measure it, and record its cell; sent again with more in it, the cell reaches further."""
    campaign = desk.campaign(name)
    job = uploads.job_of(campaign.state, sent)
    if preview:
        return uploads.preview_export(campaign.state, sent.file.file, sent.file.filename, job)
    added = uploads.add_export(campaign, sent.file.file, sent.file.filename, job, key)
    return Imported.model_construct(**{**vars(added), "notes": list(added.notes)})


@router.get("/campaigns/{name}/figure.png", response_class=Response, dependencies=READS, responses=_image("image/png"))
async def figure_png(name: Name, desk: TheDesk, condition: Number = 1, narrow: Narrow = False) -> Response:
    """The picture of the last answer."""
    return await _figure(desk, name, "png", condition, narrow)


@router.get(
    "/campaigns/{name}/figure.svg", response_class=Response, dependencies=READS, responses=_image("image/svg+xml")
)
async def figure_svg(name: Name, desk: TheDesk, condition: Number = 1, narrow: Narrow = False) -> Response:
    """The picture of the last answer."""
    return await _figure(desk, name, "svg", condition, narrow)


async def _figure(desk: Desk, name: str, kind: Literal["png", "svg"], condition: int, narrow: bool) -> Response:
    content = await apart(lambda: desk.figure(name, kind, condition, narrow), "draw")
    media_type = {"png": "image/png", "svg": "image/svg+xml"}[kind]
    headers = {"Content-Security-Policy": SVG_POLICY, "Cache-Control": "private, no-cache"}
    return Response(content, media_type=media_type, headers=headers)
