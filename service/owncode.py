"""Code of one's own, looked at from the door: whether a name is there. Reads source and runs none of it."""

import ast
from pathlib import Path


def why_not(folder: Path, name: str) -> str | None:
    """What is wrong with `module:name`, None where it is there or this machine does not see the folder."""
    module, wanted = name.split(":")
    path = folder / f"{module}.py"
    if not folder.is_dir():
        return None
    try:
        tree = ast.parse(path.read_text(), path.name)
    except FileNotFoundError:
        there = ", ".join(sorted(found.name for found in folder.glob("*.py"))) or "nothing"
        return f"there is no {path.name}; there is {there}"
    except (SyntaxError, ValueError, OSError) as error:
        return f"{path.name} cannot be read: {error}"
    names = _names(tree)
    return None if wanted in names or "*" in names else f"{path.name} has no {wanted}; it has {', '.join(names)}"


def _names(tree: ast.Module) -> list[str]:
    """Of the top level, in order; `*` where another module's names are taken over."""
    names: list[str] = []
    for node in tree.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                names.append(node.name)
            case ast.Import() | ast.ImportFrom():
                names += [alias.asname or alias.name for alias in node.names]
            case ast.Assign():
                names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names
