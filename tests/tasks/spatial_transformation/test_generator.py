"""Spatial examples: exact and unambiguous answers, true viewpoints, visible changes, functions of their address."""

import math
import re
import subprocess
import sys
from collections import Counter
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.trance_text import VALUES as TRANCE_VALUES
from rrft_jax.data.trance_text import answer_text, problem_text
from rrft_jax.tasks.scenes.camera import project
from rrft_jax.tasks.scenes.render import object_layer, render
from rrft_jax.tasks.spatial_transformation.changes import NUMBERS, VALUES, apply
from rrft_jax.tasks.spatial_transformation.generator import IMAGE_SIZE, NAME, example, scenes_of, transformation
from rrft_jax.tasks.spatial_transformation.scene import CENTRE, DOMAINS, STEP
from tests.helpers.visible import visible_shares

MANY = 200
SIDE = 112
FUNCTION = re.compile(r"(\w+)\((\w+),\s*'?(\w+)'?\)")  # as the published reward reads answers
# In units of a step: to the central camera's right, and away from it.
MOVES = {
    "front": (0, -1),
    "behind": (0, 1),
    "left": (-1, 0),
    "right": (1, 0),
    "front_left": (-1, -1),
    "front_right": (1, -1),
    "behind_left": (-1, 1),
    "behind_right": (1, 1),
}
FIELDS = ("size", "color", "material", "shape")


@pytest.fixture(scope="module", params=sorted(DOMAINS))
def drawn(request):
    return request.param, [transformation(11, index, "test", request.param) for index in range(MANY)]


def replayed(made) -> list[list]:
    """The final objects as [size, colour, material, shape, x, y], from the answer's text and the initial scene."""
    objects = [[*thing.attributes(), thing.x, thing.y] for thing in made.before]
    answer = example_answer(made)
    for name, number, value in FUNCTION.findall(answer):
        row = objects[int(number)]
        if name == "change_position":
            row[4] += STEP * MOVES[value][0]
            row[5] += STEP * MOVES[value][1]
        else:
            row[FIELDS.index(name.removeprefix("change_"))] = value
    return objects


def example_answer(made) -> str:
    return ", ".join(f"change_{c.attribute}({c.number}, {c.value})" for c in made.changes)


def test_the_answer_applied_to_the_initial_scene_gives_the_final_one(drawn):
    for made in drawn[1]:
        for row, thing, before in zip(replayed(made), made.after, made.before, strict=True):
            assert tuple(row[:4]) == thing.attributes()
            assert (row[4], row[5]) == pytest.approx((thing.x, thing.y))
            assert thing.angle == before.angle
        for change in made.changes:  # no function restates what was so
            assert change.value not in made.before[change.number].attributes()


def test_nothing_as_short_explains_the_pictures(drawn):
    """Every way to say which final object is which initial one, a move being a step give or take a third of one."""
    for made in drawn[1]:
        costs = {}
        for order in permutations(range(len(made.before))):
            total = 0
            for old, new in zip(made.before, (made.after[i] for i in order), strict=True):
                total += sum(a != b for a, b in zip(old.attributes(), new.attributes(), strict=True))
                aside, deep = (new.x - old.x) / STEP, (new.y - old.y) / STEP
                near = [v for v in ((0, 0), *MOVES.values()) if math.dist(v, (aside, deep)) < 1 / 3]
                total += math.inf if not near else near[0] != (0, 0)
            costs[order] = total
        own = costs.pop(tuple(range(len(made.before))))
        assert own == len(made.changes)
        assert all(cost > own for cost in costs.values())


def test_answers_are_short_sorted_and_spread(drawn):
    calls = [FUNCTION.findall(example_answer(made)) for made in drawn[1]]
    for made, found in zip(drawn[1], calls, strict=True):
        keys = [(int(number), list(VALUES).index(name.removeprefix("change_"))) for name, number, _ in found]
        assert keys == sorted(set(keys)) and 1 <= len(keys) <= 4
        assert max(Counter(number for number, _ in keys).values()) <= 2
        assert sum(name == "change_position" for name, *_ in found) <= 2
        assert 3 <= len(made.before) <= 5
    lengths = Counter(map(len, calls))
    for number, share in NUMBERS.items():
        assert lengths[number] / MANY == pytest.approx(share, abs=0.11)
    values = Counter(value for found in calls for *_, value in found)
    assert set(values) == {value for values in TRANCE_VALUES.values() for value in values}
    for names in TRANCE_VALUES.values():  # no value of an attribute is rare
        assert min(values[name] for name in names) > 0.3 * sum(values[name] for name in names) / len(names)


def test_values_are_those_of_the_published_answers():
    assert {name: set(values) for name, values in VALUES.items()} == {
        name: set(values) for name, values in TRANCE_VALUES.items()
    }


def test_ids_go_from_left_to_right_in_the_initial_picture(drawn):
    for made in drawn[1]:
        across = [project(CENTRE.camera, np.array(t.centre), SIDE, SIDE)[0][0] for t in made.before]
        assert np.all(np.diff(across) > 4)


def test_directions_are_those_of_the_central_camera():
    """In its picture a move to the right goes to the right, one to the front goes down, and a diagonal does both."""
    seen = set()
    for index in range(150):
        made = transformation(3, index, "directions")
        for change in made.changes:
            if change.attribute != "position":
                continue
            aside, deep = MOVES[change.value]
            # The foot, whose height does not depend on size and shape.
            feet = [(made.before[change.number].x, made.before[change.number].y, 0.0)]
            feet += [(made.after[change.number].x, made.after[change.number].y, 0.0)]
            (x0, y0), (x1, y1) = project(CENTRE.camera, np.array(feet), SIDE, SIDE)[0]
            assert 26 < (x1 - x0) * aside < 32 if aside else abs(x1 - x0) < 3
            assert 20 < (y0 - y1) * deep < 27 if deep else abs(y1 - y0) < 3
            seen.add(change.value)
    assert seen == set(MOVES)


@pytest.mark.parametrize(("domain", "side"), [("left", -1), ("right", 1)])
def test_side_cameras_stand_at_their_side(domain, side):
    camera = DOMAINS[domain].camera
    assert side * camera.position[0] > 10 and camera.position[1] < -10
    # Far and near on the central camera's axis: seen from the right, the far one is to the right of the near one.
    pixels, depth = project(camera, np.array([[0, 2.0, 0], [0, -2.0, 0]]), SIDE, SIDE)
    assert side * (pixels[0, 0] - pixels[1, 0]) > 15 and depth[0] > depth[1]
    # What stands at that side is nearer than what stands at the other.
    _, depth = project(camera, np.array([[side * 2.0, 0, 0], [-side * 2.0, 0, 0]]), SIDE, SIDE)
    assert depth[0] < depth[1]


def test_side_domains_draw_the_final_picture_from_there_and_the_initial_one_from_the_centre():
    for domain, view in DOMAINS.items():
        made, shown = transformation(2, 5, "views", domain), example(2, 5, "views", domain)
        np.testing.assert_array_equal(shown.images[0], render(made.before, CENTRE))
        np.testing.assert_array_equal(shown.images[1], render(made.after, view))


def test_every_object_is_whole_and_visible_in_every_view(drawn):
    for made, view in product(drawn[1][:30], DOMAINS.values()):
        for things in (made.before, made.after):
            assert visible_shares(things, view.camera).min() > 0.85
            for thing in things:
                rows, columns, layer = object_layer(thing, view.camera, SIDE, SIDE)
                covered = np.zeros((SIDE, SIDE))
                covered[rows, columns] = layer[3]
                assert (covered > 0).sum() > 60
                edge = np.concatenate([covered[0], covered[-1], covered[:, 0], covered[:, -1]])
                assert edge.max() < 0.9  # it touches the picture's edge at most, or it would be cut


def test_each_function_shows(drawn):
    """Undoing one function of an answer changes a patch of the final picture that one can see."""
    domain, made_all = drawn
    for made in made_all[:60]:
        final = render(made.after, DOMAINS[domain]).astype(int)
        for change in made.changes:
            without = apply(made.before, tuple(c for c in made.changes if c != change))
            differs = np.abs(final - render(without, DOMAINS[domain])).max(axis=-1) > 30
            assert differs.sum() >= 18, (change, made.before)


def test_supervision_of_the_tower_says_what_each_picture_shows():
    for index, domain in product(range(8), DOMAINS):
        made = transformation(5, index, "tower", domain)
        initial, final = scenes_of(5, index, "tower", domain)
        shown = example(5, index, "tower", domain)
        assert initial.things == made.before and final.things == made.after
        assert initial.ranks.tolist() == list(range(len(made.before)))
        for picture, image in zip((initial, final), shown.images, strict=True):
            np.testing.assert_array_equal(picture.render(SIDE), image)
            assert np.all(np.diff(picture.places[np.argsort(picture.ranks), 0]) > 0.03)
            for thing, spot in zip(picture.things, picture.places, strict=True):
                rows, columns, layer = object_layer(thing, picture.view.camera, SIDE, SIDE)
                y, x = np.indices(layer[3].shape) + 0.5
                weight = layer[3] / layer[3].sum()
                middle = ((weight * x).sum() + columns.start, (weight * y).sum() + rows.start)
                np.testing.assert_allclose(middle, spot * SIDE, atol=3)
        assert (
            shown.metadata["listing"]
            == "Objects: "
            + ", ".join(" ".join(made.after[number].attributes()) for number in np.argsort(final.places[:, 0]))
            + "."
        )


def test_an_example_is_a_function_of_its_address():
    first = example(4, 7, "train", "left")
    example(4, 8, "train", "left")
    again = example(4, 7, "train", "left")
    for one, other in zip(first.images, again.images, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == (*IMAGE_SIZE, 3) and one.dtype == np.uint8
    assert (first.id, first.problem, first.answer, first.cot, first.metadata) == (
        again.id,
        again.problem,
        again.answer,
        again.cot,
        again.metadata,
    )
    assert first.id == "spatial-left-train-4-000007" and first.task == NAME == "spatial_transformation"
    assert [image.shape for image in example(4, 7, image_size=56).images] == [(56, 56, 3)] * 2


def test_a_known_example_has_not_drifted():
    """The bundled model is trained on this distribution: a change here calls for training it again."""
    made = example(0, 4)
    assert made.problem == (
        "Initial objects:\n0 large brown metal sphere\n1 small purple rubber sphere\n2 small blue glass cylinder\n"
        "What changed?"
    )
    assert made.answer == "change_size(0, medium), change_position(2, front_right)"
    assert made.cot == (
        "0:0 large medium brown same metal same sphere same stays.\n"
        "1:1 small same purple same rubber same sphere same stays.\n"
        "2:2 small same blue same glass same cylinder same front_right."
    )
    assert [image.astype(float).mean() for image in made.images] == pytest.approx([183.854, 187.780], abs=0.05)


def test_metadata_has_the_form_of_the_real_data():
    for index in range(20):
        made = example(7, index, image_size=28)
        assert answer_text(made.metadata["transformations"]) == made.answer
        rows = re.findall(r"\('(\d)','(\w+)','(\w+)','(\w+)','(\w+)'\)", problem_text(made.metadata["objects"]))
        lines = [f"{number} {size} {colour} {material} {shape}" for number, shape, size, colour, material in rows]
        assert "\n".join(["Initial objects:", *lines, "What changed?"]) == made.problem
        assert made.metadata["num_functions"] == made.answer.count("change_")
        assert made.metadata["question_type"].split()[0] == str(made.metadata["num_functions"])
        assert made.metadata["num_objects"] == len(lines)


def test_splits_seeds_and_domains_are_disjoint():
    streams = [(0, "train"), (1, "train"), (0, "val"), (0, "trainx"), (0, "t")]
    seen = [
        transformation(seed, index, split, domain).before
        for (seed, split), domain, index in product(streams, DOMAINS, range(15))
    ]
    assert len(set(seen)) == len(seen)


def test_an_unknown_domain_is_refused():
    with pytest.raises(ValueError, match="'out'.*in, left, right"):
        example(0, 0, domain="out")


def test_contact_sheet_is_written(tmp_path):
    root = Path(__file__).parents[3]
    out = tmp_path / "out.png"
    options = [f"--task={NAME}", "--domain=right", "--n=2", f"--out={out}"]
    command = [sys.executable, "launch/contact_sheet.py", *options]
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as sheet:
        assert sheet.width > 2 * 2 * 3 * 112 and sheet.height > 3 * 112  # two pictures side by side
