"""The errors a user can cause and can mend.

QschedError                 base: message = the value, the rule, the remedy; the CLI exits with 2
+-- InputError              a file or an option that breaks its contract
|   +-- RowError            ... in one row of a file: carries the path and the line number
|   +-- WriteError          a file that the disk did not take (qsched.files)
+-- IntegrityError          a stored image set that contradicts itself
+-- MissingExtraError       a package of an optional extra is not installed
"""

from __future__ import annotations


class QschedError(Exception):
    """Base of every error that this project raises on purpose."""


class InputError(QschedError):
    """A value from outside breaks a rule; the message names the value, the rule and the remedy."""


class RowError(InputError):
    """One row of a file breaks its contract."""

    def __init__(self, path: object, line: int, problem: str) -> None:
        super().__init__(f"{path}:{line}: {problem}")
        self.path = str(path)
        self.line = line
        self.problem = problem


class IntegrityError(QschedError):
    """A stored image set contradicts its own records."""


class MissingExtraError(QschedError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; it comes with: pip install 'qsched[{extra}]'")
        self.package = package
        self.extra = extra
