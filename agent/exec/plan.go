package exec

import (
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// plan is what one batch of instructions comes to. Only the goroutine of Run makes
// plans, so nothing is added to the assignments meanwhile.
type plan struct {
	worker *Worker
	fresh  map[string]*assignment // new, not on record yet
	kill   []killing              // live, to be ended
	orphan []*assignment          // live, to be ended and forgotten
	forget []string               // over, to be forgotten
}

type killing struct {
	assignment *assignment
	grace      time.Duration
}

func (p *plan) add(i instruction) {
	for _, uid := range i.forget {
		p.drop(uid)
	}
	if i.orders == nil {
		return
	}
	wanted := map[string]bool{}
	for _, o := range i.orders.GetOrders() {
		wanted[o.GetAssignmentUid()] = true
		p.order(o)
	}
	if i.orders.GetFull() {
		p.dropAllBut(wanted)
	}
}

// order adds one order. The same again changes nothing; only the goal may change,
// and only to KILL.
func (p *plan) order(o *stixv1.Order) {
	uid := o.GetAssignmentUid()
	a := p.find(uid)
	kill := o.GetGoal() == stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL
	switch {
	case uid == "":
	case a == nil:
		p.fresh[uid] = p.begin(o, kill)
	case kill:
		p.kill = append(p.kill, killing{a, graceOf(o)})
	}
}

func (p *plan) find(uid string) *assignment {
	if a := p.fresh[uid]; a != nil {
		return a
	}
	p.worker.mu.Lock()
	defer p.worker.mu.Unlock()
	return p.worker.assignments[uid]
}

// begin makes a new assignment: accepted, or over at once when there is no use in
// starting it.
func (p *plan) begin(o *stixv1.Order, kill bool) *assignment {
	now := p.worker.config.Now().UnixNano()
	a := newAssignment(p.worker, o, &stixv1.AssignmentStatus{
		Uid:   o.GetAssignmentUid(),
		State: stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED,
	})
	if kill {
		a.end(killed(now))
	} else if err := p.worker.config.Reserve(); err != nil {
		a.end(notStarted(now, err))
	}
	return a
}

// drop forgets an assignment that is over. One that is not is an error of the
// coordinator, who will say so again.
func (p *plan) drop(uid string) {
	a := p.find(uid)
	if a != nil && a.state() == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED {
		p.forget = append(p.forget, uid)
	}
}

// dropAllBut ends and forgets what the coordinator does not know.
func (p *plan) dropAllBut(wanted map[string]bool) {
	for uid := range p.fresh { // ordered by a session before this one, and not begun yet
		if !wanted[uid] {
			delete(p.fresh, uid)
		}
	}
	p.worker.mu.Lock()
	defer p.worker.mu.Unlock()
	for uid, a := range p.worker.assignments {
		switch {
		case wanted[uid]:
		case a.state() == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED:
			p.forget = append(p.forget, uid)
		default:
			p.orphan = append(p.orphan, a)
		}
	}
}

func (p *plan) record() error {
	var orders []*stixv1.Order
	var statuses []*stixv1.AssignmentStatus
	for _, a := range p.fresh {
		orders = append(orders, a.job.Order)
		statuses = append(statuses, a.current())
	}
	if len(orders)+len(p.forget) == 0 {
		return nil
	}
	return p.worker.config.Journal.Record(orders, statuses, p.forget)
}

// finish does what may only be done when the plan is on record.
func (p *plan) finish() {
	for _, a := range p.fresh {
		if a.state() == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED {
			p.worker.config.Observer.Finish(a.uid(), 0)
		}
	}
	for _, uid := range p.forget {
		p.worker.drop(uid)
	}
	for _, a := range p.orphan {
		p.worker.config.Logger.Info("ending a job that the coordinator does not know", "assignment", a.uid())
		a.orphan.Store(true)
		a.kill(graceOf(a.job.Order))
	}
	for _, k := range p.kill {
		k.assignment.kill(k.grace)
	}
}

func graceOf(o *stixv1.Order) time.Duration {
	return time.Duration(o.GetKillGraceMs()) * time.Millisecond
}
