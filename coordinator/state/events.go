package state

import (
	"strconv"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// The uid of an event is that of its object, this mark and a number in the order of the events: so events need no index,
// and those of an object are in order also when the clock stands still.
const eventMark = "#"

// eventDigits is the width of the number.
const eventDigits = 10

// Event adds an event about an object. It commits with the update. Equal events in a row are counted in one record, and
// each object keeps a bounded number of them, the newest.
func (tx *Tx) Event(kind, objectUID, typ, text string) {
	oldest, newest := tx.eventBounds(objectUID)
	next := uint64(1)
	if newest != nil {
		if newest.Type == typ && newest.Text == text {
			tx.Events.Edit(newest.Meta.Uid, func(e *stixv1.Event) { e.Count++ })
			return
		}
		next = eventNumber(newest.Meta.Uid) + 1
		if next-eventNumber(oldest.Meta.Uid) >= uint64(tx.log.cfg.EventsPerObject) {
			tx.Events.Delete(oldest.Meta.Uid)
		}
	}
	tx.Events.Put(&stixv1.Event{
		Meta:      &stixv1.Meta{Uid: eventUID(objectUID, next)},
		ObjectUid: objectUID, ObjectKind: kind, Type: typ, Text: text, Count: 1,
	})
}

// eventBounds returns the oldest and the newest event of an object, nil when there are none.
func (r *Reader) eventBounds(objectUID string) (oldest, newest *stixv1.Event) {
	prefix := objectUID + eventMark
	r.Events.rows.Ascend(prefix, func(uid string, e *stixv1.Event) bool {
		if strings.HasPrefix(uid, prefix) {
			oldest = e
		}
		return false
	})
	if oldest == nil {
		return nil, nil
	}
	r.Events.rows.Descend(prefix+lastUID, func(_ string, e *stixv1.Event) bool {
		newest = e
		return false
	})
	return oldest, newest
}

func eventUID(objectUID string, n uint64) string {
	digits := strconv.FormatUint(n, 10)
	return objectUID + eventMark + strings.Repeat("0", max(0, eventDigits-len(digits))) + digits
}

// eventNumber is 0 for a uid that Event did not make.
func eventNumber(uid string) uint64 {
	n, _ := strconv.ParseUint(uid[strings.LastIndex(uid, eventMark)+1:], 10, 64)
	return n
}
