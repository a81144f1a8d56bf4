package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func newEvents(a *app) *cobra.Command {
	var out output
	var limit int32
	cmd := newCommand("events [OPTIONS] CLUSTER", "Show what happened to a cluster, its nodes and jobs.", func(cmd *cobra.Command, args []string) error {
		return a.events(cmd, args, limit, out)
	})
	cmd.Hidden = true
	cmd.Flags().Int32VarP(&limit, "limit", "l", 0, "Number of events, the newest; 0 is all.")
	out.add(cmd.Flags())
	cmd.ValidArgsFunction = a.completeFirst(a.completeClusters)
	return cmd
}

func (a *app) events(cmd *cobra.Command, args []string, limit int32, out output) error {
	asJSON, err := out.json(cmd)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return usage(cmd, "Give one CLUSTER.")
	}
	if err := a.connect(cmd.Context()); err != nil {
		return err
	}
	res, err := a.client.Events(cmd.Context(), &stixv1.ListEventsRequest{ClusterName: args[0], Limit: limit})
	if err != nil {
		return err
	}
	if asJSON {
		return a.writeJSON(eventRecords(res.GetEvents()))
	}
	t := &table{header: []string{"TIME", "OBJECT", "EVENT", "TEXT"}}
	for _, e := range res.GetEvents() {
		text := e.GetText()
		if e.GetCount() > 1 {
			text += fmt.Sprintf(" (%d times)", e.GetCount())
		}
		at := time.Unix(0, e.GetMeta().GetCreatedAt()).In(a.sys.Now().Location()).Format(time.DateTime)
		t.add(plain(at, e.GetObjectKind(), e.GetType(), text)...)
	}
	return a.writeTable(t)
}
