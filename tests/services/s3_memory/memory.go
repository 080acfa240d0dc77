package main

import "sync"

// Memory that the kernel hands out anew costs more than all else that is done for a large object, so it is used again.
var spare = struct {
	lock   sync.Mutex
	bodies map[int][][]byte
}{bodies: map[int][][]byte{}}

// Smaller ones come from pages that Go uses again by itself.
const smallestSpare = 64 << 10

// space is memory for a body; what is in it is of no use.
func space(length int) []byte {
	if length >= smallestSpare {
		spare.lock.Lock()
		defer spare.lock.Unlock()
		if left := spare.bodies[length]; len(left) > 0 {
			spare.bodies[length] = left[:len(left)-1]
			return left[len(left)-1]
		}
	}
	return make([]byte, length)
}

// discard gives the memory of an object back when nobody reads it any more.
func (o *object) discard() {
	if len(o.body) < smallestSpare {
		return
	}
	o.reading.Lock()
	defer o.reading.Unlock()
	spare.lock.Lock()
	defer spare.lock.Unlock()
	spare.bodies[len(o.body)] = append(spare.bodies[len(o.body)], o.body)
	o.body = nil
}
