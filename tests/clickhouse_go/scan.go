package main

import (
	"reflect"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// newOf is a fresh variable to scan a column of this type into.
func newOf(kind driver.ColumnType) any {
	return reflect.New(kind.ScanType()).Interface()
}
