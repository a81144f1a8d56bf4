//go:build !linux

package main

import "time"

func processesOf(string) ([]process, error) { return nil, nil }

func cpuTime(int) (time.Duration, error) { return 0, errNoProcFS }

func memoryOf(int) (memory, error) { return memory{}, errNoProcFS }
