"""Every measured (candidate, prompt) on disk as soon as it is known, so that a killed search can be resumed.

JSON lines: a header that says what the values belong to, then one line per value. The lines of a batch are
appended in one write and synced. A half-written last batch is cut off and measured again as a whole: a picture's
last bits depend on its batch, and a resumed search must find the values of an uninterrupted one.

The values are a cache that searches of other ranges or strategies share; what was spent is kept search by search.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from qsched.calibration.errors import CalibrationError
from qsched.files import append_synced, write_atomic
from qsched.scheduling import CoefficientError, Coefficients

FORMAT = 3


@dataclass(frozen=True)
class Measured:
    """The terms of JAQ of one candidate's picture for one prompt; their sum is made when it is asked for."""

    candidate: Coefficients  # step by step, whatever family it comes from
    prompt_id: str
    tc: float
    iq: float
    search: str = ""  # that measured it


class Journal:
    """The values of every search with this identity. `spent` is what the runs of `search` took."""

    def __init__(self, path: Path, identity: dict[str, object], *, search: str = "") -> None:
        self.path, self.search = path, search
        self.values: dict[tuple[Coefficients, str], Measured] = {}
        self.spent_nfe = 0
        self.spent_seconds = 0.0
        header = json.dumps({"journal": FORMAT, "identity": identity}, sort_keys=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                self._read(header)
            else:
                self._append([header])
        except OSError as error:
            raise CalibrationError(f"the journal {path} cannot be written ({error}); give another --out") from error

    def append(self, measured: list[Measured], *, nfe: int, seconds: float) -> None:
        """Store the values of a batch; `nfe` and `seconds` are the totals of this search's runs so far."""
        self.spent_nfe, self.spent_seconds = nfe, seconds
        spent = {"nfe": nfe, "seconds": round(seconds, 3), "search": self.search}
        lines = []
        for row, one in enumerate(measured):
            self.values[one.candidate, one.prompt_id] = replace(one, search=self.search)
            scores = {"tc": one.tc, "iq": one.iq}
            record = {"candidate": one.candidate.to_dict(), "prompt": one.prompt_id, **scores}
            lines.append(json.dumps({**record, **spent, "row": row, "rows": len(measured)}))
        self._append(lines)

    def _append(self, lines: list[str]) -> None:
        append_synced(self.path, "".join(line + "\n" for line in lines).encode())

    def _read(self, header: str) -> None:
        data = self.path.read_bytes()
        lines = data[: data.rfind(b"\n") + 1].decode(errors="replace").splitlines()
        if not lines and header.encode().startswith(data):
            write_atomic(self.path, f"{header}\n".encode())
            return
        if not lines or lines[0] != header:
            raise CalibrationError(
                f"{self.path} holds the values of another calibration ({_difference(''.join(lines[:1]), header)}); "
                "give another --out, or delete that journal to start afresh"
            )
        read = [self._measured(line, number) for number, line in enumerate(lines[1:], start=2)]
        if read and (half := read[-1][1]):
            del read[-half:]
        for measured, _, nfe, seconds in read:
            self.values[measured.candidate, measured.prompt_id] = measured
            if measured.search == self.search:
                self.spent_nfe, self.spent_seconds = nfe, seconds
        whole = b"".join(data.splitlines(keepends=True)[: 1 + len(read)])
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def _measured(self, line: str, number: int) -> tuple[Measured, int, int, float]:
        """(value, lines of its batch so far or 0 if this is the last of them, NFE, seconds)."""
        try:
            r = json.loads(line)
            candidate = Coefficients.from_dict(r["candidate"])
            measured = Measured(candidate, r["prompt"], r["tc"], r["iq"], r["search"])
            seen, rows = r["row"] + 1, r["rows"]
            return measured, 0 if seen == rows else seen, int(r["nfe"]), float(r["seconds"])
        except (ValueError, KeyError, TypeError, AttributeError, CoefficientError) as error:
            raise CalibrationError(f"{self.path}:{number}: not a journal line ({error}); delete the file") from error


def _difference(stored: str, wanted: str) -> str:
    try:
        earlier, later = json.loads(stored), json.loads(wanted)
        if earlier.get("journal") != later["journal"]:
            return f"its format is {earlier.get('journal')}, and this version writes {later['journal']}"
        old, new = earlier["identity"], later["identity"]
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    except (ValueError, KeyError, AttributeError, TypeError):
        return "its first line is not a header"
    return "other " + ", ".join(names)
