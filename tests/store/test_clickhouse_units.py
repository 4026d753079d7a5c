"""The pure parts of the ClickHouse server: statements, framing, encodings, errors, credentials."""

from __future__ import annotations

import gzip
import stat
import zlib
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StoreError
from store.clickhouse.blocks import pack_blocks, unpack_blocks
from store.clickhouse.cityhash import cityhash128
from store.clickhouse.credentials import Credentials, load_credentials, write_address
from store.clickhouse.encoding import choose, pack, unpack
from store.clickhouse.errors import EngineError, http_status, parse, refuse
from store.clickhouse.framing import header_block, hello_block, is_hello, var_uint
from store.clickhouse.migrate import load_migrations, parse_migration
from store.clickhouse.request import read_request
from store.clickhouse.statement import Insert, read_query, split_insert


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01;\x02", Insert("INSERT INTO t ", "Native", b"\x01;\x02")),
        (b"insert into t (a, b) format CSV 1,2", Insert("insert into t (a, b) ", "CSV", b"1,2")),
        (b"INSERT INTO t FORMAT TSV\r\n\n1", Insert("INSERT INTO t ", "TSV", b"\n1")),
        (b"INSERT INTO t(a) VALUES (1), (2)", Insert("INSERT INTO t(a) ", "Values", b" (1), (2)")),
        (
            b"-- FORMAT x\nINSERT /* VALUES */ INTO `FORMAT` (`values`) SETTINGS a='x FORMAT' FORMAT CSV{}",
            Insert(
                "-- FORMAT x\nINSERT /* VALUES */ INTO `FORMAT` (`values`) SETTINGS a='x FORMAT' ",
                "CSV",
                b"{}",
            ),
        ),
        (b"INSERT INTO values VALUES (1)", Insert("INSERT INTO values ", "Values", b" (1)")),
        (b"INSERT INTO t SELECT 1 FORMAT Native", None),
        (b"INSERT INTO t WITH 1 AS a SELECT a", None),
        (b"SELECT 1 FORMAT Native", None),
        (b"INSERT INTO t", None),
        (b"", None),
    ],
)
def test_an_insert_is_separated_from_its_data(sql: bytes, expected: Insert | None) -> None:
    assert split_insert(sql) == expected


@given(st.binary(max_size=200))
def test_any_data_passes_unchanged(data: bytes) -> None:
    found = split_insert(b"INSERT INTO t FORMAT Native\n" + data)
    assert found == Insert("INSERT INTO t ", "Native", data)


@pytest.mark.parametrize(
    ("sql", "text", "bare", "format"),
    [
        (b"SELECT 1", "SELECT 1", "SELECT 1", ""),
        (b"SELECT 1\n FORMAT Native ;\n", "SELECT 1\n FORMAT Native", "SELECT 1", "Native"),
        (
            b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1",
            "SELECT 1 FORMAT JSON SETTINGS max_threads = 1",
            "SELECT 1  SETTINGS max_threads = 1",
            "JSON",
        ),
        (b"SELECT format FROM t", "SELECT format FROM t", "SELECT format FROM t", ""),
        (b"SELECT 'FORMAT x'", "SELECT 'FORMAT x'", "SELECT 'FORMAT x'", ""),
        (b"SELECT 1 -- c", "SELECT 1", "SELECT 1", ""),
        (b" ; ", "", "", ""),
    ],
)
def test_a_query_is_separated_from_its_format(sql: bytes, text: str, bare: str, format: str) -> None:
    query = read_query(sql)
    assert (query.text, query.bare, query.format) == (text, bare, format)


def test_files_of_the_server_are_out_of_reach() -> None:
    with pytest.raises(EngineError) as out:
        read_query(b"SELECT 1 INTO OUTFILE '/tmp/x'")
    expected = "Code: 113. DB::Exception: INTO OUTFILE is not allowed. (INTO_OUTFILE_NOT_ALLOWED)"
    assert str(out.value) == expected
    with pytest.raises(EngineError) as into:
        split_insert(b"INSERT INTO t FROM INFILE '/tmp/x' FORMAT CSV")
    assert str(into.value) == "Code: 78. DB::Exception: FROM INFILE is not allowed. (UNKNOWN_TYPE_OF_QUERY)"


def test_the_first_answer_is_framed_for_its_revision() -> None:
    block = hello_block("vm", "26.9.2.1", "Asia/Ho_Chi_Minh", 54460)
    assert block == (
        bytes.fromhex("010002ffffffff00") + b"\x04\x01"
        b"\x0ddisplayName()\x06String\x00\x02vm"
        b"\x09version()\x06String\x00\x0826.9.2.1"
        b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00"
        b"\x0atimezone()\x06String\x00\x10Asia/Ho_Chi_Minh"
    )
    assert hello_block("vm", "1", "UTC", 54405).count(b"String\x00") == 0


def test_only_that_query_at_a_framed_revision_is_the_first() -> None:
    assert is_hello("SELECT displayName(), version(), revision(), timezone()", 54460)
    assert is_hello(" select  displayName() ,version(),revision(), timezone() ", 54460)
    assert not is_hello("SELECT displayName(), version(), revision(), timezone()", 0)
    assert not is_hello("SELECT version()", 54460)


def test_a_header_block_names_columns_and_has_no_rows() -> None:
    assert header_block([("a", "UInt8")]) == b"\x01\x00\x01a\x05UInt8"
    assert var_uint(300) == b"\xac\x02"


@given(st.binary(max_size=5000), st.sampled_from(["gzip", "deflate", "zstd", "lz4", ""]))
def test_what_is_packed_unpacks(data: bytes, name: str) -> None:
    packed = pack(data, name) if name else data
    assert unpack(packed, name, 5000) == data


@given(st.binary(max_size=3000))
def test_blocks_unpack_to_what_they_were(data: bytes) -> None:
    assert unpack_blocks(pack_blocks(data), 3000) == data


def test_cityhash_gives_the_numbers_of_clickhouse() -> None:
    # Made with clickhouse-go's own library (go-faster/city, CH128) for 0, 5, 12, 100 and 1000 bytes.
    data = bytes(i * 7 % 256 for i in range(1000))
    assert [cityhash128(data[:n]).hex() for n in (0, 5, 12, 100, 1000)] == CITYHASHES


CITYHASHES = [
    "2b9ac064fc9df03d291ee592c340b53c",
    "9fbec5156fb1338a53e96be4b31c566e",
    "6abf4d05f54f6180c0b4b73a73f7ee04",
    "50c580ec698da15064e3d1c5b848c0c8",
    "3e463966e0c65342d72983eba0aef12d",
]


UNKNOWN_METHOD = (
    "Code: 89. DB::Exception: Unknown compression method compress: expected one of deflate, gzip, lz4, "
    "x-gzip, zstd. (UNKNOWN_COMPRESSION_METHOD)"
)
NOT_GZIPPED = (
    "Code: 271. DB::Exception: Cannot decompress gzip body: Not a gzipped file (b'xx'). (CANNOT_DECOMPRESS)"
)
INCOMPLETE = (
    "Code: 271. DB::Exception: Cannot decompress deflate body: incomplete stream. (CANNOT_DECOMPRESS)"
)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (
            b"x",
            "compress",
            UNKNOWN_METHOD,
        ),
        (
            b"xx",
            "gzip",
            NOT_GZIPPED,
        ),
        (
            zlib.compress(b"x" * 100)[:-8],
            "deflate",
            INCOMPLETE,
        ),
        (
            gzip.compress(b"x" * 1001, mtime=0),
            "gzip",
            "Code: 307. DB::Exception: Request body is larger than 1000 bytes. (TOO_MANY_BYTES)",
        ),
        (
            zstandard.compress(b"x" * 1001),
            "zstd",
            "Code: 307. DB::Exception: Request body is larger than 1000 bytes. (TOO_MANY_BYTES)",
        ),
        (
            lz4.frame.compress(b"x" * 1001),
            "lz4",
            "Code: 307. DB::Exception: Request body is larger than 1000 bytes. (TOO_MANY_BYTES)",
        ),
    ],
)
def test_bad_bodies_are_refused(data: bytes, name: str, message: str) -> None:
    with pytest.raises(EngineError) as refused:
        unpack(data, name, 1000)
    assert str(refused.value) == message


def test_bad_blocks_are_refused() -> None:
    good = pack_blocks(b"x" * 100)
    cases = {
        good[:-1]: "a block ends too early",
        b"\x00" + good[1:]: "a checksum does not match",
        good[:5]: "unpack_from requires a buffer of at least 25 bytes for unpacking 9 bytes at offset 16 "
        "(actual buffer size is 5)",
    }
    for data, why in cases.items():
        with pytest.raises(EngineError) as refused:
            unpack_blocks(data, 1000)
        assert str(refused.value) == (
            f"Code: 271. DB::Exception: Cannot decompress body: {why}. (CANNOT_DECOMPRESS)"
        )
    with pytest.raises(EngineError) as large:
        unpack_blocks(good, 99)
    assert large.value.status == 413


def test_the_encoding_is_one_that_the_client_takes() -> None:
    assert choose("gzip, deflate") == "gzip"
    assert choose("br;q=1.0, zstd ; q=0.5") == "zstd"
    assert choose("gzip; q=0") == ""
    assert choose("") == ""


def test_errors_are_found_inside_wrapped_messages() -> None:
    error = parse("Failed: Code: 33. DB::Exception: Code: 60. DB::Exception: no table. (UNKNOWN_TABLE)")
    assert (error.code, error.text) == (60, "Code: 60. DB::Exception: no table. (UNKNOWN_TABLE)")
    assert parse("odd").text == "Code: 1002. DB::Exception: odd"
    assert [http_status(code) for code in (516, 62, 60, 159, 307, 202, 999)] == [
        403, 400, 404, 408, 413, 503, 500,
    ]  # fmt: skip
    assert refuse(62, "SYNTAX_ERROR", "no").status == 400


def test_a_request_keeps_transport_from_the_engine() -> None:
    arguments = {
        "query": "SELECT 1", "database": "d", "default_format": "JSON", "session_id": "s", "max_threads": "2",
        "param_a": "1", "client_protocol_version": "54460", "wait_end_of_query": "1",
    }  # fmt: skip
    request = read_request(b"body", arguments, {})
    assert request.sql == b"SELECT 1\nbody"
    assert (request.database, request.format, request.revision) == ("d", "JSON", 54460)
    assert request.settings == {"max_threads": "2"}
    assert request.parameters == {"a": "1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a b": "1"}, "Code: 36. DB::Exception: 'a b' cannot be a setting's name. (BAD_ARGUMENTS)"),
        (
            {"client_protocol_version": "x"},
            "Code: 36. DB::Exception: client_protocol_version is not a number: 'x'. (BAD_ARGUMENTS)",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError) as refused:
        read_request(b"", arguments, {})
    assert str(refused.value) == message


def test_the_address_file_is_for_its_owner_and_keeps_the_password(tmp_path: Path) -> None:
    path = tmp_path / "run" / "clickhouse.url"
    first = load_credentials(path)
    write_address(path, first.url("127.0.0.1", 8123))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_credentials(path) == first
    assert first.admit(first.user, first.password)
    assert not first.admit(first.user, "")
    assert not first.admit("default", first.password)
    odd = Credentials("a:b", "p@/ß")
    write_address(path, odd.url("127.0.0.1", 1))
    assert load_credentials(path) == odd


def test_migrations_are_numbered_and_split() -> None:
    assert [migration.number for migration in load_migrations()] == [1, 2, 3]
    migration = parse_migration("0003_x.sql", "-- c;\nSELECT 1;\n\nSELECT ';' AS a;\n")
    assert (migration.number, migration.name, migration.statements) == (
        3,
        "x",
        ("SELECT 1", "SELECT ';' AS a"),
    )


def test_bad_migrations_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^x\.sql: a migration is called NNNN_name\.sql$"):
        parse_migration("x.sql", "")
    (tmp_path / "0002_b.sql").write_text("SELECT 1;")
    with pytest.raises(StoreError, match=r"^migrations are not numbered 1 to 1: \[2\]$"):
        load_migrations(tmp_path)
