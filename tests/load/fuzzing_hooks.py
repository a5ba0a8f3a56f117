"""Loaded by schemathesis: the names of real studies, people and assignments, so that calls get past the first check.

Only values that fit the description are replaced, so that what is meant to be refused stays so.
"""

from __future__ import annotations

import json
import os

import schemathesis

KNOWN = json.loads(os.environ["QSCHED_FUZZ_KNOWN"])


@schemathesis.hook
def before_call(context, case, kwargs):
    """A real study three times out of four, a real person and pair every other time; cookie and token that fit."""
    wrong = {location.name for location, info in case.meta.components.items() if info.mode.is_negative}
    fits = not case.meta.generation.mode.is_negative
    if fits:
        _real_names(case.path_parameters or {}, owned=case.path.startswith("/api/v1"))
    if fits and isinstance(case.body, dict) and len(str(case.body)) % 2:
        for key, name in (("assignment", "assignment"), ("tab_token", "tab_token"), ("who", "pseudonym")):
            if isinstance(case.body.get(key), str):
                case.body[key] = KNOWN[name]
    # Of a call that is meant to be refused, cookie and token are right only if something else is known to be wrong.
    elsewhere = bool(wrong) and not wrong & {"HEADER", "COOKIE"}
    if case.path.startswith(("/s/", "/i/")) and (fits or elsewhere):
        # What the case has stays: it would count as one that leaves a cookie out.
        case.cookies = {**(case.cookies or {}), **KNOWN["cookies"]}
        if "X-CSRF-Token" in (case.headers or {}):
            case.headers = {**case.headers, "X-CSRF-Token": KNOWN["csrf"]}


def _real_names(path_parameters, *, owned):
    if len(str(path_parameters.get("slug", ""))) % 4:
        path_parameters["slug"] = "owned" if owned else "voted"
        if "pseudonym" in path_parameters:
            path_parameters["pseudonym"] = KNOWN["pseudonym"]
    if len(str(path_parameters.get("address", ""))) % 2:
        path_parameters["address"] = KNOWN["assignment"] + ".l"
