"""Rows of a member source: newline-delimited JSON, checked line by line, and kept in a file for COPY.

A source is the complete list of the members of one tenant. Each line is an object `{subject, resource, role, tenant?}`.
The last line can be `{"rows": <number of the rows before it>}`, which proves that the source is complete. The module
opens no connection. Its methods block, so callers run them in a thread.
"""

import re
import tempfile
from collections.abc import Iterator
from typing import Any, Literal, Self

import msgspec

from synckairos.errors import SyncKairosError
from synckairos.wire.grants import LABEL_PATTERN, UUID_PATTERN

MAX_LINE_BYTES = 8_192
"""Maximum bytes of a line."""

MAX_NAMED_FAULTS = 20
"""Maximum number of invalid rows that a report names by line."""

MAX_FAULT_CHARACTERS = 200
"""Maximum characters of the text of a fault."""

PIECE_BYTES = 256 * 1024
"""Bytes that are parsed, written or read at once."""

_IN_MEMORY_BYTES = 8 << 20
_SUBJECT = re.compile(r"[!-~]{1,128}")
_RESOURCE = re.compile(rf"{UUID_PATTERN}|{LABEL_PATTERN}")

RefusalReason = Literal[
    "redirect", "status", "encoding", "too_large", "invalid_rows", "empty", "share_exceeded", "address", "file"
]
"""Reason for the refusal of a source.

- `redirect`, `status`, `encoding`: the answer is a redirect, has another status than 200, or is compressed.
- `too_large`: the source has more bytes than the setting allows.
- `invalid_rows`: at least one row is invalid, belongs to another tenant, or contradicts another row.
- `empty`: the source has no row.
- `share_exceeded`: more members than allowed would be removed.
- `address`: the URL or the address of its host is not allowed.
- `file`: the file cannot be read.
"""


class SourceRefused(SyncKairosError):
    """The members were not changed, because the source is not acceptable. A retry cannot help.

    `report` is the report of the reconciliation, as JSON values. Its JSON member `refused` is a `RefusalReason`.
    """

    code = "MEMBER_SOURCE_REFUSED"
    status = 400

    def __init__(self, message: str, reason: RefusalReason, **report: Any) -> None:
        super().__init__(message)
        self.report: dict[str, Any] = {"refused": reason, **report}


class SourceIncomplete(SyncKairosError):
    """The members were not changed, because the source was not read to its end. A retry can help."""

    code = "MEMBER_SOURCE_INCOMPLETE"
    status = 503


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    subject: str
    resource: str
    role: Literal["viewer", "participant", "controller"]
    tenant: str | None = None


class _LastLine(msgspec.Struct, forbid_unknown_fields=True):
    rows: int


class _UnacceptableRow(Exception):
    """The row of a line is invalid. The text of the exception describes the fault."""


class SourceRows:
    """The rows of one source, in the order of its lines. Use it with `with`, which deletes its file.

    Up to 8 MiB of rows stay in memory. More rows are in a temporary file, so that the memory is bounded.
    """

    def __init__(self, tenant: str, max_bytes: int) -> None:
        """Create an object without rows.

        `tenant` is the tenant whose members the source lists. `max_bytes` is the maximum number of bytes of the source.
        """
        self._tenant = tenant
        self.max_bytes = max_bytes
        self._decode_row = msgspec.json.Decoder(_Row).decode
        self._decode_last_line = msgspec.json.Decoder(_LastLine).decode
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by __exit__
        self._rest = b""
        self._bytes = self._line = 0
        self._declared: int | None = None
        self._faults: list[dict[str, Any]] = []
        self._invalid = 0
        self.count = 0
        """Number of valid rows."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, piece: bytes) -> None:
        """Parse and check the next bytes of the source.

        Raises: SourceRefused if the source is too large, or has a line that is too long. SourceIncomplete if the rows
            cannot be stored.
        """
        self._bytes += len(piece)
        if self._bytes > self.max_bytes:
            raise self.too_large()
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self._write(b"".join(map(self._parse_line, lines)))
        if len(self._rest) > MAX_LINE_BYTES:
            raise self._line_too_long(self._line + 1)

    def finish(self, *, has_marked_end: bool) -> None:
        """Check the source after its last byte.

        `has_marked_end` is whether the sender marked the end of the source. Otherwise the last line must have the
        number of rows, because a broken connection can look like the end.

        Raises: SourceIncomplete if the end of the source is missing. SourceRefused if a row is invalid, or if there is
            no row.
        """
        last = self._rest
        self._rest = b""
        if last:
            self._write(self._parse_line(last))
        if self._declared is not None and self._declared != self.count + self._invalid:
            raise SourceIncomplete(
                f"The source has {self.count + self._invalid:,} rows, and its last line says {self._declared:,}"
            )
        if self._declared is None and not has_marked_end:
            raise SourceIncomplete(
                'The end of the source is not known. Send a Content-Length, or a last line {"rows": <number>}'
            )
        if self._invalid:
            raise self.invalid_rows(self._invalid, self._faults)
        if self.count == 0:
            raise SourceRefused("The source has no rows. An empty source removes no members", "empty", rows=0)

    def pieces(self) -> Iterator[bytes]:
        """Yield the rows as text for COPY: subject, resource, role and line, separated by tabs."""
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece

    def too_large(self) -> SourceRefused:
        """Return the exception for a source with too many bytes."""
        return SourceRefused(f"The source is larger than {self.max_bytes:,} bytes", "too_large")

    def invalid_rows(self, number: int, faults: list[dict[str, Any]]) -> SourceRefused:
        """Return the exception for `number` invalid rows. `faults` describes the first of them: `{line, fault}`."""
        named = "; ".join(f"line {each['line']}: {each['fault']}" for each in faults)
        return SourceRefused(
            f"{number:,} rows are invalid: {named}" if number > 1 else f"A row is invalid: {named}",
            "invalid_rows",
            rows=self.count,
            invalid_rows=number,
            faults=faults,
        )

    def _write(self, text: bytes) -> None:
        try:
            self._file.write(text)
        except OSError as fault:
            raise SourceIncomplete(
                f"The rows cannot be stored in a temporary file: {fault.strerror}. TMPDIR can name another folder"
            ) from fault

    def _parse_line(self, line: bytes) -> bytes:
        """Return the row of a line as text for COPY. Return no bytes if the line is empty or has no valid row."""
        self._line += 1
        if len(line) > MAX_LINE_BYTES:
            raise self._line_too_long(self._line)
        if not line or line.isspace():
            return b""
        try:
            if self._declared is not None:
                raise _UnacceptableRow("follows the line with the number of rows")
            text = self._parse_row(line)
        except _UnacceptableRow as fault:
            self._note_fault(str(fault))
            return b""
        if text:
            self.count += 1
        return text

    def _parse_row(self, line: bytes) -> bytes:
        """Return the row of a line as text for COPY, or no bytes for the last line.

        Raises: _UnacceptableRow.
        """
        try:
            row = self._decode_row(line)
        except msgspec.DecodeError as fault:
            try:
                self._declared = self._decode_last_line(line).rows
            except msgspec.DecodeError:
                raise _UnacceptableRow(str(fault)) from None
            return b""
        if row.tenant is not None and row.tenant != self._tenant:
            raise _UnacceptableRow("belongs to another tenant")
        if not _SUBJECT.fullmatch(row.subject):
            raise _UnacceptableRow("the subject should be 1 to 128 visible ASCII characters")
        if not _RESOURCE.fullmatch(row.resource) or not row.resource.isprintable():
            raise _UnacceptableRow("the resource should be a session id or label:<key>=<value>")
        resource = row.resource if row.resource.startswith("label:") else row.resource.lower()
        # In COPY's text format, a backslash begins an escape sequence. Tabs and line breaks were refused above.
        values = f"{row.subject}\t{resource}\t{row.role}".replace("\\", "\\\\")
        return f"{values}\t{self._line}\n".encode()

    def _note_fault(self, fault: str) -> None:
        self._invalid += 1
        if len(self._faults) < MAX_NAMED_FAULTS:
            self._faults.append({"line": self._line, "fault": fault[:MAX_FAULT_CHARACTERS]})

    def _line_too_long(self, line: int) -> SourceRefused:
        return self.invalid_rows(1, [{"line": line, "fault": f"is longer than {MAX_LINE_BYTES:,} bytes"}])
