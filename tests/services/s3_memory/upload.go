package main

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
)

var uploads atomic.Int64

type upload struct {
	parts map[int][]byte
	// What CreateMultipartUpload said of the object.
	header http.Header
}

// onUpload does the steps of a multipart upload.
func onUpload(w http.ResponseWriter, r *http.Request, there *bucket, key string) {
	query := r.URL.Query()
	id, number := query.Get("uploadId"), query.Get("partNumber")
	there.lock.RLock()
	begun := there.uploads[id]
	there.lock.RUnlock()
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		begin(w, r, there, key)
	case id == "":
		fail(w, http.StatusNotImplemented, notImplemented)
	case begun == nil:
		fail(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodPut && number != "":
		putPart(w, r, there, begun, number)
	case r.Method == http.MethodPost:
		there.end(id)
		complete(w, r, there, key, begun)
	case r.Method == http.MethodDelete:
		there.end(id)
		w.WriteHeader(http.StatusNoContent)
	default:
		fail(w, http.StatusNotImplemented, notImplemented)
	}
}

func begin(w http.ResponseWriter, r *http.Request, there *bucket, key string) {
	id := "upload-" + strconv.FormatInt(uploads.Add(1), 10)
	there.lock.Lock()
	there.uploads[id] = &upload{map[int][]byte{}, r.Header}
	there.lock.Unlock()
	answerXML(w, xmlHead+"<InitiateMultipartUploadResult "+namespace+"><Key>"+escaper.Replace(key)+"</Key><UploadId>"+id+
		"</UploadId></InitiateMultipartUploadResult>")
}

func putPart(w http.ResponseWriter, r *http.Request, there *bucket, begun *upload, number string) {
	at, wrong := strconv.Atoi(number)
	body, err := read(r)
	if err != nil || wrong != nil {
		fail(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	there.lock.Lock()
	begun.parts[at] = body
	there.lock.Unlock()
	w.Header().Set("Etag", tag(body, ""))
	w.WriteHeader(http.StatusOK)
}

func (b *bucket) end(id string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	delete(b.uploads, id)
}

// complete makes an object of all parts that were sent, in the order of their numbers.
func complete(w http.ResponseWriter, r *http.Request, there *bucket, key string, begun *upload) {
	numbers := make([]int, 0, len(begun.parts))
	for number := range begun.parts {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	bodies := make([][]byte, 0, len(numbers))
	for _, number := range numbers {
		bodies = append(bodies, begun.parts[number])
	}
	body := bytes.Join(bodies, nil)
	stored := newObject(body, tag(body, strconv.Itoa(len(numbers))), begun.header)
	if !there.put(key, stored, r.Header.Get("If-None-Match") == "*") {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	answerXML(w, xmlHead+"<CompleteMultipartUploadResult "+namespace+"><Key>"+escaper.Replace(key)+"</Key><ETag>"+
		escaper.Replace(stored.etag[0])+"</ETag></CompleteMultipartUploadResult>")
}
