"""Renders pages: one template and one frozen context class a page, words from the catalogue."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import ClassVar, Protocol

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from study_server.resources import resource_folder
from study_server.web.catalogue import Catalogue, choose_language, load_catalogue

LANGUAGE_COOKIE = "qsched_lang"
# What every template gets besides its own context.
GLOBALS = frozenset({"lang", "dir", "t", "static_root", "csrf_token", "study", "base", "preview"})


class TemplateContext(Protocol):
    """A frozen dataclass that names its template."""

    template: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


@dataclasses.dataclass(frozen=True, slots=True)
class StudyHeading:
    """The study as a page names it."""

    slug: str
    title: str
    language: str


@cache
def _environment() -> jinja2.Environment:
    """One for all servers of a process, as in tests: compiling a template takes longer than a short visit."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Pages:
    """The templates of this server."""

    def __init__(self, *, static_root: str, secure_cookies: bool = False) -> None:
        self.environment = _environment()
        self.static_root = static_root
        self._secure_cookies = secure_cookies

    def catalogue(self, request: Request, languages: tuple[str, ...] | None = None) -> Catalogue:
        """The language to speak, among those the study offers: asked for now by ?lang=, asked for on arrival
        (`keep_language`), or the browser's."""
        if languages is not None and len(languages) == 1:
            return load_catalogue(languages[0])
        asked = (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE))
        code = choose_language(request.headers.get("accept-language", ""), requested=asked, offered=languages)
        return load_catalogue(code)

    def keep_language(self, request: Request, answer: Response, *, slug: str, languages: tuple[str, ...]) -> None:
        """Remember ?lang= for the rest of this study, if the study offers that language."""
        code = request.query_params.get("lang")
        if code in languages:
            answer.set_cookie(
                LANGUAGE_COOKIE,
                code,
                path=f"/s/{slug}",
                httponly=True,
                samesite="lax",
                secure=self._secure_cookies,
                max_age=30 * 86_400,
            )

    def render(
        self,
        request: Request,
        context: TemplateContext,
        *,
        study: StudyHeading | None = None,
        languages: tuple[str, ...] | None = None,
        csrf_token: str = "",
        preview: bool = False,
        status: int = 200,
    ) -> HTMLResponse:
        """The page of `context`."""
        catalogue = self.catalogue(request, languages)
        values = {field.name: getattr(context, field.name) for field in dataclasses.fields(context)}
        html = self.environment.get_template(context.template).render(
            values,
            lang=catalogue.language,
            dir=catalogue.direction,
            t=catalogue.text,
            static_root=self.static_root,
            csrf_token=csrf_token,
            preview=preview,
            study=study,
            base=f"/s/{study.slug}" if study else None,
        )
        answer = HTMLResponse(html, status_code=status)
        if study is not None and languages is not None:
            self.keep_language(request, answer, slug=study.slug, languages=languages)
        return answer
