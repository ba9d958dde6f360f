"""Tables are read as they stand: no quoting in TSV, no row swallowed, defects told by file and line."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyadx.data.cohort.dates import Moment, adni_date, iso_time
from pyadx.data.cohort.selection import natural_key
from pyadx.data.cohort.tables import read_header, read_table


def table(tmp_path, text, name="t.tsv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path)


def cells(found):
    return [[row[i] for i in range(len(found.columns))] for row in found.rows]


def test_a_quote_in_a_tsv_cell_is_text(tmp_path):
    text = 'participant_id\tgroup\tcomment\nsub-1\tNC\t"big head\nsub-2\tAD\t\nsub-3\tNC\t5" coil"\n'
    found = table(tmp_path, text)
    assert cells(found) == [
        ["sub-1", "NC", '"big head'],
        ["sub-2", "AD", ""],
        ["sub-3", "NC", '5" coil"'],
    ]
    assert [row.line for row in found.rows] == [2, 3, 4]


def test_a_tsv_whose_header_stands_in_quotes_is_read_without_them(tmp_path):
    # As R's write.table leaves it, with its own way to write a quote; and as pandas does.
    found = table(tmp_path, '"subject"\t"label"\t"age"\n"s1"\t"5\\" coil"\t70\n"s2"\t"a ""b"""\tNA\n')
    assert found.columns == ("subject", "label", "age")
    assert cells(found) == [["s1", '5" coil', "70"], ["s2", 'a "b"', "NA"]]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("sub-2\tAD", "t.tsv: line 4 has 2 cells, fewer than the 3 of the header"),
        ("sub-2\tAD\tx\ty", "t.tsv: line 4 has 4 cells, more than the 3 of the header"),
        ("sub-2\tAD\tx\t", "t.tsv: line 4 has 4 cells, more than the 3 of the header"),
    ],
)
def test_a_row_of_another_length_is_refused_by_its_line(row, words, tmp_path):
    found = table(tmp_path, f"a\tb\tc\n\nsub-1\tNC\tz\n{row}\n")
    assert found.rows[0][0] == "sub-1"
    with pytest.raises(ValueError, match=words):
        _ = found.rows[1][0]


def test_lines_are_those_of_the_file_also_after_blank_lines_and_line_breaks_in_quotes(tmp_path):
    text = '\r\na,b\r\n\r\n1,"two\r\nlines, of text"\r\n,\r\n2,"say ""x"""\r\n'
    found = table(tmp_path, text, "t.csv")
    assert cells(found) == [["1", "two lines, of text"], ["2", 'say "x"']]
    assert [row.line for row in found.rows] == [4, 7]


@pytest.mark.parametrize("rest", ['s4,NC,"x"\n', 's4,NC,5" coil\n', 's4,NC,"two"" \n', "s4,NC,z\n"])
def test_a_quote_that_would_swallow_rows_of_a_csv_is_refused(rest, tmp_path):
    text = f'subject,label,note\ns1,NC,\ns2,AD,"big head\ns3,NC,\n{rest}'
    with pytest.raises(ValueError, match=r"t\.csv: line 3: a quote opens there and is not closed"):
        table(tmp_path, text, "t.csv")


def test_a_cell_that_looks_as_if_it_held_rows_is_told(tmp_path):
    with pytest.warns(
        UserWarning, match=r"line 2: a quoted cell .* in line 3, but line 3 looks like a separate row"
    ):
        table(tmp_path, 'subject,label,note\ns1,NC,"big head\ns2,AD,5"\n', "t.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table(tmp_path, 'subject,label,note\ns1,NC,"big head\nand, so on"\n', "t.csv")


def test_quotes_within_one_line_of_a_csv_stay_as_lenient_as_they_were(tmp_path):
    assert cells(table(tmp_path, 'a,b\n"x" y,"z\n', "t.csv")) == [["x y", "z"]]


def test_two_columns_of_one_name_are_refused_where_they_matter(tmp_path):
    found = table(tmp_path, "id\tgroup\tGroup\nx\tNC\tAD\n")
    assert found.needed("id") == 0
    with pytest.raises(ValueError, match=r"t\.tsv: has 2 columns group"):
        found.optional("diagnosis", "group")


def test_text_that_is_no_utf8_is_refused_by_line(tmp_path):
    with pytest.raises(ValueError, match=r"t\.csv: .*after line 0 it is not UTF-8"):
        table(tmp_path, b"a,b\nM\xfcller,2\n", "t.csv")
    lines = b"".join(b"%d,x\n" % i for i in range(100_000))
    with pytest.raises(ValueError, match=r"after line [0-9]{5,} it is not UTF-8"):
        table(tmp_path, b"a,b\n" + lines + b"M\xfcller,2\n", "t.csv")


def test_a_header_alone_can_be_read(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffImage Data ID,Subject\n", encoding="utf-8")
    assert read_header(tmp_path / "t.csv").columns == ("Image Data ID", "Subject")
    with pytest.raises(ValueError, match="the table has no rows"):
        read_table(tmp_path / "t.csv")


# Tabs and line ends of all kinds are what separates; everything else is text.
_CELL = st.text(st.characters(blacklist_characters="\t\n\r\x00", blacklist_categories=("Cs",)), max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(_CELL, _CELL, _CELL), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_any_text_between_tabs_comes_back(tmp_path_factory, rows, end):
    path = tmp_path_factory.mktemp("tables") / "t.tsv"
    lines = ["a\tb\tc", *("\t".join(row) for row in rows)]
    path.write_bytes(end.join([*lines, ""]).encode())
    expected = [[" ".join(cell.splitlines()).strip() for cell in row] for row in rows]
    expected = [row for row in expected if any(row)]
    if not expected:
        return
    assert cells(read_table(path)) == expected


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2006-10-27", "2006-10-27"),
        ("2006-10-27T10:04:12", "2006-10-27T10:04:12"),
        ("2006-10-27 10:04:12", "2006-10-27T10:04:12"),
        ("2006-10-27T10:04", "2006-10-27T10:04:00"),
        ("2006-10-27T10:04:12.5Z", "2006-10-27T10:04:12.500000"),
        ("2006-10-27T10:04:12.1234567", "2006-10-27T10:04:12.123456"),
        ("2006-10-27T01:00:00+02:00", "2006-10-26T23:00:00"),
        ("1884-06-15T11:05:00", "1884-06-15T11:05:00"),  # shifted, as BIDS advises
        ("01/03/2011", None),
        ("15/12/2010", None),
        ("2010-13-01", None),
        ("2010", None),
        ("13:45:00", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("soon", None),
    ],
)
def test_times_are_iso_and_sort(text, time):
    assert iso_time(text) == time
    moment = Moment(text, "scans.tsv: line 2: acq_time")
    if time is None:
        with pytest.raises(
            ValueError, match=r"scans\.tsv: line 2: acq_time .* is not a date such as 2006-10-27"
        ):
            moment.iso()
    else:
        assert moment.iso() == time


@pytest.mark.parametrize("text", ["", " ", "n/a", "N/A", "NaN", "None"])
def test_what_is_not_available_is_no_date(text):
    assert Moment(text, "x").iso() == ""
    assert not Moment(text, "x").known


def test_adni_writes_the_month_first():
    assert adni_date("3/05/2007") == "2007-03-05"
    assert adni_date("2007-03-05") == "2007-03-05"
    assert adni_date("27/10/2006") is None


def test_numbers_in_names_sort_by_value():
    names = ["ses-M108", "ses-10", "ses-M96", "ses-2", "ses-M000", "ses-1b", "ses-1"]
    assert sorted(names, key=natural_key) == [
        "ses-1", "ses-1b", "ses-2", "ses-10", "ses-M000", "ses-M96", "ses-M108",
    ]  # fmt: skip
