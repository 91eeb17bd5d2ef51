"""The graph that TensorBoard shows of an export: one flow of data, whatever functions it is made of."""

import tensorflow as tf

from xmodal.report.tensorboard.graph import LARGEST_CONSTANT, served_graph

FLOATS = tf.TensorSpec([None, 3], tf.float32)


class Nested(tf.Module):
    """Calls one function twice, which calls another one, and reads a variable and a large constant."""

    def __init__(self):
        super().__init__()
        self.factor = tf.Variable([1.0, 2.0, 3.0])
        self.tripled = tf.function(lambda x: self._tripled(x), input_signature=[FLOATS])
        self.halved = tf.function(lambda x: self._halved(x), input_signature=[FLOATS])

    def _tripled(self, x):
        with tf.name_scope("tripled"):
            return x * self.factor, x + tf.range(3, dtype=tf.float32)

    def _halved(self, x):
        first, second = self.tripled(x)
        with tf.name_scope("halved"):
            return (
                first / 2
                + second
                + tf.reduce_sum(tf.constant([float(n) for n in range(4 * LARGEST_CONSTANT)]))
            )

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="numbers")])
    def answer(self, numbers):
        """Returns something of the numbers (B, 3)."""
        return {"label": self.halved(self.halved(numbers))}


def behind(graph, name):
    """Returns the names of all nodes that a node depends on."""
    nodes = {node.name: node for node in graph.node}
    found, waiting = set(), [name]
    while waiting:
        found.add(here := waiting.pop())
        waiting += [source for source in nodes[here].input if source not in found]
    return found


def test_functions_stand_where_they_are_called(tmp_path):
    module = Nested()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.answer})
    graph = served_graph(tmp_path / "saved_model.pb")
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {source for node in graph.node for source in node.input} <= set(names)
    assert not {"VarHandleOp", "NoOp", "PartitionedCall", "StatefulPartitionedCall"} & {
        n.op for n in graph.node
    }
    scopes = {name.rpartition("/")[0] for name in names}
    assert {
        "halved/halved",
        "halved_2/halved",
        "halved/tripled/tripled",
        "halved_2/tripled/tripled",
    } <= scopes
    # The numbers go through both calls to the answer, which nothing reads.
    read = {source for node in graph.node for source in node.input}
    (end,) = (name for name in names if name not in read and "numbers" in behind(graph, name))
    assert {name for name in names if name.endswith("truediv")} <= behind(graph, end)
    assert graph.ByteSize() < 8 * LARGEST_CONSTANT


def test_without_an_export_there_is_no_graph(tmp_path):
    assert served_graph(tmp_path / "saved_model.pb") is None
