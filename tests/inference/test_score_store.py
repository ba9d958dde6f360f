import pytest
import torch

from pyadx.inference.score_store import ScoreStore

FACTS = {"model": "abc", "target": 1}


def written(path, chunks=3):
    with ScoreStore(path, FACTS, resume=False) as store:
        for index in range(chunks):
            store.append(torch.arange(5.0, dtype=torch.float64) / 7 + index)
    return path.read_bytes()


def test_chunks_come_back_as_they_were(tmp_path):
    written(tmp_path / "s")
    with ScoreStore(tmp_path / "s", FACTS, resume=True) as store:
        assert store.chunks == 3
        assert torch.equal(store.read(2), torch.arange(5.0, dtype=torch.float64) / 7 + 2)


@pytest.mark.parametrize("lost", [1, 7, 40, 41, 49])
def test_a_record_that_was_cut_off_is_dropped_and_written_again(lost, tmp_path):
    """Whatever byte a killed process got to."""
    path = tmp_path / "s"
    whole = written(path)
    path.write_bytes(whole[:-lost])
    with ScoreStore(path, FACTS, resume=True) as store:
        kept = store.chunks
        assert kept == (2 if lost <= 48 else 1)
        for index in range(kept, 3):
            store.append(torch.arange(5.0, dtype=torch.float64) / 7 + index)
    assert path.read_bytes() == whole


def test_a_record_with_a_flipped_bit_is_dropped(tmp_path):
    path = tmp_path / "s"
    data = bytearray(written(path))
    data[-3] ^= 1
    path.write_bytes(data)
    with ScoreStore(path, FACTS, resume=True) as store:
        assert store.chunks == 2


def test_an_existing_file_is_not_overwritten(tmp_path):
    before = written(tmp_path / "s")
    with pytest.raises(ValueError, match="holds the scores of an interrupted run"):
        ScoreStore(tmp_path / "s", FACTS, resume=False)
    assert (tmp_path / "s").read_bytes() == before


def test_scores_of_another_run_are_refused_and_what_differs_is_named(tmp_path):
    written(tmp_path / "s")
    with pytest.raises(ValueError, match="target: 1 in the file, 2 in this run"):
        ScoreStore(tmp_path / "s", {**FACTS, "target": 2}, resume=True)


@pytest.mark.parametrize("data", [b"hello\n", b"\x00" * 100, b'{"no end', b'{"pyadx scores": 2}\n'])
def test_other_files_are_refused(data, tmp_path):
    (tmp_path / "s").write_bytes(data)
    with pytest.raises(ValueError, match="s: "):
        ScoreStore(tmp_path / "s", FACTS, resume=True)
    assert (tmp_path / "s").read_bytes() == data


def test_a_run_that_finished_nothing_leaves_no_file(tmp_path):
    with ScoreStore(tmp_path / "s", FACTS, resume=False):
        pass
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        ScoreStore(tmp_path / "no" / "s", FACTS, resume=False)


def test_an_old_file_stays_until_the_first_new_chunk_is_on_the_disk(tmp_path):
    path = tmp_path / "s"
    before = written(path)
    facts = {**FACTS, "target": 2}
    with pytest.raises(KeyboardInterrupt), ScoreStore(path, facts, resume=False, overwrite=True):
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    with ScoreStore(path, facts, resume=False, overwrite=True) as store:
        assert path.read_bytes() == before
        store.append(torch.ones(3))
        assert path.read_bytes() != before
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    with ScoreStore(path, facts, resume=True) as store:
        assert torch.equal(store.read(0), torch.ones(3, dtype=torch.float64))


def test_a_file_that_another_run_is_writing_is_refused(tmp_path):
    """Such as a task that was given up as lost, and its second try."""
    path = tmp_path / "s"
    with ScoreStore(path, FACTS, resume=False) as store:
        store.append(torch.ones(3))
        before = path.read_bytes()
        with pytest.raises(ValueError, match="another process is writing it"):
            ScoreStore(path, FACTS, resume=True)
        store.append(torch.ones(3))
    assert path.read_bytes().startswith(before)
    with ScoreStore(path, FACTS, resume=True) as store:
        assert store.chunks == 2
