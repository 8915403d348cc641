package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// post sends ready-made requests of a webhook's size over kept-alive connections: what the sink can take when its
// sender has no more to do than that.
func post(arguments []string) error {
	flags := newFlags("post")
	target := flags.String("url", "", "where to send")
	authority := flags.String("ca", "", "PEM file of the authority to trust")
	n := flags.Int64("n", 1000, "how many requests")
	callers := flags.Int("c", 8, "requests at the same time")
	_ = flags.Parse(arguments)

	trusted, err := os.ReadFile(*authority)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(trusted) {
		return fmt.Errorf("%s holds no certificate", *authority)
	}
	client := &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: *callers, MaxIdleConns: *callers,
		},
	}
	var next, done atomic.Int64
	failures := make(chan error, *callers)
	stop := progress(done.Load)
	began := time.Now()
	var group sync.WaitGroup
	for range *callers {
		group.Go(func() {
			for number := next.Add(1) - 1; number < *n; number = next.Add(1) - 1 {
				if err := postOne(client, *target, number); err != nil {
					failures <- err
					next.Store(*n)
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	stop()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	return say(loaded{Created: *n, First: began.UnixNano(), Last: began.Add(took).UnixNano(), Seconds: took.Seconds()})
}

const bodySize = 1000

// A signature of the lengths of v1 and v1a: HMAC-SHA256 and ed25519 in base64.
var signature = "v1," + strings.Repeat("A", 43) + "= v1a," + strings.Repeat("A", 86) + "=="

func postOne(client *http.Client, target string, number int64) error {
	body := configMap("reference", number, time.Now().UnixNano())
	body = append(body, bytes.Repeat([]byte(" "), bodySize-len(body))...)
	request, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/cloudevents+json")
	request.Header.Set("Webhook-Id", fmt.Sprintf("msg_%032d", number))
	request.Header.Set("Webhook-Timestamp", "1700000000")
	request.Header.Set("Webhook-Signature", signature)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return errors.New(answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
