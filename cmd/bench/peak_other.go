//go:build !unix

package main

import (
	"os"
	"time"
)

// peak does not know what this system tells of memory.
func peak(*os.ProcessState) int64 { return 0 }

// processorTime does not know what this system tells of its processors.
func processorTime() time.Duration { return 0 }
