package config

import "go.yaml.in/yaml/v3"

// key is one known key. Without read and inside it is known and not used yet:
// it makes a warning.
type key struct {
	name   string
	read   func(l *loader, v *yaml.Node, path string)
	inside []key
}

// topKeys are the keys at the top of a configuration file, as data.
func topKeys() []key {
	return append([]key{{name: "api_server", inside: apiServerKeys()}}, unused(
		"allowed_clouds", "jobs", "serve", "docker", "nvidia_gpus", "admin_policy", "provision", "active_workspace",
		"workspaces", "workspace_config", "workspace", "rbac", "logs", "daemons", "data", "db", "metrics", "dashboard",
		"plugins",
		"aws", "azure", "cudo", "do", "fluidstack", "gcp", "hyperbolic", "ibm", "kubernetes", "lambda", "mithril",
		"nebius", "oci", "paperspace", "primeintellect", "runpod", "scp", "seeweb", "shadeform", "slurm", "ssh",
		"vast", "verda", "vsphere", "yotta")...)
}

func apiServerKeys() []key {
	return append([]key{{name: "endpoint", read: (*loader).readEndpoint}}, unused(
		"service_account_token", "requests_retention_hours", "cluster_event_retention_hours",
		"cluster_debug_event_retention_hours", "cluster_terminal_event_retention_hours", "daemon_log_max_bytes",
		"logs_retention_hours", "launch_attempt_retention_hours")...)
}

func unused(names ...string) []key {
	keys := make([]key, len(names))
	for i, name := range names {
		keys[i].name = name
	}
	return keys
}

func names(keys []key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.name
	}
	return out
}
