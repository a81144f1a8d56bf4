package sched

import "slices"

// CPUShare is the share of a processor that every job takes on each of its nodes: SkyPilot's fixed half, which jobs
// rely on to run beside one another.
const CPUShare = 0.5

// Node is what the queue of a cluster can place jobs on.
type Node struct {
	// ID of the node.
	ID string
	// Index in the cluster; ranks follow it.
	Index int32
	// VCPUs of the machine.
	VCPUs float64
	// Accelerators of the machine by name.
	Accelerators map[string]float64
	// Ready says that jobs may be started on it.
	Ready bool
}

// Demand is what a job takes on each of its nodes.
type Demand struct {
	// Nodes that must be distinct, all at once.
	Nodes int
	// CPU is 0 for a job that only sets up.
	CPU float64
	// Accelerators by name, fractions allowed.
	Accelerators map[string]float64
}

// Cluster is the free capacity of the nodes of a cluster. It is used by one goroutine.
type Cluster struct {
	nodes []Node
	cpu   map[string]float64
	acc   map[string]map[string]float64
}

// NewCluster returns the capacity of nodes with nothing running.
func NewCluster(nodes []Node) *Cluster {
	c := &Cluster{nodes: slices.Clone(nodes), cpu: map[string]float64{}, acc: map[string]map[string]float64{}}
	slices.SortFunc(c.nodes, func(a, b Node) int { return int(a.Index) - int(b.Index) })
	for _, n := range nodes {
		c.cpu[n.ID] = n.VCPUs
		c.acc[n.ID] = map[string]float64{}
		for name, count := range n.Accelerators {
			c.acc[n.ID][name] = count
		}
	}
	return c
}

// Take books a running job on the nodes it has; nodes that are gone are passed over.
func (c *Cluster) Take(d Demand, nodeIDs []string) {
	for _, id := range nodeIDs {
		if _, ok := c.cpu[id]; !ok {
			continue
		}
		c.cpu[id] -= d.CPU
		for name, count := range d.Accelerators {
			c.acc[id][name] -= count
		}
	}
}

// Place allots distinct nodes to a job, in the order of their index, and books them. All or nothing: ok is false when
// fewer than d.Nodes have room now.
func (c *Cluster) Place(d Demand) (nodeIDs []string, ok bool) {
	for _, n := range c.nodes {
		if len(nodeIDs) == d.Nodes {
			break
		}
		if n.Ready && c.room(n.ID, d) {
			nodeIDs = append(nodeIDs, n.ID)
		}
	}
	if len(nodeIDs) < d.Nodes {
		return nil, false
	}
	c.Take(d, nodeIDs)
	return nodeIDs, true
}

func (c *Cluster) room(id string, d Demand) bool {
	const epsilon = 1e-9
	if c.cpu[id]+epsilon < d.CPU {
		return false
	}
	for name, count := range d.Accelerators {
		if c.acc[id][name]+epsilon < count {
			return false
		}
	}
	return true
}
