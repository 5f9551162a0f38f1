import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import andon
from andon.events.eyes import (
    CLOSED_SHARE,
    LEAST_POINTS,
    Closure,
    EyeStream,
    blinks,
    both_eyes,
    closed_threshold,
    eye_aspect_ratio,
    open_baseline,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "drowsiness"

# An eye 30 wide whose lids are 9 apart: (9 + 9) / (2 · 30) = 0.3.
EYE = [(0, 0), (10, 4.5), (20, 4.5), (30, 0), (20, -4.5), (10, -4.5)]


def test_the_ratio_is_height_over_width():
    """Equation 1 of Soukupová & Čech, by hand."""
    assert eye_aspect_ratio(EYE) == pytest.approx(0.3)
    shut = [(x, 0) for x, _ in EYE]
    assert eye_aspect_ratio(shut) == 0.0
    assert isinstance(eye_aspect_ratio(EYE), float)


def test_it_is_part_of_the_public_interface():
    """`from andon import eye_aspect_ratio`."""
    assert andon.eye_aspect_ratio is eye_aspect_ratio
    assert "eye_aspect_ratio" in andon.__all__


def test_many_eyes_are_measured_at_once():
    """Shape (n, 6, 2) gives n ratios, (frames, 2, 6, 2) those of both eyes per frame."""
    wide = np.array(EYE) * (1, 2)
    many = eye_aspect_ratio(np.stack([EYE, wide]))
    assert many.shape == (2,)
    assert many == pytest.approx([0.3, 0.6])
    faces = np.stack([[EYE, wide]] * 5)
    assert eye_aspect_ratio(faces).shape == (5, 2)
    assert eye_aspect_ratio(np.empty((0, 6, 2))).shape == (0,)


FINITE = st.floats(-1e4, 1e4)
EYES = st.builds(
    lambda width, lids: [
        (0, 0),
        (width / 3, lids[0]),
        (2 * width / 3, lids[1]),
        (width, 0),
        (2 * width / 3, -lids[2]),
        (width / 3, -lids[3]),
    ],
    st.floats(1, 1e3),
    st.tuples(*[st.floats(0, 1e3)] * 4),
)


@given(
    eye=EYES,
    scale=st.floats(1e-3, 1e3),
    turn=st.floats(-math.pi, math.pi),
    place=st.tuples(FINITE, FINITE),
    mirrored=st.booleans(),
)
def test_size_roll_place_and_mirror_do_not_matter(eye, scale, turn, place, mirrored):
    """The face may be anywhere, as near or far and as tilted as it likes."""
    cosine, sine = math.cos(turn), math.sin(turn)
    points = np.array(eye) * ((-1, 1) if mirrored else (1, 1))
    moved = points @ np.array([[cosine, sine], [-sine, cosine]]) * scale + np.array(place)
    # What rounding the coordinates can do to the ratio.
    tolerance = 1e-9 + 1e-11 * (abs(place[0]) + abs(place[1])) / scale
    expected = eye_aspect_ratio(eye)
    assert eye_aspect_ratio(moved) == pytest.approx(expected, rel=1e-6, abs=tolerance * 10)


@given(EYES)
def test_upside_down_and_from_the_other_corner_it_is_the_same(eye):
    """p1…p6 counted the other way round."""
    p1, p2, p3, p4, p5, p6 = eye
    assert eye_aspect_ratio([p4, p3, p2, p1, p6, p5]) == pytest.approx(eye_aspect_ratio(eye))
    assert eye_aspect_ratio([p1, p6, p5, p4, p3, p2]) == pytest.approx(eye_aspect_ratio(eye))


@given(eye=EYES, share=st.floats(0, 1))
def test_a_lid_half_down_is_half_the_ratio(eye, share):
    """EAR falls in proportion to how far the lids are apart."""
    lowered = np.array(eye) * (1, share)
    assert eye_aspect_ratio(lowered) == pytest.approx(share * eye_aspect_ratio(eye))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(6))
def test_a_lost_landmark_is_no_eye(bad, place):
    """NaN, and the other eyes are measured all the same."""
    broken = [list(map(float, point)) for point in EYE]
    broken[place][1] = bad
    assert math.isnan(eye_aspect_ratio(broken))
    found = eye_aspect_ratio([broken, EYE])
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(0.3)


def test_an_eye_without_width_has_no_ratio():
    """All points in one place, or the corners: NaN and no division by zero."""
    assert math.isnan(eye_aspect_ratio([(5, 5)] * 6))
    assert math.isnan(eye_aspect_ratio([(0, 0), (0, 1), (0, 1), (0, 0), (0, -1), (0, -1)]))


@pytest.mark.parametrize(
    "landmarks",
    [[], EYE[:5], [(0, 0, 0)] * 6, np.zeros((2, 12)), [["a", "b"]] * 6, None, 7, [EYE, EYE[:5]]],
    ids=["none", "five", "with depth", "flat", "text", "nothing", "a number", "ragged"],
)
def test_what_is_no_eye_is_refused(landmarks):
    """With the shape that is wanted."""
    with pytest.raises(ValueError, match="6, 2"):
        eye_aspect_ratio(landmarks)


def test_a_face_is_the_mean_of_both_eyes_or_the_one_that_is_seen():
    """A face turned aside has one eye."""
    assert both_eyes(0.2, 0.4) == pytest.approx(0.3)
    assert both_eyes(math.nan, 0.4) == both_eyes(0.4, math.nan) == 0.4
    assert math.isnan(both_eyes(math.nan, math.nan))
    found = both_eyes([0.2, math.nan], [0.4, 0.1])
    assert found == pytest.approx([0.3, 0.1])


# -- Streams --------------------------------------------------------------------------


def stream(ears, rate=30.0, **given) -> EyeStream:
    """EARs at a steady rate; the threshold is 0.2."""
    return EyeStream(np.arange(len(ears)) / rate, ears, **{"threshold": 0.2, **given})


def test_a_closure_lasts_from_the_first_closed_point_to_the_first_open_one():
    """Six of thirty frames are a fifth of a second."""
    found = stream([0.3] * 10 + [0.15, 0.1, 0.05, 0.05, 0.1, 0.15] + [0.3] * 10).closures
    assert found == [Closure(pytest.approx(1 / 3), pytest.approx(0.2), 0.05)]


@pytest.mark.parametrize(
    "ears",
    [
        [0.1, 0.1, 0.3, 0.3],
        [0.3, 0.3, 0.1, 0.1],
        [0.3, 0.1, math.nan, 0.1, 0.3],
        [0.3, math.nan, 0.1, 0.3],
        [0.3, 0.1, math.nan, 0.3],
        [0.1, 0.1],
        [0.3, 0.3],
        [math.nan] * 4,
    ],
    ids=["begun before", "not over", "face lost", "lost before", "lost after", "all", "none", "?"],
)
def test_a_closure_without_both_ends_has_no_duration(ears):
    """Nobody saw how long it was."""
    assert stream(ears).closures == []


def test_a_gap_ends_what_is_known():
    """Eyes shut before a hole in the stream and open after it: not a long closure."""
    seconds = np.concatenate([np.arange(30), np.arange(330, 360)]) / 30
    ears = [0.3] * 25 + [0.1] * 5 + [0.1] * 5 + [0.3] * 25
    found = EyeStream(seconds, ears, threshold=0.2)
    assert found.closures == []
    assert found.features().observed_seconds == pytest.approx(2 * 29 / 30)


def test_exactly_at_the_threshold_the_eye_is_open():
    """As the web client has it: drowsy is `ear < threshold`."""
    assert stream([0.3, 0.2, 0.3]).closures == []
    assert len(stream([0.3, 0.19, 0.3]).closures) == 1


def test_blinks_are_the_short_closures():
    """Neither a single flickering frame nor a microsleep."""
    closures = [Closure(0, seconds, 0.1) for seconds in (0.03, 0.05, 0.2, 0.5, 0.6)]
    assert [closure.duration for closure in blinks(closures)] == [0.05, 0.2, 0.5]
    assert len(blinks(closures, shortest=0, longest=1)) == 5


def blinking(minutes: float, every: float, shut: float, rate: float = 30.0) -> list[float]:
    """Eyes that shut for `shut` seconds every `every` seconds, open in between."""
    points = int(minutes * 60 * rate)
    period, closed = round(every * rate), round(shut * rate)
    return [0.06 if point % period in range(5, 5 + closed) else 0.3 for point in range(points)]


def test_the_features_of_a_stream_are_what_was_put_into_it():
    """Fifteen blinks of 200 ms a minute: 5 % of the time."""
    found = stream(blinking(2, every=4, shut=0.2)).features()
    assert (found.points, found.closures, found.blinks) == (3600, 30, 30)
    assert found.observed_seconds == pytest.approx(120, abs=0.1)
    assert found.blink_rate == pytest.approx(15, rel=0.01)
    assert found.closure_seconds_mean == pytest.approx(0.2)
    assert found.closure_seconds_max == pytest.approx(0.2)
    assert found.perclos == pytest.approx(0.05, rel=0.01)
    assert found.ear_mean == pytest.approx(0.3 - 0.24 * 0.05)
    assert found.ear_variance == pytest.approx(0.24**2 * 0.05 * 0.95, rel=0.001)
    assert found.ear_min == 0.06


def test_long_closures_count_for_perclos_and_not_as_blinks():
    """Two seconds shut in every ten."""
    found = stream(blinking(2, every=10, shut=2)).features()
    assert (found.closures, found.blinks, found.blink_rate) == (12, 0, 0.0)
    assert found.perclos == pytest.approx(0.2, rel=0.01)


def test_what_is_not_known_is_none():
    """Too few points, too short, too slow: never a zero."""
    nothing = stream([]).features()
    assert nothing.points == 0
    known = {"points", "observed_seconds"}
    for name in nothing.__struct_fields__:
        if name not in known:
            assert getattr(nothing, name) is None, name
    one = stream([0.25]).features()
    assert (one.ear_mean, one.ear_variance, one.perclos, one.closures) == (0.25, None, None, None)
    short = stream(blinking(0.4, every=4, shut=0.2)).features()
    assert short.blinks == 6
    assert (short.blink_rate, short.perclos) == (None, None)
    slow = stream([0.3, 0.1] * 100, rate=1).features()
    assert (slow.closures, slow.blinks, slow.blink_rate) == (None, None, None)
    assert slow.perclos == pytest.approx(0.5, abs=0.01)
    unseen = stream([math.nan] * 3000).features()
    assert (unseen.points, unseen.perclos, unseen.ear_mean) == (0, None, None)


def test_stretches_divide_a_stream():
    """Points, closures and time of the parts are those of the whole."""
    whole = stream(blinking(3, every=4, shut=0.2))
    parts = [whole.features(60 * minute, 60 * (minute + 1)) for minute in range(3)]
    everything = whole.features()
    for name in ("points", "closures", "blinks", "observed_seconds"):
        total = sum(getattr(part, name) for part in parts)
        assert total == pytest.approx(getattr(everything, name))


def test_eyes_are_80_percent_closed_near_the_closed_eye():
    """P80, between what this driver's open and closed eyes measure."""
    assert closed_threshold(0.3, 0.05) == pytest.approx(0.1)
    assert closed_threshold(0.3) == pytest.approx(0.3 * (CLOSED_SHARE + 0.2 * (1 - CLOSED_SHARE)))


def test_the_open_eye_is_this_drivers():
    """Closures do not pull it down; too few points say nothing."""
    assert open_baseline([0.3] * 70 + [0.05] * 30) == pytest.approx(0.3)
    assert open_baseline([0.3] * (LEAST_POINTS - 1)) is None
    assert open_baseline([math.nan] * 100) is None
    narrow = stream([0.18] * 1700 + [0.03] * 100, threshold=0.1)
    assert narrow.open_ear == pytest.approx(0.18)
    assert narrow.features().perclos == pytest.approx(100 / 1800, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "ears"),
    [([0, 1], [0.3]), ([1, 0], [0.3, 0.3]), ([0, math.nan], [0.3] * 2), ([[0]], [[0.3]])],
)
def test_a_stream_that_makes_no_sense_is_refused(seconds, ears):
    """Different lengths, time running backwards, no time at all."""
    with pytest.raises(ValueError, match="seconds"):
        EyeStream(seconds, ears, threshold=0.2)


EARS = st.lists(
    st.sampled_from([0.05, 0.1, 0.19, 0.2, 0.25, 0.3, math.nan]), min_size=1, max_size=60
)


@given(ears=EARS, steps=st.lists(st.sampled_from([0.0, 0.03, 0.04, 5.0]), min_size=60, max_size=60))
def test_any_stream_gives_sensible_features(ears, steps):
    """No error, nothing negative, no share above one."""
    seconds = np.cumsum(steps)[: len(ears)]
    found = EyeStream(seconds, ears, threshold=0.2)
    features = found.features()
    assert features.points == sum(math.isfinite(ear) for ear in ears)
    assert 0 <= features.observed_seconds <= seconds[-1] - seconds[0] + 1e-9
    assert features.perclos is None or 0 <= features.perclos <= 1
    for closure in found.closures or ():
        assert closure.duration >= 0
        assert closure.lowest < 0.2


@pytest.fixture(scope="module")
def recorded() -> np.ndarray:
    """Both eyes of the recording, as one EAR a frame."""
    path = SHARED / "sample_ear_short.csv"
    if not path.is_file():
        pytest.skip(f"the recording (Xie et al. 2024) is not at {path}")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right, left = ([float(row[name]) for row in rows] for name in ("EAR_r", "EAR_l"))
    return both_eyes(right, left)


def test_the_recording_measures_what_is_known_of_it(recorded):
    """18,000 frames; the numbers that stand beside the data."""
    assert recorded.shape == (18_000,)
    assert recorded.min() == pytest.approx(0.059, abs=5e-4)
    assert np.median(recorded) == pytest.approx(0.292, abs=5e-4)
    assert recorded.max() == pytest.approx(0.326, abs=5e-4)
    assert (recorded < 0.2).mean() == pytest.approx(0.016, abs=5e-4)


def test_the_recordings_closures_are_found(recorded):
    """Ten of them, of 32 frames median and 52 at most, whatever the frame rate may have been."""
    for rate in (25.0, 60.0, 240.0):
        found = stream(recorded, rate=rate)
        frames = [closure.duration * rate for closure in found.closures]
        assert len(frames) == 10
        assert np.median(frames) == pytest.approx(32)
        assert max(frames) == pytest.approx(52)
        assert min(closure.lowest for closure in found.closures) == pytest.approx(0.059, abs=5e-4)
    features = stream(recorded, rate=240.0).features()
    assert features.ear_mean == pytest.approx(recorded.mean())
    assert features.ear_variance == pytest.approx(recorded.var(ddof=1))
    # Eyes that are 80 % closed are closed: a part of the 1.6 % below the threshold.
    assert 0.004 < features.perclos < 0.016
