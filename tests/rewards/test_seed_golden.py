"""Visual-RFT, UI-Venus and RoboRefer: the rewards against golden cases of the original code and of the papers."""

import json

import pytest

from rrft_jax.answers.actions import read_action, read_published_action
from rrft_jax.answers.detections import read_detections
from rrft_jax.rewards import class_name, detection, grounding, pointing, reward_set, screen_action, screen_box
from rrft_jax.rewards.points import text_points
from tests.golden import golden_path
from tests.rewards.helpers import example

VISUAL = {
    "visual_rft.det_iou": detection.iou_paper,
    "visual_rft.det_conf": detection.confidence_paper,
    "visual_rft.lisa_giou": grounding.paper,
    "visual_rft.cls": class_name.paper,
}
DEFAULTS = {"visual_rft.det_iou": detection.iou, "visual_rft.det_conf": detection.confidence}


def cases(name):
    return json.loads(golden_path(f"rewards/{name}.json").read_text())


def rewards_of(weights, text, **metadata):
    scored = reward_set(weights).score([text], [example("-", metadata=metadata)], [0], 0)
    assert not scored.failures
    return dict(zip(scored.names, scored.values[:, 0].tolist(), strict=True)), float(scored.total[0])


def test_visual_rft():
    for case in cases("visual_rft"):
        (value,) = VISUAL[case["fn"]]([case["pred"]], [example(case["sol"])], [0], 0)
        assert value == pytest.approx(case["reward"], abs=1e-12), case


def test_the_default_departs_from_visual_rft_where_an_answer_can_be_read_and_only_there():
    """Line breaks around the list, and a last item that was cut off."""
    for case in cases("visual_rft"):
        if case["fn"] in DEFAULTS:
            (value,) = DEFAULTS[case["fn"]]([case["pred"]], [example(case["sol"])], [0], 0)
            if "\n" in case["pred"] or "</answer>" not in case["pred"] and "<answer>" in case["pred"]:
                assert value > case["reward"] == 0.0
            else:
                assert value == pytest.approx(case["reward"], abs=1e-12), case


def test_ui_venus_parser_with_its_quirks_and_without():
    for case in cases("ui_venus_actions"):
        found = read_published_action(case["action"])
        plain = found and [found.name, {k: list(v) if isinstance(v, tuple) else v for k, v in found.values.items()}]
        assert plain == case.get("parsed"), case
        if found:  # what the published parser reads, the tolerant one reads too
            assert read_action(case["action"]).name == found.name
    assert read_action("Scroll(start=(500, 1500), end=(500, 500), direction='down')").values["direction"] == "down"
    assert read_action('Type(content="hi")').values["content"] == "hi"
    for text in ("click(868, 398)", "Click(box=[868, 398])", "Click((868,398))"):
        assert read_action(text).values == {"box": (868.0, 398.0)}


def test_ui_venus_grounding():
    given = cases("ui_venus_roborefer")["ui_venus_grounding"]
    for case in given["cases"]:
        scored = reward_set(
            {"box_format": given["w1"], "in_box": given["w2"]}, options={"in_box": {"coordinates": "pixels"}}
        ).score([case["pred"]], [example("-", metadata={"box": case["gt_box"]})], [0], 0)
        parts = dict(zip(scored.names, scored.values[:, 0].tolist(), strict=True))
        wanted = {"box_format": case["format"], "in_box": case["point"]}
        if len(case["pred"].split(",")) == 2:  # a point alone is read too; the format costs
            wanted["in_box"] = parts["in_box"]
        assert parts == wanted, case


def test_ui_venus_navigation():
    given = cases("ui_venus_roborefer")["ui_venus_navigation"]
    p = given["params"]
    weights = {
        "action_format": p["w1"],
        **dict.fromkeys(("action_type", "action_coordinates", "action_content"), p["w2"]),
    }
    options = {
        "action_coordinates": {
            "coordinates": "pixels", "measure": "pixels", "near": p["d2"], "far": p["d1"], "start": p["d3"],
            "alpha": p["alpha"], "beta": p["beta"],
        },
        "action_content": {"gamma": p["gamma"]},
    }  # fmt: skip
    for case in given["cases"]:
        scored = reward_set(weights, options=options).score(
            [case["pred"]], [example("-", metadata={"action": case["gt"]})], [0], 0
        )
        assert not scored.failures
        assert scored.values[:, 0].tolist() == [case[key] for key in ("format", "type", "coord", "content")], case
        assert scored.total[0] == pytest.approx(case["total"])


def test_roborefer_rewards():
    given = cases("ui_venus_roborefer")["roborefer"]
    size = [given["width"], given["height"]]
    weights = {"format_paper": 1.0, "point_near_paper": 1.0, "steps_format": 0.25, "steps_accuracy_paper": 0.25}
    for case in given["cases"]:
        point = [share * side for share, side in zip(case["gt_point"], size, strict=True)]
        parts, total = rewards_of(weights, case["pred"], size=size, point=point, key_steps=given["keys"])
        assert list(parts.values()) == [case[key] for key in ("of", "p", "pf", "acc")], case
        assert total == pytest.approx(case["total"])


def test_roborefer_points():
    for case in cases("roborefer_points"):
        found = text_points(case["text"], case["width"], case["height"], case["is_absolute"])
        assert [[r.x, r.y] for r in found] == case["points"], case
        assert not any(r.box for r in found)


KEYS = [["Position", "cup", [0.5, 0.5]], ["Orientation", "cup", [1, 0, 0]], ["Size", "cup", 0.2]]
PLACE, TURN, SIZE = "[Position] [cup]: [(0.6, 0.5)]", "[Orientation] [cup]: (5, 3, 0)", "[Size] [cup]: 0.23"


def of_300x400(**metadata):
    """A diagonal of 500 pixels, of which the 0.0625 of the defaults are 31.25."""
    return example("-", metadata={"size": [300, 400], "point": [150, 200], "key_steps": KEYS, **metadata})


def test_points_by_hand():
    said = ["(0.6, 0.5) or (0, 0)", "(0.55, 0.55)", "<answer>(0.6, 0.5)</answer>", "there"]  # 30 and 15 + 20 pixels off
    near = lambda reward, **options: reward(said, [of_300x400()] * 4, [0] * 4, 0, **options)  # noqa: E731
    assert near(pointing.point_near) == near(pointing.point_near, share=0.06) == [1, 0, 1, 0]
    assert near(pointing.point_near, share=0.0599) == [0, 0, 0, 0]
    assert near(pointing.point_near_paper) == near(pointing.point_near_paper, pixels=30) == [0, 0, 1, 0]
    assert near(pointing.point_near_paper, pixels=29) == [0, 0, 0, 0]
    assert near(pointing.point_near).unread == {3} and near(pointing.point_near_paper).unread == {0, 1, 3}
    edge = [f"<answer>({at})</answer>" for at in ("0.625, 0.53125", "0.625, 0.534")]  # 50 and 51.1 pixels
    assert pointing.point_near_paper(edge, [of_300x400()] * 2, [0, 0], 0) == [1, 0]
    for point in (None, [1], [1, 2, 3], ["1", 2], [1, True]):
        (error,) = pointing.point_near(said[:1], [of_300x400(point=point)], [0], 0).errors.values()
        assert "give [x, y] in pixels" in error


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        ([PLACE, TURN, SIZE], 1),
        ([SIZE.replace("0.23", "0.17"), PLACE], 2 / 3),
        ([PLACE.replace("0.5)", "0.51)")], 0),  # 34 pixels
        ([TURN.replace("5", "4")], 0),  # a cosine of 0.8
        ([SIZE.replace("0.23", "0.231")], 0),
        ([SIZE.replace("0.23", "0.169")], 0),
        ([SIZE.replace("0.23", "0.9"), SIZE], 0),  # the first counts
        ([SIZE.replace("cup", "cake")], 0),
    ],
)
def test_steps_by_hand(steps, value):
    text = f"<think>{' '.join(steps)}</think><answer>-</answer>"
    assert pointing.steps_accuracy([text], [of_300x400()], [0], 0) == pytest.approx([value])


def test_steps_of_records():
    text = [f"<think>{PLACE}</think>"]
    assert pointing.steps_accuracy(text, [of_300x400()], [0], 0, share=0.06) == [0]  # nearer than 30 pixels
    edge = [f"<think>[Position] [cup]: [({at})]</think>" for at in ("0.625, 0.53125", "0.62, 0.533")]  # 50 and 49.2
    assert pointing.steps_accuracy_paper(edge, [of_300x400()] * 2, [0, 0], 0) == pytest.approx([0, 1 / 3])
    assert pointing.steps_accuracy_paper(text, [of_300x400()], [0], 0, pixels=30) == [0]
    assert pointing.steps_accuracy(text, [of_300x400(key_steps=None)], [0], 0) == [None]
    for wrong in (["Position", "cup", [0.5]], ["Position", "cup"], "Position", ["Colour", "cup", 1]):
        values = pointing.steps_accuracy(text, [of_300x400(key_steps=[wrong])], [0], 0)
        assert values == [None] and "give [kind, object, value]" in values.errors[0]


def acted(reward, gold, *said, **options):
    """Rewards of actions in the pixels of a picture with a diagonal of 500."""
    if reward in (screen_action.action_coordinates, screen_action.action_step):
        options = {"coordinates": "pixels", **options}
    record = of_300x400(action=gold, box=options.pop("box", None))
    texts = [f"<think>t</think><action>{action}</action>" for action in said]
    return reward(texts, [record] * len(said), [0] * len(said), 0, **options)


CLICK, LEFT_TO_RIGHT, DOWN = "Click(box=(100, 100))", "Drag(start=(0, 0), end=(100, 0))", "start=(100, 100), end="


@pytest.mark.parametrize(
    ("gold", "said", "value"),
    [
        (CLICK, "Click(box=(119, 100))", 1),
        (CLICK, "Click(box=(120, 100))", 0.5),  # 0.04 of the diagonal
        (CLICK, "Click(box=(100, 169))", 0.5),
        (CLICK, "Click(box=(100, 170))", 0),  # 0.14
        (CLICK, "LongPress(box=(100, 100))", 0),
        (LEFT_TO_RIGHT, LEFT_TO_RIGHT, 1),
        (LEFT_TO_RIGHT, "Drag(start=(0, 0), end=(200, 0))", 0.5),
        (LEFT_TO_RIGHT, "Drag(start=(0, 99), end=(120, 0))", 0.25),
        (f"Scroll({DOWN}(100, 200))", f"Scroll({DOWN}(100, 269))", 1.5),
        (f"Scroll({DOWN}(100, 200))", f"Scroll({DOWN}(100, 270))", 1),
        (f"Scroll({DOWN}(100, 200))", f"Scroll({DOWN}(200, 100))", 0.5),
        (f"Scroll({DOWN}(100, 200))", f"Scroll({DOWN}(100, 100))", 0.5),  # nowhere
        (f"Scroll({DOWN}(100, 200))", "Scroll(start=(100, 170), end=(100, 200))", 0.5),
        (f"Scroll({DOWN}(100, 200))", "Scroll(start=(100, 170), end=(200, 170))", 0),
        (f"Scroll({DOWN}(100, 200))", "Scroll(direction='down')", 0),
        ("Scroll(direction='down')", "Scroll(direction='down')", 1.5),
        ("Scroll(direction='down')", "Scroll(direction='up')", 0),
        ("Wait()", "Wait()", 0),
    ],
)
def test_places_of_actions_by_hand(gold, said, value):
    assert acted(screen_action.action_coordinates, gold, said) == [value]
    assert acted(screen_action.action_coordinates, gold, said, alpha=2.0, beta=2.0) == [2 * value]


def test_distances_of_actions_in_pixels():
    given = {"coordinates": "thousandths", "measure": "pixels", "near": 21.0, "far": 71.0}
    said = ["Click(box=(400, 250))", "Click(box=(404, 250))", "Click(box=(567, 250))", "Click(box=(570, 250))"]
    assert acted(screen_action.action_coordinates, CLICK, *said, **given) == [1, 0.5, 0.5, 0]  # 20, 21.2, 70.1, 71
    with pytest.raises(ValueError, match="measure='miles': choose one of diagonal, pixels"):
        acted(screen_action.action_coordinates, CLICK, CLICK, measure="miles")
    with pytest.raises(ValueError, match="parser='strict': choose one of tolerant, published"):
        acted(screen_action.action_type, CLICK, CLICK, parser="strict")


@pytest.mark.parametrize(
    ("gold", "said", "content", "step"),
    [
        ("Type(content='a b c d')", "Type(content='A b x y')", 1, 1),  # an F1 of 1/2
        ("Type(content='a b c d')", "Type(content='a b x y z')", 0, 0),
        ("Type(content='')", "Type(content='a')", 0, 0),
        ("Finished(content='')", "Finished(content='done')", 0, 1),
        ("Finished(content='done')", "Finished(content='no')", 0, 0),
        ("Launch(app='Clock')", "Launch(app='clock')", 1, 1),
        ("Launch(app='Clock')", "Launch(app='Maps')", 0, 0),
        ("Wait()", "Wait()", 0, 1),
        ("Wait()", "PressHome()", 0, 0),
        (CLICK, "Click(box=(100, 170))", 0, 1),
        (CLICK, "Click(box=(100, 171))", 0, 0),
        (LEFT_TO_RIGHT, "Drag(start=(0, 70), end=(170, 0))", 0, 1),
        (LEFT_TO_RIGHT, "Drag(start=(0, 0), end=(171, 0))", 0, 0),
        (LEFT_TO_RIGHT, "Drag(start=(0, 71), end=(100, 0))", 0, 0),
        (f"Scroll({DOWN}(100, 200))", "Scroll(start=(9, 9), end=(12, 13))", 0, 1),
        (f"Scroll({DOWN}(100, 200))", "Scroll(start=(9, 13), end=(12, 9))", 0, 0),
    ],
)
def test_texts_and_steps_of_actions_by_hand(gold, said, content, step):
    assert acted(screen_action.action_content, gold, said) == [content]
    assert acted(screen_action.action_content, gold, said, gamma=3.0) == [3 * content]
    assert acted(screen_action.action_step, gold, said) == [step]


def test_a_click_must_lie_in_the_box_of_its_element():
    places = [(90, 95), (110, 105), (100, 95), (100, 105), (89, 100), (111, 100), (100, 94), (100, 106)]
    said = [f"Click(box={at})" for at in places]
    assert acted(screen_action.action_step, CLICK, *said, box=[90, 95, 110, 105]) == [1] * 4 + [0] * 4


def test_what_is_no_action_is_counted():
    values = acted(screen_action.action_type, CLICK, "Click(box=(1, 1))", "Wait()", "tap it")
    assert values == [1, 0, 0] and values.unread == {2}
    (error,) = acted(screen_action.action_type, "Tap(1, 2)", CLICK).errors.values()
    assert "action is 'Tap(1, 2)'; give one such as" in error


def test_directions_and_words_by_hand():
    ways = {(6, 5): "+x", (-6, 5): "-x", (5, 6): "+y", (5, -6): "-y", (5, 5): "+y", (0, 0): ""}
    ways |= {(-0.5, 0): "-x", (0.5, 0): "+x", (0, -0.5): "-y"}
    for end, way in ways.items():
        assert screen_action.direction(read_action(f"Scroll(start=(0, 0), end={end})")) == way
    texts = [("", ""), ("a", ""), ("a a", "a"), ("B c", "b"), ("a b", "a b")]
    assert [screen_action.word_f1(*pair) for pair in texts] == pytest.approx([1, 0, 2 / 3, 2 / 3, 1])


def test_grounding_of_a_step_by_hand():
    def grounded(action, gold="Click(box=(100, 120))", **metadata):
        return screen_action.grounded(f"<think>t</think><action>{action}</action>", of_300x400(action=gold, **metadata))

    places = ["(472, 300)", "(475, 300)", "(333, 439)", "(333, 441)"]  # 0.139, 0.142, 0.139 and 0.141 of a side
    assert [grounded(f"LongPress(box={at})") for at in places] == [1, 0, 1, 0]
    assert grounded("Click(box=(140, 0))", "Click(box=(0, 0))", size=[100, 100]) == 1  # within 0.14
    for name in ("box", "element"):
        corners = ["(20, 25)", "(40, 75)", "(19, 50)", "(41, 50)", "(30, 24)", "(30, 76)"]
        found = [grounded(f"Click(box={at})", "Click(box=(290, 390))", **{name: [6, 10, 12, 30]}) for at in corners]
        assert found == [1, 1, 0, 0, 0, 0]
    assert grounded("Wait()") == grounded("nothing") == 0 and grounded(CLICK, "Wait()") is None


def test_boxes_of_a_screen_by_hand():
    said = ["[10,20,30,40]", "[-1,-1]", "[20,30]", "[1,2,3]", "[30,40,10,20]", "<answer>[20,30]</answer>"]
    unread = ["there", "<think>t</think>[20,30]", "<think>[20,30]"]
    record = lambda metadata: [of_300x400(**metadata)] * 9  # noqa: E731
    scored = lambda reward, **metadata: reward([*said, *unread], record(metadata), [0] * 9, 0)  # noqa: E731
    assert scored(screen_box.box_format) == [1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert scored(screen_box.point_format) == [0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert scored(screen_box.in_box, box=[6, 12, 7, 13]) == [1, 0, 1, 0, 1, 1, 0, 0, 0]  # the point is (6, 12)
    assert scored(screen_box.in_box, box=[7, 12, 9, 13]) == [0] * 9
    assert scored(screen_box.in_box, box=None) == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert scored(screen_box.in_box, box=None).unread == {6, 7, 8}
    for box in ([9, 9, 5, 5], [1, 2, 3], "none"):
        assert "give [x1, y1, x2, y2] in pixels" in scored(screen_box.in_box, box=box).errors[0]


def test_pictures_without_the_object_are_scored():
    absent = example("No Objects")
    said = [
        "<think>t</think><answer>No Objects</answer>",
        "<answer>[{'Position': [1, 2, 3, 4], 'Confidence': 1}]</answer>",
    ]
    assert detection.iou(said, [absent] * 2, [0, 0], 0) == [1.0, 0.0]
    assert detection.confidence(said, [absent] * 2, [0, 0], 0) == [1.0, 0.0]
    assert detection.iou_paper(said, [absent] * 2, [0, 0], 0) == [0.0, 0.0]
    assert detection.found(said, [absent] * 2, [0, 0], 0) == [1.0, 0.0]


def test_detections_by_hand():
    """A right box, and perhaps a wrong one; a confidence beyond 1, which the published reader takes."""
    right, wrong, sure = (
        f"{{'Position': {at}, 'Confidence': {c}}}" for at, c in (("[0, 0, 9, 9]", 1), ("[50, 50, 59, 59]", 1),
                                                                ("[0, 0, 9, 9]", 5))
    )  # fmt: skip
    said = [f"<answer>[{', '.join(boxes)}]</answer>" for boxes in ([right], [right, wrong], [sure], [wrong])]
    missed, alone = example(f"[{right}, {wrong.replace('5', '7')}]"), example(f"[{right}]")
    assert detection.mean_iou_paper(said, [missed] * 4, [0] * 4, 0) == [1.0, 0.5, 1.0, 0.0]
    assert detection.found(said[:2], [alone] * 2, [0, 0], 0) == pytest.approx([1, 2 / 3])
    assert detection.confidence_paper(said[2:], [alone] * 2, [0, 0], 0) == [1.0, 0.0]
    assert detection.confidence_paper(said[2:3], [example(f"[{wrong}]")], [0], 0) == [0.0]  # 1 - 5
    assert detection.overlap([], []) == detection.certainty([], []) == 0.0
    scored = reward_set({"detection_iou": 1.0}).score([*said, "none"], [alone] * 5, [0] * 5, 0)
    assert scored.metrics["parse_fail/detection_iou"] == (2.0, 5.0)  # and the confidence of 5


def test_groundings_by_hand():
    """An IoU of 1/2, a box beside the gold one, and texts without one box."""
    said = ["(0,0),(10,20)", "(20,0),(30,10)", "(0,0),(10,10) (0,0),(10,10)", "there", "(10,0),(0,10)"]
    one = example("(0,0),(10,10)")
    assert grounding.grounding_iou(said, [one] * 5, [0] * 5, 0) == [0.5, 0, 0, 0, 0]
    assert grounding.grounding_giou(said, [one] * 5, [0] * 5, 0) == pytest.approx([1.5, 2 / 3, 0, 0, 0])
    assert grounding.grounding_hit(said, [one] * 5, [0] * 5, 0) == [0] * 5  # above 1/2
    assert grounding.grounding_hit(["(0,0),(10,19)"], [one], [0], 0) == [1]
    scored = reward_set({"grounding_iou": 1.0}).score(said, [one] * 5, [0] * 5, 0)
    assert scored.metrics["parse_fail/grounding_iou"] == (3.0, 5.0)


@pytest.mark.parametrize(
    ("said", "gold", "value"),
    [
        ("(0, 0), (1, 1)", "(0,0),(1,1)", 2),
        ("(20,0),(30,10)", "(0,0),(10,10)", 2 / 3),
        ("(0,20),(10,30)", "(0,0),(10,10)", 2 / 3),
        ("(0,0),(4,9) (10,10),(9,9)", "(0,0),(10,10)", 2),  # the first corners of two
        ("(0,0),(4,9) (10,10),(9,9) (7,7),(8,8)", "(0,0),(10,10)", 2),
        ("(1,1),(1,1)", "(5,5),(5,5)", 0),  # no area
        ("(10,0),(0,10)", "(0,0),(0,10)", 0),  # nothing around
        ("(10,0),(0,10)", "(0,0),(5,10)", 2),  # cut to 1
    ],
)
def test_the_published_giou_by_hand(said, gold, value):
    assert grounding.paper([f"<answer>{said}</answer>"], [example(gold)], [0], 0) == pytest.approx([value])


def test_the_holes_of_classification_are_closed_unless_the_published_rule_is_wanted():
    said = [
        "<answer></answer>",
        "<answer>r</answer>",
        "<answer>rose, tulip, daisy, lily</answer>",
        "<answer>Rose</answer>",
    ]
    assert class_name.paper(said, [example("rose")] * 4, [0] * 4, 0) == [1.0, 1.0, 1.0, 1.0]
    assert class_name.class_name(said, [example("rose")] * 4, [0] * 4, 0) == [0.0, 0.0, 0.0, 1.0]
    halves = ["<answer>rosebush</answer>", "<answer>rose bushes</answer>"]
    assert class_name.class_name(halves, [example("rose")] * 2, [0, 0], 0) == [1.0, 0.0]


def test_what_reads_as_detections():
    one = [((1.0, 2.0, 3.0, 4.0), 0.5)]
    for text in (
        '[{"Position": [1, 2, 3, 4], "Confidence": 0.5}]', "[{'position': (1,2,3,4), 'confidence': '0.50'}]",
        "<answer>\n[{'Position': [1, 2,\n3, 4], 'Confidence': 0.5}, {'Position': [5, 6", "[{'a': \"it's\", "
        "'Position': [1, 2, 3, 4], 'Confidence': 0.5}]",
    ):  # fmt: skip
        assert read_detections(text) == one, text
    assert read_detections("[]") == read_detections("No Objects.") == []
    for text in (
        "", "a cube", "[{'Position': [1, 2, 3], 'Confidence': 1}]", "[{'Position': [1, 2, 3, NaN], 'Confidence': 1}]",
        "[{'Position': [1, 2, 3, 4], 'Confidence': 2}]", "[{'Position': [1, 2, 3, 4]}]",
    ):  # fmt: skip
        assert read_detections(text) is None, text
