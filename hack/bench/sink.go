package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// counts is what the sink knows. Only requests with a bench object inside count as arrivals; First and Last are Unix
// nanoseconds of the first and the last new one. Latency is from the creation's call to the request's last byte.
type counts struct {
	Arrived   int     `json:"arrived"`  // requests with an object, repetitions included
	Distinct  int     `json:"distinct"` // of them, different webhook-ids
	Unsigned  int     `json:"unsigned"` // of them, without webhook-id, -timestamp or -signature
	Foreign   int     `json:"foreign"`  // requests about something else
	Bytes     int64   `json:"bytes"`    // of the bodies of arrivals
	Conns     int64   `json:"conns"`    // connections since the start
	First     int64   `json:"first"`
	Last      int64   `json:"last"`
	Latencies latency `json:"latency"`
}

// journal is written by every request, so it does little while it is locked.
type journal struct {
	mu        sync.Mutex
	counts    counts
	ids       map[string]struct{}
	latencies []int64
	conns     atomic.Int64
}

// sink receives webhooks on a free TLS port of localhost until its standard input ends, as it does when its parent dies.
// It says {"url", "control"}; control is plain HTTP on loopback: GET /count (a number), GET /stats, POST /reset.
func sink(arguments []string) error {
	flags := newFlags("sink")
	authority := flags.String("ca-out", "", "where to write the certificate authority to trust, PEM")
	_ = flags.Parse(arguments)

	certificate, pem, err := newCertificate("localhost")
	if err != nil {
		return err
	}
	if err := os.WriteFile(*authority, pem, 0o600); err != nil {
		return err
	}
	hooks, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	j := &journal{ids: map[string]struct{}{}}
	receiver := &http.Server{
		Handler:   j,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				j.conns.Add(1)
			}
		},
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1, as most receivers
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // connections that are closed early
	}
	go func() { log.Fatal(receiver.ServeTLS(hooks, "", "")) }()
	go func() { log.Fatal((&http.Server{Handler: j.control(), ReadHeaderTimeout: time.Minute}).Serve(control)) }()
	_, port, err := net.SplitHostPort(hooks.Addr().String())
	if err != nil {
		return err
	}
	if err := say(map[string]string{"url": "https://localhost:" + port, "control": "http://" + control.Addr().String()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// ServeHTTP takes one webhook.
func (j *journal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, max(r.ContentLength, 0))
	if _, err := io.ReadFull(r.Body, body); err != nil || r.ContentLength < 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	arrived := time.Now().UnixNano()
	created, ok := createdAt(body)
	j.note(r.Header, arrived, created, len(body), ok)
	w.WriteHeader(http.StatusNoContent)
}

func (j *journal) note(header http.Header, arrived, created int64, size int, ok bool) {
	id := header.Get("Webhook-Id")
	signed := id != "" && header.Get("Webhook-Timestamp") != "" && header.Get("Webhook-Signature") != ""
	j.mu.Lock()
	defer j.mu.Unlock()
	if !ok {
		j.counts.Foreign++
		return
	}
	j.counts.Arrived++
	j.counts.Bytes += int64(size)
	if !signed {
		j.counts.Unsigned++
		return
	}
	if _, known := j.ids[id]; known {
		return
	}
	j.ids[id] = struct{}{}
	if j.counts.First == 0 {
		j.counts.First = arrived
	}
	j.counts.Last = max(j.counts.Last, arrived)
	j.latencies = append(j.latencies, arrived-created)
}

// control is the handler for those who ask.
func (j *journal) control() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		j.mu.Lock()
		distinct := len(j.ids)
		j.mu.Unlock()
		answer(w, distinct)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		j.mu.Lock()
		now := j.counts
		now.Distinct = len(j.ids)
		latencies := append([]int64(nil), j.latencies...)
		j.mu.Unlock()
		now.Conns, now.Latencies = j.conns.Load(), summarize(latencies)
		answer(w, now)
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		j.mu.Lock()
		j.counts, j.ids, j.latencies = counts{}, map[string]struct{}{}, nil
		j.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
