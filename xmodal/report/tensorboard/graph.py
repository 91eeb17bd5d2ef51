"""What a SavedModel computes, as one graph that TensorBoard can draw.

Its own graph hides that in functions that call each other, behind hundreds of nodes which read and restore
variables, and TensorBoard draws those.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef

SIGNATURE = "serving_default"
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# In bytes: a browser need not show what is larger, such as vocabularies.
LARGEST_CONSTANT = 1024


def served_graph(path: Path) -> GraphDef | None:
    """Returns what the signature "serving_default" of a SavedModel does, with all functions in place.

    Variables and the order of side effects are left out: edges are the flow of data.

    Args:
        path: of saved_model.pb.

    Returns:
        The graph; None where there is no such file or signature.
    """
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.protobuf import saved_model_pb2

    if not path.is_file():
        return None
    (meta_graph,) = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs
    if SIGNATURE not in meta_graph.signature_def:
        return None
    signature = meta_graph.signature_def[SIGNATURE]
    (end,) = {output.name.partition(":")[0] for output in signature.outputs.values()}
    (call,) = (node for node in meta_graph.graph_def.node if node.name == end)
    flat_graph = _Flat(
        {function.signature.name: function for function in meta_graph.graph_def.library.function}
    )
    graph = GraphDef()
    for name, info in signature.inputs.items():
        graph.node.add(name=name, op="Placeholder").attr["dtype"].type = info.dtype
    flat_graph.add(flat_graph.unwrap(_called_function(call)), "")
    graph.node.extend(flat_graph.nodes)
    node_names = {node.name for node in graph.node}
    for node in graph.node:
        sources = dict.fromkeys(flat_graph.source(name) for name in node.input)
        node.input[:] = [name for name in sources if name in node_names]
        if node.op == "Const" and node.attr["value"].tensor.ByteSize() > LARGEST_CONSTANT:
            node.attr["value"].tensor.Clear()
    return graph


class _Flat:
    """The nodes of a function and of all that it calls, each under the scope of its call.

    Args:
        functions: name -> function.
    """

    def __init__(self, functions: dict):
        self.nodes: list = []
        self._functions = functions
        # What stands for an argument of a function, or for an output of a call.
        self._stands_for: dict[str, str] = {}
        self._scopes: Counter[str] = Counter()

    def unwrap(self, name: str) -> str:
        """Returns the name of the function that one calls which does nothing else, or its own."""
        calls = [node for node in self._functions[name].node_def if node.op not in ("Identity", "NoOp")]
        return (
            self.unwrap(_called_function(calls[0]))
            if len(calls) == 1 and _called_function(calls[0])
            else name
        )

    def add(self, name: str, scope: str) -> None:
        """Adds the nodes of a function."""
        function = self._functions[name]
        for node in function.node_def:
            if node.op == "NoOp":
                continue
            sources = [scope + _plain(source) for source in node.input if not source.startswith("^")]
            if not _called_function(node):
                copy = type(node)()
                copy.CopyFrom(node)
                copy.name = scope + node.name
                copy.input[:] = sources
                self.nodes.append(copy)
                continue
            inner = self._functions[_called_function(node)]
            inner_scope = self._new_scope(scope, inner)
            for argument, source in zip(inner.signature.input_arg, sources, strict=True):
                self._stands_for[inner_scope + argument.name] = source
            for number, output in enumerate(inner.signature.output_arg):
                source = inner_scope + _plain(inner.ret[output.name])
                self._stands_for[f"{scope}{node.name}:{number}"] = source
            self.add(_called_function(node), inner_scope)

    def source(self, name: str) -> str:
        """Returns the name of the node behind what a node reads."""
        while name in self._stands_for:
            name = self._stands_for[name]
        return name.partition(":")[0]

    def _new_scope(self, scope: str, function) -> str:
        """Names the box of a call by the largest part of what is in it."""
        parts = Counter(node.name.partition("/")[0] for node in function.node_def if "/" in node.name)
        largest_part = parts.most_common(1)[0][0] if parts else function.signature.name
        own_scope = scope + re.sub(r"_\d+$", "", largest_part.removeprefix("__inference_"))
        self._scopes[own_scope] += 1
        return f"{own_scope}_{self._scopes[own_scope]}/" if self._scopes[own_scope] > 1 else f"{own_scope}/"


def _called_function(node) -> str:
    """Returns the name of the function that a node calls, or nothing."""
    return node.attr["f"].func.name if node.op in CALLS else ""


def _plain(source: str) -> str:
    """Turns node:output:number, as functions have it, into node:number; an argument stays as it is."""
    node, _, output = source.partition(":")
    return f"{node}:{output.rpartition(':')[2]}" if output else node
