import pytest

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.tables import csv_records, csv_table, fill_tables, markdown_table


def test_csv_has_a_line_a_row_and_nothing_for_none():
    assert csv_table(["a", "b"], [[1, None], ["x,y", 0.1]]) == 'a,b\n1,\n"x,y",0.1\n'


def test_records_become_csv_with_short_floats():
    rows = [{"epoch": 1, "loss": 1 / 3}, {"epoch": 2, "loss": None}]
    assert csv_records(rows) == "epoch,loss\n1,0.333333\n2,\n"


def test_markdown_aligns_the_columns_of_numbers_to_the_right():
    text = markdown_table(["name", "n", "note"], [["a", "1", "x"]], right=["n"])
    assert text == "| name | n | note |\n| --- | ---: | --- |\n| a | 1 | x |\n"


def test_tables_are_put_between_their_markers():
    text = "a\n<!-- table:x -->\nold\n<!-- end:x -->\nb <!-- table:y -->\n<!-- end:y -->\n"
    filled = fill_tables(text, {"x": lambda: "new\n", "y": lambda: "", "unused": lambda: "z"})
    assert filled == text.replace("old", "new")
    assert fill_tables(filled, {"x": lambda: "new\n", "y": lambda: ""}) == filled


def test_each_command_fills_the_tables_with_its_own_marker():
    text = "<!-- table:x -->\na\n<!-- end:x -->\n<!-- trial:y -->\nb\n<!-- end:y -->\n"
    assert fill_tables(text, {"x": lambda: "c\n"}) == text.replace("a\n", "c\n")
    assert fill_tables(text, {"y": lambda: "c\n"}, marker="trial") == text.replace("\nb", "\nc")
    with pytest.raises(ZooError, match="Unknown table 'y'"):
        fill_tables(text, {"x": lambda: ""}, marker="trial")


@pytest.mark.parametrize(
    ("text", "told"),
    [("<!-- table:z -->\n<!-- end:z -->", "Unknown table 'z'"), ("<!-- table:x -->", "no end")],
)
def test_wrong_markers_are_refused(text, told):
    with pytest.raises(ZooError, match=told):
        fill_tables(text, {"x": lambda: ""})
