package archtest

// row is what one family of packages may import. Patterns are explained at
// under. Packages of one family may always import each other.
type row struct {
	pkg string
	// may lists packages of this module. All others are refused.
	may []string
	// tests lists what only its test files may import besides.
	tests []string
	// never lists packages from outside this module that are refused in
	// programs, and calls the functions that are, as "package.Name".
	never, calls []string
	// why is the reason, told with every refusal.
	why string
}

const (
	pb       = "proto/stix/v1/..."
	protos   = "proto/..."
	tools    = "internal/..."
	state    = "coordinator/state/..."
	control  = "coordinator/control/..."
	auth     = "coordinator/auth/..."
	provider = "provider"
	storage  = "storage"
)

// clock are the functions that tell or use the time.
func clock() []string {
	return []string{"time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc",
		"time.NewTimer", "time.NewTicker", "time.Tick", "time.Sleep"}
}

func environment() []string {
	return []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "os.Getwd", "os.UserHomeDir"}
}

// table is the import table of the design. The row with the longest pattern
// that matches a package counts; a package without a row is an error.
func table() []row {
	rows := []row{
		{pkg: pb, why: "the public model imports nothing"},
		{pkg: "proto/stix/log/v1/...", may: []string{pb}, why: "the private format builds on the public model only"},

		{pkg: tools, may: []string{tools}, why: "internal tools know no domain"},
		{pkg: "internal/tree/...", may: []string{tools, pb}, why: "a tree is a record of the public model, and knows nothing else"},

		{pkg: "docs", may: []string{pb}, why: "the documents are checked against the model"},
		{pkg: "task/...", may: []string{pb, tools}, never: []string{"net", "net/http/...", "os/exec"}, calls: environment(),
			why: "a task file means the same on every machine"},
		{pkg: "config/...", may: []string{tools}, never: []string{"os/...", "net", "net/http/..."},
			why: "configuration is pure: bytes in, values out"},
		{pkg: "catalog/...", why: "the catalog is facts, and decides nothing"},
		{pkg: "catalog/fetch/...", may: []string{"catalog", tools}, why: "a fetcher writes catalog files and knows no coordinator"},
		{pkg: "sched/...", may: []string{pb, "catalog"}, calls: clock(),
			never: []string{"context", "os/...", "net/...", "sync/...", "math/rand/...", "crypto/rand"},
			why:   "scheduling is a pure decision that can be repeated and explained"},
		{pkg: "sched/sim/...", may: []string{"sched/...", "catalog", pb}, why: "the simulator runs sched alone"},
		{pkg: "deploy/...", never: []string{"os/exec"}, why: "deploy renders and runs nothing"},
		{pkg: "dashboard/...", why: "the dashboard speaks to the server like any client"},

		{pkg: "client/...", may: []string{pb, tools}, why: "the SDK is a client of the public services"},

		{pkg: "cmd/stix", may: []string{"cmd/stix/command/...", tools}, why: "programs are flags in, exit code out"},
		{pkg: "cmd/stix/command/...", may: []string{"client/...", "task/...", "config/...", "deploy/...", pb, tools},
			why: "a command is a client and knows no server's parts"},
		{pkg: "cmd/stixd", may: []string{"coordinator", "provider/...", "storage/...", "catalog/fetch/...", "config/...", tools},
			why: "programs are flags in, exit code out; coordinator.New does the wiring"},
		{pkg: "cmd/stix-agent", may: []string{"agent/...", tools}, why: "programs are flags in, exit code out; agent.New does the wiring"},
		{pkg: "cmd/*/...", may: []string{"client/...", "sched/sim/...", "catalog/...", "task/...", pb, tools},
			why: "a tool of ours is a client like any other"},

		{pkg: "integration/...", may: []string{"..."}, why: "scenarios start what the programs start"},
	}
	return append(append(append(rows, plugins()...), coordinatorRows()...), agentRows()...)
}

// plugins are the rows of providers and of storage, which follow one pattern.
func plugins() []row {
	return []row{
		{pkg: provider, why: "the portable cloud knows no particular one, and no records"},
		{pkg: "provider/providertest/...", may: []string{provider}, why: "the suite holds for every cloud"},
		{pkg: "provider/fake/...", may: []string{provider}, never: []string{"testing/..."}, why: "the fake cloud ships"},
		{pkg: "provider/*/...", may: []string{provider, tools}, why: "a driver knows its own cloud and nothing that decides"},
		{pkg: "provider/all", may: []string{"provider/..."}, why: "the registry lists drivers"},

		{pkg: storage, why: "portable storage knows no particular one, and no records"},
		{pkg: "storage/storagetest/...", may: []string{storage}, why: "the suite holds for every kind of storage"},
		{pkg: "storage/*/...", may: []string{storage, tools}, why: "a store knows its own kind and nothing that decides"},
		{pkg: "storage/all", may: []string{"storage/..."}, why: "the registry lists stores"},
	}
}

func coordinatorRows() []row {
	const behaviours = "behaviours meet in the records and never import one another"
	return []row{
		{pkg: "coordinator", may: []string{"coordinator/...", provider, storage, "catalog", "sched", "deploy", "task", "config/...", "dashboard", protos, tools},
			why: "the wiring gets its drivers from the program"},
		{pkg: state, may: []string{protos}, why: "the state machine is closed: no clock, no randomness, no effects",
			never: []string{"time", "math/rand/...", "crypto/rand", "net/...", "os/..."}},
		{pkg: "coordinator/consensus/...", may: []string{tools}, why: "to consensus, entries are bytes"},
		{pkg: control, may: []string{tools}, why: "to what runs reconcilers, keys are strings"},
		{pkg: auth, may: []string{protos, state, tools}, never: []string{"net/http/..."},
			why: "who may do what does not depend on how it was asked"},
		{pkg: "coordinator/statetest", may: []string{protos, state, tools}, why: "tests of behaviours share one real store"},
		{pkg: "coordinator/clusters/...", may: []string{protos, state, control, "sched", "catalog", provider, "deploy", auth, tools},
			why: behaviours},
		{pkg: "coordinator/dispatch/...", may: []string{protos, state, control, "sched", tools}, why: behaviours},
		{pkg: "coordinator/jobs/...", may: []string{protos, state, control, "sched", tools}, why: behaviours},
		{pkg: "coordinator/services/...", may: []string{protos, state, control, "sched", tools}, why: behaviours},
		{pkg: "coordinator/buckets/...", may: []string{protos, state, control, storage, tools}, why: behaviours},
		{pkg: "coordinator/nodes/...", may: []string{protos, state, control, auth, tools}, why: behaviours},
		{pkg: "coordinator/ingress/...", may: []string{tools}, why: "endpoints arrive through an interface"},
		{pkg: "coordinator/logs/...", may: []string{protos, storage, tools}, why: "references arrive through an interface"},
		{pkg: "coordinator/blobs/...", may: []string{protos, storage, tools}, why: "references arrive through an interface"},
		{pkg: "coordinator/rpc/...", may: []string{protos, state, auth, "task/...", "sched", "catalog", "coordinator/logs/...", "coordinator/blobs/...", tools},
			why: "handlers validate, authorize and update; they decide nothing"},
	}
}

func agentRows() []row {
	return []row{
		{pkg: "agent", may: []string{"agent/...", storage, pb, tools}, why: "what lands on every machine is small and knows no coordinator"},
		{pkg: "agent/*/...", may: []string{pb, tools}, why: "parts of the agent meet in its wiring"},
		{pkg: "agent/mount/...", may: []string{pb, storage, tools}, why: "parts of the agent meet in its wiring"},
	}
}

// harness lists what test files of any package may import besides: the fakes,
// the suites, and what a real store is made of.
func harness() []string {
	return []string{tools, protos, provider, "provider/fake/...", "provider/providertest/...", storage, "storage/storagetest/...",
		state, control, "coordinator/consensus/...", "coordinator/statetest"}
}

// exclusive maps packages from outside this module to the only packages that
// may import them. Scenarios may import anything.
type exclusive struct {
	pkg  []string
	only []string
	why  string
}

func exclusives() []exclusive {
	return []exclusive{
		{pkg: []string{"github.com/hashicorp/raft/...", "github.com/hashicorp/raft-boltdb/..."},
			only: []string{"coordinator/consensus/..."}, why: "one package knows the Raft library"},
		{pkg: []string{"github.com/spf13/cobra/..."}, only: []string{"cmd/..."}, why: "libraries do not parse command lines"},
		{pkg: sdks(), only: []string{"provider/*/...", "storage/*/...", "catalog/fetch/..."}, why: "cloud SDKs stay in their drivers"},
		{pkg: []string{"testing/..."}, only: []string{"internal/testlog/...", "*/*test/...", "*/*/*test/..."},
			why: "programs do not link the testing package"},
	}
}

func sdks() []string {
	return []string{"github.com/aws/...", "cloud.google.com/go/...", "google.golang.org/api/...", "github.com/Azure/...",
		"github.com/oracle/...", "k8s.io/..."}
}

// link is what a program may not contain, directly or not.
type link struct {
	program string
	never   []string
	why     string
}

func links() []link {
	own := func(dirs ...string) []string {
		var all []string
		for _, d := range dirs {
			all = append(all, Module+"/"+d)
		}
		return append(all, append(sdks(), "github.com/hashicorp/raft/...", "github.com/hashicorp/raft-boltdb/...", "testing/...")...)
	}
	return []link{
		{program: "cmd/stix", never: own("coordinator/...", "provider/...", "storage/...", "sched/...", "agent/..."),
			why: "the command line is small and a client only"},
		{program: "cmd/stix-agent", never: append(own("coordinator/...", "provider/...", "sched/...", "catalog/...", "client/...", "task/...", "config/..."), "github.com/spf13/cobra/..."),
			why: "what lands on every machine is small and knows no coordinator"},
		{program: "cmd/stixd", never: []string{"github.com/spf13/cobra/...", Module + "/client/...", Module + "/agent/..."},
			why: "the server is no client, and starts agents as programs of their own"},
	}
}
