// Go clients against a broker: franz-go and sarama run the same table of cases.
//
//	matrix CLIENT BOOTSTRAP RECORDS.JSON [CASE...]
//
// Runs the named cases (all without names) and prints one JSON line for each, as ../python/common.py says.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"time"
)

// Generous, for a loaded machine: what goes well ends long before.
const (
	caseLimit = 180 * time.Second
	waitLimit = 150 * time.Second
)

// header is a record's header; a nil value is absent.
type header struct {
	key   string
	value []byte
}

// row is a record as it must come back.
type row struct {
	timestamp  int64
	key, value []byte
	headers    []header
}

var (
	bootstrap string
	shapes    []row
)

// cases are a client's cases by name.
type cases map[string]func() error

func main() {
	clients := map[string]func() cases{"franz": franzCases, "sarama": saramaCases}
	client, known := clients[os.Args[1]]
	if !known {
		panic("no such client: " + os.Args[1])
	}
	bootstrap = os.Args[2]
	shapes = readShapes(os.Args[3])
	table := client()
	names := os.Args[4:]
	if len(names) == 0 {
		for name := range table {
			names = append(names, name)
		}
		sort.Strings(names)
	}
	for _, name := range names {
		line := map[string]any{"case": name, "ok": true}
		start := time.Now()
		if err := runCase(table[name]); err != nil {
			line["ok"], line["error"] = false, err.Error()
		}
		line["ms"] = time.Since(start).Milliseconds()
		text, _ := json.Marshal(line)
		fmt.Println(string(text))
	}
}

func runCase(body func() error) error {
	if body == nil {
		return fmt.Errorf("no such case")
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				done <- fmt.Errorf("panic: %v", cause)
			}
		}()
		done <- body()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(caseLimit):
		return fmt.Errorf("the case took more than %v", caseLimit)
	}
}

func readShapes(path string) []row {
	text, err := os.ReadFile(path)
	must(err)
	var entries []struct {
		Timestamp  int64
		Key, Value *[]byte
		Headers    [][2]json.RawMessage
	}
	must(json.Unmarshal(text, &entries))
	optional := func(bytes *[]byte) []byte {
		if bytes == nil {
			return nil
		}
		return *bytes
	}
	var rows []row
	for _, entry := range entries {
		one := row{timestamp: entry.Timestamp, key: optional(entry.Key), value: optional(entry.Value)}
		for _, pair := range entry.Headers {
			var key string
			var value *[]byte
			must(json.Unmarshal(pair[0], &key))
			must(json.Unmarshal(pair[1], &value))
			one.headers = append(one.headers, header{key, optional(value)})
		}
		rows = append(rows, one)
	}
	return rows
}

// must ends a case: runCase turns the panic into its error.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(holds bool, what string, values ...any) {
	if !holds {
		panic(fmt.Sprintf(what, values...))
	}
}

func equal[T comparable](found, wanted T, what string) {
	check(found == wanted, "%s: found %v but wanted %v", what, found, wanted)
}

func same(found, wanted []row) {
	equal(len(found), len(wanted), "records")
	for at := range found {
		text, other := describe(found[at]), describe(wanted[at])
		check(text == other, "record %d: found %.500s but wanted %.500s", at, text, other)
	}
}

// describe tells an absent field from an empty one.
func describe(one row) string {
	var text bytes.Buffer
	field := func(value []byte) { fmt.Fprintf(&text, " %t %q", value == nil, value) }
	fmt.Fprint(&text, one.timestamp)
	field(one.key)
	field(one.value)
	for _, header := range one.headers {
		fmt.Fprintf(&text, " %q", header.key)
		field(header.value)
	}
	return text.String()
}

func until(what string, condition func() bool) {
	end := time.Now().Add(waitLimit)
	for !condition() {
		check(time.Now().Before(end), "waited %v in vain: %s", waitLimit, what)
		time.Sleep(20 * time.Millisecond)
	}
}

func plain(count int) []row {
	var rows []row
	for number := range count {
		value := make([]byte, 300)
		for at := range value {
			value[at] = byte((number*7 + at*at) % 64)
		}
		rows = append(rows, row{timestamp: 1_600_000_000_000 + int64(number), value: value})
	}
	return rows
}

// big is a record that does not compress well.
func big(size int) []row {
	value := make([]byte, size)
	rand.New(rand.NewSource(7)).Read(value)
	return []row{{timestamp: 1_600_000_000_000, key: []byte("big"), value: value}}
}

// shared says whether two members own all four partitions, each some, none both.
func shared(one, other map[int32]bool) bool {
	all := map[int32]bool{}
	for part := range one {
		all[part] = true
	}
	for part := range other {
		all[part] = true
	}
	return len(one) > 0 && len(other) > 0 && len(all) == 4 && len(one)+len(other) == 4
}
