"""The written record: read back, in the right units, with nothing that is not a number."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from diffshortcut.errors import UserError
from diffshortcut.report import gallery, summary
from diffshortcut.report.sheet import NAME, Sheet

MODEL = {"_target_": "load", "weights": "mini:mini_a"}
TRAINER = {"_target_": "dreambooth", "model": MODEL}
PLAIN = {"purifier": {}, "trainer": TRAINER, "sampler": {"_target_": "plain"}}


@dataclass(frozen=True)
class Arm:
    name: str
    attack: str
    defense: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        surrogate = {"surrogate": MODEL} if self.attack in ("aspl", "metacloak") else {}
        return {**PLAIN, "attack": {"_target_": self.attack, **surrogate}, **self.defense}


ARMS = [
    Arm("clean", "none"),
    Arm("aspl", "aspl"),
    Arm("metacloak", "metacloak"),
    Arm("metacloak+ours", "metacloak", {"purifier": {"sr": {}}, "trainer": {"_target_": "cdl"}}),
    Arm("clean+cdl", "none", {"trainer": {"_target_": "cdl"}}),
]
LEVEL = {"clean": 0.6, "aspl": 0.2, "metacloak": 0.1, "metacloak+ours": 0.5, "clean+cdl": 0.7}


def rows(people, samples=2):
    return [
        {
            "arm": arm.name,
            "person": f"person_{p}",
            "metric": metric,
            "value": LEVEL[arm.name] + p / 1000 + s / 10000 + shift,
            "prompt": "a photo of sks person",
            "sample": s,
            "better": "higher",
        }
        for arm in ARMS
        for p in range(people)
        for s in range(samples)
        for metric, shift in (("ims", 0.0), ("q", 0.1))
    ]


@pytest.fixture
def pictures(tmp_path):
    path = tmp_path / "face.png"
    Image.new("RGB", (64, 64), "red").save(path)
    columns = {"original": [path] * 2, "protected": [path], "generated": [path] * 5}
    return {arm.name: columns for arm in ARMS}


def written(tmp_path, pictures, people, compare=None, **others):
    folder = tmp_path / "out"
    given = {"arms": ARMS, "rows": rows(people), "compare": compare or {}, **others}
    facts = summary.summarize(**given)
    summary.write(facts, folder=folder, gallery=pictures)
    return facts, folder


def test_baselines_follow_the_attack():
    found = summary.baselines(ARMS, "clean")
    assert found.of("clean") == []
    assert found.of("metacloak") == ["clean"]
    assert found.of("metacloak+ours") == ["clean", "metacloak"]
    assert found.of("clean+cdl") == ["clean"]
    assert summary.baselines(ARMS, "absent").of("aspl") == []


def test_declared_pairs_and_the_rivals_of_claims_are_compared(tmp_path, pictures):
    claim = {"metric": "ims", "arm": "metacloak+ours", "rivals": ["metacloak", "aspl"]}
    compare = {"claims": [claim], "pairs": [["clean+cdl", "metacloak"]]}
    facts, folder = written(tmp_path, pictures, people=8, compare=compare)
    record = json.loads((folder / "comparison.json").read_text())
    found = {(c["arm"], c["against"]): c for c in record["comparisons"] if c["metric"] == "ims"}
    assert found["metacloak+ours", "aspl"]["difference"]["value"] == pytest.approx(0.3)
    assert found["clean+cdl", "metacloak"]["difference"]["value"] == pytest.approx(0.6)
    assert facts.recoveries["clean+cdl", "metacloak"]["ims"].value == pytest.approx(0.6 / 0.5)
    tests = record["verdicts"][0]["tests"]
    assert {r: (t["n"], t["alternative"]) for r, t in tests.items()} == {
        "metacloak": (8, "greater"),
        "aspl": (8, "greater"),
    }


def test_only_of_what_an_undefended_arm_lost_a_share_is_won_back(tmp_path, pictures):
    pairs = [["metacloak+ours", "aspl"], ["clean+cdl", "metacloak+ours"], ["clean+cdl", "aspl"]]
    facts, folder = written(tmp_path, pictures, people=8, compare={"pairs": pairs})
    assert {key: found["ims"].value for key, found in facts.recoveries.items()} == pytest.approx(
        {
            ("metacloak+ours", "metacloak"): 0.4 / 0.5,
            ("metacloak+ours", "aspl"): 0.3 / 0.4,
            ("clean+cdl", "aspl"): 0.5 / 0.4,
        }
    )
    assert "| metacloak+ours | metacloak | 0.800 [" in (folder / "table.md").read_text()


def test_a_comparison_with_a_share_of_nothing_is_written(tmp_path, pictures):
    people = {f"person_{p}" for p in range(3)}
    some = [{**row, "value": 0.0} if row["person"] in people else row for row in rows(8)]
    _, folder = written(tmp_path, pictures, people=8, rows=some)
    assert json.loads((folder / "comparison.json").read_text())["recoveries"] == []


def test_nothing_is_won_back_where_the_protection_helped(tmp_path, pictures, monkeypatch):
    monkeypatch.setitem(LEVEL, "metacloak", 0.9)
    facts, _ = written(tmp_path, pictures, people=8)
    assert facts.recoveries == {}


def test_files_are_read_back(tmp_path, pictures):
    _, folder = written(tmp_path, pictures, people=8)
    kept = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert len(kept) == 5 * 8 * 2 * 3 and {row["metric"] for row in kept} == {"ims", "q", "overall"}
    record = json.loads((folder / "comparison.json").read_text())
    assert record["unit"] == "person"
    assert record["arms"]["clean"]["people"] == 8
    expected = 0.6 + 0.0035 + 0.00005
    assert record["arms"]["clean"]["means"]["ims"] == pytest.approx(expected)
    assert record["arms"]["clean"]["means"]["overall"] == pytest.approx(expected + 0.05)
    [won] = record["recoveries"]
    assert (won["arm"], won["protected"]) == ("metacloak+ours", "metacloak")
    share = won["shares"]["overall"]
    assert share["value"] == pytest.approx(0.8) and share["people"] == 8
    few, _ = written(tmp_path / "few", pictures, people=7)
    assert few.recoveries == {}  # no interval, so nothing says that there was a loss
    pair = next(
        c
        for c in record["comparisons"]
        if (c["metric"], c["arm"], c["against"]) == ("ims", "metacloak+ours", "metacloak")
    )
    assert pair["difference"]["value"] == pytest.approx(0.4)
    assert (pair["person_test"]["n"], pair["image_test"]["n"]) == (8, 16)
    assert pair["person_test"]["p_value"] == pytest.approx(2 / 2**8)


def test_declared_pairs_are_corrected_for_each_other(tmp_path, pictures):
    """IMS, of which one person-level p is 2 / 2^8, and what else is measured of it."""
    pairs = [["metacloak+ours", "metacloak"], ["metacloak", "clean"]]
    facts, folder = written(tmp_path, pictures, people=8, compare={"pairs": pairs})
    text, tests = (folder / "table.md").read_text(), len(facts.adjusted)
    assert {(arm, against) for arm, against, _ in facts.adjusted} == {tuple(p) for p in pairs}
    least = f"{tests * 2 / 2**8:.2g}"  # two-sided, of 8 people
    said = f"corrected for this job's {tests} tests of declared pairs (least p {least})"
    assert tests > 1 and said in text
    smallest = min(found.person_test.p_value for found in facts.comparisons)
    assert min(facts.adjusted.values()) == pytest.approx(tests * smallest)
    assert f"| +1.00 | 0.0078 | {tests * smallest:.2g} |" in text


def test_table_says_its_unit_and_stars_only_with_eight_people(tmp_path, pictures):
    claim = {"metric": "ims", "arm": "metacloak+ours", "rivals": ["metacloak"]}
    facts, folder = written(tmp_path, pictures, people=8, compare={"claims": [claim]})
    text = (folder / "table.md").read_text()
    assert "| metacloak+ours | 8 | 0.504* |" in text and "unit is the person (8 here)" in text
    difference = "| metacloak+ours - metacloak | IMS | +0.400 [+0.400, +0.400] | +1.00 | 0.0078 |"
    assert difference in text and "| metacloak+ours | metacloak | 0.800 [0.800, 0.800] |" in text
    assert "tests of declared pairs" not in text
    facts, folder = written(tmp_path, pictures, people=7, compare={"claims": [claim]})
    text = (folder / "table.md").read_text()
    assert "*" not in text.split("## Differences")[0] and "[" not in text
    assert "| metacloak+ours - metacloak | IMS | +0.400 | +1.00 | - |" in text
    assert "points only" in text and facts.verdicts[0].people == 7


def test_a_job_of_a_sweep_corrects_for_the_claims_of_all_its_jobs(tmp_path, pictures):
    claim = {"metric": "ims", "arm": "metacloak+ours", "rivals": ["metacloak", "aspl"]}
    alone, _ = written(tmp_path, pictures, people=8, compare={"claims": [claim]})
    family = {"claims": [claim], "family": 14}
    facts, folder = written(tmp_path, pictures, people=8, compare=family)
    assert alone.verdicts[0].star and not facts.verdicts[0].star
    assert facts.verdicts[0].adjusted == pytest.approx(14 * 0.5**8)
    record = json.loads((folder / "comparison.json").read_text())
    assert (record["declared"], record["family"]) == (1, 14)
    text = (folder / "table.md").read_text()
    assert "all declared claims (14, of which 1 are of this job)" in text


def test_a_claim_says_its_hardest_rival_its_test_and_what_it_could_reach(tmp_path, pictures):
    claim = {"metric": "ims", "arm": "metacloak+ours", "rivals": ["metacloak", "aspl"]}
    _, folder = written(tmp_path, pictures, people=8, compare={"claims": [claim], "family": 2})
    text = (folder / "table.md").read_text()
    assert (
        "* Claim metacloak+ours, IMS: hardest rival metacloak, p 0.0039, after Holm 0.0078 (exact,"
        " one-sided, n 8: least p 0.0039, after Holm 0.0078)." in text
    )
    assert "Wilcoxon signed-rank, two-sided, exact, zeros dropped (least p 0.0078)" in text
    assert "p, images: Wilcoxon over single images (exact)." in text
    _, folder = written(tmp_path, pictures, people=7, compare={"claims": [claim]})
    text = (folder / "table.md").read_text()
    assert "hardest rival metacloak; 7 people are too few for a test." in text


def of_family(people, *metrics):
    unit = {"prompt": None, "sample": 0, "better": "lower"}
    return [
        {"arm": arm.name, "person": f"person_{p}", "metric": metric, "value": 0.1 + p / 100, **unit}
        for arm in ARMS
        for p in range(people)
        for metric in metrics
    ]


@pytest.mark.parametrize("others", [[], rows(8)])
def test_what_figures_1_and_2_measure_stands_in_the_table(tmp_path, pictures, others):
    """Alone, and beside the scores of the personalized model."""
    measured = of_family(8, "mismatch.clean", "mismatch.purified", "shortcut_noise.class+token")
    measured += of_family(8, "mismatch.../../x", "something.else")
    _, folder = written(tmp_path, pictures, people=8, rows=[*others, *measured])
    text = (folder / "table.md").read_text()
    assert "| arm | clean ↓ | purified ↓ |" in text and "| arm | class+token ↓ |" in text
    assert "| metacloak | 0.135 [" in text and "else" not in text and "../x" not in text
    assert ("| arm | people | IMS ↑ | Q ↑ | overall ↑ | attack knows |" in text) == bool(others)
    compared = json.loads((folder / "comparison.json").read_text())["comparisons"]
    assert {"mismatch.purified", "shortcut_noise.class+token"} <= {c["metric"] for c in compared}
    _, folder = written(tmp_path, pictures, people=8)
    assert "Person or noise" not in (folder / "table.md").read_text()


def test_eight_people_without_a_comparison_are_not_called_fewer(tmp_path, pictures):
    _, folder = written(tmp_path, pictures, people=8, compare={"clean": None})
    assert "Fewer than 8" not in (folder / "table.md").read_text()


def test_every_arm_says_what_its_attack_knows(tmp_path, pictures):
    _, folder = written(tmp_path, pictures, people=1)
    means, notes = (folder / "table.md").read_text().split("## Differences")
    assert "| clean | 1 | 0.600 | 0.700 | 0.650 | - |" in means
    assert "| aspl | 1 | 0.200 | 0.300 | 0.250 | model |" in means
    assert "| metacloak+ours | 1 | 0.500 | 0.600 | 0.550 | - |" in means  # another trainer's model
    assert "Attack knows: model" in notes
    record = json.loads((folder / "comparison.json").read_text())
    knows = {name: arm["attack_knows"] for name, arm in record["arms"].items()}
    assert knows == {**dict.fromkeys(LEVEL, []), "aspl": ["model"], "metacloak": ["model"]}


def test_held_out_losses_stand_once_per_attack(tmp_path, pictures):
    losses = {"objective.clean": 0.1, "objective.protected": 0.4, "objective.random": 0.125}
    once = {"person": "person_0", "prompt": None, "sample": None, "better": None}
    extra = [
        {**once, "arm": arm, "metric": metric, "value": value}
        for arm in ("aspl", "metacloak+ours")
        for metric, value in losses.items()
    ]
    facts = summary.summarize(arms=ARMS, rows=rows(1) + extra, compare={})
    summary.write(facts, folder=tmp_path / "out", gallery=pictures)
    table = (tmp_path / "out" / "table.md").read_text().split("## The attack's own objective")[1]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert lines[2:] == ["| aspl | 0.100 | 0.400 | 0.125 |"]  # below the header and its rule


def visible(arm, person, psnr):
    once = {"arm": arm, "person": person, "prompt": None, "sample": 0}
    found = {"psnr": (psnr, "higher"), "ssim": (0.9, "higher"), "perceptual": (0.16, "lower")}
    return [
        {**once, "metric": f"{metric}_protected", "value": value, "better": better}
        for metric, (value, better) in found.items()
    ]


def sheet_lines(folder, title):
    """The lines of a sheet of table.md, below the header and its rule."""
    text = (folder / "table.md").read_text().split(f"## {title}")[1].split("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


def test_each_attack_says_once_how_visible_it_is(tmp_path, pictures):
    shown = [
        row
        for arm in ARMS
        for person, psnr in (("person_0", 27.0), ("person_1", 28.0))
        for row in visible(arm.name, person, psnr)
    ]
    changes = {"metacloak": {"person_0": 6.0, "person_1": 7.0}}
    _, folder = written(tmp_path, pictures, people=2, rows=rows(2) + shown, changes=changes)
    assert sheet_lines(folder, "How visible the protection is") == [
        "| aspl | - | 27.50 | 0.900 | 0.160 |",  # no line for clean, nor for what is only defended
        "| metacloak | 6.50 | 27.50 | 0.900 | 0.160 |",
    ]
    arms = json.loads((folder / "comparison.json").read_text())["arms"]
    assert arms["metacloak"]["mean_change"] == 6.5 and arms["aspl"]["mean_change"] is None
    assert arms["aspl"]["means"]["ssim_protected"] == pytest.approx(0.9)


def test_an_attack_without_an_undefended_arm_is_shown_too(tmp_path, pictures):
    adaptive = Arm("adaptive+jpeg", "adaptive", {"purifier": {"jpeg": {}}})
    loss = {**rows(1)[0], "arm": "adaptive+jpeg", "metric": "objective.protected", "value": 0.4}
    more = [loss, *visible("adaptive+jpeg", "person_0", 30.0)]
    _, folder = written(
        tmp_path, pictures, people=1, arms=[*ARMS, adaptive], rows=[*rows(1), *more]
    )
    assert sheet_lines(folder, "How visible") == ["| adaptive+jpeg | - | 30.00 | 0.900 | 0.160 |"]
    assert sheet_lines(folder, "The attack's own") == ["| adaptive+jpeg | - | 0.400 | - |"]


def test_what_was_not_measured_has_no_sheet(tmp_path, pictures):
    _, folder = written(tmp_path, pictures, people=1)
    assert "How visible" not in (folder / "table.md").read_text()


def test_flags_are_counted_over_people_with_an_example(tmp_path, pictures):
    flags = {
        "aspl": {
            "zero_gradient": {"person_0": "no slope: [a].png", "person_2": "no slope: b|c.png"},
            "no_set_A": {"person_1": "set_B stands in"},
        },
        "metacloak+ours": {"purifier_is_no_op": {"person_0": "none differs"}},
    }
    facts, folder = written(tmp_path, pictures, people=3, flags=flags)
    text = (folder / "table.md").read_text()
    lines = text.split("## Flags")[1].splitlines()
    assert lines[2] == "| arm | flag | people | for example |"
    assert [line for line in lines[4:] if line.startswith("|")] == [
        "| aspl | zero_gradient | 2 of 3 | person_0: no slope: [a].png |",
        "| aspl | no_set_A | 1 of 3 | person_1: set_B stands in |",
        "| metacloak+ours | purifier_is_no_op | 1 of 3 | person_0: none differs |",
    ]
    assert "docs/flags.md" in lines[-1]
    assert json.loads((folder / "comparison.json").read_text())["flags"] == flags
    assert "[a].png" in console_text(tmp_path, facts)  # not taken for the terminal's markup


@pytest.mark.parametrize("last", ["metacloak+ours", "photoguard_diffusion+codeformer_sr"])
def test_a_narrow_console_cuts_no_name_and_no_figure(tmp_path, last):
    names = ["metacloak+jpeg", "metacloak+gaussian", last]
    cells = ["8", *["-0.123*"] * 7, "model, prompt, trainer"]
    header = ["arm", "people", *["perceptual, purified ↓"] * 7, "attack knows"]
    console = Console(record=True, width=120, file=(tmp_path / "console").open("w"))
    console.print(Sheet("Mean per arm", header, [[name, *cells] for name in names]).rich())
    text = console.export_text()
    assert "…" not in text and text.count("-0.123*") == 7 * 3 and text.count("trainer") == 3
    assert len(last) > NAME or all(name in text for name in names)


def test_what_is_not_suspicious_has_no_flags(tmp_path, pictures):
    _, folder = written(tmp_path, pictures, people=1)
    text = (folder / "table.md").read_text()
    assert "Flags" not in text and "flags.md" not in text
    assert json.loads((folder / "comparison.json").read_text())["flags"] == {}


def test_a_bar_in_a_cell_does_not_end_it():
    assert r"| a\|b |" in Sheet("title", ["arm"], [["a|b"]]).markdown()


def console_text(tmp_path, facts):
    console = Console(record=True, width=140, file=(tmp_path / "console").open("w"))
    summary.show(facts, console)
    return console.export_text()


def test_console_shows_every_arm(tmp_path, pictures):
    facts, _ = written(tmp_path, pictures, people=8)
    text = console_text(tmp_path, facts)
    assert all(arm.name in text for arm in ARMS) and "Share won back" in text


def test_a_column_shows_what_the_last_stage_of_its_kind_made():
    chain = ["prior", "protect", "purify.jpeg", "purify.sr", "generate"]
    found = {"protected": "protect", "purified": "purify.sr", "generated": "generate"}
    assert gallery.stages_by_column(chain) == found
    assert gallery.stages_by_column(["protect"]) == {"protected": "protect"}


def test_gallery_has_a_row_per_arm_and_grey_where_nothing_is(tmp_path, pictures):
    _, folder = written(tmp_path, pictures, people=1)
    with Image.open(folder / "gallery.png") as image:
        tile = gallery.TILE + gallery.GAP
        assert image.size[1] == gallery.HEADER + 5 * tile + gallery.GAP
        last = gallery.HEADER + 4 * tile + 64
        places = [gallery.LABEL + i * (3 * tile + gallery.GROUP) + 64 for i in range(4)]
        red, grey = (255, 0, 0), (221, 221, 221)
        assert [image.getpixel((x, last)) for x in places] == [red, red, grey, red]
        assert image.getpixel((places[0] + 2 * tile, last)) == (255, 255, 255)


def test_gallery_shows_originals_as_the_stages_see_them(tmp_path):
    levels = np.full((8, 16), 200 * 257, dtype=np.uint16)
    levels[:, :4] = levels[:, 12:] = 0  # outside of the center square
    Image.fromarray(levels).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    turned = Image.new("RGB", (8, 8), "blue")
    turned.paste("red", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[274] = 3  # upside down
    turned.save(tmp_path / "turned.png", exif=exif)
    files = [tmp_path / name for name in ("grey.png", "clear.png", "turned.png")]
    sheet = gallery.draw({"clean": {"original": files}})

    def at(tile: int, x: int, y: int) -> tuple:
        left = gallery.LABEL + tile * (gallery.TILE + gallery.GAP)
        return sheet.getpixel((left + x, gallery.HEADER + y))

    assert at(0, 2, 64) == at(0, 125, 64) == (200, 200, 200)
    assert at(1, 64, 64) == (255, 255, 255)
    assert (at(2, 64, 10), at(2, 64, 118)) == ((0, 0, 255), (255, 0, 0))
    (tmp_path / "broken.png").write_text("not an image")
    with pytest.raises(UserError, match="broken.png: not a readable image"):
        gallery.draw({"clean": {"original": [tmp_path / "broken.png"]}})


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_what_is_not_a_number_is_refused(value):
    broken = [*rows(1), {**rows(1)[0], "value": value}]
    with pytest.raises(ValueError, match="ims of clean"):
        summary.summarize(arms=ARMS, rows=broken, compare={})


def test_views_never_import_torch():
    import subprocess
    import sys

    code = (
        "import sys, diffshortcut.report.summary, diffshortcut.report.tracking;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_claim_about_an_arm_that_failed_is_left_out(tmp_path, pictures, caplog):
    claims = [
        {"metric": "ims", "arm": "metacloak+ours", "rivals": ["tvm"]},
        {"metric": "overall", "arm": "metacloak+ours", "rivals": ["metacloak"]},
    ]
    facts, _ = written(tmp_path, pictures, people=8, compare={"claims": claims})
    [verdict] = facts.verdicts
    assert verdict.star and verdict.claim.metric == "overall" and "tvm" in caplog.text
    assert verdict.adjusted == 2 * 0.5**8  # it counts among the declared claims


def test_the_worst_of_arms_is_an_arm_of_the_tables(tmp_path, pictures):
    swapped = {"aspl": "metacloak", "metacloak": "aspl"}  # person_0 fares worse under aspl
    mixed = [
        {**row, "arm": swapped.get(row["arm"], row["arm"])} if row["person"] == "person_0" else row
        for row in rows(8)
    ]
    claim = {"metric": "ims", "arm": "clean", "rivals": ["adaptive"]}
    compare = {
        "worst": {"adaptive": ["aspl", "metacloak"]},
        "pairs": [["metacloak+ours", "adaptive"]],
        "claims": [claim],
    }
    facts, folder = written(tmp_path, pictures, people=8, rows=mixed, compare=compare)
    text = (folder / "table.md").read_text()
    assert "| adaptive | 8 | 0.104 | 0.204 | 0.154 | model |" in text
    assert "| adaptive - clean | IMS | -0.500" in text
    [pair] = [line for line in text.splitlines() if "metacloak+ours - adaptive | IMS" in line]
    assert "| +0.400" in pair and pair.endswith("| +1.00 | - | - | - |")  # no p: one of two, of one
    assert facts.paired == 0 and "beside any other arm it has no p" in text
    assert (
        "| metacloak+ours | adaptive | 0.800 [0.800, 0.800] |" in text.split("## Share won back")[1]
    )
    assert "adaptive: of each person" in text and "(aspl 1, metacloak 7)" in text
    assert facts.verdicts[0].adjusted == 0.5**8 and not facts.verdicts[0].star  # of a worst-of arm
    assert facts.verdicts[0].hardest == "adaptive"
    record = json.loads((folder / "comparison.json").read_text())
    assert record["arms"]["adaptive"]["people"] == 8
    assert record["worst"]["adaptive"]["arms"] == ["aspl", "metacloak"]
    assert record["worst"]["adaptive"]["chosen"]["person_0"] == "aspl"
    fair = {(c["arm"], c["against"]): c["fair"] for c in record["comparisons"]}
    assert fair["aspl", "clean"] and not fair["metacloak+ours", "adaptive"]
    kept = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert {row["arm"] for row in kept} == set(LEVEL)  # what was measured, nothing twice
    assert "adaptive" in console_text(tmp_path, facts)


def test_a_worst_of_arm_is_no_attack_of_its_own(tmp_path, pictures):
    loss = {"person": "person_0", "prompt": None, "sample": None, "better": None}
    losses = [
        {**loss, "arm": arm, "metric": "objective.protected", "value": 0.4}
        for arm in ("aspl", "metacloak")
    ]
    shown = [row for arm in ("aspl", "metacloak") for row in visible(arm, "person_0", 27.0)]
    compare = {"worst": {"adaptive": ["aspl", "metacloak"]}}
    given = {"rows": rows(1) + losses + shown, "compare": compare}
    _, folder = written(tmp_path, pictures, people=1, **given)
    for title in ("How visible", "The attack's own objective"):
        assert [line.split(" | ")[0] for line in sheet_lines(folder, title)] == [
            "| aspl",
            "| metacloak",
        ]


def test_a_worst_of_arm_that_nobody_has_is_left_out(tmp_path, pictures, caplog):
    compare = {"worst": {"adaptive": ["aspl", "tvm"]}, "pairs": [["aspl", "adaptive"]]}
    facts, folder = written(tmp_path, pictures, people=8, compare=compare)
    assert "adaptive" not in (folder / "table.md").read_text() and "adaptive" in caplog.text
    assert facts.arms == list(LEVEL)
