"""The floor: the MQTT broker, messages that were kept aside, the sums behind the metrics."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from andon.cli.checkup import rows
from andon.cli.checkup.finding import Finding, fail, ok, warn
from andon.errors import AndonError, ConfigurationError
from andon.events.mqtt_address import check_prefix, read_address

if TYPE_CHECKING:
    from andon.settings import Settings


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks of the floor."""
    yield from _broker(settings)
    if not settings.database_url and not (settings.home / "andon.db").exists():
        return
    try:
        with rows.reading(settings) as database:
            if not database.has_floor():
                return
            rejected = database.rejected_lately()
            different = database.floor_sums_that_differ()
    except AndonError:
        # Said elsewhere.
        return
    if rejected is not None:
        number, topic, reason = rejected
        messages = "1 MQTT message" if number == 1 else f"{number} MQTT messages"
        yield warn(
            "mqtt",
            f"{messages} of the last day could not be used, the newest on {topic}: {reason[:300]}",
            "The page /floor/rejected shows them; mend the sender, and send them again.",
        )
    yield from _sums(settings, different)


def _broker(settings: "Settings") -> Iterator[Finding]:
    """Whether the broker takes us; asked under another name, so that nothing is disturbed."""
    url = settings.mqtt_url.get_secret_value()
    if not url:
        return
    try:
        address = read_address(url)
        prefix = check_prefix(settings.mqtt_topic_prefix)
    except ConfigurationError as error:
        yield fail("mqtt", f"{error.detail} The server will not start.", error.hint)
        return
    # paho-mqtt is only needed where a broker is set.
    from andon.events.mqtt_client import probe  # noqa: PLC0415

    trouble = probe(address, [f"{prefix}/+/events", f"{prefix}/+/telemetry"])
    if trouble:
        yield fail(
            "mqtt",
            f"{address}: {trouble}",
            "Check ANDON_MQTT_URL, that the broker runs, its users and its access lists.",
        )
    else:
        yield ok("mqtt", f"The broker {address} takes the subscriptions.")


def _sums(settings: "Settings", different: list[str]) -> Iterator[Finding]:
    if different:
        yield fail(
            "floor totals",
            f"Of the newest day, {', '.join(different)}.",
            'Stop Andon and make them anew: python3 -c "from andon import Database; '
            f"Database('{rows.shown(settings)}').factory_totals.rebuild()\"",
        )
    else:
        yield ok("floor totals", "The newest day's sums are those of its events.")
