package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// watcher is the least that a watch can be: it takes the time of each line and reads the creation time out of it.
type watcher struct {
	latencies []int64
	ended     chan error
	stream    io.Closer
}

// newWatcher opens a watch that begins now, for n objects.
func newWatcher(ctx context.Context, server *apiServer, namespace string, n int) (*watcher, error) {
	client, collection := server.client(), server.configMaps(namespace)
	body, err := get(ctx, client, collection+"?limit=1")
	if err != nil {
		return nil, err
	}
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	err = json.NewDecoder(body).Decode(&list)
	body.Close()
	if err != nil {
		return nil, err
	}
	query := url.Values{"watch": {"1"}, "resourceVersion": {list.Metadata.ResourceVersion}}
	stream, err := get(ctx, client, collection+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	w := &watcher{latencies: make([]int64, 0, n), ended: make(chan error, 1), stream: stream}
	go func() { w.ended <- w.read(n) }()
	return w, nil
}

func (w *watcher) read(n int) error {
	lines := bufio.NewReaderSize(w.stream.(io.Reader), 1<<20) // ReadSlice fails on a longer line; ours have 2 kB
	for len(w.latencies) < n {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("the stream ended after %d of %d: %w", len(w.latencies), n, err)
		}
		if created, ok := createdAt(line); ok {
			w.latencies = append(w.latencies, time.Now().UnixNano()-created)
		}
	}
	return nil
}

// finish waits for the last objects and sums up.
func (w *watcher) finish(patience time.Duration) (latency, error) {
	defer w.stream.Close()
	select {
	case err := <-w.ended:
		return summarize(w.latencies), err
	case <-time.After(patience):
		return latency{}, errors.New("objects that were created do not arrive")
	}
}

// get returns the body of an answer 200.
func get(ctx context.Context, client *http.Client, address string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, errors.New(answer.Status)
	}
	return answer.Body, nil
}
