from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # not in its __all__
from confluent_kafka.cimpl import NewTopic

from schemas.errors import BrokerAway, LogError
from schemas.topics import ACCEPTED, COUNT_SNAPSHOTS, EVENTS, META, Topic, layout
from streams.topics import TopicOptions, ensure_topics, read_epoch, topic_config
from tests.support.kafka import free_port, run_apache, run_tansu

pytestmark = [pytest.mark.slow]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[str]:
    """A broker without any topic. (The embedded broker's engine starts in 50 ms.)"""
    yield from run_tansu(tmp_path)


@pytest.fixture(scope="module")
def own_apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An Apache Kafka in which nobody else makes topics."""
    yield from run_apache(tmp_path_factory.mktemp("apache"))


@pytest.fixture(params=["embedded", "apache"])
def any_broker(request: pytest.FixtureRequest) -> str:
    """The embedded one fresh for each test; on Apache Kafka all tests here agree on the partitions."""
    address: str = request.getfixturevalue("fresh" if request.param == "embedded" else "own_apache")
    return address


def test_all_topics_exist_with_leaders_and_the_epoch_stays(any_broker: str) -> None:
    epoch = ensure_topics(any_broker, 2)
    known = AdminClient({"bootstrap.servers": any_broker}).list_topics(timeout=10).topics
    assert {t.name: t.partitions for t in layout(2)} == {
        t.name: len(known[t.name].partitions) for t in layout(2)
    }
    assert ensure_topics(any_broker, 2) == epoch == read_epoch(any_broker)


def test_two_that_start_at_once_agree_on_the_epoch(any_broker: str) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_topics(any_broker, 2))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert len(set(found)) == 1


def test_another_number_of_partitions_is_one_sentence(any_broker: str) -> None:
    ensure_topics(any_broker, 2)
    with pytest.raises(LogError) as caught:
        ensure_topics(any_broker, 4)
    assert str(caught.value) == (
        "topic school.events has 2 partitions, this installation has 4: start it with the number it was "
        "made with"
    )


def test_apache_gets_the_configuration(own_apache: str) -> None:
    ensure_topics(own_apache, 2)
    admin = AdminClient({"bootstrap.servers": own_apache})
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in (EVENTS, ACCEPTED, COUNT_SNAPSHOTS)]
    events, accepted, snapshots = (f.result() for f in admin.describe_configs(asked).values())
    assert events["message.timestamp.type"].value == "LogAppendTime"
    assert accepted["message.timestamp.type"].value == "CreateTime"
    assert events["max.message.bytes"].value == str(8 * 1024 * 1024)
    assert (accepted["cleanup.policy"].value, snapshots["cleanup.policy"].value) == ("delete", "compact")


def test_only_in_wall_time_the_broker_stamps_arrival() -> None:
    topic = Topic(EVENTS, 1, append_time=True)
    assert topic_config(topic, TopicOptions())["message.timestamp.type"] == "LogAppendTime"
    for clock in ("data", "demo"):
        assert "message.timestamp.type" not in topic_config(topic, TopicOptions(clock=clock))
    assert topic_config(Topic(META, 1), TopicOptions())["retention.ms"] == "-1"


def test_a_log_without_an_epoch_is_named(fresh: str) -> None:
    admin = AdminClient({"bootstrap.servers": fresh})  # its futures fail if it is collected before them
    for future in admin.create_topics([NewTopic(META, 1, 1)]).values():
        future.result()
    with pytest.raises(LogError) as caught:
        read_epoch(fresh)
    assert str(caught.value) == (
        f"the log at {fresh} has no epoch in alerting.meta: its topics were not made by trucban"
    )


def test_a_broker_that_is_away_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerAway) as caught:
        ensure_topics(address, 2, timeout=0.5)
    assert str(caught.value) == f"no Kafka broker answers at {address}"
    with pytest.raises(BrokerAway) as read:
        read_epoch(address, timeout=0.5)
    assert str(read.value) == f"no Kafka broker answers at {address}"
