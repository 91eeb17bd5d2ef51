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


# What makes, fills, moves or replaces files, whatever it is called on.
WRITERS = {
    *("write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "mknod", "mkfifo", "truncate"),
    *("save", "savez", "savez_compressed", "savetxt", "tofile", "savefig", "imsave", "save_weights", "dump"),
    *("copy2", "copyfile", "copytree", "copyfileobj", "rename", "renames", "link", "symlink"),
    *("mkstemp", "mkdtemp", "NamedTemporaryFile", "TFRecordWriter", "write_file", "create_file_writer"),
    *("urlretrieve", "extract", "save_model", "write_graph"),
}
# Blocks in which a folder is made that nobody else knows.
FRESH = {"new_folder", "whole_folder", "TemporaryDirectory"}
# Functions that are given such a folder, or a file that they opened there; and what is no file at all.
GIVEN_FRESH = {
    "checkpoint._synced": "a state in a new folder",
    "checkpoint._leave_terminal": "the null device",
    "checkpoint._remove": "the run's own states, which it hides before they go",
    "checkpoint._set_aside": "the run's own states, which keep their content",
    "assets._download": "the download",
    "assets._unpack": "the asset's new folder",
    "assets._from_hugging_face": "the asset's new folder",
    "assets._from_keras_applications": "the asset's new folder",
    "export.save": "the export's new folder",
    "picture_index.save_index": "the index' new folder",
    "warm_up.write_requests": "the export's new folder",
    "small._write_lite": "the form's new folder",
    "small._save": "the form's new folder",
    "bench.growth.write_noise": "data in the benchmark's new folder",
    "bench.growth._stage": "a counter of the system",
}
# What these names stand for is open already, or is in memory.
OPEN = {"buffer", "content", "file"}
# In which a `Stage` stands, whose `save` writes into a new folder.
KEPT = {"kept"}


def ways_to_write(tree: ast.AST, function: str = "", fresh: bool = False) -> Iterator[tuple[str, str, int]]:
    """Yields the function, the name and the line of calls that write a file, outside of fresh folders."""
    for node in ast.iter_child_nodes(tree):
        inside = fresh
        if isinstance(node, ast.With):
            inside |= any(called(item.context_expr) in FRESH for item in node.items)
        name = called(node)
        if name and not fresh and writes(name, node):
            yield function, name, node.lineno
        own = node.name if isinstance(node, ast.FunctionDef) and not function else function
        yield from ways_to_write(node, own, inside)


def called(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) and function.id not in ("write_text",) else ""


def writes(name: str, node: ast.Call) -> bool:
    owner = owner_of(node)
    if name == "open":
        return bool(set(mode_of(node)) & set("wax+"))
    if name in ("replace", "move"):
        # Strings are given two arguments to replace, and dataclasses keywords.
        return owner in ("os", "shutil") or (name == "replace" and len(node.args) == 1 and not node.keywords)
    if name == "save" and (not node.args or owner in KEPT):
        return False
    return name in WRITERS and not names(node.args[:1]) & OPEN


def names(nodes: list[ast.expr]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def owner_of(node: ast.Call) -> str:
    """The name before the function's own: "os" of os.replace, "kept" of self.kept.save."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    return getattr(owner, "attr", getattr(owner, "id", ""))


def mode_of(node: ast.Call) -> str:
    """The mode of `open(path, mode)` or `path.open(mode)`; flags of os.open count as one that writes."""
    words = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
    if owner_of(node) == "os":
        return "w"
    found = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    return next((word for word in found if set(word) <= set("rwaxbt+U")), "")


@pytest.mark.parametrize("module", [module for module in SOURCES if module != "files"])
def test_files_are_written_by_one_function(module):
    found = [
        f"line {line} of {module}: {name}"
        for function, name, line in ways_to_write(TREES[module])
        if f"{module}.{function}" not in GIVEN_FRESH
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "open(path, mode='r+b')",
        "path.open('ab')",
        "os.open(path, os.O_WRONLY)",
        "path.write_text(text)",
        "np.save(path, array)",
        "figure.savefig(path)",
        "shutil.copyfile(one, other)",
        "os.replace(one, other)",
        "path.replace(other)",
        "shutil.move(one, other)",
        "model.save(path)",
        "tf.saved_model.save(model, path)",
        "with whole_file(path): Path(other).touch()",
    ],
)
def test_another_way_to_write_would_be_seen(line):
    assert len(list(ways_to_write(ast.parse(line)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "open(path, 'rb', encoding='utf-8')",
        "path.open(encoding='utf-8')",
        "text.replace('a', 'b')",
        "dataclasses.replace(run, seed=1)",
        "self.kept.save(number, state)",
        "np.save(buffer, array)",
        "write_text(path, text)",
        "with whole_folder(path) as folder: (folder / 'a').write_text(text)",
    ],
)
def test_what_writes_nothing_is_not_taken_for_it(line):
    assert list(ways_to_write(ast.parse(line))) == []


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
