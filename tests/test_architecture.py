"""The order of the packages, and what no module may do, read from their source.

1. A .py file in xmodal/ itself is a command, and nothing imports it.
2. Everything else stands in a package, and a package imports only from packages below it.
3. `Config` as a whole is known to recipes, runs, robustness, bench and commands alone.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the lowest to the highest; packages of one line do not import each other.
LEVELS = (
    ("core",),
    ("evaluation", "text", "kernels"),
    ("bridge", "transfer", "assets"),
    ("config",),
    ("data",),
    ("training", "models"),
    ("tasks", "report"),
    ("export", "runs"),
    ("robustness",),
    ("recipes",),
    ("bench",),
)

LEVEL = {package: level for level, packages in enumerate(LEVELS) for package in packages}

COMMANDS = (
    "__main__",
    "run",
    "predict",
    "ask",
    "compare",
    "search",
    "paint",
    "fetch",
    "doctor",
    "init",
    "demo",
    "audit",
)

# An importing module and what it imports, against the rules; none is to be added.
EXCEPTIONS: dict[tuple[str, str], str] = {}

KNOW_THE_WHOLE_CONFIG = ("recipes", "runs", "robustness", "bench", *COMMANDS)
KNOW_FLAGS = ("config", *COMMANDS)

WITHOUT_TENSORFLOW = (
    *COMMANDS,
    "core.errors",
    "core.command",
    "core.files",
    "core.signals",
    "core.versions",
    "core.clock",
    "core.formatting",
    "core.records",
    "core.sums",
    "core.tensorflow_start",
    "config.flags",
    "config.config",
    "assets.fetch",
    "assets.presets",
    "export.predictor",
    "runs.folder",
    "runs.dry_run",
    "runs.provenance",
    "training.checkpoint",
    "training.cluster",
    "training.rehearsal",
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


def room(module: str) -> str:
    """Returns the package of a module, or the command."""
    return module.partition(".")[0]


def upwards(module: str) -> list[str]:
    """Returns what a module imports although it does not stand below."""
    return [
        name
        for name in own_imports(module)
        if name != "xmodal"
        and (module, name) not in EXCEPTIONS
        and room(name) != room(module)
        and not (room(name) in LEVEL and LEVEL.get(room(module), len(LEVELS)) > LEVEL[room(name)])
    ]


def run_before(module: str) -> set[str]:
    """Returns what is run before a module: what it imports, and the packages around that."""
    inside = [name.split(".") for name in own_imports(module)]
    found = {".".join(parts[:length]) for parts in inside for length in range(1, len(parts) + 1)}
    return {name for name in found if not f"{module}.".startswith(f"{name}.")}


def test_every_module_is_a_command_or_stands_in_a_package():
    assert {room(module) for module in SOURCES} == {"xmodal", *COMMANDS, *LEVEL}
    assert {module for module in SOURCES if "." not in module} == {"xmodal", *COMMANDS, *LEVEL}


def test_nothing_imports_a_command():
    found = {module: set(own_imports(module)) & set(COMMANDS) for module in SOURCES}
    assert {module: names for module, names in found.items() if names} == {}


@modules
def test_a_package_imports_only_from_packages_below_it(module):
    assert upwards(module) == []


def test_an_exception_is_still_one():
    assert [pair for pair in EXCEPTIONS if pair[1] not in set(own_imports(pair[0]))] == []


def test_no_modules_import_each_other_in_a_circle():
    # The package itself imports its public names when they are asked for, long after.
    order = TopologicalSorter({module: run_before(module) for module in SOURCES if module != "xmodal"})
    assert len({*order.static_order(), "xmodal"}) == len(SOURCES)


def test_the_imports_are_really_seen():
    assert {"core.clock", "runs.inputs", "report", "bridge.bridge"} <= set(
        own_imports("recipes.vgg_to_bert.recipe")
    )
    assert "xmodal" in set(own_imports("core.machine"))


@modules
def test_the_whole_config_is_known_to_few(module):
    if room(module) not in ("config", *KNOW_THE_WHOLE_CONFIG):
        assert {"config.config", "config.flags"} & set(own_imports(module)) == set()


@modules
def test_errors_of_the_library_speak_of_values(module):
    """A notebook has no flags: they stand in backticks, `name=value`, and the command line spells them."""
    if room(module) in KNOW_FLAGS or module == "core.command":
        return
    assert flags_in_errors(TREES[module]) == []


def flags_in_errors(tree: ast.Module) -> list[str]:
    """Returns what stands in errors and spells a flag, in the call or under a name that it is given."""
    named: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, []).append(node.value)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    parts: list[ast.AST] = [node for node in calls if called(node) == "UserError"]
    parts += [value for call in parts for name in names(call.args) for value in named.get(name, [])]
    texts = [text.value for part in parts for text in ast.walk(part) if isinstance(text, ast.Constant)]
    return [text for text in texts if re.search(r"(^|[\s(])--[a-z]", str(text))]


@pytest.mark.parametrize(
    "lines",
    [
        "raise UserError('--seed=1 is odd', 'give 2')",
        "raise UserError(f'{a} is odd', 'leave out --seed')",
        "REMEDY = 'leave out --seed'\nraise UserError('it is odd', REMEDY)",
    ],
)
def test_a_flag_in_an_error_would_be_seen(lines):
    assert len(flags_in_errors(ast.parse(lines))) == 1


@pytest.mark.parametrize(
    ("module", "others"),
    [
        # `--help`, a wrong flag and a wrong version are told at once.
        *((module, {"tensorflow", "keras"}) for module in WITHOUT_TENSORFLOW),
        # An experiment with images alone begins sooner.
        ("recipes.vgg_to_vgg", {"keras_nlp", "keras_hub"}),
    ],
)
def test_a_module_that_comes_before_others(module, others):
    script = f"import sys, xmodal.{module}; print(sorted({others} & set(sys.modules)))"
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
FRESH = {"new_folder", "atomic_folder", "summed_folder", "TemporaryDirectory"}

# Functions that are given such a folder, or a file that they opened there; and what is no file at all.
GIVEN_FRESH = {
    "training.checkpoint._open_synced": "a state in a new folder",
    "core.signals._leave_terminal": "the null device",
    "training.checkpoint._remove": "the run's own states, which it hides before they go",
    "training.checkpoint._set_aside": "the run's own states, which keep their content",
    "assets.fetch._download": "the download",
    "assets.fetch._unpack": "the asset's new folder",
    "assets.fetch._from_hugging_face": "the asset's new folder",
    "assets.fetch._from_keras_applications": "the asset's new folder",
    "export.saved_model.save": "the export's new folder",
    "export.picture_index.save_index": "the index' new folder",
    "report.epochs._write_curves": "TensorBoard's files, each of a new name, in the run's own folder",
    "report.trackers.finish": "Weights & Biases uploads a file, and writes none",
    "export.warmup_requests.write_requests": "the export's new folder",
    "export.compressed._write_lite": "the form's new folder",
    "export.compressed.save_function": "the form's new folder",
    "export.compressed.write_labels": "the form's new folder",
    "bench.growth.write_noise": "data in the benchmark's new folder",
    "bench.growth._stage": "a counter of the system",
}

# What these names stand for is open already, or is in memory.
OPEN = {"buffer", "content", "file"}

# In which a `Stage` stands, whose `save` writes into a new folder.
KEPT = {"kept", "checkpoint", "stage"}


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
    # Ours: of `core.files`, and of `core.formatting`.
    named = isinstance(function, ast.Name) and function.id not in ("write_text", "truncate")
    return function.id if named else ""


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


WRITING = ("core.files", "core.locks")


@pytest.mark.parametrize("module", [module for module in SOURCES if module not in WRITING])
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
        "with atomic_write(path): Path(other).touch()",
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
        "with atomic_folder(path) as folder: (folder / 'a').write_text(text)",
    ],
)
def test_what_writes_nothing_is_not_taken_for_it(line):
    assert list(ways_to_write(ast.parse(line))) == []


# They are run as processes of their own, which answer their parents in JSON.
ANSWERS_ITS_PARENT = ("export.fresh_process_answers", "export.fresh_process_timing", "bench.first_step")
ANSWERS_ITS_PARENT += ("data.espeak_process",)
ANSWERS_ITS_PARENT += ("bench.speed", "bench.engine", "bench.growth", "bench.plain_flow")


CONSOLE = {"print", "stdout", "stderr"}


@modules
def test_only_the_console_prints(module):
    """What names hold reaches the terminal through `xmodal.core.console` alone."""
    printed = {node.id for node in ast.walk(TREES[module]) if isinstance(node, ast.Name)} & {"print"}
    streams = {
        node.attr
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute) and names([node.value]) == {"sys"} and node.attr.startswith("std")
    }
    allowed = {"export.answer_files": {"stdin"}, "core.console": CONSOLE}
    allowed["core.tensorflow_start"] = {"stderr"}
    if module not in ANSWERS_ITS_PARENT:
        assert printed | streams == allowed.get(module, set())


@modules
def test_only_config_reads_flags(module):
    roots = {name.partition(".")[0] for name in imports(module)}
    assert ("absl" in roots) == (module == "config.flags")


@modules
def test_nothing_that_runs_code_from_data_or_keeps_a_graph_from_being_served(module):
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "allow_pickle"}
    forbidden |= {"py_function", "py_func", "EagerPyFunc", "Lambda"}
    # The batches of a training, which are not served, are read from files in Python.
    from_files = ("data.batches", "data.sound_batches", "data.video_batches")
    forbidden |= {"numpy_function"} if module not in from_files else set()
    forbidden |= {"eval", "exec", "enable_unsafe_deserialization", "shell", "extractall"}
    used = {part for name in names_used(module) for part in name.split(".")}
    assert used & forbidden == set()


def private_members(module: str) -> set[str]:
    """Returns the private attributes that a module touches on anything but itself."""
    # What named tuples call theirs is public.
    public = {"_replace", "_asdict", "_fields"}
    return {
        node.attr
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in public
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


@modules
def test_private_members_of_keras_are_touched_in_kernels_alone(module):
    """`tests/kernels/test_private_members.py` tells when Keras changes those."""
    roots = {name for name in imports(module) if name.startswith(("keras.src", "tensorflow.python"))}
    if room(module) != "kernels":
        assert private_members(module) | roots == set()
    else:
        known = {"_flatten_layers", "_inbound_nodes", "_learning_rate", "_get_variable_index"}
        known |= {"_uninitialized_lookup_table", "_frozen_vocab_size", "_autocast", "_dropout_layer"}
        known |= {"_backend_update_step"}
        assert private_members(module) <= known
        assert roots == set()


@pytest.mark.parametrize(
    ("module", "standard"),
    [
        ("export.fresh_process_answers", {"collections", "json", "sys", "pathlib"}),
        ("export.fresh_process_timing", {"collections", "json", "os", "sys", "pathlib", "time", "warnings"}),
    ],
)
def test_what_a_fresh_process_runs_needs_nothing_of_xmodal(module, standard):
    found = {name.partition(".")[0] for name in imports(module)}
    # ONNX' runtime is asked for a form of ONNX alone, and LiteRT's where it is installed.
    assert found - {"onnxruntime", "ai_edge_litert"} == {*standard, "tensorflow", "tensorflow_text"}


MAX_LINES_OF_A_FILE, MAX_LINES_OF_A_FUNCTION = 400, 60
PROGRAMS = [path for folder in ("xmodal", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_run_stays_small():
    assert len(SOURCES["run"].splitlines()) < 90


def test_no_file_is_long():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PROGRAMS}
    assert {name: count for name, count in lines.items() if count > MAX_LINES_OF_A_FILE} == {}


def test_no_function_is_long():
    found = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in PROGRAMS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MAX_LINES_OF_A_FUNCTION
    ]
    assert found == []


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
            # Keras says what a layer's or an optimizer's own methods do.
            and node.name not in ("call", "compute_output_shape", "update_step")
        ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []
