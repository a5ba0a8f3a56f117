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
    """Who calls: an owner by token is set by the command; an annotator's cookie and CSRF token belong together."""
    if not case.path.startswith(("/s/", "/i/")):
        return
    headers = dict(case.headers or {})
    # What a case leaves out, or has wrong, on purpose stays so.
    wrong = {location.name for location, info in case.meta.components.items() if info.mode.is_negative}
    if "X-CSRF-Token" in headers and "HEADER" not in wrong:
        headers["X-CSRF-Token"] = KNOWN["csrf"]
    if case.path.startswith("/i/") or (case.cookies and "COOKIE" not in wrong):
        headers["Cookie"] = KNOWN["cookie"]
        case.cookies = {}
    case.headers = headers


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """A study that exists, three times out of four."""
    if path_parameters and isinstance(slug := path_parameters.get("slug"), str) and len(slug) % 4:
        owners = context.operation.path.startswith("/api/v1")
        path_parameters["slug"] = "owned" if owners else "voted"
        if "pseudonym" in path_parameters:
            path_parameters["pseudonym"] = KNOWN["pseudonym"]
    if path_parameters and isinstance(name := path_parameters.get("address"), str) and len(name) % 2:
        path_parameters["address"] = KNOWN["assignment"] + ".l"
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    """A pair that this session has, and a person that the study knows, every other time."""
    if isinstance(body, dict) and len(str(body)) % 2:
        for key in ("assignment", "tab_token"):
            if isinstance(body.get(key), str):
                body[key] = KNOWN[key]
        if isinstance(body.get("who"), str):
            body["who"] = KNOWN["pseudonym"]
    return body
