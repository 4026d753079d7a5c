// Asks an embedded ClickHouse what clickhouse-go users ask, over HTTP; prints one JSON object a line.
// Usage: clickhouse_go HOST:PORT USER PASSWORD [none|gzip|deflate|lz4|zstd]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

func report(what string, value any, err error) {
	line := map[string]any{"what": what, "value": value}
	if err != nil {
		line["error"] = err.Error()
	}
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

var methods = map[string]clickhouse.CompressionMethod{
	"none": clickhouse.CompressionNone, "gzip": clickhouse.CompressionGZIP,
	"deflate": clickhouse.CompressionDeflate, "lz4": clickhouse.CompressionLZ4,
	"zstd": clickhouse.CompressionZSTD,
}

func open(address, user, password, method string) (driver.Conn, error) {
	return clickhouse.Open(&clickhouse.Options{
		Protocol:    clickhouse.HTTP,
		Addr:        []string{address},
		Auth:        clickhouse.Auth{Database: "trucban", Username: user, Password: password},
		Settings:    clickhouse.Settings{"max_execution_time": 60},
		Compression: &clickhouse.Compression{Method: methods[method], Level: 3},
		DialTimeout: 5 * time.Second,
	})
}

func rows(ctx context.Context, conn driver.Conn, what, sql string, args ...any) {
	found, err := conn.Query(ctx, sql, args...)
	if err != nil {
		report(what, nil, err)
		return
	}
	defer found.Close()
	out := [][]any{}
	for found.Next() {
		kinds := found.ColumnTypes()
		row := make([]any, len(kinds))
		for i, kind := range kinds {
			row[i] = newOf(kind)
		}
		if err := found.Scan(row...); err != nil {
			report(what, nil, err)
			return
		}
		out = append(out, row)
	}
	report(what, map[string]any{"columns": found.Columns(), "rows": out}, found.Err())
}

func insert(ctx context.Context, conn driver.Conn) error {
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO trucban.go_trial (at, name, measures)")
	if err != nil {
		return err
	}
	for i := range 1000 {
		value := float64(i) / 2
		measures := map[string]*float64{"rate": &value, "usual": nil}
		if err := batch.Append(time.UnixMilli(1788741600000+int64(i)), fmt.Sprint("Trường ", i), measures); err != nil {
			return err
		}
	}
	return batch.Send()
}

func main() {
	method := "none"
	if len(os.Args) > 4 {
		method = os.Args[4]
	}
	ctx := context.Background()
	conn, err := open(os.Args[1], os.Args[2], os.Args[3], method)
	if err != nil {
		report("open", nil, err)
		os.Exit(1)
	}
	report("ping", nil, conn.Ping(ctx))
	version, err := conn.ServerVersion()
	report("version", version.Version.Major > 0 && version.Timezone != nil, err)
	for _, view := range []string{"events", "rejected", "aggregates", "transitions", "alerts", "deliveries"} {
		rows(ctx, conn, view, "SELECT * FROM "+view)
		rows(ctx, conn, "no "+view, "SELECT * FROM "+view+" WHERE 1 = 0")
	}
	rows(ctx, conn, "typed", "SELECT * FROM attendance_marked ORDER BY id")
	rows(ctx, conn, "many", "SELECT count(), sum(n) FROM (SELECT number AS n FROM numbers(100000))")
	rows(ctx, conn, "show", "SHOW TABLES FROM trucban LIKE 'nothing%'")
	rows(ctx, conn, "parameter", "SELECT {name:String} AS name, {n:UInt64} + 1 AS n",
		clickhouse.Named("name", "Trường 'A'"), clickhouse.Named("n", "41"))
	rows(ctx, conn, "error", "SELECT nothing FROM trucban.events")
	rows(ctx, conn, "syntax", "SELEC 1")
	report("create", nil, conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS trucban.go_trial "+
		"(at DateTime64(3, 'Asia/Ho_Chi_Minh'), name String, measures Map(String, Nullable(Float64))) "+
		"ENGINE = MergeTree ORDER BY at"))
	report("truncate", nil, conn.Exec(ctx, "TRUNCATE TABLE trucban.go_trial"))
	report("insert", nil, insert(ctx, conn))
	rows(ctx, conn, "inserted", "SELECT count() AS n, min(at) AS first, max(name) AS last, sum(measures['rate']) AS sum FROM go_trial")
	total := 0
	big, err := conn.Query(ctx, "SELECT number, toString(number) FROM numbers(300000)")
	if err == nil {
		for big.Next() {
			total++
		}
		err = big.Err()
	}
	report("big", total, err)
	wrong, _ := open(os.Args[1], os.Args[2], "wrong", method)
	report("wrong password", nil, wrong.Ping(ctx))
	_ = conn.Close()
}
