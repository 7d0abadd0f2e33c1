"""A model as text: what it computes in evaluation mode, as calls of torch's own operators in plain Python.

The text needs torch and the model's tensors and nothing else, so it runs where neither braindecode nor this project
is installed. Knows no challenge and no file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Graph, Node

from worker.export.errors import CannotWriteOut

LARGEST_BATCH = 1 << 16
ASSERTIONS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range")
SHAPES = {
    "sym_size.int": "{}.shape[{}]",
    "sym_stride.int": "{}.stride({})",
    "sym_numel.default": "{}.numel()",
}


@dataclass(frozen=True)
class Plain:
    """lines: statements from `x` (B, n_chans, n_times) and `w` (tensors by name) to `return` of the output.

    any_batch: whether they hold for every B; else for B = 1, and the caller goes window by window.
    operators: names of the aten operators in use.
    """

    lines: tuple[str, ...]
    tensors: dict[str, Tensor]
    any_batch: bool
    operators: tuple[str, ...]


def write_out(model: nn.Module, n_chans: int, n_times: int) -> Plain:
    """Raises CannotWriteOut where the computation depends on the values in the input."""
    model = model.eval()
    try:
        program, any_batch = (
            _export(model, torch.randn(4, n_chans, n_times), {0: Dim("B", min=2, max=LARGEST_BATCH)}),
            True,
        )
    except Exception:  # noqa: BLE001 - torch.export raises anything; for one window at a time it asks for less
        try:
            program, any_batch = _export(model, torch.randn(1, n_chans, n_times), None), False
        except Exception as error:
            raise CannotWriteOut(
                f"{type(model).__name__} cannot be written out as plain torch code: {_first_line(error)}"
            ) from error
    _drop_checks(program.graph)
    text = _Text(program)
    return Plain(tuple(text.lines()), text.tensors(), any_batch, tuple(sorted(text.operators)))


def _export(model: nn.Module, x: Tensor, dynamic: dict[int, Any] | None) -> ExportedProgram:
    with torch.no_grad():
        return torch.export.export(model, (x,), dynamic_shapes=None if dynamic is None else (dynamic,))


def _drop_checks(graph: Graph) -> None:
    """Assertions about shapes, and what was only computed for them."""
    for node in reversed(graph.nodes):
        if node.op == "call_module" or (node.op == "call_function" and _name(node).startswith(ASSERTIONS)):
            graph.erase_node(node)
    graph.eliminate_dead_code()


class _Text:
    """Statements of a graph. Each value is deleted after its last use, as it would be inside a model's forward."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._inputs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}  # type: ignore[union-attr]
        self.operators: set[str] = set()

    def lines(self) -> Iterator[str]:
        last_uses = self._last_uses()
        for node in self._program.graph.nodes:
            if node.op == "call_function":
                done = "".join(f"; del {name}" for name in last_uses.get(node, ()))
                yield f"{node.name} = {self._call(node)}{done}"
            elif node.op == "output":
                yield f"return {self._of(self._output(node))}"

    def tensors(self) -> dict[str, Tensor]:
        """The parameters, buffers and constants in use, by name."""
        used = [node for node in self._program.graph.nodes if node.op == "placeholder" and node.users]
        return {self._target(node): self._value(node) for node in used if not self._is_input(node)}

    def _call(self, node: Node) -> str:
        arguments = [self._of(a) for a in node.args] + [f"{k}={self._of(v)}" for k, v in node.kwargs.items()]
        target = node.target
        if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
            name = _name(node)
            if name in SHAPES:
                return SHAPES[name].format(*arguments)
            self.operators.add(name)
            return f"aten.{name}({', '.join(arguments)})"
        module, name = getattr(target, "__module__", None), getattr(target, "__name__", "")
        if name == "getitem":
            return f"{arguments[0]}[{arguments[1]}]"
        if module in ("_operator", "math", "torch"):
            return f"{module.lstrip('_')}.{name}({', '.join(arguments)})"
        raise CannotWriteOut(f"the model uses {target}, which is not one of torch's plain operators")

    def _of(self, value: Any) -> str:
        match value:
            case Node() if value.op == "placeholder":
                return "x" if self._is_input(value) else f'w["{self._target(value)}"]'
            case Node():
                return value.name
            case list() | tuple():
                return f"[{', '.join(self._of(one) for one in value)}]"
            case torch.device():
                return "x.device"
            case float() if value != value or value in (float("inf"), float("-inf")):
                return f'float("{value}")'
            case None | bool() | int() | float() | str() | torch.dtype() | torch.memory_format() | torch.layout():
                return repr(value)
        raise CannotWriteOut(f"the model uses a {type(value).__name__} that cannot be written out")

    def _last_uses(self) -> dict[Node, list[str]]:
        last: dict[Node, Node] = {}
        for node in self._program.graph.nodes:
            for used in node.all_input_nodes:
                if used.op == "call_function":
                    last[used] = node
        by_user: dict[Node, list[str]] = {}
        for used, user in last.items():
            by_user.setdefault(user, []).append(used.name)
        return by_user

    def _output(self, node: Node) -> Any:
        kinds = [spec.kind for spec in self._program.graph_signature.output_specs]
        values: Any = node.args[0]
        return values[kinds.index(OutputKind.USER_OUTPUT)]

    def _is_input(self, node: Node) -> bool:
        return self._inputs[node.name].kind is InputKind.USER_INPUT

    def _target(self, node: Node) -> str:
        return str(self._inputs[node.name].target)

    def _value(self, node: Node) -> Tensor:
        name = self._target(node)
        held = self._program.state_dict.get(name)
        value = self._program.constants[name] if held is None else held
        assert isinstance(value, Tensor)
        return value.detach().cpu().contiguous().clone()


def _name(node: Node) -> str:
    """`conv2d.default` of the operator aten::conv2d."""
    target = node.target
    return str(target).removeprefix("aten.") if isinstance(target, torch._ops.OpOverload) else ""


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
