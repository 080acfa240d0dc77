// An S3 server for the benchmark: objects in memory, path-style addresses, HTTP/1.1 by net/http.
//
// It is there to cost as little as a server can, so that a race on two cores is about the clients. It does what clients
// see of S3: PUT, GET with ranges and conditions, HEAD, DELETE, multipart uploads, DeleteObjects, ListObjectsV2. It does not
// check signatures or checksums, and a bucket that is deleted takes its objects with it. Whatever else is asked for gets 501.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

const (
	smallestHeap   = 512 << 20
	notImplemented = "NotImplemented"
	// Kept with an object, and given back with it.
	metadata = "x-amz-meta-"
	checksum = "x-amz-checksum-"
)

type server struct {
	lock    sync.RWMutex
	buckets map[string]*bucket
}

func main() {
	// One core is enough, and spares the threads waking each other: a third of the work for small objects.
	runtime.GOMAXPROCS(1)
	// Never touched, so it costs no memory; the collector waits until there is as much besides.
	ballast := make([]byte, smallestHeap)
	here := &server{buckets: map[string]*bucket{}}
	log.Print(http.ListenAndServe(os.Args[1], here))
	runtime.KeepAlive(ballast)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	there := s.bucket(name)
	switch {
	case name == "":
		fail(w, http.StatusNotImplemented, notImplemented)
	case key == "" && r.Method == http.MethodPut:
		s.create(name)
		w.WriteHeader(http.StatusOK)
	case there == nil:
		fail(w, http.StatusNotFound, "NoSuchBucket")
	case key == "":
		s.onBucket(w, r, name, there)
	case r.URL.RawQuery != "" && !strings.HasPrefix(r.URL.RawQuery, "x-id="):
		onUpload(w, r, there, key)
	default:
		onObject(w, r, there, key)
	}
}

func (s *server) bucket(name string) *bucket {
	s.lock.RLock()
	defer s.lock.RUnlock()
	return s.buckets[name]
}

func (s *server) create(name string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.buckets[name] == nil {
		s.buckets[name] = newBucket()
	}
}

func (s *server) onBucket(w http.ResponseWriter, r *http.Request, name string, there *bucket) {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodDelete:
		s.lock.Lock()
		delete(s.buckets, name)
		s.lock.Unlock()
		there.empty()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet && query.Get("list-type") == "2":
		list(w, query, name, there)
	case r.Method == http.MethodPost && query.Has("delete"):
		deleteMany(w, r, there)
	default:
		fail(w, http.StatusNotImplemented, notImplemented)
	}
}

func onObject(w http.ResponseWriter, r *http.Request, there *bucket, key string) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		get(w, r, there.read(key))
	case http.MethodPut:
		put(w, r, there, key)
	case http.MethodDelete:
		there.remove(key)
		w.WriteHeader(http.StatusNoContent)
	default:
		fail(w, http.StatusNotImplemented, notImplemented)
	}
}

func put(w http.ResponseWriter, r *http.Request, there *bucket, key string) {
	if r.Header.Get("X-Amz-Copy-Source") != "" || strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") {
		fail(w, http.StatusNotImplemented, notImplemented)
		return
	}
	body, err := read(r)
	if err != nil {
		fail(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	stored := newObject(body, tag(body, ""), r.Header)
	if !there.put(key, stored, r.Header.Get("If-None-Match") == "*") {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header()["Etag"] = stored.etag
	w.WriteHeader(http.StatusOK)
}

func get(w http.ResponseWriter, r *http.Request, found *object) {
	if found == nil {
		fail(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	defer found.reading.RUnlock()
	if want := r.Header.Get("If-Match"); want != "" && want != "*" && strings.Trim(want, `"`) != strings.Trim(found.etag[0], `"`) {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	header, body, status := w.Header(), found.body, http.StatusOK
	if asked := r.Header.Get("Range"); asked != "" {
		from, to, ok := span(asked, len(body))
		if !ok {
			fail(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		header.Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(to-1)+"/"+strconv.Itoa(len(body)))
		body, status = body[from:to], http.StatusPartialContent
	}
	for name, values := range found.header {
		if status == http.StatusOK || !strings.HasPrefix(name, checksum) {
			header[name] = values
		}
	}
	header["Etag"], header["Last-Modified"] = found.etag, found.modified
	header["Accept-Ranges"] = acceptRanges
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}

var acceptRanges = []string{"bytes"}

// span is what `bytes=a-b`, `bytes=a-` or `bytes=-n` means for so many bytes.
func span(asked string, length int) (int, int, bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(asked, "bytes="), "-")
	if !ok {
		return 0, 0, false
	}
	from, wrongFrom := strconv.Atoi(first)
	to, wrongTo := strconv.Atoi(last)
	switch {
	case first == "" && wrongTo == nil:
		from, to = max(0, length-to), length
	case wrongFrom == nil && last == "":
		to = length
	case wrongFrom == nil && wrongTo == nil:
		to = min(to+1, length)
	default:
		return 0, 0, false
	}
	return from, to, from < to
}

func read(r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(r.Body)
	}
	body := space(int(r.ContentLength))
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+code+`</Code><Message>`+code+`</Message></Error>`)
}
