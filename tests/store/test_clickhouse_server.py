"""The embedded server as its clients see it: clickhouse-connect, curl, Grafana's plugin, a kill -9."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import clickhouse_connect
import httpx
import pyarrow as pa
import pytest
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from schemas.errors import StoreAway, StoreError, SupervisionError
from store.clickhouse.client import ClickHouse, Refused
from store.clickhouse.encoding import unpack
from store.clickhouse.migrate import Migration, load_migrations, migrate
from tests.support.clickhouse import ROOT, ClickHouseProcess

HELLO = "SELECT displayName(), version(), revision(), timezone()"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    process = ClickHouseProcess(tmp_path_factory.mktemp("clickhouse"))
    process.start()
    migrate(process.client(), load_migrations())
    yield process
    assert process.stop() == 0


@pytest.fixture
def web(server: ClickHouseProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base, auth=server.credentials, timeout=30) as client:
        yield client


@pytest.fixture
def connect(server: ClickHouseProcess) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=server.url)
    yield client
    client.close()


# --- who may come in ---


@pytest.mark.parametrize("how", ["basic", "headers", "query"])
def test_three_ways_to_say_who_one_is(server: ClickHouseProcess, how: str) -> None:
    user, password = server.credentials
    given: dict[str, dict[str, str]] = {
        "basic": {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()},
        "headers": {"X-ClickHouse-User": user, "X-ClickHouse-Key": password},
        "query": {},
    }
    query = {"query": "SELECT 1"} | ({"user": user, "password": password} if how == "query" else {})
    answer = httpx.get(f"{server.base}/", params=query, headers=given[how])
    assert (answer.status_code, answer.text) == (200, "1\n")


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "default"),
        ({"X-ClickHouse-User": "trucban", "X-ClickHouse-Key": "x"}, "trucban"),
        ({"Authorization": "Basic %%%"}, "default"),
        ({"Authorization": "Bearer x"}, "default"),
    ],
)
def test_others_are_refused_as_clickhouse_does(
    server: ClickHouseProcess, headers: dict[str, str], name: str
) -> None:
    answer = httpx.post(f"{server.base}/", content="SELECT 1", headers=headers)
    assert answer.status_code == 403
    assert answer.headers["X-ClickHouse-Exception-Code"] == "516"
    assert answer.text == (
        f"Code: 516. DB::Exception: {name}: Authentication failed: password is incorrect, "
        "or there is no user with such name. (AUTHENTICATION_FAILED)\n"
    )


def test_ping_needs_no_name(server: ClickHouseProcess) -> None:
    assert httpx.get(f"{server.base}/ping").text == "Ok.\n"


# --- statements ---

UNKNOWN = (
    "Code: 47. DB::Exception: Unknown expression identifier `x`. In scope SELECT x: Note: the query "
    "does not have the FROM clause. Did you forget to add it?. (UNKNOWN_IDENTIFIER)\n"
)


@pytest.mark.parametrize(
    ("sql", "status", "code", "text"),
    [
        (
            "SELECT x",
            404,
            "47",
            UNKNOWN,
        ),
        (
            "SELECT 1; SELECT 2",
            400,
            "62",
            "Code: 62. DB::Exception: Syntax error (Multi-statements are not allowed) (SYNTAX_ERROR)\n",
        ),
        ("", 400, "62", "Code: 62. DB::Exception: Syntax error: Empty query (SYNTAX_ERROR)\n"),
        (
            "SELECT throwIf(number = 99999) FROM numbers(100000)",
            500,
            "395",
            "Code: 395. DB::Exception: Value passed to 'throwIf' function is non-zero",
        ),
        (
            "INSERT INTO nothing FORMAT CSV 1",
            404,
            "60",
            "Code: 60. DB::Exception: Table default.nothing does not exist.",
        ),
    ],
)
def test_errors_are_clickhouses(web: httpx.Client, sql: str, status: int, code: str, text: str) -> None:
    answer = web.post("/", content=sql)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, code)
    assert answer.text.startswith(text)


def test_a_misspelt_statement_is_a_syntax_error(web: httpx.Client) -> None:
    answer = web.post("/", content="SELEC 1")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "62"


def test_unknown_settings_and_databases_are_named(web: httpx.Client) -> None:
    setting = web.post("/", params={"nonsense": "1"}, content="SELECT 1")
    assert (setting.status_code, setting.headers["X-ClickHouse-Exception-Code"]) == (404, "115")
    assert setting.text.startswith("Code: 115. DB::Exception: Unknown setting 'nonsense'")
    database = web.post("/", params={"database": "nowhere"}, content="SELECT 1")
    assert (database.status_code, database.headers["X-ClickHouse-Exception-Code"]) == (404, "81")


def test_get_only_reads(web: httpx.Client) -> None:
    answer = web.get("/", params={"query": "CREATE DATABASE other"})
    assert answer.text == (
        "Code: 164. DB::Exception: default: Cannot execute query in readonly mode. (READONLY)\n"
    )
    assert web.get("/", params={"query": "SELECT 1", "max_threads": "1"}).text == "1\n"


def test_settings_and_the_database_last_for_one_request(web: httpx.Client) -> None:
    settings = {"database": "trucban", "max_block_size": "77", "session_id": "s"}
    sql = "SELECT currentDatabase(), getSetting('max_block_size')"
    assert web.post("/", params=settings, content=sql).text == "trucban\t77\n"
    assert web.post("/", params={"session_id": "s"}, content=sql).text == "default\t65409\n"
    assert web.post("/trucban", content="SELECT currentDatabase()").text == "trucban\n"


def test_the_format_is_the_statements_then_the_requests(web: httpx.Client) -> None:
    sql = "SELECT 1 AS a"
    assert web.post("/", content=sql, params={"default_format": "JSONEachRow"}).text == '{"a":1}\n'
    assert web.post("/", content=sql, headers={"X-ClickHouse-Format": "CSV"}).text == "1\n"
    answer = web.post("/", content=sql + " FORMAT TSVWithNames;", params={"default_format": "CSV"})
    assert (answer.text, answer.headers["X-ClickHouse-Format"]) == ("a\n1\n", "TSVWithNames")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 AS a, 'x' AS b WHERE 0", b"\x02\x00\x01a\x05UInt8\x01b\x06String"),
        ("SELECT 1 AS a WHERE 0 FORMAT Native", b"\x01\x00\x01a\x05UInt8"),
        ("SELECT {n:UInt8} AS a LIMIT 0", b"\x01\x00\x01a\x05UInt8"),
        ("SHOW TABLES LIKE 'nothing'", b"\x01\x00\x04name\x06String"),
        ("CREATE DATABASE IF NOT EXISTS trucban", b""),
    ],
)
def test_an_empty_result_in_native_still_has_its_columns(
    web: httpx.Client, sql: str, expected: bytes
) -> None:
    answer = web.post("/", content=sql, params={"default_format": "Native", "param_n": "1"})
    assert (answer.status_code, answer.content) == (200, expected)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "lz4"])
def test_answers_are_packed_as_asked(web: httpx.Client, coding: str) -> None:
    sql = "SELECT number FROM numbers(2000)"
    with web.stream("POST", "/", content=sql, headers={"Accept-Encoding": coding}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == coding
    assert unpack(raw, coding, 1 << 20).splitlines()[-1] == b"1999"


def test_a_body_has_a_bound(web: httpx.Client) -> None:
    answer = web.post("/", content=b"x" * ((64 << 20) + 1))
    assert answer.status_code == 413
    assert answer.text == (
        "Code: 307. DB::Exception: Request body is larger than 67108864 bytes. (TOO_MANY_BYTES)\n"
    )


def test_time_has_a_bound(web: httpx.Client) -> None:
    answer = web.post(
        "/", params={"max_execution_time": "0.2"}, content="SELECT sum(sipHash64(number)) FROM numbers(1e11)"
    )
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (408, "159")


def test_a_result_has_a_bound(web: httpx.Client) -> None:
    answer = web.post("/", params={"max_result_bytes": "1000"}, content="SELECT number FROM numbers(100000)")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "396")


def test_reads_run_side_by_side_and_end_when_their_client_leaves(web: httpx.Client) -> None:
    marker = "SELECT sum(sipHash64(number)) FROM numbers(1e11)"
    with pytest.raises(httpx.ReadTimeout):
        web.post("/", content=marker, timeout=0.5)
    running = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(1e11)' AND not is_cancelled"
    deadline = time.monotonic() + 20
    while web.post("/", content=running).text != "0\n":
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- inserts ---


def test_data_is_in_the_body_whatever_names_the_table(web: httpx.Client) -> None:
    web.post("/", content="CREATE TABLE trucban.ins (a UInt8, b String) ENGINE = MergeTree ORDER BY a")
    both = web.post("/", content=b"INSERT INTO trucban.ins FORMAT CSV\n1,x;\n2,'y\n")
    assert json.loads(both.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    web.post("/trucban", params={"query": "INSERT INTO ins (a, b) FORMAT TabSeparated"}, content=b"3\tz\n")
    web.post("/trucban", content="INSERT INTO ins VALUES (4, upper('v')), (5, ';')")
    web.post("/trucban", content="INSERT INTO ins SELECT 6, 's'")
    native = web.post("/trucban", content="SELECT toUInt8(7) AS a, 'n' AS b FORMAT Native").content
    web.post("/trucban", content=b"INSERT INTO ins FORMAT Native\n" + native)
    rows = web.post("/trucban", content="SELECT a, b FROM ins ORDER BY a").text
    assert rows == "1\tx;\n2\ty\n3\tz\n4\tV\n5\t;\n6\ts\n7\tn\n".replace("2\ty", "2\t\\'y")


def test_long_native_data_arrives_whole(web: httpx.Client) -> None:
    web.post("/", content="CREATE TABLE trucban.long (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    made = web.post(
        "/", content="SELECT number AS a, repeat(';\\'x', 20) AS b FROM numbers(200000) FORMAT Native"
    )
    assert web.post("/trucban", content=b"INSERT INTO long FORMAT Native\n" + made.content).status_code == 200
    assert (
        web.post("/trucban", content="SELECT count(), sum(length(b)) FROM long").text == "200000\t12000000\n"
    )


def test_a_broken_insert_says_so_and_writes_nothing(web: httpx.Client) -> None:
    web.post("/", content="CREATE TABLE trucban.broken (a UInt8) ENGINE = MergeTree ORDER BY a")
    answer = web.post("/trucban", content=b'INSERT INTO broken FORMAT JSONEachRow {"a": 1}\n{"a": "x"}')
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "27")
    assert web.post("/trucban", content="SELECT count() FROM broken").text == "0\n"


# --- clickhouse-connect ---


def test_clickhouse_connect_reads_and_writes(connect: Client) -> None:
    connect.command(
        "CREATE TABLE kinds (at DateTime64(3, 'Asia/Ho_Chi_Minh'), m Map(String, Nullable(Float64)), "
        "a Array(String), l LowCardinality(String), n Nullable(Int64)) ENGINE = MergeTree ORDER BY at"
    )
    found = connect.query("SELECT * FROM kinds")
    assert (found.column_names, found.result_rows) == (("at", "m", "a", "l", "n"), [])
    rows = [[1788741600.5 + i, {"x": i / 2, "y": None}, ["a", "ấ"], "l", None] for i in range(3000)]
    values = [[datetime.fromtimestamp(row[0], UTC), *row[1:]] for row in rows]  # type: ignore[arg-type]
    summary = connect.insert("kinds", values, column_names=["at", "m", "a", "l", "n"])
    assert summary.written_rows == 3000
    got = connect.query("SELECT * FROM kinds ORDER BY at").result_rows
    assert len(got) == 3000
    assert tuple(got[1][1:]) == ({"x": 0.5, "y": None}, ["a", "ấ"], "l", None)
    assert got[0][0].isoformat() == "2026-09-07T07:40:00.500000+07:00"
    assert connect.query_arrow("SELECT n FROM kinds WHERE 0").schema.names == ["n"]
    assert connect.query_df("SELECT count() AS c FROM kinds")["c"][0] == 3000


def test_clickhouse_connect_binds_parameters(connect: Client) -> None:
    given = {"a": "x'y\n", "b": ["p", "q"]}
    row = connect.query("SELECT {a:String}, {b:Array(String)}", parameters=given).result_rows[0]
    assert tuple(row) == ("x'y\n", ["p", "q"])


def test_clickhouse_connect_sends_tables_along(connect: Client) -> None:
    table = ExternalData(file_name="t", data=b"1,a\n2,b\n", fmt="CSV", structure=["n UInt8", "s String"])
    found = connect.query("SELECT max(n), min(s) FROM t", external_data=table)
    assert found.result_rows == [(2, "a")]


def test_clickhouse_connect_inserts_arrow(connect: Client) -> None:
    connect.command("CREATE TABLE arrow (a Int64, s String) ENGINE = MergeTree ORDER BY a")
    connect.insert_arrow("arrow", pa.table({"a": [1, 2], "s": ["x", "y"]}))
    assert connect.command("SELECT sum(a) FROM arrow") == 3


def test_clickhouse_connect_hears_errors(connect: Client) -> None:
    with pytest.raises(DatabaseError) as refused:
        connect.query("SELECT nope FROM system.one")
    assert refused.value.code == 47


# --- curl and the plugin ---


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_with_the_address_file(server: ClickHouseProcess) -> None:
    def curl(*arguments: str) -> str:
        return subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=True).stdout

    assert curl(server.url, "-d", "SELECT currentDatabase()") == "trucban\n"
    sql = "SELECT {who:String} AS who FORMAT JSONEachRow"
    assert curl(f"{server.url}?param_who=Lan", "--compressed", "-d", sql) == '{"who":"Lan"}\n'
    assert curl(f"{server.base}/ping") == "Ok.\n"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", f"{server.base}/", "-d", "SELECT 1") == "403"


def test_the_requests_of_grafanas_plugin_byte_for_byte(server: ClickHouseProcess) -> None:
    user, password = server.credentials
    token = b64encode(f"{user}:{password}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def ask(sql: str, **more: str) -> bytes:
        query = urlencode({
            "client_protocol_version": "54460", "database": "trucban", "default_format": "Native",
            "max_execution_time": "60", "query_id": "a-b-c", "quota_key": "", **more,
        })  # fmt: skip
        connection.putrequest("POST", f"/?{query}", skip_accept_encoding=True)
        for name, value in {
            "User-Agent": "grafana-clickhouse-datasource/4.20.0 clickhouse-go/2.47.0 (lv:go/1.25; os:linux)",
            "Authorization": f"Basic {token}",
            "Accept-Encoding": "gzip",
            "Content-Length": str(len(sql)),
        }.items():
            connection.putheader(name, value)
        connection.endheaders(sql.encode())
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()

    hello = ask(HELLO)
    assert hello.startswith(bytes.fromhex("010002ffffffff00") + b"\x04\x01\x0ddisplayName()\x06String\x00")
    assert b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00\x0atimezone()\x06String\x00" in hello
    assert hello.endswith(b"\x10Asia/Ho_Chi_Minh")
    assert ask("SELECT 1") == b"\x01\x01\x011\x05UInt8\x01"
    assert ask("SELECT 1 AS a WHERE 0", limit="10") == b"\x01\x00\x01a\x05UInt8"
    for sql in ("SELECT version()", "SHOW DATABASES", 'SHOW TABLES FROM "trucban"',
                'DESC TABLE "trucban"."events"', "SELECT name FROM system.functions LIMIT 3",
                "SELECT name, type FROM system.columns WHERE database = 'trucban' LIMIT 3"):  # fmt: skip
        assert ask(sql)
    connection.close()


# --- processes ---


def insert_until_killed(client: ClickHouse, number: int) -> int:
    """Insert number by number; gives the first that was not acknowledged."""
    while True:
        try:
            client.insert("trucban.t", ["n"], f"{number}\n".encode(), "TabSeparated")
        except StoreAway:
            return number
        number += 1


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    process = ClickHouseProcess(tmp_path)
    process.start()
    url = process.url
    client = ClickHouse(url)
    client.command("CREATE DATABASE trucban")
    client.command(
        "CREATE TABLE trucban.t (n UInt64) ENGINE = MergeTree ORDER BY n "
        "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    )
    acknowledged = 0
    for round_ in range(4):
        killer = threading.Timer(0.25, process.kill)
        killer.start()
        acknowledged = insert_until_killed(client, acknowledged)
        killer.join()
        process.start()
        assert process.url == url  # the password stays
        numbers = {int(row[0]) for row in ClickHouse(url).query("SELECT n FROM trucban.t")}
        assert numbers >= set(range(acknowledged)), f"round {round_}"
    assert acknowledged > 4
    assert process.stop() == 0


def all_readers_busy(process: ClickHouseProcess) -> bool:
    """Whether even the simplest statement has to wait."""
    try:
        httpx.post(process.base, content="SELECT 1", auth=process.credentials, timeout=0.5)
    except httpx.ReadTimeout:
        return True
    return False


def test_a_stop_does_not_wait_for_long_reads(tmp_path: Path) -> None:
    process = ClickHouseProcess(tmp_path)
    process.start()
    sql = "SELECT sum(sipHash64(number)) FROM numbers(1e11)"
    answers: list[int] = []

    def read() -> None:
        try:
            answer = httpx.post(process.base, content=sql, auth=process.credentials, timeout=60)
            answers.append(answer.status_code)
        except httpx.HTTPError:
            answers.append(0)

    readers = [threading.Thread(target=read) for _ in range(6)]  # some run, some wait
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + 30
    while not all_readers_busy(process):
        assert time.monotonic() < deadline
    begin = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - begin < 15
    for reader in readers:
        reader.join(deadline - time.monotonic())
    assert 200 not in answers
    assert len(answers) == 6


def test_a_directory_in_use_and_a_taken_port_are_one_sentence(
    server: ClickHouseProcess, tmp_path: Path
) -> None:
    with pytest.raises(SupervisionError) as taken:
        run_in_process(tmp_path, server.port)
    assert str(taken.value) == f"port {server.port} on 127.0.0.1 is taken"
    with pytest.raises(SupervisionError) as used:
        run_in_process(server.data_dir, 0)
    assert str(used.value) == f"{server.data_dir / 'clickhouse'} is in use by another ClickHouse process"


def run_in_process(data_dir: Path, port: int) -> None:
    """Run the server in a child (the engine's library stays out of pytest) and raise what it raised."""
    code = (
        "import sys; from pathlib import Path; from schemas.errors import SupervisionError\n"
        "from store.clickhouse.server import run_clickhouse\n"
        "try: run_clickhouse(Path(sys.argv[1]), int(sys.argv[2]))\n"
        "except SupervisionError as error: print(error); sys.exit(3)\n"
    )
    arguments = [sys.executable, "-c", code, str(data_dir), str(port)]
    run = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if run.returncode == 3:
        raise SupervisionError(run.stdout.splitlines()[-1])
    raise AssertionError(run.stderr)


def test_a_server_that_is_away_is_store_away(tmp_path: Path) -> None:
    client = ClickHouse("http://u:p@127.0.0.1:1/trucban")
    with pytest.raises(StoreAway, match=r"^ClickHouse"):
        client.query("SELECT 1")


# --- migrations ---


def test_migrations_run_once_and_must_not_change(server: ClickHouseProcess) -> None:
    client = server.client()
    known = load_migrations()
    assert migrate(client, known) == 0
    changed = [*known[:-1], Migration(2, "views", (), "other")]
    with pytest.raises(StoreError, match=r"^migration 2 \(views\) was changed after it was applied$"):
        migrate(client, changed)
    with pytest.raises(StoreError, match=r"^the archive has migration 2, which this version does not know$"):
        migrate(client, known[:1])


def test_refusals_carry_their_code(server: ClickHouseProcess) -> None:
    with pytest.raises(Refused) as refused:
        server.client().command("DROP TABLE trucban.nothing")
    assert refused.value.code == 60
