"""Every measured (candidate, prompt) on disk as soon as it is known, so that a killed search can be resumed.

JSON lines: a header that says what the values belong to, then one line per value. The lines of a batch are
appended in one write and synced. A half-written last batch is cut off and measured again as a whole: a picture's
last bits depend on its batch, and a resumed search must find the values of an uninterrupted one.

The values are a cache that searches of other ranges or strategies share; what was spent is kept search by search. The
shards of a search write journals of their own, which the search without shards reads beside its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
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
    """The values of every search with this identity. `spent` is what the runs of `search` took.

    shards    journals of the shards of a search: their values are known too, and what they took is counted
    """

    def __init__(
        self, path: Path, identity: dict[str, object], *, search: str = "", shards: Sequence[Path] = ()
    ) -> None:
        self.path, self.search = path, search
        self.values: dict[tuple[Coefficients, str], Measured] = {}
        self.spent_nfe = self._shards_nfe = 0
        self.spent_seconds = self._shards_seconds = 0.0
        header = json.dumps({"journal": FORMAT, "identity": identity}, sort_keys=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                whole, self.spent_nfe, self.spent_seconds = self._read(path, header)
                self._keep(whole, header)
            else:
                self._append([header])
            for shard in shards:  # somebody may be writing it: whole batches are taken, and nothing is cut off
                _, nfe, seconds = self._read(shard, header)
                self._shards_nfe += nfe
                self._shards_seconds += seconds
        except OSError as error:
            raise CalibrationError(f"the journal {path} cannot be written ({error}); give another --out") from error
        self.spent_nfe += self._shards_nfe
        self.spent_seconds += self._shards_seconds

    def append(self, measured: list[Measured], *, nfe: int, seconds: float) -> None:
        """Store the values of a batch; `nfe` and `seconds` are the totals of this search's runs so far."""
        self.spent_nfe, self.spent_seconds = nfe, seconds
        own_nfe, own_seconds = nfe - self._shards_nfe, seconds - self._shards_seconds
        spent = {"nfe": own_nfe, "seconds": round(own_seconds, 3), "search": self.search}
        lines = []
        for row, one in enumerate(measured):
            self.values[one.candidate, one.prompt_id] = replace(one, search=self.search)
            scores = {"tc": one.tc, "iq": one.iq}
            record = {"candidate": one.candidate.to_dict(), "prompt": one.prompt_id, **scores}
            lines.append(json.dumps({**record, **spent, "row": row, "rows": len(measured)}))
        self._append(lines)

    def _append(self, lines: list[str]) -> None:
        append_synced(self.path, "".join(line + "\n" for line in lines).encode())

    def _read(self, path: Path, header: str) -> tuple[int, int, float]:
        """Take the values of a journal; (its bytes up to the last whole batch, NFE and seconds of this search)."""
        data = path.read_bytes()
        lines = data[: data.rfind(b"\n") + 1].decode(errors="replace").splitlines()
        if not lines and header.encode().startswith(data):
            return 0, 0, 0.0
        if not lines or lines[0] != header:
            raise CalibrationError(
                f"{path} holds the values of another calibration ({_difference(''.join(lines[:1]), header)}); "
                "give another --out, or delete that journal to start afresh"
            )
        read = [self._measured(path, line, number) for number, line in enumerate(lines[1:], start=2)]
        if read and (half := read[-1][1]):
            del read[-half:]
        spent_nfe, spent_seconds = 0, 0.0
        for measured, _, nfe, seconds in read:
            self.values[measured.candidate, measured.prompt_id] = measured
            if measured.search == self.search:
                spent_nfe, spent_seconds = nfe, seconds
        return sum(len(line) for line in data.splitlines(keepends=True)[: 1 + len(read)]), spent_nfe, spent_seconds

    def _keep(self, whole: int, header: str) -> None:
        """Cut off what follows so many bytes; 0: write the header again, which was written in part."""
        if not whole:
            write_atomic(self.path, f"{header}\n".encode())
        elif whole < self.path.stat().st_size:
            with self.path.open("r+b") as file:
                file.truncate(whole)

    def _measured(self, path: Path, line: str, number: int) -> tuple[Measured, int, int, float]:
        """(value, lines of its batch so far or 0 if this is the last of them, NFE, seconds)."""
        try:
            r = json.loads(line)
            candidate = Coefficients.from_dict(r["candidate"])
            measured = Measured(candidate, r["prompt"], r["tc"], r["iq"], r["search"])
            seen, rows = r["row"] + 1, r["rows"]
            return measured, 0 if seen == rows else seen, int(r["nfe"]), float(r["seconds"])
        except (ValueError, KeyError, TypeError, AttributeError, CoefficientError) as error:
            raise CalibrationError(f"{path}:{number}: not a journal line ({error}); delete the file") from error


def shard_journal(journal: Path, shard: tuple[int, int]) -> Path:
    """`c.shard-2-of-8.journal.jsonl` of `c.journal.jsonl`."""
    return journal.with_name(f"{_stem(journal)}.shard-{shard[0]}-of-{shard[1]}.journal.jsonl")


def shard_journals(journal: Path) -> list[Path]:
    """The journals of shards beside a journal."""
    pattern = re.compile(re.escape(_stem(journal)) + r"\.shard-\d+-of-\d+\.journal\.jsonl")
    return sorted(path for path in journal.parent.glob("*.jsonl") if pattern.fullmatch(path.name))


def _stem(journal: Path) -> str:
    return journal.name.removesuffix(".jsonl").removesuffix(".journal")


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
