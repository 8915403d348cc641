// Command bench is the other side of Hookline's benchmark: it loads an API server with ConfigMaps, takes webhooks over
// TLS and counts them, and finds out how much the counting side alone can take. It shares two cores with what it
// measures, so it does little per object and nothing twice. Standard library only: it compiles in seconds.
//
//	bench sink -ca-out FILE                            receive webhooks: sink.go
//	bench load -kubeconfig FILE -namespace NS -n 1000  create ConfigMaps: load.go
//	bench post -url URL -ca FILE -n 1000 -c 8          the sink's own capacity: post.go
//
// Every command writes JSON, one value a line, to stdout; what failed goes to stderr, with exit code 1. All connections
// are verified: the API server's by the kubeconfig's authority, the sink's by its own.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

func main() {
	commands := map[string]func([]string) error{"sink": sink, "load": load, "post": post}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench sink|load|post [flags]; each has -help")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// newFlags makes the flag set of one command; a wrong flag ends the process with its usage.
func newFlags(command string) *flag.FlagSet {
	return flag.NewFlagSet("bench "+command, flag.ExitOnError)
}

// say writes one value as a line of JSON to stdout.
func say(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}

// progress says {"done": count()} every second until the returned function is called.
func progress(count func() int64) (stop func()) {
	ticker, done := time.NewTicker(time.Second), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				_ = say(map[string]int64{"done": count()})
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}

// latency sums up durations: their number and quantiles in milliseconds.
type latency struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// summarize sorts a copy of nanoseconds. A quantile is the smallest value that so many are not greater than.
func summarize(nanoseconds []int64) latency {
	if len(nanoseconds) == 0 {
		return latency{}
	}
	sorted := slices.Sorted(slices.Values(nanoseconds))
	at := func(percent int) float64 {
		return float64(sorted[(len(sorted)*percent+99)/100-1]) / 1e6
	}
	return latency{Count: len(sorted), P50: at(50), P99: at(99), Max: at(100)}
}
