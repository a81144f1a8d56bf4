package task

// This file is the grammar as data: the keys of every kind of mapping. A key
// that gains a read function is carried from then on; nothing else changes.

// taskLevel is the top of a task file.
func taskLevel() level[*reading] {
	return level[*reading]{name: "task", keys: []key[*reading]{
		{name: "name", read: (*decoder).readName},
		{name: "workdir", read: (*decoder).readWorkdir},
		{name: "num_nodes", read: (*decoder).readNumNodes},
		{name: "resources", read: (*decoder).readResources},
		{name: "envs", read: (*decoder).readEnvs},
		{name: "secrets", read: (*decoder).readSecrets},
		{name: "file_mounts", read: (*decoder).readFileMounts},
		{name: "setup", read: (*decoder).readSetup},
		{name: "run", read: (*decoder).readRun},
		{name: "managed_secrets"},
		{name: "volumes", inside: &shape{each: volumeShape()}},
		{name: "service", inside: serviceShape()},
		{name: "pool", inside: poolShape()},
		{name: "event_callback"},
		{name: "inputs"},
		{name: "outputs"},
		{name: "config"},
		{name: "api_server_access"},
		{name: "file_mounts_mapping"},
		{name: "volume_mounts"},
		{name: "_metadata"},
		{name: "_user_specified_yaml"},
	}}
}

// candidateLevel is one candidate of resources: the mapping itself without the
// lists of candidates, or an element of such a list.
func candidateLevel() level[*candidate] {
	return level[*candidate]{name: "resources", keys: []key[*candidate]{
		{name: "infra", read: (*decoder).readInfra},
		{name: "cloud", read: (*decoder).readCloud},
		{name: "region", read: (*decoder).readRegion},
		{name: "zone", read: (*decoder).readZone},
		{name: "instance_type", read: (*decoder).readInstanceType},
		{name: "cpus", read: (*decoder).readCPUs},
		{name: "memory", read: (*decoder).readMemory},
		{name: "accelerators", read: (*decoder).readAccelerators},
		{name: "gpus", read: (*decoder).readAccelerators},
		{name: "use_spot", read: (*decoder).readUseSpot},
		{name: "disk_size", read: (*decoder).readDiskSize},
		{name: "labels", read: (*decoder).readLabels},
		{name: "accelerator_args", inside: known("accelerator_args", "runtime_version", "tpu_name", "tpu_vm", "gcp_queued_resource")},
		{name: "job_recovery"},
		{name: "ephemeral_storage"},
		{name: "disk_tier"},
		{name: "network_tier"},
		{name: "local_disk"},
		{name: "max_hourly_cost"},
		{name: "ports"},
		{name: "image_id"},
		{name: "autostop", inside: known("autostop", "idle_minutes", "down", "wait_for", "hook", "hook_timeout")},
		{name: "priority"},
		{name: "priority_class"},
		{name: "volumes", inside: &shape{each: known("volumes", "path", "name", "disk_size", "disk_tier", "storage_type", "attach_mode", "auto_delete")}},
		{name: "_docker_login_config"},
		{name: "_is_image_managed"},
		{name: "_requires_fuse"},
		{name: "_cluster_config_overrides"},
		{name: "_no_missing_accel_warnings"},
	}}
}

// resourcesLevel is resources as a whole: what all candidates share, and the
// lists of them.
func resourcesLevel() level[*candidate] {
	lv := candidateLevel()
	each := &shape{each: known(lv.name, lv.names()...)}
	lv.keys = append(lv.keys,
		key[*candidate]{name: "any_of", inside: each},
		key[*candidate]{name: "ordered", inside: each},
	)
	return lv
}

// known is the shape of a mapping with these keys and nothing known below them.
func known(name string, keys ...string) *shape {
	s := &shape{name: name, keys: map[string]*shape{}}
	for _, k := range keys {
		s.keys[k] = nil
	}
	return s
}

// with adds a key whose value is a mapping of known keys.
func (s *shape) with(key string, below *shape) *shape {
	s.keys[key] = below
	return s
}

// storageShape is a file mount that is a bucket.
func storageShape() *shape {
	config := known("config", "disk_size", "disk_tier", "storage_type", "attach_mode").
		with("mount", known("mount", "read_only", "hf_mount_args")).
		with("mount_cached", known("mount_cached", "transfers", "buffer_size", "vfs_cache_max_size", "vfs_cache_max_age",
			"vfs_read_ahead", "vfs_read_chunk_size", "vfs_read_chunk_streams", "vfs_write_back", "read_only"))
	return known("storage", "name", "source", "store", "persistent", "mode", "type",
		"_is_sky_managed", "_bucket_sub_path", "_force_delete").with("config", config)
}

func volumeShape() *shape {
	return known("volume", "name", "sub_path", "size", "type", "labels", "config", "host_path", "mode")
}

func gitShape() *shape { return known("workdir", "url", "ref") }

func serviceShape() *shape {
	return known("service", "replicas", "workers", "ports", "load_balancing_policy").
		with("pool", poolShape()).
		with("tls", known("tls", "keyfile", "certfile")).
		with("load_balancer", known("load_balancer", "stream_timeout_seconds")).
		with("readiness_probe", known("readiness_probe", "path", "initial_delay_seconds", "timeout_seconds", "post_data",
			"headers", "endpoint_probe_interval_seconds", "consecutive_failure_threshold_timeout")).
		with("replica_policy", known("replica_policy", "min_replicas", "max_replicas", "num_overprovision",
			"target_qps_per_replica", "dynamic_ondemand_fallback", "base_ondemand_fallback_replicas", "spot_placer",
			"upscale_delay_seconds", "downscale_delay_seconds"))
}

func poolShape() *shape {
	return known("pool", "workers", "min_workers", "max_workers", "queue_length_threshold",
		"upscale_delay_seconds", "downscale_delay_seconds")
}

// clouds are the names that infra and cloud may have.
func clouds() []string {
	return []string{
		"local", "fake",
		"aws", "azure", "cudo", "do", "fluidstack", "gcp", "hyperbolic", "ibm", "kubernetes", "lambda", "mithril",
		"nebius", "oci", "paperspace", "primeintellect", "runpod", "scp", "seeweb", "shadeform", "slurm", "ssh",
		"vast", "verda", "vsphere", "yotta",
	}
}
