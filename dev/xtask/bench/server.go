// Go's net/http, to compare with: the same answers as http.janet. It ends when its input does.
// Usage: server FOLDER PORT
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
)

var small = []byte("hello, world")

func send(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func fixed(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { send(w, body) }
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: server FOLDER PORT")
		os.Exit(2)
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("/", fixed(small))
	mux.HandleFunc("/1k", fixed(bytes.Repeat([]byte("x"), 1024)))
	mux.HandleFunc("/1m", fixed(bytes.Repeat([]byte("x"), 1024*1024)))
	mux.HandleFunc("/up", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		send(w, []byte(strconv.Itoa(len(body))))
	})
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(os.Args[1]))))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[2], mux))
}
