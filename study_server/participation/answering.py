"""Pages as answers: the consent form, a person's pages, and messages, each in the languages of the study."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from study_server.participation import service
from study_server.participation.pages import (
    Completion,
    ConsentPage,
    DemographicItem,
    FlickerItem,
    FormProblem,
    InstructionsPage,
    MessagePage,
    PayItem,
    TaskPage,
    ThanksPage,
)
from study_server.studies.design import StudyDesign
from study_server.studies.session_length import session_minutes
from study_server.studies.study import Study
from study_server.web.context import CSRF_COOKIE, Server, server_of
from study_server.web.security import SessionKey
from study_server.web.signed_links import PREVIEW
from study_server.web.templating import StudyHeading


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
    trials = study.count_trials()
    minutes = max(1, round(session_minutes(design, trials)))
    if design.max_minutes is not None:
        minutes = min(minutes, design.max_minutes)
    page = ConsentPage(
        consent_paragraphs=tuple(part.strip() for part in design.consent.text.split("\n\n") if part.strip()),
        consent_version=design.consent.version,
        minutes=minutes,
        pairs=trials.scored,
        practice=trials.practice,
        pay=None if design.pay is None else PayItem(*design.pay.amounts(minutes)),
        contact=design.consent.contact,
        hidden=hidden,
        demographics=tuple(
            DemographicItem(
                item.id, item.label, item.kind, item.choices, item.required, (entered or {}).get(item.id, "")
            )
            for item in design.demographics
        ),
        problem=problem,
        fidelity=design.fidelity is not None,
        flicker=flicker_of(design),
    )
    answer = server.pages.render(
        request,
        page,
        study=_heading(study),
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
    request: Request, study: Study, page: InstructionsPage | TaskPage | ThanksPage, key: SessionKey, *, preview: bool
) -> Response:
    """A page of a person's session."""
    server = server_of(request)
    return server.pages.render(
        request,
        page,
        study=_heading(study),
        languages=study.design.languages,
        csrf_token=server.keys.csrf_token(key.token),
        preview=preview,
    )


def contact_of(request: Request, study: Study) -> str | None:
    """Whom to ask, where the study names somebody."""
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
        request, page, study=_heading(study), languages=study.design.languages, status=status
    )


def _heading(study: Study) -> StudyHeading:
    return StudyHeading(study.slug, study.title)


def flicker_of(design: StudyDesign) -> FlickerItem | None:
    """The flicker of a fidelity study's boosted triplets, None in a study without."""
    if design.fidelity is None or not design.fidelity.boosted:
        return None
    boost = design.fidelity.boost
    return FlickerItem(f"{boost.rate_hz:g}", boost.faster_flicker)
