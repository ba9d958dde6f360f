import pytest

from pyadx.markdown import markdown_table


def test_words_stand_left_and_numbers_right():
    assert markdown_table(["method", "AP"], [["cam", 0.5], ["gradcam", "0.25"]]) == (
        "| method | AP |\n| --- | ---: |\n| cam | 0.5 |\n| gradcam | 0.25 |\n"
    )


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 cells, the table 3 columns"):
        markdown_table(["a", "b", "c"], [["1", "2"]])
