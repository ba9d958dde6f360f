"""Splits are by subject, stratified and seeded; what leaks is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyadx.data.cohort import load_plan, plan_splits

pytest.importorskip("sklearn")


def people(controls, patients):
    return {f"s{i:03}": "NC" if i < controls else "AD" for i in range(controls + patients)}


def test_the_papers_plan():
    labels = people(56, 47)
    plan = plan_splits(labels, set_aside={"AD": 5, "NC": 3})
    assert len(plan.rounds) == 25
    assert len(plan.set_aside) == 8
    assert sorted(labels[s] for s in plan.set_aside) == ["AD"] * 5 + ["NC"] * 3
    for first in range(0, 25, 5):
        tests = [s for one in plan.rounds[first : first + 5] for s in one.test]
        assert sorted(tests) == sorted(set(labels) - set(plan.set_aside))  # everybody is tested once
    assert len({one.test for one in plan.rounds}) == 25  # shuffles differ


@settings(max_examples=50, deadline=None)
@given(st.integers(6, 40), st.integers(6, 40), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_nobody_is_on_both_sides_and_folds_are_stratified(controls, patients, folds, seed):
    labels = people(controls, patients)
    plan = plan_splits(labels, 2, folds, seed, {"AD": 1})
    for one in plan.rounds:
        assert not set(one.train) & set(one.test)
        assert not {*one.train, *one.test} & set(plan.set_aside)
        assert len(one.train) + len(one.test) == controls + patients - 1
        sick = sum(labels[s] == "AD" for s in one.test)
        assert abs(sick - (patients - 1) / folds) < 1


def test_the_seed_decides_and_files_give_back_the_plan(tmp_path):
    labels = people(20, 20)
    plan = plan_splits(labels, seed=3)
    assert plan_splits(dict(reversed(labels.items())), seed=3) == plan
    assert plan_splits(labels, seed=4) != plan
    plan.save(tmp_path / "splits.json")
    assert load_plan(tmp_path / "splits.json", labels) == plan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["rounds"][0]["train"].append(d["rounds"][0]["test"][0]), "is on both sides"),
        (lambda d: d["rounds"][1]["test"].append(d["set_aside"][0]), "is set aside and yet used"),
        (lambda d: d["rounds"][1]["train"].append(d["set_aside"][0]), "is set aside and yet used"),
        (lambda d: d["rounds"][0]["test"].append("stranger"), "stranger is not among the labels"),
        (lambda d: d["rounds"][0]["train"].append(d["rounds"][0]["train"][0]), "listed twice"),
        (lambda d: d["rounds"][0].update(train=d["rounds"][0]["train"][:2]), "trains on one class only"),
        (lambda d: d["rounds"].append(d["rounds"][0]), "unique names"),
        (lambda d: d["rounds"].clear(), "needs rounds"),
        (lambda d: d.pop("labels"), "is not a split file"),
        (lambda d: d["labels"].update(extra="NC"), "extra is not in the cohort"),
        (lambda d: d["labels"].update(s000="AD"), "s000 is of another class in the cohort"),
    ],
)
def test_a_split_file_that_leaks_or_is_about_others_is_refused(change, words, tmp_path):
    labels = people(10, 10)
    path = tmp_path / "splits.json"
    plan_splits(labels, 1, 5, set_aside={"NC": 2, "AD": 2}).save(path)
    data = json.loads(path.read_text())
    data["rounds"][0]["train"].sort()
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=words):
        load_plan(path, labels)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": 6}, "6 folds need 6 subjects of every class; AD has 5"),
        ({"set_aside": {"AD": 9}}, "cannot set 9 subjects of AD aside: there are 5"),
        ({"set_aside": {"AD": 2}}, "AD has 3 that are not set aside"),
        ({"set_aside": {"AD": 2}}, "set nobody aside with --set-aside none"),
        ({"set_aside": {"AD": 9}}, "or --set-aside none"),
        ({"folds": 1}, "2 folds at least"),
    ],
)
def test_impossible_plans_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        plan_splits(people(8, 5), **options)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rounds": 3}'])
def test_a_file_that_is_no_plan(text, tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a split file"):
        load_plan(path)
