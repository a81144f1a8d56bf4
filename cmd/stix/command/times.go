package command

import (
	"fmt"
	"strings"
	"time"
)

// ago says how long ago a time (Unix nanoseconds) was: "3 hrs ago"; "-" for never.
func ago(now time.Time, at int64) string {
	if at <= 0 {
		return "-"
	}
	d := max(now.Sub(time.Unix(0, at)), 0)
	const day = 24 * time.Hour
	switch {
	case d < 10*time.Second:
		return "a few secs ago"
	case d < time.Minute:
		return count(d/time.Second, "sec")
	case d < time.Hour:
		return count(d/time.Minute, "min")
	case d < day:
		return count(d/time.Hour, "hr")
	case d < 7*day:
		return count(d/day, "day")
	case d < 30*day:
		return count(d/(7*day), "week")
	case d < 365*day:
		return count(d/(30*day), "month")
	}
	return count(d/(365*day), "year")
}

func count(n time.Duration, unit string) string {
	if n == 1 {
		return "1 " + unit + " ago"
	}
	return fmt.Sprintf("%d %ss ago", n, unit)
}

// lasted says how long something took: "1h 2m 3s"; "-" when it did not begin.
// To may be 0: then it still goes on.
func lasted(now time.Time, from, to int64) string {
	if from <= 0 {
		return "-"
	}
	if to <= 0 {
		to = now.UnixNano()
	}
	return span(time.Duration(to - from))
}

// span writes a duration with its three largest units.
func span(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	var parts []string
	for _, u := range []struct {
		name string
		size int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}} {
		n := s / u.size
		s %= u.size
		if n > 0 || (u.size == 1 && len(parts) == 0) {
			parts = append(parts, fmt.Sprintf("%d%s", n, u.name))
		}
	}
	return strings.Join(parts[:min(len(parts), 3)], " ")
}

// stamp writes a time for programs: RFC 3339 in UTC, "" for never.
func stamp(at int64) string {
	if at <= 0 {
		return ""
	}
	return time.Unix(0, at).UTC().Format(time.RFC3339Nano)
}
