package main

import (
	"bytes"
	"strconv"
)

// stamp is how an object carries the time of its creation, and how that is found again in whatever JSON embeds the
// object: a key of its data that nobody else has, whose value is Unix nanoseconds, 19 digits.
var stamp = []byte(`"benchCreatedAt":"`)

const digits = 19

// configMap is the body of a creation: about 800 bytes, 600 of them payload.
func configMap(name string, number int64, created int64) []byte {
	body := make([]byte, 0, 1024)
	body = append(body, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"`...)
	body = append(body, name...)
	body = append(body, `","labels":{"app":"bench"}},"data":{"k":"v","payload":"`...)
	for i := 600 - len(strconv.FormatInt(number, 10)); i > 0; i-- {
		body = append(body, '0')
	}
	body = strconv.AppendInt(body, number, 10)
	body = append(body, `",`...)
	body = append(body, stamp...)
	body = strconv.AppendInt(body, created, 10)
	return append(body, `"}}`...)
}

// createdAt finds the creation time in JSON that embeds an object; false when there is none.
func createdAt(document []byte) (int64, bool) {
	at := bytes.Index(document, stamp)
	if at < 0 || len(document) < at+len(stamp)+digits {
		return 0, false
	}
	created, err := strconv.ParseInt(string(document[at+len(stamp):at+len(stamp)+digits]), 10, 64)
	return created, err == nil
}
