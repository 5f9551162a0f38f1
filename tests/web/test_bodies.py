"""What is said of a body that does not fit: for people, without the names of Python's types."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from andon.errors import InvalidRequest
from andon.web.bodies import decoded


class Sent(msgspec.Struct):
    """A body with every kind of bound."""

    weight: Annotated[float, Meta(ge=0, le=1)] = 0.5
    limit: Annotated[int, Meta(ge=20)] = 20
    above: Annotated[float, Meta(gt=0, lt=10)] = 1
    by: Annotated[str, Meta(min_length=1, max_length=64)] = "Anna"
    rows: Annotated[list[int], Meta(max_length=2)] = []
    tags: Annotated[dict[str, int], Meta(max_length=1)] = {}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ('{"weight": 7}', "weight", "must be at most 1"),
        ('{"weight": -1}', "weight", "must be at least 0"),
        ('{"limit": -4}', "limit", "must be at least 20"),
        ('{"above": 0}', "above", "must be more than 0"),
        ('{"above": 10}', "above", "must be less than 10"),
        ('{"by": ""}', "by", "must have at least 1 character"),
        ('{"by": "' + "x" * 65 + '"}', "by", "must have at most 64 characters"),
        ('{"rows": [1, 2, 3]}', "rows", "must have at most 2 items"),
        ('{"tags": {"a": 1, "b": 2}}', "tags", "must have at most 1 field"),
        ('{"limit": "x"}', "limit", "is not right: Expected `int`, got `str`"),
    ],
)
def test_a_value_beyond_its_bounds_is_said_plainly(body: str, field: str, said: str) -> None:
    """With the field, and the bound it must keep."""
    with pytest.raises(InvalidRequest) as caught:
        decoded(body.encode(), Sent)
    assert caught.value.errors == [{"field": field, "detail": said}]
