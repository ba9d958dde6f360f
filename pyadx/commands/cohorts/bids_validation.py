"""Check that a folder is a BIDS data set, also with the official validator if it is installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

VALIDATOR = "bids-validator-deno"
_SKIP = "--skip-bids-validation continues without this check"


def check_is_bids(folder: Path) -> None:
    """Raise ``ValueError`` unless a folder holds folders of subjects."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    if not any(path.is_dir() for path in folder.glob("sub-*")):
        raise ValueError(f"{folder}: is not a BIDS data set; it holds no folder sub-*")


def check_valid_bids(folder: Path) -> None:
    """Check a data set's description, and run the official validator if it is installed.

    Raises
    ------
    ValueError
        If ``dataset_description.json`` is missing or incomplete, or the validator reports errors. Its
        warnings are ignored.
    """
    note = folder / "dataset_description.json"
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        named = isinstance(facts, dict) and {"Name", "BIDSVersion"} <= set(facts)
    except (OSError, ValueError):
        named = False
    if not named:
        raise ValueError(
            f"{folder}: is not a BIDS data set; its dataset_description.json is missing, is not JSON, or "
            f"has no Name and BIDSVersion; {_SKIP}"
        )
    command = validator()
    if command is None:
        return
    errors = errors_in(command, folder, "--ignoreNiftiHeaders")
    if errors:
        first = errors[0]
        what = f"{first['code']} {first.get('subCode', '')}".strip()
        raise ValueError(
            f"{folder}: is not a valid BIDS data set; {len(errors)} errors, such as {what} at "
            f"{first.get('location', '/')}; {_SKIP}"
        )


def validator() -> str | None:
    """Return the official validator, from the PATH or beside this Python; ``None`` if not installed."""
    return shutil.which(VALIDATOR) or shutil.which(VALIDATOR, path=str(Path(sys.executable).parent))


def errors_in(command: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Return the errors that the validator finds in a data set."""
    asked = [command, str(folder), "--format", "json", "--ignoreWarnings", *options]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        issues = json.loads(done.stdout)["issues"]["issues"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder}: {VALIDATOR} failed ({' '.join(done.stderr.split())[-200:]}); {_SKIP}"
        ) from None
    return [one for one in issues if one.get("severity") == "error"]
