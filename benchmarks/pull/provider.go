package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"
)

// provider serves the list until its standard input ends. It makes each page once.
func provider(o options, latency time.Duration) error {
	var pages [][]byte
	for first := 0; first < o.items; first += o.page {
		var page bytes.Buffer
		page.WriteByte('[')
		for i := first; i < min(first+o.page, o.items); i++ {
			if i > first {
				page.WriteByte(',')
			}
			fmt.Fprintf(&page, `{"device_id":"FORKINC_S1_%d","generic":{"device_type":"dispenser","model":"S1","serial_number":"SN-%08d","production_date":"2024-03-0%d","space_id":"9f1c2b3a-0000-4000-8000-%012d"},"device_type_specific":{"category":"soap","capacity_ml":%d,"levels":[%d,%d.5],"refillable":true}}`,
				i, i, i%9+1, i/20, 500+i%500, i%100, i%100)
		}
		page.WriteByte(']')
		pages = append(pages, page.Bytes())
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(latency)
		body := []byte("[]")
		if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && n >= 0 && n < len(pages) {
			body = pages[n]
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	fmt.Println(server.URL, base64.StdEncoding.EncodeToString(server.Certificate().Raw))
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
