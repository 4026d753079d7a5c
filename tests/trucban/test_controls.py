from __future__ import annotations

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feeds.clock import BusinessClock, ClockSpec
from feeds.outlet import MemoryOutlet, decode_meta
from rules.engine.configured import decode_config
from rules.load import CATALOGUE, load_rules
from schemas.errors import DocumentError, Fault
from schemas.topics import EVENTS, META
from schemas.wire import Config
from trucban.addresses import read_clock
from trucban.controls import (
    Change,
    Controls,
    Reading,
    ReferenceFiles,
    Settling,
    hash_rules,
    look,
    watch,
)
from trucban.metrics import Meter
from trucban.pulse import Teller, write_clock, write_state


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
    (rules / "attendance" / "school-day-absence.yaml").unlink()
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
    (rules / "bad.yaml").unlink()
    assert controls.poll() == Change()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule: x\n  y: [\n", "x.yaml:2:4: this is not YAML: mapping values are not allowed here"),
        ("rule: x\nrulle: y\n", "x.yaml:2:1: rule x: 'rulle' is not a key of a rule; did you mean 'rule'?"),
        (None, "x.yaml:1:1: rule school-silent: no test shows that the rule fires; expected a test"),
    ],
)
def test_what_would_not_pass_rules_check_is_not_published(
    rules: Path, text: str | None, message: str
) -> None:
    silent = (rules / "source" / "school-silent.yaml").read_text()
    shutil.rmtree(rules)
    rules.mkdir()
    (rules / "x.yaml").write_text(text or silent[: silent.index("tests:")])
    change = watch(rules, None, {}).poll()
    assert change.config is None
    assert any(str(fault).startswith(message) for fault in change.faults), change.faults


def test_an_empty_directory_of_rules_is_a_fault_and_retires_nothing(rules: Path) -> None:
    shutil.rmtree(rules)
    rules.mkdir()
    change = watch(rules, None, {"rules": "h"}).poll()
    assert (change.config, [*map(str, change.faults)]) == (
        None,
        ["rules:0:0: there is no rule; expected at least one file NAME.yaml"],
    )


def test_rosters_that_are_gone_for_a_moment_are_a_fault_until_they_are_back(tmp_path: Path) -> None:
    (tmp_path / "units.csv").write_text("code,name,kind\nS1,Một,school\n")
    (tmp_path / "classes.csv").write_text("code,school,enrolled\n1A,S1,30\n")
    files = ReferenceFiles(tmp_path)
    whole = files.read()
    (tmp_path / "classes.csv").rename(tmp_path / "classes.csv~")
    with pytest.raises(DocumentError) as gone:
        files.read()
    assert str(gone.value) == (
        "classes.csv:0:0: the file was there and is gone; expected the file, or one without entries"
    )
    (tmp_path / "classes.csv~").rename(tmp_path / "classes.csv")
    assert files.read() == whole


def test_reference_data_without_rosters_and_calendar_may_stay_so(tmp_path: Path) -> None:
    (tmp_path / "units.csv").write_text("code,name,kind\nS1,Một,school\n")
    files = ReferenceFiles(tmp_path)
    assert files.read() == files.read()


def test_files_are_read_at_once_and_then_when_nobody_writes_them_any_more(rules: Path) -> None:
    controls, settling = watch(rules, None, {}), Settling(lambda: look(rules))
    assert settling.is_due()
    assert settling.read(controls.poll) == controls.poll()
    assert not settling.is_due()
    new = rules / "new.yaml"
    new.write_text("rule: half a fi")
    assert not settling.is_due()
    new.write_text("rule: half a file that goes on")
    assert not settling.is_due()
    assert settling.is_due()


def test_what_changes_while_it_is_read_is_read_again(rules: Path) -> None:
    controls, settling = watch(rules, None, {}), Settling(lambda: look(rules))

    def poll() -> Change:
        (rules / "source" / "school-silent.yaml").unlink(missing_ok=True)
        return controls.poll()

    assert settling.is_due()
    assert settling.read(poll) is None
    assert [settling.is_due(), settling.is_due()] == [False, True]
    assert settling.read(poll) is not None


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_seen(rules: Path) -> None:
    before, path = look(rules), rules / "source" / "school-silent.yaml"
    other = path.with_suffix(".new")
    other.write_text(path.read_text().replace("P2", "P3"))
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert look(rules) != before


def test_a_reading_goes_on_beside_the_pulses(rules: Path) -> None:
    controls, begin = watch(rules, None, {}), threading.Event()

    def poll() -> Change:
        begin.wait()
        return controls.poll()

    with ThreadPoolExecutor(1) as threads:
        reading = Reading(Settling(lambda: look(rules)), poll, threads)
        assert [reading.changed(), reading.changed()] == [None, None]
        begin.set()
        assert reading.changed(None) == controls.poll()
        assert reading.changed() is None


def test_the_state_of_the_files_is_noted_for_the_console(tmp_path: Path) -> None:
    path, fault = tmp_path / "run" / "rules.json", Fault("a.yaml", 3, 5, "unknown key")
    write_state(path, Change(faults=(fault,)), {"rules": "h"}, 42)
    assert json.loads(path.read_text()) == {
        "at": 42,
        "hash": "h",
        "errors": ["a.yaml:3:5: unknown key"],
        "reference": "",
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["rules.json"]


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
