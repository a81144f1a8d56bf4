package fake

import (
	"errors"

	"github.com/stix-run/stix/provider"
)

// apiError is how the cloud's API reports failure: a code and a text, as real ones do.
type apiError struct {
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

type class struct {
	kind  provider.Kind
	scope provider.Scope
}

// classes is the one table from the API's codes to kinds.
var classes = map[string]class{
	"InternalFailure":            {provider.KindUnknown, provider.ScopeMachine},
	"InsufficientZoneCapacity":   {provider.KindCapacity, provider.ScopeZone},
	"InsufficientRegionCapacity": {provider.KindCapacity, provider.ScopeRegion},
	"InsufficientCapacity":       {provider.KindCapacity, provider.ScopeCloud},
	"QuotaExceeded":              {provider.KindQuota, provider.ScopeRegion},
	"UnauthorizedOperation":      {provider.KindAuth, provider.ScopeCloud},
	"InvalidParameter":           {provider.KindInvalid, provider.ScopeMachine},
	"RequestLimitExceeded":       {provider.KindThrottled, provider.ScopeCloud},
	"InstanceNotFound":           {provider.KindNotFound, provider.ScopeMachine},
	"ServiceUnavailable":         {provider.KindTransient, provider.ScopeMachine},
	"UnsupportedOperation":       {provider.KindUnsupported, provider.ScopeCloud},
	"IncorrectState":             {provider.KindConflict, provider.ScopeMachine},
}

// codes gives each kind the code under which an injected fault of that kind appears.
var codes = map[provider.Kind]string{
	provider.KindUnknown:     "InternalFailure",
	provider.KindCapacity:    "InsufficientZoneCapacity",
	provider.KindQuota:       "QuotaExceeded",
	provider.KindAuth:        "UnauthorizedOperation",
	provider.KindInvalid:     "InvalidParameter",
	provider.KindThrottled:   "RequestLimitExceeded",
	provider.KindNotFound:    "InstanceNotFound",
	provider.KindTransient:   "ServiceUnavailable",
	provider.KindUnsupported: "UnsupportedOperation",
	provider.KindConflict:    "IncorrectState",
}

// Kind classifies an error of the cloud's API.
func (d *Driver) Kind(err error) (provider.Kind, provider.Scope) {
	var e *apiError
	if errors.As(err, &e) {
		k := classes[e.code]
		return k.kind, k.scope
	}
	return provider.Classify(err)
}

func notFound(id string) error {
	return &apiError{code: "InstanceNotFound", message: "there is no machine " + id}
}

func badState(id string, s provider.State) error {
	return &apiError{code: "IncorrectState", message: "machine " + id + " is " + s.String()}
}
