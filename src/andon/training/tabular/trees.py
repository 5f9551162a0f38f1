"""The trees of the three libraries as the attributes of one ONNX operator.

Each library is read by its own dump. ONNX compares float32 rows with float32 thresholds.
scikit-learn and LightGBM ask `row <= threshold` with a double: the largest float32 that is not
above it gives the same answer for every float32 row. XGBoost asks `row < threshold` with a float32
already. Which way a missing value goes is kept for every node.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from andon.training.tabular.algorithms import Forest, LightGBM, XGBoost

Mode = Literal["BRANCH_LEQ", "BRANCH_LT"]

# LightGBM takes every value this near to 0 for 0, which is above a threshold just below 0.
_ZERO = float(np.float32(1e-35))
_BELOW_ZERO = float(np.nextafter(np.float32(-1e-35), np.float32(-1)))


@dataclass
class Trees:
    """Attributes of `TreeEnsembleRegressor`, one entry a node and one a leaf's weight."""

    mode: Mode
    nodes_treeids: list[int] = field(default_factory=list)
    nodes_nodeids: list[int] = field(default_factory=list)
    nodes_featureids: list[int] = field(default_factory=list)
    nodes_values: list[float] = field(default_factory=list)
    nodes_modes: list[str] = field(default_factory=list)
    nodes_truenodeids: list[int] = field(default_factory=list)
    nodes_falsenodeids: list[int] = field(default_factory=list)
    nodes_missing_value_tracks_true: list[int] = field(default_factory=list)
    target_treeids: list[int] = field(default_factory=list)
    target_nodeids: list[int] = field(default_factory=list)
    target_ids: list[int] = field(default_factory=list)
    target_weights: list[float] = field(default_factory=list)

    def split(
        self, tree: int, node: int, *, feature: int, limit: float, ways: tuple[int, int], left: bool
    ) -> None:
        """A node that asks; `ways` are the nodes for yes and no, `left`: missing means yes."""
        self._node(tree, node, self.mode, feature, limit)
        self.nodes_truenodeids.append(ways[0])
        self.nodes_falsenodeids.append(ways[1])
        self.nodes_missing_value_tracks_true.append(int(left))

    def leaf(self, tree: int, node: int, weights: dict[int, float]) -> None:
        """A node that answers: what it adds to which margin."""
        self._node(tree, node, "LEAF", 0, 0.0)
        self.nodes_truenodeids.append(0)
        self.nodes_falsenodeids.append(0)
        self.nodes_missing_value_tracks_true.append(0)
        for target, weight in weights.items():
            self.target_treeids.append(tree)
            self.target_nodeids.append(node)
            self.target_ids.append(target)
            self.target_weights.append(weight)

    def _node(self, tree: int, node: int, mode: str, feature: int, limit: float) -> None:
        self.nodes_treeids.append(tree)
        self.nodes_nodeids.append(node)
        self.nodes_modes.append(mode)
        self.nodes_featureids.append(feature)
        self.nodes_values.append(limit)


def of_forest(forest: Forest) -> Trees:
    """Each leaf adds its shares of the classes over the number of trees."""
    trees = Trees("BRANCH_LEQ")
    count = len(forest.model.estimators_)
    for number, estimator in enumerate(forest.model.estimators_):
        tree = estimator.tree_
        missing_left = tree.missing_go_to_left
        for node in range(tree.node_count):
            if tree.children_left[node] == -1:
                shares = tree.value[node][0] / tree.value[node][0].sum() / count
                trees.leaf(number, node, {i: float(s) for i, s in enumerate(shares) if s})
                continue
            trees.split(
                number,
                node,
                feature=int(tree.feature[node]),
                limit=_not_above(tree.threshold[node]),
                ways=(int(tree.children_left[node]), int(tree.children_right[node])),
                left=bool(missing_left[node]),
            )
    return trees


def of_xgboost(booster: XGBoost) -> Trees:
    """Each leaf adds to the margin of its tree's class (of class 1 where there are two)."""
    trees = Trees("BRANCH_LT")
    classes = booster.present.size
    a_round = 1 if classes == 2 else classes
    dump = json.loads(bytes(booster.model.save_raw("json")))
    for number, tree in enumerate(dump["learner"]["gradient_booster"]["model"]["trees"]):
        if number >= booster.rounds * a_round:
            break
        target = 1 if classes == 2 else number % classes
        for node, (left, right) in enumerate(
            zip(tree["left_children"], tree["right_children"], strict=True)
        ):
            value = float(tree["split_conditions"][node])
            if left == -1:
                trees.leaf(number, node, {target: value})
                continue
            trees.split(
                number,
                node,
                feature=int(tree["split_indices"][node]),
                limit=value,
                ways=(left, right),
                left=bool(tree["default_left"][node]),
            )
    return trees


def of_lightgbm(booster: LightGBM) -> Trees:
    """Each leaf adds to the margin of its tree's class (of class 1 where there are two)."""
    trees = Trees("BRANCH_LEQ")
    classes = booster.present.size
    dump = booster.model.dump_model(num_iteration=booster.rounds)
    for number, tree in enumerate(dump["tree_info"]):
        target = 1 if classes == 2 else number % classes
        for node, content, ways in _walk(tree["tree_structure"]):
            if ways is None:
                trees.leaf(number, node, {target: float(content["leaf_value"])})
                continue
            limit = float(content["threshold"])
            # Without missing values in the training rows, LightGBM takes NaN for 0.
            left = content["default_left"] if content["missing_type"] == "NaN" else limit >= 0
            trees.split(
                number,
                node,
                feature=int(content["split_feature"]),
                limit=_not_above(_BELOW_ZERO if -_ZERO <= limit < 0 else limit),
                ways=ways,
                left=bool(left),
            )
    return trees


def _walk(root: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], tuple[int, int] | None]]:
    """Number, content and children's numbers (None: a leaf) of all nodes, the root first."""
    waiting = [(0, root)]
    following = 1
    while waiting:
        number, content = waiting.pop()
        if "left_child" not in content:
            yield number, content, None
            continue
        yield number, content, (following, following + 1)
        waiting += [
            (following, content["left_child"]),
            (following + 1, content["right_child"]),
        ]
        following += 2


def _not_above(limit: float) -> float:
    """The largest float32 that is not above `limit`; the largest of all for 1e300.

    LightGBM writes that where a split only parts missing values from all others.
    """
    largest = float(np.finfo(np.float32).max)
    near = np.float32(min(max(limit, -largest), largest))
    if float(near) > limit:
        near = np.nextafter(near, np.float32(-math.inf))
    return float(near)
