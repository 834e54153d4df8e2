package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// growth measures one file of each size: what it takes has to grow as the file does.
func (b *bench) growth() error {
	b.printf("\n## From small to large\n\n`stanch scan FILE` of one file of each size, made of Go source. The bar is the processor time for each MB, less\n" +
		"that of `stanch version`.\n\n| MB | wall s | CPU s | peak MB | CPU ms per MB | |\n|--:|--:|--:|--:|--:|---|\n")
	start, err := b.process(command{name: "version", argv: []string{b.stanch, "version"}})
	if err != nil {
		return err
	}
	low, high := math.Inf(1), 0.0
	for i, size := range b.sizes {
		used, err := b.oneFile(size)
		if err != nil {
			return err
		}
		each := milliseconds(used.cpu-start.cpu) / float64(size/mega)
		b.printf("| %d | %.2f | %.2f | %d | %.2f | %s |\n", size/mega, used.wall.Seconds(), used.cpu.Seconds(), used.peak/mega, each,
			strings.Repeat("█", int(math.Round(each))))
		if i > 0 { // the first shows what the start takes
			low, high = min(low, each), max(high, each)
		}
	}
	if high == 0 {
		return nil
	}
	const spread = 1.5
	b.targets()
	b.target("most CPU per MB over the least, after the first size", fmt.Sprintf("≤ %.1f", spread), fmt.Sprintf("%.2f", high/low), high <= spread*low)
	return nil
}

// oneFile measures the scan of a file of so many bytes.
func (b *bench) oneFile(size int64) (usage, error) {
	name := filepath.Join(b.work, "large.txt")
	defer os.Remove(name)
	if err := b.makeLarge(name, size); err != nil {
		return usage{}, err
	}
	runs := b.runs
	if size > 100*mega {
		runs = 1
	}
	used, err := b.measureAll(command{name: fmt.Sprintf("scan of %d MB", size/mega), argv: []string{b.stanch, "scan", "--quiet", name}, runs: runs})
	if err != nil {
		return usage{}, err
	}
	return used[0], nil
}

// makeLarge writes Go's source to one file, over and over.
func (b *bench) makeLarge(name string, size int64) error {
	goroot, _, err := b.roots()
	if err != nil {
		return err
	}
	all, err := sources(goroot)
	if err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	for left := size; ; {
		for _, s := range all {
			if filepath.Ext(s.rel) != ".go" {
				continue
			}
			in, err := os.Open(s.path)
			if err != nil {
				return err
			}
			n, err := io.Copy(out, io.LimitReader(in, left))
			in.Close()
			if err != nil {
				return err
			}
			if left -= n; left == 0 {
				return out.Close()
			}
		}
		if left == size {
			return fmt.Errorf("%s has no Go source to make a file of", goroot)
		}
	}
}
