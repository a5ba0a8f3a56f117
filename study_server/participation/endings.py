"""Who comes by a panel's link, and where they go at the end."""

from __future__ import annotations

from collections.abc import Mapping

from study_server.participation import service
from study_server.participation.pages import Completion
from study_server.studies.panels import Ending, Panel, panel_of
from study_server.studies.study import Study
from study_server.web.security import Keyring
from study_server.web.signed_links import PREVIEW

# What the consent form carries besides the panel's parameters.
CARRIED = ("simulated", PREVIEW)


def declined(study: Study, form: Mapping[str, str]) -> Completion | None:
    """Where somebody goes who does not agree; nothing of them is stored, so the form says who they are."""
    panel = panel_of(study.design.platform)
    parameters = panel.parameters
    names = {
        "person": form.get(parameters.person),
        "study": form.get(parameters.study or ""),
        "submission": form.get(parameters.submission or ""),
    }
    return _ending(panel, "no_consent", names)


def completion_of(study: Study, ending: Ending, summary: service.SessionSummary) -> Completion | None:
    """What a person reads at the end of a session."""
    return _ending(panel_of(study.design.platform), ending, summary.names)


def _ending(panel: Panel, ending: Ending, names: Mapping[str, str | None]) -> Completion | None:
    """The code and the way back at an ending; None if the panel has neither."""
    code, address = panel.codes.get(ending), panel.address(ending, names)
    return None if code is None and address is None else Completion(code=code, url=address, platform=panel.title)


def carried(study: Study, fields: Mapping[str, str]) -> dict[str, str]:
    """What the consent form carries on: who comes, as the panel's link says."""
    names = (*panel_of(study.design.platform).names, *CARRIED)
    return {name: fields[name][:200] for name in names if fields.get(name)}


def is_another(keys: Keyring, study: Study, fields: dict[str, str], summary: service.SessionSummary) -> bool:
    """Whether a link belongs to another person or submission than the browser's session."""
    if not fields.get(panel_of(study.design.platform).parameters.person):
        return False
    try:
        participant = service.platform_participant(study, fields, keys)
    except service.FormMisfit:
        return True  # the arrival says what is wrong with the link
    if participant is None:
        return False
    known = (summary.names["person"], summary.names["submission"])
    return known != (participant.external_id, participant.external_session)
