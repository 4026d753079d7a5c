from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from trucban.settings import Settings, check_environment, load_settings, make_settings, parse_settings


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_options_before_environment_before_file_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trucban.toml").write_text("workers = 2\npartitions = 16\nclickhouse_port = 1\n")
    monkeypatch.setenv("TRUCBAN_WORKERS", "3")
    monkeypatch.setenv("TRUCBAN_PARTITIONS", "32")
    settings = load_settings({"workers": "4"})
    assert (settings.workers, settings.partitions, settings.clickhouse_port) == (4, 32, 1)
    assert settings.broker_port == 9092


def test_the_settings_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").write_text("workers = 2\n")
    (tmp_path / "b.toml").write_text("workers = 5\n")
    monkeypatch.setenv("TRUCBAN_CONFIG", str(tmp_path / "a.toml"))
    assert load_settings({}).workers == 2
    assert load_settings({}, tmp_path / "b.toml").workers == 5


def test_nothing_changes_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().workers = 2  # type: ignore[misc]


def test_credentials_are_not_shown() -> None:
    settings = make_settings({"clickhouse": "http://u:secret@h:1", "database": "postgresql://u:secret@h/d"})
    assert "secret" not in repr(settings)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings({"workers": "x", "clock": "noon", "broker": "nowhere", "partitions": 0, "host": "::1"})
    assert str(caught.value) == (
        "setting broker (--broker, TRUCBAN_BROKER): wrong value 'nowhere': "
        "expected HOST:PORT, several with commas\n"
        "setting clock (--clock, TRUCBAN_CLOCK): wrong value 'noon': "
        "expected wall, data or [YYYY-MM-DDT]HH:MM@RATE (such as 07:05@10)\n"
        "setting workers (--workers, TRUCBAN_WORKERS): wrong value 'x': "
        "input should be a valid integer, unable to parse string as an integer\n"
        "setting partitions (--partitions, TRUCBAN_PARTITIONS): wrong value 0: "
        "input should be greater than or equal to 1"
    )


def test_a_wrong_address_with_a_password_is_not_printed() -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings({"clickhouse": "u:secret@h:1", "database": "u:secret@h"})
    assert str(caught.value) == (
        "setting clickhouse (--clickhouse, TRUCBAN_CLICKHOUSE): wrong value: "
        "expected http://USER:PASSWORD@HOST:PORT\n"
        "setting database (--database, TRUCBAN_DATABASE): wrong value: "
        "expected postgresql://USER:PASSWORD@HOST:PORT/NAME"
    )


def test_unknown_names_in_the_file() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("wrokers = 2\nx = 1\n", "trucban.toml")
    assert str(caught.value) == (
        'trucban.toml: there is no setting "wrokers"; did you mean "workers"?\n'
        'trucban.toml: there is no setting "x"'
    )


def test_a_file_that_is_no_toml() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("workers", "trucban.toml")
    assert str(caught.value) == (
        "trucban.toml is not TOML: Expected '=' after a key in a key/value pair (at end of document)"
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({}, tmp_path / "none.toml")
    assert (
        str(caught.value) == f"settings file {tmp_path}/none.toml cannot be read: No such file or directory"
    )


def test_unknown_variables() -> None:
    with pytest.raises(SettingsError) as caught:
        check_environment({"TRUCBAN_BROKR": "x", "PATH": "y", "TRUCBAN_CONFIG": "z"})
    assert str(caught.value) == (
        'environment: there is no setting "TRUCBAN_BROKR"; did you mean "TRUCBAN_BROKER"?'
    )
