package catalog

import "testing"

func TestMoneyIsExact(t *testing.T) {
	for s, want := range map[string]Money{
		"0.526": 526_000, "55.04": 55_040_000, "0.000001": 1, "0": 0, "80": 80_000_000, "98.320": 98_320_000, "25804.8": 25_804_800_000,
	} {
		if got, err := ParseMoney(s); err != nil || got != want {
			t.Errorf("%q is %d, %v", s, got, err)
		}
	}
	for m, want := range map[Money]string{526_000: "0.526", 1: "0.000001", 0: "0", 80 * Dollar: "80", 1_200_000: "1.2", Unpriced: "-"} {
		if m.String() != want {
			t.Errorf("%d is written %q", int64(m), m)
		}
	}
	var sum Money
	for range 10 {
		sum += 100_000
	}
	if sum != Dollar || sum.USD() != 1 {
		t.Errorf("ten times ten cents are %s", sum)
	}
	if Unpriced.Known() || !Money(0).Known() {
		t.Error("free and unknown are the same")
	}
}

func TestMoneyRefusesWhatIsNoPrice(t *testing.T) {
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1_000", "0.1234567", "NaN", "9999999999999999999", "1.-5", "1,5", " 1"} {
		if got, err := ParseMoney(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func TestQuantitiesAreWhatTheTextSays(t *testing.T) {
	for s, want := range map[string]float64{"86.4": 86.4, "0.125": 0.125, "68.399414": 68.399414, "8.59": 8.59, "0.167": 0.167, "8": 8} {
		q, err := ParseQuantity(s)
		if err != nil || q.Float() != want || q.String() != s || QuantityOf(want) != q || QuantityOf(-want) != -q {
			t.Errorf("%q is %v (%v), %v", s, q.Float(), q, err)
		}
	}
}

func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"0.526", "1.", "80", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMoney(s)
		if err != nil {
			return
		}
		if again, err := ParseMoney(m.String()); err != nil || again != m {
			t.Errorf("%q is %d, written %q, read %d, %v", s, m, m, again, err)
		}
	})
}
