package main

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
)

// An object does not change while somebody reads it.
type object struct {
	reading  sync.RWMutex
	body     []byte
	etag     []string
	modified []string
	header   http.Header
	at       time.Time
}

type bucket struct {
	lock    sync.RWMutex
	objects map[string]*object
	uploads map[string]*upload
	// All keys, sorted, unless the set of them has changed since.
	keys     []string
	isSorted bool
}

func newBucket() *bucket {
	return &bucket{objects: map[string]*object{}, uploads: map[string]*upload{}}
}

func newObject(body []byte, etag string, sent http.Header) *object {
	now := time.Now().UTC()
	header := http.Header{"content-type": {"binary/octet-stream"}}
	for name, values := range sent {
		if name := strings.ToLower(name); name == "content-type" || strings.HasPrefix(name, metadata) || strings.HasPrefix(name, checksum) {
			header[name] = values
		}
	}
	return &object{
		body: body, etag: []string{etag}, modified: []string{now.Format(http.TimeFormat)}, header: header, at: now,
	}
}

// tag is an ETag that depends on the content alone. Like those of multipart uploads it is no MD5, and says so with its dash:
// an MD5 costs a core two milliseconds for each megabyte, which no server of many disks and cores makes a client wait for.
func tag(body []byte, suffix string) string {
	sum := binary.BigEndian.AppendUint64(nil, uint64(len(body)))
	sum = binary.BigEndian.AppendUint32(sum, crc32.Checksum(body, castagnoli))
	if suffix == "" {
		suffix = "1"
	}
	return `"` + hex.EncodeToString(sum) + "-" + suffix + `"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// read is an object that stays as it is until `reading` is unlocked, or nil.
func (b *bucket) read(key string) *object {
	b.lock.RLock()
	defer b.lock.RUnlock()
	found := b.objects[key]
	if found != nil {
		found.reading.RLock()
	}
	return found
}

// put stores an object; false where there is one and only a new one is wanted.
func (b *bucket) put(key string, stored *object, onlyNew bool) bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	before, isThere := b.objects[key]
	if isThere && onlyNew {
		return false
	}
	if isThere {
		go before.discard()
	}
	b.objects[key] = stored
	b.isSorted = b.isSorted && isThere
	return true
}

func (b *bucket) remove(key string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if before := b.objects[key]; before != nil {
		go before.discard()
		delete(b.objects, key)
		b.isSorted = false
	}
}

// empty discards all objects, when the bucket is no longer to be found.
func (b *bucket) empty() {
	b.lock.Lock()
	defer b.lock.Unlock()
	for _, before := range b.objects {
		before.discard()
	}
	b.objects = map[string]*object{}
}

// sorted is every key in order. The slice is never written to again.
func (b *bucket) sorted() []string {
	b.lock.Lock()
	defer b.lock.Unlock()
	if !b.isSorted {
		b.keys = make([]string, 0, len(b.objects))
		for key := range b.objects {
			b.keys = append(b.keys, key)
		}
		sort.Strings(b.keys)
		b.isSorted = true
	}
	return b.keys
}
