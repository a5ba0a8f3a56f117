"""The sections of study.yaml about recruiting: the platform, the endings, and the payment."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from study_server.studies.section import DesignSection, Word

ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,40}$")]
EndAddress = Annotated[str, StringConstraints(pattern=r"^https://[^\s]+$")]
# What our own pages and forms call parameters and fields.
RESERVED_PARAMETERS = frozenset(("csrf", "consent", "lang", "preview", "simulated", "t"))
CURRENCY_SIGNS = {"GBP": "£", "USD": "$", "EUR": "€"}


class PanelParameters(DesignSection):
    """How a panel's links name the person, its study and the submission."""

    person: ParameterName
    study: ParameterName | None = None
    submission: ParameterName | None = None

    @model_validator(mode="after")
    def _are_free(self) -> PanelParameters:
        named = [name for name in (self.person, self.study, self.submission) if name is not None]
        for name in named:
            if name in RESERVED_PARAMETERS or name.startswith("d_"):
                raise ValueError(f"the parameter {name!r} has a meaning of its own on our pages; choose another name")
        if len(set(named)) < len(named):
            raise ValueError(f"the parameters {', '.join(named)} are not all different")
        return self


class Platform(DesignSection):
    """Where people come from and where they go at the end (studies/panels.py)."""

    name: Literal["open", "personal", "prolific", "cloudresearch", "sona", "panel"] = "open"
    title: Word | None = Field(default=None, description="as people know it; presets have one")
    parameters: PanelParameters | None = None
    completion_code: Word | None = None
    completion_url: EndAddress | None = None
    screened_out_code: Word | None = None
    screened_out_url: EndAddress | None = None
    failed_check_code: Word | None = None
    failed_check_url: EndAddress | None = None
    not_understood_code: Word | None = None
    not_understood_url: EndAddress | None = None
    no_consent_code: Word | None = None
    no_consent_url: EndAddress | None = None

    @model_validator(mode="after")
    def _has_what_the_platform_needs(self) -> Platform:
        if self.name == "prolific" and self.completion_code is None:
            raise ValueError("platform prolific needs a completion_code; Prolific shows it on the study's page")
        if self.name == "cloudresearch" and self.completion_code is None and self.completion_url is None:
            raise ValueError("platform cloudresearch needs a completion_code or a completion_url; Connect shows both")
        if self.name == "sona" and "{person}" not in (self.completion_url or ""):
            raise ValueError(
                "platform sona needs its client-side completion_url with {person} in the place of the survey code"
            )
        if self.name == "panel" and (self.parameters is None or self.title is None):
            raise ValueError("platform panel needs a title and parameters: {person: NAME}, as its links have them")
        if self.name in ("open", "personal") and self.parameters is not None:
            raise ValueError(f"platform {self.name} has no parameters; name: panel takes them")
        return self

    @model_validator(mode="after")
    def _addresses_name_what_is_known(self) -> Platform:
        for ending in ("completion", "screened_out", "failed_check", "not_understood", "no_consent"):
            for word in re.findall(r"{(.*?)}", getattr(self, f"{ending}_url") or ""):
                if word not in ("person", "study", "submission", "code"):
                    raise ValueError(
                        f"{ending}_url has {{{word}}}; it may have {{person}}, {{study}}, {{submission}} and {{code}}"
                    )
                if word == "code" and getattr(self, f"{ending}_code") is None:
                    raise ValueError(f"{ending}_url has {{code}}, and there is no {ending}_code")
        return self


class Pay(DesignSection):
    """For `qsched study check` and the consent page; the server pays nobody."""

    per_hour: float = Field(gt=0)
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "GBP"
    platform_fee: float = Field(default=0.0, ge=0, le=1, description="share on top, 0.333 for Prolific")

    def amounts(self, minutes: float) -> tuple[str, str]:
        """What `minutes` are paid with, and an hour, with the sign of the currency."""
        sign = CURRENCY_SIGNS.get(self.currency)
        amount, rate = f"{self.per_hour * minutes / 60:.2f}", f"{self.per_hour:.2f}"
        return (
            (f"{sign}{amount}", f"{sign}{rate}") if sign else (f"{amount} {self.currency}", f"{rate} {self.currency}")
        )
