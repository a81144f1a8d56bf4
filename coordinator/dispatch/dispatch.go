// Package dispatch is the job queue of each cluster: it decides which job starts next and on which nodes, writes the
// assignments that agents carry out, and moves a job along as their results come in.
//
// One pass over a cluster is one update of the state: everything that it decides on, and everything that it decides,
// is in the same view, so a pass can be run any number of times and after any crash. A job is in exactly one of three
// places: queued (active, not allotted), allotted (active, with nodes), or final.
package dispatch

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/coordinator/control"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// UnreachableLimit is how long an unmanaged job is left alone on a node that cannot be reached, before it counts as
// FAILED_DRIVER. A real result that arrives later still wins.
const UnreachableLimit = 10 * time.Minute

// CancelLimit is how long a job may take to end after it was asked to, before it counts as CANCELLED although a node
// has not confirmed it (the node is told again whenever it comes back).
const CancelLimit = 60 * time.Second

// maxPerPass bounds the jobs that one update touches, and so the size of its entry.
const maxPerPass = 1000

// Config of a Reconciler.
type Config struct {
	// Store of records.
	Store *state.Store
	// Logger for transitions.
	Logger hclog.Logger
}

// Reconciler moves the jobs of clusters. It is used by one control.Loop, which never runs two passes over one key.
type Reconciler struct {
	store *state.Store
	log   hclog.Logger
}

// New checks and assembles.
func New(cfg Config) (*Reconciler, error) {
	if cfg.Store == nil || cfg.Logger == nil {
		return nil, errors.New("dispatch: Store and Logger are needed")
	}
	return &Reconciler{store: cfg.Store, log: cfg.Logger}, nil
}

// latePrefix marks keys that are about one job whose result came after it was given up.
const latePrefix = "late/"

// Reconcile runs one pass over the cluster with that uid, or over one job for a late result.
func (r *Reconciler) Reconcile(ctx context.Context, key string) (control.Result, error) {
	if uid, ok := strings.CutPrefix(key, latePrefix); ok {
		return control.Result{}, r.update(ctx, "late-result", uid, func(tx *state.Tx) { late(tx, uid) })
	}
	var next time.Duration
	err := r.update(ctx, "dispatch", key, func(tx *state.Tx) { next = newPass(tx, key).run() })
	return control.Result{RequeueAfter: next}, err
}

func (r *Reconciler) update(ctx context.Context, verb, object string, fn func(*state.Tx)) error {
	by := state.Actor{Subject: "coordinator/dispatch", Verb: verb, Object: object}
	return r.store.Update(ctx, by, func(tx *state.Tx) error {
		fn(tx)
		return nil
	})
}

// Source feeds the keys of clusters whose jobs, assignments or nodes changed, beginning with every cluster that has
// active jobs. It returns when the watch has to start over or ctx ends.
func (r *Reconciler) Source(ctx context.Context, add func(key string)) error {
	view := r.store.Read()
	for uid := range view.ClustersWithActiveJobs() {
		add(uid)
	}
	w := r.store.Watch(view.Revision, state.Filter{})
	for {
		changes, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for _, c := range changes {
			r.route(c, add)
		}
	}
}

func (r *Reconciler) route(c state.Change, add func(string)) {
	switch rec := c.New.(type) {
	case *stixv1.Job:
		if Active(rec.State) {
			add(rec.ClusterUid)
		}
	case *stixv1.Assignment:
		if job, ok := r.store.Read().Jobs.Get(rec.JobUid); ok && !Active(job.State) {
			if job.State == stixv1.JobState_JOB_STATE_FAILED_DRIVER {
				add(latePrefix + job.Meta.Uid)
			}
			return
		}
		add(rec.ClusterUid)
	case *stixv1.Node:
		add(rec.ClusterUid)
	case *stixv1.Cluster:
		add(rec.Meta.Uid)
	}
}

// Active tells whether a job can still change by itself.
func Active(s stixv1.JobState) bool {
	return s >= stixv1.JobState_JOB_STATE_INIT && s <= stixv1.JobState_JOB_STATE_RUNNING
}
