"""``pyadx methods``: list all methods with their cost, or the options of one method."""

from pyadx.explainers import find_method, methods


def method_lines() -> list[str]:
    """Return a list of all methods, each with the question that it answers and its cost."""
    known = methods()
    width = max(map(len, known))
    lines = []
    for method in known.values():
        lines += [f"{method.name:{width}} {method.answers}", f"{'':{width}} cost: {method.cost}"]
    example = "gradcam:layer=conv2b"
    return [*lines, "", f"Options follow the name, as in {example}; pyadx methods NAME lists them."]


def option_lines(name: str) -> list[str]:
    """Return the options of a method: default, meaning and allowed values.

    Raises
    ------
    ValueError
        If there is no such method.
    """
    method = find_method(name)
    lines = [f"{method.title}: {method.answers}", f"Cost: {method.cost}.", ""]
    for option in method.options.values():
        default = "none" if option.default is None else option.kind.write(option.default)
        note = "" if option.changes_map else " Does not change the map."
        lines.append(f"{option.name}={default}")
        lines.append(f"    {option.help}{note} Allowed: {option.kind.allowed}.")
    if method.presets:
        lines.append("")
    for preset, options in method.presets.items():
        meaning = ",".join(f"{key}={method.options[key].kind.write(v)}" for key, v in options.items())
        lines.append(f"{method.name}:{preset} stands for {meaning}")
    return lines
