"""Files of rows: read, joined and compared by the command."""

import csv
import json
import sys
from pathlib import Path

import pytest
from result_folders import Arm, Folder

from diffshortcut.errors import UserError
from diffshortcut.report.any_rows import best, cautions, tables
from diffshortcut.statistics.__main__ import main, notes
from diffshortcut.statistics.comparison import direction
from diffshortcut.statistics.row_files import columns_of
from diffshortcut.statistics.rows import Part, directed, join, named, read


def row(arm, person, value, **others):
    return {"arm": arm, "person": person, "metric": "q", "value": value, **others}


def lines(people=9, better="higher"):
    """Ours beats a by 0.2 + n / 100 and b by 0.1 + n / 100."""
    levels = {"a": 0.0, "b": 0.1, "ours": 0.2}
    return [
        row(arm, f"p{n}", level + n / 10 + (arm == "ours") * n / 100, better=better)
        for arm, level in levels.items()
        for n in range(people)
    ]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(map(json.dumps, lines())))
    return path


def test_a_folder_is_read_as_its_file(file):
    assert read(file) == read(file.parent) == lines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "line 1: no arm, person, metric, value"),
        ('{"arm": 1', "line 1: not a JSON object"),
        ("[1]", "line 1: not a JSON object"),
        (json.dumps({"subject": "p", "q": 1}), "line 1: no arm, person.* There are: subject;"),
        (json.dumps({"arm": "a", "person": "p", "note": "x"}), "line 1: no metric, value.*note"),
        ("\n".join(map(json.dumps, [row("a", "p", 1), {"arm": "a", "q": 1}])), "line 2: no person"),
        (json.dumps(row("a", "p", None)), "line 1: q of a is None"),
        (json.dumps(row("a", "p", 1, better="more")), "higher, lower or null, not 'more'"),
        ("\n", "holds no rows"),
        (json.dumps(row("a", "p", 10**400)), "line 1: q of a is 1000"),
        (json.dumps(row("a", "p", 1e300)), "line 1: q of a is 1e[+]300"),
        (json.dumps(row(None, "p", 1)), "line 1: arm cannot be None"),
        (json.dumps(row("a", True, 1)), "line 1: person cannot be True"),
        (json.dumps(row("a", "p", 1, prompt=["x"])), "line 1: prompt cannot be"),
        (json.dumps(row("a", "p\ud800", 1)), "line 1: not a JSON object"),
        ("[" * 100_000, "line 1: not a JSON object"),
        (
            "\n".join(json.dumps(row("a", "p", value, sample=0)) for value in (1, 2)),
            "q of a, p, sample 0 has two values, 1 and 2",
        ),
    ],
    ids=lambda value: value[:40],
)
def test_a_wrong_line_is_named(tmp_path, text, said):
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(UserError, match=said):
        read(tmp_path)


def test_ids_that_are_numbers_are_texts(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row(11, 0, 1.5)))
    assert read(tmp_path) == [row("11", "0", 1.5)]


WIDE = """\ufeff,subject,method,file,sample,ims,q
0,007,clean,"a,
b",0,0.5,-0.25
1,007,ours,c,0,,1e-1
"""


def test_wide_csv_is_a_row_per_number(tmp_path):
    """An empty cell was not measured, a column without a name is an index, an id is a text."""
    file = tmp_path / "mine.CSV"
    file.write_text(WIDE, encoding="utf-8")
    others = {"person": "007", "sample": 0}
    assert read(file, {"person": "subject", "arm": "method"}) == [
        {"arm": "clean", "metric": "ims", "value": 0.5, "file": "a,\nb", **others},
        {"arm": "clean", "metric": "q", "value": -0.25, "file": "a,\nb", **others},
        {"arm": "ours", "metric": "q", "value": 0.1, "file": "c", **others},
    ]
    one = {"person": "subject", "arm": "method+file", "value": "q"}
    [first, second] = read(file, one)
    assert (first["arm"], first["metric"], first["value"]) == ("clean a,\nb", "q", -0.25)
    assert second["arm"] == "ours c" and second["person"] == "007"


def test_long_csv_is_read_as_json_is(tmp_path):
    (tmp_path / "a.csv").write_text("arm,person,metric,value,better,sample\na,1,q,2,higher,0\n")
    assert read(tmp_path / "a.csv") == [row("a", "1", 2.0, better="higher", sample=0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arm,person,q\na,p,1\na,r,2\na,s,none\n", "line 4: q cannot be 'none'"),
        ("arm,person,q,q\n", "several columns are called 'q'"),
        ("arm,person,q\na,p\n", "line 2: 2 cells under 3 columns"),
        ("arm,person,q\na,p,nan\n", "line 2: q of a is nan"),
        ("arm;person;q\na;p;1\n", "line 2: no arm, person, metric, value.*There are: arm;person;q"),
        ("arm,person,metric,value\na,p,q,x\n", "line 2: value cannot be 'x'"),
        ("arm,person,q\n", "holds no rows"),
        ("", "holds no rows"),
    ],
)
def test_a_wrong_line_of_csv_is_named(tmp_path, text, said):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        read(tmp_path / "rows.csv")


def test_what_is_better_can_be_said_and_not_gainsaid():
    rows = directed(lines(better=None), {"q": "lower"})
    assert {line["better"] for line in rows} == {"lower"}
    with pytest.raises(UserError, match="no metric is called 'p'"):
        directed(rows, {"p": "lower"})
    with pytest.raises(UserError, match="'highr' is no side. Did you mean 'higher'"):
        directed(rows, {"q": "highr"})
    with pytest.raises(UserError, match="some rows say that higher is better"):
        directed(lines(), {"q": "lower"})


def test_options_are_answered_with_the_closest(tmp_path):
    assert columns_of(["person=subject,arm=a+b", "value=q"]) == {
        "person": "subject",
        "arm": "a+b",
        "value": "q",
    }
    with pytest.raises(UserError, match="no field is called 'persn'. Did you mean 'person'"):
        columns_of(["persn=subject"])
    with pytest.raises(UserError, match="'subject' is not NAME=VALUE"):
        columns_of(["subject"])
    (tmp_path / "rows.jsonl").write_text(json.dumps(row("a", "p", 1)))
    with pytest.raises(UserError, match="no column is called 'persn'. Did you mean 'person'"):
        read(tmp_path, {"person": "persn"})


def test_the_kept_means_can_be_compared(monkeypatch, capsys):
    """A name that two attacks share is told; --columns makes two arms of it."""
    kept = str(Path(__file__).parent.parent / "experiments" / "table1" / "means.jsonl")
    given = ["statistics", kept, "--metric", "q", "--format", "csv"]
    monkeypatch.setattr(sys, "argv", given)
    main()
    said = capsys.readouterr().out
    assert "Not read: attack and of, of which" in said and "--columns arm=attack+arm" in said
    named = ["--columns", "arm=attack+arm", "--better", "q=higher", "--claim", "aspl ours"]
    monkeypatch.setattr(sys, "argv", [*given, *named])
    main()
    said = capsys.readouterr().out
    assert "aspl ours,4," in said and "Not read" not in said
    found = [line for line in csv.DictReader(said.splitlines()) if line["claim"]]
    assert [line["claim"] for line in found] == ["aspl ours"]


def test_other_images_are_told_and_earn_no_star(tmp_path, monkeypatch, capsys):
    rows = [line | {"prompt": "x", "sample": 0} for line in lines()]
    alike = tables(rows, claims=["ours"])
    assert [*alike][2].rows[0][-1] == "*" and cautions(rows, claims=["ours"]) == []
    for line in rows[9:11]:  # two people of b
        line["sample"] = 1
    assert [*tables(rows, claims=["ours"])][2].rows[0][-1] == ""
    [told] = cautions(rows, claims=["ours"])
    assert "no star is given: b and a (2 people); ours and b (2 people)." in told
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(sys, "argv", ["statistics", str(tmp_path), "--format", "csv"])
    main()
    assert "Measured on other images" in capsys.readouterr().out


def test_a_text_may_hold_any_end_of_a_line(tmp_path):
    given = row("a", "p", 1, prompt="one\u2028two\x0bthree", sample=0)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(given, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert read(file) == [given]


def test_equal_arms_become_one_and_contradictions_two():
    one = Part("one", [row("a", "p", 1.0), row("b", "p", 2.0)])
    two = Part("two", [row("a", "p", 1.0), row("a", "r", 5.0), row("b", "p", 3.0)])
    rows, names = join([one, two])
    assert names["one", "a"] == names["two", "a"] == "a"
    assert names["one", "b"] == "b (one)" and names["two", "b"] == "b (two)"
    found = sorted((r["arm"], r["person"], r["value"]) for r in rows)
    assert found == [("a", "p", 1.0), ("a", "r", 5.0), ("b (one)", "p", 2.0), ("b (two)", "p", 3.0)]


def test_an_arm_that_took_longer_elsewhere_is_the_same():
    def cost(seconds):
        measured = {"seconds.protect": seconds, "peak_memory": 9 * seconds, "q": 1.0}
        return [{**row("a", "p", value), "metric": name} for name, value in measured.items()]

    rows, names = join([Part("one", cost(1)), Part("two", cost(2))])
    assert set(names.values()) == {"a"} and rows == cost(1)


def test_rows_that_contradict_each_other_on_what_is_better_are_refused():
    parts = [Part("one", lines()), Part("two", [row("c", "p0", 1.0, better="lower")])]
    with pytest.raises(UserError, match="q: some rows say that higher is better"):
        join(parts)


def test_a_row_may_leave_out_what_is_better():
    rows = [row("a", "p0", 0.0), *lines()]
    assert direction(rows, "q") == "higher"


def test_what_the_rows_are_of_tells_arms_apart():
    parts = [Part(name, [row("a", name, 1.0)], {"a": name}) for name in ("one", "two")]
    assert join(parts)[1] == {("one", "a"): "a (one)", ("two", "a"): "a (two)"}


def test_rows_without_a_sample_are_all_kept():
    rows = [row("a", "p", 1.0), row("a", "p", 1.0), row("a", "p", 3.0)]
    assert len(join([Part("one", rows), Part("again", rows)])[0]) == 3


def test_a_sample_may_stand_twice_with_the_same_value_and_others_beside_it(tmp_path):
    given = [row("a", "p", 1, sample=n, prompt=prompt) for n in (0, 1) for prompt in "xy"]
    others = [row("b", "p", 2, sample=0, prompt="x"), row("a", "q", 3, sample=0, prompt="x")]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, [*given, *others, given[0]])))
    assert len(read(file)) == 7


def test_two_metrics_may_differ_in_what_is_better():
    rows = [row("a", "p", 1, better="higher"), {**row("a", "p", 1, better="lower"), "metric": "r"}]
    assert len(join([Part("one", rows)])[0]) == 2


def test_arms_of_other_contents_are_kept_apart_also_the_third():
    parts = [
        Part(name, [row("a", name, 1)], {"a": content})
        for name, content in (("x", 1), ("y", 2), ("z", 2))
    ]
    joined, names = join(parts)
    assert names == {("x", "a"): "a (x)", ("y", "a"): "a (y)", ("z", "a"): "a (y)"}


def test_names_of_places_are_short_where_they_can_be(tmp_path):
    places = [tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "z"]
    for place in places:
        place.mkdir(parents=True)
    assert named(places) == [str(places[0]), str(places[1]), "z"]


def test_the_tables_hold_what_was_worked_by_hand():
    means, differences, claims = tables(lines(), against="b", claims=["ours"])
    assert means.rows == [
        ["a", "9", "0.400 ± 0.274"],
        ["b", "9", "0.500 ± 0.274"],
        ["ours", "9", "0.640 ± 0.301"],
    ]
    assert [line[0] for line in differences.rows] == ["a - b", "ours - b"]
    ours = dict(zip(differences.header, differences.rows[1], strict=True))
    assert ours["difference"].startswith("+0.140 [") and ours["effect"] == "+1.00"
    assert (ours["p"], ours["Holm"], ours["least p"]) == ("0.0039", "0.0078", "0.0039")
    assert ours["test"] == "exact, n 9"
    [claim] = claims.rows
    assert claim == ["ours", "q", "a", "0.002", "0.002", "0.002", "9", "*"]
    assert "1 claim(s) need 7 people" in notes([means, differences, claims])[2]


def test_a_metric_without_a_direction_bears_no_claim():
    with pytest.raises(UserError, match="no better direction"):
        list(tables(lines(better=None), claims=["ours"]))


def test_a_claim_without_people_in_common_is_left_out_and_counts():
    strangers = [row("jpeg", person, 0.5, better="higher") for person in ("q1", "q2")]
    found = list(tables([*lines(), *strangers], claims=["jpeg"]))
    said = "left out, nobody in common: a, b, ours"
    assert found[2].rows == [["jpeg", "q", said, "-", "-", "-", "0", ""]]
    style = [{**line, "metric": "style"} for line in lines()]
    [unmeasured, _] = list(tables([*lines(), *strangers, *style], claims=["ours"]))[2].rows
    assert unmeasured[:3] == ["ours", "style", "left out, nobody in common: jpeg"]
    style += [{**line, "arm": "jpeg"} for line in style if line["arm"] == "a"]
    [kept, missed] = list(tables([*lines(), *strangers, *style], claims=["ours"]))[2].rows
    assert kept == ["ours", "style", "a", "0.002", "0.0039", "0.002", "9", "*"]  # Holm over both
    assert missed[:3] == ["ours", "q", "left out, nobody in common: jpeg"]


def test_claims_that_were_declared_elsewhere_count(file, monkeypatch, capsys):
    given = ["statistics", str(file), "--claim", "ours", "--format", "csv", "--family", "14"]
    monkeypatch.setattr(sys, "argv", given)
    main()
    found = csv.DictReader(capsys.readouterr().out.splitlines())
    [claim] = [line for line in found if line["claim"]]
    assert (claim["largest p"], claim["Holm"], claim["star"]) == ("0.002", "0.027", "")  # 14 / 2^9
    monkeypatch.setattr(sys, "argv", [word if word != "csv" else "text" for word in given])
    main()
    assert "14 claim(s) need 11" in " ".join(capsys.readouterr().out.split())


def test_a_family_is_no_smaller_than_its_claims(file, monkeypatch):
    given = ["statistics", str(file), "--claim", "ours", "--claim", "a", "--family", "1"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit, match="--family 1: 2 claims are made here.* --family 2 or more"):
        main()


@pytest.mark.parametrize("kind", ["text", "markdown", "latex", "csv"])
def test_the_command_prints_every_format(file, monkeypatch, capsys, kind):
    given = ["statistics", str(file), "--claim", "ours", "--format", kind]
    monkeypatch.setattr(sys, "argv", given)
    main()
    said = capsys.readouterr().out
    assert "0.640" in said and "ours" in said
    assert ("\\toprule" in said) == (kind == "latex")
    if kind == "csv":
        table = list(csv.DictReader(said.splitlines()))
        assert {line["table"] for line in table} == {
            "Mean over people",
            "Paired differences",
            "Claims",
            "Note",
        }
        assert [line["star"] for line in table if line["claim"] == "ours"] == ["*"]


@pytest.mark.parametrize(
    ("kind", "first", "second", "legend"),
    [
        (
            "markdown",
            "| **0.640** ± 0.301 |",
            "| <u>0.400</u> ± 0.274 |",
            "A star needs p ≤ 0.01",
        ),
        (
            "latex",
            r"& \textbf{0.640} $\pm$ 0.301",
            r"& \uline{0.400} $\pm$ 0.274",
            "A star needs p",
        ),
        ("csv", ",0.640 ± 0.301,", ",0.400 ± 0.274,", "Note,"),
        ("text", " 0.640 ± 0.301 ", " 0.400 ± 0.274 ", "A star needs p ≤ 0.01"),
    ],
)
def test_a_table_can_stand_alone(file, monkeypatch, capsys, kind, first, second, legend):
    """Means with what is beside them, the best and the runner-up, and what the marks are."""
    given = ["statistics", str(file), "--claim", "ours", "--against", "b", "--format", kind]
    monkeypatch.setattr(sys, "argv", given)
    main()
    said = " ".join(capsys.readouterr().out.split())
    assert first in said and second in said and legend in said
    assert "standard deviation over people" in said and "p, images: pairs of images" in said
    assert ("Bold: the best arm but b; underlined: the runner-up" in said) == (
        kind in ("markdown", "latex")
    )
    assert said.count("A star needs p") == said.count("proves nothing") == 1


def test_none_is_best_of_arms_that_were_measured_on_other_people():
    rows = lines()
    assert best(rows, "a") == {("b", "q"): 2, ("ours", "q"): 1}
    assert best([*rows, row("b", "p10", 9.0)], "a") == {}
    assert best(lines(better="lower"), "a") == {("b", "q"): 1, ("ours", "q"): 2}
    assert best(lines(better=None), "a") == {}


def test_a_mistyped_arm_is_answered_with_the_closest(file, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["statistics", str(file), "--against", "our"])
    with pytest.raises(SystemExit, match="Did you mean 'ours'"):
        main()


def test_equal_names_of_other_arms_are_not_pooled(tmp_path, monkeypatch, capsys):
    """`protected` is ASPL in one folder and AdvDM in the other; without a record it is alone."""
    for attack, people in (("aspl", ["a", "b"]), ("advdm", ["c", "d"])):
        arms = [Arm("none"), Arm(attack, called="protected")]
        Folder(tmp_path, attack, arms, people=people).write()
    places = [str(tmp_path / name) for name in ("aspl", "advdm")]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["statistics", *places, "--format", "csv"])
        main()
        means = capsys.readouterr().out.split("\n\n")[0]
        assert "protected (aspl),2," in means and "protected (advdm),2," in means
        (tmp_path / "advdm" / "record.json").unlink(missing_ok=True)


def test_equal_arms_of_other_names_are_one_under_the_first_name():
    """Also the third time, and however another arm is called in between."""
    of = {"nothing": "aspl", "sr": "aspl sr"}
    one = Part("one", [row("nothing", "p", 1.0), row("sr", "p", 2.0)], of)
    two = Part("two", [row("perturbed", "r", 3.0)], {"perturbed": "aspl"})
    three = Part("three", [row("perturbed", "s", 4.0)], {"perturbed": "aspl"})
    rows, names = join([one, two, three])
    assert names["two", "perturbed"] == names["three", "perturbed"] == "nothing"
    assert [(r["arm"], r["person"]) for r in rows] == [
        ("nothing", "p"),
        ("nothing", "r"),
        ("nothing", "s"),
        ("sr", "p"),
    ]
    swapped = Part("four", [row("sr", "p", 5.0)], {"sr": "aspl"})
    assert join([one, swapped])[1]["four", "sr"] == "sr (four)"  # another value of that person


def test_arms_of_one_part_and_arms_that_nobody_knows_are_not_joined_by_content():
    twice = {"a": "aspl", "b": "aspl"}  # such as two seeds
    one = Part("one", [row("a", "p", 1.0), row("b", "q", 1.0)], twice)
    two = Part("two", [row("b", "r", 1.0), row("a", "s", 1.0)], twice)
    assert join([one, two])[1] == {
        ("one", "a"): "a",
        ("one", "b"): "b",
        ("two", "b"): "b",
        ("two", "a"): "a",
    }
    other = Part("three", [row("c", "r", 1.0), row("a", "s", 1.0)], {"c": "aspl", "a": "aspl"})
    assert join([one, other])[1]["three", "a"] == "a"
    unknown = [Part("x", [row("a", "p", 1.0)]), Part("y", [row("b", "q", 1.0)])]
    assert set(join(unknown)[1].values()) == {"a", "b"}


def test_an_arm_may_be_asked_for_by_either_of_its_names(tmp_path, monkeypatch, capsys):
    Folder(tmp_path, "one", [Arm("none"), Arm("aspl", called="nothing")]).write()
    Folder(tmp_path, "two", [Arm("aspl", called="perturbed"), Arm("aspl", "jpeg")]).write()
    places = [str(tmp_path / name) for name in ("one", "two")]
    monkeypatch.setattr(sys, "argv", ["statistics", *places, "--against", "perturbed"])
    main()
    said = capsys.readouterr().out
    assert "aspl+jpeg - nothing" in said and "perturbed" not in said
