"""Prompt benchmarks are read in the layouts in which their authors publish them; anything else is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError, RowError
from qsched.generation import Prompt, read_prompts
from qsched.generation.prompts import layout_of, prompts_source_hash

DPG_HEADER = (
    "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language\n"
)
#: layout -> (file, its text as published, the prompts in it)
PUBLISHED = {
    "sdci": ("sDCI.yaml", "sa_1_0: A red barn.\nsa_2_0: Two dogs.\n", [("sa_1_0", "A red barn.", None), None]),
    "mjhq": (
        "meta_data.json",
        '{"a1b2": {"category": "animals", "prompt": "a fox"}, "c3d4": {"category": "food", "prompt": "soup"}}',
        [("a1b2", "a fox", "animals"), ("c3d4", "soup", "food")],
    ),
    "coco": (
        "captions_val2014.json",
        '{"info": {"year": 2014}, "images": [{"id": 42, "file_name": "COCO_val2014_000000000042.jpg"}, {"id": 73}],'
        ' "licenses": [], "annotations": [{"image_id": 73, "id": 9, "caption": "A bike. "},'
        ' {"image_id": 42, "id": 8, "caption": "shoes, again"}, {"image_id": 42, "id": 5, "caption": "Shoes."}]}',
        [("coco-42", "Shoes.", None), ("coco-73", "A bike.", None)],
    ),
    "drawbench": (
        "drawbench.csv",
        'Prompts,Category\nA red colored car.,Colors\n"A cat, and a dog.",Counting\n',
        [("drawbench-001", "A red colored car.", "Colors"), ("drawbench-002", "A cat, and a dog.", "Counting")],
    ),
    "parti": (
        "PartiPrompts.tsv",
        "Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\tBiology\n"
        'a dog saying "I see"\tAnimals\tWriting & Symbols\t\n',
        [("parti-0001", "bond", "Abstract"), ("parti-0002", 'a dog saying "I see"', "Animals")],
    ),
    "geneval2": (
        "geneval2_data.jsonl",
        '{"prompt": "four white bicycles", "atom_count": 3, "vqa_list": [["How many?", "four"]], "skills": ["count"]}\n'
        '{"prompt": "a cow", "atom_count": 1, "vqa_list": [["A cow?", "Yes"]], "skills": ["object"]}\n',
        [("geneval2-0001", "four white bicycles", "3 atoms"), ("geneval2-0002", "a cow", "1 atom")],
    ),
    "dpg": (
        "dpg_bench.csv",
        DPG_HEADER + "partiprompts97,a lamp,,1,0,entity,whole,entity - whole (lamp),Is there a lamp?\n"
        "partiprompts97,a lamp,,2,1,attribute,color,attribute - color (red),Is it red?\n"
        "17,a pier,,1,0,entity,whole,entity - whole (pier),Is there a pier?\n",
        [("partiprompts97", "a lamp", "partiprompts"), ("17", "a pier", "numbered")],
    ),
    "unigenbench": (
        "test_prompts_en.csv",
        'index,prompt_en,sub_dims_en\n0,"A fox, busy.","{""Primary Categories"": ""Illustration""}"\n'
        '1,A door.,"{""Primary Categories"": ""Design""}"\n',
        [("unigenbench-0", "A fox, busy.", "Illustration"), ("unigenbench-1", "A door.", "Design")],
    ),
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("layout", PUBLISHED)
def test_a_published_file_is_read_with_its_categories(tmp_path: Path, layout: str) -> None:
    name, text, expected = PUBLISHED[layout]
    path = write(tmp_path, name, text)
    found = read_prompts(path, layout=layout)
    assert len(found) == 2
    assert [p for p, e in zip(found, expected, strict=True) if e] == [Prompt(*e) for e in expected if e]
    # sDCI and MJHQ-30K are maps as our own files are; the others are known by their columns.
    assert layout_of(path) == ("qsched" if layout in ("sdci", "mjhq") else layout)
    assert read_prompts(path) == found


def test_the_chinese_file_of_unigenbench_is_read_too(tmp_path: Path) -> None:
    text = 'index,prompt_zh,sub_dims_zh\n7,一扇门,"{""一级垂类"": ""设计""}"\n'
    assert read_prompts(write(tmp_path, "zh.csv", text)) == [Prompt("unigenbench-7", "一扇门", "设计")]


def test_a_folder_of_dpg_prompts_is_read_and_hashed_by_its_texts(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    write(folder, "whoops2.txt", "a clock\nmade of ice\n")
    write(folder, "9.txt", "a pier")
    found = read_prompts(folder)
    assert found == [Prompt("9", "a pier", "numbered"), Prompt("whoops2", "a clock\nmade of ice", "whoops")]
    before = prompts_source_hash(folder)
    write(folder, "9.txt", "a bridge")
    assert prompts_source_hash(folder) != before
    write(folder, "notes.md", "x")
    with pytest.raises(InputError, match=r"notes\.md: .*only"):
        read_prompts(folder)


# (layout, file, text, line of the error or None, part of the message)
MISLAID = [
    ("sdci", "p.yaml", "a: {prompt: x, category: y}\n", 1, "has a category"),
    ("mjhq", "p.json", '{"a": {"prompt": "x"}}', 1, "'a' has no category"),
    ("mjhq", "p.json", '{"a": {"prompt": "x", "category": "y", "url": "z"}}', 1, "url"),
    ("coco", "p.json", '{"annotations": [{"image_id": "42", "id": 1, "caption": "x"}]}', 1, r"annotations\[0\] is"),
    ("coco", "p.json", '{"images": []}', 1, "no list 'annotations'"),
    ("coco", "p.json", "[1", 1, "not JSON"),
    ("drawbench", "p.csv", "Prompts,category\nx,y\n", 1, "lacks Category"),
    ("drawbench", "p.csv", "Prompts,Category\nx,y\nz,\n", 3, "Category is empty"),
    ("parti", "p.tsv", "Prompt\tCategory\nbond\tAbstract\n", 1, "the header is"),
    ("parti", "p.tsv", "Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\n", 2, "2 cells"),
    ("geneval2", "p.jsonl", '{"prompt": "x"}\n', 1, "GenEval 2 has atom_count"),
    ("geneval2", "p.jsonl", '{"prompt": "x", "atom_count": "3", "vqa_list": [], "skills": []}\n', 1, "'3'"),
    ("dpg", "p.csv", "item_id,text\na,b\n", 1, "lacks proposition_id"),
    ("dpg", "p.csv", "item_id,text,proposition_id\na,b,1\na,c,2\n", 3, "another text than on line 2"),
    ("unigenbench", "p.csv", "index,prompt\n0,x\n", 1, "the header is"),
    ("unigenbench", "p.csv", "index,prompt_en,sub_dims_en\n0,x,{}\n", 2, "Primary Categories"),
    ("unigenbench", "p.csv", "index,prompt_en,sub_dims_en\n0,x,no\n", 2, "not JSON"),
]


@pytest.mark.parametrize(("layout", "name", "text", "line", "message"), MISLAID)
def test_another_layout_is_an_error_that_names_the_value(
    tmp_path: Path, layout: str, name: str, text: str, line: int, message: str
) -> None:
    with pytest.raises(RowError, match=message) as caught:
        read_prompts(write(tmp_path, name, text), layout=layout)
    assert caught.value.line == line


@pytest.mark.parametrize("theme", ["[" * 100_000, "1" * 5_000])
def test_json_that_python_refuses_is_an_error_with_its_line(tmp_path: Path, theme: str) -> None:
    (tmp_path / "u.csv").write_text(f"index,prompt_en,sub_dims_en\n0,x,{theme}\n")
    with pytest.raises(RowError, match=r"u\.csv:2: sub_dims_en is not JSON"):
        read_prompts(tmp_path / "u.csv")
    (tmp_path / "c.json").write_text('{"annotations": [{"image_id": 1, "id": 1, "caption": "x"}], "n": ' + theme + "}")
    with pytest.raises(RowError, match=r"c\.json:1: not JSON"):
        read_prompts(tmp_path / "c.json")


def test_a_header_in_quotes_is_the_same_header(tmp_path: Path) -> None:
    name, text, prompts = PUBLISHED["unigenbench"]
    head, _, rows = text.partition("\n")
    (tmp_path / name).write_text(",".join(f'"{cell}"' for cell in head.split(",")) + "\n" + rows)
    assert read_prompts(tmp_path / name) == [Prompt(*one) for one in prompts]


def test_a_file_of_a_folder_is_one_prompt_whatever_is_in_it(tmp_path: Path) -> None:
    """A NUL divides the folder's text, and a tab a name from its prompt."""
    for name, text in (("a.txt", "one\0b\ttwo"), ("a\tb.txt", "one")):
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(InputError, match="a NUL character in a prompt, or a tab in a file's name"):
            read_prompts(tmp_path)
        file.unlink()


def test_an_unknown_layout_is_an_error_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'partiprompts' is unknown; choose qsched, sdci, .*unigenbench"):
        read_prompts(write(tmp_path, "p.txt", "x\n"), layout="partiprompts")


def test_generate_pairs_takes_a_layout_and_says_which_it_guessed(random_pipelines, tmp_path: Path) -> None:
    name, text, _ = PUBLISHED["parti"]
    prompts = write(tmp_path, name, text)
    command = ["generate-pairs", "--backbone", str(random_pipelines["flux"]), "--arms", "fp32", "--steps", "1"]
    command += ["--device", "cpu", "--dry-run", "--prompts", str(prompts), "--out", str(tmp_path / "set")]
    guessed = CliRunner().invoke(app, command)
    assert guessed.exit_code == 0 and "is read as parti, by its columns" in guessed.output
    stated = CliRunner().invoke(app, [*command, "--prompts-format", "parti"])
    assert stated.exit_code == 0 and "2 images" in stated.output and "read as" not in stated.output
    wrong = CliRunner().invoke(app, [*command, "--prompts-format", "geneval2"])
    assert isinstance(wrong.exception, RowError)


def test_our_own_format_is_not_taken_for_another(tmp_path: Path) -> None:
    for name, text in (("p.csv", "id,prompt\na,b\n"), ("p.json", '{"a": "the annotations: [x]"}'), ("p.txt", "x\n")):
        assert layout_of(write(tmp_path, name, text)) == "qsched"
