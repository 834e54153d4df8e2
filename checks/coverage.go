package checks

// Coverage is the manifest of a scan: what was looked at, and what was not.
// A check may only pass on a Coverage that is Complete.
type Coverage struct {
	Base    string `json:"base"` // the commit before the range; empty or zeros for a new branch
	Tip     string `json:"tip"`  // the last commit of the range
	Commits int    `json:"commits"`
	Blobs   int    `json:"blobs"`
	Bytes   int64  `json:"bytes"`
	Skipped []Skip `json:"skipped"`
	// Elsewhere are pointers to other repositories: what they hold is no part of this one.
	Elsewhere []Skip `json:"elsewhere,omitempty"`
}

// A Skip is something that should have been scanned and was not.
type Skip struct {
	Commit string `json:"commit"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Complete reports whether everything up to a known tip was scanned.
func (c Coverage) Complete() bool { return c.Tip != "" && len(c.Skipped) == 0 }
