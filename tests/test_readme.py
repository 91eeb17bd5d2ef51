"""The pages' figures are those of the records, their commands those of CI, and both READMEs say the same."""

import dataclasses
import json
import re
import time
from xml.etree import ElementTree

import numpy as np
import pytest
from absl.testing import flagsaver
from pages import PAGES, ROOT, blocks
from rendering import words
from rendering.markdown import table_lines
from rendering.scale import exchange_seconds, sent_bytes

from xmodal.bench.serving import compare_ways
from xmodal.config import flags
from xmodal.robustness.attacked import AttackResult, attack_comparisons, attack_table
from xmodal.training.cluster import Worker, current_worker

README, CHINESE = (PAGES[name] for name in ("README.md", "README.zh-CN.md"))
LANGUAGES = ("sh", "bash", "python")


def test_the_results_are_rendered_from_the_records(render_results):
    for path, text in render_results.rendered().items():
        assert path.read_text() == text, "run python experiments/render_results.py"


def test_every_record_is_among_the_headlines_and_leads_to_its_tables(render_results):
    records = ROOT / "experiments/results"
    page = (records / "README.md").read_text()
    table = page[: page.index("\n## ")]
    anchors = re.findall(r"^\| \[(\w+)\]\(#\1\) \|", table, re.MULTILINE)
    assert anchors == sorted(path.stem for path in records.glob("*.json"))
    assert anchors == re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert len({line.count(" | ") for line in table.splitlines() if line.startswith("|")}) == 1


@pytest.mark.parametrize("page", [README, CHINESE])
def test_the_readme_has_ten_of_the_headlines(page):
    table = page.split("<!-- results: begin -->\n")[1].split("<!-- results: end -->")[0]
    _, rule, *rows = table.splitlines()
    assert len(rows) == 10
    assert {row.count(" | ") for row in rows} == {rule.count(" | ")}
    records = ROOT / "experiments/results"
    for row in rows:
        (name,) = re.findall(r"^\| \[(\w+)\]\(experiments/results/README\.md#\1\) \|", row)
        record = json.loads((records / f"{name}.json").read_text())
        assert row.endswith(f"| {record['commit'][:7]} | {record['wall_seconds'] / 60:.1f} |")
    # The figures are those of the table of all records.
    everything = (records / "README.md").read_text()
    for figure in re.findall(r"\d[\d,.]*\d%?", " ".join(rows)):
        assert figure in everything


def test_headlines_are_the_figures_of_a_record_beside_its_peers(render_results, tmp_path):
    record = json.loads((ROOT / "experiments/results/vgg_to_bert.json").read_text())
    record["results"]["text"] |= {"accuracy": 0.123, "ci95": [0.1, 0.2]}
    del record["results"]["no_transfer"]
    (tmp_path / "vgg_to_bert.json").write_text(json.dumps(record))
    row = render_results.headlines(tmp_path).splitlines()[2]
    image = record["results"]["image_only"]["accuracy"]
    cells = row.strip("| ").split(" | ")
    assert cells[2:4] == ["`text` 12.30% [10.00, 20.00]", f"`image_only` {image:.2%}"]
    assert cells[4] == record["commit"][:7]


def test_every_table_of_every_record_is_rendered_whole(render_results):
    pages = render_results.rendered()[render_results.RECORDS / "README.md"].split("\n## ")[1:]
    sections = dict(page.split("\n", 1) for page in pages)
    tables = 0
    for path in (ROOT / "experiments/results").glob("*.json"):
        for table in json.loads(path.read_text()).get("tables", ()):
            caption = re.escape(table["caption"])
            (shown,) = re.findall(
                rf"^(?:{caption}:|<details><summary>{caption}</summary>)\n\n((?:\|.*\|\n)+)",
                sections[path.stem],
                re.MULTILINE,
            )
            head, _, *rows = ([*map(str.strip, row.split(" | "))] for row in shown.splitlines())
            assert {len(row) for row in rows} == {len(head)}
            # Texts stand there as they are, numbers in a form of their own.
            for row, cells in zip(rows, table["rows"], strict=True):
                for cell in cells:
                    assert not isinstance(cell, str) or cell.strip() in " | ".join(row), (path.stem, cells)
            tables += 1
    assert tables > 50


def test_the_numbers_of_a_table_are_written_by_what_its_column_is():
    head = ["document", "accuracy", "precision", "test documents", "distance", "scale", "begins", ""]
    row = ["a|b", 0.97531, 0.5, 12345, 2345678.9, 0.0123456, "<b>", ""]
    table = {"caption": "Numbers", "head": head, "rows": [row]}
    assert table_lines(table) == [
        "Numbers:",
        "",
        "| document | accuracy | precision | test documents | distance | scale | begins |  |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
        "| a/b | 97.53% | 50.0% | 12,345 | 2,345,679 | 0.0123 | &lt;b> |  |",
        "",
    ]
    table["rows"] = [row] * 11
    folded = table_lines(table)
    assert folded[0] == "<details><summary>Numbers</summary>"
    assert folded[2:-2] == [*table_lines(table | {"rows": [row]})[2:4], *[folded[4]] * 11, ""]
    assert folded[-2:] == ["</details>", ""]
    table["rows"] = [[*row[:6], "word " * 13, ""]]
    assert table_lines(table)[0] == "<details><summary>Numbers</summary>"


def test_the_excerpt_is_what_a_run_prints(render_results):
    record = json.loads((ROOT / "experiments/results/vgg_to_bert.json").read_text())
    record["results"]["text"]["accuracy"] = 0.123
    lines = render_results.printed(record).splitlines()
    assert lines[1] == f"{record['title']} (seed {record['seed']})"
    assert re.search(r"^text +12\.3% ", "\n".join(lines), re.MULTILINE)
    for gain in record["gains"]:
        assert gain["sentence"] in " ".join(lines)


def test_both_readmes_have_the_same_commands_figures_and_sections():
    assert blocks(README, *LANGUAGES) == blocks(CHINESE, *LANGUAGES)
    assert len(blocks(README, *LANGUAGES)) > 5
    # Names in code, links and figures survive translation.
    for pattern in (
        r"`(--[^`]+)`",
        r"\]\((?!README)([^)]+)\)",
        r"\d+\.\d+%",
        r"^#+ ",
        r"`saved_models/[^`]*`",
    ):
        one, other = (sorted(re.findall(pattern, page, re.MULTILINE)) for page in (README, CHINESE))
        assert one == other, pattern


def test_licences_of_all_that_is_fetched_are_told():
    from xmodal.assets.catalog import ASSETS

    for page in (README, CHINESE):
        rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", page, re.MULTILINE)
        told = {name: licence for names, licence in rows for name in re.findall(r"`(\w+)`", names)}
        assert {name: told.get(name) for name in ASSETS} == {
            name: asset.licence for name, asset in ASSETS.items()
        }


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_exists(name):
    for link in re.findall(r"(?<!\")\]\(([^)]+)\)", PAGES[name]):
        if not link.startswith("https://"):
            assert ((ROOT / name).parent / link.partition("#")[0]).exists(), link


def test_a_changed_record_is_noticed(render_results, tmp_path):
    record = json.loads((ROOT / "experiments/results/vgg_to_bert.json").read_text())
    record["results"]["text"]["accuracy"] = 0.123
    (tmp_path / "vgg_to_bert.json").write_text(json.dumps(record))
    assert "12.30%" in render_results.render(tmp_path)


def test_what_was_attacked_is_rendered_side_by_side(render_results, tmp_path):
    record = json.loads((ROOT / "experiments/results/vgg_to_bert.json").read_text())
    right = np.arange(50) < 40
    attacked = {
        name: AttackResult(right, {"PGD": {"within 8/255": np.arange(50) < count}})
        for name, count in (("plain", 1), ("robust", 30))
    }
    table = attack_table(attacked, "images")
    record["tables"] = [json.loads(json.dumps(dataclasses.asdict(table)))]
    (tmp_path / "attacked.json").write_text(json.dumps(record))
    rendered = render_results.render(tmp_path)
    assert "Accuracy on 50 test images, as they are and changed to mislead:\n\n" in rendered
    assert "| test images | plain | robust |\n| --- | ---: | ---: |\n" in rendered
    assert "| PGD within 8/255 | 2.0% (0.4% to 10.5%) | 60.0% (46.2% to 72.4%) |" in rendered


def test_what_transfer_is_worth_is_one_table_of_images_and_texts(render_results, tmp_path):
    assert render_results.worth(tmp_path) == ""
    head = ["examples a class", "examples", "with transfer", "without", "difference"]
    other = {"caption": "The classes", "head": ["class", "F1"], "rows": [["a", 0.9]]}
    rows = {
        "bert_news": [["20", 160, "91%", "55%", "+36"], ["1,000", 8000, "98%", "97%", "+1"]],
        "cifar10": [
            [20, 200, "62%", "31%", "+31"],
            ["100", 1000, "73%", "44%", "+29"],
            ["all", 1, "9%", "8%", ""],
        ],
    }
    for name, of_record in rows.items():
        table = {"caption": "What transfer is worth, on the test split", "head": head, "rows": of_record}
        (tmp_path / f"{name}.json").write_text(json.dumps({"tables": [other, table]}))
    page = "experiments/results/README.md"
    assert render_results.worth(tmp_path).splitlines()[2:] == [
        f"| examples a class | images, [cifar10]({page}#cifar10): with transfer | without "
        f"| texts, [bert_news]({page}#bert_news): with transfer | without |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 20 | 62% | 31% | 91% | 55% |",
        "| 100 | 73% | 44% |  |  |",
        "| 1,000 |  |  | 98% | 97% |",
        "| all | 9% | 8% |  |  |",
    ]
    chinese = render_results.worth(tmp_path, words.CHINESE)
    assert chinese.replace("全部", "all").splitlines()[4:] == render_results.worth(tmp_path).splitlines()[4:]
    assert f"| 文本, [bert_news]({page}#bert_news): 做迁移 | 不做迁移 |" in chinese
    (tmp_path / "bert_news.json").write_text(json.dumps({"tables": [other]}))
    assert "texts" not in render_results.worth(tmp_path)


def test_chinese_punctuation_leaves_code_links_and_intervals_as_they_are():
    from rendering.words import CHINESE, ENGLISH, punctuated

    text = "| a | ---: |\n`x, y: z`, 91.8% [91.2, 92.3]; 5, 6: [a](b#c, d): 8% (7.1% to 9.0%), 1,000\n"
    expected = "| a | ---: |\n`x, y: z`，91.8% [91.2, 92.3]；5，6：[a](b#c, d)：8% (7.1% 到 9.0%)，1,000\n"
    assert punctuated(text, CHINESE) == expected
    assert punctuated(text, ENGLISH) == text


def test_what_transfer_is_worth_is_drawn_in_a_file_of_its_own(render_results, tmp_path):
    line = {
        "name": "with transfer",
        "x": [5, 20],
        "y": [80.0, 90.0],
        "low": [78.0, 88.0],
        "high": [82.0, 92.0],
    }
    caption = "What transfer is worth: accuracy on test images"
    plot = {"caption": caption, "x": "images a class", "y": "accuracy, %", "series": [line]}
    other = plot | {"caption": "Something else"}
    record = {"plots": [other, plot | {"log_x": True, "log_y": False}]}
    (tmp_path / "vgg_to_bert.json").write_text(json.dumps(record))
    (tmp_path / "fusion.json").write_text(json.dumps(record))
    [(path, drawn)] = render_results.worth_plots(tmp_path).items()
    assert (path.name, drawn.caption) == ("vgg_to_bert_worth.svg", caption)
    file = render_results.lines_file(drawn)
    root = ElementTree.fromstring(file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "with transfer" in "".join(root.itertext())
    # What the page defines, the file has to bring.
    assert set(re.findall(r"var\((--\w+)\)", file)) <= set(re.findall(r"(--\w+):", file))
    assert file == render_results.lines_file(drawn)


def test_what_a_training_against_attacks_is_worth_is_told_where_it_is_shown(render_results, tmp_path):
    record = json.loads((ROOT / "experiments/results/bert_news_robust.json").read_text())
    right = {name: np.arange(40) < count for name, count in (("bert", 26), ("bert_robust", 25))}
    attacked = {
        name: AttackResult(np.ones(40, bool), {"slips": {"in 2%, at most": right[name]}}) for name in right
    }
    record["gains"] = [dataclasses.asdict(gain) for gain in attack_comparisons(attacked, "documents")]
    (tmp_path / "mine.json").write_text(json.dumps(record))
    cost, worth = record["gains"]
    told = render_results.comparisons(tmp_path, render_results.UNDER_ATTACK)
    assert told == f"- [mine](results/README.md#mine): {worth['sentence']}.\n"
    assert cost["sentence"] not in told
    assert "made no difference that 40 documents can show" in worth["sentence"]
    assert f"| under attack | {worth['sentence']} |" in render_results.headlines(tmp_path)


def test_a_table_of_small_forms_is_rendered(render_results, tmp_path):
    record = json.loads((ROOT / "experiments/results/vgg_to_bert.json").read_text())
    head = ["form", "MB", "size to float32", "accuracy", "points to float32", "ms, one by one"]
    row = ["LiteRT, int8 weights", 25.92, 0.27503, 0.97, -0.1, 12.34]
    record["tables"] = [{"caption": "Small forms", "head": head, "rows": [row]}]
    (tmp_path / "vgg_to_bert.json").write_text(json.dumps(record))
    rendered = render_results.render(tmp_path)
    assert "| LiteRT, int8 weights | 25.9 | 27.5% | 97.00% | -0.10 | 12.3 |" in rendered


def test_a_served_export_is_rendered_beside_keras(render_results, tmp_path):
    record = json.loads((ROOT / "experiments/results/engine.json").read_text()) | {"bench": "serving"}

    def call(request):
        time.sleep(0.001)
        return np.array([[0.25, 0.75]])

    record |= {"image_size": 32, "requests": 4, "batch_size": 64, "batches": 1, "repeats": 3}
    record |= {name: compare_ways(call, call, [b"one", b"two"]) for name in ("serving_default", "text")}
    (tmp_path / "serving.json").write_text(json.dumps(record))
    rendered = render_results.render(tmp_path)
    assert re.search(r"\| an image alone, milliseconds: median \(95th percentile\) \| \d\.\d \(", rendered)
    assert "Largest difference of a probability: 0.0e+00." in rendered
    assert "3 rounds of 4 requests and of 1 batches" in rendered
    ours, other = (round(record["serving_default"]["one"][f"{side}_median"]) for side in ("first", "second"))
    told = f"| {words.ENGLISH['served alone']}: {ours} | Keras `predict`: {other}; "
    assert told in render_results.headlines(tmp_path)


def test_an_ablation_of_fusion_is_rendered(render_results, tmp_path):
    record = json.loads((ROOT / "experiments/results/vgg_to_bert.json").read_text())
    record["flags"] = [
        "--experiment=fusion" if flag.startswith("--experiment") else flag for flag in record["flags"]
    ] + ["--pairs=csv:data/words.csv.gz"]
    record["facts"] = {"errors of fused to those of text_only": 0.4321, "temperature of fused_late": 1.5}
    head = ["model", "with both sides", "without texts"]
    rows = [["fused_early", "95.00% (a to b)", "79.00%"], ["fused_late", "94.00%", "78.00%"]]
    record["tables"] = [
        {"caption": "Test accuracy when a side is missing", "head": head, "rows": rows},
    ]
    (tmp_path / "fusion.json").write_text(json.dumps(record))
    rendered = render_results.render(tmp_path)
    assert "## fusion\n\n`--pairs=csv:words.csv.gz`, seed" in rendered
    assert "| pairs | log loss |" in rendered
    assert "| fused_early | 95.00% (a to b) | 79.00% |" in rendered
    assert ". Errors of fused to those of text_only: 0.43.\n" in rendered
    assert "temperature" not in rendered


def test_what_the_changes_name_exists():
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", (ROOT / "CHANGELOG.md").read_text())
    assert named
    for path in named:
        assert (ROOT / path).exists(), path


def test_every_record_can_be_traced():
    for path in (ROOT / "experiments/results").glob("*.json"):
        record = json.loads(path.read_text())
        assert re.fullmatch(r"[0-9a-f]{40}", record["commit"]), f"{path.name} comes from an uncommitted tree"
        assert record["flags"]
        assert record["hardware"]["cpu"]
        assert record["wall_seconds"] > 0


def test_ci_runs_the_commands_of_the_readme():
    ci = (ROOT / ".ci/run").read_text()
    install, test = re.search(r"^(pip install .*'\.\[test\]') && (pytest .*)$", README, re.MULTILINE).groups()
    assert install.removeprefix("pip install") in ci.replace("--quiet ", "")
    assert f"\n{test}\n" in ci


def test_the_hosts_of_the_readme_and_of_the_manifest_find_their_places():
    told = re.findall(r"TF_CONFIG='(.*?)'", README)
    assert [current_worker("multi_worker", {"TF_CONFIG": config}) for config in told] == [
        Worker(0, 2),
        Worker(1, 2),
    ]
    manifest = (ROOT / "experiments/kubernetes.yaml").read_text()
    template = re.search(r"value: >-\n(.*?)\n +volumeMounts", manifest, re.DOTALL)[1]
    for index in range(2):
        config = template.replace("$(INDEX)", str(index))
        assert current_worker("multi_worker", {"TF_CONFIG": config}) == Worker(index, 2)
    # The names are those that Kubernetes gives the pods of an indexed job.
    assert [f"xmodal-{index}.xmodal:9000" in template for index in range(3)] == [True, True, False]
    assert manifest.count("\n  name: xmodal\n") == 2
    assert "subdomain: xmodal\n" in manifest


@pytest.mark.parametrize("name", PAGES)
def test_every_flag_and_file_that_a_page_names_exists(name):
    page = PAGES[name]
    known = set(flags.flag_names()) | {"help", "flagfile"}
    shell = "\n".join([*blocks(page, "sh"), *re.findall(r"`(--[^`]*)`", page)])
    # TensorBoard's, pytest-xdist's, and those of the smaller commands.
    of_others = {
        "logdir",
        "dist",
        "output",
        "index",
        "model",
        "clear_cache",
        "sheet",
        "why",
        "audio",
        "listener",
    }
    # TensorFlow's saved_model_cli.
    of_others |= {"all", "dir", "tag_set", "signature_def", "input_exprs"}
    assert set(re.findall(r"--([a-z_]+)", shell)) - of_others <= known
    for path in re.findall(r"experiments/[\w./]+", page):
        assert (ROOT / path).exists(), path


def test_the_dockerfile_runs_the_commands_of_the_readme():
    dockerfile = (ROOT / "Dockerfile").read_text()
    install, run = README.split("```sh\n")[1].splitlines()[0].split(" && ")
    assert install.removeprefix("pip install").removesuffix(" .") + ' ".${EXTRAS}"' in dockerfile
    started = json.loads(dockerfile.split("CMD ")[1].replace("\\\n", ""))
    assert " ".join(started).startswith(run)
    with flagsaver.flagsaver():
        flags.parse(["run", *started[3:]])
    assert "pytest " + README.split("pytest ")[1].splitlines()[0] in dockerfile


def test_what_larger_jobs_would_cost_is_reckoned_rightly():
    # A ring of two sends half of the gradients twice, one of many nearly all of them twice.
    assert sent_bytes(2, parameters=10) == 40
    assert sent_bytes(1000, parameters=10) == pytest.approx(80, rel=0.002)
    assert sent_bytes(1, parameters=10) == 0
    engine = {"workers_batch_size": 100, "workers": {"images of 32 pixels": {"first": 50, "second": 100}}}
    lost, compute, exchange = exchange_seconds(engine)
    assert (lost, compute) == (1, 1)
    assert exchange == pytest.approx(2 * 63 / 64)
    # The mixture of the most probable names alone: what is left out bounds what a product changes by.
    random = np.random.default_rng(0)
    names, text = (
        rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in random.normal(size=(2, 500, 16))
    )
    shares = random.dirichlet(np.full(500, 0.01))
    left_out = np.argsort(-shares)[5:]
    difference = np.abs(text @ (shares[left_out] @ names[left_out])).max()
    assert 0 < difference <= shares[left_out].sum()
