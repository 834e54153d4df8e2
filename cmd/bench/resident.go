package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// residentFigures are what a scan takes in a process that has everything ready.
type residentFigures struct {
	Files        int
	Scans        int
	Microseconds float64 // of processor time, for each scan
	Allocations  float64 // for each scan
}

// rounds is how many times each file is scanned.
const rounds = 500

// measureResident scans the files in a folder in which nothing is found, over and
// over.
func measureResident(dir string, out io.Writer) error {
	catalogue, err := rules.Catalogue()
	if err != nil {
		return err
	}
	scanner, err := checks.New(catalogue...)
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	var clean [][]byte
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		// This makes ready what the rules need for the file, too.
		found, err := scanner.Examine("push.diff", data)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			clean = append(clean, data)
		}
	}
	if len(clean) == 0 {
		return errors.New("no file without findings in " + dir)
	}
	scan := func(rounds int) error {
		for range rounds {
			for _, data := range clean {
				if _, err := scanner.Examine("push.diff", data); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := scan(1); err != nil {
		return err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := processorTime()
	if err := scan(rounds); err != nil {
		return err
	}
	took := processorTime() - begin
	runtime.ReadMemStats(&after)
	n := float64(rounds * len(clean))
	return json.NewEncoder(out).Encode(residentFigures{
		Files: len(clean), Scans: rounds * len(clean),
		Microseconds: took.Seconds() * 1e6 / n, Allocations: float64(after.Mallocs-before.Mallocs) / n,
	})
}
