package command

import (
	"encoding/json"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// The records of -o json. A listing is an array of them; fields are only ever
// added. Times are RFC 3339 in UTC, "" for never; states are SkyPilot's words.

// clusterRecord is one cluster of `status -o json`.
type clusterRecord struct {
	Name           string       `json:"name"`
	UID            string       `json:"uid"`
	Status         string       `json:"status"`
	Reason         string       `json:"reason"`
	UserID         string       `json:"user_id"`
	Workspace      string       `json:"workspace"`
	Infra          string       `json:"infra"`
	Region         string       `json:"region"`
	InstanceType   string       `json:"instance_type"`
	NumNodes       int32        `json:"num_nodes"`
	VCPUs          float64      `json:"vcpus"`
	MemoryGiB      float64      `json:"memory_gib"`
	PriceUSDHourly float64      `json:"price_usd_hourly"`
	LaunchedAt     string       `json:"launched_at"`
	UpSince        string       `json:"up_since"`
	LastCommand    string       `json:"last_command"`
	HeadIP         string       `json:"head_ip"`
	Nodes          []nodeRecord `json:"nodes"`
}

// nodeRecord is one machine of a cluster.
type nodeRecord struct {
	Index      int32  `json:"index"`
	UID        string `json:"uid"`
	State      string `json:"state"`
	Agent      string `json:"agent"`
	InstanceID string `json:"instance_id"`
	IP         string `json:"ip"`
	LastError  string `json:"last_error"`
}

func clusterRecords(views []*stixv1.ClusterView) []clusterRecord {
	records := make([]clusterRecord, len(views))
	for i, v := range views {
		c := v.GetCluster()
		records[i] = clusterRecord{
			Name: c.GetMeta().GetName(), UID: c.GetMeta().GetUid(), Status: clusterStateName(c.GetState()),
			Reason: c.GetReason(), UserID: c.GetMeta().GetOwner(), Workspace: c.GetMeta().GetWorkspace(),
			Infra: c.GetInfra(), Region: c.GetRegion(), InstanceType: c.GetInstanceType(), NumNodes: c.GetNumNodes(),
			VCPUs: c.GetVcpus(), MemoryGiB: c.GetMemoryGib(), PriceUSDHourly: c.GetPriceUsdHourly(),
			LaunchedAt: stamp(c.GetLaunchedAt()), UpSince: stamp(c.GetUpSince()), LastCommand: c.GetLastCommand(),
			HeadIP: headOf(v).GetIp(), Nodes: nodeRecords(v.GetNodes()),
		}
	}
	return records
}

func nodeRecords(nodes []*stixv1.Node) []nodeRecord {
	records := make([]nodeRecord, len(nodes))
	for i, n := range nodes {
		records[i] = nodeRecord{
			Index: n.GetIndex(), UID: n.GetMeta().GetUid(), State: word(n.GetState().String(), "NODE_STATE_"),
			Agent: word(n.GetAgent().GetState().String(), "AGENT_STATE_"), InstanceID: n.GetInstanceId(), IP: n.GetIp(),
			LastError: n.GetLastError(),
		}
	}
	return records
}

// jobRecord is one job of `queue -o json`.
type jobRecord struct {
	Cluster     string  `json:"cluster"`
	ID          int64   `json:"job_id"`
	UID         string  `json:"uid"`
	Name        string  `json:"name"`
	User        string  `json:"user"`
	UserID      string  `json:"user_id"`
	Status      string  `json:"status"`
	Reason      string  `json:"reason"`
	NumNodes    int32   `json:"num_nodes"`
	Resources   string  `json:"resources"`
	SubmittedAt string  `json:"submitted_at"`
	StartedAt   string  `json:"started_at"`
	EndedAt     string  `json:"ended_at"`
	ExitCodes   []int32 `json:"exit_codes"`
	ArrayIndex  int64   `json:"array_index"`
	ArraySize   int64   `json:"array_size"`
	LogPath     string  `json:"log_path"`
}

func jobRecords(views []*stixv1.JobView) []jobRecord {
	records := make([]jobRecord, len(views))
	for i, v := range views {
		j := v.GetJob()
		records[i] = jobRecord{
			Cluster: v.GetClusterName(), ID: j.GetNumber(), UID: j.GetMeta().GetUid(), Name: j.GetMeta().GetName(),
			User: v.GetUserName(), UserID: j.GetMeta().GetOwner(), Status: jobStateName(j.GetState()), Reason: j.GetReason(),
			NumNodes: j.GetNumNodes(), Resources: v.GetResources(), SubmittedAt: stamp(j.GetMeta().GetCreatedAt()),
			StartedAt: stamp(j.GetStartedAt()), EndedAt: stamp(j.GetEndedAt()), ExitCodes: orEmpty(j.GetExitCodes()),
			ArrayIndex: j.GetArrayIndex(), ArraySize: j.GetArraySize(), LogPath: v.GetLogPath(),
		}
	}
	return records
}

// requestRecord is one request of `api status -o json` and `api get -o json`.
type requestRecord struct {
	ID         string `json:"request_id"`
	Name       string `json:"name"`
	UserID     string `json:"user_id"`
	Cluster    string `json:"cluster_name"`
	Status     string `json:"status"`
	Error      string `json:"error"`
	ErrorKind  string `json:"error_kind"`
	FirstJob   int64  `json:"first_job_id"`
	LastJob    int64  `json:"last_job_id"`
	CreatedAt  string `json:"created_at"`
	FinishedAt string `json:"finished_at"`
}

func requestRecordOf(r *stixv1.Request) requestRecord {
	return requestRecord{
		ID: r.GetMeta().GetUid(), Name: r.GetVerb(), UserID: r.GetMeta().GetOwner(), Cluster: r.GetClusterName(),
		Status: requestStateName(r.GetState()), Error: r.GetError(), ErrorKind: r.GetErrorKind(),
		FirstJob: r.GetFirstJob(), LastJob: r.GetLastJob(),
		CreatedAt: stamp(r.GetMeta().GetCreatedAt()), FinishedAt: stamp(r.GetFinishedAt()),
	}
}

// eventRecord is one event of `events -o json`.
type eventRecord struct {
	At     string `json:"at"`
	Kind   string `json:"object_kind"`
	Object string `json:"object_uid"`
	Type   string `json:"type"`
	Text   string `json:"text"`
	Count  int64  `json:"count"`
}

func eventRecords(events []*stixv1.Event) []eventRecord {
	records := make([]eventRecord, len(events))
	for i, e := range events {
		records[i] = eventRecord{
			At: stamp(e.GetMeta().GetCreatedAt()), Kind: e.GetObjectKind(), Object: e.GetObjectUid(), Type: e.GetType(),
			Text: e.GetText(), Count: max(e.GetCount(), 1),
		}
	}
	return records
}

// writeJSON writes a value to the standard output.
func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.sys.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func orEmpty(codes []int32) []int32 {
	if codes == nil {
		return []int32{}
	}
	return codes
}
