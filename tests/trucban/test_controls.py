from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from feeds.clock import BusinessClock, ClockSpec
from feeds.outlet import MemoryOutlet, decode_meta
from rules.engine.configured import decode_config
from rules.load import CATALOGUE, load_rules
from schemas.topics import EVENTS, META
from schemas.wire import Config
from trucban.addresses import read_clock
from trucban.controls import Controls, hash_rules, look, watch
from trucban.metrics import Meter
from trucban.pulse import Teller, write_clock


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    shutil.copytree(CATALOGUE, tmp_path / "rules")
    return tmp_path / "rules"


def test_the_first_version_is_published_and_then_nothing_until_it_changes(rules: Path) -> None:
    controls = watch(rules, None, {})
    change = controls.poll()
    assert change.config == Config(rules=load_rules(rules))
    told = controls.acknowledge(change)
    assert told == {"rules": hash_rules(load_rules(rules))}
    assert controls.poll().config is None
    (rules / "source" / "sync-failing.yaml").unlink()
    assert controls.poll().config == Config(rules=load_rules(rules))


def test_after_a_restart_nothing_is_published_that_the_log_holds(rules: Path) -> None:
    controls = watch(rules, None, {"rules": hash_rules(load_rules(rules))})
    assert controls.poll().config is None


def test_a_bad_set_never_replaces_a_good_one(rules: Path) -> None:
    controls = watch(rules, None, {})
    controls.acknowledge(controls.poll())
    (rules / "bad.yaml").write_text("rule: x\nrulle: y\n")
    change = controls.poll()
    assert change.config is None
    assert {fault.file for fault in change.faults} == {"bad.yaml"}


def test_a_part_with_faults_does_not_hold_up_the_other(rules: Path) -> None:
    def reference() -> bytes:
        return b"{}"

    (rules / "bad.yaml").write_text("rule: x\nrulle: y\n")
    change = Controls(lambda: load_rules(rules), reference, {}).poll()
    assert change.config == Config(reference=b"{}")
    assert change.faults


def test_the_hash_of_rules_knows_in_which_file_a_text_is(rules: Path) -> None:
    files = load_rules(rules)
    assert hash_rules(files) != hash_rules(files[:1] + files[2:])
    assert hash_rules(files) == hash_rules(load_rules(rules))


def test_a_look_sees_new_changed_and_removed_files(rules: Path, tmp_path: Path) -> None:
    first = look(rules, None, tmp_path / "none")
    assert first == look(rules)
    (rules / "new.yaml").write_text("a")
    second = look(rules)
    (rules / "new.yaml").write_text("ab")
    third = look(rules)
    (rules / "new.yaml").unlink()
    assert len({str(first), str(second), str(third)}) == 3


def test_pulses_and_controls_go_into_every_partition() -> None:
    outlet, meter = MemoryOutlet(partitions=3), Meter()
    teller = Teller(outlet, BusinessClock(ClockSpec("demo", 425, 10.0), real=1_000_000), meter)
    teller.begin()
    teller.pulse(5_000)
    begun, pulses = outlet.records[1:4], outlet.records[4:]
    assert outlet.records[0][0] == META
    anchor = decode_meta(outlet.records[0][3]).clock
    assert anchor is not None
    assert (anchor.mode, anchor.real, anchor.rate) == ("demo", 1_000_000, 10.0)
    assert [decode_config(record[3]) for record in begun] == [Config(clock_mode="demo")] * 3
    assert [record[:3] for record in pulses] == [(EVENTS, 0, None), (EVENTS, 1, None), (EVENTS, 2, None)]
    assert json.loads(pulses[0][3]) == {"clock": 5_000, "mode": "demo", "every": 10_000}
    assert pulses[0][4] == [("kind", b"pulse"), ("arrived", b"5000")]
    assert meter.registry.get_sample_value("trucban_pulses_total") == 3
    assert meter.registry.get_sample_value("trucban_business_clock_seconds") == 5


def test_what_was_published_is_noted_after_it(rules: Path) -> None:
    outlet = MemoryOutlet(partitions=2)
    teller = Teller(outlet, BusinessClock(ClockSpec("wall"), real=1), Meter())
    controls = watch(rules, None, {})
    change = controls.poll()
    assert change.config is not None
    teller.change(change.config, controls.acknowledge(change))
    assert [record[0] for record in outlet.records] == [EVENTS, EVENTS, META]
    assert decode_meta(outlet.records[-1][3]).published == change.hashes


def test_the_clock_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "clock"
    assert read_clock(path) is None
    write_clock(path, 42)
    write_clock(path, 43)
    assert read_clock(path) == 43
