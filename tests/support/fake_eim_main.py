"""The program inside a fake `.eim`; see `fake_eim`. Standard library only, run as a zip.

It starts hundreds of times in a test run, so it imports little: no `pathlib`.
"""

# ruff: noqa: PTH108, PTH110, PTH123, T201

import array
import contextlib
import json
import mmap
import os
import signal
import socket
import sys
import time

CELL = 8
CONFIG = json.loads(__loader__.get_data("config.json"))
OLD = CONFIG["generation"] < 2025
SIZE = CONFIG["size"]
WIDTH, HEIGHT = (SIZE, SIZE) if isinstance(SIZE, int) else SIZE
FEATURES = WIDTH * HEIGHT
BLOCK = 5


class Refuse(Exception):
    """An error reply."""


class Model:
    """State of one process."""

    def __init__(self):
        self.known = False
        self.pictures = 0
        self.bar = CONFIG["min_score"]
        self.shm = None
        self.shm_name = ""

    def answer(self, message):
        """The members of a reply."""
        number = message.get("id")
        if type(number) is not int or abs(number) >= 2**31:
            raise Refuse("Missing 'id' field in message")
        if "hello" in message:
            if self.known:
                raise Refuse("Invalid message 'hello', already initialized")
            misbehave("slow-hello", lambda: time.sleep(CONFIG["seconds"]))
            misbehave("no-hello", refuse)
            self.known = True
            return self.hello()
        if not self.known:
            raise Refuse("Invalid message, should initialize first")
        if "classify" in message:
            return self.classify(message["classify"])
        if "classify_shm" in message and self.shm is not None:
            elements = message["classify_shm"].get("elements")
            if elements != FEATURES:
                raise Refuse(
                    f"Invalid value for 'classify_data_shm.elements', expected {FEATURES}, "
                    f"but got {elements}"
                )
            numbers = array.array("f")
            numbers.frombytes(self.shm[: FEATURES * 4])
            return self.classify(numbers)
        if "set_threshold" in message and not OLD:
            wish = message["set_threshold"]
            if wish.get("id") != BLOCK:
                raise Refuse(f"set_threshold: cannot find learn block with id {wish.get('id')}")
            self.bar = wish["min_score"]
            return {}
        raise Refuse("Failed to handle message")

    def hello(self):
        """What it is."""
        visual = CONFIG["has_anomaly"] in (3, 4, 6)
        picture = CONFIG["sensor"] == 3
        said = {
            "axis_count": 1,
            "frequency": 0,
            "has_anomaly": CONFIG["has_anomaly"],
            "image_channel_count": CONFIG["channels"] if picture else 0,
            "image_input_frames": 1,
            "image_input_height": HEIGHT if picture else 0,
            "image_input_width": WIDTH if picture else 0,
            "input_features_count": FEATURES + (is_bad("lies") and 7),
            "interval_ms": 1,
            "label_count": 0 if visual else len(CONFIG["labels"]),
            "labels": [] if visual else CONFIG["labels"],
            "model_type": CONFIG["model_type"],
            "sensor": CONFIG["sensor"],
            "slice_size": FEATURES // 4,
            "use_continuous_mode": False,
        }
        reply = {
            "model_parameters": said,
            "project": {
                "deploy_version": 3,
                "id": 1001,
                "name": CONFIG["name"],
                "owner": "somebody",
            },
        }
        if OLD:
            return reply
        said["image_resize_mode"] = CONFIG["resize"]
        said["has_object_tracking"] = False
        said["inferencing_engine"] = 2
        said["thresholds"] = []
        if visual:
            said["thresholds"] = [
                {"id": BLOCK, "type": "anomaly_gmm", "min_anomaly_score": self.bar}
            ]
        elif "object_detection" in CONFIG["model_type"]:
            said["thresholds"] = [{"id": BLOCK, "type": "object_detection", "min_score": self.bar}]
        reply["inferencing_engine"] = {"engine_type": 2, "properties": []}
        if CONFIG["shm"]:
            self.share()
            reply["features_shm"] = {
                "elements": FEATURES,
                "name": self.shm_name,
                "size_bytes": FEATURES * 4,
                "type": "float32",
            }
        else:
            reply["features_shm_error"] = "no shared memory here"
        return reply

    def share(self):
        """Make shared memory."""
        self.shm_name = f"/shm-{CONFIG['shm_tag']}{os.urandom(6).hex()}"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        handle = os.open("/dev/shm" + self.shm_name, flags, 0o600)
        os.ftruncate(handle, FEATURES * 4)
        self.shm = mmap.mmap(handle, FEATURES * 4)
        os.close(handle)

    def forget(self):
        """Unlink it again; a program that is killed cannot."""
        if self.shm_name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink("/dev/shm" + self.shm_name)

    def classify(self, numbers):
        """Check one picture and look at it, or misbehave."""
        self.pictures += 1
        if len(numbers) != FEATURES:
            raise Refuse(
                f"Invalid number of features in 'classify', expected {FEATURES} "
                f"but got {len(numbers)}"
            )
        if any(type(value) not in (int, float) for value in numbers):
            raise Refuse("Failed to parse classify array, should contain all numbers")
        pixels = [int(value) for value in numbers]
        self.now = is_due(self.pictures, pixels[0])
        if self.now:
            misbehave("slow", lambda: time.sleep(CONFIG["seconds"]))
            misbehave("hang", lambda: time.sleep(3600))
            misbehave("crash", crash)
            misbehave("error-reply", refuse)
            misbehave("flood", flood)
        result = self.look(pixels)
        timing = {"anomaly": 0, "classification": 1, "dsp": 0, "json": 0, "stdin": 0}
        return {"result": result, "timing": timing}

    def look(self, pixels):
        """The result object."""
        channels = [
            [pixel >> shift & 255 for pixel in pixels]
            for shift in ((16, 8, 0) if CONFIG["channels"] == 3 else (16,))
        ]
        bad = self.now and is_bad("nan")
        if CONFIG["has_anomaly"] in (3, 4, 6):
            scores = [score * 10 for _, _, score in cells(channels[0])]
            grid = [
                box("anomaly", None if bad else score * 10, x, y, 1, 1)
                for x, y, score in cells(channels[0])
                if score * 10 >= self.bar
            ]
            return {
                "anomaly": 0.0,
                "visual_anomaly_grid": grid,
                "visual_anomaly_max": max(scores),
                "visual_anomaly_mean": sum(scores) / len(scores),
            }
        if CONFIG["model_type"] == "classification":
            mean = sum(map(sum, channels)) / (255 * len(channels) * FEATURES)
            shares = [1 - mean, mean] + [0.0] * len(CONFIG["labels"])
            if bad:
                shares[0] = None
            result = {"classification": dict(sorted(zip(CONFIG["labels"], shares, strict=False)))}
            if CONFIG["has_anomaly"]:
                result["anomaly"] = mean * 4 - 1
            return result
        found = []
        for label, channel in zip(CONFIG["labels"], channels, strict=False):
            lit = {
                (x, y): 2 * score - 1
                for x, y, score in cells(channel)
                if 2 * score - 1 >= max(self.bar, 1e-9)
            }
            found += [box(label, None if bad else best, *area) for best, area in islands(lit)]
        return {"bounding_boxes": found}


def cells(channel):
    """Brightness 0 to 1 of every cell: x, y, score."""
    for y in range(HEIGHT // CELL):
        for x in range(WIDTH // CELL):
            total = 0
            for row in range(y * CELL, y * CELL + CELL):
                start = row * WIDTH + x * CELL
                total += sum(channel[start : start + CELL])
            yield x, y, total / (255 * CELL * CELL)


def islands(lit):
    """Touching cells as one area: best score, (x, y, columns, rows)."""
    while lit:
        (x, y), best = lit.popitem()
        border, seen = [(x, y)], [(x, y)]
        while border:
            x, y = border.pop()
            for near in [(x + a, y + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if near in lit:
                    best = max(best, lit.pop(near))
                    border.append(near)
                    seen.append(near)
        xs, ys = [x for x, _ in seen], [y for _, y in seen]
        yield best, (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)


def box(label, value, x, y, columns, rows):
    return {
        "label": label,
        "value": value,
        "x": x * CELL,
        "y": y * CELL,
        "width": columns * CELL,
        "height": rows * CELL,
    }


def is_bad(kind):
    return CONFIG["misbehave"] == kind and (
        not CONFIG["once"] or not os.path.exists(CONFIG["once"])
    )


def misbehave(kind, how):
    if is_bad(kind):
        if CONFIG["once"]:
            open(CONFIG["once"], "w").close()
        how()


def is_due(picture, first_pixel):
    if CONFIG["on"] == "magenta":
        return first_pixel == 0xFF00FF
    return not CONFIG["on"] or picture >= int(CONFIG["on"])


def crash():
    print("ERR: tensor arena is on fire", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse():
    raise Refuse("Classifying failed, error code was -5")


def flood():
    for _ in range(40):
        os.write(1, b"debug " * 20_000 + b"\n")


def messages(stream):
    """Split requests as the real program does: by counting braces, blind to strings."""
    depth, text = 0, bytearray()
    while True:
        chunk = stream.recv(65536)
        if not chunk:
            return
        for byte in chunk:
            if byte == 0x7B:
                depth += 1
            if depth:
                text.append(byte)
            if byte == 0x7D and depth:
                depth -= 1
                if not depth:
                    yield bytes(text)
                    text.clear()
        if len(text) > 32 * 1024 * 1024:
            sys.exit(1)


def respond(stream, text):
    stream.sendall(text + b"\n\0")


def serve(model, stream):
    for text in messages(stream):
        number = None
        try:
            message = json.loads(text, parse_constant=lambda name: 1 / 0)
            number = message.get("id") if type(message.get("id")) is int else None
            model.now = False
            reply = {**model.answer(message), "id": number, "success": True}
        except Refuse as error:
            reply = {"error": str(error), "success": False}
            if number is not None:
                reply["id"] = number
        except (ValueError, ZeroDivisionError):
            reply = {"error": "Missing 'id' field in message", "success": False}
        if model.now:
            if is_bad("garbage"):
                misbehave("garbage", lambda: respond(stream, b"<html>certainly no answer"))
                continue
            if is_bad("wrong-id"):
                reply["id"] += 1
            misbehave("half-reply", lambda: half(stream))
            misbehave("huge-reply", lambda: without_end(stream))
        respond(stream, json.dumps(reply, sort_keys=True, separators=(",", ":")).encode())


def half(stream):
    stream.sendall(b'{"id":2,"result":{"bounding_')
    sys.exit(1)


def without_end(stream):
    while True:
        stream.sendall(b"[" * 65536)


def main():
    if len(sys.argv) < 2:
        print("Usage: model.eim SOCKET")
        sys.exit(1)
    if is_bad("exit-at-start"):
        print("error while loading shared libraries: libfoo.so.1", file=sys.stderr)
        misbehave("exit-at-start", lambda: sys.exit(127))
    misbehave("never-listens", lambda: time.sleep(3600))
    if is_bad("child") and os.fork() == 0:
        time.sleep(3600)
    if is_bad("ignores-term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    path = sys.argv[1]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    print(f"Waiting for connection on {path}...", flush=True)
    stream, _ = server.accept()
    model = Model()
    if not is_bad("ignores-term"):
        signal.signal(signal.SIGTERM, lambda *_: (model.forget(), os._exit(143)))
    try:
        serve(model, stream)
    except (ConnectionError, BrokenPipeError):
        pass
    finally:
        model.forget()
    if is_bad("ignores-term"):
        time.sleep(3600)


main()
