"""Which features moved an answer: each one in turn is set to what is typical.

The change of the probability is what that feature, alone, brought this row beside a typical
one. It is exact for the model and for one feature at a time; effects of features together are
not divided among them, the changes do not sum to anything, and none of it says what would
happen to a patient or machine whose value was changed.
"""

import msgspec
import numpy as np

from andon.runtimes.rows import Value
from andon.runtimes.tabular import TabularModel


class Effect(msgspec.Struct, frozen=True):
    """What one feature changes.

    Attributes:
        feature: Its name.
        value: What the row holds.
        typical: What it was compared with.
        change: How much higher the answered `probability` is for the row's value than for
            the typical one; negative where it is lower.
    """

    feature: str
    value: Value | None
    typical: Value
    change: float


def effects(
    model: TabularModel, values: list[float], shown: int, *, deadline: float
) -> list[Effect]:
    """What each feature changes, largest first; features that are typical change nothing.

    Args:
        model: That answered.
        values: The row as its input.
        shown: Index of the class whose probability is looked at.
        deadline: `time.monotonic()` by which it must be done.

    Raises:
        AndonError: As `TabularModel.infer_rows`.
    """
    features = model.schema.features
    compared = [
        (index, usual) for index, usual in enumerate(model.encoder.typical()) if usual is not None
    ]
    # One inference: the row itself, then the row with one feature typical each.
    matrix = np.tile(np.array(values, np.float32), (len(compared) + 1, 1))
    for place, (index, usual) in enumerate(compared, start=1):
        matrix[place, index] = usual
    probabilities = model.infer_rows(matrix, deadline=deadline)[:, shown].tolist()
    found: list[Effect] = []
    for place, (index, _) in enumerate(compared, start=1):
        feature = features[index]
        assert feature.typical is not None
        change = round(probabilities[0] - probabilities[place], 6)
        found.append(
            Effect(
                feature.name, model.encoder.decode(index, values[index]), feature.typical, change
            )
        )
    return sorted(found, key=lambda effect: -abs(effect.change))
