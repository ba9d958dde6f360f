"""Dates of scans, parsed in one place for all tables."""

import re
from dataclasses import dataclass
from datetime import datetime, timezone

# Markers of missing values: n/a in BIDS, others in pandas and R.
_UNKNOWN = {"", "n/a", "na", "nan", "nat", "none", "null"}
# ADNI's archive writes month/day/year.
_ADNI = ("%m/%d/%Y", "%Y-%m-%d", "%m/%d/%y")


@dataclass(frozen=True)
class Moment:
    """A table's cell with the date or time of a scan.

    Attributes
    ----------
    text : str
        The cell.
    place : str
        File, line and column, for messages.
    """

    text: str
    place: str

    @property
    def known(self) -> bool:
        """Return whether the cell is not empty and not ``n/a``."""
        return is_known(self.text)

    def iso(self) -> str:
        """Return a sortable form: ``2006-10-27`` or ``2006-10-27T10:04:12``; empty if unknown.

        Raises
        ------
        ValueError
            If it is not an ISO date or time; the message names the place.
        """
        if not self.known:
            return ""
        found = iso_time(self.text)
        if found is None:
            raise ValueError(
                f"{self.place} {self.text!r} is not a date such as 2006-10-27 or 2006-10-27T10:04:12 (ISO: "
                "year, month, day)"
            )
        return found


def is_known(text: str) -> bool:
    """Return whether a cell has a value; ``n/a`` and similar markers mean that it has none."""
    return text.strip().casefold() not in _UNKNOWN


def iso_time(text: str) -> str | None:
    """Return an ISO date or time in a sortable form, or ``None``; a time with a zone becomes UTC."""
    # Python 3.10 parses neither Z nor fractions of other lengths than 3 and 6.
    plain = re.sub(r"(:\d\d)\.(\d+)", lambda m: f"{m[1]}.{m[2][:6]:0<6}", text.strip())
    try:
        when = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", plain))
        if when.tzinfo is not None:
            when = when.astimezone(timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    # A date alone sorts before every time of its day.
    return when.date().isoformat() if len(plain) <= len("2006-10-27") else when.isoformat()


def adni_date(text: str) -> str | None:
    """Return a date of ADNI's tables, such as 10/27/2006, as an ISO date, or ``None``."""
    for pattern in _ADNI:
        try:
            return datetime.strptime(text, pattern).date().isoformat()
        except ValueError:
            continue
    return None
