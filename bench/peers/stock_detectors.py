"""River's detectors on a stream, as its documentation shows them: run in its own environment.

Reads one JSON object: `{"streams": [{"values": [[…], …], "errors": [0, 1, …] | null,
"quiet": n}]}`. Every column of values has an ADWIN, the errors a DDM, each with its defaults.
Prints for each stream the false alarms before `quiet` and the delay after it, in answers (null:
never).
"""

import json
import sys

from river import drift


def main() -> None:
    """Read, detect, print."""
    print(json.dumps([detect(stream) for stream in json.load(sys.stdin)["streams"]]))


def detect(stream: dict) -> dict:
    """False alarms and delay of one stream."""
    values, errors, quiet = stream["values"], stream["errors"], stream["quiet"]
    columns = [drift.ADWIN() for _ in values[0]]
    wrong = drift.binary.DDM()
    false, delay = 0, None
    for number, row in enumerate(values):
        alarm = False
        for detector, value in zip(columns, row, strict=True):
            if value is None:
                continue
            detector.update(value)
            alarm |= detector.drift_detected
        if errors is not None:
            wrong.update(bool(errors[number]))
            alarm |= wrong.drift_detected
        if alarm and number < quiet:
            false += 1
        elif alarm:
            delay = number - quiet
            break
    return {"false_alarms": false, "delay": delay}


if __name__ == "__main__":
    main()
