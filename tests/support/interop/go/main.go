// Reads requests as hack/interop.py writes them, and prints how many the official library verifies (v1), and how many
// an ed25519 of another origin than the sender's does (v1a: Go's own).
package main

import (
	"bufio"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const longestLine = 16 << 20

type request struct {
	id, timestamp, signature string
	secrets, publicKeys      []string
	body                     []byte
}

type counts struct {
	Requests int `json:"requests"`
	V1       int `json:"v1"`
	V1a      int `json:"v1a"`
}

func parse(line string) request {
	fields := strings.Split(line, "\t")
	return request{
		id:         fields[0],
		timestamp:  fields[1],
		signature:  fields[2],
		secrets:    strings.Fields(fields[3]),
		publicKeys: strings.Fields(fields[4]),
		body:       decode(fields[5]),
	}
}

func decode(text string) []byte {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		log.Fatal(err)
	}
	return raw
}

func (r request) v1() bool {
	headers := http.Header{}
	headers.Set("webhook-id", r.id)
	headers.Set("webhook-timestamp", r.timestamp)
	headers.Set("webhook-signature", r.signature)
	for _, secret := range r.secrets {
		webhook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			log.Fatal(err)
		}
		if webhook.Verify(r.body, headers) != nil {
			return false
		}
	}
	return true
}

func (r request) v1a() bool {
	for _, key := range r.publicKeys {
		if !r.signedBy(decode(strings.TrimPrefix(key, "whpk_"))) {
			return false
		}
	}
	return true
}

func (r request) signedBy(key ed25519.PublicKey) bool {
	signed := append([]byte(r.id+"."+r.timestamp+"."), r.body...)
	for _, entry := range strings.Fields(r.signature) {
		text, ours := strings.CutPrefix(entry, "v1a,")
		signature, err := base64.StdEncoding.DecodeString(text)
		if ours && err == nil && ed25519.Verify(key, signed, signature) {
			return true
		}
	}
	return false
}

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestLine)
	var seen counts
	for lines.Scan() {
		r := parse(lines.Text())
		seen.Requests++
		if r.v1() {
			seen.V1++
		}
		if r.v1a() {
			seen.V1a++
		}
	}
	if lines.Err() != nil {
		log.Fatal(lines.Err())
	}
	json.NewEncoder(os.Stdout).Encode(seen)
}
