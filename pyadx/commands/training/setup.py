"""Shared set-up of ``pyadx train`` and ``pyadx crossval``: cohort, splits, recipe and folder."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pyadx import models
from pyadx.commands.devices import pick_device
from pyadx.data.cohort import Cohort, CohortReading, SplitPlan, load_plan, plan_splits, read_cohort
from pyadx.data.cohort.splits import PAPER_SET_ASIDE
from pyadx.data.inputs import PreparedScans, prepare_scans
from pyadx.files import holds_results, replacing, together
from pyadx.inference.progress import progress_bar
from pyadx.models.card import Intensity, ModelCard, Preprocessing
from pyadx.training.protocols import Protocol, paper_protocol, read_protocol, with_changes
from pyadx.training.rounds import Hardware, Recipe

_NOTE = "run.json"
_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


@dataclass(frozen=True)
class TrainingRequest:
    """All inputs and options of a training or a cross-validation.

    ``protocol_changes`` holds the user's values of single fields of the protocol.
    """

    cohort: Path
    out: Path
    architecture: str = "vggnet"
    classes: str = "NC,AD"
    images: Path | None = None
    group_column: str | None = None
    derivative: str | None = None
    space: str | None = None
    skip_unreadable: bool = False
    splits: int = 5
    folds: int = 5
    split_file: Path | None = None
    set_aside: str | None = None
    seed: int = 0
    protocol: Path | None = None
    protocol_changes: dict[str, Any] = field(default_factory=dict)
    shape: str = "110"
    spacing: float | None = 2.0
    intensity: str = "max"
    shuffle_labels: bool = False
    device: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    tensorboard: bool = False
    keep_ids: bool = False
    resume: bool = False
    overwrite: bool = False
    progress: bool = True

    @property
    def reading(self) -> CohortReading:
        """Options for reading the cohort."""
        images = None if self.images is None else str(self.images)
        return CohortReading(images, self.group_column, self.derivative, self.space)


@dataclass(frozen=True, eq=False)
class Setup:
    """A checked request: all scans have been read, and nothing has been trained."""

    folder: Path
    cohort: Cohort
    plan: SplitPlan
    recipe: Recipe
    hardware: Hardware
    read: Callable[[], PreparedScans]


def set_up(request: TrainingRequest) -> Setup:
    """Check a request, read the cohort's tables, draw or read the splits, and make the run's folder.

    With ``overwrite`` an earlier run is removed only after the scans have been read.

    Raises
    ------
    ValueError
        If an input or option does not fit. Nothing has been written then.
    """
    replaces = holds_results(request.out, _NOTE, "run of pyadx") and request.overwrite
    recipe = Recipe(
        _card(request), _protocol(request), request.seed, request.shuffle_labels, request.keep_ids
    )
    hardware = _hardware(request)
    hardware.check(request.tensorboard)
    names = recipe.card.class_names
    aside = parse_set_aside(request.set_aside, names)
    cohort = read_cohort(request.cohort, names, **asdict(request.reading))
    if request.split_file is not None:
        plan = load_plan(request.split_file, cohort.labels)
    else:
        plan = plan_splits(cohort.labels, request.splits, request.folds, request.seed, aside)
    # Scans of subjects that were set aside are not read.
    used = cohort.only(name for one in plan.rounds for name in (*one.train, *one.test))
    cache = None if _fits_into_memory(used, recipe.card) else request.out / "cache"
    if not replaces:
        _make_folder(request, recipe, plan, cohort, cache)

    def read() -> PreparedScans:
        with progress_bar("reading", len(used.scans), request.progress) as advance:
            scans = prepare_scans(
                used,
                recipe.card,
                cache=cache,
                skip_unreadable=request.skip_unreadable,
                advance=advance,
            )
        if replaces:
            _make_folder(request, recipe, plan, cohort, cache)
        return scans

    return Setup(request.out, cohort, plan, recipe, hardware, read)


def parse_set_aside(text: str | None, class_names: tuple[str, ...]) -> dict[str, int]:
    """Parse the number of subjects per class to set aside, from ``AD=5,NC=3`` or ``none``.

    The default is the paper's 5 AD and 3 NC if these are the classes.
    """
    if text is None:
        return dict(PAPER_SET_ASIDE) if set(class_names) == set(PAPER_SET_ASIDE) else {}
    if text.strip().lower() in ("none", "0"):
        return {}
    wanted = {}
    for part in text.split(","):
        name, _, count = part.partition("=")
        if name.strip() not in class_names or not count.strip().isdecimal():
            raise ValueError(
                f"--set-aside must be like AD=5,NC=3 with the classes {', '.join(class_names)}, or none; "
                f"got {text!r}"
            )
        wanted[name.strip()] = int(count)
    return wanted


def parse_shape(text: str) -> tuple[int, int, int]:
    """Parse a grid from ``110`` or ``110,120,110``."""
    parts = text.replace("x", ",").split(",")
    if len(parts) not in (1, 3) or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"--shape must be like 110 or 110,120,110, got {text!r}")
    numbers = [int(part) for part in parts] * (3 if len(parts) == 1 else 1)
    return numbers[0], numbers[1], numbers[2]


def is_first_process() -> bool:
    """Return whether this process owns the run's folder; processes for other devices do not."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("RANK", "0")) == 0


def is_begun(folder: Path) -> bool:
    """Return whether a folder holds a run that can be resumed."""
    return (folder / _NOTE).is_file()


def _card(request: TrainingRequest) -> ModelCard:
    names = tuple(part.strip() for part in request.classes.split(","))
    preprocessing = Preprocessing(_intensity(request.intensity), request.spacing)
    model = models.build(request.architecture, parse_shape(request.shape), names, preprocessing, seed=0)
    card = model.card
    assert isinstance(card, ModelCard)
    return card


def _intensity(text: str) -> Intensity:
    return text  # type: ignore[return-value]  # Preprocessing checks it


def _protocol(request: TrainingRequest) -> Protocol:
    protocol = paper_protocol(request.architecture)
    if request.protocol is not None:
        protocol = read_protocol(request.protocol, protocol)
    return with_changes(protocol, request.protocol_changes, "options")


def _hardware(request: TrainingRequest) -> Hardware:
    if request.precision not in _PRECISIONS:
        raise ValueError(f"--precision must be one of {', '.join(_PRECISIONS)}, got {request.precision!r}")
    if request.devices < 1:
        raise ValueError(f"--devices must be at least 1, got {request.devices}")
    device = pick_device(request.device)
    return Hardware(device.type, request.devices, request.precision)


def run_facts(folder: Path) -> dict[str, Any]:
    """Return the facts in a run's folder about its cohort, network and protocol.

    Raises
    ------
    ValueError
        If the folder holds no run.
    """
    try:
        return json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{folder}: holds no run of pyadx train") from None


def _fits_into_memory(cohort: Cohort, card: ModelCard) -> bool:
    d, h, w = card.in_shape
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        memory = 8 << 30
    return 4 * d * h * w * len(cohort.scans) < memory // 4


def _facts(request: TrainingRequest, recipe: Recipe, plan: SplitPlan) -> dict[str, Any]:
    """Return the facts that must be equal when a run is resumed."""
    # References are a result of training; earlier versions had none.
    model = {name: value for name, value in asdict(recipe.card).items() if name != "references"}
    return {
        "cohort": str(request.cohort),
        "reading": request.reading.facts(),
        "model": model,
        "protocol": asdict(recipe.protocol),
        "seed": recipe.seed,
        "shuffled_labels": recipe.shuffle_labels,
        "rounds": len(plan.rounds),
    }


def _make_folder(
    request: TrainingRequest, recipe: Recipe, plan: SplitPlan, cohort: Cohort, cache: Path | None
) -> None:
    folder = request.out
    if not is_first_process():
        return
    note = folder / _NOTE
    facts = json.loads(json.dumps(_facts(request, recipe, plan)))
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        _check_existing(request, note, facts, plan, cache)
    with together():
        cohort.write_excluded(folder / "excluded.csv")
        plan.save(folder / "splits.json")
        with replacing(note) as (partial,):
            partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _check_existing(
    request: TrainingRequest, note: Path, facts: dict[str, Any], plan: SplitPlan, cache: Path | None
) -> None:
    folder = request.out
    if request.overwrite:
        # A cache in use holds the scans of the same request.
        for name in ("rounds", "tensorboard", *(() if cache else ("cache",))):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("last.pt", "result.json", "model.safetensors", "log.csv"):
            (folder / name).unlink(missing_ok=True)
        return
    if not request.resume:
        raise ValueError(
            f"{folder}: holds a run; use --resume to continue it, or --overwrite to start again"
        )
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        before = load_plan(folder / "splits.json")
    except ValueError as error:
        raise ValueError(f"{note}: is damaged ({error}); use --overwrite to start again") from None
    # Earlier versions did not store how the cohort was read.
    found.setdefault("reading", facts["reading"])
    different = sorted(key for key in facts if found.get(key) != facts[key])
    if before != plan:
        different.append("split")
    if different:
        raise ValueError(
            f"{folder}: the run there has another {', '.join(different)}; choose another folder"
        )
