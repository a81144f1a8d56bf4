package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/internal/buildinfo"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// infoRecord is `api info -o json`. The keys of the first level and of client
// are SkyPilot's.
type infoRecord struct {
	Client infoClient `json:"client"`
	Server infoServer `json:"server"`
	User   infoUser   `json:"user"`
}

type infoClient struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

type infoServer struct {
	URL           string `json:"url"`
	Status        string `json:"status"`
	Version       string `json:"version"`
	Commit        string `json:"commit"`
	APIVersion    int32  `json:"api_version"`
	PID           int64  `json:"pid"`
	StateDir      string `json:"state_dir"`
	ClusterID     string `json:"cluster_id"`
	CoordinatorID string `json:"coordinator_id"`
	LeaderID      string `json:"leader_id"`
	Term          uint64 `json:"term"`
	Revision      uint64 `json:"revision"`
	StartedAt     string `json:"started_at"`
	Clusters      int64  `json:"clusters"`
	Nodes         int64  `json:"nodes"`
	Jobs          int64  `json:"jobs"`
	Sessions      int64  `json:"sessions"`
}

type infoUser struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func newAPIInfo(a *app) *cobra.Command {
	var out output
	cmd := newCommand("info [OPTIONS]", "Show which stix server is used, and how it is.", func(cmd *cobra.Command, args []string) error {
		return a.apiInfo(cmd, out)
	})
	out.add(cmd.Flags())
	cmd.Flags().StringArray("config", nil, "Configuration.")
	refuse(cmd.Flags(), "config")
	return cmd
}

func (a *app) apiInfo(cmd *cobra.Command, out output) error {
	asJSON, err := out.json(cmd)
	if err != nil {
		return err
	}
	if err := a.connect(cmd.Context()); err != nil {
		return err
	}
	info, err := a.client.Info(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		return a.writeJSON(a.infoRecord(info))
	}
	role := "leads"
	if info.GetLeaderId() != info.GetCoordinatorId() {
		role = "follows " + orDash(info.GetLeaderId())
	}
	return a.printf("Using the stix server: %s\n"+
		"├── Status: healthy, commit: %s, version: %s, pid: %d, up %s\n"+
		"├── Coordinator: %s (%s, term %d), state in %s\n"+
		"├── Holds: %s, %s, %s\n"+
		"├── User: %s (%s)\n"+
		"└── Endpoint: %s.\n",
		a.server.endpoint,
		info.GetBuild(), info.GetVersion(), info.GetPid(), lasted(a.sys.Now(), info.GetStartedAt(), 0),
		orDash(info.GetCoordinatorId()), role, info.GetTerm(), orDash(info.GetStateDir()),
		counted(info.GetClusters(), "cluster"), counted(info.GetNodes(), "node"), counted(info.GetJobs(), "job"),
		info.GetUserName(), info.GetUserId(), describeSource(a.server.source))
}

func counted(n int64, what string) string {
	return fmt.Sprintf("%d %s", n, plural(int(n), what, what+"s"))
}

func (a *app) infoRecord(info *stixv1.InfoResponse) infoRecord {
	return infoRecord{
		Client: infoClient{Version: buildinfo.Version(), Commit: commitText()},
		Server: infoServer{
			URL: a.server.endpoint.String(), Status: "healthy", Version: info.GetVersion(), Commit: info.GetBuild(),
			APIVersion: info.GetApiVersion(), PID: info.GetPid(), StateDir: info.GetStateDir(), ClusterID: info.GetClusterId(),
			CoordinatorID: info.GetCoordinatorId(), LeaderID: info.GetLeaderId(), Term: info.GetTerm(), Revision: info.GetRevision(),
			StartedAt: stamp(info.GetStartedAt()), Clusters: info.GetClusters(), Nodes: info.GetNodes(), Jobs: info.GetJobs(),
			Sessions: info.GetSessions(),
		},
		User: infoUser{ID: info.GetUserId(), Name: info.GetUserName()},
	}
}

func versionText() string { return buildinfo.Version() }

// commitText is the build id of this program: two builds of one commit differ
// when what went into them does.
func commitText() string {
	build, err := buildinfo.Build()
	if err != nil {
		return "unknown"
	}
	return build
}
