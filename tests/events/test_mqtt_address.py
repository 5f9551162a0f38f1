import pytest

from andon.errors import ConfigurationError
from andon.events.mqtt_address import BrokerAddress, check_prefix, client_id, read_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", BrokerAddress("broker", 1883, tls=False)),
        ("mqtts://broker", BrokerAddress("broker", 8883, tls=True)),
        ("mqtt://broker:99/", BrokerAddress("broker", 99, tls=False)),
        ("mqtt://[::1]:99", BrokerAddress("::1", 99, tls=False)),
        (
            "mqtt://me:p%40ss%2F@broker",
            BrokerAddress("broker", 1883, tls=False, username="me", password="p@ss/"),
        ),
    ],
)
def test_an_address_is_read(url, address):
    """Scheme, host, port and percent-encoded credentials."""
    assert read_address(url) == address


@pytest.mark.parametrize(
    "url",
    ["broker", "http://broker", "mqtt://", "mqtt://me:s3cret@broker:port", "mqtt://a:s3cret@b/c",
     "mqtt://[s3cret", "mqtt://b?s3cret"],
)  # fmt: skip
def test_what_is_none_is_refused_without_repeating_it(url):
    """A password stands in it, perhaps."""
    with pytest.raises(ConfigurationError) as caught:
        read_address(url)
    assert "s3cret" not in str(caught.value)
    assert "mqtt://user:password@host" in caught.value.hint


def test_an_address_is_shown_without_credentials():
    """In logs, in errors, in tracebacks."""
    address = read_address("mqtt://me:s3cret@broker")
    assert (str(address), repr(address)) == ("broker:1883", "BrokerAddress(broker:1883)")


@pytest.mark.parametrize("prefix", ["andon", "plant/andon"])
def test_a_prefix_may_have_levels(prefix):
    """They stand before the site."""
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["+", "a/#", "$SYS", "/a", "a/", "a\x00b"])
def test_a_prefix_that_matches_other_topics_is_refused(prefix):
    """Wildcards, the broker's own topics, empty levels."""
    with pytest.raises(ConfigurationError, match="ANDON_MQTT_TOPIC_PREFIX"):
        check_prefix(prefix)


def test_the_name_of_the_session_is_made_once(tmp_path):
    """Another one would be another session: what waits in the first would never come."""
    made = client_id("", tmp_path)
    assert made.isalnum()
    assert len(made) <= 23
    assert client_id("", tmp_path) == made
    assert client_id("mine", tmp_path) == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["mqtt-client-id"]


def test_a_name_that_was_cut_off_is_made_anew(tmp_path):
    """A power cut may leave an empty file."""
    (tmp_path / "mqtt-client-id").write_text("")
    assert client_id("", tmp_path)


def test_a_name_that_cannot_be_kept_is_said(tmp_path):
    """With the setting that helps."""
    with pytest.raises(ConfigurationError, match="ANDON_MQTT_CLIENT_ID"):
        client_id("", tmp_path / "missing")
