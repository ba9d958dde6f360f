"""Model cards: what must be known about a network to use it on a scan."""

import math
from dataclasses import asdict, dataclass, field
from operator import index
from typing import Any, Literal, cast, get_args

Intensity = Literal["max", "zscore", "percentiles", "fixed", "none"]
Task = Literal["classification", "regression"]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Preprocessing:
    """How scans are prepared for a network.

    Attributes
    ----------
    intensity : {"max", "zscore", "percentiles", "fixed", "none"}
        ``max`` divides by the maximum (as the paper's reference implementation). ``zscore`` subtracts the
        mean of the non-zero voxels and divides by their standard deviation; voxels of 0 stay 0.
        ``percentiles`` maps two percentiles of all voxels of the grid to 0 and 1 and clips the rest (as
        MONAI's ``ScaleIntensityRangePercentiles`` and TorchIO's ``RescaleIntensity``). ``fixed`` subtracts
        ``mean`` and divides by ``std`` everywhere. ``none`` changes nothing.
    spacing : float or None
        Voxel size of the network's isotropic grid in mm, 0.05 to 50; ``None`` keeps the scan's own voxels.
    orientation : str
        Directions of the input's axes D, H and W as nibabel's axis codes: ``"RAS"`` is right, anterior,
        superior.
    percentiles : tuple of float
        Lower and upper percentile for ``intensity="percentiles"``, 0 to 100.
    mean, std : float or None
        For ``intensity="fixed"`` only, in the scan's own units.

    Raises
    ------
    ValueError
        If a value is invalid, or ``mean`` or ``std`` is given with another ``intensity``.
    """

    intensity: Intensity = "max"
    spacing: float | None = 2.0
    orientation: str = "RAS"
    percentiles: tuple[float, float] = (1.0, 99.0)
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        if self.intensity not in get_args(Intensity):
            raise ValueError(
                f"intensity must be one of {', '.join(get_args(Intensity))}, got {self.intensity!r}"
            )
        check_orientation(self.orientation)
        object.__setattr__(self, "percentiles", _percentiles(self.percentiles))
        if self.intensity == "fixed":
            if not (_is_number(self.mean) and _is_number(self.std) and cast(float, self.std) > 0):
                raise ValueError(
                    f"intensity 'fixed' needs a mean and a std above 0, got {self.mean!r} and {self.std!r}"
                )
        elif not (self.mean is None and self.std is None):
            raise ValueError(f"mean and std belong to intensity 'fixed', not to {self.intensity!r}")
        if self.spacing is not None and not 0.05 <= float(self.spacing) <= 50:
            raise ValueError(f"spacing must be between 0.05 and 50 mm, got {self.spacing!r}")
        if self.spacing is not None and not isinstance(self.spacing, int | float):
            object.__setattr__(self, "spacing", float(self.spacing))  # JSON cannot store NumPy's numbers


@dataclass(frozen=True)
class ModelCard:
    """Architecture, input grid, classes and preprocessing of a network.

    Attributes
    ----------
    architecture : str
        One of `pyadx.models.ARCHITECTURES`; for a network of your own, its name in sidecars.
    in_shape : tuple of int
        Spatial shape ``D, H, W`` of the input.
    class_names : tuple of str
        One name per output, in the order of the outputs.
    preprocessing : Preprocessing
        How scans are prepared.
    trained : bool
        False for a network with random weights.
    provenance : dict
        Facts about the training, free in form; they are stored unchanged.
    references : dict
        By name of the class, how its reference image was made or why there is none, such as the number of
        ``scans`` and the ``matching`` of their intensities.
    channels : int
        Number of images per scan, such as 3 for T1, T2 and FLAIR; the network takes
        ``[B, channels, D, H, W]``.
    task : {"classification", "regression"}
        For ``regression``, each output is explained as it is, in the network's units.
    output : str, int or None
        Name or index of the output to explain; ``None`` for networks that return one tensor.
    statistics : dict
        Statistics of the training scans as plain data: the number of ``scans``, and mean and standard
        deviation of each of the ``figures`` (`pyadx.data.scan_statistics`). Empty if they are not known.

    Raises
    ------
    ValueError
        If ``channels``, ``task`` or ``statistics`` is invalid.
    TypeError
        If ``channels`` or ``output`` has the wrong type.
    """

    architecture: str
    in_shape: Shape = (110, 110, 110)
    class_names: tuple[str, ...] = ("NC", "AD")
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    trained: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)
    references: dict[str, dict[str, Any]] = field(default_factory=dict)
    channels: int = 1
    task: Task = "classification"
    output: str | int | None = None
    statistics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.channels) is not int:
            object.__setattr__(self, "channels", _whole("channels", self.channels))
        check_statistics(self.statistics)
        if not 0 < self.channels <= 1024:
            raise ValueError(f"channels must be between 1 and 1024, got {self.channels}")
        if self.task not in get_args(Task):
            raise ValueError(f"task must be one of {', '.join(get_args(Task))}, got {self.task!r}")
        if not (self.output is None or isinstance(self.output, str)) and type(self.output) is not int:
            object.__setattr__(self, "output", _whole("output", self.output))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON.

        Fields of later versions are left out if they have their default. Earlier versions of pyadx can then
        read the card, and files of older networks do not change by a byte.
        """
        data = asdict(self)
        for fields, own in ((_LATER_FIELDS, data), (_LATER_PREPROCESSING, data["preprocessing"])):
            for name, default in fields.items():
                if own[name] == default:
                    del own[name]
        return data

    @classmethod
    def from_dict(cls, data: object) -> "ModelCard":
        """Return the card that `to_dict` turned into plain data.

        Parameters
        ----------
        data : dict
            Plain data; they may come from a file of unknown origin.

        Raises
        ------
        ValueError
            If a field is missing or invalid.
        """
        try:
            raw = cast(dict[str, Any], data)
            preprocessing = Preprocessing(**raw["preprocessing"])
            shape = tuple(raw["in_shape"])
            names = tuple(raw["class_names"])
            check_shape_and_names(shape, names)
            references = raw.get("references", {})
            if not isinstance(references, dict) or not all(
                name in names and isinstance(facts, dict) for name, facts in references.items()
            ):
                raise ValueError("references must map class names to facts about their images")
            return cls(
                architecture=str(raw["architecture"]),
                in_shape=cast(Shape, shape),
                class_names=names,
                preprocessing=preprocessing,
                trained=bool(raw.get("trained", False)),
                provenance=dict(raw.get("provenance", {})),
                references=references,
                **{name: raw[name] for name in _LATER_FIELDS if name in raw},
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"its model card is incomplete or damaged ({error})") from None


# Fields that were added later, and their values for a card without them.
_LATER_FIELDS: dict[str, Any] = {"channels": 1, "task": "classification", "output": None, "statistics": {}}
_LATER_PREPROCESSING: dict[str, Any] = {
    "orientation": "RAS",
    "percentiles": (1.0, 99.0),
    "mean": None,
    "std": None,
}


def check_statistics(statistics: object) -> None:
    """Raise ``ValueError`` unless each of the ``figures``, if any, has a mean and a standard deviation."""
    known = statistics.get("figures", {}) if isinstance(statistics, dict) else None
    if not isinstance(known, dict) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_number, pair)) and pair[1] >= 0
        for pair in known.values()
    ):
        raise ValueError("statistics must map figures to a mean and a standard deviation")


def check_orientation(codes: object) -> None:
    """Raise ``ValueError`` unless these are three axis codes: one of R and L, of A and P, of S and I."""
    pairs = ("LR", "AP", "IS")
    if not (
        isinstance(codes, str)
        and len(codes) == 3
        and sorted(next((i for i, p in enumerate(pairs) if c in p), -1) for c in codes) == [0, 1, 2]
    ):
        raise ValueError(f"orientation must be axis codes such as 'RAS' or 'LPS', got {codes!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _percentiles(values: object) -> tuple[float, float]:
    if not (
        isinstance(values, tuple | list)
        and len(values) == 2
        and all(map(_is_number, values))
        and 0 <= values[0] < values[1] <= 100
    ):
        raise ValueError(f"percentiles must be two numbers, lower and upper, in 0 to 100, got {values!r}")
    return float(values[0]), float(values[1])


def check_shape_and_names(shape: tuple[Any, ...], names: tuple[Any, ...]) -> None:
    """Raise ``ValueError`` unless these are three lengths from 1 to 4096, and non-empty texts."""
    if len(shape) != 3 or not all(type(n) is int and 0 < n <= 4096 for n in shape):
        raise ValueError(f"in_shape must be three lengths from 1 to 4096, got {shape}")
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"class_names must be non-empty texts, got {names}")


def _whole(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return index(value)
    except TypeError:
        words = "a whole number" if name == "channels" else "a name, an index or None"
        raise TypeError(f"{name} must be {words}, got {value!r}") from None
