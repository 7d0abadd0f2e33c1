"""Names of instruction sets: whether a build of torch holds code for a card. Pure; imports no torch."""


def in_build(arch: str, built_for: list[str]) -> bool:
    """AMD's names must match; NVIDIA's code (sm_XY) runs on later cards of the same major version too, and its
    intermediate code (compute_XY) on all later ones."""
    if not arch.startswith("sm_"):
        return arch.split(":")[0] in {name.split(":")[0] for name in built_for}
    card = _number(arch)
    for name in (n for n in built_for if n.startswith(("sm_", "compute_"))):
        built = _number(name)
        if built <= card and (name.startswith("compute_") or built // 10 == card // 10):
            return True
    return False


def _number(arch: str) -> int:
    return int("".join(c for c in arch.split("_")[1] if c.isdigit()))
