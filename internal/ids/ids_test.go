package ids_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/stix-run/stix/internal/ids"
)

func TestNewCarriesItsCreationTime(t *testing.T) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	id := ids.Source{Now: func() time.Time { return now }}.New()
	got, err := ids.Time(id)
	if err != nil || !got.Equal(now) {
		t.Fatalf("Time(%s) = %v, %v; want %v", id, got, err, now)
	}
	if u := uuid.MustParse(id); u.Version() != 7 || u.Variant() != uuid.RFC4122 {
		t.Fatalf("%s: version %v variant %v", id, u.Version(), u.Variant())
	}
}

func TestNewSortsByTimeWithinAMillisecond(t *testing.T) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	src := ids.Source{Now: func() time.Time { now = now.Add(250 * time.Nanosecond); return now }}
	var made []string
	for range 10_000 {
		made = append(made, src.New())
	}
	if !slices.IsSorted(made) {
		t.Fatal("ids do not sort in the order in which they were made")
	}
}

func TestSeededSourceRepeats(t *testing.T) {
	seeded := func() ids.Source {
		return ids.Source{
			Now:  func() time.Time { return time.Unix(1, 0) },
			Rand: strings.NewReader(strings.Repeat("random", 20)),
		}
	}
	a, b := seeded(), seeded()
	if a.New() != b.New() || a.Token() != b.Token() || a.Random(4) != b.Random(4) {
		t.Fatal("two sources with one seed differ")
	}
}

func TestBrokenRandomnessStillGivesDistinctIDs(t *testing.T) {
	src := ids.Source{Now: func() time.Time { return time.Unix(1, 0) }, Rand: broken{}}
	if a, b := src.New(), src.New(); a == b {
		t.Fatalf("two ids are both %s", a)
	}
	if a, b := src.Token(), src.Token(); a == b {
		t.Fatal("two tokens are the same")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestTokenHolds256Bits(t *testing.T) {
	b, err := base64.RawURLEncoding.DecodeString(ids.Token())
	if err != nil || len(b) != 32 {
		t.Fatalf("token decodes to %d bytes, %v", len(b), err)
	}
	if bytes.Equal(b, make([]byte, 32)) {
		t.Fatal("token is all zeroes")
	}
	if got := ids.Random(5); len(got) != 10 {
		t.Fatalf("Random(5) = %q", got)
	}
}

func FuzzTimeRefusesWhatNewDoesNotMake(f *testing.F) {
	f.Add(ids.New())
	f.Add(uuid.NewString())
	f.Add("{" + ids.New() + "}")
	f.Add("")
	f.Fuzz(func(t *testing.T, id string) {
		_, err := ids.Time(id)
		if (err == nil) != ids.Valid(id) {
			t.Fatalf("Time and Valid disagree on %q", id)
		}
		if err == nil && (len(id) != 36 || id[14] != '7' || strings.ToLower(id) != id) {
			t.Fatalf("%q was accepted", id)
		}
	})
}
