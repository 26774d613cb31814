"""Question and answer texts of TRANCE, on the real sample's metadata."""

import pytest

from rrft_jax.data.trance_text import answer_text, problem_text

# Sample 0 of the published example (github.com/hughplay/TVR, MIT), as far as the texts need it.
OBJECTS = [
    {"color": "gray", "material": "metal", "shape": "cylinder", "size": "small", "position": [-19, 37]},
    {"color": "purple", "material": "metal", "shape": "cylinder", "size": "large", "position": [40, 40]},
    {"color": "yellow", "material": "glass", "shape": "cube", "size": "small", "position": [0, -14]},
]
CHANGES = [
    {"obj_idx": 2, "attr": "color", "val": "cyan", "options": ["cyan"]},
    {"obj_idx": 2, "attr": "position", "val": ["behind", 2], "options": [["behind", 2]], "type": "inner"},
    {"obj_idx": 4, "attr": "color", "val": "brown", "options": ["brown"]},
]


def test_the_real_sample():
    assert problem_text(OBJECTS) == (
        "The attributes of the initial objects: [('0','cylinder','small','gray','metal'), "
        "('1','cylinder','large','purple','metal'), ('2','cube','small','yellow','glass')]"
    )
    assert answer_text(CHANGES) == "change_color(2, cyan), change_position(2, behind), change_color(4, brown)"


def test_directions_lose_their_step_and_their_hyphen():
    for given in (["front-left", 2], ("front-left", 1), "front-left", "front_left"):
        assert answer_text([{"obj_idx": 2, "attr": "position", "val": given}]) == "change_position(2, front_left)"


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ([], "no objects"),
        ([OBJECTS[0], {**OBJECTS[1], "size": "huge"}], "object 1: size 'huge' is not one of small, medium, large"),
        ([{"color": "gray", "material": "metal", "size": "small"}], "object 0: shape None"),
        ([{**OBJECTS[0], "color": ["gray"]}], "object 0: color"),
    ],
)
def test_wrong_objects_are_named(objects, says):
    with pytest.raises(ValueError, match=says):
        problem_text(objects)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([], "no transformations"),
        ([CHANGES[0], {"obj_idx": 1, "attr": "weight", "val": "heavy"}], "transformation 1: attr 'weight'"),
        ([{"obj_idx": 1, "attr": "position", "val": ["up", 1]}], "transformation 0: position 'up'"),
        ([{"obj_idx": 1, "attr": "position", "val": []}], "transformation 0: position"),
        ([{"obj_idx": "1", "attr": "color", "val": "cyan"}], "object '1' is no number"),
        ([{"obj_idx": -1, "attr": "color", "val": "cyan"}], "object -1 is no number"),
        ([{"attr": "color", "val": "cyan"}], "object None is no number"),
    ],
)
def test_wrong_transformations_are_named(changes, says):
    with pytest.raises(ValueError, match=says):
        answer_text(changes)
