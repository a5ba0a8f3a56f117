"""Pages as answers: the consent form, a person's pages, and messages, each in the languages of the study."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from study_server.participation import service
from study_server.participation.pages import (
    ChoiceItem,
    Completion,
    ConsentPage,
    DemographicItem,
    FlickerItem,
    FormProblem,
    MessagePage,
    PayItem,
    SessionPage,
)
from study_server.studies.design import StudyDesign
from study_server.studies.session_length import session_minutes
from study_server.studies.study import Study
from study_server.studies.texts import Words
from study_server.web.catalogue import load_catalogue
from study_server.web.context import CSRF_COOKIE, Server, find_session, server_of
from study_server.web.security import SessionKey
from study_server.web.signed_links import PREVIEW
from study_server.web.templating import StudyHeading


async def read_session(request: Request, study: Study) -> tuple[SessionKey, service.SessionSummary] | tuple[None, None]:
    """The session of the browser's cookie, if the database knows it."""
    key = find_session(request, study)
    if key is None:
        return None, None
    summary = await server_of(request).reader.run(
        lambda tx: service.read_summary(tx, session_key=key.hash, study=study)
    )
    return (None, None) if summary is None else (key, summary)


def show_consent(
    request: Request,
    server: Server,
    study: Study,
    *,
    nonce: str,
    hidden: dict[str, str],
    problem: FormProblem | None = None,
    entered: dict[str, str] | None = None,
) -> Response:
    """The consent page, again with what was entered where something of it does not fit."""
    design = study.design
    language = language_of(request, study)
    trials = study.count_trials()
    minutes = max(1, round(session_minutes(design, trials)))
    if design.max_minutes is not None:
        minutes = min(minutes, design.max_minutes)
    page = ConsentPage(
        consent_paragraphs=paragraphs(design.words(design.consent.text, language)),
        consent_version=design.consent.version,
        minutes=minutes,
        pairs=trials.scored,
        practice=trials.practice,
        pay=None if design.pay is None else PayItem(*design.pay.amounts(minutes)),
        contact=design.consent.contact,
        hidden=hidden,
        demographics=tuple(
            DemographicItem(
                item.id,
                design.words(item.label, language),
                item.kind,
                tuple(ChoiceItem(design.first(one), design.words(one, language)) for one in item.choices),
                item.required,
                (entered or {}).get(item.id, ""),
            )
            for item in design.demographics
        ),
        problem=problem,
        fidelity=design.fidelity is not None,
        ranking=0 if design.ranking is None else design.ranking.pictures,
        flicker=flicker_of(design),
        other_language=other_language(design, language),
    )
    answer = server.pages.render(
        request,
        page,
        study=heading(request, study),
        languages=design.languages,
        csrf_token=server.keys.csrf_token(f"{study.slug}:{nonce}"),
        preview=PREVIEW in hidden,
        status=200 if problem is None else 422,
    )
    answer.set_cookie(
        CSRF_COOKIE,
        server.keys.sign(nonce),
        path=f"/s/{study.slug}",
        httponly=True,
        samesite="lax",
        secure=server.settings.secure_cookies,
        max_age=86_400,
    )
    return answer


def show_page(
    request: Request,
    study: Study,
    page: SessionPage,
    key: SessionKey,
    *,
    preview: bool,
) -> Response:
    """A page of a person's session."""
    server = server_of(request)
    return server.pages.render(
        request,
        page,
        study=heading(request, study),
        languages=study.design.languages,
        csrf_token=server.keys.csrf_token(key.token),
        preview=preview,
    )


def contact_of(request: Request, study: Study) -> str | None:
    """The contact for questions, if the study names one."""
    contact = study.design.consent.contact
    catalogue = server_of(request).pages.catalogue(request, study.design.languages)
    return None if contact is None else catalogue.text("common.contact", contact=contact)


def refuse_link(request: Request, server: Server, study: Study, misfit: service.FormMisfit) -> Response:
    """A page that says what is wrong with the link, in the person's language."""
    if misfit.key == "consent.problem.platform":
        return show_message(request, study, "platform", status=422, platform=misfit.values["platform"])
    if misfit.key == "consent.problem.personal":
        return show_message(request, study, "personal", status=422)
    catalogue = server.pages.catalogue(request, study.design.languages)
    return show_message(request, study, "link", status=422, detail=catalogue.text(misfit.key, **misfit.values))


def show_message(
    request: Request,
    study: Study,
    kind: str,
    *,
    status: int = 200,
    completion: Completion | None = None,
    detail: str | None = None,
    platform: str = "",
) -> Response:
    """A page that says one thing, with the way back to the platform if there is one."""
    page = MessagePage(kind, detail=detail, completion=completion, platform=platform)
    return server_of(request).pages.render(
        request, page, study=heading(request, study), languages=study.design.languages, status=status
    )


def language_of(request: Request, study: Study) -> str:
    """The language of a person's pages."""
    return server_of(request).pages.catalogue(request, study.design.languages).language


def heading(request: Request, study: Study) -> StudyHeading:
    """The study as its pages name it, in the person's language if its title has one."""
    title = study.design.words(study.design.title, language_of(request, study))
    return StudyHeading(study.slug, title.text, title.language)


def paragraphs(words: Words) -> tuple[Words, ...]:
    """A text of the owner's, cut at its empty lines."""
    return tuple(Words(part.strip(), words.language) for part in words.text.split("\n\n") if part.strip())


def other_language(design: StudyDesign, language: str) -> str | None:
    """The name of the language that some of the owner's texts are in instead of this one; None without such a text."""
    found = {design.words(text, language).language for _, _, text in design.own_texts()} - {language}
    names = [load_catalogue(code).texts["_language"] for code in sorted(found)]
    return ", ".join(names) if names else None


def flicker_of(design: StudyDesign) -> FlickerItem | None:
    """The flicker of a fidelity study's boosted triplets, None in a study without."""
    if design.fidelity is None or not design.fidelity.boosted:
        return None
    boost = design.fidelity.boost
    return FlickerItem(f"{boost.rate_hz:g}", boost.faster_flicker)
