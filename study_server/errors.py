"""The errors of the server; each carries its HTTP status and a code that the page knows.

StudyError                  base (a QschedError: the command line prints it and exits with 2)
+-- BadRequest        422   the request breaks the interface
+-- NotSignedIn       401   no live session
+-- Forbidden         403   CSRF or signature
+-- NotFound          404
+-- Conflict          409   another tab, an answered pair, an undo that came too late
+-- TooMany           429
+-- NotSaved          503   the database did not confirm; nothing was acknowledged
+-- PicturesMissing   503   the server cannot read its own pictures
+-- DesignUnreadable  503   the server cannot read a stored design
"""

from __future__ import annotations

from qsched.errors import QschedError


class StudyError(QschedError):
    """Base: `status` and `code` go to the browser, the message to a person."""

    status = 400
    code = "bad_request"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class BadRequest(StudyError):
    status = 422
    code = "bad_request"


class NotSignedIn(StudyError):
    status = 401
    code = "session_expired"


class Forbidden(StudyError):
    status = 403
    code = "csrf"


class NotFound(StudyError):
    status = 404
    code = "not_found"


class Conflict(StudyError):
    status = 409
    code = "conflict"


class TooMany(StudyError):
    status = 429
    code = "rate_limited"


class PicturesMissing(StudyError):
    status = 503
    code = "pictures_missing"


class DesignUnreadable(StudyError):
    status = 503
    code = "design_unreadable"


class NotSaved(StudyError):
    status = 503
    code = "not_saved"

    def __init__(self, message: str = "not saved, trying again") -> None:
        super().__init__(message)
