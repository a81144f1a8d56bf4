package nodes

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/loglayout"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// killGrace is the time between SIGTERM and SIGKILL.
const killGrace = 3 * time.Second

// order makes what the agent needs to carry out an assignment: the user's text, the variables of SkyPilot's contract
// (skypilot-core.md §2.1), and the names of the log (§2.6).
func (n *Nodes) order(view *state.View, a *stixv1.Assignment) *stixv1.Order {
	o := &stixv1.Order{
		AssignmentUid: a.Meta.Uid, JobUid: a.JobUid, Phase: a.Phase, Goal: a.Goal, Rank: a.Rank,
		KillGraceMs: killGrace.Milliseconds(),
	}
	job, okJob := view.Jobs.Get(a.JobUid)
	spec, okSpec := view.Specs.Get(job.GetSpecUid())
	if !okJob || !okSpec {
		o.Goal = stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL
		return o
	}
	c := newContext(view, a, job, spec)
	o.JobNumber = job.Number
	o.LogDir = loglayout.Dir(job.Number, job.Meta.Name, job.Meta.Uid)
	o.LogFile = c.logFile()
	o.Envs = c.envs(n.secrets(spec))
	if a.Phase == stixv1.Phase_PHASE_SETUP {
		o.Unset = []string{"CUDA_VISIBLE_DEVICES"}
		o.Mounts = c.mounts()
		if job.RunSetup {
			o.Script = spec.Task.Setup
		}
	} else {
		o.Script = spec.Task.Run
	}
	return o
}

// secrets opens the sealed values of a task; a task whose secrets cannot be opened runs without them, and says so in
// its own way.
func (n *Nodes) secrets(spec *stixv1.Spec) map[string]string {
	if len(spec.SealedSecrets) == 0 {
		return nil
	}
	plain, err := n.cfg.Opener.Open(spec.SealedSecrets, []byte("spec/"+spec.Meta.Uid))
	s := &stixv1.Secrets{}
	if err == nil {
		err = proto.Unmarshal(plain, s)
	}
	if err != nil {
		n.log.Error("could not open the secrets of a task", "spec", spec.Meta.Uid, "error", err)
	}
	return s.Values
}

// jobContext is what the variables of one assignment are made of.
type jobContext struct {
	a       *stixv1.Assignment
	job     *stixv1.Job
	spec    *stixv1.Spec
	cluster *stixv1.Cluster
	nodes   []*stixv1.Node
	node    *stixv1.Node
}

func newContext(view *state.View, a *stixv1.Assignment, job *stixv1.Job, spec *stixv1.Spec) *jobContext {
	c := &jobContext{a: a, job: job, spec: spec}
	c.cluster, _ = view.Clusters.Get(a.ClusterUid)
	c.node, _ = view.Nodes.Get(a.NodeUid)
	for n := range view.NodesOfCluster(a.ClusterUid) {
		if n.State != stixv1.NodeState_NODE_STATE_TERMINATED {
			c.nodes = append(c.nodes, n)
		}
	}
	return c
}

func (c *jobContext) setup() bool { return c.a.Phase == stixv1.Phase_PHASE_SETUP }

func (c *jobContext) logFile() string {
	if c.setup() {
		return loglayout.SetupFile
	}
	return loglayout.RunFile(c.a.Rank, c.node.GetIndex(), c.cluster.GetNumNodes())
}

func (c *jobContext) mounts() []*stixv1.Mount {
	var out []*stixv1.Mount
	for _, m := range c.spec.Mounts {
		if m.Workdir || c.job.SyncMounts {
			out = append(out, m)
		}
	}
	return out
}

// envs are in the order of SkyPilot's layers: later ones win, so a user may set SKYPILOT_NUM_NODES, but not the rank.
func (c *jobContext) envs(secrets map[string]string) []*stixv1.Env {
	e := &environment{set: map[string]string{}}
	nodes := strconv.Itoa(int(c.job.NumNodes))
	if c.setup() {
		e.put("SKYPILOT_SETUP_NODE_IPS", ips(c.nodes))
		e.put("SKYPILOT_NUM_NODES", nodes)
	} else {
		e.put("SKYPILOT_NODE_IPS", ips(c.jobNodes()))
		e.put("SKYPILOT_NUM_NODES", nodes)
	}
	user := maps.Clone(c.spec.Task.Envs)
	if user == nil {
		user = map[string]string{}
	}
	maps.Copy(user, secrets)
	for _, name := range slices.Sorted(maps.Keys(user)) {
		e.put(name, user[name])
	}
	if _, ok := e.set["SKYPILOT_TASK_ID"]; !ok {
		e.put("SKYPILOT_TASK_ID", c.taskID())
	}
	e.put("SKYPILOT_CLUSTER_INFO", c.clusterInfo())
	e.put("SKYPILOT_USER", c.spec.UserName)
	c.phaseEnvs(e)
	if c.job.ArraySize > 0 {
		e.put("STIX_JOB_INDEX", strconv.FormatInt(c.job.ArrayIndex, 10))
		e.put("STIX_NUM_JOBS", strconv.FormatInt(c.job.ArraySize, 10))
	}
	e.twins(user)
	return e.list
}

func (c *jobContext) phaseEnvs(e *environment) {
	gpus := strconv.Itoa(c.gpus())
	rank := strconv.Itoa(int(c.a.Rank))
	if c.setup() {
		e.put("SKYPILOT_SETUP_NUM_GPUS_PER_NODE", gpus)
		e.put("SKYPILOT_SETUP_NODE_RANK", rank)
		return
	}
	e.put("SKYPILOT_NUM_GPUS_PER_NODE", gpus)
	e.put("SKYPILOT_NODE_RANK", rank)
	e.put("SKYPILOT_INTERNAL_JOB_ID", strconv.FormatInt(c.job.Number, 10))
	// No accelerator is allotted on the machines of this release: the job sees none.
	e.put("CUDA_VISIBLE_DEVICES", "")
}

// gpus is the number asked for on each node, rounded up; 0 for accelerators that are not GPUs.
func (c *jobContext) gpus() int {
	total := 0.0
	if rs := c.spec.Task.Resources; len(rs) > 0 {
		for name, count := range rs[0].Accelerators {
			if !strings.HasPrefix(name, "tpu-") && name != "Inferentia" && !strings.HasPrefix(name, "Trainium") {
				total += count
			}
		}
	}
	return int(math.Ceil(total))
}

func (c *jobContext) taskID() string {
	return fmt.Sprintf("%s_%s_%d", c.job.RunTimestamp, c.cluster.GetMeta().GetName(), c.job.Number)
}

func (c *jobContext) clusterInfo() string {
	info := struct {
		Name   string  `json:"cluster_name"`
		Cloud  string  `json:"cloud"`
		Region string  `json:"region"`
		Zone   *string `json:"zone"`
	}{c.cluster.GetMeta().GetName(), c.cluster.GetInfra(), cmp.Or(c.cluster.GetRegion(), c.cluster.GetInfra()), nil}
	text, err := json.Marshal(info)
	if err != nil {
		return "{}" // unreachable: strings always marshal
	}
	return string(text)
}

// jobNodes are the nodes of the job by rank.
func (c *jobContext) jobNodes() []*stixv1.Node {
	byUID := map[string]*stixv1.Node{}
	for _, n := range c.nodes {
		byUID[n.Meta.Uid] = n
	}
	var out []*stixv1.Node
	for _, uid := range c.job.NodeUids {
		if n := byUID[uid]; n != nil {
			out = append(out, n)
		}
	}
	return out
}

func ips(nodes []*stixv1.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Ip)
	}
	return strings.Join(out, "\n")
}

// environment keeps variables in the order in which they were first set.
type environment struct {
	list []*stixv1.Env
	set  map[string]string
}

func (e *environment) put(name, value string) {
	if _, ok := e.set[name]; ok {
		for _, v := range e.list {
			if v.Name == name {
				v.Value = value
			}
		}
	} else {
		e.list = append(e.list, &stixv1.Env{Name: name, Value: value})
	}
	e.set[name] = value
}

// twins sets STIX_X for each SKYPILOT_X, unless the user has a variable of that name.
func (e *environment) twins(user map[string]string) {
	for _, v := range slices.Clone(e.list) {
		name, ok := strings.CutPrefix(v.Name, "SKYPILOT_")
		if _, taken := user["STIX_"+name]; ok && !taken {
			e.put("STIX_"+name, v.Value)
		}
	}
}
