package task

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The forms of plain scalars in YAML 1.1, as PyYAML resolves them. They differ
// from what Go's YAML library does: yes, 010, 1:30 and 2024-01-02 are no
// strings, while 1e3, 0o10 and 08 are.
var (
	boolForm  = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	nullForm  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	intForm   = regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	floatForm = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
	dateForm  = regexp.MustCompile(`^([0-9]{4})-([0-9]{2})-([0-9]{2})$`)
	timeForm  = regexp.MustCompile(`^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?(?:[ \t]*(Z|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?$`)
)

// maxScalarDigits keeps conversions between bases cheap on hostile input.
const maxScalarDigits = 4096

// resolve fills in kind and text of a scalar.
func (v *value) resolve(n *yaml.Node) error {
	v.source = n.Value
	if n.Style&yaml.TaggedStyle != 0 {
		return v.resolveTagged(n.Tag)
	}
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&quoted != 0 {
		v.kind, v.text = stringKind, n.Value
		return nil
	}
	return v.convert(plainKind(n.Value))
}

// plainKind is the type of an unquoted scalar.
func plainKind(s string) kind {
	switch {
	case nullForm.MatchString(s):
		return nullKind
	case boolForm.MatchString(s):
		return boolKind
	case intForm.MatchString(s):
		return intKind
	case floatForm.MatchString(s):
		return floatKind
	case dateForm.MatchString(s), timeForm.MatchString(s):
		return timeKind
	default:
		return stringKind
	}
}

func (v *value) resolveTagged(tag string) error {
	want, known := map[string]kind{
		"!!str": stringKind, "!!null": nullKind, "!!bool": boolKind,
		"!!int": intKind, "!!float": floatKind, "!!timestamp": timeKind,
	}[tag]
	if !known {
		return fmt.Errorf("the tag %s is not allowed", tag)
	}
	got := plainKind(v.source)
	if want == floatKind && got == intKind {
		got = floatKind
	}
	if want != stringKind && want != got {
		return fmt.Errorf("%q does not fit its tag %s", clip(v.source), tag)
	}
	return v.convert(want)
}

// convert sets text for the kind that the source was found to have.
func (v *value) convert(k kind) error {
	v.kind = k
	var err error
	switch k {
	case nullKind:
		v.text = "None"
	case boolKind:
		v.text = "False"
		switch strings.ToLower(v.source) {
		case "yes", "true", "on":
			v.text = "True"
		}
	case intKind:
		v.text, err = intText(v.source)
	case floatKind:
		v.text, err = floatText(v.source)
	case timeKind:
		v.text, v.repr, err = timeText(v.source)
	default:
		v.text = v.source
	}
	return err
}

// intText is the integer in decimal.
func intText(source string) (string, error) {
	digits, negative := cutSign(strings.ReplaceAll(source, "_", ""))
	if len(digits) > maxScalarDigits {
		return "", errors.New("a number with that many digits is not allowed")
	}
	total, valid := new(big.Int), true
	switch {
	case strings.Contains(digits, ":"):
		total = sexagesimal(digits)
	case strings.HasPrefix(digits, "0b"):
		total, valid = total.SetString(digits[2:], 2)
	case strings.HasPrefix(digits, "0x"):
		total, valid = total.SetString(digits[2:], 16)
	case len(digits) > 1 && digits[0] == '0':
		total, valid = total.SetString(digits, 8)
	default:
		total, valid = total.SetString(digits, 10)
	}
	if !valid {
		return "", fmt.Errorf("%q has no digits", source)
	}
	if negative {
		total.Neg(total)
	}
	return total.String(), nil
}

func cutSign(s string) (rest string, negative bool) {
	if rest, negative = strings.CutPrefix(s, "-"); negative {
		return rest, true
	}
	return strings.TrimPrefix(s, "+"), false
}

func sexagesimal(digits string) *big.Int {
	total, sixty := new(big.Int), big.NewInt(60)
	for part := range strings.SplitSeq(digits, ":") {
		if n, ok := new(big.Int).SetString(part, 10); ok {
			total.Mul(total, sixty).Add(total, n)
		}
	}
	return total
}

// floatText is the number as Python prints it.
func floatText(source string) (string, error) {
	digits, negative := cutSign(strings.ToLower(strings.ReplaceAll(source, "_", "")))
	if len(digits) > maxScalarDigits {
		return "", errors.New("a number with that many digits is not allowed")
	}
	var f float64
	switch {
	case digits == ".inf":
		f = math.Inf(1)
	case digits == ".nan":
		return "nan", nil
	case strings.Contains(digits, ":"):
		for part := range strings.SplitSeq(digits, ":") {
			p, _ := strconv.ParseFloat(part, 64)
			f = f*60 + p
		}
	default:
		var err error
		if f, err = strconv.ParseFloat(digits, 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			return "", fmt.Errorf("%q is no number", source)
		}
	}
	if negative {
		f = -f
	}
	return pythonFloat(f), nil
}

// pythonFloat prints the shortest digits that read back, with an exponent only
// below 1e-4 and from 1e16 on, and always with a point or an exponent.
func pythonFloat(f float64) string {
	if math.IsInf(f, 0) {
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+")
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// timeText is a date or time as Python's str() and repr() print it.
func timeText(source string) (text, repr string, err error) {
	if m := dateForm.FindStringSubmatch(source); m != nil {
		day, err := calendarDay(m[1:4])
		if err != nil {
			return "", "", fmt.Errorf("%q: %w", source, err)
		}
		return day.Format(time.DateOnly), fmt.Sprintf("datetime.date(%d, %d, %d)", day.Year(), int(day.Month()), day.Day()), nil
	}
	m := timeForm.FindStringSubmatch(source)
	if m == nil {
		return "", "", fmt.Errorf("%q is no date", source)
	}
	day, err := calendarDay(m[1:4])
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", source, err)
	}
	return clockText(source, day, m)
}

func calendarDay(parts []string) (time.Time, error) {
	n := atois(parts)
	day := time.Date(n[0], time.Month(n[1]), n[2], 0, 0, 0, 0, time.UTC)
	if n[0] < 1 || day.Year() != n[0] || int(day.Month()) != n[1] || day.Day() != n[2] {
		return day, errors.New("there is no such day")
	}
	return day, nil
}

func atois(parts []string) []int {
	out := make([]int, len(parts))
	for i, p := range parts {
		out[i], _ = strconv.Atoi(p)
	}
	return out
}

// clockText finishes timeText for a form with a time of day: m holds the groups
// of timeForm.
func clockText(source string, day time.Time, m []string) (text, repr string, err error) {
	clock := atois(m[4:7])
	if clock[0] > 23 || clock[1] > 59 || clock[2] > 59 {
		return "", "", fmt.Errorf("%q: there is no such time of day", source)
	}
	text = fmt.Sprintf("%s %02d:%02d:%02d", day.Format(time.DateOnly), clock[0], clock[1], clock[2])
	fields := fmt.Sprintf("%d, %d, %d, %d, %d", day.Year(), int(day.Month()), day.Day(), clock[0], clock[1])
	micros, _ := strconv.Atoi((m[7] + "000000")[:6])
	if clock[2] != 0 || micros != 0 {
		fields += fmt.Sprintf(", %d", clock[2])
	}
	if micros != 0 {
		text += fmt.Sprintf(".%06d", micros)
		fields += fmt.Sprintf(", %d", micros)
	}
	zone, zoneRepr, err := zoneText(m)
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", source, err)
	}
	return text + zone, "datetime.datetime(" + fields + zoneRepr + ")", nil
}

func zoneText(m []string) (text, repr string, err error) {
	if m[8] == "" {
		return "", "", nil
	}
	offset := atois(m[10:12])
	seconds := offset[0]*3600 + offset[1]*60
	if offset[0] > 23 || offset[1] > 59 {
		return "", "", errors.New("there is no such time zone")
	}
	if seconds == 0 {
		return "+00:00", ", tzinfo=datetime.timezone.utc", nil
	}
	text = fmt.Sprintf("%s%02d:%02d", m[9], offset[0], offset[1])
	delta := fmt.Sprintf("seconds=%d", seconds)
	if m[9] == "-" {
		delta = fmt.Sprintf("days=-1, seconds=%d", 86400-seconds)
	}
	return text, ", tzinfo=datetime.timezone(datetime.timedelta(" + delta + "))", nil
}
