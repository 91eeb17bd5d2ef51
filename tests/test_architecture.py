"""The order of the modules, and what none of them may do, read from their source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module imports only from what stands before it.
# fmt: off
ORDER = [
    "xmodal", "errors", "versions", "command", "files", "config", "clock", "run_folder", "checkpoint",
    "cluster", "assets", "ingredients", "rehearsal",
    "data", "data.shares", "data.splits", "data.folders", "data.tfds", "data.audit", "data.reading",
    "data.rows", "data.images", "data.texts", "data.words", "data.tables", "data.documents", "data.tokens",
    "data.personal", "data.scrub", "data.typos", "data.readings", "data.pairs",
    "strategy", "replicas", "e5", "convolutions", "dense", "compiled",
    "backbones", "transfer", "bridge", "captions", "heads", "unet", "layer_rates",
    "progress", "steps", "step_trace", "batch_norm", "train", "evaluate", "baselines", "features",
    "image_classifier", "text_classifier", "modality", "scored_classifier", "trials", "fusion",
    "pair_encoders", "fused_classifier", "serving", "retrieval", "picture_index", "generate", "painter",
    "tfidf", "frechet", "repeats",
    "report.wording", "report.markup", "report.machine", "report.records", "report.tables",
    "report.figures", "report.projector", "report.graph", "report.summaries", "report.page", "report.card",
    "report", "transfer_worth",
    "wordings", "job", "text_baselines", "image_baselines", "pair_protocols",
    "questions", "robustness", "text_attack", "image_attack", "missing_sides",
    "loaded", "timed", "warm_up", "export", "export_check", "small",
    "recipes", "recipes.vgg_to_bert", "recipes.vgg_to_vgg", "recipes.cnn_to_text", "recipes.bert_news",
    "recipes.text_to_image", "recipes.fusion",
    "fetch", "doctor", "init", "compare", "predict", "search", "paint", "demo",
    "dry_run", "run",
    "bench", "bench.pairs", "bench.text_stage", "bench.engine", "bench.scrub", "bench.serving",
    "bench.limits", "bench.operations", "bench.torch_peers", "bench.plain_flow", "bench.first_step",
    "bench.speed", "bench.growth", "bench.__main__",
]
# fmt: on

WITHOUT_TENSORFLOW = (
    "errors",
    "command",
    "files",
    "versions",
    "config",
    "clock",
    "run_folder",
    "checkpoint",
    "assets",
    "fetch",
    "init",
    "predict",
    "demo",
    "search",
    "paint",
    "dry_run",
    "run",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "xmodal").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "xmodal"


SOURCES = {module_name(path): path.read_text() for path in sorted((ROOT / "xmodal").rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
modules = pytest.mark.parametrize("module", SOURCES)


def imports(module: str) -> Iterator[str]:
    """Yields the full name of all that a module imports, inside functions too."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> Iterator[str]:
    """Yields the modules of this package that a module imports, or imports something from."""
    for name in imports(module):
        if name.partition(".")[0] != "xmodal":
            continue
        inside = name.removeprefix("xmodal").removeprefix(".")
        while inside and inside not in SOURCES:
            inside = inside.rpartition(".")[0]
        yield inside or "xmodal"


def names_used(module: str) -> Iterator[str]:
    """Yields every plain name, attribute, argument and imported name."""
    yield from imports(module)
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def test_every_module_has_a_place_in_the_order():
    assert sorted(SOURCES) == sorted(ORDER)


@modules
def test_a_module_imports_only_from_what_stands_before_it(module):
    before = ORDER[: ORDER.index(module)]
    assert [name for name in own_imports(module) if name not in before] == []


def test_the_imports_are_really_seen():
    assert {"config", "report", "report.wording", "data.images"} <= {
        *own_imports("recipes.vgg_to_bert"),
        *own_imports("report.tables"),
    }
    assert "xmodal" in set(own_imports("report.machine"))


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_a_module_that_comes_before_tensorflow(module):
    """`--help`, a wrong flag and a wrong version are told at once, and without TensorFlow."""
    script = f"import sys, xmodal.{module}; print(sorted({{'tensorflow', 'keras'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr


@modules
def test_only_config_reads_flags(module):
    roots = {name.partition(".")[0] for name in imports(module)}
    assert ("absl" in roots) == (module == "config")


@modules
def test_nothing_that_runs_code_from_data_or_keeps_a_graph_from_being_served(module):
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "allow_pickle"}
    forbidden |= {"py_function", "py_func", "EagerPyFunc", "Lambda"}
    # The batches of a training, which are not served, are read from files in Python.
    forbidden |= {"numpy_function"} if module != "train" else set()
    forbidden |= {"eval", "exec", "enable_unsafe_deserialization", "shell", "extractall"}
    used = {part for name in names_used(module) for part in name.split(".")}
    assert used & forbidden == set()


@pytest.mark.parametrize(
    ("module", "standard"),
    [
        ("loaded", {"collections", "json", "sys", "pathlib"}),
        ("timed", {"collections", "json", "os", "sys", "pathlib", "time", "warnings"}),
    ],
)
def test_what_a_fresh_process_runs_needs_nothing_of_xmodal(module, standard):
    found = {name.partition(".")[0] for name in imports(module)}
    assert found == {*standard, "tensorflow", "tensorflow_text"}


def test_run_stays_small():
    assert len(SOURCES["run"].splitlines()) < 80


@modules
def test_what_is_public_is_documented(module):
    tree = TREES[module]
    if SOURCES[module].strip():
        assert ast.get_docstring(tree), f"{module} has no docstring"
    definitions = (ast.FunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, definitions) and not node.name.startswith("_")]
    for owner in [node for node in public if isinstance(node, ast.ClassDef)]:
        public += [
            node
            for node in owner.body
            if isinstance(node, ast.FunctionDef)
            and not node.name.startswith("_")
            # Keras says what a layer's own methods do.
            and node.name not in ("call", "compute_output_shape")
        ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []
