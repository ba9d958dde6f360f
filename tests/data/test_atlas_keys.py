"""Keys of atlases: every form that is in use, and one line for what is none."""

from pathlib import Path

import pytest

from pyadx.data.atlas_keys import find_key, read_groups, read_key

ATLASES = Path("/usr/share/mricron/templates")
TWO = {1: "Precentral_L", 2: "Precentral_R"}
SNAP = """# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Precentral_L"
"""
XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<atlas version="1.0"><header><name>A</name><type>{}</type></header>
<data><label index="0" x="1" y="2" z="3">Precentral_L</label>
<label index="1" x="1" y="2" z="3">Precentral_R</label></data></atlas>"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("index\tname\n1\tPrecentral_L\n2\tPrecentral_R\n", TWO),
        ("name\tcolor\tindex\nPrecentral_L\t#ff0000\t1\nPrecentral_R\t#00ff00\t2\n", TWO),
        ("1,Precentral_L\n2,Precentral_R\n", TWO),
        ('number,name\n1,"Gyrus, left"\n', {1: "Gyrus, left"}),
        ("1 Precentral_L 2001\r\n2 Precentral_R 2002\r\n", TWO),
        ("#No. Label R G B A\n\n1 Precentral_L 25 5 25 0\n2 Precentral_R 5 5 5 0\n", TWO),
        ("1 Left Precentral\n2 Right Precentral\n", {1: "Left Precentral", 2: "Right Precentral"}),
        ("1 BA 1\n2 BA 2\n", {1: "BA 1", 2: "BA 2"}),
        (SNAP, {0: "Clear Label", 1: "Precentral_L"}),
        (XML.format("Probabilistic"), TWO),
        (XML.format("Label"), {0: "Precentral_L", 1: "Precentral_R"}),
    ],
)
def test_every_form_of_key_is_read(tmp_path, text, expected):
    (tmp_path / "key").write_text(text, newline="")
    assert read_key(tmp_path / "key") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no number"),
        ("Hello\n", "line 1 is not a whole number"),
        ("1 A\nB 2\n", "line 2 is not a whole number"),
        ("1,A\n,B\n", "line 2 is not a whole number"),
        ("colour,name\nred,A\n", "none called index or number"),
        ("1 A\n1 B\n", "names the number 1 twice"),
        ("1 A\x00\n", "is not text"),
        ("<atlas><data>", "damaged"),
        ("<html></html>", "not an atlas of FSL"),
        ("<atlas><label>A</label></atlas>", "without index or name"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><atlas/>', "declares a document type"),
    ],
)
def test_what_is_no_key_gets_one_line(tmp_path, text, words):
    (tmp_path / "key").write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        read_key(tmp_path / "key")
    assert "\n" not in str(error.value)


def test_a_large_file_is_refused_unread(tmp_path):
    with (tmp_path / "key").open("wb") as file:
        file.truncate(5 * 2**20)
    with pytest.raises(ValueError, match=r"has 5\.0 MiB"):
        read_key(tmp_path / "key")
    with pytest.raises(ValueError, match="no such file"):
        read_key(tmp_path / "none.tsv")


@pytest.mark.parametrize("name", ["a.tsv", "a.txt", "a.nii.txt", "a.xml", "a.csv", "a.label"])
def test_the_key_beside_a_volume_is_found(tmp_path, name):
    assert find_key(tmp_path / "a.nii.gz") is None
    (tmp_path / name).touch()
    assert find_key(tmp_path / "a.nii.gz") == tmp_path / name
    assert find_key(tmp_path / "b.nii.gz") is None


@pytest.mark.skipif(not ATLASES.is_dir(), reason="needs Debian's package mricron-data")
def test_keys_of_mricrons_atlases():
    aal = read_key(find_key(ATLASES / "aal.nii.gz"))
    assert (len(aal), aal[37], aal[116]) == (116, "Hippocampus_L", "Vermis_10")
    white = read_key(find_key(ATLASES / "JHU-WhiteMatter-labels-1mm.nii.gz"))
    assert white[0] == "Unclassified"
    assert white[48] == "Tapetum_L"
    assert len(read_key(find_key(ATLASES / "AICHAmc.nii.gz"))) == 192
    with pytest.raises(ValueError, match="is not text"):
        read_key(ATLASES / "aal.nii.lut")


def test_groups_are_further_columns(tmp_path):
    key = tmp_path / "key.csv"
    key.write_text('Index,Name,Side,Lobe\n3,"a, b",left,frontal\n5,c,right,\n7,d,n/a,frontal\n')
    assert read_groups(key, ["side", "Lobe"]) == {3: ("left", "frontal"), 5: ("right",), 7: ()}
    with pytest.raises(ValueError, match="has no column 'side2'; columns are Index, Name"):
        read_groups(key, ["side2"])
    key.write_text("3 left hippocampus\n5 right hippocampus\n")
    with pytest.raises(ValueError, match="groups need a table with a header line"):
        read_groups(key, ["side"])
