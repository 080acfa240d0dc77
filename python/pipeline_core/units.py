"""Sizes, durations and ends as people write them, into numbers and back."""

import re
from datetime import date, datetime, timedelta, timezone
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kmgt]?i?b)?", re.IGNORECASE)
_PART = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*(ms|min|s|m|h|d)\s*", re.IGNORECASE)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:\d\d)?)?", re.IGNORECASE | re.ASCII
)
_ROWS = re.compile(r"([0-9]+)rows?")
_DAY = re.compile(r"(\d{4})(-?)(\d\d)\2(\d\d)", re.ASCII)

_MINUTE = 60
_HOUR = 3600


def size(value: object) -> object:
    """Bytes from `"256MB"` (256,000,000), `"256MiB"` (268,435,456) or a plain number; other types pass unchanged.

    Raises:
        ValueError: The text is not a size.
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        message = "Write a size such as 256MB, 128MiB or a number of bytes"
        raise ValueError(message)
    return round(float(match[1].replace("_", "")) * _BYTES[(match[2] or "b").lower()])


def seconds(value: object) -> object:
    """Seconds from `"90s"`, `"10m"`, `"1h30m"`, `"500ms"`, a timedelta or a number; other types pass unchanged.

    Raises:
        ValueError: The text is not a duration.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        return float(text)
    except ValueError:
        pass
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text):
        message = "Write a duration such as 90s, 10m, 1h30m or a number of seconds"
        raise ValueError(message)
    return sum(float(number.replace("_", "")) * _SECONDS[unit.lower()] for number, unit in parts)


def until(value: object) -> object:
    """When a run ends: `"end"`, `"stopped"`, a duration such as `"10m"`, or a number of rows such as `"500000rows"`.

    Raises:
        ValueError: The text is none of these.
    """
    if isinstance(value, timedelta):
        value = f"{value.total_seconds():.3f}s"
    if not isinstance(value, str):
        return value
    text = "".join(value.lower().replace("_", "").split())
    if text in {"end", "stopped"}:
        return text
    if rows := _ROWS.fullmatch(text):
        return f"{rows[1]}rows"
    message = "Write end, stopped, a duration such as 90s, 10m or 1h30m, or a number of rows such as 500000rows"
    if not text.endswith(tuple(_SECONDS)):
        raise ValueError(message)
    try:
        length = seconds(text)
    except ValueError:
        raise ValueError(message) from None
    if not length:
        raise ValueError(message)
    return text


def since(value: object) -> object:
    """RFC 3339 text in UTC from such text, `"2026-01-31"`, a datetime, or how long ago it was, such as `"24h"`.

    A date is its midnight; what names no zone is taken as UTC.

    Raises:
        ValueError: The text is none of these.
    """
    if isinstance(value, datetime):
        moment = value.astimezone(timezone.utc)
    elif isinstance(value, timedelta):
        moment = datetime.now(timezone.utc) - value
    elif isinstance(value, (str, date)):
        moment = _moment(str(value).strip())
    else:
        return value
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def day(value: object) -> object:
    """`"2025-11-11"` from such text, `"20251111"` or a date; other types pass unchanged.

    Raises:
        ValueError: There is no such day.
    """
    message = "Write a day such as 20251111 or 2025-11-11"
    if isinstance(value, datetime):
        raise ValueError(message)  # noqa: TRY004 - pydantic explains ValueErrors
    if isinstance(value, date):
        return value.isoformat()
    # A settings file may hold 20251111 without quotes.
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    if text is None:
        return value
    try:
        if match := _DAY.fullmatch(text):
            return date(int(match[1]), int(match[3]), int(match[4])).isoformat()
    except ValueError:
        pass
    raise ValueError(message)


def zone(value: object) -> object:
    """The name of an IANA time zone, such as `"America/Los_Angeles"`; other types pass unchanged.

    Raises:
        ValueError: There is no such zone.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not _is_zone(text) and _is_zone("UTC"):
        message = "Write the name of a time zone such as America/Los_Angeles or UTC"
        raise ValueError(message)
    return text


def _is_zone(name: str) -> bool:
    """Whether this machine knows a zone; one without zones knows none, not even UTC."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _moment(text: str) -> datetime:
    message = "Write a time such as 2026-01-31T12:00:00Z, a date such as 2026-01-31, or a duration such as 24h"
    try:
        if match := _TIME.fullmatch(text):
            day, minute, second, fraction, zone = match.groups()
            offset = "+00:00" if (zone or "Z") in "Zz" else zone
            clock = f"{minute or '00:00'}{second or ':00'}.{fraction or '0':0<6}{offset}"
            return datetime.fromisoformat(f"{day}T{clock}")
        if text.lower().endswith(tuple(_SECONDS)):
            length = seconds(text)
            return datetime.now(timezone.utc) - timedelta(seconds=cast("float", length))
    except (ValueError, OverflowError):
        raise ValueError(message) from None
    raise ValueError(message)


def bytes_text(count: float) -> str:
    """`34.5 MB`, `999 B`: decimal units, as disks and networks are sold."""
    if count < 1000:  # noqa: PLR2004 - the base of the units below
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:  # noqa: PLR2004 - one decimal would round up to 1000.0
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def seconds_text(length: float) -> str:
    """`0.42 s`, `3.2 s`, `2 min 05 s`, `1 h 02 min`."""
    if length < 1:
        return f"{length:.2f} s"
    if length < _MINUTE:
        return f"{length:.1f} s"
    whole = round(length)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
