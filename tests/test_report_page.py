"""The report of joined folders: what stands in it, and what cannot get into it."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from result_folders import Arm, Folder

from diffshortcut.errors import UserError
from diffshortcut.report import figures, loaded, matrix, paper, pictures, plots
from diffshortcut.report.__main__ import main, write
from diffshortcut.report.labels import Described, places, shown_defense, undefended
from diffshortcut.statistics.comparison import people_means

EVIL = "<script>alert(1)</script>"
ARMS = [Arm("none"), Arm("aspl"), Arm("aspl", "jpeg"), Arm("aspl", "ours")]


def data_of(page):
    """The data that the page's script shows."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with hostile names, a claim and a flag, and where it was written."""
    tmp_path = tmp_path_factory.mktemp("report")
    people = [EVIL, *(f"person_{n:03}" for n in range(7))]
    arms = [Arm(a.attack, a.purifier, prompt=f"a photo of {EVIL}") for a in ARMS]
    claim = {"metric": "ims", "arm": "aspl+ours", "rivals": ["aspl", "aspl+jpeg"]}
    flags = {"aspl": {"weaker_than_noise": {EVIL: f"as {EVIL}"}}}
    folder = Folder(tmp_path, "table", arms, people, [claim], flags).write()
    write([folder], tmp_path / "out", megabytes=5)
    return (tmp_path / "out" / "report.html").read_text(), tmp_path / "out"


def test_names_and_prompts_are_escaped(page):
    text, _ = page
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    arms = data_of(text)["arms"]
    assert EVIL in arms[0]["pictures"]  # whole, for the script, which makes text of it
    assert arms[0]["pictures"][EVIL]["generated"][0][1] == f"a photo of {EVIL}"
    assert text.count("<script") == 2


def test_the_page_may_load_nothing(page):
    text, _ = page
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src &#39;none&#39;; img-src data:")
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)
    assert "url(" not in text.replace("url(#", "")


def test_figures_and_tables_are_written(page):
    _, out = page
    figures = {path.name for path in (out / "figures").iterdir()}
    assert {"matrix-ims.pdf", "matrix-ims.svg", "cost-aspl.pdf", "scores.pdf"} <= figures
    tables = (out / "tables" / "matrix.md").read_text()
    assert "| ours | - | **0.37**\\* ± 0.05 |" in tables
    assert "| jpeg | - | <u>0.12</u> ± 0.05 |" in tables
    tex = (out / "tables" / "matrix.tex").read_text()
    assert r"\textbf{0.37}*$\pm$0.05" in tex
    assert r"{\footnotesize Mean $\pm$ standard deviation" in tex
    lines = list(csv.DictReader((out / "tables" / "matrix.csv").open()))
    [best] = [r for r in lines if r["metric"] == "ims" and r["rank"] == "1"]
    assert (best["defense"], best["people"], best["star"]) == ("ours", "8", "*")
    assert float(best["low"]) < float(best["mean"]) < float(best["high"])


def test_negative_figures_of_the_latex_matrix_have_a_minus(tmp_path):
    results = loaded.load([Folder(tmp_path, "table", ARMS).write()])
    means = {
        key: {person: value - 1 for person, value in people.items()}
        for key, people in people_means(results.rows).items()
    }
    paper.write(matrix.matrices(results, means), tmp_path)
    tex, markdown = ((tmp_path / f"matrix.{kind}").read_text() for kind in ("tex", "md"))
    assert r"\textbf{$-$0.69}$\pm$0.01" in tex and "**-0.69** ± 0.01" in markdown
    assert "-0." not in tex.replace("$-$", "")


def test_a_p_value_that_is_none_is_told_in_one_line(tmp_path):
    claim = {"metric": "ims", "arm": "aspl+ours", "rivals": ["aspl"]}
    folder = Folder(tmp_path, "table", ARMS, claims=[claim]).write()
    file = folder / "comparison.json"
    compared = json.loads(file.read_text())
    compared["verdicts"][0]["p_value"] = float("nan")
    file.write_text(json.dumps(compared))
    with pytest.raises(UserError, match=r"comparison.json: the p-value .* is nan"):
        loaded.load([folder])


def test_cells_carry_means_flags_and_provenance(page):
    text, _ = page
    arm = next(a for a in data_of(text)["arms"] if a["name"] == "aspl")
    assert arm["flags"] == {"weaker_than_noise": {EVIL: f"as {EVIL}"}}
    assert arm["means"]["IMS"].startswith("0.065 [")
    rows = arm["stages"]["person_000"]
    assert [row[0] for row in rows] == ["protect", "personalize", "generate"]
    assert {tuple(row[2:]) for row in rows} == {("2.5 s", "900 MB", "cpu", "abc", "-")}
    assert "instance_prompt" in arm["config"]
    assert arm["differences"][0][0] == "clean"


def test_a_stage_that_ran_out_of_memory_says_so():
    from diffshortcut.report.page import _stages

    told = {"key": "k", "seconds": 1, "peak_memory": 0, "device": "cuda", "git": f"{'ab' * 20}+"}
    starved = {**told, "git": None, "out_of_memory": [8, 4]}
    one, other = _stages({"protect": {**told, "out_of_memory": []}, "personalize": starved})
    assert one[4:] == ["cuda", "abababab+", "-"]
    assert other[4:] == ["cuda", "-", "micro-batch halved (out of memory)"]


def test_pictures_are_thinned_out_evenly(tmp_path):
    results = loaded.load([Folder(tmp_path, "table", ARMS).write()])
    whole = pictures.collect(results.entries, [], megabytes=1)
    assert whole.left_out == 0
    album = pictures.collect(results.entries, [], megabytes=whole.megabytes * 0.7)
    assert album.megabytes <= whole.megabytes * 0.7
    shown = [set(people) for people in album.shown.values()]
    assert len(shown) == 4 and all("person_000" in people for people in shown)
    assert album.left_out == 8 - sum(map(len, shown)) > 0
    assert f"Thinned out: {album.left_out} cells" in album.remark()


def test_without_the_store_there_are_no_pictures(tmp_path):
    folder = Folder(tmp_path, "table", ARMS).write()
    (tmp_path / "store").rename(tmp_path / "moved")
    entries = loaded.load([folder]).entries
    album = pictures.collect(entries, [], megabytes=1)
    assert not album.images and "the artifacts of 8 cells" in album.remark()
    found = pictures.collect(entries, [tmp_path / "moved"], megabytes=1)
    assert found.remark().startswith("Pictures of 8 cells")


def test_folders_are_joined_by_what_their_arms_are(tmp_path):
    """Called alike but configured differently: two; equal: one, with the people of both."""
    one = Folder(tmp_path, "one", [*ARMS[:2], Arm("aspl", "jpeg")]).write()
    arms = [ARMS[0], Arm("aspl", radius=4), Arm("aspl", "jpeg", radius=4)]
    two = Folder(tmp_path, "two", arms, ["person_000", "person_001", "person_002"]).write()
    results = loaded.load([one, two])
    found = {(e.place.attack, e.place.defense): e for e in results.entries}
    assert set(found) == {
        ("clean", "none"),
        ("aspl, radius 11", "none"),
        ("aspl, radius 11", "jpeg"),
        ("aspl, radius 4", "none"),
        ("aspl, radius 4", "jpeg"),
    }
    assert found["clean", "none"].folders == [one, two]
    means = people_means(results.rows)
    assert len(means["clean", "ims"]) == 3
    lines = matrix.curves(results, means, "ims")["aspl"]
    assert {name: [p.x for p in points] for name, points in lines.items()} == {
        "none": [4, 11],
        "jpeg": [4, 11],
    }
    assert [p.estimate.value for p in lines["jpeg"]] == pytest.approx([0.135, 0.055])


PEOPLE = [f"person_{n:03}" for n in range(8)]


def claimed(tmp_path, name, attack, people=PEOPLE):
    """A folder of a sweep: one claim of its own, and one of an arm that all of them have."""
    arms = [Arm("none"), Arm(attack), Arm(attack, "ours"), Arm("none", "ours")]
    own = {"metric": "ims", "arm": f"{attack}+ours", "rivals": [attack]}
    shared = {"metric": "ims", "arm": "clean+ours", "rivals": ["clean"]}
    return Folder(tmp_path, name, arms, people, [own, shared]).write()


def stars(results):
    return {entry.name: entry.stars for entry in results.entries if entry.stars}


def test_claims_of_joined_folders_are_one_family(tmp_path):
    one, two = claimed(tmp_path, "one", "aspl"), claimed(tmp_path, "two", "advdm")
    alone = loaded.load([one])
    assert stars(alone) == {"aspl+ours": {"ims"}, "clean+ours": {"ims"}}
    results = loaded.load([one, two])
    adjusted = [v["adjusted"] for verdicts in results.verdicts.values() for v in verdicts]
    assert adjusted == [4 * 0.5**8] * 4 and stars(results) == {}


def test_a_sweeps_claims_are_one_family_though_some_of_its_jobs_lack(tmp_path):
    """Three of 14 declared, of one experiment; another's are counted besides."""

    def folder(name, experiment, attack, family=None):
        claim = {"metric": "ims", "arm": f"{attack}+ours", "rivals": [attack]}
        arms = [Arm("none"), Arm(attack), Arm(attack, "ours")]
        made = Folder(tmp_path, name, arms, PEOPLE, [claim], family=family).write()
        return of_experiment(made, experiment)

    one, two = (folder(a, "table1", a, family=14) for a in ("aspl", "advdm"))
    other = folder("other", "table4", "aspl")
    for folders, family in (([one], 14), ([one, two], 14), ([one, two, other], 15)):
        verdicts = [v for found in loaded.load(folders).verdicts.values() for v in found]
        assert {v["adjusted"] for v in verdicts} == {family * 0.5**8}
    write([one, two], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Holm's correction is over 14:" in page


def test_the_scores_of_every_arm_are_bars_if_a_page_has_room_for_them(page, tmp_path):
    text, _ = page
    section = text.partition('<section id="scores"')[2].partition("</section>")[0]
    assert section.count("</th><td") == 3 * len(ARMS) and "aspl+ours, IMS</th>" in section
    for name, arms, drawn in (("one", 1, 0), ("some", plots.MOST, 1), ("many", plots.MOST + 1, 0)):
        listed = [Arm("aspl", called=f"aspl {n}", radius=n) for n in range(arms)]
        results = loaded.load([Folder(tmp_path, name, listed).write()])
        assert len(list(plots.of_scores(results, people_means(results.rows)))) == drawn, name


def test_models_tell_arms_apart_by_their_weights() -> None:
    """What they are made of besides, such as an autoencoder that two share, goes without saying."""

    def at(weights: str, autoencoder: str) -> Described:
        model = {"autoencoder": f"mini:{autoencoder}", "weights": f"mini:{weights}"}
        config = {"attack": {"model": model}, "trainer": {"model": model}}
        return Described(weights, f"aspl+{weights}", config, {"attack": "aspl"})

    found = places([at("a", "a"), at("b", "a"), at("c", "c")])
    assert [place.attack for place in found.values()] == [f"aspl, model mini:{x}" for x in "abc"]


def test_an_undefended_arm_of_another_model_is_undefended() -> None:
    """It is no rival of the defenses, and is called by what tells it apart."""
    said = ("none", "none, model mini:mini_b", "none [seeded]")
    assert all(map(undefended, said)) and not undefended("nonesuch, model mini:mini_b")
    assert shown_defense(said[1]) == "undefended, model mini:mini_b"
    assert shown_defense("ours, model mini:mini_b") == "ours, model mini:mini_b"


def test_what_figures_1_and_2_measure_is_drawn(tmp_path):
    """Rows of nothing else are a report too."""
    folder = tmp_path / "figure2"
    folder.mkdir()
    unit = {"better": "lower", "sample": 0}
    measured = [
        {"arm": arm, "person": f"p{n}", "metric": f"mismatch.{of}", "value": 0.1 * n, **unit}
        for arm in ("aspl", "$\\frac$ <b>")
        for n in range(8)
        for of in ("protected", "purified", "../../x")
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in measured))
    write([folder], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    section = page.partition('<section id="noise"')[2].partition("</section>")[0]
    assert "aspl, purified</th><td" in section and "0.350 [" in section
    assert "<b>" not in section and "&lt;b&gt;" in section
    drawn = sorted(file.name for file in (tmp_path / "report" / "figures").glob("*.svg"))
    assert drawn == [
        "bars-mismatch.svg",
        "matrix-mismatch.protected.svg",
        "matrix-mismatch.purified.svg",
    ]
    assert "mismatch.purified" in (tmp_path / "report" / "tables" / "matrix.md").read_text()


def test_a_star_stands_where_all_rows_are_of_the_folder_that_won_it(tmp_path):
    people = [f"person_{n:03}" for n in range(12)]
    one = claimed(tmp_path, "one", "aspl", people)
    two = claimed(tmp_path, "two", "advdm", people)
    assert stars(loaded.load([one, two])) == {"aspl+ours": {"ims"}, "advdm+ours": {"ims"}}


def test_arms_of_other_scores_crops_or_data_are_others(tmp_path):
    cases = {
        "metric": {"metric": {"ims": {"_target_": "legacy"}}},
        "crop": {"crop": {"_target_": "face"}},
        "data": {"data": {"_target_": "absent.others"}},
    }
    usual = Folder(tmp_path, "usual", [Arm("none")]).write()
    for name, more in cases.items():
        other = Folder(tmp_path, name, [Arm("none", more=more)], ["person_009"]).write()
        assert len(loaded.load([usual, other]).entries) == 2, name
    fewer = {"data": {"_target_": "absent.people", "people": 1}, "metric": {"faithfulness": {}}}
    same = Folder(tmp_path, "same", [Arm("none", more=fewer)], ["person_009"]).write()
    assert len(loaded.load([usual, same]).entries) == 1


def test_no_defense_is_best_among_other_people(tmp_path):
    one = Folder(tmp_path, "one", [ARMS[1], Arm("aspl", "jpeg")]).write()
    two = Folder(tmp_path, "two", [Arm("aspl", "ours")], ["person_007"]).write()

    def ims(*folders):
        results = loaded.load(folders)
        return matrix.matrices(results, people_means(results.rows))[0]

    same = Folder(tmp_path, "same", [Arm("aspl", "ours")]).write()
    assert {c.rank for c in ims(one, same).cells.values()} == {0, 1, 2}
    found = ims(one, two)
    assert {c.rank for c in found.cells.values()} == {0} and found.unranked == ["aspl"]
    write([one, two], tmp_path / "out")
    said = "No best defense is marked where not all were measured on the same people: aspl."
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert said in (tmp_path / "out" / "tables" / "matrix.md").read_text()


def test_cost_is_the_purification_alone_as_far_as_the_rows_tell(tmp_path):
    folder = Folder(tmp_path, "run", [Arm("aspl", "jpeg")]).write()
    results = loaded.load([folder])
    means = people_means(results.rows)

    def seconds(means):
        [point] = matrix.costs(results, means, "ims")["aspl"]
        return point.x

    assert seconds(means) == 2  # 1.5 and 2.5
    old = {key: of for key, of in means.items() if "purification" not in key[1]}
    assert seconds(old) == 10  # 9.5 and 10.5: the stage's wall time
    chain = {**means, ("aspl+jpeg", "seconds.purify.sr"): {"person_000": 4.0}}
    assert seconds(chain) == 6


def test_a_curve_joins_no_variants(tmp_path):
    def at(radius, steps):
        node = {"_target_": "aspl", "radius": radius, "steps": steps}
        return Arm("aspl", called=f"aspl-{radius}-{steps}", more={"attack": node})

    arms = [at(4, 10), at(11, 10), at(4, 20)]
    results = loaded.load([Folder(tmp_path, "one", arms).write()])
    found = matrix.curves(results, people_means(results.rows), "ims")
    assert {name: [p.x for p in lines["none"]] for name, lines in found.items()} == {
        "aspl, steps 10": [4, 11]
    }


def test_a_picture_that_is_broken_is_absent_and_a_full_page_encodes_no_more(tmp_path, monkeypatch):
    folder = Folder(tmp_path, "table", ARMS).write()
    next(tmp_path.glob("store/generate/generate-aspl-11-jpeg-0/images/0-00.png")).write_text("x")
    entries = loaded.load([folder]).entries
    album = pictures.collect(entries, [], megabytes=1)
    assert album.absent == 1 and "or they are broken" in album.remark()
    encoded = []
    monkeypatch.setattr(pictures, "_uri", lambda path: encoded.append(path) or "x" * 1000)
    album = pictures.collect(entries, [], megabytes=0.0025)
    assert album.left_out == 8 and len(encoded) < 8  # nothing after the first cell


def test_worst_of_arms_are_put_together_again(tmp_path):
    arms = [*(Arm(a, "ours") for a in ("aspl", "advdm")), Arm("none")]
    worst = {"adaptive": ["aspl+ours", "advdm+ours"]}
    claim = {"metric": "ims", "arm": "clean", "rivals": ["adaptive"]}
    people = [f"person_{n:03}" for n in range(8)]
    folder = Folder(tmp_path, "one", arms, people, [claim], {}, worst).write()
    results = loaded.load([folder])
    [entry] = [e for e in results.entries if e.name == "adaptive"]
    assert (entry.place.attack, entry.place.defense) == ("adaptive", "ours")
    [of_ims, *_] = matrix.matrices(results, people_means(results.rows))
    assert of_ims.cells["adaptive", "ours"].value == of_ims.cells["aspl", "ours"].value
    assert stars(results) == {} and not results.verdicts["one"][0]["star"]
    (folder / "comparison.json").unlink()
    assert "adaptive" not in {e.name for e in loaded.load([folder]).entries}


def test_an_old_record_is_taken_at_its_arms_names(tmp_path):
    folder = Folder(tmp_path, "old", [ARMS[0], Arm("aspl", called="protected"), ARMS[2]]).write()
    record = json.loads((folder / "record.json").read_text())
    del record["choices"]
    (folder / "record.json").write_text(json.dumps(record))
    found = {e.name: e.place for e in loaded.load([folder]).entries}
    assert (found["protected"].attack, found["protected"].defense) == ("aspl", "none")
    assert (found["aspl+jpeg"].attack, found["aspl+jpeg"].defense) == ("aspl", "jpeg")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("record.json", "[]"),
        ("record.json", '{"choices": null, "arms": {"clean": {}}}'),
        ("comparison.json", '{"verdicts": [{}]}'),
        ("comparison.json", "[" * 100_000),
    ],
)
def test_a_record_of_another_form_is_said(tmp_path, name, text):
    folder = Folder(tmp_path, "old", ARMS).write()
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=f"old.*{name}"):
        loaded.load([folder])


def test_trainers_are_named_only_where_they_differ():
    def arm(name, **choices):
        config = {"attack": {}, "purifier": {}, "trainer": choices, "sampler": {}}
        return Described(name, name, config, {"attack": "none", "sampler": "plain", **choices})

    found = places(
        [
            arm("a", purifier="none", trainer="dreambooth"),
            arm("b", purifier="none", trainer="cdl"),
            arm("c", purifier="ours", trainer="cdl"),
        ]
    )
    assert [place.defense for place in found.values()] == ["none", "cdl", "ours"]


def test_a_folder_without_rows_is_the_user_s_to_mend(tmp_path):
    with pytest.raises(UserError, match="results of a run hold rows.jsonl"):
        write([tmp_path], tmp_path / "out")


def test_incomplete_folders_and_presets_are_told(tmp_path):
    folder = Folder(tmp_path, "half", ARMS).write()
    record = json.loads((folder / "record.json").read_text())
    record["choices"]["aspl"]["debug"] = "quick"
    (folder / "record.json").write_text(json.dumps(record))
    assert loaded.load([folder]).remarks == [
        "Made with debug=quick, numbers that mean nothing: half."
    ]
    (folder / "record.json").unlink()
    (folder / "comparison.json").unlink()
    remarks = " ".join(loaded.load([folder]).remarks)
    assert "No record.json" in remarks and "No comparison.json" in remarks


def test_the_command_imports_no_torch(tmp_path):
    code = (
        f"import sys; sys.argv = ['report', {str(tmp_path)!r}]\n"
        "from diffshortcut.report.__main__ import main\n"
        "try: main()\nexcept SystemExit as error: assert 'rows.jsonl' in str(error)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_values_that_change_rounding_only_are_no_other_arm(tmp_path):
    """Micro-batches of two machines: their people are pooled."""
    sizes = {"a": None, "b": 4}
    folders = [
        Folder(tmp_path, p, [Arm("aspl", more={"trainer": {"micro_batch": n}})], people=[p]).write()
        for p, n in sizes.items()
    ]
    [entry] = loaded.load(folders).entries
    assert entry.folders == folders


def test_figures_of_another_report_do_not_stay(tmp_path):
    folder = Folder(tmp_path, "table", ARMS).write()
    old = tmp_path / "out" / "figures" / "curve-of-before.pdf"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    write([folder], tmp_path / "out", megabytes=1)
    assert not old.exists() and list(old.parent.glob("*.pdf"))


def test_a_picture_is_called_by_the_prompt_that_its_person_has(tmp_path):
    folder = Folder(tmp_path, "table", [Arm("aspl")], people=["ann"]).write()
    [entry] = loaded.load([folder]).entries
    own = {"sampler": {"prompts": ["at the beach", "asleep"]}}
    entry.stages["ann"]["generate"]["config"] = own
    found = pictures._files(entry, entry.stages["ann"], [tmp_path / "store"])
    assert found["generated"][0][1] == "at the beach"


def test_no_whole_photo_stands_beside_a_part_of_it():
    cfg = {"data": {"_target_": "diffshortcut.data.portraits.people", "people": 1}}
    named = pictures._originals({**cfg, "crop": None})
    assert len(named) == 16  # all, whichever folder they are of
    assert pictures._originals({**cfg, "crop": {"_target_": "x"}}) == {}


def test_attacks_at_several_purifiers_are_rows_of_their_own():
    """The links of the one are the first of the other's; whose class it is nobody wants to read."""
    restorer = {"_target_": "x.CodeFormer", "fidelity": 0.5}
    targets = {"codeformer": {}, "codeformer_sr": {"sr": {"_target_": "x.Sr", "guidance": 9.0}}}
    strong = {"codeformer": {**restorer, "fidelity": 0.1}}

    def arm(name, target):
        attack = {"_target_": "x.Adaptive", "target": target, "radius": 16}
        config = {"attack": attack, "purifier": {}, "trainer": {}, "sampler": {}}
        return Described(name, name, config, {"attack": "adaptive", "purifier": "none"})

    arms = [arm(name, {"codeformer": restorer, **more}) for name, more in targets.items()]
    assert [place.attack for place in places(arms).values()] == [
        "adaptive, at codeformer",
        "adaptive, at codeformer_sr",
    ]
    found = places([*arms, arm("strong", strong)])
    assert [place.attack for place in found.values()] == [
        "adaptive, at codeformer, fidelity 0.5",
        "adaptive, at codeformer_sr, fidelity 0.5",
        "adaptive, at codeformer, fidelity 0.1",
    ]


def described(name, attack, choices=None, **config):
    given = {"attack": attack, "purifier": {}, "trainer": {}, "sampler": {}, **config}
    return Described(name, name, given, {"attack": "aspl", **(choices or {})})


def test_a_name_has_as_many_values_as_tell_it_from_all_others():
    nodes = [{"a": a, "b": b, "c": c} for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    found = places([described(f"arm {n}", node) for n, node in enumerate(nodes)])
    rows = [place.attack for place in found.values()]
    assert len(set(rows)) == 8 and rows[0] == "aspl, a 0, b 0, c 0"
    same = {"b": 1, "c": 1}
    found = places([described(f"arm {n}", {"a": n, **same}) for n in (0, 1)])
    assert [place.attack for place in found.values()] == ["aspl, a 0", "aspl, a 1"]


def test_what_no_value_tells_apart_has_the_name_of_its_first_arm():
    arms = [described(n, {"_target_": t}) for n, t in (("a", "x.One"), ("b", "x.Two"))]
    arms.append(described("c", {"_target_": "x.Two"}, purifier={"jpeg": {"quality": 75}}))
    found = [(place.attack, place.defense) for place in places(arms).values()]
    assert found == [
        ("aspl [a]", "none"),
        ("aspl [b]", "none"),
        ("aspl [b]", "none, quality 75"),
    ]


def test_defenses_that_differ_in_their_words_are_called_by_the_noise_token():
    def arm(token):
        sampler = {"negative_prompt": f"{token}, noisy, abstract, pattern, low quality"}
        prompts = {"noise_token": token, "instance": "a photo"}
        return described(token, {}, {"purifier": "ours"}, sampler=sampler, prompts=prompts)

    found = places([arm("UNKNOWN degraded quality"), arm("XX noisy pattern")])
    assert [place.defense for place in found.values()] == [
        "ours, UNKNOWN degraded quality",
        "ours, XX noisy pattern",
    ]


def test_a_long_value_is_cut_and_its_name_has_the_next_that_differs():
    words = "a photo of a person, high quality, highres, sharp, of a camera"
    arms = [described(n, {}, sampler={"prompts": [f"{words} {n}"], "w": n}) for n in "ab"]
    found = [place.defense for place in places(arms).values()]
    assert found == ["none, w a", "none, w b"]
    arms = [described(n, {}, sampler={"prompts": [f"{n} {words}"]}) for n in "ab"]
    found = [place.defense for place in places(arms).values()]
    assert found[0].startswith("none, prompts a a photo of") and found[0].endswith(" ...")
    assert all(len(name) < 60 for name in found)


def test_cost_is_shown_of_a_result_without_victims(tmp_path):
    """Table 2's: against how far the purified pictures are from clean ones."""
    write([Folder(tmp_path, "table2", ARMS, victims=False).write()], tmp_path / "out", megabytes=5)
    assert (tmp_path / "out" / "figures" / "cost-aspl.pdf").is_file()
    text = (tmp_path / "out" / "report.html").read_text()
    assert "aspl: perceptual, purified and the cost of each defense" in text
    assert "perceptual, purified ↓" in text


@pytest.mark.filterwarnings("error::UserWarning")  # matplotlib's, of a figure without room
def test_long_names_are_whole_in_figures(tmp_path):
    """Every name lies within its figure, though a defense is called by a sentence."""
    words = "a picture without noise, patterns, stripes and all else that {} makes, in any light"
    arms = [Arm("none"), Arm("aspl")]
    for name in ("JPEG", "Gaussian blur", "nobody"):
        said = {"purifier": {"ours": {"prompt": words.format(name)}}}
        arms.append(Arm("aspl", "ours", called=words.format(name), more=said))
    results = loaded.load([Folder(tmp_path, "table", arms).write()])
    results.entries[2:] = [
        replace(e, place=replace(e.place, defense=e.name)) for e in results.entries[2:]
    ]
    means = people_means(results.rows)
    [ims, *_] = matrix.matrices(results, means)
    [cost] = plots.over_cost(results, means)
    lines = {
        e.place.defense: [matrix.Point(x, matrix._mean((0.1, 0.2))) for x in (4, 11)]
        for e in results.entries
    }
    drawings = [(figures.heatmap(ims), figures.heatmap_size(ims)), (cost.draw, cost.size)]
    drawings.append((figures.curve("aspl", "ims", "higher", lines), figures.SIZE))
    for draw, size in drawings:
        figure = Figure(figsize=size, layout="constrained")
        with matplotlib.rc_context(figures.STYLE):
            draw(figure)
            figure.draw_without_rendering()
            texts = [t for t in figure.findobj(Text) if "picture without" in t.get_text()]
            texts = [text for text in texts if text.get_visible()]  # ticks have one on each side
            assert len(texts) == 3
            for text in texts:
                box = text.get_window_extent()
                assert box.x0 >= 0 and box.y0 >= 0, text
                assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text


def test_a_folder_that_is_named_twice_counts_once(tmp_path):
    folder = claimed(tmp_path, "one", "aspl")
    once, twice = (loaded.load([folder] * times) for times in (1, 2))
    assert (twice.family, stars(twice)) == (once.family, stars(once)) == (2, stars(once))
    (tmp_path / "link").symlink_to(folder)
    assert loaded.load([folder, tmp_path / "link"]).family == 2
    assert [e.folders for e in twice.entries] == [e.folders for e in once.entries]


def of_experiment(folder, name):
    """The same folder, made by an experiment."""
    record = json.loads((folder / "record.json").read_text())
    for choices in record["choices"].values():
        choices["experiment"] = name
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def test_a_claim_that_is_made_again_of_fewer_people_counts_once(tmp_path):
    """Its tests are all corrected over the two of the experiment."""
    full = of_experiment(claimed(tmp_path, "full", "aspl"), "table4")
    some = of_experiment(claimed(tmp_path, "some", "aspl", PEOPLE[:6]), "table4")
    results = loaded.load([some, full])
    found = {t: [v["adjusted"] for v in of] for t, of in results.verdicts.items()}
    assert results.family == 2
    assert found == {"full": [2 * 0.5**8] * 2, "some": [0.5**6] * 2}  # the larger p comes last
    starred = {t: {v["star"] for v in of} for t, of in results.verdicts.items()}
    assert starred == {"full": {True}, "some": {False}}
    assert loaded.load([full, of_experiment(some, "table5")]).family == 4


def test_a_claim_that_is_made_again_of_other_people_is_another_test(tmp_path):
    """Two chances of a star are corrected as two."""
    others = [f"person_{n:03d}" for n in range(20, 28)]
    one, two = (
        of_experiment(claimed(tmp_path, name, "aspl", people), "table4")
        for name, people in (("one", PEOPLE), ("two", others))
    )
    assert stars(loaded.load([one])) == stars(loaded.load([two])) != {}
    results = loaded.load([one, two])
    found = {(v["adjusted"], v["star"]) for of in results.verdicts.values() for v in of}
    assert results.family == 4 and found == {(4 * 0.5**8, False)}


def test_another_seed_makes_other_claims_and_one_that_was_not_measured_counts_once(tmp_path):
    own = {"metric": "ims", "arm": "aspl+ours", "rivals": ["aspl"]}
    absent = {"metric": "style", "arm": "aspl+ours", "rivals": ["aspl"]}

    def folder(name, people, seed):
        more = {"seed": seed, "compare": {"claims": [own, absent]}}
        arms = [Arm(*of, more=more) for of in (("none",), ("aspl",), ("aspl", "ours"))]
        made = Folder(tmp_path, name, arms, PEOPLE[:people], [own, absent]).write()
        return of_experiment(made, "table4")

    full, some, other = folder("full", 8, 0), folder("some", 2, 0), folder("other", 8, 1)
    assert loaded.load([full, some]).family == 2
    assert loaded.load([full, other]).family == 4


def test_families_that_no_experiment_joins_are_added(tmp_path):
    claim = {"metric": "ims", "arm": "aspl+ours", "rivals": ["aspl"]}
    arms = [Arm("none"), Arm("aspl"), Arm("aspl", "ours")]
    folders = [
        Folder(tmp_path, name, arms, PEOPLE, [claim], family=family).write()
        for name, family in (("one", 5), ("two", 14))
    ]
    assert loaded.load(folders).family == 19


def test_equal_arms_of_other_names_are_one_rival(tmp_path):
    """What table5 calls perturbed is what table4 calls nothing; the page says so."""
    jpeg = Arm("aspl", "jpeg")
    one = Folder(tmp_path, "one", [Arm("none"), Arm("aspl", called="nothing"), jpeg]).write()
    again = [Arm("aspl", "ours"), Arm("aspl", "jpeg", called="a blur")]
    again.append(Arm("aspl", called="perturbed"))
    two = Folder(tmp_path, "two", again).write()
    results = loaded.load([one, two])
    assert [e.name for e in results.entries] == ["clean", "nothing", "aspl+jpeg", "aspl+ours"]
    said = "Equal arms have one name here: perturbed of two is nothing, a blur of two is aspl+jpeg."
    assert said in results.remarks
    [ims, *_] = matrix.matrices(results, people_means(results.rows))
    assert {d: c.rank for (_, d), c in ims.cells.items()} == {"none": 0, "jpeg": 2, "ours": 1}


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "many"])
def test_megabytes_are_a_number(tmp_path, monkeypatch, capsys, number):
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path), "--megabytes", number])
    with pytest.raises(SystemExit):
        main()
    assert f"invalid number value: '{number}'" in capsys.readouterr().err


def test_a_file_of_rows_is_answered_with_its_folder(tmp_path):
    folder = Folder(tmp_path, "run", ARMS).write()
    with pytest.raises(
        UserError, match=f"rows.jsonl is a file: .* folder of the results, {folder}"
    ):
        loaded.load([folder / "rows.jsonl"])
