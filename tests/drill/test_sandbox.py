from pathlib import Path

import onnx
import pytest
from pydantic import SecretStr

from andon.drill import sandbox
from andon.drill.sandbox import CAMERA, MARK, opened, settings_of
from andon.settings import Settings


@pytest.fixture
def installation(tmp_path: Path) -> Settings:
    """One whose every place and connection was set by hand."""
    real = tmp_path / "real"
    places = ("models", "deploy", "uploads", "output", "training", "recipes", "data", "reports")
    return Settings(
        _env_file=None,
        home=real,
        **{f"{place}_dir": real / "elsewhere" / place for place in places},
        log_file=real / "elsewhere" / "andon.log",
        database_url="postgresql://andon:s3cret@127.0.0.1:1/andon",
        webhook_url=SecretStr("http://127.0.0.1:1/hook"),
        mqtt_url=SecretStr("mqtt://127.0.0.1:1"),
        mlflow_tracking_uri=SecretStr("http://127.0.0.1:1"),
        retrain_cron="* * * * *",
    )


def test_no_place_of_a_sandbox_is_the_installations(installation: Settings, tmp_path: Path):
    """Whatever path a setting or what is derived from one names, it is in the sandbox's home."""
    home = tmp_path / "sandbox"
    made = settings_of(installation, home, policy=None)
    derived = [name for name, one in vars(Settings).items() if isinstance(one, property)]
    found = {name: getattr(made, name) for name in (*Settings.model_fields, *derived)}
    places = {name: one for name, one in found.items() if isinstance(one, Path)}
    assert {"home", "models", "deploy", "uploads", "output", "training", "reports", "log"} <= set(
        places
    )
    assert {name for name, one in places.items() if not one.is_relative_to(home)} == set()
    assert made.url == f"sqlite:///{home / 'andon.db'}"


def test_a_sandbox_tells_nobody_outside(installation: Settings, tmp_path: Path):
    """No setting holds an address or a password of the installation."""
    made = settings_of(installation, tmp_path / "sandbox", policy=None)
    for name in Settings.model_fields:
        value = getattr(made, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        assert "127.0.0.1:1" not in text, name
        assert "s3cret" not in text, name
    assert (made.webhook_url.get_secret_value(), made.mqtt_url.get_secret_value()) == ("", "")
    assert (made.mlflow_tracking_uri.get_secret_value(), made.retrain_cron) == ("off", "")
    assert installation.webhook_url.get_secret_value() == "http://127.0.0.1:1/hook"


def test_the_policy_that_is_tried_is_the_installations(installation: Settings, tmp_path: Path):
    """Where there is one; an exercise may bring its own."""
    home = tmp_path / "sandbox"
    assert settings_of(installation, home, policy=None).policy_file is None
    installation.home.mkdir()
    installation.policy.write_text("", encoding="utf-8")
    assert settings_of(installation, home, policy=None).policy == installation.policy
    own = tmp_path / "own.toml"
    assert settings_of(installation, home, policy=own).policy == own


def test_an_entry_of_metadata_makes_another_file_of_the_same_model(tmp_path: Path):
    """Other bytes and the entry in them; the graph and what it said before stay."""
    shipped = Path(sandbox.__file__).parent.parent.joinpath("starter", "drill.onnx").read_bytes()
    marked = shipped + sandbox._entry("andon.drill", "2")
    assert marked != shipped + sandbox._entry("andon.drill", "3")
    before, after = onnx.load_from_string(shipped), onnx.load_from_string(marked)
    told = {one.key: one.value for one in after.metadata_props}
    assert told == {one.key: one.value for one in before.metadata_props} | {"andon.drill": "2"}
    assert after.graph == before.graph
    onnx.checker.check_model(after)


def test_a_sandbox_serves_versions_and_is_marked(tmp_path: Path):
    """The same detector twice is two versions; its folder may be deleted and says so."""
    home = tmp_path / "drills" / "one"
    installation = Settings(_env_file=None, home=tmp_path / "real")
    with opened(installation, home) as place:
        assert "can be deleted" in (home / MARK).read_text(encoding="utf-8")
        assert [place.deploy().version for _ in range(2)] == [1, 2]
        assert place.board() == ""
        rows, _ = place.platform.db.predictions.page()
        assert [(one.model_version, one.camera, one.source) for one in rows] == [
            (2, CAMERA, "drill")
        ]
    assert not installation.home.exists()
