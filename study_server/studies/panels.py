"""Where people come from: a panel is the names of three parameters in its links, and where people go at the end.

Every panel works alike; a preset only fills in what the platform documents. Pure functions of the design.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from study_server.studies.platform import PanelParameters, Platform

Ending = Literal["complete", "screened_out", "failed_check", "not_understood", "no_consent"]
PROLIFIC_COMPLETE = "https://app.prolific.com/submissions/complete?cc={code}"
_PLACEHOLDER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Preset:
    """What a platform documents: its name, its parameters, and the address that takes a code back."""

    title: str
    parameters: PanelParameters
    with_code: str | None = None


PRESETS: Mapping[str, Preset] = {
    "prolific": Preset(
        "Prolific",
        PanelParameters(person="PROLIFIC_PID", study="STUDY_ID", submission="SESSION_ID"),
        PROLIFIC_COMPLETE,
    ),
    "cloudresearch": Preset(
        "CloudResearch Connect",
        PanelParameters(person="participantId", study="projectId", submission="assignmentId"),
    ),
    # The owner chooses the name in Sona: https://.../s/demo?survey_code=%SURVEY_CODE%
    "sona": Preset("Sona", PanelParameters(person="survey_code")),
}
#: The parameter of a personal link.
PERSONAL = "t"


@dataclass(frozen=True, slots=True)
class Panel:
    """A platform as the pages use it. `required`: nobody takes part without the person's parameter."""

    name: str
    title: str | None
    parameters: PanelParameters
    required: bool
    with_code: str | None = None
    codes: Mapping[Ending, str] = field(default_factory=dict)
    addresses: Mapping[Ending, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that a link may have, the person's first."""
        asked = (self.parameters.person, self.parameters.study, self.parameters.submission)
        return tuple(name for name in asked if name is not None)

    def address(self, ending: Ending, names: Mapping[str, str | None]) -> str | None:
        """Where a person goes at an ending; None if there is no such place, or it needs a name that they lack.

        names    person, study and submission, as their link named them
        """
        code = self.codes.get(ending)
        template = self.addresses.get(ending) or (self.with_code if code is not None else None)
        if template is None:
            return None
        values = {**names, "code": code}
        if any(not values.get(name) for name in _PLACEHOLDER.findall(template)):
            return None
        return _PLACEHOLDER.sub(lambda found: quote(str(values[found[1]]), safe=""), template)


def panel_of(platform: Platform) -> Panel:
    """The panel that a study's design describes.

    An open study also remembers Prolific's parameters if a link has them, so that a double submission is one.
    """
    preset = PRESETS.get(platform.name)
    parameters = platform.parameters or (preset or PRESETS["prolific"]).parameters
    if platform.name == "personal":
        # Not validated: the name is reserved for exactly this.
        parameters = PanelParameters.model_construct(person=PERSONAL)
    endings: tuple[tuple[Ending, str | None, str | None], ...] = (
        ("complete", platform.completion_code, platform.completion_url),
        ("screened_out", platform.screened_out_code, platform.screened_out_url),
        ("failed_check", platform.failed_check_code, platform.failed_check_url),
        ("not_understood", platform.not_understood_code, platform.not_understood_url),
        ("no_consent", platform.no_consent_code, platform.no_consent_url),
    )
    return Panel(
        # What the database has called the people of an open study who came with Prolific's parameters.
        name="prolific" if platform.name == "open" else platform.name,
        title=platform.title or (preset.title if preset else None),
        parameters=parameters,
        required=platform.name != "open",
        with_code=preset.with_code if preset else None,
        codes={ending: code for ending, code, _ in endings if code is not None},
        addresses={ending: address for ending, _, address in endings if address is not None},
    )
