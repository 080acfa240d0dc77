package main

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

const (
	pageKeys   = 1000
	xmlHead    = `<?xml version="1.0" encoding="UTF-8"?>`
	instant    = "2006-01-02T15:04:05.000Z"
	namespace  = `xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`
	xmlContent = "application/xml"
)

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\r", "&#13;", "\n", "&#10;")

// list answers ListObjectsV2. The token of a page is the last key, or the last common prefix, of the page before.
func list(w http.ResponseWriter, query url.Values, name string, there *bucket) {
	prefix, delimiter, after := query.Get("prefix"), query.Get("delimiter"), query.Get("start-after")
	if token := query.Get("continuation-token"); token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			fail(w, http.StatusBadRequest, "InvalidArgument")
			return
		}
		after = string(last)
	}
	most := pageKeys
	if wanted, err := strconv.Atoi(query.Get("max-keys")); err == nil {
		most = min(most, wanted)
	}
	written := func(text string) string { return escaper.Replace(text) }
	if query.Get("encoding-type") == "url" {
		written = func(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "%2F", "/") }
	}
	keys := there.sorted()
	at := sort.SearchStrings(keys, max(prefix, after))
	if delimiter != "" && after != "" && strings.HasSuffix(after, delimiter) {
		at += past(keys[at:], after)
	}
	contents, prefixes, count, last := make([]byte, 0, 256<<10), []byte(nil), 0, ""
	there.lock.RLock()
	for at < len(keys) && count < most && strings.HasPrefix(keys[at], prefix) {
		key := keys[at]
		if key == after {
			at++
			continue
		}
		if end := strings.Index(key[len(prefix):], delimiter); delimiter != "" && end >= 0 {
			last = key[:len(prefix)+end+len(delimiter)]
			prefixes = append(prefixes, "<CommonPrefixes><Prefix>"+written(last)+"</Prefix></CommonPrefixes>"...)
			at += past(keys[at:], last)
			count++
			continue
		}
		if found := there.objects[key]; found != nil {
			contents = append(contents, "<Contents><Key>"+written(key)+"</Key><LastModified>"...)
			contents = found.at.AppendFormat(contents, instant)
			contents = append(contents, "</LastModified><ETag>&quot;"+strings.Trim(found.etag[0], `"`)+"&quot;</ETag><Size>"...)
			contents = strconv.AppendInt(contents, int64(len(found.body)), 10)
			contents = append(contents, "</Size><StorageClass>STANDARD</StorageClass></Contents>"...)
			last = key
			count++
		}
		at++
	}
	there.lock.RUnlock()
	isTruncated := at < len(keys) && strings.HasPrefix(keys[at], prefix)
	head := xmlHead + "<ListBucketResult " + namespace + "><Name>" + name + "</Name><Prefix>" + written(prefix) + "</Prefix><MaxKeys>" +
		strconv.Itoa(most) + "</MaxKeys><KeyCount>" + strconv.Itoa(count) + "</KeyCount><IsTruncated>" + strconv.FormatBool(isTruncated) +
		"</IsTruncated>"
	if delimiter != "" {
		head += "<Delimiter>" + written(delimiter) + "</Delimiter>"
	}
	if query.Get("encoding-type") == "url" {
		head += "<EncodingType>url</EncodingType>"
	}
	if isTruncated {
		head += "<NextContinuationToken>" + base64.RawURLEncoding.EncodeToString([]byte(last)) + "</NextContinuationToken>"
	}
	tail := "</ListBucketResult>"
	w.Header().Set("Content-Type", xmlContent)
	w.Header().Set("Content-Length", strconv.Itoa(len(head)+len(contents)+len(prefixes)+len(tail)))
	for _, part := range [][]byte{[]byte(head), contents, prefixes, []byte(tail)} {
		_, _ = w.Write(part)
	}
}

// past is how many of these sorted keys begin with a prefix that the first of them begins with.
func past(keys []string, prefix string) int {
	return sort.Search(len(keys), func(at int) bool { return keys[at] > prefix && !strings.HasPrefix(keys[at], prefix) })
}

// deleteMany answers DeleteObjects.
func deleteMany(w http.ResponseWriter, r *http.Request, there *bucket) {
	var asked struct {
		Object []struct{ Key string }
	}
	if xml.NewDecoder(r.Body).Decode(&asked) != nil {
		fail(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	answer := xmlHead + "<DeleteResult " + namespace + ">"
	for _, one := range asked.Object {
		there.remove(one.Key)
		answer += "<Deleted><Key>" + escaper.Replace(one.Key) + "</Key></Deleted>"
	}
	answerXML(w, answer+"</DeleteResult>")
}

func answerXML(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", xmlContent)
	_, _ = w.Write([]byte(text))
}
