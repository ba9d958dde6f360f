"""Names of FreeSurfer's numbers of aseg and aparc+aseg, from FreeSurferColorLUT."""

_BOTH_SIDES = (
    *((2, 41, "Cerebral-White-Matter"), (3, 42, "Cerebral-Cortex"), (4, 43, "Lateral-Ventricle")),
    *((5, 44, "Inf-Lat-Vent"), (7, 46, "Cerebellum-White-Matter"), (8, 47, "Cerebellum-Cortex")),
    *((10, 49, "Thalamus"), (11, 50, "Caudate"), (12, 51, "Putamen"), (13, 52, "Pallidum")),
    *((17, 53, "Hippocampus"), (18, 54, "Amygdala"), (26, 58, "Accumbens-area"), (28, 60, "VentralDC")),
    *((30, 62, "vessel"), (31, 63, "choroid-plexus"), (78, 79, "WM-hypointensities")),
    *((81, 82, "non-WM-hypointensities"),),
)
_MIDDLE = {
    **{14: "3rd-Ventricle", 15: "4th-Ventricle", 16: "Brain-Stem", 24: "CSF", 72: "5th-Ventricle"},
    **{77: "WM-hypointensities", 80: "non-WM-hypointensities", 85: "Optic-Chiasm"},
    **{251: "CC_Posterior", 252: "CC_Mid_Posterior", 253: "CC_Central"},
    **{254: "CC_Mid_Anterior", 255: "CC_Anterior"},
}
_CORTEX = [
    "unknown", "bankssts", "caudalanteriorcingulate", "caudalmiddlefrontal", "corpuscallosum", "cuneus",
    "entorhinal", "fusiform", "inferiorparietal", "inferiortemporal", "isthmuscingulate",
    "lateraloccipital", "lateralorbitofrontal", "lingual", "medialorbitofrontal", "middletemporal",
    "parahippocampal", "paracentral", "parsopercularis", "parsorbitalis", "parstriangularis",
    "pericalcarine", "postcentral", "posteriorcingulate", "precentral", "precuneus",
    "rostralanteriorcingulate", "rostralmiddlefrontal", "superiorfrontal", "superiorparietal",
    "superiortemporal", "supramarginal", "frontalpole", "temporalpole", "transversetemporal", "insula",
]  # fmt: skip

NAMES: dict[int, str] = {
    **{left: f"Left-{name}" for left, _, name in _BOTH_SIDES},
    **{right: f"Right-{name}" for _, right, name in _BOTH_SIDES},
    **_MIDDLE,
    **{1000 + n: f"ctx-lh-{name}" for n, name in enumerate(_CORTEX)},
    **{2000 + n: f"ctx-rh-{name}" for n, name in enumerate(_CORTEX)},
}
