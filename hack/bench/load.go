package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// loaded is what load says at the end. First and last are Unix nanoseconds: the first call, the last answer.
type loaded struct {
	Created int64    `json:"created"`
	First   int64    `json:"first"`
	Last    int64    `json:"last"`
	Seconds float64  `json:"seconds"`
	Watched *latency `json:"watched,omitempty"`
}

// load creates ConfigMaps, at a rate or as fast as -c callers get them done. With -watch it watches the namespace
// meanwhile over a connection of its own: the time from a creation's call to its watch event is what any watcher has to
// wait, whatever it does then.
func load(arguments []string) error {
	flags := newFlags("load")
	config := flags.String("kubeconfig", "", "kubeconfig file, in JSON")
	namespace := flags.String("namespace", "", "where to create")
	prefix := flags.String("prefix", "bench", "first part of the objects' names")
	n := flags.Int64("n", 1000, "how many objects")
	callers := flags.Int("c", 16, "requests at the same time, at most")
	rate := flags.Float64("rate", 0, "objects per second; 0: as fast as it goes")
	watched := flags.Bool("watch", false, "measure a plain watch, too")
	_ = flags.Parse(arguments)

	server, err := connect(*config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var watch *watcher
	if *watched {
		if watch, err = newWatcher(ctx, server, *namespace, int(*n)); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	job := &creation{
		ctx: ctx, client: server.client(), url: server.configMaps(*namespace), prefix: *prefix, n: *n, rate: *rate,
	}
	stop := progress(job.done.Load)
	result, err := job.run(*callers)
	stop()
	if err != nil {
		return err
	}
	if watch != nil {
		summary, err := watch.finish(10 * time.Second)
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		result.Watched = &summary
	}
	return say(result)
}

// creation creates n objects; the first failure ends it.
type creation struct {
	ctx    context.Context
	client *http.Client
	url    string
	prefix string
	n      int64
	rate   float64

	began time.Time
	next  atomic.Int64
	done  atomic.Int64
}

func (c *creation) run(callers int) (loaded, error) {
	failures := make(chan error, callers)
	var group sync.WaitGroup
	c.began = time.Now()
	for range callers {
		group.Go(func() {
			for number := c.next.Add(1) - 1; number < c.n; number = c.next.Add(1) - 1 {
				if err := c.create(number); err != nil {
					failures <- err
					c.next.Store(c.n) // the others stop, too
					return
				}
				c.done.Add(1)
			}
		})
	}
	group.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return loaded{}, err
	}
	took := time.Since(c.began)
	first := c.began.UnixNano()
	return loaded{Created: c.n, First: first, Last: first + took.Nanoseconds(), Seconds: took.Seconds()}, nil
}

// create makes one object when its time has come.
func (c *creation) create(number int64) error {
	if c.rate > 0 {
		time.Sleep(time.Until(c.began.Add(time.Duration(float64(number) / c.rate * float64(time.Second)))))
	}
	body := configMap(fmt.Sprintf("%s-%d", c.prefix, number), number, time.Now().UnixNano())
	request, err := http.NewRequestWithContext(c.ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 500))
		return errors.New(answer.Status + " " + string(text))
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
